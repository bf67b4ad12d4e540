"""How fast simulated cohorts are made: diffgen against loops in the same run, and CTP cases on disk a minute.

Run `python benchmarks/bench_cohorts.py [CASES [WORKERS]]`; it prints tables and writes results/cohorts.json. Demanded
are 0.5 s for a diffgen sample of six channels of 192×192×19 (the ancestor took 30 to 80 s), and 40 CTP cases of
512×512×8 in 12 minutes on two cores.
"""

import sys
import tempfile
from os import getloadavg
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter, process_time

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import write_results
from tests.oracles import diffgen as slow

from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.diffgen import DEFAULT, Recipe, generate
from strokelens.phantom.kinds import Slices

SHAPE = (192, 192, 19)
REPEATS = 7
DEMAND_MS = 500.0
DEMAND_CASES_PER_MINUTE = 40 / 12


def main(cases: int = 4, workers: int = 2) -> None:
    """Measure both."""
    rows = [diffgen(recipe) for recipe in (DEFAULT, Recipe("random"), Recipe(labels="first"))]
    loops_s = loops()
    print(f"{'diffgen':>8} {'labels':>7} {'median ms':>10} {'worst ms':>9} {'demand ms':>10}      loops/ours")
    for row in rows:
        verdict = "ok" if float(str(row["median_ms"])) <= DEMAND_MS else "MISSED"
        ratio = 1000 * loops_s / float(str(row["median_ms"]))
        print(
            f"{row['mode']:>8} {row['labels']:>7} {row['median_ms']:10.0f} {row['worst_ms']:9.0f} {DEMAND_MS:10.0f} "
            f"{verdict:>7} {ratio:6.0f}"
        )
    print(f"loops: {loops_s:.1f} s a sample (fixed, shared)")
    found = pictures(cases, workers)
    verdict = "ok" if found["cases_per_minute"] >= DEMAND_CASES_PER_MINUTE else "MISSED"
    print(
        f"CTP slices: {cases} cases of 512×512×8 by {workers} workers in {found['wall_s']:.0f} s, "
        f"{found['cpu_s_per_case']:.1f} CPU s each, {found['cases_per_minute']:.1f} a minute "
        f"(demand {DEMAND_CASES_PER_MINUTE:.1f}) {verdict}"
    )
    write_results("cohorts", {"diffgen": rows, "loops_s": loops_s, "ctp_slices": found})


def diffgen(recipe: Recipe) -> dict[str, object]:
    """The time of a sample, CPU seconds of this process."""
    times = []
    for seed in range(REPEATS):
        rng = np.random.default_rng(seed)
        start = process_time()
        generate(rng, recipe, shape=SHAPE)
        times.append(1000 * (process_time() - start))
    return {
        "mode": recipe.mode,
        "labels": recipe.labels,
        "median_ms": float(np.median(times)),
        "worst_ms": max(times),
    }


def loops() -> float:
    """The same by loops over walks, steps and pixels, once."""
    start = process_time()
    slow.sample(np.random.default_rng(0), DEFAULT, SHAPE)
    return process_time() - start


def pictures(cases: int, workers: int) -> dict[str, float]:
    """Cases in the layout ctp_slices on disk, with the start of the processes."""
    start, before = perf_counter(), getrusage(RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(Slices(), cases, 0, Slices.shares)
        made = sum(one.failure is None for one in write_cohort(Path(folder) / "cohort", plan, workers=workers))
    wall_s, after = perf_counter() - start, getrusage(RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = {"cases": made, "workers": workers, "wall_s": wall_s, "cpu_s_per_case": cpu_s / made}
    return found | {"cases_per_minute": 60 * made / wall_s, "load_average": getloadavg()[0]}


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
