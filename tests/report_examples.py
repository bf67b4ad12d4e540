"""Findings that look like patients': a brain-like head, a stroke on the left, on any grid. Made, not measured."""

from datetime import UTC, datetime

import numpy as np
from scipy import ndimage

from strokelens.arrays import Affine, Mask
from strokelens.case import Segmentation, Source
from strokelens.finding import Finding, Method
from strokelens.flags import Flag
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA, LESION_ONLY
from strokelens.perfusion.arterial import Vessels
from strokelens.perfusion.mismatch import Mismatch

CREATED = datetime(2026, 3, 4, 3, 5, 6, tzinfo=UTC)
LEFT_MCA_MM = np.array([-38.0, 0.0, 8.0])


def head_grid(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], orientation: str = "RAS") -> Grid:
    """A grid whose centre is at the world's origin; `orientation` says where i, j and k grow."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, letter in enumerate(orientation):
        world = next(row for row, pair in enumerate(("RL", "AP", "SI")) if letter in pair)
        affine[world, axis] = spacing_mm[axis] if letter in "RAS" else -spacing_mm[axis]
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid(shape, affine)


def tilted(grid: Grid, degrees: float) -> Grid:
    """The same voxels, turned about x and z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn: Affine = np.eye(4)
    turn[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return Grid(grid.shape, turn @ grid.affine)


def ellipsoid(positions_mm: np.ndarray, centre_mm: np.ndarray, radii_mm: tuple[float, float, float]) -> np.ndarray:
    """Below 1 inside."""
    radius: np.ndarray = np.linalg.norm((positions_mm - centre_mm) / np.array(radii_mm), axis=-1)
    return radius


def ct_finding(
    grid: Grid | None = None, *, case_id: str = "sub-001", flags: tuple[Flag, ...] = (), stroke: bool = True
) -> Finding:
    """CT perfusion: five maps, core and penumbra in the left middle cerebral artery's territory."""
    grid = grid or head_grid((128, 128, 16), (1.8, 1.8, 6.0))
    positions = _positions(grid)
    brain, tissue, noise, rough = _brain(grid, positions)
    hypo = brain & (ellipsoid(positions, LEFT_MCA_MM, (24, 42, 30)) + 0.1 * rough < 1) & (positions[..., 0] < -6)
    core = hypo & (ellipsoid(positions, LEFT_MCA_MM + np.array([6.0, 4, -2]), (13, 19, 16)) + 0.12 * rough < 1)
    hypo, core = (hypo, core) if stroke else (hypo & False, core & False)
    maps = _maps(tissue, hypo, core, noise, brain)
    labels = np.where(core, 2, np.where(hypo, 1, 0)).astype(np.uint8)
    backdrop = np.where(brain, 20 + 16 * tissue + 1.5 * noise, np.where(_skull(positions), 900.0, -900.0))
    ml = grid.voxel_volume_ml
    mismatch = Mismatch(*(float(region.sum() * ml) for region in (core, hypo, maps["Tmax"] > 10)))
    return Finding(
        case_id=case_id,
        segmentation=Segmentation(labels, grid, CORE_PENUMBRA),
        maps=maps,
        backdrop=backdrop.astype(np.float32),
        brain=brain,
        volumes_ml={
            "core": mismatch.core_ml,
            "penumbra": mismatch.volume_ml,
            "hypoperfused": mismatch.hypoperfused_ml,
        },
        method=Method(
            "rapid",
            "core: CBF below 30 % of normal tissue within Tmax above 6 s; penumbra: Tmax above 6 s",
            "Campbell et al. 2011, Stroke 42:3435; Albers et al. 2018, NEJM 378:708",
            {"rcbf_fraction": 0.30, "tmax_s": 6.0},
        ),
        mismatch=mismatch,
        criteria=mismatch.criteria(),
        vessels=curves(grid),
        flags=flags,
        sources={"CTP": Source("ab12" * 16, "Hounsfield units, 40 frames")},
        settings={"deconvolution": "oSVD", "smoothing_mm": 2.0, "hemisphere": "left" if stroke else ""},
        timings_s={"read": 0.61, "motion": 2.2, "maps": 1.31, "segmentation": 0.22},
    )


def mr_finding(grid: Grid | None = None, *, case_id: str = "sub-strokecase0001") -> Finding:
    """Diffusion MR: a lesion in the right hemisphere, DWI and ADC, no perfusion."""
    grid = grid or head_grid((112, 112, 73), (2.0, 2.0, 2.0), "LAS")
    positions = _positions(grid)
    brain, tissue, noise, rough = _brain(grid, positions)
    lesion = brain & (ellipsoid(positions, np.array([34.0, -12, 14]), (12, 20, 10)) + 0.15 * rough < 1)
    adc = np.where(tissue > 0.1, 800.0, 2600.0) + 60 * noise
    dwi = 300 - 60 * tissue + 14 * noise + np.where(lesion, 320, 0)
    maps = {"ADC": np.where(lesion, 480 + 40 * noise, adc), "DWI": dwi}
    return Finding(
        case_id=case_id,
        segmentation=Segmentation(lesion.astype(np.uint8), grid, LESION_ONLY),
        maps={name: np.where(brain, array, np.nan).astype(np.float32) for name, array in maps.items()},
        backdrop=np.where(brain, dwi, 8 + 4 * np.abs(noise)).astype(np.float32),
        brain=brain,
        volumes_ml={"lesion": float(lesion.sum() * grid.voxel_volume_ml)},
        method=Method(
            "dwi-adc",
            "lesion: low ADC and high DWI against the other hemisphere",
            "Purushotham et al. 2015",
            {"adc_um2_per_s": 620.0},
        ),
        sources={"DWI": Source("cd34" * 16), "ADC": Source("ef56" * 16, "10⁻³ mm²/s, brought to 10⁻⁶ mm²/s")},
        settings={"hemisphere": "right"},
        timings_s={"read": 0.2, "segmentation": 1.1},
    )


def curves(grid: Grid) -> Vessels:
    """A wide arterial bolus and a later, higher venous one, in two voxels each."""
    time_s = np.arange(0, 60, 1.5)
    bolus = [
        np.where(
            time_s > onset,
            peak * ((time_s - onset).clip(0) / (3 * b)) ** 3 * np.exp(3 - (time_s - onset).clip(0) / b),
            0,
        )
        for onset, b, peak in ((8.0, 2.6, 88.0), (11.0, 3.2, 190.0))
    ]
    voxels = np.linalg.inv(grid.affine) @ np.array([[14, 10, -20, 1], [0, -70, 30, 1]], float).T
    places = np.clip(np.round(voxels[:3].T), 0, np.array(grid.shape) - 1).astype(int)
    return Vessels(time_s, bolus[0], bolus[1], 0.31, places[:1], places[1:], "HU")


def _positions(grid: Grid) -> np.ndarray:
    return grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64))


def _skull(positions: np.ndarray) -> Mask:
    radius = ellipsoid(positions, np.zeros(3), (75, 92, 78))
    shell: Mask = (radius < 1) & (radius > 0.92)
    return shell


def _brain(grid: Grid, positions: np.ndarray) -> tuple[Mask, np.ndarray, np.ndarray, np.ndarray]:
    """The brain, its tissue (0 CSF, 0.5 white, 1 grey), fine noise and coarse noise of unit size."""
    rng = np.random.default_rng(7)
    folds = ndimage.gaussian_filter(rng.standard_normal(grid.shape), [4 / edge for edge in grid.spacing_mm])
    folds /= folds.std()
    radius = ellipsoid(positions, np.zeros(3), (66, 83, 68)) + 0.02 * folds
    brain: Mask = radius < 1
    ventricles = ellipsoid(np.abs(positions) * [1, 1, 1], np.array([9.0, 4, 10]), (5, 26, 9)) < 1
    tissue = np.where(ventricles, 0.0, np.where(radius + 0.08 * folds > 0.84, 1.0, 0.5))
    tissue = ndimage.gaussian_filter(tissue, [1.0 / edge for edge in grid.spacing_mm])
    noise = ndimage.gaussian_filter(rng.standard_normal(grid.shape), [1.2 / edge for edge in grid.spacing_mm])
    rough = ndimage.gaussian_filter(rng.standard_normal(grid.shape), [8 / edge for edge in grid.spacing_mm])
    return brain, tissue, noise / max(noise.std(), 1e-6), rough / rough.std()


def _maps(tissue: np.ndarray, hypo: Mask, core: Mask, noise: np.ndarray, brain: Mask) -> dict[str, np.ndarray]:
    cbf = np.where(core, 5.0, np.where(hypo, 15.0, 5 + 46 * tissue)) * (1 + 0.12 * noise)
    cbv = np.where(core, 0.8, np.where(hypo, 2.7, 0.4 + 2.8 * tissue)) * (1 + 0.08 * noise)
    tmax = np.where(core, 10.5, np.where(hypo, 8.0, 1.2)) + 0.8 * noise
    maps = {
        "CBF": cbf,
        "CBV": cbv,
        "MTT": 60 * cbv / cbf.clip(1),
        "TTP": 8 + tmax + 0.4 * noise,
        "Tmax": tmax,
    }
    return {name: np.where(brain, array, np.nan).astype(np.float32) for name, array in maps.items()}
