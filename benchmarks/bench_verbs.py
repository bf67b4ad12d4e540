"""The verbs as a user runs them: wall seconds from process start to exit, and peak resident memory, on two cores.

`strokelens phantom` makes three patients in a temporary folder; then `maps` and `segment` run on each, a process per
run, and the best of two runs counts. The floor is what no reader of the file can avoid: reading it, its SHA-256 and
its gunzip. Starting up is the best of five. Memory is all that the process held at its peak, interpreter and libraries
included, against the series in float32.

Run: .venv/bin/python benchmarks/bench_verbs.py
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import write_results

STROKELENS = (sys.executable, "-m", "strokelens")
CORES = 2
RUNS, STARTS = 2, 5
MEMORY_BOUND = 3.0
START_BOUNDS_S = {"python -c 'import strokelens'": 0.3, "strokelens --help": 0.6}
START_COMMANDS = {
    "python -c 'import strokelens'": (sys.executable, "-c", "import strokelens"),
    "strokelens --help": (*STROKELENS, "--help"),
}

SEEDS = """
from itertools import count
from strokelens.phantom.patient import simulate
from strokelens.phantom.scanner import CtProtocol
small = CtProtocol(matrix=32, slices=4, frames=40)
still = {seed: all(pose.still for pose in simulate(seed, protocol=small).poses) for seed in range(12)}
print(*(next(seed for seed in count() if still[seed] is wanted) for wanted in (True, False)))
"""
"""The first patient that lies still, and the first that moves."""

FLOOR = """
import gzip, hashlib, pathlib, sys, time
start = time.perf_counter()
content = pathlib.Path(sys.argv[1]).read_bytes()
hashlib.sha256(content)
gzip.decompress(content)
print(time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Study:
    """A patient to make, and the bounds in seconds of the verbs on it; None where none is demanded."""

    seed: int
    matrix: int
    frames: int
    moving: bool
    maps_s: float | None
    segment_s: float

    @property
    def size(self) -> str:
        """Voxels and frames."""
        return f"{self.matrix}×{self.matrix}×16×{self.frames}{', moving' if self.moving else ''}"

    @property
    def series_mib(self) -> float:
        """The series in float32."""
        return self.matrix**2 * 16 * self.frames * 4 / 2**20

    def written(self, folder: Path) -> Path:
        """The patient's series on disk."""
        size = ("--matrix", str(self.matrix), "--frames", str(self.frames), "--slices", "16")
        spent(*STROKELENS, "phantom", str(folder), "--seed", str(self.seed), "--group", "LVO", *size)
        return folder / f"sim-{self.seed}" / "ctp.nii.gz"


def spent(*command: str) -> tuple[float, float]:
    """Wall seconds and peak MiB of one child.

    Linux counts the parent's memory at the fork into the child's peak, so this process must stay small.
    """
    start = perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONWARNINGS": "ignore"})
    _, status, usage = os.wait4(child.pid, 0)
    wall_s = perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {child.returncode}")
    return wall_s, usage.ru_maxrss / 1024


def answer(code: str, *words: str) -> list[str]:
    """What a Python process of its own prints."""
    done = subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, text=True)
    return done.stdout.split()


def verb_row(verb: str, study: Study, series: Path, floor_s: float, folder: Path) -> dict[str, object]:
    """The best of some runs of `maps` or `segment`."""
    command = (*STROKELENS, verb, str(series), "-o", str(folder / verb), "--overwrite")
    runs = [spent(*command) for _ in range(RUNS)]
    wall_s, peak_mib = min(run[0] for run in runs), max(run[1] for run in runs)
    return {
        "what": f"strokelens {verb}",
        "series": study.size,
        "bound_s": study.maps_s if verb == "maps" else study.segment_s,
        "wall_s": round(wall_s, 2),
        "floor_s": round(floor_s, 2),
        "times_floor": round(wall_s / floor_s, 1),
        "peak_mib": round(peak_mib),
        "series_mib": round(study.series_mib),
        "times_series": round(peak_mib / study.series_mib, 2),
        "times_series_bound": MEMORY_BOUND if verb == "maps" else None,
    }


def start_rows() -> list[dict[str, object]]:
    """Starting up, against a Python that does nothing."""
    floor_s = min(spent(sys.executable, "-c", "")[0] for _ in range(STARTS))
    rows: list[dict[str, object]] = []
    for what, command in START_COMMANDS.items():
        wall_s = min(spent(*command)[0] for _ in range(STARTS))
        times = {"wall_s": round(wall_s, 3), "floor_s": round(floor_s, 3), "times_floor": round(wall_s / floor_s, 1)}
        rows.append({"what": what, "bound_s": START_BOUNDS_S[what], **times})
    return rows


def verdict(measured: object, bound: object) -> str:
    """The bound, and whether it holds; empty without a bound."""
    if not isinstance(measured, int | float) or not isinstance(bound, int | float):
        return "–"
    return f"≤ {bound:g} {'ok' if measured <= bound else 'MISSED'}"


def table(rows: Sequence[dict[str, object]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| what | series | wall s | demand | floor s | × floor | peak MiB | × series | demand |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row["what"],
            row.get("series", "–"),
            row["wall_s"],
            verdict(row["wall_s"], row["bound_s"]),
            row["floor_s"],
            row["times_floor"],
            row.get("peak_mib", "–"),
            row.get("times_series", "–"),
            verdict(row.get("times_series"), row.get("times_series_bound")),
        ]
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Make the patients, measure, print, write JSON."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    load = os.getloadavg()[0]
    still, moving = (int(seed) for seed in answer(SEEDS))
    studies = (
        Study(still, 256, 40, moving=False, maps_s=15.0, segment_s=30.0),
        Study(moving, 256, 40, moving=True, maps_s=15.0, segment_s=30.0),
        Study(still, 512, 45, moving=False, maps_s=None, segment_s=90.0),
    )
    rows = start_rows()
    with TemporaryDirectory() as temporary:
        for number, study in enumerate(studies):
            folder = Path(temporary) / str(number)
            series = study.written(folder)
            floor_s = min(float(answer(FLOOR, str(series))[0]) for _ in range(RUNS))
            rows += [verb_row(verb, study, series, floor_s, folder) for verb in ("maps", "segment")]
    print(table(rows))
    print(f"\nload average at the start {load:.2f}, over the run {os.getloadavg()[1]:.2f} (5 minutes)")
    write_results("verbs", {"load_average": round(load, 2), "rows": rows})


if __name__ == "__main__":
    main()
