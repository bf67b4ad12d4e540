"""Scores of overlap: by hand, against counting voxel by voxel, and what an empty mask gives."""

from collections.abc import Callable
from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given

from strokelens.arrays import Region
from strokelens.metrics import overlap
from strokelens.metrics.overlap import Counts, f1_per_patient, f1_pooled
from strokelens.metrics.pairs import Pair
from tests.mask_strategies import Drawn, mask_pairs
from tests.oracles import scores as oracle

A = np.array([[1, 1, 1, 0, 0, 0, 0, 0]], bool)
B = np.array([[0, 1, 1, 1, 1, 0, 0, 0]], bool)  # tp 2, fp 2, fn 1, tn 3
EMPTY = np.zeros_like(A)
FULL = ~EMPTY

Score = Callable[[Region, Region], float]


@given(mask_pairs())
def test_counts_are_those_of_each_voxel(drawn: Drawn) -> None:
    truth, prediction, _ = drawn
    counted = Counts.of(Pair.of(truth, prediction))
    assert (counted.tp, counted.fp, counted.fn, counted.tn) == oracle.counts(truth, prediction)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (overlap.dice, 4 / 7),
        (overlap.dice_isles, 4 / 7),
        (overlap.jaccard, 2 / 5),
        (overlap.precision, 2 / 4),
        (overlap.recall, 2 / 3),
        (overlap.specificity, 3 / 5),
        (overlap.mcc, (2 * 3 - 2 * 1) / (4 * 3 * 5 * 4) ** 0.5),
    ],
)
def test_scores_by_hand(score: Score, expected: float) -> None:
    assert score(A, B) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("score", "both_empty", "prediction_empty", "truth_empty"),
    [
        (overlap.dice, nan, 0.0, 0.0),
        (overlap.dice_isles, 1.0, 0.0, 0.0),
        (overlap.jaccard, nan, 0.0, 0.0),
        (overlap.precision, nan, 0.0, 0.0),
        (overlap.recall, nan, 0.0, 0.0),
        (overlap.specificity, 1.0, 1.0, 5 / 8),
        (overlap.mcc, nan, 0.0, 0.0),
    ],
)
def test_empty_masks(score: Score, both_empty: float, prediction_empty: float, truth_empty: float) -> None:
    scores = [score(EMPTY, EMPTY), score(A, EMPTY), score(EMPTY, A)]
    np.testing.assert_array_equal(scores, [both_empty, prediction_empty, truth_empty])


def test_specificity_is_unknown_where_the_truth_fills_the_image() -> None:
    assert isnan(overlap.specificity(FULL, A))


def test_matthews_correlation_of_two_full_masks_is_unknown() -> None:
    assert isnan(overlap.mcc(FULL, FULL))


def test_matthews_correlation_with_one_full_mask_is_zero() -> None:
    assert overlap.mcc(FULL, A) == overlap.mcc(A, FULL) == overlap.mcc(FULL, EMPTY) == 0.0


def test_matthews_correlation_of_a_large_cohort_does_not_overflow() -> None:
    assert Counts(tp=10**12, fp=0, fn=0, tn=10**14).mcc == 1.0


def test_pooled_f1_is_dice_of_the_added_counts() -> None:
    assert f1_pooled([Counts(2, 2, 1, 3), Counts(5, 0, 5, 0)]) == pytest.approx(2 * 7 / (2 * 7 + 2 + 6))


def test_f1_per_patient_is_the_mean_of_dice() -> None:
    assert f1_per_patient([Counts(2, 2, 1, 3), Counts(5, 0, 5, 0)]) == pytest.approx((4 / 7 + 2 / 3) / 2)


def test_a_patient_with_two_empty_masks_changes_neither_f1() -> None:
    patients = [Counts(2, 2, 1, 3), Counts(0, 0, 0, 8)]
    assert f1_pooled(patients) == f1_per_patient(patients) == 4 / 7


def test_a_missed_lesion_lowers_f1_per_patient() -> None:
    assert f1_per_patient([Counts(2, 2, 1, 3), Counts(0, 0, 4, 4)]) == 2 / 7


@pytest.mark.parametrize("score", [f1_pooled, f1_per_patient])
def test_f1_of_nobody_is_unknown(score: Callable[[list[Counts]], float]) -> None:
    assert isnan(score([]))
    assert isnan(score([Counts(0, 0, 0, 9)]))


def test_evaluate_gives_every_score_under_its_function_s_name() -> None:
    for name, value in overlap.evaluate(A, B).items():
        assert value == getattr(overlap, name)(A, B)


def test_masks_stay_as_they_are() -> None:
    truth, prediction = A.copy(), B.copy()
    overlap.evaluate(truth, prediction)
    assert (truth == A).all()
    assert (prediction == B).all()
