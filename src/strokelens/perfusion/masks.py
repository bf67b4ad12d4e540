"""Where the brain is, on CT and on perfusion MR, and which of it is neither vessel nor cerebrospinal fluid."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from strokelens.arrays import Mask, Volume
from strokelens.errors import SeriesError
from strokelens.grid import Grid

_BONE_HU = 150.0
_SOFT_HU = (-5.0, 100.0)
_LEAST_BRAIN_ML = 20.0
_VESSEL_CBV = 3.0
_VESSEL_ENHANCEMENT = 3.0
_VESSEL_NOISE = 4.0
_VESSEL_RIM_MM = 1.0
_FLUID_HU = 20.0
_FLUID_SIGNAL = 1.7


def ct_brain(image: Volume, grid: Grid) -> Mask:
    """The brain on an unenhanced (mean baseline) CT: soft tissue inside of the skull, ventricles and vessels included.

    Soft tissue (−5 ... 100 HU after a light blur) is cut from bone, and its largest part that survives an opening of
    3 mm in the slice is grown back; holes are filled slice by slice. Works without a skull too.

    Raises `SeriesError` where less than 20 ml of brain (or half of the slice, for one slice) is found.
    """
    smooth = _blur(np.nan_to_num(image, nan=-1000.0), grid, sigma_mm=0.8)
    soft = (smooth > _SOFT_HU[0]) & (smooth < _SOFT_HU[1]) & (image < _BONE_HU) & (image != 0)
    return _largest_part(soft, grid, opening_mm=3.0, what=f"soft tissue of {_SOFT_HU[0]:g} to {_SOFT_HU[1]:g} HU")


def signal_brain(image: Volume, grid: Grid) -> Mask:
    """The brain on the mean baseline signal of perfusion MR: the largest bright part, its holes filled.

    Brightness is parted from the background by Otsu's threshold on the square root of the signal.
    """
    smooth = _blur(np.nan_to_num(image, nan=0.0), grid, sigma_mm=1.5)
    bright = smooth > otsu(np.sqrt(np.clip(smooth, 0, None))) ** 2
    return _largest_part(bright, grid, opening_mm=3.0, what="signal above the background")


def _largest_part(candidate: Mask, grid: Grid, *, opening_mm: float, what: str) -> Mask:
    parts, count = ndimage.label(within_mm(candidate, opening_mm, grid, inside=True))
    sizes = np.bincount(parts.ravel())[1:] * grid.voxel_volume_ml
    if count == 0 or sizes.max() < min(_LEAST_BRAIN_ML, 0.05 * candidate.size * grid.voxel_volume_ml):
        raise SeriesError(
            f"no brain found: the largest part of {what} has {sizes.max(initial=0):.1f} ml; check the units"
        )
    seed = parts == 1 + int(sizes.argmax())
    grown = candidate & within_mm(seed, opening_mm + 1.0, grid, inside=False)
    return _filled(grown, grid)


def within_mm(mask: Mask, distance_mm: float, grid: Grid, *, inside: bool) -> Mask:
    """Slice by slice, the mask eroded (`inside`) or dilated by a distance."""
    _, _, k = grid.axes
    spacing = list(grid.spacing_mm)
    spacing[k] = 1e6
    if inside:
        padded = np.pad(mask, 1)
        return np.asarray(ndimage.distance_transform_edt(padded, spacing)[1:-1, 1:-1, 1:-1] > distance_mm)
    return np.asarray(ndimage.distance_transform_edt(~mask, spacing) <= distance_mm)


def _filled(mask: Mask, grid: Grid) -> Mask:
    plane = np.moveaxis(np.expand_dims(ndimage.generate_binary_structure(2, 1), 2), 2, grid.axes[2])
    return np.asarray(ndimage.binary_fill_holes(mask, plane), bool)


def _blur(image: Volume, grid: Grid, *, sigma_mm: float) -> Volume:
    _, _, k = grid.axes
    sigma = [0.0 if axis == k else sigma_mm / grid.spacing_mm[axis] for axis in range(3)]
    return np.asarray(ndimage.gaussian_filter(image.astype(np.float32), sigma), np.float32)


def otsu(values: Volume) -> float:
    """The threshold of greatest variance between two classes (Otsu 1979), on 256 bins."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts) / counts.sum()
    moment = np.cumsum(counts * centres) / counts.sum()
    spread = np.maximum(below * (1 - below), 1e-12)
    return float(centres[np.argmax((moment[-1] * below - moment) ** 2 / spread * (below < 1))])


def opened(mask: Mask, radius_mm: float, grid: Grid) -> Mask:
    """Slice by slice, the mask without what is narrower than a disc of this radius."""
    eroded = within_mm(mask, radius_mm, grid, inside=True)
    kept: Mask = mask & within_mm(eroded, radius_mm + 0.5, grid, inside=False)
    return kept


def without_vessels(brain: Mask, enhancement: Float[np.ndarray, "n"], grid: Grid) -> Mask:
    """The brain without large vessels and 1 mm around them; `enhancement` is the mean contrast of each brain voxel.

    A vessel enhances three times as much as the median voxel, and more than noise lets tissue do (four robust standard
    deviations over the median). Where pixels are wider than 1 mm a vessel has no rim.
    """
    median = float(np.median(enhancement))
    spread = float(np.median(np.abs(enhancement - median))) / 0.6745
    vessels = np.zeros_like(brain)
    vessels[brain] = enhancement > max(_VESSEL_ENHANCEMENT * median, median + _VESSEL_NOISE * spread)
    return brain & ~within_mm(vessels, _VESSEL_RIM_MM, grid, inside=False) if vessels.any() else brain


def tissue(
    brain: Mask, maps: Mapping[str, Volume], baseline: Volume | None, modality: Literal["CT", "MR"] | None
) -> Mask:
    """The brain (or its parenchyma) without vessels and without cerebrospinal fluid.

    A vessel has more than three times the median blood volume of the brain. Fluid has under 20 HU on CT before the
    bolus, and more than 1.7 times the median signal on MR; without a baseline (maps from another program) it stays in.
    """
    kept = brain.copy()
    if "CBV" in maps and (kept & (maps["CBV"] > 0)).any():
        volumes = maps["CBV"]
        kept &= ~(volumes > _VESSEL_CBV * np.median(volumes[kept & (volumes > 0)]))
    if baseline is not None and modality == "CT":
        kept &= ~(baseline < _FLUID_HU)
    if baseline is not None and modality == "MR":
        kept &= ~(baseline > _FLUID_SIGNAL * np.nanmedian(baseline[brain]))
    return kept
