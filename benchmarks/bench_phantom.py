"""How long a simulated patient takes, and how much memory: one process per size, wall and CPU seconds, peak RSS.

Run `python benchmarks/bench_phantom.py`; it prints a table and writes results/phantom.json. The limits are 5 s for
256×256×16×40 and 25 s for 512×512×16×45 on two idle cores.
"""

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import write_results

SIZES = ((256, 16, 40, 5.0), (512, 16, 45, 25.0))
REPEATS = 2

ONE = """
import json, resource, sys, time
from strokelens.phantom.patient import simulate
from strokelens.phantom.scanner import CtProtocol
matrix, slices, frames, motion = (int(word) for word in sys.argv[1:])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
wall, cpu = time.perf_counter(), time.process_time()
patient = simulate(2, protocol=CtProtocol(matrix=matrix, slices=slices, frames=frames), motion=bool(motion))
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
series = patient.case["CTP"].nbytes / 2**20
print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_mib": peak, "import_mib": before, "series_mib": series}))
"""


def main() -> None:
    """Measure both sizes, still and moving."""
    rows = []
    print(f"{'size':>16} {'motion':>7} {'wall s':>7} {'limit s':>8} {'CPU s':>7} {'peak MiB':>9} {'series MiB':>11}")
    for matrix, slices, frames, limit_s in SIZES:
        for motion in (0, 1):
            runs = [measured(matrix, slices, frames, motion) for _ in range(REPEATS)]
            best = min(runs, key=lambda run: run["wall_s"])
            size = f"{matrix}×{matrix}×{slices}×{frames}"
            rows.append({"size": size, "motion": bool(motion), "limit_s": limit_s} | best)
            print(
                f"{size:>16} {'yes' if motion else 'no':>7} {best['wall_s']:7.2f} {limit_s:8.1f} {best['cpu_s']:7.2f} "
                f"{best['peak_mib']:9.0f} {best['series_mib']:11.0f}"
            )
    write_results("phantom", {"rows": rows})


def measured(matrix: int, slices: int, frames: int, motion: int) -> dict[str, float]:
    """One patient in a process of its own."""
    words = [str(word) for word in (matrix, slices, frames, motion)]
    done = subprocess.run([sys.executable, "-c", ONE, *words], check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
