"""Laying one image of a head on another one by a rigid motion: six numbers, found by robust least squares."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from strokelens.arrays import Affine, Points, Volume
from strokelens.grid import Grid

Parameters = Float[np.ndarray, "6"]
"""Translation in mm, then rotation vector in rad about the grid's centre, both along the world's axes."""

FEWEST_SLICES = 4
"""Along an axis with fewer voxels than this, nothing says how far the head has moved: motion within it is sought."""

_ROBUST_ROUNDS = 3
_TUKEY = 4.685  # 95 % efficiency for normal errors
_MOST_VOXELS = 20_000
_EDGE_SHARE = 0.1
_CONVERGED_MM = 0.01


@dataclass(frozen=True, eq=False)
class Template:
    """The image that every frame is laid on, at the voxels where it has edges; motion turns about `centre_mm`.

    `change` (n d) says how much the image falls at each voxel per mm or rad of each of the d possible motions; `basis`
    (6 d) turns these into parameters. `nuisance` (n m) are patterns that a frame may hold more or less of without any
    motion (contrast, gain).
    """

    grid: Grid
    centre_mm: Float[np.ndarray, "3"]
    voxels: Float[np.ndarray, "n 3"]
    places_mm: Float[np.ndarray, "n 3"]
    values: Float[np.ndarray, "n"]
    change: Float[np.ndarray, "n d"]
    nuisance: Float[np.ndarray, "n m"]
    basis: Float[np.ndarray, "6 d"]

    def small_motion(self, values: Float[np.ndarray, "n"], inside: Bool[np.ndarray, "n"]) -> Parameters:
        """The motion that explains the values best, while it is small: one linear fit with Tukey's weights.

        A head displaced by u shows f(x) = r(x − u) ≈ r(x) − ∇r·u. Voxels that are not `inside` do not count; zeros
        when fewer than 50 do.
        """
        if inside.sum() < 50:
            return np.zeros(6)
        rest = (self.values - values).astype(np.float64)
        design = np.concatenate([self.change, self.nuisance], axis=1)
        weight = inside.astype(np.float64)
        floor = 1e-3 * float(self.values.std())
        solution = np.zeros(design.shape[1])
        for _ in range(_ROBUST_ROUNDS):
            weighted = design * weight[:, None]
            normal = weighted.T @ design
            ridge = 1e-6 * np.diag(np.diag(normal)) + 1e-12 * np.eye(len(normal))
            solution = np.linalg.solve(normal + ridge, weighted.T @ rest)
            error = np.abs(rest - design @ solution)
            scale = max(1.4826 * float(np.median(error[inside])), floor)
            weight = inside * np.clip(1 - (error / (_TUKEY * scale)) ** 2, 0, None) ** 2
        parameters: Parameters = self.basis @ solution[: self.basis.shape[1]]
        return parameters

    def possible(self, parameters: Parameters) -> Parameters:
        """The part of a motion that the grid can show."""
        part: Parameters = self.basis @ (np.linalg.pinv(self.basis) @ parameters)
        return part

    def displacement_mm(self, parameters: Parameters) -> float:
        """The farthest that any voxel of the template is carried."""
        return float(np.linalg.norm(displacement_mm(parameters, self.places_mm), axis=1).max(initial=0.0))

    def likeness(self, values: Float[np.ndarray, "n"], inside: Bool[np.ndarray, "n"]) -> float:
        """Correlation of the values with what the template and its nuisance patterns say, over the voxels inside.

        NaN where either is constant.
        """
        here, there = self.values[inside], values[inside]
        if self.nuisance.size:
            here = self.nuisance[inside] @ np.linalg.lstsq(self.nuisance[inside], there, rcond=None)[0]
        if here.size < 2 or np.ptp(here) == 0 or np.ptp(there) == 0:
            return float("nan")
        return float(np.corrcoef(here, there)[0, 1])

    def seen(self, spline: Volume, parameters: Parameters) -> tuple[Float[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
        """A frame (as cubic spline coefficients) where the template's voxels have gone, and which are inside."""
        to_voxel = np.linalg.inv(self.grid.affine)
        moved = self.places_mm + displacement_mm(parameters, self.places_mm) + self.centre_mm
        voxels = moved @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        last = np.array(self.grid.shape) - 1.0
        inside = ((voxels >= -0.1) & (voxels <= last + 0.1)).all(axis=1)
        return ndimage.map_coordinates(spline, voxels.T, order=3, mode="mirror", prefilter=False), inside

    def register(self, frame: Volume, start: Parameters, *, rounds: int) -> Parameters:
        """Gauss–Newton from a start: the frame is looked up where the head has gone, and the rest is a small motion."""
        spline = ndimage.spline_filter(frame, order=3, output=np.float32, mode="mirror")
        motion = affine(start)
        for _ in range(rounds):
            values, inside = self.seen(spline, from_affine(motion))
            step = self.small_motion(values, inside)
            motion = motion @ affine(step)
            if self.displacement_mm(step) < _CONVERGED_MM:
                break
        return from_affine(motion)


def template(
    image: Volume,
    grid: Grid,
    centre: Float[np.ndarray, "3"],
    *,
    usable: Bool[np.ndarray, "i j k"],
    gain: bool,
    pattern: Volume | None = None,
) -> Template:
    """The template of an image: its steepest voxels, and how they change under each motion.

    With `gain`, the frame's brightness may differ by a quadratic polynomial in space (a bolus darkens one hemisphere
    more than the other); it may hold any amount of the `pattern`, too. Voxels that are not `usable` never count. Where
    the image is flat, the template is empty.
    """
    gradient = np.stack([np.gradient(image, axis=axis) if image.shape[axis] > 1 else 0 * image for axis in range(3)])
    slope = np.linalg.inv(grid.affine[:3, :3]).T @ gradient.reshape(3, -1)  # (3, voxels), per mm in world axes
    steep = np.where(usable.ravel(), np.linalg.norm(slope, axis=0), 0.0)
    least = _EDGE_SHARE * float(np.quantile(steep[steep > 0], 0.99)) if (steep > 0).any() else np.inf
    chosen = np.flatnonzero(steep > least)
    if chosen.size > _MOST_VOXELS:
        chosen = np.sort(chosen[np.argpartition(-steep[chosen], _MOST_VOXELS)[:_MOST_VOXELS]])
    voxels = np.stack(np.unravel_index(chosen, image.shape), axis=1).astype(np.float64)
    places = grid.world_mm(voxels) - centre
    values = image.ravel()[chosen].astype(np.float64)
    falls = slope[:, chosen].T
    basis = _possible(grid)
    change = np.concatenate([falls, np.cross(places, falls)], axis=1) @ basis  # u = t + r × y
    nuisance = values[:, None] * _polynomials(places) if gain else np.zeros((len(chosen), 0))
    if pattern is not None:
        nuisance = np.concatenate([nuisance, pattern.ravel()[chosen, None]], axis=1)
    return Template(grid, centre, voxels, places, values, change, nuisance, basis)


def displacement_mm(parameters: Parameters, places_mm: Points) -> Points:
    """Where points, given from the grid's centre, are carried, less where they were."""
    turned: Points = places_mm @ (Rotation.from_rotvec(parameters[3:]).as_matrix() - np.eye(3)).T + parameters[:3]
    return turned


def centre_mm(grid: Grid) -> Points:
    """The world position of the middle of the grid."""
    return grid.world_mm((np.array(grid.shape) - 1.0) / 2)


def affine(parameters: Parameters) -> Affine:
    """The motion as a matrix on positions from the grid's centre.

    >>> affine(np.array([1.0, 2, 3, 0, 0, np.pi / 2])).round(3)[:3]
    array([[ 0., -1.,  0.,  1.],
           [ 1.,  0.,  0.,  2.],
           [ 0.,  0.,  1.,  3.]])
    """
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(parameters[3:]).as_matrix()
    matrix[:3, 3] = parameters[:3]
    return matrix


def from_affine(matrix: Affine) -> Parameters:
    """The parameters of a rigid matrix; the inverse of `affine`."""
    return np.concatenate([matrix[:3, 3], Rotation.from_matrix(matrix[:3, :3]).as_rotvec()])


def voxel_matrix(parameters: Parameters, grid: Grid) -> Affine:
    """From a voxel of the still head to the voxel of the moved frame that shows the same tissue."""
    shift = np.eye(4)
    shift[:3, 3] = centre_mm(grid)
    matrix: Affine = np.linalg.inv(grid.affine) @ shift @ affine(parameters) @ np.linalg.inv(shift) @ grid.affine
    return matrix


def phase_shift(reference: Volume, frame: Volume, grid: Grid) -> Parameters:
    """The translation with the highest peak of the phase correlation, to a fraction of a voxel; no rotation.

    Axes are padded to twice their length, so that the top slice never meets the bottom one. Zeros for constant images.
    """
    shape = tuple(fft.next_fast_len(2 * size, real=True) if size > 1 else 1 for size in reference.shape)
    spectra = [fft.rfftn(image - image.mean(), shape) for image in (frame, reference)]
    cross = spectra[0] * spectra[1].conj()
    power = np.abs(cross)
    if not power.max() > 0:
        return np.zeros(6)
    peaks = fft.irfftn(cross / (power + 1e-3 * power.max()), shape)
    best = np.unravel_index(int(peaks.argmax()), shape)
    shift = np.zeros(3)
    for axis, size in enumerate(shape):
        line = np.moveaxis(peaks, axis, 0)[(slice(None), *(best[a] for a in range(3) if a != axis))]
        whole = best[axis] - size if best[axis] > size // 2 else best[axis]
        shift[axis] = whole + _vertex(line, int(best[axis]))
    return np.concatenate([grid.affine[:3, :3] @ shift, np.zeros(3)])


def _vertex(line: Float[np.ndarray, "n"], top: int) -> float:
    """How far from the highest sample the parabola through it and its two neighbours has its vertex."""
    if line.size < 3:
        return 0.0
    before, here, after = line[top - 1], line[top], line[(top + 1) % line.size]
    bend = before - 2 * here + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0


def _possible(grid: Grid) -> Float[np.ndarray, "6 d"]:
    """The motions that the grid can show: all six, or those within a slice where there are few slices; else none."""
    flat = [axis for axis, size in enumerate(grid.shape) if size < FEWEST_SLICES]
    if not flat:
        return np.eye(6)
    if len(flat) > 1:
        return np.zeros((6, 0))
    first, second = (grid.affine[:3, axis] / grid.spacing_mm[axis] for axis in range(3) if axis != flat[0])
    normal = np.cross(first, second)
    basis = np.zeros((6, 3))
    basis[:3, 0], basis[:3, 1], basis[3:, 2] = first, second, normal / np.linalg.norm(normal)
    return basis


def _polynomials(places_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n m"]:
    """1, x, y, z and their products, of positions scaled to about −1 ... 1; axes without extent are left out."""
    span = np.ptp(places_mm, axis=0) if len(places_mm) else np.zeros(3)
    axes = [places_mm[:, axis] / span[axis] * 2 for axis in range(3) if span[axis] > 0]
    products = [first * second for n, first in enumerate(axes) for second in axes[n:]]
    return np.stack([np.ones(len(places_mm)), *axes, *products], axis=1)
