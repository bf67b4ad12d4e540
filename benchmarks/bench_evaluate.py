"""How long `strokelens evaluate` takes on two cores, and whether its memory grows with the number of cases.

Cases of 512×512×16 voxels with core and penumbra, and predictions for them, are drawn as blobs in a temporary folder.
The command runs as a user runs it, from process start to exit, on 25 and on 100 cases; memory is the peak of the sum of
what it and its processes held (RSS, which counts a shared page for each), looked at every 100 ms. CPU seconds, of all
of them, depend less on what else the machine does. The floor is what no program could avoid: reading both files of each
case with nibabel, in one process.

Run: .venv/bin/python benchmarks/bench_evaluate.py
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import write_results

from strokelens.arrays import Labels
from strokelens.case import Segmentation
from strokelens.cohorts.encode import write_image, write_segmentation
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA

FEW, MANY, CORES = 25, 100, 2
SHAPE = (512, 512, 16)
BOUND_S, GROWTH_BOUND = 60.0, 1.1
GRID = Grid(SHAPE, np.diag([-0.44, -0.44, 5.0, 1.0]))

FLOOR = """
import pathlib, sys, time
import nibabel, numpy
start = time.perf_counter()
here = pathlib.Path(sys.argv[1])
for file in (*here.glob("ours/*.nii.gz"), *here.glob("cohort/*/truth.nii.gz")):
    numpy.asanyarray(nibabel.load(file).dataobj)
print(time.perf_counter() - start)
"""


def tissue(rng: np.random.Generator, centre: np.ndarray) -> Labels:
    """A penumbra of some 60 ml with a core in it, both with ragged borders."""
    i, j, k = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    away = ((i - centre[0]) / 75) ** 2 + ((j - centre[1]) / 95) ** 2 + ((k - centre[2]) / 6) ** 2
    ragged = ndimage.zoom(rng.normal(0, 0.35, (32, 32, 4)), (16, 16, 4), order=1)
    labels = np.zeros(SHAPE, np.uint8)
    labels[away + ragged < 1] = 1
    labels[away + ragged < 0.3] = 2
    return labels


def write_cases(folder: Path, count: int) -> None:
    """A cohort of the layout `nifti`, and predictions that lie some millimetres beside the truth."""
    (folder / "ours").mkdir(parents=True)
    for number in range(1, count + 1):
        rng = np.random.default_rng(number)
        centre = rng.uniform((170, 180, 5), (340, 330, 11))
        place = folder / "cohort" / f"case_{number}"
        place.mkdir(parents=True)
        write_image(place / "tmax.nii.gz", np.zeros(SHAPE, np.float32), GRID)
        write_segmentation(place / "truth.nii.gz", Segmentation(tissue(rng, centre), GRID, CORE_PENUMBRA))
        beside = centre + rng.normal(0, (5, 5, 0.5))
        found = Segmentation(tissue(rng, beside), GRID, CORE_PENUMBRA)
        write_segmentation(folder / "ours" / f"case_{number}.nii.gz", found)


def held_mib(process: int) -> float:
    """What a process and its children hold."""
    pages = 0
    todo = [process]
    while todo:
        one = Path(f"/proc/{todo.pop()}")
        try:
            pages += int((one / "statm").read_text().split()[1])
            for children in one.glob("task/*/children"):
                todo += [int(child) for child in children.read_text().split()]
        except (OSError, ValueError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def row(folder: Path, count: int) -> dict[str, object]:
    """Wall seconds and peak memory of the command on so many cases, and the floor."""
    write_cases(folder, count)
    command = [sys.executable, "-m", "strokelens", "evaluate", "ours", "cohort", "-o", "scores"]
    words = [*command, "--workers", str(CORES), "--quiet"]
    start, peak_mib = perf_counter(), 0.0
    child = subprocess.Popen(words, cwd=folder)
    ended = 0
    while not ended:
        peak_mib = max(peak_mib, held_mib(child.pid))
        sleep(0.1)
        ended, status, usage = os.wait4(child.pid, os.WNOHANG)
    wall_s = perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(words)} ended with exit code {child.returncode}")
    return {
        "cases": count,
        "wall_s": round(wall_s, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "floor_s": round(floor_s(folder), 1),
        "peak_mib": round(peak_mib),
    }


def floor_s(folder: Path) -> float:
    """Reading truth and prediction of each case with nibabel, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", FLOOR, str(folder)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Measure both, print, write JSON."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    load = os.getloadavg()[0]
    with TemporaryDirectory() as temporary:
        few, many = (row(Path(temporary) / str(count), count) for count in (FEW, MANY))
    print("| cases of 512×512×16 | wall s | demand | CPU s | floor s, one process | peak MiB, all processes |")
    print("|---|---|---|---|---|---|")
    for each in (few, many):
        verdict = f"≤ {BOUND_S:g} {'ok' if float(str(each['wall_s'])) <= BOUND_S else 'MISSED'}"
        demand = verdict if each is many else "–"
        cells = [each["cases"], each["wall_s"], demand, each["cpu_s"], each["floor_s"], each["peak_mib"]]
        print(f"| {' | '.join(map(str, cells))} |")
    growth = float(str(many["peak_mib"])) / float(str(few["peak_mib"]))
    print(
        f"\nmemory {MANY} ÷ {FEW} cases: {growth:.2f} (≤ {GROWTH_BOUND} {'ok' if growth <= GROWTH_BOUND else 'MISSED'})"
    )
    print(f"load average at the start {load:.2f}")
    figures = {"workers": CORES, "rows": [few, many], "memory_growth": round(growth, 3), "load_average": round(load, 2)}
    write_results("evaluate", figures)


if __name__ == "__main__":
    main()
