"""Where an image is: its shape and its affine, in RAS+ millimetres."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Shaped
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from strokelens.arrays import Affine, Points
from strokelens.errors import GridError

TOLERANCE_MM = 1e-4
"""Two grids are the same place when no corner differs by more than this."""

_SPACING_LIMITS_MM = (0.05, 50.0)
_NAN_SHARE = 1e-4
_SKEW = 1e-4
"""The cosine of the angle between two voxel edges from which they are not at right angles."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A block of voxels in the patient's space.

    `affine` carries (i, j, k, 1) to RAS+ world positions in mm. Compare grids with `agrees`, never by `==`.

    Raises `GridError` at birth when an axis has no voxel, or when the affine is not finite, is singular, has a last
    row other than (0, 0, 0, 1), or gives voxels outside 0.05 ... 50 mm.

    >>> grid = Grid((64, 64, 20), np.diag([2.0, 2.0, 5.0, 1.0]))
    >>> grid.spacing_mm, grid.voxel_volume_ml, grid.orientation
    ((2.0, 2.0, 5.0), 0.02, 'RAS')
    """

    shape: tuple[int, int, int]
    affine: Affine

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise GridError(f"a grid needs three axes of at least one voxel, not shape {shape}")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GridError(f"the affine must be 4×4 and finite; got {affine.tolist()}; repair the header")
        if not np.allclose(affine[3], [0, 0, 0, 1]):
            raise GridError(f"the affine's last row must be 0 0 0 1, not {affine[3].tolist()}; repair the header")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        low, high = _SPACING_LIMITS_MM
        if not ((spacing >= low) & (spacing <= high)).all():
            sizes = " × ".join(f"{size:g}" for size in spacing)
            raise GridError(f"voxels of {sizes} mm are not possible ({low:g} to {high:g} mm); repair the header")
        if abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
            raise GridError("the affine is singular: two voxel axes point the same way; repair the header")
        affine.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """The lengths of the three voxel edges."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @cached_property
    def voxel_volume_ml(self) -> float:
        """|det(affine)| / 1000: also right where the axes are not at right angles."""
        return float(round(abs(np.linalg.det(self.affine[:3, :3])), 9)) / 1000

    @cached_property
    def edges_mm(self) -> Shaped[np.ndarray, "3 3"]:
        """The three voxel edges in world directions, one a column."""
        return self.affine[:3, :3]

    @cached_property
    def sheared(self) -> bool:
        """Whether voxel edges are not at right angles, as those of slices under a tilted gantry.

        >>> Grid((4, 4, 4), np.eye(4) + np.eye(4, k=1) * [0, 1, 0, 0]).sheared
        True
        """
        directions = self.edges_mm / self.spacing_mm
        return bool(np.abs(directions.T @ directions - np.eye(3)).max() > _SKEW)

    @cached_property
    def axes(self) -> tuple[int, int, int]:
        """The voxel axis nearest to left-right, to posterior-anterior and to inferior-superior, in this order."""
        cosines = np.abs(self.affine[:3, :3]) / self.spacing_mm
        x, y, z = (int(axis) for axis in linear_sum_assignment(-cosines)[1])
        return x, y, z

    @cached_property
    def orientation(self) -> str:
        """The world direction in which each voxel index grows, such as 'RAS' or 'LPS'."""
        letters = [""] * 3
        for world, axis in enumerate(self.axes):
            letters[axis] = ("RAS" if self.affine[world, axis] > 0 else "LPI")[world]
        return "".join(letters)

    def world_mm(self, voxels: Points) -> Points:
        """World positions of voxel positions; both have their three coordinates last."""
        positions: Points = voxels @ self.affine[:3, :3].T + self.affine[:3, 3]
        return positions

    def distance_mm(self, other: "Grid") -> float:
        """The farthest that a corner voxel of this grid lies from the same one of `other`; inf if shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        corners = np.indices((2, 2, 2)).reshape(3, 8).T * (np.array(self.shape) - 1.0)
        return float(np.linalg.norm(self.world_mm(corners) - other.world_mm(corners), axis=1).max())

    def agrees(self, other: "Grid") -> bool:
        """Whether voxels of both grids are in the same place, to 1e-4 mm."""
        return self.distance_mm(other) <= TOLERANCE_MM


def difference(first: Grid, second: Grid) -> str:
    """How two grids differ, in words, for an error message.

    >>> one = Grid((4, 4, 4), np.eye(4))
    >>> difference(one, Grid((4, 4, 5), np.eye(4)))
    'shape 4×4×4 against 4×4×5'
    """
    if first.shape != second.shape:
        return f"shape {_times(first.shape)} against {_times(second.shape)}"
    return f"corners up to {first.distance_mm(second):.4g} mm apart"


def reordered(array: Shaped[np.ndarray, "i j k"], source: Grid, target: Grid) -> Shaped[np.ndarray, "x y z"] | None:
    """The array with its axes in the target's order and directions; None where voxels are not at the same places.

    No value is changed: it is a view.

    >>> array, flipped = np.arange(8).reshape(2, 2, 2), np.diag([-1.0, 1, 1, 1])
    >>> flipped[0, 3] = 1
    >>> found = reordered(array, Grid((2, 2, 2), flipped), Grid((2, 2, 2), np.eye(4)))
    >>> np.array_equal(found, array[::-1])
    True
    """
    turn = np.rint(np.linalg.solve(source.edges_mm, target.edges_mm))
    order = [int(axis) for axis in np.abs(turn).argmax(axis=0)]
    signs = [float(turn[axis, at]) for at, axis in enumerate(order)]
    if sorted(order) != [0, 1, 2] or not set(signs) <= {-1.0, 1.0}:
        return None
    moved = source.affine.copy()
    for at, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        moved[:3, at] = sign * source.edges_mm[:, axis]
        moved[:3, 3] += source.edges_mm[:, axis] * (source.shape[axis] - 1 if sign < 0 else 0)
    shape = tuple(source.shape[axis] for axis in order)
    if not Grid((shape[0], shape[1], shape[2]), moved).agrees(target):
        return None
    turned: np.ndarray = np.transpose(array, order)
    return turned[tuple(slice(None, None, int(sign)) for sign in signs)]


def resample(
    array: Shaped[np.ndarray, "i j k *t"], source: Grid, target: Grid, *, order: int = 1
) -> Shaped[np.ndarray, "x y z *t"]:
    """The array, carried from one grid to another; each frame by itself.

    `order` is the spline's degree: 1 for values, 0 (nearest voxel) for labels. Outside the source's voxels, values are
    NaN, and integers and booleans are 0. A NaN makes every value NaN that it would enter by more than 1e-4 of its
    weight, so that rounding does not spread it to voxels that fall on their neighbours.
    """
    if source.agrees(target):
        return array.copy()
    if array.ndim == 4:
        frames = [resample(array[..., t], source, target, order=order) for t in range(array.shape[3])]
        return np.stack(frames, axis=-1)
    matrix = np.linalg.inv(source.affine) @ target.affine
    inside = ndimage.affine_transform(
        np.ones(source.shape, np.uint8), matrix, output_shape=target.shape, order=0, mode="grid-constant"
    )
    if not np.issubdtype(array.dtype, np.floating):
        values = ndimage.affine_transform(array, matrix, output_shape=target.shape, order=order, mode="nearest")
        return np.where(inside.astype(bool), values, np.array(0, array.dtype))
    holes = np.isnan(array)
    filled = np.where(holes, np.array(0, array.dtype), array)
    values = ndimage.affine_transform(filled, matrix, output_shape=target.shape, order=order, mode="nearest")
    missing = inside == 0
    if holes.any():
        share = ndimage.affine_transform(
            holes.astype(np.float32), matrix, output_shape=target.shape, order=min(order, 1), mode="nearest"
        )
        missing |= share > _NAN_SHARE
    return np.where(missing, np.array(np.nan, array.dtype), values)


def radiological_grid(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid of slices as a radiologist sees them, i to the patient's left, j to posterior, k up; 0 is its centre.

    Pictures have no position, so that only sizes and directions of this grid mean something.
    """
    affine = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def radiological(array: Shaped[np.ndarray, "i j k"], grid: Grid) -> Shaped[np.ndarray, "x y z"]:
    """A volume of any orientation with its nearest axes as `radiological_grid` has them, without a copy."""
    x, y, z = grid.axes
    turned: np.ndarray = np.transpose(array, (x, y, z))
    flips = (grid.affine[0, x] > 0, grid.affine[1, y] > 0, grid.affine[2, z] < 0)
    return turned[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]


def from_radiological(array: Shaped[np.ndarray, "x y z"], grid: Grid) -> Shaped[np.ndarray, "i j k"]:
    """The inverse of `radiological`: a volume as it is shown, back in the order of the grid's own axes.

    >>> grid = Grid((2, 3, 4), np.diag([1.0, -1.0, -2.0, 1.0]))
    >>> array = np.arange(24).reshape(2, 3, 4)
    >>> bool((from_radiological(radiological(array, grid), grid) == array).all())
    True
    """
    x, y, z = grid.axes
    flips = (grid.affine[0, x] > 0, grid.affine[1, y] > 0, grid.affine[2, z] < 0)
    flipped = array[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    back: np.ndarray = np.transpose(flipped, np.argsort(grid.axes))
    return back


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape)
