"""Mismatch and the trials' criteria, at each edge of each rule."""

from math import inf, isnan, nan

import pytest

from strokelens.perfusion.mismatch import Mismatch


def met(trial: str, mismatch: Mismatch, age_years: float | None = None, nihss: float | None = None) -> bool | None:
    answers = {criterion.trial: criterion.met for criterion in mismatch.criteria(age_years, nihss)}
    return answers[trial]


def test_volume_is_what_is_hypoperfused_and_not_core() -> None:
    assert Mismatch(core_ml=20.0, hypoperfused_ml=80.0).volume_ml == 60.0


def test_ratio_is_hypoperfused_over_core() -> None:
    assert Mismatch(core_ml=20.0, hypoperfused_ml=50.0).ratio == 2.5


def test_ratio_without_core_is_infinite() -> None:
    assert Mismatch(core_ml=0.0, hypoperfused_ml=50.0).ratio == inf


def test_ratio_of_nothing_is_unknown() -> None:
    assert isnan(Mismatch(core_ml=0.0, hypoperfused_ml=0.0).ratio)


def test_ratio_of_a_core_without_hypoperfusion_is_zero() -> None:
    assert Mismatch(core_ml=10.0, hypoperfused_ml=0.0).ratio == 0.0


def test_intensity_ratio_is_severe_over_hypoperfused() -> None:
    assert Mismatch(10.0, 80.0, severe_ml=32.0).hypoperfusion_intensity_ratio == 0.4


@pytest.mark.parametrize("mismatch", [Mismatch(10.0, 80.0), Mismatch(0.0, 0.0, severe_ml=0.0)])
def test_intensity_ratio_without_tmax_or_tissue_is_unknown(mismatch: Mismatch) -> None:
    assert isnan(mismatch.hypoperfusion_intensity_ratio)


@pytest.mark.parametrize(
    ("core_ml", "hypoperfused_ml", "expected"),
    [
        (69.9, 200.0, True),
        (70.0, 200.0, False),  # core < 70
        (10.0, 25.0, True),  # mismatch ≥ 15
        (10.0, 24.9, False),
        (50.0, 90.0, True),  # ratio ≥ 1.8
        (50.0, 89.9, False),
        (0.0, 15.0, True),  # no core: the ratio is infinite
        (0.0, 14.9, False),
        (0.0, 0.0, False),
    ],
)
def test_defuse_3_at_each_edge(core_ml: float, hypoperfused_ml: float, expected: bool) -> None:
    assert met("DEFUSE 3", Mismatch(core_ml, hypoperfused_ml)) is expected


@pytest.mark.parametrize(
    ("core_ml", "hypoperfused_ml", "expected"),
    [
        (69.9, 200.0, True),
        (70.0, 200.0, False),  # core < 70
        (10.0, 20.1, True),
        (10.0, 20.0, False),  # mismatch > 10
        (60.0, 72.1, True),
        (60.0, 72.0, False),  # ratio > 1.2
        (0.0, 10.1, True),
        (0.0, 0.0, False),
    ],
)
def test_extend_at_each_edge(core_ml: float, hypoperfused_ml: float, expected: bool) -> None:
    assert met("EXTEND", Mismatch(core_ml, hypoperfused_ml)) is expected


@pytest.mark.parametrize(
    ("age_years", "nihss", "core_ml", "expected"),
    [
        (80, 10, 20.0, True),
        (80, 10, 20.1, False),
        (80, 9, 0.0, False),
        (80, 25, 31.0, False),  # the third group is for the younger ones
        (79, 10, 30.0, True),
        (79, 10, 30.1, False),
        (79, 9, 0.0, False),
        (79, 19, 40.0, False),
        (79, 20, 51.0, True),
        (79, 20, 51.1, False),
    ],
)
def test_dawn_at_each_edge(age_years: float, nihss: float, core_ml: float, expected: bool) -> None:
    assert met("DAWN", Mismatch(core_ml, 100.0), age_years, nihss) is expected


@pytest.mark.parametrize(("age_years", "nihss"), [(None, None), (70.0, None), (None, 15.0)])
def test_dawn_is_open_where_age_or_nihss_is_missing(age_years: float | None, nihss: float | None) -> None:
    assert met("DAWN", Mismatch(10.0, 100.0), age_years, nihss) is None


def test_nan_volumes_meet_no_criterion() -> None:
    assert met("DEFUSE 3", Mismatch(nan, 100.0)) is False
    assert met("EXTEND", Mismatch(10.0, nan)) is False


def test_every_criterion_tells_its_rule() -> None:
    rules = [criterion.rule for criterion in Mismatch(10.0, 100.0).criteria()]
    assert rules[0] == "core < 70 ml, mismatch ≥ 15 ml, ratio ≥ 1.8"
    assert rules[1] == "core < 70 ml, mismatch > 10 ml, ratio > 1.2"
    assert rules[2].startswith("age ≥ 80, NIHSS ≥ 10, core ≤ 20 ml; ")
