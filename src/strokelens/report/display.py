"""Axial slices as a radiologist looks at them: the patient's right on the left, anterior above, from below to above."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int, Shaped

from strokelens.arrays import Mask
from strokelens.grid import Grid
from strokelens.labels import BACKGROUND, BRAIN, Label, LabelScheme

MARGIN_MM = 6.0
"""How much is shown around the brain."""

_NARROWEST = 0.5
"""A tile is never more than twice as long as it is wide, nor the other way round; the rest is black."""


@dataclass(frozen=True, eq=False)
class View:
    """A window onto a grid: its voxel planes nearest to axial, cut to `rows` and `columns` of the turned plane.

    Nothing is resampled: for an oblique grid the slices are the scanner's own, turned and mirrored so that the nearest
    anatomical directions are where a radiologist expects them.
    """

    grid: Grid
    rows: slice
    columns: slice

    @classmethod
    def around(cls, grid: Grid, region: Mask, *, margin_mm: float = MARGIN_MM) -> "View":
        """The window that holds `region` in every slice; the whole of the grid when the region is empty."""
        whole = cls(grid, slice(None), slice(None))
        planes = whole.planes(region)
        if not planes.any():
            return whole
        x, y, _ = grid.axes
        return cls(
            grid,
            _span(np.any(planes, axis=(0, 2)), margin_mm / grid.spacing_mm[y]),
            _span(np.any(planes, axis=(0, 1)), margin_mm / grid.spacing_mm[x]),
        )

    @cached_property
    def _steps(self) -> tuple[int, int, int]:
        """+1 or −1 along slices, rows and columns: slices go up, rows to posterior, columns to the patient's left."""
        x, y, z = self.grid.axes
        affine = self.grid.affine
        return (1 if affine[2, z] > 0 else -1), (-1 if affine[1, y] > 0 else 1), (-1 if affine[0, x] > 0 else 1)

    def planes(self, array: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "slice row column"]:
        """The array as slices, without a copy.

        >>> grid = Grid((2, 2, 1), np.eye(4))  # RAS: i grows to the patient's right
        >>> View(grid, slice(None), slice(None)).planes(np.array([[[1], [2]], [[3], [4]]]))[0]
        array([[4, 2],
               [3, 1]])
        """
        x, y, z = self.grid.axes
        down, across, along = self._steps
        turned: np.ndarray = np.transpose(array, (z, y, x))[::down, ::across, ::along]
        return turned[:, self.rows, self.columns]

    def position(self, voxel: Int[np.ndarray, "3"]) -> tuple[int, float, float]:
        """A voxel's slice, and its centre as fractions of the shown width and height (0, 0 is the upper left)."""
        whole = [
            int(voxel[axis]) if step > 0 else self.grid.shape[axis] - 1 - int(voxel[axis])
            for axis, step in zip(self.grid.axes[::-1], self._steps, strict=True)
        ]
        row, column = whole[1] - (self.rows.start or 0), whole[2] - (self.columns.start or 0)
        return whole[0], (column + 0.5) / self._shown[1], (row + 0.5) / self._shown[0]

    @cached_property
    def _shown(self) -> tuple[int, int]:
        """Rows and columns of the window."""
        x, y, _ = self.grid.axes
        return len(range(self.grid.shape[y])[self.rows]), len(range(self.grid.shape[x])[self.columns])

    @cached_property
    def extent_mm(self) -> tuple[float, float]:
        """Width and height of the window."""
        x, y, _ = self.grid.axes
        return self._shown[1] * self.grid.spacing_mm[x], self._shown[0] * self.grid.spacing_mm[y]

    def tile(self, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Sizes in pixels, both (width, height): of a tile of this width, and of the slice at its centre.

        The slice keeps its proportions in mm.
        """
        across_mm, down_mm = self.extent_mm
        frame_mm = max(across_mm, _NARROWEST * down_mm), max(down_mm, _NARROWEST * across_mm)
        scale = width / frame_mm[0]
        height = max(1, round(frame_mm[1] * scale))
        return (width, height), (max(1, round(across_mm * scale)), max(1, round(down_mm * scale)))

    def height_mm(self, slice_index: int) -> float:
        """World z at the centre of a slice."""
        z = self.grid.axes[2]
        centre = (np.array(self.grid.shape) - 1) / 2
        centre[z] = slice_index if self._steps[0] > 0 else self.grid.shape[z] - 1 - slice_index
        return float(self.grid.world_mm(centre)[2])


def outlined(scheme: LabelScheme) -> list[Label]:
    """The classes that get a contour: all but the background and the healthy brain."""
    return [label for label in scheme if label not in (BACKGROUND, BRAIN)]


def choose(candidates: Sequence[int], lesion_area: Int[np.ndarray, "slice"], *, most: int) -> list[int]:
    """At most `most` of the slices, in order.

    All of them if they fit; otherwise neighbours around the lesion, or evenly from its first to its last slice where
    these do not fit. The slice where it is largest is always among them. Without a lesion, evenly over all candidates.

    >>> choose(range(9), np.array([0, 0, 0, 0, 5, 7, 0, 0, 0]), most=4)
    [3, 4, 5, 6]
    >>> choose(range(9), np.zeros(9, int), most=3)
    [0, 4, 8]
    """
    slices = np.asarray(candidates)
    if slices.size <= most:
        return [int(index) for index in slices]
    area = lesion_area[slices]
    hits = np.flatnonzero(area)
    if not hits.size:
        return [int(index) for index in slices[_even(0, slices.size - 1, most)]]
    first, last = int(hits[0]), int(hits[-1])
    if last - first + 1 <= most:
        first = int(np.clip((first + last + 2 - most) // 2, 0, slices.size - most))
        last = first + most - 1
    chosen = _even(first, last, most)
    chosen[np.abs(chosen - area.argmax()).argmin()] = area.argmax()
    return [int(index) for index in slices[np.unique(chosen)]]


def _even(first: int, last: int, count: int) -> Int[np.ndarray, "n"]:
    places: np.ndarray = np.round(np.linspace(first, last, count)).astype(int)
    return places


def _span(used: Bool[np.ndarray, "n"], margin: float) -> slice:
    """From the first to the last True, and the margin on either side, within the array."""
    places = np.flatnonzero(used)
    extra = int(np.ceil(margin))
    return slice(max(0, int(places[0]) - extra), min(used.size, int(places[-1]) + 1 + extra))
