"""Where relevance lies: in which channel, in which part of the brain, and how well that is the lesion.

Relevance has channels c and the voxels of a slice or a volume; a mask has the voxels. No number here depends on the
relevance's scale. Sums are of float64. Where channels become one map they are summed.

References:
    Arras et al. 2022, Inf Fusion 81:14 (mass and rank accuracy); Zhang et al. 2018, IJCV 126:1084 (pointing game);
    Tjoa et al., arXiv 1911.08136 (inclusivity).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import nan

import numpy as np
from jaxtyping import Float

from strokelens.arrays import Region

Relevance = Float[np.ndarray, "c *space"]
"""How much each voxel of each channel speaks for the answer, or where negative against it."""

_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Shares:
    """How relevance is shared among channels; each array sums to 1.

    `signed` is that of the sum, in which what is for and what is against cancel; `positive`, `negative` and `absolute`
    are never below 0.
    """

    signed: Float[np.ndarray, "c"]
    positive: Float[np.ndarray, "c"]
    negative: Float[np.ndarray, "c"]
    absolute: Float[np.ndarray, "c"]


@dataclass(frozen=True)
class Inclusivity:
    """How the bright part A of a map and a mask B cover each other.

    `recall` is |A∩B| / |B|, `precision` |A∩B| / |A|, and `iou` |A∩B| / |A∪B|; each is NaN where it divides by 0.
    """

    recall: float
    precision: float
    iou: float


@dataclass(frozen=True)
class Mass:
    """A region's share of all |R|, of all that is positive, and of all that is negative; NaN where there is none."""

    absolute: float
    positive: float
    negative: float


def shares(relevance: Relevance) -> Shares:
    """Each channel's share of the relevance: Σ over its voxels / Σ over all.

    NaN where there is nothing to share: for a zero map, for `negative` without a negative value, and for `signed` also
    where what is for and what is against cancel but for rounding.

    >>> found = shares(np.array([[3.0, 1.0], [-1.0, 1.0]]))
    >>> found.signed.tolist(), found.positive.tolist(), found.negative.tolist()
    ([1.0, 0.0], [0.8, 0.2], [0.0, 1.0])
    """
    _check(relevance)
    axes = tuple(range(1, relevance.ndim))
    positive = np.maximum(relevance, 0).sum(axes, dtype=np.float64)
    negative = np.maximum(-relevance, 0).sum(axes, dtype=np.float64)
    absolute, signed = positive + negative, positive - negative
    if abs(signed.sum()) <= _ROUNDING * absolute.sum():
        signed = np.full_like(signed, nan)
    return Shares(*(_over(each, each.sum()) for each in (signed, positive, negative, absolute)))


def mass_accuracy(relevance: Relevance, mask: Region) -> float:
    """How much of the positive relevance, of all channels, is in the mask: relevance mass accuracy.

    A uniform map has the mask's share of the voxels. NaN when nothing is positive, 0 when only the mask is empty.

    >>> mass_accuracy(np.array([[3.0, 1.0], [-5.0, 4.0]]), np.array([True, False]))
    0.375
    """
    _check(relevance, mask)
    positive = np.maximum(relevance, 0).sum(0, dtype=np.float64)
    return _share(float(positive[mask].sum()), float(positive.sum()))


def mass_accuracy_by_channel(relevance: Relevance, mask: Region) -> Float[np.ndarray, "c"]:
    """`mass_accuracy` of each channel alone; NaN for those where nothing is positive.

    >>> mass_accuracy_by_channel(np.array([[3.0, 1.0], [-5.0, 4.0]]), np.array([True, False])).tolist()
    [0.75, 0.0]
    """
    return np.array([mass_accuracy(each[None], mask) for each in relevance])


def rank_accuracy(relevance: Relevance, mask: Region) -> float:
    """How many of the |mask| voxels of highest relevance are in the mask: relevance rank accuracy.

    Of voxels that tie for the last places the expected number counts, so that a constant map has the mask's share of
    the voxels. NaN when the mask is empty.

    >>> rank_accuracy(np.array([[3.0, 2.0, 1.0, 1.0]]), np.array([True, False, True, True]))
    0.6666666666666666
    """
    _check(relevance, mask)
    places = int(np.count_nonzero(mask))
    if not places:
        return nan
    summed = relevance.sum(0, dtype=np.float64)
    last = np.partition(summed, summed.size - places, axis=None)[summed.size - places]
    above, tied = summed > last, summed == last
    left = places - np.count_nonzero(above)
    hits = np.count_nonzero(above & mask) + left * np.count_nonzero(tied & mask) / np.count_nonzero(tied)
    return float(hits / places)


def pointing_hit(relevance: Relevance, mask: Region) -> float:
    """1 when the voxel of highest relevance is in the mask, else 0: the pointing game.

    Of several highest voxels the share in the mask counts. NaN when the mask is empty.

    >>> pointing_hit(np.array([[3.0, 2.0, 1.0]]), np.array([True, False, False]))
    1.0
    """
    _check(relevance, mask)
    summed = relevance.sum(0, dtype=np.float64)
    return float(mask[summed == summed.max()].mean()) if mask.any() else nan


def inclusivity(relevance: Float[np.ndarray, "*space"], mask: Region, threshold: float = 0.5) -> Inclusivity:
    """How the voxels of |R| above `threshold` of the highest |R|, of one channel, and a mask cover each other.

    The ancestor had the recall alone, which is 1 for a constant map. A zero map has no bright part.

    >>> inclusivity(np.array([4.0, -3.0, 2.0, 0.0]), np.array([True, False, True, False]))
    Inclusivity(recall=0.5, precision=0.5, iou=0.3333333333333333)
    """
    _check(relevance[None], mask)
    size = np.abs(relevance)
    bright = size > threshold * size.max(initial=0)
    both = int(np.count_nonzero(bright & mask))
    a, b = int(np.count_nonzero(bright)), int(np.count_nonzero(mask))
    return Inclusivity(recall=_share(both, b), precision=_share(both, a), iou=_share(both, a + b - both))


def mass_by_region(relevance: Relevance, regions: Mapping[str, Region]) -> dict[str, Mass]:
    """How much of the relevance, of all channels, is in each region, by the region's name.

    Such as the lesion, a rim around it, the rest of its hemisphere and the other one. What is in no region lacks to 1.
    Raises `ValueError` when two regions overlap.

    >>> lesion = np.array([True, False, False])
    >>> mass_by_region(np.array([[3.0, -1.0, 1.0]]), {"lesion": lesion, "rest": ~lesion})["lesion"]
    Mass(absolute=0.6, positive=0.75, negative=0.0)
    """
    for (one, first), (other, second) in combinations(regions.items(), 2):
        if common := np.count_nonzero(first & second):
            raise ValueError(f"{one} and {other} have {common} voxels in common; take them out of one")
    for mask in regions.values():
        _check(relevance, mask)
    positive = np.maximum(relevance, 0).sum(0, dtype=np.float64)
    negative = np.maximum(-relevance, 0).sum(0, dtype=np.float64)
    kinds = (positive + negative, positive, negative)
    return {
        name: Mass(*(_share(float(kind[mask].sum()), float(kind.sum())) for kind in kinds))
        for name, mask in regions.items()
    }


def _check(relevance: Relevance, mask: Region | None = None) -> None:
    if mask is not None and mask.shape != relevance.shape[1:]:
        raise ValueError(
            f"the mask has voxels {mask.shape} but relevance has {relevance.shape[1:]}; put both on one grid"
        )
    if broken := np.count_nonzero(~np.isfinite(relevance)):
        raise ValueError(f"{broken} of {relevance.size} values of relevance are not finite; look for where they began")


def _over(parts: Float[np.ndarray, "c"], total: float) -> Float[np.ndarray, "c"]:
    return parts / total if total else np.full_like(parts, nan)


def _share(part: float, total: float) -> float:
    return part / total if total else nan
