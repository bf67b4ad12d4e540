"""One simulated patient: from a seed to a study with its truth."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from strokelens.arrays import Volume
from strokelens.case import Case, Segmentation
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA
from strokelens.phantom.anatomy import Head, draw_head
from strokelens.phantom.clinical import draw_clinical
from strokelens.phantom.composition import Composition, compose
from strokelens.phantom.haemodynamics import (
    EXPONENTIAL,
    GREY,
    LATTICE,
    Bolus,
    Residue,
    dispersed,
    draw_bolus,
    responses,
)
from strokelens.phantom.lesion import Group, Occlusion, draw_fields, draw_occlusion
from strokelens.phantom.scanner import (
    Contrast,
    CtProtocol,
    DscProtocol,
    Pose,
    Protocol,
    acquire,
    draw_poses,
    enlarged,
    frame_times_s,
    scan_grid,
)
from strokelens.phantom.vessels import draw_vessels

_FINEST_PLANE_MM = 0.6
"""Pixels smaller than this are interpolated from twice their size: the template is no sharper."""

_BEST_FILLED = 1.7
"""The share of blood in the best-filled arterial voxels, over that of a curve averaged from a few good ones."""

_BEHIND_CLOT_S = (2.0, 4.5)
"""Arteries behind the clot fill late: dispersion and delay."""


@dataclass(frozen=True, eq=False)
class Patient:
    """A simulated study and everything that is true about it.

    `case` has the channel CTP (HU) or PWI, its frame times, the truth (1 penumbra, 2 core) and the clinical values.

    `maps` holds the true maps on the case's grid, 0 where there is no flow: CBF (ml/100 g/min) and CBV (ml/100 g) of
    grey and white matter, diluted by what fluid and large vessels share the voxel; MTT = 60 · CBV / CBF (s); delay
    (s), the arrival after the feeding artery; and Tmax (s), when the delayed and dispersed residue function is
    largest; the last two are means over the voxel's flow.

    `tissues` holds the fractions of grey, white, fluid, bone, scalp, artery, collateral (arteries behind the clot),
    vein, penumbra and core. `bolus` has the undiluted blood's curves, in HU or for MR in 1/s.
    """

    seed: int
    case: Case
    maps: Mapping[str, Volume]
    tissues: Mapping[str, Volume]
    bolus: Bolus
    occlusion: Occlusion
    head: Head
    poses: tuple[Pose, ...]
    protocol: Protocol


def simulate(
    seed: int,
    *,
    protocol: Protocol | None = None,
    group: Group = "LVO",
    motion: bool | None = None,
    residue: Residue = EXPONENTIAL,
    workers: int | None = None,
) -> Patient:
    """The patient of a seed: same seed, protocol and group, same bytes, whatever the number of `workers` (threads).

    `motion` says whether the patient moves; None lets every fifth one move. The seed fixes the patient (head,
    occlusion, bolus); another protocol scans the same patient.
    """
    protocol = protocol or CtProtocol()
    anatomy, flow, contrast, movement, noise, record = np.random.SeedSequence(seed).spawn(6)
    grid = scan_grid(protocol)
    time_s = frame_times_s(protocol)
    rng = np.random.default_rng(anatomy)
    head = draw_head(rng)
    bolus = _in_units(draw_bolus(np.random.default_rng(contrast), duration_s=float(time_s[-1])), protocol)
    flow_rng = np.random.default_rng(flow)
    occlusion = draw_occlusion(flow_rng, group)
    fields = draw_fields(flow_rng, occlusion, volume_scale=head.volume_scale)
    blocked = occlusion.side if occlusion.proximal else 0
    vessels = draw_vessels(rng, share=min(1.0, _BEST_FILLED * bolus.partial_volume), blocked_side=blocked)
    poses = draw_poses(np.random.default_rng(movement), time_s.size, motion)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        coarse, sub_voxels = _sampling(grid)
        composition = compose(head, fields, vessels, coarse, sub_voxels=sub_voxels, pool=pool)
        tissue, tmax_s = responses(bolus, time_s, residue, composition.nodes)
        series = acquire(protocol, composition, Contrast(tissue, _blood(bolus, time_s)), poses, noise, pool)
    volumes = {name: _on_grid(volume, grid) for name, volume in composition.fractions.items()}
    truth = Segmentation(_labels(volumes), grid, CORE_PENUMBRA)
    case = Case(
        f"sim-{seed}",
        grid,
        {protocol.channel: series},
        truth=truth,
        clinical=draw_clinical(np.random.default_rng(record), truth.volume_ml("penumbra", "core")),
        group=group,
        time_s=time_s,
        echo_time_s=protocol.echo_time_s if isinstance(protocol, DscProtocol) else None,
        simulated=True,
    )
    maps = _maps(composition, tmax_s, grid)
    return Patient(seed, case, maps, volumes, bolus, occlusion, head, poses, protocol)


def _sampling(grid: Grid) -> tuple[Grid, tuple[int, int]]:
    """The grid to sample on, and into how many parts to cut its voxels in the plane and through it."""
    pixel, _, thickness = grid.spacing_mm
    sub_slices = max(1, round(thickness / 1.7))
    if pixel >= _FINEST_PLANE_MM or grid.shape[0] % 2:
        return grid, (max(1, round(pixel / 1.1)), sub_slices)
    affine = grid.affine @ np.diag([2.0, 2.0, 1.0, 1.0])
    affine[:3, 3] = grid.world_mm(np.array([0.5, 0.5, 0.0]))
    return Grid((grid.shape[0] // 2, grid.shape[1] // 2, grid.shape[2]), affine), (1, sub_slices)


def _in_units(bolus: Bolus, protocol: Protocol) -> Bolus:
    """HU for CT; for MR, 1/s such that healthy grey matter reaches the protocol's peak."""
    if isinstance(protocol, CtProtocol):
        return bolus
    node = LATTICE.nodes(*(np.array([value], np.float32) for value in (GREY.mtt_s[0], 0.0, 0.0)))
    curve, _ = responses(bolus, bolus.time_s, EXPONENTIAL, node)
    factor = protocol.grey_peak_per_s / float(curve.max() * GREY.cbf_ml_per_100g_min[0])
    return Bolus(bolus.time_s, factor * bolus.artery, factor * bolus.vein, bolus.partial_volume)


def _blood(bolus: Bolus, time_s: np.ndarray) -> dict[str, Float32[np.ndarray, "t"]]:
    """What blood shows at the frames, in open arteries, behind the clot, and in veins."""
    dispersion_s, delay_s = _BEHIND_CLOT_S
    behind = np.interp(time_s - delay_s, bolus.time_s, dispersed(bolus.artery, dispersion_s), left=0.0)
    return {
        "artery": np.interp(time_s, bolus.time_s, bolus.artery).astype(np.float32),
        "collateral": behind.astype(np.float32),
        "vein": np.interp(time_s, bolus.time_s, bolus.vein).astype(np.float32),
    }


def _on_grid(volume: Float32[np.ndarray, "k y x"], grid: Grid) -> Volume:
    """(k, j, i) → a read-only (i, j, k) view on the case's grid."""
    view: Volume = enlarged(volume, grid.shape[0]).transpose(2, 1, 0)
    view.flags.writeable = False
    return view


def _labels(volumes: Mapping[str, Volume]) -> np.ndarray:
    """1 penumbra or 2 core where that is what most of a voxel's tissue is in, and half of the voxel is tissue."""
    tissue = volumes["grey"] + volumes["white"]
    shares = np.stack([tissue - volumes["penumbra"] - volumes["core"], volumes["penumbra"], volumes["core"]])
    return np.where(tissue >= 0.5, shares.argmax(axis=0), 0).astype(np.uint8)


def _maps(composition: Composition, tmax_s: Float32[np.ndarray, "n"], grid: Grid) -> dict[str, Volume]:
    mtt_s, _, delay_s = LATTICE.values(composition.nodes)
    ones = np.ones(composition.nodes.size, np.float32)
    cbf, by_mtt, by_delay, by_tmax = (
        _on_grid((composition.flow @ column.astype(np.float32)).reshape(composition.shape), grid)
        for column in (ones, mtt_s, delay_s, tmax_s)
    )
    flowing = np.maximum(cbf, 1e-6)
    means = {"MTT": by_mtt / flowing, "delay": by_delay / flowing, "Tmax": by_tmax / flowing}
    return {"CBF": cbf, "CBV": by_mtt / 60} | means
