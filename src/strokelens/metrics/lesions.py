"""Scores of lesions: how many of them were found, whatever their size.

Conventions: a lesion is a connected component over faces, edges and corners (26 neighbours in a volume, 8 in a slice).
The edition of the challenge is part of the name, because the same masks score differently: `isles22` counts a lesion as
found if one voxel of it is predicted; `isles24` wants an intersection over union of at least 0.2, and no predicted
lesion finds more than one.

Empty cases, as the challenges have them: F1 is 1 when both masks are empty, 0 when one is. Differences of counts are
always defined. `pairs.validate` checks the masks.

Metrics: f1_isles22, f1_isles24; signed and absolute difference of the lesions' number.

References:
    Hernandez Petzsche et al. 2022, Sci Data 9:762 (ISLES'22), and the challenge's eval_utils.py.
    de la Rosa et al. 2024, arXiv 2408.10966 (ISLES'24); Kofler et al. 2023, arXiv 2312.02608 (panoptica).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Int
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from strokelens.arrays import Region
from strokelens.metrics.pairs import Pair

LEAST_IOU = 0.2
"""The intersection over union from which ISLES'24 counts two lesions as the same."""

_SPECKLED = 0.03
"""From this many runs a voxel on scipy is as fast, at 4 bytes a voxel; speckles would take hundreds by runs."""


@dataclass(frozen=True, eq=False)
class Lesions:
    """The lesions of truth and prediction: their sizes in voxels, and each two that overlap, with their common voxels.

    Lesions are numbered from 0 in the order in which a scan, last axis fastest, meets them.
    """

    truth_sizes: Int[np.ndarray, "n"]
    prediction_sizes: Int[np.ndarray, "m"]
    truth_of: Int[np.ndarray, "pairs"]
    prediction_of: Int[np.ndarray, "pairs"]
    common: Int[np.ndarray, "pairs"]

    @classmethod
    def of(cls, pair: Pair) -> "Lesions":
        """Part a pair into lesions and pair those up that overlap."""
        truth, prediction = components(pair.truth), components(pair.prediction)
        truth_sizes, prediction_sizes = np.bincount(truth), np.bincount(prediction)
        both = truth[pair.prediction[pair.truth]] * prediction_sizes.size + prediction[pair.truth[pair.prediction]]
        codes, common = np.unique(both, return_counts=True)
        truth_of, prediction_of = np.divmod(codes, max(prediction_sizes.size, 1))
        return cls(truth_sizes, prediction_sizes, truth_of, prediction_of, common)

    @property
    def count_difference(self) -> int:
        """Predicted lesions − true lesions."""
        return self.prediction_sizes.size - self.truth_sizes.size

    @property
    def f1_isles22(self) -> float:
        """F1 = tp / (tp + (fp + fn) / 2); one common voxel makes a true lesion found and a predicted one no error."""
        tp = np.unique(self.truth_of).size
        return _f1(tp, self.prediction_sizes.size - np.unique(self.prediction_of).size, self.truth_sizes.size - tp)

    @property
    def f1_isles24(self) -> float:
        """F1 = tp / (tp + (fp + fn) / 2); tp counts lesions matched one to one in order of falling overlap."""
        tp = self._matches()
        return _f1(tp, self.prediction_sizes.size - tp, self.truth_sizes.size - tp)

    def evaluate(self) -> dict[str, float]:
        """Every score of these lesions, by name."""
        return {
            "f1_isles22": self.f1_isles22,
            "f1_isles24": self.f1_isles24,
            "lesion_count_difference": self.count_difference,
            "absolute_lesion_count_difference": abs(self.count_difference),
        }

    def _matches(self) -> int:
        """How many lesions find a partner; of equal overlaps the predicted lesion that was met first goes first."""
        union = self.truth_sizes[self.truth_of] + self.prediction_sizes[self.prediction_of] - self.common
        iou = self.common / union
        order = np.lexsort((self.truth_of, self.prediction_of, -iou))
        taken: set[int] = set()
        found: set[int] = set()
        for index in order[: np.count_nonzero(iou >= LEAST_IOU)].tolist():
            true, predicted = int(self.truth_of[index]), int(self.prediction_of[index])
            if true not in found and predicted not in taken:
                found.add(true)
                taken.add(predicted)
        return len(found)


def f1_isles22(truth: Region, prediction: Region) -> float:
    """Lesion-wise F1 of ISLES'22: a lesion is found if the prediction has one voxel of it.

    1 when both are empty, 0 when one is.

    >>> a, b = np.zeros((2, 1, 9), bool)
    >>> a[0, [0, 1, 4, 5, 6, 8]] = b[0, [0, 2, 4]] = True
    >>> f1_isles22(a, b)  # two of three are found; one of three predicted is nowhere
    0.6666666666666666
    """
    return Lesions.of(Pair.of(truth, prediction)).f1_isles22


def f1_isles24(truth: Region, prediction: Region) -> float:
    """Lesion-wise F1 of ISLES'24: lesions match one to one, in order of falling IoU, from 0.2 on.

    It is the recognition quality of panoptica. 1 when both are empty, 0 when one is.

    >>> a = np.array([[1, 1, 1, 0, 1, 1]], bool)
    >>> f1_isles24(a, a | ~a), f1_isles22(a, a | ~a)  # one prediction over two lesions finds one of them, or both
    (0.6666666666666666, 1.0)
    """
    return Lesions.of(Pair.of(truth, prediction)).f1_isles24


def lesion_count_difference(truth: Region, prediction: Region) -> int:
    """How many lesions more the prediction has than the truth; an empty mask has none.

    >>> a = np.array([[1, 0, 1, 0, 1]], bool)
    >>> lesion_count_difference(a, a | ~a)
    -2
    """
    return Lesions.of(Pair.of(truth, prediction)).count_difference


def absolute_lesion_count_difference(truth: Region, prediction: Region) -> int:
    """By how many lesions the prediction is off, as in ISLES'22 and ISLES'24; an empty mask has none.

    >>> a = np.array([[1, 0, 1, 0, 1]], bool)
    >>> absolute_lesion_count_difference(a, a | ~a)
    2
    """
    return abs(lesion_count_difference(truth, prediction))


def evaluate(truth: Region, prediction: Region) -> dict[str, float]:
    """Every score of this module for one pair of masks, by name.

    >>> a = np.array([[1, 0, 1, 0, 1]], bool)
    >>> evaluate(a, a)["f1_isles24"], evaluate(a, a)["absolute_lesion_count_difference"]
    (1.0, 0)
    """
    return Lesions.of(Pair.of(truth, prediction)).evaluate()


def components(mask: Region) -> Int[np.ndarray, "voxels"]:
    """The number of the lesion of each set voxel, in the order of `mask[mask]`; numbered from 0.

    The same lesions, in the same order, as `scipy.ndimage.label` with all neighbours.

    >>> components(np.array([[1, 1, 0, 0, 1], [0, 0, 1, 0, 0]], bool))
    array([0, 0, 1, 0])
    """
    if not mask.any():
        return np.zeros(0, np.int64)
    voxel, first = _runs(mask)
    return _by_label(mask) if first.size > _SPECKLED * mask.size else _by_runs(voxel, first, mask.shape)


def _runs(mask: Region) -> tuple[Int[np.ndarray, "voxels"], Int[np.ndarray, "runs"]]:
    """The set voxels by number, and which of them begin a run along the last axis."""
    line, position = np.divmod(np.flatnonzero(mask), mask.shape[-1])
    voxel = line * (mask.shape[-1] + 1) + position  # one more, so that no run goes on in the next line
    return voxel, np.flatnonzero(np.diff(voxel, prepend=-2) > 1)


def _by_label(mask: Region) -> Int[np.ndarray, "voxels"]:
    labels: np.ndarray = ndimage.label(mask, np.ones((3,) * mask.ndim))[0][mask]
    return labels.astype(np.int64) - 1


def _by_runs(
    voxel: Int[np.ndarray, "voxels"], first: Int[np.ndarray, "runs"], shape: tuple[int, ...]
) -> Int[np.ndarray, "voxels"]:
    """Join runs into lesions where they touch over faces, edges and corners."""
    last = np.append(first[1:], voxel.size) - 1
    source, target = _touching(voxel[first], voxel[last], shape)
    graph = coo_array((np.ones(source.size, np.bool_), (source, target)), shape=(first.size, first.size))
    number = connected_components(graph, directed=False)[1]
    return np.repeat(number.astype(np.int64), last - first + 1)


def _touching(
    first: Int[np.ndarray, "runs"], last: Int[np.ndarray, "runs"], shape: tuple[int, ...]
) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"]]:
    """Each two runs of neighbouring lines that overlap when one of them is longer by a voxel at both ends."""
    width = shape[-1] + 1
    line = np.array(np.unravel_index(first // width, shape[:-1]))
    sources, targets = [], []
    for step in product((-1, 0, 1), repeat=len(shape) - 1):
        if step <= (0,) * len(step):
            continue  # the same two lines, seen from the other
        beside = line + np.array(step)[:, None]
        inside = np.flatnonzero(((beside >= 0) & (beside < np.array(shape[:-1])[:, None])).all(axis=0))
        shift = (np.ravel_multi_index(tuple(beside[:, inside]), shape[:-1]) - first[inside] // width) * width
        low = np.searchsorted(last, first[inside] + shift - 1)
        high = np.searchsorted(first, last[inside] + shift + 1, side="right")
        count = high - low
        sources.append(np.repeat(inside, count))
        targets.append(np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - low, count))
    return np.concatenate(sources), np.concatenate(targets)


def _f1(tp: int, fp: int, fn: int) -> float:
    return tp / (tp + (fp + fn) / 2) if tp + fp + fn else 1.0
