"""What the first ancestor's statistics measured on the masks themselves, for its published tables; not for new work.

Conventions: theirs. An image's rows are the lines along i, as `cohorts.slices` lays a picture into a volume, and a
slice is a k. Voxels where the truth's label is 0 are left out of the restricted counts: in their grey levels that is
what lies outside of the brain; in a scheme without brain it is all but the lesion.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool

from strokelens.arrays import Mask
from strokelens.metrics.overlap import Counts

ROW_MM: Final = 0.43664551
"""What they multiplied with: the pixel's edge in their cohort, whatever the image's."""


@dataclass(frozen=True)
class Theirs:
    """Their measures of one class: the mean of `rowwise`, and the counts of voxels where the truth is not 0."""

    rowwise: float
    counts: Counts


Measure = Callable[[Mask, Mask, Mask], Theirs]
"""What measures truth and prediction of one class, given where the truth's label is not 0."""


def measure(truth: Mask, prediction: Mask, where: Mask) -> Theirs:
    """Their measures of one class."""
    return Theirs(rowwise(truth, prediction), restricted(truth, prediction, where))


def rowwise(truth: Mask, prediction: Mask) -> float:
    """What they called a Hausdorff distance, and is none: it knows neither where a row lies nor how its voxels do.

    Their routine expects lists of points and was given binary images, so that each row of a slice is one point of as
    many dimensions as it has pixels. The farthest row from its nearest row of the other image, in both directions, is
    the square root of a number of pixels; times 0.43664551, averaged over all slices. An empty pair of slices has 0.

    >>> truth = np.zeros((4, 3, 2), bool)
    >>> truth[:, 1, 0] = True
    >>> rowwise(truth, np.roll(truth, 1, axis=1)), rowwise(truth, truth & ~truth) / ROW_MM  # √4 in one of two slices
    (0.0, 1.0)
    """
    slices = [_apart(truth[:, :, k], prediction[:, :, k]) for k in range(truth.shape[2])]
    return ROW_MM * float(np.mean(slices))


def restricted(truth: Mask, prediction: Mask, where: Mask) -> Counts:
    """The counts of the voxels in `where`.

    >>> truth, prediction = np.array([[[1, 1, 0, 0]], [[1, 0, 1, 0]]], bool)[..., None]
    >>> restricted(truth, prediction, truth), restricted(truth, prediction, truth | ~truth)
    (Counts(tp=1, fp=0, fn=1, tn=0), Counts(tp=1, fp=1, fn=1, tn=1))
    """
    tp = int(np.count_nonzero(truth & prediction & where))
    fp = int(np.count_nonzero(prediction & where)) - tp
    fn = int(np.count_nonzero(truth & where)) - tp
    return Counts(tp, fp, fn, int(np.count_nonzero(where)) - tp - fp - fn)


def _apart(truth: Bool[np.ndarray, "i j"], prediction: Bool[np.ndarray, "i j"]) -> float:
    """The symmetric Hausdorff distance of two sets of rows, by |a − b|² = |a| + |b| − 2 a·b of sets of pixels."""
    marked = truth | prediction
    if not marked.any():
        return 0.0
    # rows that nobody marked are one point, and whole numbers below 2²⁴ are exact in float32
    rows = np.append(np.flatnonzero(marked.any(axis=0)), np.flatnonzero(~marked.any(axis=0))[:1])
    columns = np.flatnonzero(marked.any(axis=1))
    one, other = (mask[columns][:, rows].T.astype(np.float32) for mask in (truth, prediction))
    squares = one.sum(axis=1)[:, None] + other.sum(axis=1) - 2 * (one @ other.T)
    return float(np.sqrt(max(squares.min(axis=1).max(), squares.min(axis=0).max())))
