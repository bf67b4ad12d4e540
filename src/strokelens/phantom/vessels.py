"""The large vessels, as tubes a few voxels wide along lines that we drew in MNI space, and small ones on the cortex."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

from strokelens.phantom.anatomy import load_template, sample

STEP_MM = 1.0
"""The voxel of the vessels' own grid, which covers the template's box."""


@dataclass(frozen=True)
class Tube:
    """A vessel: its way in MNI mm on the left (x < 0) or in the middle, and its radius."""

    name: str
    radius_mm: float
    way_mm: tuple[tuple[float, float, float], ...]


ARTERIES = (
    Tube("ICA", 1.35, ((-13, 2, -48), (-13, 6, -34), (-14, 0, -27), (-12, 6, -22), (-13, 4, -16), (-14, 3, -13))),
    Tube("M1", 1.1, ((-14, 3, -13), (-20, 4, -13), (-27, 5, -14), (-34, 5, -12))),
    Tube("M2 superior", 0.8, ((-34, 5, -12), (-38, 10, -4), (-39, 12, 6), (-42, 8, 16), (-50, 4, 24))),
    Tube("M2 inferior", 0.8, ((-34, 5, -12), (-39, -2, -8), (-41, -14, 2), (-43, -26, 12), (-50, -40, 20))),
    Tube("A1", 0.75, ((-14, 3, -13), (-9, 8, -14), (-3, 12, -14))),
    Tube("A2", 0.8, ((-3, 12, -14), (-3, 28, -10), (-3, 39, 4), (-3, 32, 18), (-3, 12, 28), (-4, -8, 34))),
    Tube("P1", 0.8, ((0, -18, -20), (-9, -20, -17), (-16, -30, -12), (-17, -46, -6), (-12, -70, 2))),
)
MIDDLE_ARTERIES = (Tube("basilar", 1.1, ((0, -18, -48), (0, -16, -34), (0, -18, -20))),)
DISTAL_OF_M1 = ("M1", "M2 superior", "M2 inferior")

MIDDLE_VEINS = (
    Tube(
        "sagittal sinus",
        3.6,
        ((0, 52, 42), (0, 34, 62), (0, 8, 76), (0, -22, 81), (0, -52, 72), (0, -78, 52), (0, -96, 24), (0, -101, -2)),
    ),
    Tube("straight sinus", 2.2, ((0, -42, 6), (0, -62, 2), (0, -84, -4), (0, -100, -6))),
    Tube("vein of Galen", 2.0, ((0, -12, 16), (0, -26, 14), (0, -40, 10), (0, -42, 6))),
)
VEINS = (
    Tube("transverse sinus", 3.0, ((0, -101, -4), (-22, -96, -12), (-44, -78, -20), (-54, -56, -26), (-52, -44, -36))),
    Tube("vein of Trolard", 1.2, ((-4, -22, 80), (-24, -24, 72), (-44, -22, 56), (-56, -14, 36))),
    Tube("thalamostriate vein", 0.8, ((-2, -12, 16), (-8, 4, 16), (-14, -8, 22))),
)


@dataclass(frozen=True, eq=False)
class VesselVolumes:
    """Fractions 0 ... 255 of blood on the vessels' grid: open arteries, arteries behind the clot, and veins."""

    artery: UInt8[np.ndarray, "x y z"]
    collateral: UInt8[np.ndarray, "x y z"]
    vein: UInt8[np.ndarray, "x y z"]


def draw_vessels(rng: np.random.Generator, *, lumen: float, blocked_side: int = 0) -> VesselVolumes:
    """The patient's vessels; `lumen` scales the arteries' cross-section, 1 for the usual.

    `blocked_side` is -1 where the left M1 is occluded, 1 for the right one, 0 for none: what lies behind the clot is
    in `collateral`.
    """
    template = load_template()
    shape = tuple(round((size - 1) * template.tissue_mm / STEP_MM) + 1 for size in template.grey.shape)
    tubes: dict[str, list[Float32[np.ndarray, "n 4"]]] = {"artery": [], "collateral": [], "vein": []}
    widening = float(np.sqrt(lumen))
    for side in (-1, 1):
        for tube in ARTERIES:
            behind = side == blocked_side and tube.name in DISTAL_OF_M1
            balls = _balls(rng, tube, side, widening)
            cut = int(0.35 * len(balls)) if tube.name == "M1" else 0
            tubes["artery"].append(balls[:cut] if behind else balls)
            tubes["collateral"].append(balls[cut:] if behind else balls[:0])
        tubes["vein"] += [_balls(rng, tube, side, 1.0) for tube in VEINS]
    tubes["artery"] += [_balls(rng, tube, 1, widening) for tube in MIDDLE_ARTERIES]
    tubes["vein"] += [_balls(rng, tube, 1, 1.0) for tube in MIDDLE_VEINS]
    tubes["artery"].append(_pial(rng, count=130, radius_mm=0.55))
    tubes["vein"].append(_pial(rng, count=170, radius_mm=0.75))
    return VesselVolumes(**{name: _stamped(np.concatenate(balls), shape) for name, balls in tubes.items()})


def _balls(rng: np.random.Generator, tube: Tube, side: int, widening: float) -> Float32[np.ndarray, "n 4"]:
    """Points every half millimetre along the way, with the radius last; the way wanders by a millimetre or two."""
    way = np.array(tube.way_mm) * [-side, 1, 1]
    loose = np.ones((len(way), 1))
    loose[[0, -1]] = 0.5
    way = way + rng.normal(0, 1.2, way.shape) * loose
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    along = np.arange(0, length[-1], 0.5 * STEP_MM)
    points = np.stack([np.interp(along, length, axis) for axis in way.T], axis=1)
    radius = tube.radius_mm * widening * np.exp(rng.normal(0, 0.08))
    return np.column_stack([points, np.full(len(points), radius)]).astype(np.float32)


def _pial(rng: np.random.Generator, *, count: int, radius_mm: float) -> Float32[np.ndarray, "n 4"]:
    """Short pieces of small vessels that start at random places of the cortex's outside and wander."""
    template = load_template()
    surface = np.argwhere(
        (template.hull_distance_mm < 0) & (template.hull_distance_mm > -14) & (template.tissue_on_field() < 0.75)
    )
    starts = template.origin_mm + template.field_mm * surface[rng.integers(len(surface), size=count)]
    steps = rng.normal(0, 1, (count, 3))
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    curls = rng.normal(0, 0.05, (count, 3))
    reach = np.arange(36)[None, :, None] * 0.5
    points = starts[:, None] + steps[:, None] * reach + curls[:, None] * reach**2 / 2
    radii = np.repeat(radius_mm * np.exp(rng.normal(0, 0.3, count)), reach.size)
    return np.column_stack([points.reshape(-1, 3), radii]).astype(np.float32)


def _stamped(balls: Float32[np.ndarray, "n 4"], shape: tuple[int, ...]) -> UInt8[np.ndarray, "x y z"]:
    """The largest fraction that any ball gives a voxel: 1 inside, 0 outside, a ramp of one voxel at the wall.

    A ball thinner than the ramp never fills a voxel: its fraction is that of its cross-section, π r² ≤ 1 mm².
    """
    volume = np.zeros(shape, np.uint8)
    if not len(balls):
        return volume
    origin = load_template().origin_mm
    reach = int(np.ceil(balls[:, 3].max() / STEP_MM + 0.5))
    offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    offsets = offsets[np.linalg.norm(offsets, axis=1) <= reach + 0.9]
    centres = (balls[:, :3] - origin) / STEP_MM
    nearest = np.rint(centres).astype(np.intp)
    voxels = nearest[:, None] + offsets  # (n, m, 3)
    gap = np.linalg.norm(voxels - centres[:, None], axis=2)
    radius = balls[:, 3:] / STEP_MM
    fraction = np.clip(radius + 0.5 - gap, 0, 1) * np.minimum(1, np.pi * radius**2)
    inside = ((voxels >= 0) & (voxels < np.array(shape))).all(axis=2) & (fraction > 0)
    flat = np.ravel_multi_index(tuple(voxels[inside].T), shape)
    np.maximum.at(volume.reshape(-1), flat, np.rint(255 * fraction[inside]).astype(np.uint8))
    return volume


def blood_fraction(volume: UInt8[np.ndarray, "x y z"], places_mm: Float32[np.ndarray, "3 n"]) -> Float[np.ndarray, "n"]:
    """The share of blood at positions of the template, by linear interpolation."""
    return sample(volume, places_mm, load_template().origin_mm, STEP_MM) / np.float32(255)
