"""How well the default finds simulated strokes: mean Dice of hypoperfused region and core, in tens of patients.

The patients are of seeds that no limit was fitted to (3001 to 3030; docs/concepts/perfusion.md), of 6 HU, large-vessel
strokes and others as in the Stavanger cohort, moving as drawn. Beside the default rule stands the same maps' plain
one, flow under 30 % with Tmax over 6 s. Simulated patients are no evidence about real ones.

Run: .venv/bin/python benchmarks/bench_strokes.py
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Float

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import write_results

from strokelens.metrics.overlap import dice
from strokelens.perfusion.thresholds import rule_named
from strokelens.phantom.patient import simulate
from strokelens.prediction.segmenting import SegmentSettings, segment

SEEDS = range(3001, 3031)
RULES = {"strokelens (default)": None, "rapid": rule_named("rapid")}
REGIONS = {"hypoperfused": ("penumbra", "core"), "core": ("core",)}


def scores(seed: int) -> list[list[float]]:
    """Dice of each region under each rule."""
    patient = simulate(seed, group="LVO" if seed % 9 % 2 == 0 else "Non-LVO", workers=1)
    truth = patient.case.truth
    assert truth is not None
    found = [segment(patient.case, SegmentSettings(rule=rule)).segmentation for rule in RULES.values()]
    return [[dice(truth.mask(*names), each.mask(*names)) for names in REGIONS.values()] for each in found]


def table(every: Float[np.ndarray, "patients rules regions"]) -> list[dict[str, object]]:
    """A row for each ten and rule, and for all."""
    parts = {f"{SEEDS[start]}-{SEEDS[start + 9]}": slice(start, start + 10) for start in range(0, len(SEEDS), 10)}
    rows = []
    for patients, part in {**parts, "all": slice(None)}.items():
        for at, rule in enumerate(RULES):
            means = every[part, at].mean(axis=0).round(3).tolist()
            rows.append({"seeds": patients, "rule": rule, **dict(zip(REGIONS, means, strict=True))})
    return rows


def main() -> None:
    """Print the table and write it."""
    with ProcessPoolExecutor(2) as pool:
        rows = table(np.array(list(pool.map(scores, SEEDS))))
    print("| seeds | rule | hypoperfused, Dice (demand ≥ 0.85) | core, Dice (demand ≥ 0.60) |")
    print("|---|---|---|---|")
    for row in rows:
        print(f"| {row['seeds']} | {row['rule']} | {row['hypoperfused']} | {row['core']} |")
    write_results("strokes", {"mean_dice": rows})


if __name__ == "__main__":
    main()
