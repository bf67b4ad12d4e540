"""The two masks that are compared: checked, and cut to the box that holds both.

Conventions: `truth` comes first, then `prediction`. A mask is a boolean array of two or three axes. Voxel axes are at
right angles, so that a tilted grid enters by `spacing_mm` alone, one edge length per axis; `scores.evaluate` and
`Distances.of` take other edges too. What lies outside of the image is background.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, prod

import numpy as np
from jaxtyping import Shaped

from strokelens.arrays import Region
from strokelens.errors import GridError, LabelError


@dataclass(frozen=True, eq=False)
class Pair:
    """Truth and prediction within the box that holds both; `shape` is that of the whole image.

    A box without voxels holds two empty masks.

    >>> mask = np.zeros((9, 9, 9), bool)
    >>> mask[2:5, 3, 3] = True
    >>> Pair.of(mask, mask).truth.shape
    (3, 1, 1)
    """

    truth: Region
    prediction: Region
    shape: tuple[int, ...]

    @classmethod
    def of(cls, truth: Region, prediction: Region) -> "Pair":
        """Check two masks and cut them."""
        validate(truth, prediction)
        box = _box(truth | prediction)
        return cls(truth[box].copy(), prediction[box].copy(), truth.shape)

    @property
    def voxels(self) -> int:
        """How many voxels the whole image has."""
        return prod(self.shape)


def validate(truth: Shaped[np.ndarray, "..."], prediction: Shaped[np.ndarray, "..."]) -> None:
    """Raise `LabelError` if one is no mask, and `GridError` if the two have different shapes or more than three axes.

    >>> validate(np.zeros((4, 4), bool), np.zeros((4, 4), np.uint8))
    Traceback (most recent call last):
    strokelens.errors.LabelError: prediction has dtype uint8, and a mask is boolean; give prediction.astype(bool)
    """
    for name, mask in (("truth", truth), ("prediction", prediction)):
        if mask.dtype != np.bool_:
            raise LabelError(f"{name} has dtype {mask.dtype}, and a mask is boolean; {_cure(name, mask)}")
    if truth.shape != prediction.shape:
        shapes = f"truth has shape {truth.shape} but prediction has {prediction.shape}"
        raise GridError(f"{shapes}; bring one onto the other's grid with Segmentation.onto(grid)")
    if truth.ndim not in (2, 3):
        raise GridError(f"masks have 2 or 3 axes, not shape {truth.shape}; give one case and one class at a time")


def validate_spacing(spacing_mm: Sequence[float], axes: int) -> None:
    """Raise `GridError` unless there is one positive length for each of the masks' axes."""
    lengths = [float(length) for length in spacing_mm]
    if len(lengths) != axes or not all(isfinite(length) and length > 0 for length in lengths):
        raise GridError(f"spacing_mm needs {axes} positive lengths, one an axis, not {lengths}; give grid.spacing_mm")


def _cure(name: str, mask: Shaped[np.ndarray, "..."]) -> str:
    if np.issubdtype(mask.dtype, np.floating):
        missing = int(np.isnan(mask).sum())
        return f"decide what its {missing} NaN are, then give {name} > 0.5" if missing else f"give {name} > 0.5"
    if np.isin(mask, (0, 1)).all():
        return f"give {name}.astype(bool)"
    return f"give {name} == n for one of its classes {np.unique(mask).tolist()}"


def _box(union: Region) -> tuple[slice, ...]:
    """The smallest block that holds all of the union, found axis by axis, the slowest in memory first."""
    if union.flags.f_contiguous and not union.flags.c_contiguous:
        return _box(union.T)[::-1]
    held = np.flatnonzero(union.any(axis=tuple(range(1, union.ndim))))
    part = slice(int(held[0]), int(held[-1]) + 1) if held.size else slice(0, 0)
    return (part,) if union.ndim == 1 else (part, *_box(np.asarray(union[part].any(axis=0))))
