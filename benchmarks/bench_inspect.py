"""How long it takes to open and inspect a cohort of 500 cases, against what no program could avoid.

Cohorts are made in a temporary folder: NIfTI folders with seven compressed files a case, colour-coded slices with
five maps of twelve slices, and DICOM with a CT perfusion series of 8 slices and 20 frames, one file each. The floor
walks every folder (os.scandir) and reads the first 352 bytes of each image, or 8 KiB of DICOM. Inspection also inflates
and parses headers, compares grids, and reads 64 KiB of each case to find copies; of DICOM it parses every header, as
nothing else tells which study a file belongs to. Wall seconds, best of three, in this process, with the files in the
page cache; no voxel is decoded.

Run: .venv/bin/python benchmarks/bench_inspect.py
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from pydicom import dcmread

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import write_results

from strokelens.case import Case
from strokelens.cohorts.dicom_writer import write_dicom
from strokelens.cohorts.encode import write_image
from strokelens.cohorts.inspection import inspect
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.slice_writer import coloured
from strokelens.cohorts.slices import write_picture
from strokelens.grid import Grid

CASES, REPEATS, BOUND_S = 500, 3, 20.0
SHAPE = (128, 128, 24)
MAPS = ("adc", "mtt", "cbf", "cbv", "tmax", "ttp")
SLICES = 12
HEADER_BYTES = {"nifti": 352, "ctp_slices": 352, "dicom": 8192}
DICOM_SLICES, DICOM_FRAMES, DICOM_SIDE = 8, 20, 64


def nifti_cohort(folder: Path) -> None:
    """500 folders with six maps and a lesion; the files of the first case, 500 times."""
    grid = Grid(SHAPE, np.diag([1.8, 1.8, 5.0, 1.0]))
    first = folder / "case_1"
    first.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in MAPS:
        write_image(first / f"{name}.nii.gz", rng.integers(1, 900, SHAPE).astype(np.int16), grid)
    write_image(first / "lesion.nii.gz", (rng.random(SHAPE) > 0.99).astype(np.uint8), grid)
    for number in range(2, CASES + 1):
        place = folder / f"case_{number}"
        place.mkdir()
        for file in first.iterdir():
            copyfile(file, place / file.name)


def slices_cohort(folder: Path) -> None:
    """500 patients with four coloured maps and a MIP, twelve slices each."""
    field = np.full((512, 512), np.nan)
    field[120:380, 110:400] = np.random.default_rng(0).uniform(0, 10, (260, 290))
    first = folder / "CTP_01_001" / "no_date"
    for name, channel in (("CBF", "CBF"), ("CBV", "CBV"), ("TTP", "TTP"), ("TMAX", "Tmax"), ("MIP", "CBF")):
        write_picture(first / name / "01.png", coloured(field, channel))
    for number in range(1, CASES + 1):
        place = folder / f"CTP_01_{number:03d}" / "no_date"
        for name in ("CBF", "CBV", "TTP", "TMAX", "MIP"):
            (place / name).mkdir(parents=True, exist_ok=True)
            for k in range(1, SLICES + 1):
                if not (place / name / f"{k:02d}.png").exists():
                    os.link(first / name / "01.png", place / name / f"{k:02d}.png")


def dicom_cohort(folder: Path) -> None:
    """500 studies of 160 files; those of the first one with other digits in their UIDs and their person."""
    shape = (DICOM_SIDE, DICOM_SIDE, DICOM_SLICES)
    series = np.random.default_rng(0).integers(-1000, 100, (*shape, DICOM_FRAMES)).astype(np.float32)
    grid = Grid(shape, np.diag([-3.6, -3.6, 5.0, 1.0]))
    case = Case("sim-1000", grid, {"CTP": series}, time_s=1.5 * np.arange(DICOM_FRAMES), simulated=True)
    first = folder / "sim-1000"
    contents = {path.relative_to(first): path.read_bytes() for path in write_dicom(first, case, seed=0)}
    data = dcmread(next(first.rglob("*.dcm")))
    uids = [str(uid).encode() for uid in (data.StudyInstanceUID, data.SeriesInstanceUID)]
    for number in range(1001, 1000 + CASES):
        place = folder / f"sim-{number}"
        (place / "ctp").mkdir(parents=True)
        for name, content in contents.items():
            told = content.replace(b"sim-1000", f"sim-{number}".encode())
            for uid in uids:
                told = told.replace(uid, uid[:-4] + str(number).encode())
            (place / name).write_bytes(told)


def images(folder: str) -> Iterator[str]:
    """Every file below a folder but tables and sidecars, by os.scandir."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from images(entry.path)
            elif not entry.name.endswith((".json", ".csv")):
                yield entry.path


def floor(folder: Path, front: int) -> int:
    """Walk the folders and read the front of each image in bytes; how many there are."""
    count = 0
    for path in images(str(folder)):
        with open(path, "rb") as file:
            file.read(front)
        count += 1
    return count


def best_s(work: Callable[[], object]) -> float:
    """Wall seconds, best of some runs."""
    seconds = []
    for _ in range(REPEATS):
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
    return min(seconds)


def row(layout: str, folder: Path) -> dict[str, object]:
    """The figures of one cohort."""
    front = HEADER_BYTES[layout]
    files = floor(folder, front)
    cohort = open_cohort(folder)
    assert (cohort.layout, len(cohort)) == (layout, CASES)
    open_s = best_s(lambda: open_cohort(folder))
    inspect_s = best_s(lambda: inspect(open_cohort(folder)))
    floor_s = best_s(lambda: floor(folder, front))
    return {
        "layout": layout,
        "cases": CASES,
        "files": files,
        "open_s": round(open_s, 2),
        "inspect_s": round(inspect_s, 2),
        "bound_s": BOUND_S,
        "floor_s": round(floor_s, 2),
        "times_floor": round(inspect_s / floor_s, 1),
        "files_per_s": round(files / inspect_s),
    }


def main() -> None:
    """Make the cohorts, measure, print, write JSON."""
    load = os.getloadavg()[0]
    rows = []
    with TemporaryDirectory() as temporary:
        for layout, make in (("nifti", nifti_cohort), ("ctp_slices", slices_cohort), ("dicom", dicom_cohort)):
            make(Path(temporary) / layout)
            rows.append(row(layout, Path(temporary) / layout))
    print(
        "| layout | cases | images | open s | inspect s | demand | floor s | × floor | files/s |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for each in rows:
        verdict = f"≤ {BOUND_S:g} {'ok' if float(str(each['inspect_s'])) <= BOUND_S else 'MISSED'}"
        cells = (each["layout"], each["cases"], each["files"], each["open_s"], each["inspect_s"], verdict)
        print(f"| {' | '.join(map(str, (*cells, each['floor_s'], each['times_floor'], each['files_per_s'])))} |")
    write_results("inspect", {"load_average": round(load, 2), "rows": rows})


if __name__ == "__main__":
    main()
