"""The large vessels, as tubes a few voxels wide along lines that we drew in MNI space, and small ones on the cortex."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from scipy import ndimage

from strokelens.phantom.anatomy import load_template, sample

KINDS = ("artery", "collateral", "vein")
"""Open arteries, arteries behind the clot, and veins."""

STEP_MM = 1.0
"""The voxel of the vessels' own grid, which covers the template's box."""


@dataclass(frozen=True)
class Tube:
    """A vessel: its way in MNI mm on the left (x < 0) or in the middle, and its radius."""

    name: str
    radius_mm: float
    way_mm: tuple[tuple[float, float, float], ...]


ARTERIES = (
    Tube("ICA", 1.6, ((-13, 2, -48), (-13, 6, -34), (-14, 0, -27), (-12, 6, -22), (-13, 4, -16), (-14, 3, -13))),
    Tube("M1", 1.3, ((-14, 3, -13), (-20, 4, -13), (-27, 5, -14), (-34, 5, -12))),
    Tube("M2 superior", 1.0, ((-34, 5, -12), (-38, 10, -4), (-39, 12, 6), (-42, 8, 16), (-50, 4, 24))),
    Tube("M2 inferior", 1.0, ((-34, 5, -12), (-39, -2, -8), (-41, -14, 2), (-43, -26, 12), (-50, -40, 20))),
    Tube("A1", 0.9, ((-14, 3, -13), (-9, 8, -14), (-3, 12, -14))),
    Tube("A2", 1.0, ((-3, 12, -14), (-3, 28, -10), (-3, 39, 4), (-3, 32, 18), (-3, 12, 28), (-4, -8, 34))),
    Tube("P1", 1.0, ((0, -18, -20), (-9, -20, -17), (-16, -30, -12), (-17, -46, -6), (-12, -70, 2))),
)
MIDDLE_ARTERIES = (Tube("basilar", 1.4, ((0, -18, -48), (0, -16, -34), (0, -18, -20))),)
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
    """Fractions 0 ... 255 of blood on the vessels' grid: open arteries, arteries behind the clot, and veins.

    `near` marks the voxels from which a vessel is at most one voxel away: elsewhere interpolation gives 0.
    """

    artery: UInt8[np.ndarray, "x y z"]
    collateral: UInt8[np.ndarray, "x y z"]
    vein: UInt8[np.ndarray, "x y z"]
    near: Bool[np.ndarray, "x y z"]

    def fractions(self, places_mm: Float32[np.ndarray, "3 n"]) -> dict[str, Float32[np.ndarray, "n"]]:
        """The share of blood of each kind at positions of the template, by linear interpolation."""
        origin = load_template().origin_mm
        voxels = np.rint((places_mm - origin[:, None].astype(np.float32)) / np.float32(STEP_MM)).astype(np.int32)
        last = np.array(self.near.shape, np.int32)[:, None] - 1
        some = np.flatnonzero(self.near[tuple(np.clip(voxels, 0, last))])
        found = {name: np.zeros(places_mm.shape[1], np.float32) for name in KINDS}
        for name, share in found.items():
            share[some] = sample(getattr(self, name), places_mm[:, some], origin, STEP_MM) / np.float32(255)
        return found


def draw_vessels(rng: np.random.Generator, *, share: float, blocked_side: int = 0) -> VesselVolumes:
    """The patient's vessels; `share` is that of blood where an artery fills its voxel best, and scales all of them.

    `blocked_side` is -1 where the left M1 is occluded, 1 for the right one, 0 for none: what lies behind the clot is
    in `collateral`.
    """
    template = load_template()
    shape = tuple(round((size - 1) * template.tissue_mm / STEP_MM) + 1 for size in template.grey.shape)
    tubes: dict[str, list[Float32[np.ndarray, "_ 4"]]] = {"artery": [], "collateral": [], "vein": []}
    for side in (-1, 1):
        for tube in ARTERIES:
            behind = side == blocked_side and tube.name in DISTAL_OF_M1
            balls = _balls(rng, tube, side)
            cut = int(0.35 * len(balls)) if tube.name == "M1" else 0
            tubes["artery"].append(balls[:cut] if behind else balls)
            tubes["collateral"].append(balls[cut:] if behind else balls[:0])
        tubes["vein"] += [_balls(rng, tube, side) for tube in VEINS]
    tubes["artery"] += [_balls(rng, tube, 1) for tube in MIDDLE_ARTERIES]
    tubes["vein"] += [_balls(rng, tube, 1) for tube in MIDDLE_VEINS]
    tubes["artery"].append(_pial(rng, count=130, radius_mm=0.55))
    tubes["vein"].append(_pial(rng, count=170, radius_mm=0.75))
    fullest = {"artery": share, "collateral": share, "vein": 1.0}
    volumes = {name: _stamped(groups, shape, fullest[name]) for name, groups in tubes.items()}
    return VesselVolumes(near=ndimage.maximum_filter(np.maximum.reduce(list(volumes.values())), 3) > 0, **volumes)


def _balls(rng: np.random.Generator, tube: Tube, side: int) -> Float32[np.ndarray, "n 4"]:
    """Points every half millimetre along the way, with the radius last; the way wanders by a millimetre or two."""
    way = np.array(tube.way_mm) * [-side, 1, 1]
    loose = np.ones((len(way), 1))
    loose[[0, -1]] = 0.5
    way = way + rng.normal(0, 1.2, way.shape) * loose
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    along = np.arange(0, length[-1], 0.5 * STEP_MM)
    points = np.stack([np.interp(along, length, axis) for axis in way.T], axis=1)
    radius = tube.radius_mm * np.exp(rng.normal(0, 0.08))
    return np.column_stack([points, np.full(len(points), radius)]).astype(np.float32)


def _pial(rng: np.random.Generator, *, count: int, radius_mm: float) -> Float32[np.ndarray, "n 4"]:
    """Short pieces of small vessels that start at random places of the cortex's outside and wander."""
    template = load_template()
    surface = np.argwhere(
        (template.hull_distance_mm < 0) & (template.hull_distance_mm > -14) & (template.tissue < 0.75)
    )
    starts = template.origin_mm + template.field_mm * surface[rng.integers(len(surface), size=count)]
    steps = rng.normal(0, 1, (count, 3))
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    curls = rng.normal(0, 0.05, (count, 3))
    reach = np.arange(36)[None, :, None] * 0.5
    points = starts[:, None] + steps[:, None] * reach + curls[:, None] * reach**2 / 2
    radii = np.repeat(np.minimum(radius_mm * np.exp(rng.normal(0, 0.3, count)), 1.4), reach.size)
    return np.column_stack([points.reshape(-1, 3), radii]).astype(np.float32)


def _stamped(
    groups: list[Float32[np.ndarray, "_ 4"]], shape: tuple[int, ...], fullest: float
) -> UInt8[np.ndarray, "x y z"]:
    """The largest fraction that any ball gives a voxel: `fullest` inside, 0 outside, a ramp of one voxel at the wall.

    A ball thinner than the ramp never fills a voxel: its fraction is that of its cross-section, π r² ≤ 1 mm².
    """
    volume = np.zeros(shape, np.uint8)
    for balls in groups:
        if len(balls):
            voxels, fraction = _ball_voxels(balls)
            inside = ((voxels >= 0) & (voxels < np.array(shape)[:, None])).all(axis=0) & (fraction > 0)
            flat = np.ravel_multi_index(tuple(voxels[:, inside]), shape)
            np.maximum.at(volume.reshape(-1), flat, np.rint(255 * fullest * fraction[inside]).astype(np.uint8))
    return volume


def _ball_voxels(balls: Float32[np.ndarray, "n 4"]) -> tuple[Int[np.ndarray, "3 m"], Float32[np.ndarray, "m"]]:
    """The voxels in and around balls of similar size, and the fraction of each that its ball fills."""
    reach = int(np.ceil(balls[:, 3].max() / STEP_MM + 0.5))
    offsets = np.indices((2 * reach + 1,) * 3).reshape(3, -1) - reach
    offsets = offsets[:, (offsets**2).sum(axis=0) <= (reach + 0.9) ** 2]
    centres = ((balls[:, :3] - load_template().origin_mm) / STEP_MM).astype(np.float32).T
    nearest = np.rint(centres).astype(np.int32)
    voxels = nearest[:, :, None] + offsets[:, None].astype(np.int32)  # (3, n, m)
    gap = np.sqrt(sum((voxels[axis] - centres[axis][:, None]) ** 2 for axis in range(3)))
    radius = balls[:, 3:] / np.float32(STEP_MM)
    fraction = np.clip(radius + 0.5 - gap, 0, 1) * np.minimum(1, np.pi * radius**2)
    return voxels.reshape(3, -1), fraction.reshape(-1).astype(np.float32)
