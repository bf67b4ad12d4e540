"""Scores of surfaces: how far apart the borders of truth and prediction lie, in mm.

Conventions: a mask's surface is its voxels that have a face in common with the background or the image's border. A
distance goes from the centre of a surface voxel of one mask to the nearest surface voxel of the other; the distances of
both directions together are pooled. Percentiles interpolate linearly.

Empty cases: two empty masks have no distance, NaN. When one is empty, every distance is the image's diagonal from edge
to edge, which is longer than any distance within the image: a lesion that is missed, or made up, costs more than any
that is found, and never drops out of a mean. Surface Dice is then 0.

Metrics, and the packages that define them so: hd_mm (all); hd95_pooled_mm (MedPy), hd95_max_mm (MONAI,
surface-distance); assd_pooled_mm (MedPy, MONAI), assd_isles_mm (ISLES 2015); surface_dice (MONAI).

References:
    Huttenlocher et al. 1993, IEEE PAMI 15:850; Maier et al. 2017, Med Image Anal 35:250 (ISLES 2015).
    Nikolov et al. 2021, J Med Internet Res 23:e26151 (surface Dice); Podobnik & Vrtovec 2024, arXiv 2410.02630.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import hypot, nan

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.spatial import KDTree

from strokelens.arrays import Region
from strokelens.errors import UnitError
from strokelens.metrics import pairs
from strokelens.metrics.pairs import Pair

Edges = Float[np.ndarray, "axes axes"]
"""The edges of a voxel, one a column, in mm."""

TOLERANCES_MM = (1.0, 2.0)
"""The tolerances of surface Dice that `evaluate` reports."""

_ROUNDING_MM = 1e-6
_BLOCK = 1 << 16
"""How many voxels are measured at a time: distances of all of them at once would take several times the image."""
_TREE_COST = 100
"""A search in a tree takes as long as this many voxels of a distance transform: 15 on balls that nearly coincide, 49 to
217 on poor predictions of 512×512×16, because a search is the longer the farther it ends. 100 was fastest there."""


@dataclass(frozen=True, eq=False)
class Distances:
    """From each surface voxel of one mask to the other mask's surface, in mm; an empty mask has no such voxel."""

    from_truth_mm: Float[np.ndarray, "n"]
    from_prediction_mm: Float[np.ndarray, "m"]

    @classmethod
    def of(cls, pair: Pair, spacing_mm: Sequence[float], edges_mm: Edges | None = None) -> "Distances":
        """Measure a pair in both directions; where one mask is empty, every distance is the image's diagonal.

        `edges_mm` are the voxel edges, one a column, where they are not at right angles; a search in a tree, which
        knows any edges, then measures all.
        """
        truth, prediction = _surface(pair.truth), _surface(pair.prediction)
        counts = np.count_nonzero(truth), np.count_nonzero(prediction)
        if not all(counts):
            lengths = (size * float(length) for size, length in zip(pair.shape, spacing_mm, strict=True))
            diagonal_mm = hypot(*lengths) if edges_mm is None else _diagonal_mm(pair.shape, edges_mm)
            return cls(*(np.full(count, diagonal_mm) for count in counts))
        if edges_mm is not None:
            return cls(*_by_tree(truth, prediction, edges_mm.T))
        searches = sum(counts) - 2 * np.count_nonzero(truth & prediction)
        measure = _by_tree if _TREE_COST * searches < 2 * truth.size else _by_transform
        return cls(*measure(truth, prediction, np.array(spacing_mm, np.float64)))

    @property
    def found(self) -> bool:
        """Whether neither mask is empty."""
        return bool(self.from_truth_mm.size and self.from_prediction_mm.size)

    @cached_property
    def pooled_mm(self) -> Float[np.ndarray, "p"]:
        """The distances of both directions."""
        return np.concatenate([self.from_truth_mm, self.from_prediction_mm])

    @property
    def hd_mm(self) -> float:
        """The largest distance."""
        return float(self.pooled_mm.max()) if self.pooled_mm.size else nan

    @property
    def hd95_pooled_mm(self) -> float:
        """The 95th percentile of all distances."""
        return float(np.percentile(self.pooled_mm, 95)) if self.pooled_mm.size else nan

    @property
    def hd95_max_mm(self) -> float:
        """The larger of the two directions' 95th percentiles."""
        return max((float(np.percentile(distances, 95)) for distances in self._directions), default=nan)

    @property
    def assd_pooled_mm(self) -> float:
        """The mean of all distances."""
        return float(self.pooled_mm.mean()) if self.pooled_mm.size else nan

    @property
    def assd_isles_mm(self) -> float:
        """The mean of the two directions' means."""
        means = [float(distances.mean()) for distances in self._directions]
        return sum(means) / len(means) if means else nan

    def surface_dice(self, tolerance_mm: float) -> float:
        """The share of surface voxels within a tolerance of the other surface; 0 when one mask is empty."""
        if not self.found:
            return 0.0 if self.pooled_mm.size else nan
        return float(np.mean(self.pooled_mm <= tolerance_mm + _ROUNDING_MM))

    def evaluate(self) -> dict[str, float]:
        """Every score of these distances, by name."""
        return {
            "hd_mm": self.hd_mm,
            "hd95_pooled_mm": self.hd95_pooled_mm,
            "hd95_max_mm": self.hd95_max_mm,
            "assd_pooled_mm": self.assd_pooled_mm,
            "assd_isles_mm": self.assd_isles_mm,
            **{f"surface_dice_{tolerance:g}mm": self.surface_dice(tolerance) for tolerance in TOLERANCES_MM},
        }

    @property
    def _directions(self) -> list[Float[np.ndarray, "q"]]:
        return [distances for distances in (self.from_truth_mm, self.from_prediction_mm) if distances.size]


def validate(truth: Region, prediction: Region, spacing_mm: Sequence[float]) -> None:
    """Raise what `pairs.validate` raises, and `GridError` for a wrong spacing."""
    pairs.validate(truth, prediction)
    pairs.validate_spacing(spacing_mm, truth.ndim)


def hd_mm(truth: Region, prediction: Region, spacing_mm: Sequence[float]) -> float:
    """Hausdorff distance: the farthest that a surface voxel of one mask lies from the other surface.

    NaN when both are empty, the image's diagonal when one is.

    >>> a, b = np.zeros((2, 30, 40), bool)
    >>> a[0, 0] = b[0, :3] = True
    >>> hd_mm(a, b, (1.0, 1.0)), hd_mm(a, a, (1.0, 1.0)), hd_mm(a, a & ~a, (1.0, 1.0))
    (2.0, 0.0, 50.0)
    """
    return _distances(truth, prediction, spacing_mm).hd_mm


def hd95_pooled_mm(truth: Region, prediction: Region, spacing_mm: Sequence[float]) -> float:
    """The 95th percentile of the distances of both directions together, as MedPy has it.

    NaN when both are empty, the image's diagonal when one is. A large surface outweighs a small one: `hd95_max_mm` does
    not forgive that, and the two can differ by more than twice.

    >>> a, b = np.zeros((2, 1, 21), bool)
    >>> a[0, 0] = b[0, :3] = True
    >>> hd95_pooled_mm(a, b, (1.0, 1.0))
    1.8499999999999996
    """
    return _distances(truth, prediction, spacing_mm).hd95_pooled_mm


def hd95_max_mm(truth: Region, prediction: Region, spacing_mm: Sequence[float]) -> float:
    """The larger of the two directions' 95th percentiles, as MONAI and surface-distance have it.

    NaN when both are empty, the image's diagonal when one is.

    >>> a, b = np.zeros((2, 1, 21), bool)
    >>> a[0, 0] = b[0, :3] = True
    >>> hd95_max_mm(a, b, (1.0, 1.0))
    1.9
    """
    return _distances(truth, prediction, spacing_mm).hd95_max_mm


def assd_pooled_mm(truth: Region, prediction: Region, spacing_mm: Sequence[float]) -> float:
    """Average symmetric surface distance: the mean of the distances of both directions together, as in MedPy and MONAI.

    NaN when both are empty, the image's diagonal when one is.

    >>> a, b = np.zeros((2, 1, 21), bool)
    >>> a[0, 0] = b[0, :3] = True
    >>> assd_pooled_mm(a, b, (1.0, 1.0))  # (0 + 0 + 1 + 2) / 4
    0.75
    """
    return _distances(truth, prediction, spacing_mm).assd_pooled_mm


def assd_isles_mm(truth: Region, prediction: Region, spacing_mm: Sequence[float]) -> float:
    """Average symmetric surface distance of ISLES 2015: the mean of the two directions' means.

    NaN when both are empty, the image's diagonal when one is. ISLES 2015 counted such a case as missing instead.

    >>> a, b = np.zeros((2, 1, 21), bool)
    >>> a[0, 0] = b[0, :3] = True
    >>> assd_isles_mm(a, b, (1.0, 1.0))  # (0 + (0 + 1 + 2) / 3) / 2
    0.5
    """
    return _distances(truth, prediction, spacing_mm).assd_isles_mm


def surface_dice(truth: Region, prediction: Region, spacing_mm: Sequence[float], *, tolerance_mm: float) -> float:
    """The share of surface voxels of both masks that lie within a tolerance of the other surface.

    By voxels, as MONAI has it by default; surface-distance weighs them by area. NaN when both are empty, 0 when one is.
    Raises `UnitError` for a tolerance below 0, or none.

    >>> a, b = np.zeros((2, 1, 21), bool)
    >>> a[0, 0] = b[0, :3] = True
    >>> surface_dice(a, b, (1.0, 1.0), tolerance_mm=1.0)  # the last of four is 2 mm away
    0.75
    """
    if not tolerance_mm >= 0:
        raise UnitError(f"tolerance_mm is {tolerance_mm:g}, and a distance is 0 or more; give mm")
    return _distances(truth, prediction, spacing_mm).surface_dice(tolerance_mm)


def evaluate(truth: Region, prediction: Region, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Every score of this module for one pair of masks, by name.

    >>> list(evaluate(np.ones((2, 2), bool), np.ones((2, 2), bool), (1.0, 1.0)))[:4]
    ['hd_mm', 'hd95_pooled_mm', 'hd95_max_mm', 'assd_pooled_mm']
    """
    return _distances(truth, prediction, spacing_mm).evaluate()


def _distances(truth: Region, prediction: Region, spacing_mm: Sequence[float]) -> Distances:
    validate(truth, prediction, spacing_mm)
    return Distances.of(Pair.of(truth, prediction), spacing_mm)


def _surface(mask: Region) -> Region:
    """The mask without the voxels whose neighbours over all faces are in it: mask − erosion by a cross."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        along, within = np.moveaxis(mask, axis, 0), np.moveaxis(inner, axis, 0)
        within[1:] &= along[:-1]
        within[:-1] &= along[1:]
        within[:1] = within[-1:] = False
    inner ^= mask
    return inner


def _diagonal_mm(shape: tuple[int, ...], edges_mm: Edges) -> float:
    """The longest of an image's diagonals, from edge to edge."""
    signs = np.array(list(product((-1.0, 1.0), repeat=len(shape))))
    return float(np.linalg.norm((signs * shape) @ edges_mm.T, axis=1).max())


def _by_tree(
    truth: Region, prediction: Region, lengths_mm: Float[np.ndarray, "*by axes"]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "m"]]:
    """The distances of both directions by search in a tree; those of common voxels are 0 without a search.

    `lengths_mm` are those of edges at right angles, or the edges themselves, one a row.
    """
    places = (_positions(surface) for surface in (truth, prediction))
    first, second = (each * lengths_mm if lengths_mm.ndim == 1 else each @ lengths_mm for each in places)
    return _nearest(first, second, ~prediction[truth]), _nearest(second, first, ~truth[prediction])


def _nearest(
    points: Float[np.ndarray, "n axes"], others: Float[np.ndarray, "m axes"], apart: Bool[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    distances = np.zeros(apart.size)
    tree = KDTree(others, compact_nodes=False, balanced_tree=False)
    distances[apart] = tree.query(points[apart])[0]
    return distances


def _positions(mask: Region) -> Int[np.ndarray, "n axes"]:
    """`np.argwhere`, several times faster."""
    positions: np.ndarray = np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=1)
    return positions


def _by_transform(
    truth: Region, prediction: Region, lengths_mm: Float[np.ndarray, "axes"]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "m"]]:
    """The same by the distance of every voxel of the box, which is faster where most of it is surface."""
    return _to(prediction, truth, lengths_mm), _to(truth, prediction, lengths_mm)


def _to(surface: Region, voxels: Region, lengths_mm: Float[np.ndarray, "axes"]) -> Float[np.ndarray, "n"]:
    """From each of some voxels to the nearest of a surface; distances of no other voxel are ever in memory."""
    nearest = ndimage.distance_transform_edt(
        ~surface, sampling=lengths_mm, return_distances=False, return_indices=True
    ).reshape(surface.ndim, -1)
    where = np.flatnonzero(voxels)
    distances = np.empty(where.size)
    for start in range(0, where.size, _BLOCK):
        block = where[start : start + _BLOCK]
        apart = np.stack(np.unravel_index(block, surface.shape)) - nearest[:, block]
        distances[start : start + _BLOCK] = np.sqrt(np.square(apart * lengths_mm[:, None]).sum(axis=0))
    return distances
