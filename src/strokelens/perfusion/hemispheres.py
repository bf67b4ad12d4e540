"""The mid-sagittal plane of a head, and the value at the mirrored place in the other hemisphere.

Conventions: RAS+ world millimetres; the plane's normal points to the patient's right, which is +x. Nothing here knows
the modality: any image whose healthy halves look alike will do (mean CT, b0, DWI, T2).

The plane starts where the brain's left-right extents have their midpoints, and is then moved until the image and its
mirror image agree best. Disagreement counts as r² / (r² + s²) (Geman and McClure 1985), which saturates: a lesion in
one hemisphere costs the same wherever the plane lies, and so does not pull at it (robust symmetry: Prima et al. 2002).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, optimize

from strokelens.arrays import Affine, Mask, Volume
from strokelens.errors import CaseError
from strokelens.grid import Grid

_Triple = Float[np.ndarray, "3"]
_Frame = Float[np.ndarray, "3 3"]
_SMOOTHING_MM = 2.5
_COARSE_MM = 4.0
_CLIP = 3.0
"""Intensities beyond this many robust standard deviations, and all that is not brain, count as this many."""
_SCALE = 1.0
"""The difference, in robust standard deviations, at which disagreement is half of its most."""
_STEP = (0.06, 0.06, 4.0)
"""First steps of the search: two slopes, and the offset in mm."""
_SLOPE_LIMIT = 0.7
"""Heads are not turned by more than 35 degrees against the image axes."""
_MINIMAL_WIDTH = 0.4
"""Rows of brain narrower than this part of the widest are temporal poles and vertex: not used."""


@dataclass(frozen=True, eq=False)
class Midplane:
    """The plane of all world positions p (mm) with normal · p = offset_mm, for images on `grid`.

    `normal` has unit length and points to the patient's right (+x).

    >>> plane = Midplane(Grid((4, 1, 1), np.eye(4)), (1.0, 0.0, 0.0), 1.5)
    >>> plane.mirror(np.array([10.0, 20.0, 30.0, 40.0]).reshape(4, 1, 1)).ravel().tolist()
    [40.0, 30.0, 20.0, 10.0]
    >>> plane.right().ravel().tolist()
    [False, False, True, True]
    """

    grid: Grid
    normal: tuple[float, float, float]
    offset_mm: float

    def mirror(self, volume: Volume, *, order: int = 1) -> Volume:
        """For each voxel the value at its mirrored position; NaN where that lies outside of the grid.

        `order` is the spline's degree: 1 for values, 0 (nearest voxel) for masks. NaN enters what it touches. The
        voxels' own extent counts as inside, half a voxel beyond their centres.
        """
        matrix = self._voxel_matrix
        values = np.asarray(volume, dtype=np.float32)
        mirrored = ndimage.affine_transform(values, matrix, order=order, mode="nearest")
        return np.where(self._inside, mirrored, np.float32(np.nan))

    def distance_mm(self) -> Volume:
        """Each voxel's signed distance to the plane, float32, positive on the patient's right."""
        row = np.asarray(self.normal) @ self.grid.affine[:3]
        return _affine_form(row[:3], row[3] - self.offset_mm, self.grid.shape)

    def right(self) -> Mask:
        """The voxels on the patient's right."""
        right: Mask = self.distance_mm() > 0
        return right

    @cached_property
    def _voxel_matrix(self) -> Affine:
        """Voxel indices to those of the mirrored position."""
        inverse = np.linalg.inv(self.grid.affine)
        matrix: Affine = inverse @ _reflection(np.asarray(self.normal), self.offset_mm) @ self.grid.affine
        return matrix

    @cached_property
    def _inside(self) -> Mask:
        """The voxels whose mirrored position lies in a voxel."""
        inside = np.ones(self.grid.shape, dtype=bool)
        for row, size in zip(self._voxel_matrix[:3], self.grid.shape, strict=True):
            position = _affine_form(row[:3], row[3], self.grid.shape)
            inside &= (position >= -0.5) & (position <= size - 0.5)
        return inside


def find_midplane(image: Volume, brain: Mask, grid: Grid) -> Midplane:
    """The plane in which the brain of `image` mirrors best onto itself.

    Only voxels of `brain` with a finite value are looked at. An axis of one slice cannot show a tilt about it, so the
    plane stays at right angles to a single slice. Heads turned by more than 35 degrees are not found.

    Raises `CaseError` when no voxel of the brain has a value.
    """
    usable = brain & np.isfinite(image)
    if not usable.any():
        raise CaseError("no brain voxel has a value, so there is no midplane to find; check the brain mask")
    frame = _head_frame(grid)
    centre = grid.world_mm(np.argwhere(usable).mean(axis=0))
    start = _fit_midpoints(usable, grid, frame, centre)
    if grid.shape[grid.axes[0]] > 2:
        start = _refine(image, usable, grid, frame, centre, start)
    normal = _unit_normal(start[:2], frame)
    return Midplane(grid, (float(normal[0]), float(normal[1]), float(normal[2])), float(normal @ centre + start[2]))


def _head_frame(grid: Grid) -> _Frame:
    """Orthonormal rows: right, anterior, superior, along the voxel axes as far as these are at right angles."""
    columns = grid.affine[:3, list(grid.axes)]
    columns = columns * np.where(np.diagonal(columns) < 0, -1.0, 1.0)
    directions, lengths = np.linalg.qr(columns)
    frame: _Frame = (directions * np.where(np.diagonal(lengths) < 0, -1.0, 1.0)).T
    return frame


def _unit_normal(slopes: Float[np.ndarray, "2"], frame: _Frame) -> _Triple:
    """The unit normal of the plane that leans by these slopes against the frame's first direction."""
    direction = np.array([1.0, *slopes]) @ frame
    normal: _Triple = direction / np.linalg.norm(direction)
    return normal


def _reflection(normal: _Triple, offset_mm: float) -> Affine:
    """The 4×4 matrix that carries world positions to their mirrored ones, p − 2 (n·p − d) n."""
    matrix = np.eye(4)
    matrix[:3, :3] -= 2 * np.outer(normal, normal)
    matrix[:3, 3] = 2 * offset_mm * normal
    return matrix


def _affine_form(row: _Triple, constant: float, shape: tuple[int, int, int]) -> Volume:
    """Row · (i, j, k) + constant for every voxel."""
    i, j, k = (np.float32(factor) * np.arange(size, dtype=np.float32) for factor, size in zip(row, shape, strict=True))
    form: Volume = (i[:, None, None] + np.float32(constant)) + j[None, :, None] + k[None, None, :]
    return form


def _free(grid: Grid) -> _Triple:
    """1 for what may vary of (anterior slope, superior slope, offset), 0 for what a single slice cannot show."""
    return np.array([float(grid.shape[grid.axes[1]] > 1), float(grid.shape[grid.axes[2]] > 1), 1.0])


def _fit_midpoints(brain: Mask, grid: Grid, frame: _Frame, centre: _Triple) -> _Triple:
    """Slopes and offset (mm, from `centre`) of the plane through the midpoints of the brain's left-right rows."""
    axis = grid.axes[0]
    widths = np.where(
        brain.any(axis), brain.shape[axis] - np.argmax(brain, axis) - np.argmax(np.flip(brain, axis), axis), 0
    )
    rows = np.argwhere(widths > _MINIMAL_WIDTH * widths.max())
    middle = (np.argmax(brain, axis) + (widths - 1) / 2)[tuple(rows.T)]
    along = (grid.world_mm(np.insert(rows.astype(float), axis, middle, axis=1)) - centre) @ frame.T
    design = np.column_stack([-along[:, 1], -along[:, 2], np.ones(len(along))])[:: 1 + len(along) // 4000]
    target = along[:: 1 + len(along) // 4000, 0]
    free = _free(grid)
    start = np.array([0.0, 0.0, np.median(target)])
    if len(target) < 10:
        return start
    fit = optimize.least_squares(lambda x: design @ (x * free) - target, start, loss="soft_l1", f_scale=2.0)
    limit = np.array([_SLOPE_LIMIT, _SLOPE_LIMIT, np.inf])
    found: _Triple = np.clip(fit.x, -limit, limit) * free
    found[2] /= np.linalg.norm([1.0, *found[:2]])
    return found


def _refine(
    image: Volume,
    brain: Mask,
    grid: Grid,
    frame: _Frame,
    centre: _Triple,
    start: _Triple,
) -> _Triple:
    """Slopes and offset of least disagreement between the coarse image and its mirror image."""
    coarse, inside, affine = _coarse(image, brain, grid)
    voxels = np.argwhere(inside).astype(float)
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    values = coarse[inside]
    inverse = np.linalg.inv(affine)
    free = _free(grid).astype(bool)

    def disagreement(parameters: Float[np.ndarray, "n"]) -> float:
        full = start.copy()
        full[free] = parameters
        normal = _unit_normal(full[:2], frame)
        matrix = inverse @ _reflection(normal, float(normal @ centre + full[2]))
        mirrored = ndimage.map_coordinates(coarse, matrix[:3, :3] @ world.T + matrix[:3, 3:], order=1, mode="nearest")
        square = (values - mirrored) ** 2
        return float(np.mean(square / (square + _SCALE**2))) + float((np.abs(full[:2]) > _SLOPE_LIMIT).sum())

    upright = start * [0.0, 0.0, 1.0]
    first = min((start[free], upright[free]), key=disagreement)
    steps = np.diag(np.array(_STEP)[free])
    simplex = np.vstack([first, first + steps])
    found = optimize.minimize(
        disagreement,
        first,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 2e-3, "fatol": 1e-6, "maxfev": 160},
    )
    result = start.copy()
    result[free] = found.x
    return result


def _coarse(
    image: Volume, brain: Mask, grid: Grid
) -> tuple[Float[np.ndarray, "x y z"], Bool[np.ndarray, "x y z"], Affine]:
    """The brain in robust standard deviations about its median, smoothed, with voxels of about 4 mm, and its affine.

    A voxel of what is not brain surrounds each slice. Above the last slice and below the first the brain may go on, so
    nothing is added there, and who looks beyond finds the last: a jump there would make the plane hang on rounding.
    """
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    inside, cropped = brain[box], np.asarray(image[box], dtype=np.float32)
    values = cropped[inside]
    median = np.median(values)
    deviation = 1.4826 * np.median(np.abs(values - median)) or float(values.std()) or 1.0
    clipped = np.clip((cropped - median) / deviation, -_CLIP, _CLIP)
    filled = np.where(inside, clipped, np.float32(-_CLIP))
    sigma = [
        _SMOOTHING_MM / size if count > 1 else 0.0 for size, count in zip(grid.spacing_mm, filled.shape, strict=True)
    ]
    smooth = ndimage.gaussian_filter(filled, sigma, mode="constant", cval=-_CLIP, truncate=2.5)
    steps = [max(1, round(_COARSE_MM / size)) for size in grid.spacing_mm]
    thin = tuple(slice(None, None, step) for step in steps)
    margin = [0 if axis == grid.axes[2] else 1 for axis in range(3)]
    around = [(each, each) for each in margin]
    affine = grid.affine @ np.diag([*steps, 1.0])
    first = [part.start - step * each for part, step, each in zip(box, steps, margin, strict=True)]
    affine[:3, 3] = grid.world_mm(np.array([first], dtype=float))[0]
    return np.pad(smooth[thin], around, constant_values=-_CLIP), np.pad(inside[thin], around), affine
