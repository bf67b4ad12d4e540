"""Scores of probabilities: by hand, and against loops."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strokelens.errors import UnitError
from strokelens.metrics import calibration
from strokelens.metrics.calibration import auc, expected_calibration_error, reliability
from tests.oracles import scores as oracle

VOXELS = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=40)
BOTH_KINDS = VOXELS.filter(lambda voxels: len({true for true, _ in voxels}) == 2)


def arrays(voxels: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([true for true, _ in voxels]), np.array([level for _, level in voxels]) / 20


@given(VOXELS, st.integers(1, 12))
def test_calibration_error_is_that_of_the_loop(voxels: list[tuple[bool, int]], bins: int) -> None:
    truth, probability = arrays(voxels)
    slow = oracle.expected_calibration_error(truth.tolist(), probability.tolist(), bins)
    assert expected_calibration_error(truth, probability, bins=bins) == pytest.approx(slow, abs=1e-12)


@given(BOTH_KINDS)
def test_area_under_the_curve_is_the_share_of_won_pairs(voxels: list[tuple[bool, int]]) -> None:
    truth, probability = arrays(voxels)
    assert auc(truth, probability) == pytest.approx(oracle.auc(truth.tolist(), probability.tolist()))


@given(BOTH_KINDS)
def test_area_under_the_curve_asks_only_for_the_order(voxels: list[tuple[bool, int]]) -> None:
    truth, probability = arrays(voxels)
    assert auc(truth, probability**3) == auc(truth, probability)


@given(BOTH_KINDS)
def test_the_area_of_the_opposite_is_what_is_left(voxels: list[tuple[bool, int]]) -> None:
    truth, probability = arrays(voxels)
    assert auc(~truth, probability) == pytest.approx(1 - auc(truth, probability))


@given(VOXELS, VOXELS)
def test_tables_of_two_patients_add_up_to_that_of_both(
    first: list[tuple[bool, int]], second: list[tuple[bool, int]]
) -> None:
    added = reliability(*arrays(first)) + reliability(*arrays(second))
    together = reliability(*arrays(first + second))
    np.testing.assert_array_equal(added.voxels, together.voxels)
    np.testing.assert_array_equal(added.true_voxels, together.true_voxels)
    np.testing.assert_allclose(added.probability_sum, together.probability_sum)
    assert added.expected_calibration_error == pytest.approx(together.expected_calibration_error)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_bin_holds_its_upper_edge_and_the_first_also_zero(dtype: type[np.floating]) -> None:
    probability = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], dtype)
    table = reliability(np.ones(6, bool), probability, bins=5)
    assert table.voxels.tolist() == [2, 1, 1, 1, 1]


def test_an_empty_bin_has_no_mean_and_no_frequency() -> None:
    table = reliability(np.array([True]), np.array([0.9]), bins=2)
    np.testing.assert_array_equal(table.mean_probability, [np.nan, 0.9])
    np.testing.assert_array_equal(table.frequency, [np.nan, 1.0])


def test_there_are_fifteen_bins() -> None:
    assert reliability(np.array([True]), np.array([0.9])).voxels.size == 15


def test_certain_and_wrong_is_the_worst_calibration() -> None:
    assert expected_calibration_error(np.array([True, False]), np.array([0.0, 1.0])) == 1.0


@given(VOXELS)
def test_brier_score_is_that_of_the_loop(voxels: list[tuple[bool, int]]) -> None:
    truth, probability = arrays(voxels)
    slow = sum((value - true) ** 2 for true, value in zip(truth.tolist(), probability.tolist(), strict=True))
    assert calibration.brier(truth, probability) == pytest.approx(slow / len(voxels))


@pytest.mark.parametrize("bins", [0, -1])
def test_a_table_without_bins_is_refused(bins: int) -> None:
    with pytest.raises(UnitError, match=rf"^{bins} bins hold nothing; give 1 or more, 15 are usual$"):
        reliability(np.array([True]), np.array([0.5]), bins=bins)


def test_without_voxels_nothing_is_known() -> None:
    nothing = np.zeros(0, bool), np.zeros(0)
    assert all(isnan(value) for value in calibration.evaluate(*nothing).values())


@pytest.mark.parametrize("only", [True, False])
def test_area_under_the_curve_needs_voxels_of_both_kinds(only: bool) -> None:
    assert isnan(auc(np.array([only, only]), np.array([0.1, 0.9])))


def test_evaluate_gives_every_score_under_its_function_s_name() -> None:
    truth, probability = np.array([[True, True], [False, False]]), np.array([[0.9, 0.3], [0.4, 0.1]])
    for name, value in calibration.evaluate(truth, probability).items():
        assert value == getattr(calibration, name)(truth, probability)
