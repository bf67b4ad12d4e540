"""Scores of probabilities: whether 70 % means seven of ten, and whether the diseased voxels have the higher ones.

Conventions: `probability` has one value from 0 to 1 for each voxel of `truth`, of any shape; give `truth[brain]` and
`probability[brain]` to score the brain alone, because the easy background outside flatters both scores. Bins have equal
width and hold their upper edge; the first also holds 0.

Empty cases: without voxels nothing is known, NaN. The area under the curve is NaN unless the truth has voxels of both
kinds.

Metrics: expected calibration error, Brier score, area under the ROC curve; and the reliability table behind the first.

References:
    Brier 1950, Mon Weather Rev 78:1; Guo et al. 2017, ICML, arXiv 1706.04599 (15 bins);
    Hanley & McNeil 1982, Radiology 143:29.
"""

from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

from strokelens.errors import GridError, LabelError, UnitError

BINS = 15
"""The number of bins of Guo et al. 2017."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """For each bin of probability its voxels, the sum of their probabilities, and how many of them are true.

    Tables of several patients add up, so that a cohort is read in one pass.

    >>> table = reliability(np.array([False, True, True, True]), np.array([0.2, 0.2, 0.9, 0.9]), bins=2)
    >>> table.mean_probability, table.frequency
    (array([0.2, 0.9]), array([0.5, 1. ]))
    >>> (table + table).voxels
    array([4, 4])
    """

    voxels: Integer[np.ndarray, "bins"]
    probability_sum: Float[np.ndarray, "bins"]
    true_voxels: Integer[np.ndarray, "bins"]

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(
            self.voxels + other.voxels,
            self.probability_sum + other.probability_sum,
            self.true_voxels + other.true_voxels,
        )

    @property
    def mean_probability(self) -> Float[np.ndarray, "bins"]:
        """The mean probability of each bin; NaN where it has no voxel."""
        return _ratio(self.probability_sum, self.voxels)

    @property
    def frequency(self) -> Float[np.ndarray, "bins"]:
        """The share of each bin's voxels that are true; NaN where it has no voxel."""
        return _ratio(self.true_voxels, self.voxels)

    @property
    def expected_calibration_error(self) -> float:
        """Σ over bins of |Σ probability − true voxels| / all voxels; NaN without voxels."""
        total = int(self.voxels.sum())
        return float(np.abs(self.probability_sum - self.true_voxels).sum() / total) if total else nan


def validate(truth: Bool[np.ndarray, "*space"], probability: Float[np.ndarray, "*space"]) -> None:
    """Raise `LabelError` if truth is no mask, `GridError` if shapes differ, `UnitError` for what are no probabilities.

    Those are floating-point numbers from 0 to 1.

    >>> validate(np.array([True]), np.array([70.0]))
    Traceback (most recent call last):
    strokelens.errors.UnitError: probabilities lie in 0 to 1, not 70 to 70; divide percents by 100, or apply the softmax
    """
    if truth.dtype != np.bool_:
        raise LabelError(f"truth has dtype {truth.dtype}, and a mask is boolean; compare it with its class, truth == n")
    if truth.shape != probability.shape:
        shapes = f"truth has shape {truth.shape} but probability has {probability.shape}"
        raise GridError(f"{shapes}; give the probability of the one class that truth marks, on the same voxels")
    if not np.issubdtype(probability.dtype, np.floating):
        raise UnitError(
            f"probability has dtype {probability.dtype}, as labels have; give the network's softmax as floats"
        )
    missing = int(np.isnan(probability).sum())
    if missing:
        raise UnitError(f"probability is NaN in {missing} voxels; leave them out: truth[known], probability[known]")
    if probability.size and not 0 <= probability.min() <= probability.max() <= 1:
        limits = f"{probability.min():g} to {probability.max():g}"
        raise UnitError(f"probabilities lie in 0 to 1, not {limits}; divide percents by 100, or apply the softmax")


def reliability(
    truth: Bool[np.ndarray, "*space"], probability: Float[np.ndarray, "*space"], *, bins: int = BINS
) -> Reliability:
    """The table of a reliability diagram: how often what has a probability is true. `UnitError` without bins.

    >>> reliability(np.array([True, False]), np.array([0.0, 1.0]), bins=2).true_voxels
    array([1, 0])
    """
    validate(truth, probability)
    if bins < 1:
        raise UnitError(f"{bins} bins hold nothing; give 1 or more, {BINS} are usual")
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1].astype(probability.dtype)
    place = np.searchsorted(inner_edges, probability.ravel())
    return Reliability(
        voxels=np.bincount(place, minlength=bins),
        # of no voxel, numpy makes integers
        probability_sum=np.bincount(place, weights=probability.ravel(), minlength=bins).astype(np.float64),
        true_voxels=np.bincount(place[truth.ravel()], minlength=bins),
    )


def expected_calibration_error(
    truth: Bool[np.ndarray, "*space"], probability: Float[np.ndarray, "*space"], *, bins: int = BINS
) -> float:
    """Expected calibration error, Σ over bins of (voxels / all) · |mean probability − share of true voxels|.

    0 is best, 1 is worst. NaN without voxels.

    >>> truth = np.array([True, True, True, False])
    >>> expected_calibration_error(truth, np.full(4, 0.75)), expected_calibration_error(truth, np.full(4, 0.5))
    (0.0, 0.25)
    """
    return reliability(truth, probability, bins=bins).expected_calibration_error


def brier(truth: Bool[np.ndarray, "*space"], probability: Float[np.ndarray, "*space"]) -> float:
    """Brier score, the mean of (probability − 1 or 0)²: 0 is best, 1 is certain and wrong. NaN without voxels.

    >>> brier(np.array([True, False]), np.array([0.5, 0.0]))
    0.125
    """
    validate(truth, probability)
    if not truth.size:
        return nan
    return float(np.square(probability.astype(np.float64) - truth).mean())


def auc(truth: Bool[np.ndarray, "*space"], probability: Float[np.ndarray, "*space"]) -> float:
    """Area under the ROC curve: how often a true voxel has a higher probability than another; ties count half.

    NaN unless the truth has voxels of both kinds.

    >>> auc(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1]))
    0.875
    """
    validate(truth, probability)
    true, others = probability[truth], np.sort(probability[~truth])
    if not true.size or not others.size:
        return nan
    wins = np.searchsorted(others, true, side="left").sum()
    ties = np.searchsorted(others, true, side="right").sum() - wins
    return float((wins + ties / 2) / (true.size * others.size))


def evaluate(truth: Bool[np.ndarray, "*space"], probability: Float[np.ndarray, "*space"]) -> dict[str, float]:
    """Every score of this module for one truth and its probabilities, by name.

    >>> evaluate(np.array([True, False]), np.array([1.0, 0.0]))
    {'expected_calibration_error': 0.0, 'brier': 0.0, 'auc': 1.0}
    """
    return {
        "expected_calibration_error": expected_calibration_error(truth, probability),
        "brier": brier(truth, probability),
        "auc": auc(truth, probability),
    }


def _ratio(part: Shaped[np.ndarray, "bins"], whole: Integer[np.ndarray, "bins"]) -> Float[np.ndarray, "bins"]:
    ratio = np.full(whole.shape, nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
