"""Which pixels of a case's grid a network's pixels are: blocks of whole pixels, or the whole field of view stretched.

Axes are those of `strokelens.prepare`: slices z from below, pixels s s as a radiologist sees them, classes n.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil, nan, sqrt
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, Shaped, UInt8
from scipy import ndimage

from strokelens.grid import Grid, from_radiological, radiological

Resampling = Literal["area", "linear", "nearest"]
Shown = Shaped[np.ndarray, "x y k"]
Places = Int64[np.ndarray, "n"]


class Lattice(ABC):
    """How a case's voxels and a network's are related."""

    grid: Grid
    size: int

    @property
    @abstractmethod
    def pixel_mm(self) -> float:
        """The edge of a square as large as a pixel of the network."""

    @property
    @abstractmethod
    def voxel_mm(self) -> tuple[float, float, float]:
        """From centre to centre of the network's voxels: from slice to slice, to the left, and to the back."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, object]:
        """What `lattice_of` needs besides the grid to make it again."""

    @abstractmethod
    def reduced(self, volume: Shaped[np.ndarray, "i j k"], *, empty: float = 0) -> Float32[np.ndarray, "z s s"]:
        """A volume in the network's pixels, of those values that are no NaN; where there are none it is `empty`."""

    @abstractmethod
    def reduced_labels(self, labels: UInt8[np.ndarray, "i j k"], classes: int) -> UInt8[np.ndarray, "z s s"]:
        """Classes in the network's pixels."""

    @abstractmethod
    def restored(self, values: Float[np.ndarray, "z n s s"]) -> Float32[np.ndarray, "n i j k"]:
        """Values of the network's pixels on the case's grid."""


@dataclass(frozen=True)
class Frame(Lattice):
    """Blocks of `factor` × `factor` pixels, in the middle of `size`; slices are as they are.

    >>> frame = Frame.of(Grid((200, 180, 3), np.diag([1.0, 1.0, 5.0, 1.0])), 128)
    >>> frame.factor, frame.reduced(np.ones((200, 180, 3), np.float32)).shape
    (2, (3, 128, 128))
    """

    grid: Grid
    factor: int
    size: int

    @classmethod
    def of(cls, grid: Grid, size: int) -> "Frame":
        """The finest frame of so many pixels a side that holds the whole slice."""
        longest = max(grid.shape[axis] for axis in grid.axes[:2])
        return cls(grid, ceil(longest / size), size)

    @property
    def pixel_mm(self) -> float:
        """The edge of a square as large as a pixel of the network."""
        first, second = (self.grid.spacing_mm[axis] for axis in self.grid.axes[:2])
        return float(self.factor * sqrt(first * second))

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """From centre to centre: from slice to slice, to the left, and to the back."""
        x, y, z = (float(self.grid.spacing_mm[axis]) for axis in self.grid.axes)
        return z, self.factor * x, self.factor * y

    @property
    def facts(self) -> dict[str, object]:
        """What `lattice_of` needs besides the grid."""
        return {"factor": self.factor, "size": self.size}

    def reduced(self, volume: Shaped[np.ndarray, "i j k"], *, empty: float = 0) -> Float32[np.ndarray, "z s s"]:
        """The mean of each block, of those of its pixels that are no NaN; a block without any is `empty`."""
        blocks = self._blocks(radiological(volume, self.grid).astype(np.float32, copy=False), nan)
        known = ~np.isnan(blocks)
        count = known.sum(axis=(2, 4))
        total = np.where(known, blocks, 0).sum(axis=(2, 4), dtype=np.float32)
        mean: Float32[np.ndarray, "z s s"] = np.where(count > 0, total / np.maximum(count, 1), empty).astype(np.float32)
        return mean

    def reduced_labels(self, labels: UInt8[np.ndarray, "i j k"], classes: int) -> UInt8[np.ndarray, "z s s"]:
        """The commonest class of each block, of equally common ones the last; each lesion keeps a block."""
        shown = radiological(labels, self.grid)
        blocks = self._blocks(shown, 0)
        counts = np.stack([(blocks == value).sum(axis=(2, 4)) for value in range(classes)])
        found = _likeliest(counts)
        if self.factor > 1:
            (left, _), (front, _), factor = *self._margins, self.factor
            _keep_lesions(found, shown, lambda z, x, y: (z, (x + left) // factor, (y + front) // factor))
        return found

    def restored(self, values: Float[np.ndarray, "z n s s"]) -> Float32[np.ndarray, "n i j k"]:
        """Values of the frame's pixels on the case's grid, between their centres by linear interpolation."""
        zoom = (1, 1, self.factor, self.factor)
        wide = values if self.factor == 1 else ndimage.zoom(values, zoom, order=1, mode="nearest", grid_mode=True)
        x, y = (self.grid.shape[axis] for axis in self.grid.axes[:2])
        (left, _), (front, _) = self._margins
        cut = np.moveaxis(wide[..., left : left + x, front : front + y], 0, -1)  # (n, i, j, k) as shown
        return np.stack([from_radiological(each, self.grid) for each in cut]).astype(np.float32, copy=False)

    @cached_property
    def _margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pixels of padding before and after, along both axes as shown."""
        spare = [self.size * self.factor - self.grid.shape[axis] for axis in self.grid.axes[:2]]
        first, second = ((each // 2, each - each // 2) for each in spare)
        return first, second

    def _blocks(self, shown: Shown, filler: float) -> Shaped[np.ndarray, "z s f s f"]:
        padded = np.pad(np.moveaxis(shown, 2, 0), ((0, 0), *self._margins), constant_values=filler)
        side, factor = self.size, self.factor
        return padded.reshape(len(padded), side, factor, side, factor)


@dataclass(frozen=True)
class Stretched(Lattice):
    """The whole field of view on `size` × `size` pixels and `depth` slices, which need not be squares.

    `nearest` is the ancestor's: of each new voxel the old one at ⌊place × old size ÷ new size⌋ along the axes on disk,
    so that most are never looked at. `linear` weighs them by a triangle as wide as a new voxel or an old one, whichever
    is larger.

    >>> Stretched(Grid((192, 192, 19), np.eye(4)), 48, 25, "nearest").along(2)[:7].tolist()
    [0, 0, 1, 2, 3, 3, 4]
    """

    grid: Grid
    size: int
    depth: int
    mode: Literal["linear", "nearest"]

    @property
    def pixel_mm(self) -> float:
        """The edge of a square as large as a pixel of the network."""
        first, second = (self.grid.spacing_mm[axis] * self.grid.shape[axis] for axis in self.grid.axes[:2])
        return float(sqrt(first * second) / self.size)

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """From centre to centre: from slice to slice, to the left, and to the back."""
        sides = (float(self.grid.spacing_mm[axis] * self.grid.shape[axis]) for axis in self.grid.axes)
        x, y, z = (side / new for side, new in zip(sides, self._new, strict=True))
        return z, x, y

    @property
    def facts(self) -> dict[str, object]:
        """What `lattice_of` needs besides the grid."""
        return {"size": self.size, "depth": self.depth, "mode": self.mode}

    def reduced(self, volume: Shaped[np.ndarray, "i j k"], *, empty: float = 0) -> Float32[np.ndarray, "z s s"]:
        """A volume in the network's pixels, of those values that are no NaN; where there are none it is `empty`."""
        shown = radiological(volume, self.grid).astype(np.float32, copy=False)
        if self.mode == "nearest":
            return np.moveaxis(np.where(np.isnan(picked := self._picked(shown)), np.float32(empty), picked), 2, 0)
        known = ~np.isnan(shown)
        weight = self._weighed(known.astype(np.float32))
        total = self._weighed(np.where(known, shown, 0))
        mean: Float32[np.ndarray, "z s s"] = np.moveaxis(
            np.where(weight > 0.5, total / np.maximum(weight, 0.5), np.float32(empty)), 2, 0
        ).astype(np.float32)
        return mean

    def reduced_labels(self, labels: UInt8[np.ndarray, "i j k"], classes: int) -> UInt8[np.ndarray, "z s s"]:
        """Classes in the network's pixels: the nearest, or the one of most weight, where each lesion keeps a pixel."""
        shown = radiological(labels, self.grid)
        if self.mode == "nearest":
            return np.ascontiguousarray(np.moveaxis(self._picked(shown), 2, 0))
        found = _likeliest(np.stack([self._weighed((shown == value).astype(np.float32)) for value in range(classes)]))
        found = np.ascontiguousarray(np.moveaxis(found, 2, 0))
        new, old = (self.depth, self.size, self.size), (shown.shape[2], *shown.shape[:2])
        _keep_lesions(found, shown, lambda *at: tuple(a * n // o for a, n, o in zip(at, new, old, strict=True)))
        return found

    def restored(self, values: Float[np.ndarray, "z n s s"]) -> Float32[np.ndarray, "n i j k"]:
        """Values of the network's pixels on the case's grid, by the same rule."""
        shown = np.moveaxis(values, 0, -1).astype(np.float32, copy=False)  # (n, s, s, z)
        for axis in range(3):
            new = self.grid.shape[self.grid.axes[axis]]
            if self.mode == "nearest":
                places = _nearest(shown.shape[axis + 1], new, flipped=self._flips[axis])
                shown = np.take(shown, places, axis=axis + 1)
            else:
                shown = _along(_triangles(shown.shape[axis + 1], new), shown, axis + 1)
        return np.stack([from_radiological(each, self.grid) for each in shown]).astype(np.float32, copy=False)

    def along(self, axis: int) -> Int64[np.ndarray, "n"]:
        """Which voxels `nearest` takes along an axis as shown: 0 and 1 within the slice, 2 from slice to slice."""
        return _nearest(self.grid.shape[self.grid.axes[axis]], self._new[axis], flipped=self._flips[axis])

    @property
    def _flips(self) -> tuple[bool, bool, bool]:
        """Whether axes as shown run against those on disk."""
        (x, y, z), affine = self.grid.axes, self.grid.affine
        return bool(affine[0, x] > 0), bool(affine[1, y] > 0), bool(affine[2, z] < 0)

    @property
    def _new(self) -> tuple[int, int, int]:
        return self.size, self.size, self.depth

    def _picked(self, shown: Shown) -> Shaped[np.ndarray, "s s d"]:
        picked: Shaped[np.ndarray, "s s d"] = shown[np.ix_(self.along(0), self.along(1), self.along(2))]
        return picked

    def _weighed(self, shown: Float32[np.ndarray, "x y z"]) -> Float32[np.ndarray, "s s d"]:
        for axis, new in enumerate(self._new):
            shown = _along(_triangles(shown.shape[axis], new), shown, axis)
        return shown


def lattice_of(grid: Grid, size: int, resampling: Resampling = "area", depth: int | None = None) -> Lattice:
    """The lattice for a network of slices of `size`; where no `depth` is told the case keeps its slices."""
    if resampling == "area":
        return Frame.of(grid, size)
    return Stretched(grid, size, depth or grid.shape[grid.axes[2]], resampling)


def lattice_again(grid: Grid, facts: dict[str, object]) -> Lattice:
    """The lattice whose facts these are; `KeyError` or `TypeError` where they are none."""
    return Frame(grid, **facts) if "factor" in facts else Stretched(grid, **facts)  # type: ignore[arg-type]


def _likeliest(counts: Shaped[np.ndarray, "n *space"]) -> UInt8[np.ndarray, "*space"]:
    """The class of most weight, of equal ones the last, so that lesions stay."""
    last: UInt8[np.ndarray, "*space"] = (len(counts) - 1 - counts[::-1].argmax(axis=0)).astype(np.uint8)
    return last


def _keep_lesions(found: UInt8[np.ndarray, "z s s"], shown: Shown, placed: Callable[..., tuple[Places, ...]]) -> None:
    """Give each lesion that would vanish the pixel that holds most of it; a graver one, whose class is later, last."""
    for value in range(1, int(shown.max(initial=0)) + 1):
        lesions, count = ndimage.label(shown == value, np.ones((3, 3, 3)))
        if not count:
            continue
        x, y, z = np.nonzero(lesions)
        pixel = np.ravel_multi_index(placed(z, x, y), found.shape)
        pairs, many = np.unique(np.stack([lesions[x, y, z], pixel]), axis=1, return_counts=True)
        kept = np.unique(pairs[0, found.reshape(-1)[pairs[1]] == value])
        lost: Bool[np.ndarray, "p"] = ~np.isin(pairs[0], kept)
        order = np.lexsort((-many[lost], pairs[0, lost]))  # of each lesion the fullest pixel first
        lesion, pixels = pairs[:, lost][:, order]
        found.reshape(-1)[pixels[np.unique(lesion, return_index=True)[1]]] = value


def _nearest(old: int, new: int, *, flipped: bool) -> Int64[np.ndarray, "n"]:
    places: Int64[np.ndarray, "n"] = np.arange(new, dtype=np.int64) * old // new
    return (old - 1 - places)[::-1] if flipped else places


def _triangles(old: int, new: int) -> Float32[np.ndarray, "n o"]:
    """How much each old voxel counts in each new one; each row sums to 1."""
    step = old / new
    centres = (np.arange(new) + 0.5) * step - 0.5
    reach = max(1.0, step)
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(old)) / reach)
    scaled: Float32[np.ndarray, "n o"] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def _along(weights: Float32[np.ndarray, "n o"], values: Shaped[np.ndarray, "..."], axis: int) -> np.ndarray:
    return np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
