"""Agreement of two measurements: by hand, against all draws of a small cohort, and against all signs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import product
from math import isnan, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strokelens.errors import CaseError, UnitError
from strokelens.metrics import agreement
from strokelens.metrics.agreement import (
    Interval,
    Limits,
    SignedRank,
    bland_altman,
    bootstrap_mean,
    bootstrap_means,
    holm,
    wilcoxon,
)

NUMBERS = st.lists(st.floats(-100.0, 100.0), min_size=2, max_size=12)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def same(first: object, second: object) -> None:
    """Equal, where NaN equals NaN."""
    np.testing.assert_equal(vars(first), vars(second))


def test_bias_and_limits_by_hand() -> None:
    differences = np.array([1.0, 3.0, 2.0, 1.0, 3.0])  # mean 2, squares 1 + 1 + 0 + 1 + 1 = 4, over 4
    limits = bland_altman(np.arange(5.0), np.arange(5.0) + differences)
    assert limits.bias == 2.0
    assert limits.lower == pytest.approx(2 - 1.959964, abs=1e-6)  # of standard deviation 1
    assert limits.upper == pytest.approx(2 + 1.959964, abs=1e-6)


def test_the_interval_of_the_limits_is_that_of_bland_and_altmans_blood_pressures() -> None:
    # 1999: n = 85, mean −16.29, s = 19.61 mmHg; lower limit −54.7 (−62.0 to −47.4), upper 22.1 (14.8 to 29.4)
    drawn = rng().normal(size=85)
    differences = -16.29 + 19.61 * (drawn - drawn.mean()) / drawn.std(ddof=1)
    limits = bland_altman(np.zeros(85), differences)
    assert (limits.lower, limits.upper) == pytest.approx((-54.7, 22.1), abs=0.05)
    assert limits.margin == pytest.approx(7.3, abs=0.05)


def test_limits_of_many_cohorts_lie_within_their_interval_as_often_as_it_says() -> None:
    draws = np.random.default_rng(3).normal(size=(2000, 12))
    every = [bland_altman(np.zeros(12), each) for each in draws]
    held = np.mean([abs(each.upper - 1.959964) <= each.margin for each in every])
    assert 0.93 <= held <= 0.97


def test_a_patient_without_one_of_the_numbers_is_left_out_and_counted() -> None:
    limits = bland_altman(np.array([1.0, nan, 3.0, 4.0]), np.array([2.0, 9.0, nan, 7.0]))  # differences 1, 3
    assert (limits.bias, limits.used, limits.total) == (2.0, 2, 4)


def test_limits_need_five_patients() -> None:
    same(bland_altman(np.ones(4), np.zeros(4)), Limits(-1.0, nan, nan, nan, used=4, total=4))
    assert bland_altman(np.ones(5), np.zeros(5)).lower == -1.0


def test_nobody_has_no_bias() -> None:
    same(bland_altman(np.array([nan]), np.ones(1)), Limits(nan, nan, nan, nan, used=0, total=1))


@given(NUMBERS)
def test_exchanging_the_measurements_turns_the_bias(numbers: list[float]) -> None:
    first, second = np.array(numbers), np.array(numbers[::-1]) + 1
    forth, back = bland_altman(first, second), bland_altman(second, first)
    turned = (-back.bias, -back.upper, -back.lower, back.margin)
    assert (forth.bias, forth.lower, forth.upper, forth.margin) == pytest.approx(turned, abs=1e-9, nan_ok=True)


def test_the_interval_is_that_of_all_cohorts_that_can_be_drawn() -> None:
    values = np.array([0.1, 0.35, 0.5, 0.62, 0.7, 0.9])
    means = [sum(drawn) / 6 for drawn in product(values.tolist(), repeat=6)]  # all 46,656 draws, each as likely
    low, high = np.percentile(means, [2.5, 97.5])
    interval = bootstrap_mean(values, rng())
    assert interval.mean == pytest.approx(values.mean())
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.015)


def test_the_interval_of_many_patients_is_that_of_the_normal_distribution() -> None:
    values = rng().normal(10.0, 2.0, 400)
    half = 1.96 * values.std() / sqrt(400)
    interval = bootstrap_mean(values, rng())
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = rng().random(50)
    assert bootstrap_mean(values, np.random.default_rng(1)) == bootstrap_mean(values, np.random.default_rng(1))


def test_patients_without_a_number_change_only_the_count() -> None:
    values = np.array([0.3, 0.5, 0.8, 0.4, 0.9, 0.1])
    interval = bootstrap_mean(np.insert(values, 1, nan), rng())
    assert interval == Interval(**{**vars(bootstrap_mean(values, rng())), "total": 7})


def test_an_interval_does_not_depend_on_what_else_is_measured() -> None:
    values = rng().random((30, 4))
    values[:5, 1] = values[7, 2] = nan
    together = bootstrap_means(list(values.T), rng())
    alone = [bootstrap_mean(column, rng()) for column in values.T]
    for one, other in zip(together, alone, strict=True):
        assert list(vars(one).values()) == pytest.approx(list(vars(other).values()), abs=1e-12)


@pytest.mark.parametrize(("count", "least"), [(6, 0.84), (20, 0.91), (60, 0.93)])
def test_how_often_the_interval_holds_the_true_mean(count: int, least: float) -> None:
    # 95 of 100 are promised, and held from some 60 patients on; skewed as Dice is, mean 5 / 7
    draws = np.random.default_rng(11).beta(5, 2, size=(count, 400))
    held = np.mean([each.low <= 5 / 7 <= each.high for each in bootstrap_means(list(draws.T), rng())])
    assert least <= held <= 0.98


@pytest.mark.parametrize("count", [1, 2, 5])
def test_too_few_patients_have_a_mean_and_no_interval(count: int) -> None:
    same(bootstrap_mean(np.full(count, 0.5), rng()), Interval(0.5, nan, nan, used=count, total=count))


def test_the_interval_of_nobody_is_unknown() -> None:
    same(bootstrap_mean(np.array([nan, nan]), rng()), Interval(nan, nan, nan, used=0, total=2))


@pytest.mark.parametrize("seed", range(5))
def test_wilcoxon_is_the_share_of_signs_that_are_as_uneven(seed: int) -> None:
    differences = np.random.default_rng(seed).permutation([1.0, -2.0, 3.5, 4.0, -5.0, 6.0, 7.5])
    ranks = {abs(value): rank for rank, value in enumerate(sorted(differences, key=abs), start=1)}
    smaller = min(
        sum(ranks[abs(value)] for value in differences if (value > 0) == positive) for positive in (True, False)
    )
    signs = list(product([True, False], repeat=7))
    as_uneven = sum(
        min(sum(rank for rank, up in zip(range(1, 8), sign, strict=True) if up == side) for side in (True, False))
        <= smaller
        for sign in signs
    )
    result = wilcoxon(np.zeros(7), differences)
    assert result.statistic == smaller
    assert result.p == pytest.approx(as_uneven / len(signs))


def test_two_equal_measurements_do_not_differ() -> None:
    values = np.array([0.3, 0.5, nan])
    assert wilcoxon(values, values) == SignedRank(0.0, 1.0, signed=0, used=2, total=3)


def test_the_test_tells_how_many_differences_it_ranked() -> None:
    result = wilcoxon(np.zeros(8), np.array([0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (result.signed, result.used, result.p) == (5, 8, 2 / 2**5)


def test_what_rounding_parts_is_a_tie() -> None:
    first = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    noisy = first + 0.1  # 0.30000000000000004 − 0.2 is not 0.2 − 0.1
    noisy[0] = 0.0
    exact = np.array([-1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert wilcoxon(first, noisy).p == wilcoxon(np.zeros(6), exact).p


def test_nobody_cannot_be_tested() -> None:
    assert isnan(wilcoxon(np.array([nan]), np.array([1.0])).p)


def test_holm_by_hand() -> None:
    # sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, which may not fall
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_counts_no_test_that_has_no_p_and_stays_below_one() -> None:
    np.testing.assert_allclose(holm(np.array([nan, 0.6, 0.02])), [nan, 0.6, 0.04])
    assert holm(np.array([0.7, 0.8])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8), st.floats(0.01, 0.99))
def test_holm_rejects_what_stepping_down_rejects(p: list[float], alpha: float) -> None:
    rejected = set()
    for step, at in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[at] * (len(p) - step) > alpha:
            break
        rejected.add(at)
    assert set(np.flatnonzero(holm(np.array(p)) <= alpha).tolist()) == rejected


def test_evaluate_gives_what_the_functions_give() -> None:
    first, second = rng().random(20), rng().random(20) + np.linspace(0, 0.1, 20)
    limits, interval = bland_altman(first, second), bootstrap_mean(second - first, rng())
    assert agreement.evaluate(first, second, rng()) == {
        "bias": limits.bias,
        "bias_low": interval.low,
        "bias_high": interval.high,
        "lower_limit": limits.lower,
        "upper_limit": limits.upper,
        "wilcoxon_p": wilcoxon(first, second).p,
    }


Compare = Callable[[np.ndarray, np.ndarray], object]


@pytest.mark.parametrize(
    "compare", [bland_altman, wilcoxon, lambda first, second: agreement.evaluate(first, second, rng())]
)
def test_measurements_of_different_patients_are_told(
    compare: Compare, as_a_user: Callable[[], AbstractContextManager[None]]
) -> None:
    with as_a_user(), pytest.raises(CaseError) as caught:
        compare(np.ones(3), np.ones(4))
    assert str(caught.value) == ("shapes (3,) and (4,); give one number per patient in all, NaN where there is none")


def test_infinite_numbers_are_told() -> None:
    with pytest.raises(UnitError) as caught:
        bootstrap_mean(np.array([1.0, np.inf]), rng())
    assert str(caught.value) == "the numbers hold inf 1 times, which has no mean; give NaN to leave a patient out"
