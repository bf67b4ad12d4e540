"""How near simulated cohorts are to those that they are laid out like: numbers, grids, and what tables tell."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strokelens.cohorts.layouts import open_cohort
from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.clinical import draw_sex
from strokelens.phantom.kinds import GRID_SHARES, GRIDS, Isles, Job, Slices
from strokelens.phantom.scanner import CtProtocol, DscProtocol

SMALL = Isles(DscProtocol(matrix=64, slices=6, frames=30, interval_s=2.0))


def test_the_numbers_of_the_challenge_have_its_gaps() -> None:
    """43 training cases are numbered 1 to 48, without 3, 17, 25, 29 and 34."""
    names = replace(SMALL, tests=2).names([(seed, "LVO") for seed in range(45)])
    assert names[:5] == ("test_1", "test_2", "training_1", "training_2", "training_4")
    numbers = [int(name.removeprefix("training_")) for name in names[2:]]
    assert sorted(set(range(1, 49)) - set(numbers)) == [3, 17, 25, 29, 34]
    assert (len(numbers), numbers[-1]) == (43, 48)


def test_grids_differ_from_case_to_case_and_belong_to_their_seed() -> None:
    kind = replace(SMALL, grids=((32, 3, 6.5), (48, 4, 5.0)))
    cases = {seed: kind.case(Job("training_1", seed, "LVO")) for seed in (0, 1, 2, 3)}
    shapes = {case.grid.shape for case in cases.values()}
    assert shapes == {(32, 32, 3), (48, 48, 4)}
    for case in cases.values():
        matrix, _, slices = case.grid.shape
        assert case.grid.spacing_mm == pytest.approx((230 / matrix, 230 / matrix, {3: 6.5, 4: 5.0}[slices]))
        assert case["PWI"].shape[:3] == case["ADC"].shape == case.grid.shape


def test_the_published_grids_are_drawn_in_their_shares() -> None:
    kind = Isles(grids=GRIDS)
    drawn = [kind._protocol(seed) for seed in range(400)]
    shares = [sum((each.matrix, each.slices, each.slice_mm) == grid for each in drawn) / 400 for grid in GRIDS]
    assert shares == pytest.approx(GRID_SHARES, abs=0.06)


def test_sex_is_known_for_most_and_goes_into_the_table(tmp_path: Path) -> None:
    drawn = [draw_sex(np.random.default_rng(seed)).get("female") for seed in range(1000)]
    assert drawn.count(None) / 1000 == pytest.approx(0.1, abs=0.03)
    assert drawn.count(1.0) / (drawn.count(0.0) + drawn.count(1.0)) == pytest.approx(0.45, abs=0.05)
    kind = Slices(CtProtocol(matrix=64, slices=3, frames=24, interval_s=2.0, noise_hu=3.0))
    with closing(write_cohort(tmp_path / "c", Plan(kind, 3, 0, {"LVO": 1, "Non-LVO": 1, "WIS": 1}))) as cases:
        assert [one.failure for one in cases] == [None] * 3
    rows = [row.split(";") for row in (tmp_path / "c/nihss_score.csv").read_text().splitlines()]
    assert rows[0] == ["patient", "nihss", "age", "gender"]
    for (name, *_, gender), seed in zip(rows[1:], (0, 1, 2), strict=True):
        female = draw_sex(np.random.default_rng([seed, 14])).get("female")
        assert gender == {None: "-", 0.0: "0", 1.0: "1"}[female]
        assert open_cohort(tmp_path / "c")[name].clinical.get("sex") == {None: None, 0.0: "M", 1.0: "F"}[female]
