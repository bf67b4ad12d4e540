"""Voxels that a user points at: those of a mask in a file, or a single one."""

from pathlib import Path

import numpy as np

from strokelens.arrays import Mask
from strokelens.cohorts.decode import read_scan
from strokelens.errors import RelevanceError
from strokelens.grid import Grid, difference, reordered


def mask_of(path: Path, grid: Grid) -> Mask:
    """The voxels that are not 0 in a file, on the case's grid.

    Raises `RelevanceError` when they lie elsewhere, and what reading raises.
    """
    image = read_scan(path)
    if image.array.ndim != 3:
        raise RelevanceError(f"{path} is a series; give a mask of one volume")
    if np.isnan(image.array).any():
        raise RelevanceError(f"{path} has voxels that are no number (NaN); give a mask of 0 and 1")
    placed = reordered(image.array != 0, image.grid, grid)
    if placed is None:
        raise RelevanceError(f"{path} lies elsewhere than the case: {difference(image.grid, grid)}; resample it to it")
    mask: Mask = placed
    return mask


def voxel_of(told: str, grid: Grid) -> Mask:
    """The voxel i,j,k of the case's grid, counted from 0.

    Raises `RelevanceError` when it is no voxel of it.

    >>> int(voxel_of("1,0,2", Grid((2, 2, 3), np.eye(4))).sum())
    1
    """
    try:
        at = tuple(int(each) for each in told.split(","))
    except ValueError:
        raise RelevanceError(f"{told!r} is no voxel; give three whole numbers i,j,k, as 80,96,10") from None
    if not all(0 <= each < size for each, size in zip(at, grid.shape, strict=True)):
        raise RelevanceError(f"voxel {told} is not in the case, whose shape is {grid.shape}; count from 0")
    mask = np.zeros(grid.shape, np.bool_)
    mask[at] = True
    return mask
