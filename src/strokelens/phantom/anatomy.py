"""Whose head it is: the template's tissues, bent, scaled and tilted into one patient, and sampled finer than the scan.

Places in the template are MNI152 positions in mm. A thick slice is the mean of several thin ones (`sample_slice`), so
that a voxel holds fractions of tissues, never one label.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float, Float32, Int, Real, Shaped, UInt8
from scipy import ndimage

from strokelens.arrays import Affine
from strokelens.grid import Grid

SKULL_MM = (2.5, 9.0)
"""The bone's inner and outer distance from the brain's hull; fluid lies between brain and bone."""

SCALP_MM = 15.0
"""The skin's distance from the brain's hull."""

DISPLACEMENT_MM = 2.5
_DISPLACEMENT_SIGMA_MM = 24.0
_BRAIN_MARGIN_MM = 1.0


@dataclass(frozen=True, eq=False)
class Template:
    """The shipped MNI152 reduction, both halves: `grey` and `white` fractions, and coarser fields.

    `tissue` is grey plus white on the coarser grid, which takes every second point of the finer one.
    `hull_distance_mm` is negative inside the brain's outline; `territory` is 1 ACA, 2 MCA, 3 PCA, 4 cerebellum and
    brain stem. Voxel (0, 0, 0) of both grids is at `origin_mm`; their voxels are cubes.
    """

    grey: Float32[np.ndarray, "x y z"]
    white: Float32[np.ndarray, "x y z"]
    hull_distance_mm: Float32[np.ndarray, "u v w"]
    territory: UInt8[np.ndarray, "u v w"]
    tissue: Float32[np.ndarray, "u v w"]
    origin_mm: Float[np.ndarray, "3"]
    tissue_mm: float
    field_mm: float

    def field_points_mm(self) -> tuple[Float32[np.ndarray, "_ _ _"], ...]:
        """The positions x, y and z of the coarse grid, ready to broadcast."""
        axes = [
            (low + self.field_mm * np.arange(size)).astype(np.float32)
            for low, size in zip(self.origin_mm, self.territory.shape, strict=True)
        ]
        x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
        return x, y, z


@cache
def load_template() -> Template:
    """The template that ships with strokelens; see data/ATTRIBUTION.txt."""
    with files("strokelens.phantom").joinpath("data", "anatomy.npz").open("rb") as stream:
        stored = np.load(stream, allow_pickle=False)
        levels = float(stored["levels"])
        whole = {name: _mirrored(stored[name]) for name in ("grey", "white", "hull_distance_mm", "territory")}
        return Template(
            grey=whole["grey"].astype(np.float32) / np.float32(levels),
            white=whole["white"].astype(np.float32) / np.float32(levels),
            hull_distance_mm=ndimage.gaussian_filter(whole["hull_distance_mm"].astype(np.float32), 0.7),
            territory=whole["territory"],
            tissue=_tissue(
                whole["grey"], whole["white"], levels, round(float(stored["field_mm"] / stored["tissue_mm"]))
            ),
            origin_mm=stored["box_mm"][:, 0],
            tissue_mm=float(stored["tissue_mm"]),
            field_mm=float(stored["field_mm"]),
        )


def _tissue(
    grey: UInt8[np.ndarray, "x y z"], white: UInt8[np.ndarray, "x y z"], levels: float, step: int
) -> Float32[np.ndarray, "u v w"]:
    whole = ndimage.uniform_filter((grey + white) / np.float32(levels), step)
    return np.ascontiguousarray(whole[::step, ::step, ::step], np.float32)


def _mirrored(half: Shaped[np.ndarray, "h y z"]) -> Shaped[np.ndarray, "x y z"]:
    """Left half with its middle plane last → both halves."""
    return np.concatenate([half, half[-2::-1]])


@dataclass(frozen=True, eq=False)
class Head:
    """One patient's head: where it lies, and how it differs from the template.

    `pose` carries template mm to world mm (rotation, scale, shift). `displacement_mm` (3, u, v, w) on the coarse grid
    is added to the template positions that a world position maps to, and is small and smooth.
    """

    pose: Affine
    displacement_mm: Float32[np.ndarray, "3 u v w"]

    @property
    def volume_scale(self) -> float:
        """World volume per template volume, without the displacement, which changes it little."""
        return float(abs(np.linalg.det(self.pose[:3, :3])))


def draw_head(rng: np.random.Generator) -> Head:
    """A head 0.93 ± 0.025 of the template's size in each direction, turned by a few degrees, smoothly deformed."""
    template = load_template()
    scale = np.clip(rng.normal(0.93, 0.025, 3), 0.87, 0.99)
    tilt, roll, yaw = np.deg2rad(np.clip(rng.normal(0, [4.0, 2.5, 3.5]), [-9, -6, -8], [9, 6, 8]))
    pose = np.eye(4)
    pose[:3, :3] = rotation(tilt, roll, yaw) @ np.diag(scale)
    pose[:3, 3] = rng.normal([0.0, 18.0, 0.0], [3.0, 4.0, 2.0])
    sigma = _DISPLACEMENT_SIGMA_MM / template.field_mm
    fields = np.stack([smooth_field(rng, template.territory.shape, sigma) for _ in range(3)])
    return Head(pose, (DISPLACEMENT_MM * fields).astype(np.float32))


def rotation(about_x: float, about_y: float, about_z: float) -> Float[np.ndarray, "3 3"]:
    """The rotation by three angles in radians, about x first."""
    (cx, cy, cz), (sx, sy, sz) = np.cos([about_x, about_y, about_z]), np.sin([about_x, about_y, about_z])
    turn_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    turn_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    turn_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turn: Float[np.ndarray, "3 3"] = turn_z @ turn_y @ turn_x
    return turn


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], sigma_voxels: float) -> Float32[np.ndarray, "u v w"]:
    """Gaussian noise of mean 0 and standard deviation 1, smoothed with `sigma_voxels`.

    Long correlations are drawn on a coarser grid and interpolated by splines.
    """
    step = max(1, int(sigma_voxels // 2))
    small = tuple(size // step + 4 for size in shape)
    noise = ndimage.gaussian_filter(rng.standard_normal(small, dtype=np.float32), sigma_voxels / step, mode="wrap")
    noise = (noise - noise.mean()) / noise.std()
    if step > 1:
        matrix = np.full(len(shape), 1 / step)
        noise = ndimage.affine_transform(noise, matrix, offset=1.0, output_shape=shape, order=2)
    else:
        noise = noise[tuple(slice(2, 2 + size) for size in shape)]
    smooth: Float32[np.ndarray, "u v w"] = noise.astype(np.float32)
    return smooth


@dataclass(frozen=True, eq=False)
class Samples:
    """What the thin sub-slices of one slice hold: one row per sub-voxel of the head.

    `voxel` is its position j * width + i in the slice; a voxel has as many rows as sub-slices, fewer at the skin.
    `template_mm` is where in the template it is, `hull_mm` the distance to the brain's hull, negative inside.
    """

    voxel: Int[np.ndarray, "n"]
    template_mm: Float32[np.ndarray, "3 n"]
    hull_mm: Float32[np.ndarray, "n"]
    grey: Float32[np.ndarray, "n"]
    white: Float32[np.ndarray, "n"]


def sample_slice(head: Head, grid: Grid, k: int, *, sub_slices: int, across: int = 1) -> Samples:
    """The head's tissues at the centres of `across`² x `sub_slices` sub-voxels of slice `k`; air is left out."""
    template = load_template()
    to_template = np.linalg.inv(head.pose) @ grid.affine
    width, height = grid.shape[:2]
    i, j = _sub_centres(0, width, across)[None, None, :], _sub_centres(0, height, across)[None, :, None]
    depth = _sub_centres(k, 1, sub_slices)[:, None, None]
    rows = to_template.astype(np.float32)
    places = np.stack([row[0] * i + row[1] * j + row[2] * depth + row[3] for row in rows[:3]]).reshape(3, -1)
    rough = sample(template.hull_distance_mm, places, template.origin_mm, template.field_mm)
    kept = np.flatnonzero(rough < SCALP_MM + 3 * DISPLACEMENT_MM)
    places = places[:, kept]
    moved = [sample(field, places, template.origin_mm, template.field_mm) for field in head.displacement_mm]
    places = places + np.stack(moved)
    hull = sample(template.hull_distance_mm, places, template.origin_mm, template.field_mm)
    inside = hull < _BRAIN_MARGIN_MM
    grey, white = np.zeros_like(hull), np.zeros_like(hull)
    grey[inside] = sample(template.grey, places[:, inside], template.origin_mm, template.tissue_mm)
    white[inside] = sample(template.white, places[:, inside], template.origin_mm, template.tissue_mm)
    row, column = np.divmod(kept % (width * height * across**2), width * across)
    return Samples((row // across) * width + column // across, places, hull, grey, white)


def _sub_centres(first: int, count: int, parts: int) -> Float32[np.ndarray, "n"]:
    """Where the centres of the parts of voxels first … first + count - 1 are, in voxels."""
    return (first - 0.5 + (np.arange(count * parts, dtype=np.float32) + 0.5) / parts).astype(np.float32)


def sample(
    values: Real[np.ndarray, "x y z"],
    places_mm: Float32[np.ndarray, "3 n"],
    origin_mm: Float[np.ndarray, "3"],
    step_mm: float,
) -> Float32[np.ndarray, "n"]:
    """Linear interpolation at positions of the template; beyond its box the nearest value holds."""
    voxels = (places_mm - origin_mm[:, None].astype(np.float32)) / np.float32(step_mm)
    found: Float32[np.ndarray, "n"] = ndimage.map_coordinates(
        values, voxels, order=1, mode="nearest", output=np.float32
    )
    return found
