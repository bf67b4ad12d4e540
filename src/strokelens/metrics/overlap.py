"""Scores from four counts of voxels: how much of the truth was found, and how much of what was found is true.

Conventions: a voxel is tp where truth and prediction are set, fp where only the prediction is, fn where only the truth
is, tn where neither is. No score depends on the voxels' size. When both masks are empty there is nothing to find and
nothing found: the score is NaN, and a table counts it as unused. When only one is empty, the score is that of a failure
and not NaN, so that a missed lesion never drops out of a mean. `pairs.validate` checks the masks.

Metrics: dice (F1 of one patient), `dice_isles`, jaccard, precision, recall, specificity, mcc; and F1 of many patients
in its two meanings, `f1_pooled` and `f1_per_patient`.

References:
    Dice 1945, Ecology 26:297; Jaccard 1912, New Phytol 11:37; Matthews 1975, Biochim Biophys Acta 405:442.
    Hernandez Petzsche et al. 2022, Sci Data 9:762 (ISLES'22), and the challenge's eval_utils.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan, nan, prod, sqrt

import numpy as np

from strokelens.arrays import Region
from strokelens.metrics.pairs import Pair


@dataclass(frozen=True)
class Counts:
    """How many voxels are true positive, false positive, false negative and true negative.

    Counts of several patients add up, so that a score can be pooled in one pass over a cohort.

    >>> Counts(tp=3, fp=1, fn=0, tn=96) + Counts(tp=1, fp=0, fn=3, tn=96)
    Counts(tp=4, fp=1, fn=3, tn=192)
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, pair: Pair) -> "Counts":
        """Count the voxels of a pair."""
        tp = int(np.count_nonzero(pair.truth & pair.prediction))
        fp = int(np.count_nonzero(pair.prediction)) - tp
        fn = int(np.count_nonzero(pair.truth)) - tp
        return cls(tp, fp, fn, pair.voxels - tp - fp - fn)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def dice(self) -> float:
        """2 tp / (2 tp + fp + fn); NaN without any of them."""
        return _share(2 * self.tp, self.fp + self.fn)

    @property
    def dice_isles(self) -> float:
        """Dice, and 1 when both masks are empty."""
        return self.dice if self.tp + self.fp + self.fn else 1.0

    @property
    def jaccard(self) -> float:
        """Intersection over union, tp / (tp + fp + fn); NaN without any of them."""
        return _share(self.tp, self.fp + self.fn)

    @property
    def precision(self) -> float:
        """The true share of the prediction, tp / (tp + fp); 0 when only the prediction is empty, NaN when both are."""
        return _share(self.tp, self.fp) if self.tp + self.fp or not self.fn else 0.0

    @property
    def recall(self) -> float:
        """The found share of the truth, tp / (tp + fn); 0 when only the truth is empty, NaN when both are."""
        return _share(self.tp, self.fn) if self.tp + self.fn or not self.fp else 0.0

    @property
    def specificity(self) -> float:
        """The background that was left alone, tn / (tn + fp); NaN when the truth fills the image."""
        return _share(self.tn, self.fp)

    @property
    def mcc(self) -> float:
        """Matthews correlation; NaN when both masks are empty or both are full, 0 when only one is."""
        sides = (self.tp + self.fp, self.tp + self.fn, self.tn + self.fp, self.tn + self.fn)
        if all(sides):
            return (self.tp * self.tn - self.fp * self.fn) / sqrt(prod(sides))
        return 0.0 if self.fp + self.fn else nan

    def evaluate(self) -> dict[str, float]:
        """Every score of these counts, by name."""
        return {
            "dice": self.dice,
            "dice_isles": self.dice_isles,
            "jaccard": self.jaccard,
            "precision": self.precision,
            "recall": self.recall,
            "specificity": self.specificity,
            "mcc": self.mcc,
        }


def dice(truth: Region, prediction: Region) -> float:
    """Overlap of two masks, 2 |A∩B| / (|A| + |B|); it is F1 of one patient.

    NaN when both are empty, 0 when one is.

    >>> a, b = np.array([[1, 1, 0, 0]], bool), np.array([[1, 0, 1, 0]], bool)
    >>> dice(a, b), dice(a, a), dice(a & ~a, a), dice(a & ~a, a & ~a)
    (0.5, 1.0, 0.0, nan)
    """
    return Counts.of(Pair.of(truth, prediction)).dice


def dice_isles(truth: Region, prediction: Region) -> float:
    """Dice as ISLES'22 and ISLES'24 count it: 1 when both masks are empty.

    >>> nothing = np.zeros((4, 4), bool)
    >>> dice_isles(nothing, nothing), dice_isles(nothing, ~nothing)
    (1.0, 0.0)
    """
    return Counts.of(Pair.of(truth, prediction)).dice_isles


def jaccard(truth: Region, prediction: Region) -> float:
    """Intersection over union, |A∩B| / |A∪B|.

    NaN when both are empty, 0 when one is.

    >>> a, b = np.array([[1, 1, 0, 0]], bool), np.array([[1, 0, 0, 0]], bool)
    >>> jaccard(a, b)
    0.5
    """
    return Counts.of(Pair.of(truth, prediction)).jaccard


def precision(truth: Region, prediction: Region) -> float:
    """How much of the prediction is true, tp / (tp + fp).

    NaN when both are empty, 0 when one is.

    >>> a, b = np.array([[1, 1, 0, 0]], bool), np.array([[1, 0, 0, 0]], bool)
    >>> precision(a, b), precision(b, a), precision(a, a & ~a)
    (1.0, 0.5, 0.0)
    """
    return Counts.of(Pair.of(truth, prediction)).precision


def recall(truth: Region, prediction: Region) -> float:
    """How much of the truth was found, tp / (tp + fn); also called sensitivity.

    NaN when both are empty, 0 when one is.

    >>> a, b = np.array([[1, 1, 0, 0]], bool), np.array([[1, 0, 0, 0]], bool)
    >>> recall(a, b), recall(b, a), recall(a & ~a, a)
    (0.5, 1.0, 0.0)
    """
    return Counts.of(Pair.of(truth, prediction)).recall


def specificity(truth: Region, prediction: Region) -> float:
    """How much of the background was left alone, tn / (tn + fp).

    It grows with the image's empty margin, so compare it on equal images only. NaN when the truth fills the image; two
    empty masks have 1, which the formula gives.

    >>> a, b = np.array([[1, 0, 0, 0, 0]], bool), np.array([[1, 1, 0, 0, 0]], bool)
    >>> specificity(a, b), specificity(a & ~a, a & ~a), specificity(a | ~a, a)
    (0.75, 1.0, nan)
    """
    return Counts.of(Pair.of(truth, prediction)).specificity


def mcc(truth: Region, prediction: Region) -> float:
    """Matthews correlation, (tp·tn − fp·fn) / √((tp+fp)(tp+fn)(tn+fp)(tn+fn)), from −1 to 1.

    NaN when both are empty or both fill the image, 0 when only one of them does.

    >>> a = np.array([[1, 1, 0, 0]], bool)
    >>> mcc(a, a), mcc(a, ~a), mcc(a, a & ~a)
    (1.0, -1.0, 0.0)
    """
    return Counts.of(Pair.of(truth, prediction)).mcc


def f1_pooled(counts: Iterable[Counts]) -> float:
    """F1 of all patients' voxels together, 2 Σtp / (2 Σtp + Σfp + Σfn): large lesions decide.

    NaN when no patient has a voxel in either mask.

    >>> f1_pooled([Counts(tp=90, fp=10, fn=10, tn=0), Counts(tp=0, fp=0, fn=20, tn=0)])
    0.8181818181818182
    """
    return sum(counts, start=Counts(0, 0, 0, 0)).dice


def f1(tp: float, fp: float, fn: float) -> float:
    """2 tp / (2 tp + fp + fn) of counts that may be means over a person's scans; NaN without any.

    >>> f1(0.5, 0.5, 0.5), f1(0.0, 0.0, 0.0)
    (0.5, nan)
    """
    total = 2 * tp + fp + fn
    return 2 * tp / total if total else nan


def f1_per_patient(counts: Iterable[Counts]) -> float:
    """The mean of each patient's Dice: every patient weighs the same.

    Patients with two empty masks have none and are left out; `scores.summary` tells how many they are. NaN when nobody
    is left.

    >>> f1_per_patient([Counts(tp=90, fp=10, fn=10, tn=0), Counts(tp=0, fp=0, fn=20, tn=0)])
    0.45
    """
    found = [count.dice for count in counts if not isnan(count.dice)]
    return sum(found) / len(found) if found else nan


def evaluate(truth: Region, prediction: Region) -> dict[str, float]:
    """Every score of this module for one pair of masks, by name.

    >>> list(evaluate(np.ones((2, 2), bool), np.ones((2, 2), bool)))
    ['dice', 'dice_isles', 'jaccard', 'precision', 'recall', 'specificity', 'mcc']
    """
    return Counts.of(Pair.of(truth, prediction)).evaluate()


def _share(part: int, rest: int) -> float:
    return part / (part + rest) if part + rest else nan
