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
from strokelens.metrics.agreement import Interval, Limits, SignedRank, bland_altman, bootstrap_mean, holm, wilcoxon

NUMBERS = st.lists(st.floats(-100.0, 100.0), min_size=2, max_size=12)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def same(first: object, second: object) -> None:
    """Equal, where NaN equals NaN."""
    np.testing.assert_equal(vars(first), vars(second))


def test_bias_and_limits_by_hand() -> None:
    limits = bland_altman(np.array([10.0, 20.0, 30.0]), np.array([11.0, 23.0, 32.0]))  # differences 1, 3, 2
    assert limits.bias == 2.0
    assert limits.lower == pytest.approx(2 - 1.959964, abs=1e-6)  # of standard deviation 1
    assert limits.upper == pytest.approx(2 + 1.959964, abs=1e-6)


def test_a_patient_without_one_of_the_numbers_is_left_out_and_counted() -> None:
    limits = bland_altman(np.array([1.0, nan, 3.0, 4.0]), np.array([2.0, 9.0, nan, 7.0]))  # differences 1, 3
    assert (limits.bias, limits.used, limits.total) == (2.0, 2, 4)


def test_limits_need_two_patients() -> None:
    same(bland_altman(np.ones(1), np.zeros(1)), Limits(-1.0, nan, nan, used=1, total=1))


def test_nobody_has_no_bias() -> None:
    same(bland_altman(np.array([nan]), np.ones(1)), Limits(nan, nan, nan, used=0, total=1))


@given(NUMBERS)
def test_exchanging_the_measurements_turns_the_bias(numbers: list[float]) -> None:
    first, second = np.array(numbers), np.array(numbers[::-1]) + 1
    forth, back = bland_altman(first, second), bland_altman(second, first)
    assert (forth.bias, forth.lower, forth.upper) == pytest.approx((-back.bias, -back.upper, -back.lower), abs=1e-9)


def test_the_interval_is_that_of_all_cohorts_that_can_be_drawn() -> None:
    values = np.array([0.1, 0.35, 0.5, 0.62, 0.9])
    means = [sum(drawn) / 5 for drawn in product(values.tolist(), repeat=5)]  # all 3125 draws, each as likely
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
    values = np.array([0.3, 0.5, 0.8])
    interval = bootstrap_mean(np.insert(values, 1, nan), rng())
    assert interval == Interval(**{**vars(bootstrap_mean(values, rng())), "total": 4})


def test_the_interval_of_one_patient_is_a_point() -> None:
    assert bootstrap_mean(np.array([0.7]), rng()) == Interval(0.7, 0.7, 0.7, used=1, total=1)


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
    assert wilcoxon(values, values) == SignedRank(0.0, 1.0, used=2, total=3)


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
