"""What every voxel of the scan is made of: fractions of tissues and blood, and the flows that feed it."""

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float32, Int
from scipy import sparse

from strokelens.grid import Grid
from strokelens.phantom.anatomy import (
    SCALP_MM,
    SKULL_MM,
    Head,
    Samples,
    load_template,
    sample,
    sample_slice,
)
from strokelens.phantom.haemodynamics import (
    CORE,
    DELAY_LIMITS_S,
    DISPERSION_LIMITS_S,
    GREY,
    HEALTHY,
    LATTICE,
    PENUMBRA,
    WHITE,
    TissueTable,
)
from strokelens.phantom.lesion import Fields
from strokelens.phantom.vessels import VesselVolumes

FRACTIONS = ("grey", "white", "fluid", "bone", "scalp", "artery", "collateral", "vein", "penumbra", "core")
"""The volumes of a composition. The first eight and air add up to 1; penumbra and core are parts of grey plus white."""


@dataclass(frozen=True, eq=False)
class Composition:
    """The scan's voxels as (k, j, i) volumes of fractions, and their flow by node of the forward model's lattice.

    `flow` has a row per voxel, numbered in C order of (k, j, i), and a column per entry of `nodes`; its values are
    ml/100 g/min, so that `flow @ responses(...)` is the tissue's concentration.
    """

    shape: tuple[int, int, int]
    fractions: Mapping[str, Float32[np.ndarray, "k j i"]]
    flow: sparse.csr_array
    nodes: Int[np.ndarray, "n"]


@dataclass(frozen=True, eq=False)
class _Slice:
    """One slice: its fractions, and the flow as triples."""

    fractions: dict[str, Float32[np.ndarray, "v"]]
    voxel: Int[np.ndarray, "n"]
    node: Int[np.ndarray, "n"]
    flow: Float32[np.ndarray, "n"]


def compose(
    head: Head, fields: Fields, vessels: VesselVolumes, grid: Grid, *, sub_voxels: tuple[int, int], pool: Executor
) -> Composition:
    """Sample head, flow and vessels on `sub_voxels` (in the plane, through it) parts of every voxel of the grid."""
    width, height, depth = grid.shape
    one = partial(_compose_slice, head, fields, vessels, grid, sub_voxels)
    slices = list(pool.map(one, range(depth)))
    size = width * height
    fractions = {
        name: np.stack([part.fractions[name] for part in slices]).reshape(depth, height, width) for name in FRACTIONS
    }
    used = np.zeros(LATTICE.mtt_s.size * LATTICE.dispersion_s.size * LATTICE.delay_s.size, bool)
    for part in slices:
        used[part.node] = True
    nodes = np.flatnonzero(used)
    column = np.zeros(used.size, np.int32)
    column[nodes] = np.arange(nodes.size, dtype=np.int32)
    rows = [sparse.csr_array((part.flow, (part.voxel, column[part.node])), shape=(size, nodes.size)) for part in slices]
    return Composition((depth, height, width), fractions, sparse.vstack(rows, format="csr"), nodes)


def _compose_slice(
    head: Head, fields: Fields, vessels: VesselVolumes, grid: Grid, sub_voxels: tuple[int, int], k: int
) -> _Slice:
    across, sub_slices = sub_voxels
    samples = sample_slice(head, grid, k, sub_slices=sub_slices, across=across)
    size, parts = grid.shape[0] * grid.shape[1], across**2 * sub_slices
    shares = _shares(samples, vessels)
    state, arrival = _state(samples, fields)
    brain = np.flatnonzero(samples.hull_mm < 1)
    tissue = shares["grey"][brain] + shares["white"][brain]
    shares["penumbra"], shares["core"] = np.zeros_like(shares["grey"]), np.zeros_like(shares["grey"])
    shares["penumbra"][brain] = tissue * (state == PENUMBRA)
    shares["core"][brain] = tissue * (state == CORE)
    fractions = {
        name: (np.bincount(samples.voxel, share, size) / parts).astype(np.float32) for name, share in shares.items()
    }
    found = [
        (samples.voxel[brain][some], node, flow)
        for table, name in ((GREY, "grey"), (WHITE, "white"))
        for some, node, flow in [_flows(table, shares[name][brain] / parts, state, arrival)]
    ]
    voxel, node, flow = (np.concatenate(column) for column in zip(*found, strict=True))
    return _Slice(fractions, voxel, node, flow)


def _shares(samples: Samples, vessels: VesselVolumes) -> dict[str, Float32[np.ndarray, "n"]]:
    """The fractions of each sub-voxel; blood displaces what else would be there, but hardly enters white matter."""
    hull = samples.hull_mm
    blood = {name: share * (1 - samples.white) for name, share in vessels.fractions(samples.template_mm).items()}
    total = sum(blood.values())
    blood = {name: share / np.maximum(total, 1) for name, share in blood.items()}
    rest = 1 - np.minimum(total, 1)
    inner, outer = SKULL_MM
    outside = np.clip(hull - inner + 0.5, 0, 1)
    bone = outside * np.clip(outer - hull + 0.5, 0, 1)
    scalp = np.clip(hull - outer + 0.5, 0, 1) * np.clip(SCALP_MM - hull + 0.5, 0, 1)
    fluid = (1 - outside) * (1 - samples.grey - samples.white)
    other = {"grey": samples.grey, "white": samples.white, "fluid": fluid, "bone": bone, "scalp": scalp}
    return {name: (share * rest).astype(np.float32) for name, share in other.items()} | blood


def _state(samples: Samples, fields: Fields) -> tuple[Int[np.ndarray, "b"], dict[str, Float32[np.ndarray, "b"]]]:
    """The state of the brain's sub-voxels, and delay, dispersion and variation of flow there."""
    template = load_template()
    places = samples.template_mm[:, samples.hull_mm < 1]
    here = {
        name: sample(getattr(fields, name), places, template.origin_mm, template.field_mm)
        for name in ("hypoperfused", "core", "delay_s", "dispersion_s", "variation")
    }
    state = np.where(here["core"] > 0, CORE, np.where(here["hypoperfused"] > 0, PENUMBRA, HEALTHY))
    for name, limits in (("delay_s", DELAY_LIMITS_S), ("dispersion_s", DISPERSION_LIMITS_S)):
        low, high = np.array(limits, np.float32).T
        here[name] = np.clip(here[name], low[state], high[state])
    return state, here


def _flows(
    table: TissueTable,
    share: Float32[np.ndarray, "b"],
    state: Int[np.ndarray, "b"],
    arrival: Mapping[str, Float32[np.ndarray, "b"]],
) -> tuple[Int[np.ndarray, "m"], Int[np.ndarray, "m"], Float32[np.ndarray, "m"]]:
    """Which rows hold the tissue, the node of each, and its flow times its share.

    Flow and transit time vary together and against each other, as in the table's source, where CBV hardly varies.
    """
    some = np.flatnonzero(share > 0)
    state, variation = state[some], arrival["variation"][some]
    mean, sd, mtt, mtt_sd = (
        np.array(row, np.float32)[state] for row in (table.cbf_ml_per_100g_min, table.cbf_sd, table.mtt_s, table.mtt_sd)
    )
    node = LATTICE.nodes(mtt - mtt_sd * variation, arrival["dispersion_s"][some], arrival["delay_s"][some])
    return some, node, (mean + sd * variation) * share[some]
