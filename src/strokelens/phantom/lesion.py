"""Where the blood does not come: the hypoperfused region and the core inside it, shaped by an arterial territory."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import ndimage

from strokelens.phantom.anatomy import load_template, smooth_field
from strokelens.phantom.haemodynamics import DELAY_LIMITS_S, DISPERSION_LIMITS_S

Group = Literal["LVO", "Non-LVO", "WIS"]
"""Large-vessel occlusion, occlusion of a branch, and no ischemic stroke."""

ACA, MCA, PCA = 1, 2, 3

_RIM_MM = 9.0
"""Over this length the delay outside the hypoperfused region falls from 2 s to the healthy one's."""

_HUB_MM = {ACA: (8.0, 22.0, 4.0), MCA: (26.0, -6.0, 12.0), PCA: (14.0, -32.0, 2.0)}
"""From here the branches of a territory fan out, on the right side."""


@dataclass(frozen=True)
class Occlusion:
    """What was drawn: the side (-1 left, 1 right, 0 none), the territory, the volumes wanted, and the collaterals.

    `collaterals` is 0 for none and 1 for excellent; volumes are of grey and white matter, in world ml.
    """

    side: int
    territory: int
    hypoperfused_ml: float
    core_ml: float
    collaterals: float
    proximal: bool


NO_OCCLUSION = Occlusion(0, 0, 0.0, 0.0, 1.0, False)


@dataclass(frozen=True, eq=False)
class Fields:
    """On the template's coarse grid: level sets (positive inside), arrival, dispersion, and the flow's variation.

    `variation` has mean 0 and standard deviation 1 and is within ±2.
    """

    hypoperfused: Float32[np.ndarray, "u v w"]
    core: Float32[np.ndarray, "u v w"]
    delay_s: Float32[np.ndarray, "u v w"]
    dispersion_s: Float32[np.ndarray, "u v w"]
    variation: Float32[np.ndarray, "u v w"]


def draw_occlusion(rng: np.random.Generator, group: Group) -> Occlusion:
    """Volumes of the group: LVO about 100 ml with a core of 20; Non-LVO about 20 ml with 3; WIS none."""
    if group == "WIS":
        return NO_OCCLUSION
    collaterals = float(rng.beta(2.5, 2.0))
    spread = rng.normal(size=2)
    side = int(rng.choice((-1, 1)))
    if group == "LVO":
        hypoperfused = float(np.clip(100 * np.exp(0.35 * spread[0]), 50, 190))
        core = 22 * np.exp(0.65 * spread[1] - 1.4 * (collaterals - 0.55))
        return Occlusion(side, MCA, hypoperfused, float(np.clip(core, 4, 0.6 * hypoperfused)), collaterals, True)
    territory = int(rng.choice((ACA, MCA, PCA), p=(0.15, 0.6, 0.25)))
    hypoperfused = float(np.clip(20 * np.exp(0.45 * spread[0]), 8, 45))
    core = 3.5 * np.exp(0.6 * spread[1] - 1.4 * (collaterals - 0.55))
    return Occlusion(side, territory, hypoperfused, float(np.clip(core, 0.6, 0.5 * hypoperfused)), collaterals, False)


def draw_fields(rng: np.random.Generator, occlusion: Occlusion, *, volume_scale: float) -> Fields:
    """The patient's flow fields; `volume_scale` is world volume per template volume."""
    template = load_template()
    shape, step_mm = template.territory.shape, template.field_mm
    fine, broad = (smooth_field(rng, shape, sigma / step_mm) for sigma in (5.0, 15.0))
    variation = np.clip(0.92 * fine + 0.39 * broad, -2, 2).astype(np.float32)
    waves = [smooth_field(rng, shape, sigma / step_mm) for sigma in (7.0, 7.0, 15.0)]
    voxel_ml = step_mm**3 * volume_scale / 1000
    if not occlusion.side:
        empty = np.full(shape, -1.0, np.float32)
        return Fields(empty, empty, *_flow(empty, empty, occlusion, waves[2]), variation)
    tissue = template.tissue * (template.hull_distance_mm < 0)
    region = _hypoperfused(rng, occlusion, waves[0], tissue, voxel_ml)
    core = _core(rng, occlusion, waves[1], tissue, region, voxel_ml)
    return Fields(region, core, *_flow(region, core, occlusion, waves[2]), variation)


def _hypoperfused(
    rng: np.random.Generator,
    occlusion: Occlusion,
    waves: Float32[np.ndarray, "u v w"],
    tissue: Float32[np.ndarray, "u v w"],
    voxel_ml: float,
) -> Float32[np.ndarray, "u v w"]:
    """A wedge that fans out from the territory's hub towards the cortex, as far as the wanted volume reaches."""
    template = load_template()
    own = _territory(occlusion)
    hub = np.array(_HUB_MM[occlusion.territory]) * [occlusion.side, 1, 1] + rng.normal(0, 2.5, 3)
    aim = _cortical_point(rng, own, occlusion)
    axis = (aim - hub) / np.linalg.norm(aim - hub)
    x, y, z = (place - centre for place, centre in zip(template.field_points_mm(), hub, strict=True))
    distance = np.sqrt(x**2 + y**2 + z**2) + 1e-3
    angle = np.arccos(np.clip((x * axis[0] + y * axis[1] + z * axis[2]) / distance, -1, 1))
    edge = np.clip(_signed_distance_mm(own, template.field_mm), -8, 10)
    if occlusion.proximal:
        score = -0.45 * angle - 0.25 * distance / 30
    else:
        score = -angle - 0.25 * np.abs(distance - np.linalg.norm(aim - hub)) / 30
    score = score + 0.08 * np.minimum(edge, 0) + 0.03 * edge + 0.14 * waves
    score[edge <= -8] = -9
    return _level_set(score, tissue, occlusion.hypoperfused_ml / voxel_ml)


def _core(
    rng: np.random.Generator,
    occlusion: Occlusion,
    waves: Float32[np.ndarray, "u v w"],
    tissue: Float32[np.ndarray, "u v w"],
    region: Float32[np.ndarray, "u v w"],
    voxel_ml: float,
) -> Float32[np.ndarray, "u v w"]:
    """The part of the region that lies deep in it and near a point that collaterals reach last."""
    template = load_template()
    depth = _signed_distance_mm(region > 0, template.field_mm)
    candidates = np.argwhere((depth > min(6.0, 0.6 * depth.max())) & (tissue > 0.6))
    seed = template.origin_mm + template.field_mm * candidates[rng.integers(len(candidates))]
    x, y, z = (place - centre for place, centre in zip(template.field_points_mm(), seed, strict=True))
    distance = np.sqrt(x**2 + y**2 + z**2)
    size_mm = (occlusion.core_ml * 1000) ** (1 / 3)
    score = -distance / size_mm + 0.05 * np.minimum(depth, 10) + 0.25 * waves
    score[depth < 2.5] = -9
    return _level_set(score, tissue, occlusion.core_ml / voxel_ml)


def _territory(occlusion: Occlusion) -> Bool[np.ndarray, "u v w"]:
    """The affected territory; it goes on outside the brain, so that only its neighbours are at its edge."""
    template = load_template()
    x = template.field_points_mm()[0]
    inside: Bool[np.ndarray, "u v w"] = (template.territory == occlusion.territory) & (x * occlusion.side > 1.5)
    return inside


def _cortical_point(rng: np.random.Generator, own: Bool[np.ndarray, "u v w"], occlusion: Occlusion) -> np.ndarray:
    """A point of the territory's cortex at the height that scans cover; for a proximal clot, the middle of them."""
    template = load_template()
    z = template.field_points_mm()[2]
    depth = -template.hull_distance_mm
    cortex = np.argwhere(own & (depth > 2) & (depth < 14) & (z > -6) & (z < 46))
    point = cortex.mean(axis=0) if occlusion.proximal else cortex[rng.integers(len(cortex))]
    wobble = rng.normal(0, 6.0, 3) if occlusion.proximal else np.zeros(3)
    place: np.ndarray = template.origin_mm + template.field_mm * point + wobble
    return place


def _level_set(
    score: Float[np.ndarray, "u v w"], tissue: Float32[np.ndarray, "u v w"], voxels: float
) -> Float32[np.ndarray, "u v w"]:
    """The score less the threshold at which as many voxels of tissue as wanted lie above it."""
    order = np.argsort(score, axis=None)[::-1]
    enough = int(np.searchsorted(np.cumsum(tissue.reshape(-1)[order]), voxels))
    threshold = score.reshape(-1)[order[min(enough, order.size - 1)]]
    level: Float32[np.ndarray, "u v w"] = (score - threshold).astype(np.float32)
    return level


def _signed_distance_mm(mask: Bool[np.ndarray, "u v w"], step_mm: float) -> Float32[np.ndarray, "u v w"]:
    """The distance to the mask's edge, positive inside."""
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    distance: Float32[np.ndarray, "u v w"] = ((inside - outside) * step_mm).astype(np.float32)
    return distance


def _flow(
    region: Float32[np.ndarray, "u v w"],
    core: Float32[np.ndarray, "u v w"],
    occlusion: Occlusion,
    waves: Float32[np.ndarray, "u v w"],
) -> tuple[Float32[np.ndarray, "u v w"], Float32[np.ndarray, "u v w"]]:
    """Delay and dispersion: small and smooth where healthy, ramping at the border, largest deep in the region."""
    template = load_template()
    wave = np.clip(waves, -2, 2) / 4 + 0.5  # 0 ... 1
    delay_s = 0.1 + 0.8 * wave
    dispersion_s = 0.25 * wave
    if not occlusion.side:
        return delay_s.astype(np.float32), dispersion_s.astype(np.float32)
    depth = _signed_distance_mm(region > 0, template.field_mm)
    rim = np.exp(-np.maximum(-depth, 0) / _RIM_MM)
    delay_s = delay_s + (DELAY_LIMITS_S[0][1] - delay_s) * rim
    dispersion_s = dispersion_s + (DISPERSION_LIMITS_S[0][1] - dispersion_s) * rim
    share = np.clip(depth / 18.0, 0, 1) ** 0.7
    reach_s = 5.5 - 2.5 * occlusion.collaterals
    late_s = DELAY_LIMITS_S[1][0] + reach_s * share + 1.2 * wave + np.where(core > 0, 1.2, 0.0)
    delay_s = np.where(depth > 0, late_s, delay_s)
    dispersion_s = np.where(depth > 0, 1.0 + 1.2 * share + 0.4 * wave, dispersion_s)
    return delay_s.astype(np.float32), dispersion_s.astype(np.float32)
