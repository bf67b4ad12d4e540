"""The acute lesion in diffusion-weighted MR, by rules and without training: DWI and ADC → lesion.

Conventions: ADC in 10⁻⁶ mm²/s; DWI in any unit; both are judged as ratios to the patient's own healthy tissue (their
medians), so that coil sensitivity, echo time and an ADC scale that is off by a common factor do not matter.

The rule in words. A lesion is brighter on DWI than the tissue of this brain *and* than the mirrored place in the other
hemisphere; a fair part of it has a low ADC (not T2 shine-through, not pile-up of signal at the skull base, where ADC is
normal); bright parts are kept if they hold a clearly bright seed, and are then grown to their rim (hysteresis).

References:
    Purushotham et al. 2015 (ADC < 620 × 10⁻⁶ mm²/s); Schlaug et al. 1997 (time course of relative DWI and ADC, ADC at
    0.6 of normal in the first days); Provenzale et al. 1999 (T2 shine-through); Otsu 1979; Beaton and Tukey 1974.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from strokelens.arrays import Mask, Volume
from strokelens.errors import CaseError, UnitError
from strokelens.grid import Grid
from strokelens.perfusion.hemispheres import Midplane, find_midplane
from strokelens.perfusion.masks import otsu

_FWHM = 2.3548
"""Full width at half maximum / standard deviation of a Gaussian."""
_ALL_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)
_TISSUE_ADC = (300.0, 1500.0)
"""Brain that is neither noise nor mostly CSF, 10⁻⁶ mm²/s; healthy grey and white matter have 700 to 900."""
_TISSUE_ADC_RATIO = (0.4, 1.6)
_CSF_ADC_RATIO = 3.0
_BIAS_SAMPLES = 30_000
_FREE_WATER = 3500.0
_BRAIN_WORK_MM = 2.0
_BRAIN_PART = 0.4
"""Brain has at least this part of the median DWI of what is brighter than air."""
_OPENING_MM = 4.0
"""Optic nerves, muscles and scalp are thinner than twice this."""
_CLOSING_MM = 8.0
"""Fissures and cisterns, dark on DWI, are narrower than twice this."""
_STRIPPED_COVERAGE = 0.85
"""A head with its skull has less brain than this on DWI."""


@dataclass(frozen=True)
class LesionRule:
    """The thresholds of `diffusion_lesion`; a ratio is to the median of this patient's healthy tissue.

    Attributes:
        dwi_ratio_seed: a lesion has voxels this bright; acute lesions reach 1.5 to 2 (Schlaug 1997).
        dwi_ratio_growth: its rim is at least this bright; grey matter is 1.1 of white matter.
        noise_seed, noise_growth: and brighter by this many robust standard deviations of tissue.
        adc_ratio_limit: a low ADC; half way between healthy (1) and acute core (0.6); 620 of 830 would be 0.75.
        adc_ratio_ceiling: no growth into voxels that are half CSF or more.
        low_adc_share: the part of a bright component that must have a low ADC: restricted, not shine-through.
        symmetric_low_adc_share: the same for a component whose mirrored place is bright too, which is more often an
            artefact of both temporal poles or of the frontal sinus than an infarct of both hemispheres.
        symmetric_share: the part of a component with brightness at the mirrored place that makes it symmetric.
        symmetric_within_mm: how near to the mirrored place that brightness is.
        seed_ml: the smallest volume of seed voxels in a component.
        minimal_ml: the smallest lesion.
        reach_mm: growth stays this near to the bright component.
        smoothing_fwhm_mm: of DWI and ADC, before thresholds.
        reference_fwhm_mm: of the mirrored DWI, so that gyri of both hemispheres need not coincide.
        reference_low, reference_high: what healthy tissue can have as mirrored reference; a lesion or an artefact on
            the other side raises the reference to no more than this.
    """

    dwi_ratio_seed: float = 1.5
    dwi_ratio_growth: float = 1.2
    noise_seed: float = 4.0
    noise_growth: float = 2.0
    adc_ratio_limit: float = 0.8
    adc_ratio_ceiling: float = 2.0
    low_adc_share: float = 0.25
    symmetric_low_adc_share: float = 2 / 3
    symmetric_share: float = 0.5
    symmetric_within_mm: float = 4.0
    seed_ml: float = 0.02
    minimal_ml: float = 0.05
    reach_mm: float = 5.0
    smoothing_fwhm_mm: float = 2.0
    reference_fwhm_mm: float = 12.0
    reference_low: float = 0.8
    reference_high: float = 1.25


@dataclass(frozen=True, eq=False)
class DiffusionLesion:
    """A lesion, and what it was judged by.

    `score` is 0 for the brightness of healthy tissue and 1 from the seed's brightness on, 0 outside the brain and in
    CSF: an order of suspicion, not a calibrated probability. The two ratios are the thresholds that this patient's
    noise left in force; `healthy_adc` is the median of tissue, 10⁻⁶ mm²/s.
    """

    mask: Mask
    score: Volume
    midplane: Midplane
    seed_ratio: float
    growth_ratio: float
    healthy_adc: float


@dataclass(frozen=True, eq=False)
class _Ratios:
    """What is compared with thresholds, where that may be done (`judged`), and the noise of `dwi`.

    `own` is DWI against tissue, `dwi` the lesser of this and DWI against the other hemisphere, `adc` against tissue.
    """

    dwi: Volume
    own: Volume
    adc: Volume
    judged: Mask
    noise: float


def apparent_diffusion(b0: Volume, dwi: Volume, *, b_value_s_per_mm2: float) -> Volume:
    """ADC = ln(b0 / dwi) / b in 10⁻⁶ mm²/s (Stejskal and Tanner 1965); NaN where b0 or dwi ≤ 0.

    Raises `UnitError` when the b-value is not in 50 ... 10 000 s/mm².

    >>> b0 = np.full((1, 1, 2), 1000.0)
    >>> dwi = np.array([1000 * np.exp(-0.8), 0.0]).reshape(1, 1, 2)
    >>> apparent_diffusion(b0, dwi, b_value_s_per_mm2=1000).round(2).ravel().tolist()
    [800.0, nan]
    """
    if not 50 <= b_value_s_per_mm2 <= 10_000:
        raise UnitError(f"a b-value of {b_value_s_per_mm2:g} s/mm² is not plausible; stroke studies have about 1000")
    usable = (b0 > 0) & (dwi > 0) & np.isfinite(b0) & np.isfinite(dwi)
    ratio = np.divide(b0, dwi, out=np.ones(b0.shape, np.float32), where=usable, dtype=np.float32, casting="same_kind")
    adc = np.log(ratio) * np.float32(1e6 / b_value_s_per_mm2)
    return np.where(usable, adc, np.float32(np.nan))


def mr_brain(dwi: Volume, adc: Volume, grid: Grid) -> Mask:
    """The brain on DWI, where skull, fat and eyes are dark: all that is bright, opened, closed and filled.

    Works on about 2 mm in the slice. A study without skull (0 or NaN around the brain) keeps the support that it came
    with. Voxels with an ADC of at most 0 or above that of free water are not taken for brain, unless they are enclosed.

    Raises `CaseError` when DWI is nowhere above 0 or nothing looks like a brain.
    """
    support = np.isfinite(dwi) & (dwi > 0)
    if not support.any():
        raise CaseError("DWI is nowhere above 0, so there is no brain in it; check that this is the trace image")
    steps = [max(1, round(_BRAIN_WORK_MM / size)) for size in grid.spacing_mm]
    thin = tuple(slice(None, None, step) for step in steps)
    spacing_mm = tuple(step * size for step, size in zip(steps, grid.spacing_mm, strict=True))
    smooth = ndimage.gaussian_filter(np.where(support, dwi, 0).astype(np.float32), _sigma(grid, _FWHM))[thin]
    diffusion = ndimage.gaussian_filter(
        np.where(support & np.isfinite(adc), adc, 0).astype(np.float32), _sigma(grid, _FWHM)
    )
    split = otsu(np.sqrt(np.minimum(smooth, np.percentile(smooth, 99)))) ** 2
    bright = smooth > _BRAIN_PART * np.median(smooth[smooth > split])
    brain = _brain_shape(bright & (diffusion[thin] > 0) & (diffusion[thin] < _FREE_WATER), spacing_mm, grid.axes[2])
    for axis, step in enumerate(steps):
        brain = np.repeat(brain, step, axis=axis)
    brain = brain[: grid.shape[0], : grid.shape[1], : grid.shape[2]]
    if not brain.any():
        raise CaseError("nothing in DWI looks like a brain; check that this is the trace image, and its voxel sizes")
    stripped = (brain & support).sum() > _STRIPPED_COVERAGE * support.sum() and not support.all()
    return support if stripped else brain


def _brain_shape(bright: Mask, spacing_mm: tuple[float, ...], axial: int) -> Mask:
    """The large bright parts that survive erosion, grown back, with their gaps and holes closed."""
    depth = ndimage.distance_transform_edt(np.pad(bright, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    labels, _ = ndimage.label(depth > _OPENING_MM)
    size = np.bincount(labels.ravel())
    size[0] = 0
    if not size.any():
        return np.zeros(bright.shape, dtype=bool)
    core = (size >= 0.1 * size.max())[labels]
    opened = bright & (ndimage.distance_transform_edt(~core, sampling=spacing_mm) <= _OPENING_MM + 1.5)
    widths = [int(np.ceil(_CLOSING_MM / size)) + 1 for size in spacing_mm]
    wide = np.pad(opened, [(width, width) for width in widths])
    dilated = ndimage.distance_transform_edt(~wide, sampling=spacing_mm) <= _CLOSING_MM
    closed = ndimage.distance_transform_edt(dilated, sampling=spacing_mm) > _CLOSING_MM
    inner = tuple(slice(width, -width) for width in widths)
    slices = np.moveaxis(opened | closed[inner], axial, 0)
    filled: Mask = np.moveaxis(np.stack([ndimage.binary_fill_holes(part) for part in slices]), 0, axial)
    return filled


def diffusion_lesion(
    adc: Volume, dwi: Volume, brain: Mask, grid: Grid, rule: LesionRule | None = None
) -> DiffusionLesion:
    """The acute ischemic lesion; an empty mask where nothing fulfils the rule.

    `adc` is in 10⁻⁶ mm²/s; voxels with NaN in either channel are not judged.

    Raises `CaseError` when the brain is empty and `UnitError` when no voxel of it has an ADC that tissue can have.
    """
    rule = rule or LesionRule()
    if not brain.any():
        raise CaseError("the brain mask is empty, so there is nothing to search for a lesion")
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    affine = grid.affine.copy()
    affine[:3, 3] = grid.world_mm(np.array([[float(part.start) for part in box]]))[0]
    crop = Grid((brain[box].shape[0], brain[box].shape[1], brain[box].shape[2]), affine)
    usable = brain[box] & np.isfinite(adc[box]) & np.isfinite(dwi[box]) & (dwi[box] > 0)
    healthy_adc = _healthy_adc(adc[box], usable)
    values = np.where(usable, dwi[box], 0).astype(np.float32), np.where(usable, adc[box] / healthy_adc, np.inf)
    midplane, ratios = _ratios(*values, usable, crop, rule)
    seed = max(rule.dwi_ratio_seed, 1 + rule.noise_seed * ratios.noise)
    growth = max(rule.dwi_ratio_growth, 1 + rule.noise_growth * ratios.noise)
    mask = np.zeros(grid.shape, dtype=bool)
    core = _plausible(ratios, seed, growth, midplane, rule)
    mask[box] = _grown(core, ratios, growth, crop, rule)
    score = np.zeros(grid.shape, dtype=np.float32)
    score[box] = np.where(ratios.judged, np.clip((ratios.dwi - 1) / (seed - 1), 0, 1), 0)
    return DiffusionLesion(mask, score, replace(midplane, grid=grid), seed, growth, healthy_adc)


def _healthy_adc(adc: Volume, usable: Mask) -> float:
    """The median ADC of tissue, 10⁻⁶ mm²/s."""
    low, high = _TISSUE_ADC
    values = adc[usable & (adc > low) & (adc < high)]
    if not values.size:
        raise UnitError(f"no brain voxel has an ADC of {low:g} to {high:g}; give ADC in 10⁻⁶ mm²/s and DWI above 0")
    return float(np.median(values))


def _ratios(dwi: Volume, adc_ratio: Volume, usable: Mask, grid: Grid, rule: LesionRule) -> tuple[Midplane, _Ratios]:
    """The midplane, and DWI and ADC as smoothed ratios."""
    low, high = _TISSUE_ADC_RATIO
    tissue = usable & (adc_ratio > low) & (adc_ratio < high)
    even = dwi / _bias(dwi, tissue, grid)
    midplane = find_midplane(even, usable, grid)
    even /= np.median(even[tissue])
    reference = _mirrored_reference(even, tissue, midplane, rule)
    smooth = _smoothed(even, usable & (adc_ratio < _CSF_ADC_RATIO), grid, rule.smoothing_fwhm_mm)
    ratio = np.minimum(smooth, smooth / reference)
    logarithm = np.log(np.maximum(ratio[tissue], 0.05))
    median = np.median(logarithm)
    noise = 1.4826 * float(np.median(np.abs(logarithm - median)))
    adc = _smoothed(adc_ratio, usable & (adc_ratio < high), grid, rule.smoothing_fwhm_mm)
    return midplane, _Ratios(ratio / np.exp(median), smooth, adc, usable & (adc < rule.adc_ratio_ceiling), noise)


def _bias(dwi: Volume, tissue: Mask, grid: Grid) -> Volume:
    """The coil's sensitivity: exp of a quadratic in space, fitted to log DWI of tissue with Tukey's biweight."""
    voxels = np.argwhere(tissue)
    step = 1 + len(voxels) // _BIAS_SAMPLES
    voxels, values = voxels[::step], np.log(dwi[tissue][::step])
    centre, scale = voxels.mean(axis=0), np.maximum(voxels.std(axis=0), 1.0)
    terms = np.stack(_quadratic(*((voxels - centre) / scale).T), axis=1)
    root_weight = np.ones(len(values))
    for _ in range(8):
        factors = np.linalg.lstsq(terms * root_weight[:, None], values * root_weight, rcond=None)[0]
        residual = values - terms @ factors
        deviation = 1.4826 * np.median(np.abs(residual - np.median(residual))) + 1e-6
        root_weight = np.clip(1 - (residual / (3 * deviation)) ** 2, 0, 1)
    axes = [(np.arange(size) - c) / s for size, c, s in zip(grid.shape, centre, scale, strict=True)]
    x, y, z = np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij", sparse=True)
    field = np.zeros(grid.shape, dtype=np.float32)
    for factor, term in zip(factors, _quadratic(x, y, z), strict=True):
        field += np.float32(factor) * term
    return np.exp(field)


def _quadratic(
    x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."], z: Float[np.ndarray, "..."]
) -> list[Float[np.ndarray, "..."]]:
    """The ten monomials of degree 0, 1 and 2."""
    return [np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z]


def _mirrored_reference(even: Volume, tissue: Mask, midplane: Midplane, rule: LesionRule) -> Volume:
    """The mean DWI of tissue about the mirrored place, within what healthy tissue can have; 1 where there is none."""
    mirrored = midplane.mirror(np.where(tissue, even, np.float32(np.nan)))
    there = np.isfinite(mirrored)
    sigma = _sigma(midplane.grid, rule.reference_fwhm_mm)
    weight = ndimage.gaussian_filter(there.astype(np.float32), sigma, truncate=3.0)
    mean = ndimage.gaussian_filter(np.where(there, mirrored, 0), sigma, truncate=3.0) / np.maximum(weight, 1e-3)
    return np.where(weight > 0.05, np.clip(mean, rule.reference_low, rule.reference_high), np.float32(1))


def _smoothed(values: Volume, where: Mask, grid: Grid, fwhm_mm: float) -> Volume:
    """A Gaussian mean of the values in `where` only; other values stay."""
    sigma = _sigma(grid, fwhm_mm)
    weight = ndimage.gaussian_filter(where.astype(np.float32), sigma, truncate=3.0)
    total = ndimage.gaussian_filter(np.where(where, values, 0).astype(np.float32), sigma, truncate=3.0)
    return np.where(where, total / np.maximum(weight, 1e-3), values).astype(np.float32)


def _sigma(grid: Grid, fwhm_mm: float) -> tuple[float, ...]:
    return tuple(fwhm_mm / _FWHM / size for size in grid.spacing_mm)


def _plausible(ratios: _Ratios, seed: float, growth: float, midplane: Midplane, rule: LesionRule) -> Mask:
    """The components brighter than half way between growth and seed that hold enough seed and enough low ADC."""
    bright = ratios.judged & (ratios.dwi > (growth + seed) / 2)
    labels, count = ndimage.label(bright, _ALL_NEIGHBOURS)

    def voxels(where: Mask) -> Float[np.ndarray, "n"]:
        return np.bincount(labels[bright & where], minlength=count + 1).astype(float)

    size = np.maximum(voxels(bright), 1)
    symmetric = voxels(_bright_on_the_other_side(ratios, growth, midplane, rule)) > rule.symmetric_share * size
    needed = np.where(symmetric, rule.symmetric_low_adc_share, rule.low_adc_share)
    low = voxels(ratios.adc < rule.adc_ratio_limit) >= needed * size
    seeds = voxels(ratios.dwi > seed) * midplane.grid.voxel_volume_ml >= rule.seed_ml
    kept: Mask = (low & seeds)[labels] & bright
    return kept


def _bright_on_the_other_side(ratios: _Ratios, growth: float, midplane: Midplane, rule: LesionRule) -> Mask:
    """Voxels whose mirrored place has one near it that is brighter than tissue."""
    bright = ratios.judged & (ratios.own > growth)
    if not bright.any():
        return bright
    distance = ndimage.distance_transform_edt(~bright, sampling=midplane.grid.spacing_mm)
    other_side: Mask = midplane.mirror(distance) <= rule.symmetric_within_mm
    return other_side


def _grown(core: Mask, ratios: _Ratios, growth: float, grid: Grid, rule: LesionRule) -> Mask:
    """`core` with the connected rim that is bright enough and near, without components below the minimal size."""
    if not core.any():
        return core
    near = ndimage.distance_transform_edt(~core, sampling=grid.spacing_mm) <= rule.reach_mm
    rim = core | (ratios.judged & (ratios.dwi > growth) & near)
    grown = ndimage.binary_propagation(core, _ALL_NEIGHBOURS, mask=rim)
    labels, _ = ndimage.label(grown, _ALL_NEIGHBOURS)
    size_ml = np.bincount(labels.ravel()) * grid.voxel_volume_ml
    size_ml[0] = 0
    large: Mask = (size_ml >= rule.minimal_ml)[labels]
    return large
