"""The grid on which perfusion is computed, and the blur within the brain.

After a blur of some millimetres, pixels under half a millimetre hold nothing that pixels of one do not. So in-plane
blocks of pixels are averaged, which also lessens noise, and maps are carried back by linear interpolation.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from strokelens.arrays import Mask, Volume
from strokelens.grid import Grid, resample

_LARGEST_PIXEL_MM = 1.0
_CUT = 3.0
"""The Gaussian ends at this many standard deviations."""


@dataclass(frozen=True, eq=False)
class WorkingGrid:
    """A case's grid `full`, with in-plane blocks of `factor` × `factor` pixels made one; incomplete blocks are cut.

    >>> WorkingGrid.of(Grid((512, 512, 16), np.diag([0.45, 0.45, 5.0, 1.0]))).grid.shape
    (256, 256, 16)
    """

    full: Grid
    factor: int

    @classmethod
    def of(cls, full: Grid) -> "WorkingGrid":
        """The coarsest grid whose pixels are still at most 1 mm wide."""
        pixel_mm = max(full.spacing_mm[axis] for axis in full.axes[:2])
        return cls(full, max(int(_LARGEST_PIXEL_MM / pixel_mm + 1e-6), 1))

    @cached_property
    def _blocks(self) -> tuple[int, int, int]:
        return tuple(self.factor if axis in self.full.axes[:2] else 1 for axis in range(3))  # type: ignore[return-value]

    @cached_property
    def grid(self) -> Grid:
        """The working grid's own place: the middle of a block is the middle of its pixels."""
        blocks = np.array(self._blocks)
        affine = self.full.affine @ np.diag([*blocks, 1.0])
        affine[:3, 3] = self.full.world_mm((blocks - 1) / 2)
        i, j, k = (np.array(self.full.shape) // blocks).tolist()
        return Grid((i, j, k), affine)

    def shrink(self, volume: Volume) -> Float[np.ndarray, "x y z"]:
        """The mean of each block."""
        if self.factor == 1:
            return volume
        whole = volume[tuple(slice(0, n * b) for n, b in zip(self.grid.shape, self._blocks, strict=True))]
        result = whole
        for axis in self.full.axes[:2]:
            first = [slice(None)] * 3
            parts = []
            for offset in range(self.factor):
                first[axis] = slice(offset, None, self.factor)
                parts.append(result[tuple(first)])
            result = np.asarray(np.mean(parts, axis=0, dtype=np.float32))
        return result

    def grow(self, values: Float[np.ndarray, "n"], brain: Bool[np.ndarray, "x y z"]) -> Volume:
        """The values of the brain's voxels as a volume on the full grid, NaN outside of the brain."""
        small = np.full(self.grid.shape, np.nan, np.float32)
        small[brain] = values
        if self.factor == 1:
            return small
        nearest = ndimage.distance_transform_edt(np.isnan(small), return_distances=False, return_indices=True)
        large = resample(small[tuple(nearest)], self.grid, self.full)
        known = resample(np.isfinite(small).astype(np.float32), self.grid, self.full)
        return np.where(known >= 0.5, large, np.float32(np.nan))

    def grow_mask(self, mask: Bool[np.ndarray, "x y z"]) -> Mask:
        """The mask on the full grid: where at least half of the interpolated mask is set."""
        if self.factor == 1:
            return mask
        return resample(mask.astype(np.float32), self.grid, self.full) >= 0.5


@dataclass(frozen=True, eq=False)
class Blur:
    """A Gaussian blur that takes from within `mask` only, so that skull, air and what is outside do not leak in."""

    mask: Mask
    grid: Grid
    sigma_mm: float

    @cached_property
    def _sigma(self) -> list[float]:
        return [self.sigma_mm / size for size in self.grid.spacing_mm]

    @cached_property
    def _box(self) -> tuple[slice, ...]:
        margins = [int(np.ceil(_CUT * sigma)) for sigma in self._sigma]
        box = ndimage.find_objects(self.mask.astype(np.uint8))[0]
        return tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(box, margins, strict=True))

    @cached_property
    def _inside(self) -> Bool[np.ndarray, "x y z"]:
        return self.mask[self._box]

    @cached_property
    def _weight(self) -> Float[np.ndarray, "n"]:
        return self._filtered(np.ones(int(self._inside.sum()), np.float32))

    def _filtered(self, values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        volume = np.zeros(self._inside.shape, np.float32)
        volume[self._inside] = values
        blurred = ndimage.gaussian_filter(volume, self._sigma, mode="constant", truncate=_CUT)
        return np.asarray(blurred[self._inside], np.float32)

    def __call__(self, values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """The blurred values of the mask's voxels, which come and go in the order of `volume[mask]`; NaN is absent."""
        if self.sigma_mm == 0:
            return values
        known = np.isfinite(values)
        if known.all():
            return np.asarray(self._filtered(values) / self._weight)
        weight = self._filtered(known.astype(np.float32))
        total = self._filtered(np.where(known, values, np.float32(0)))
        return np.asarray(np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0))
