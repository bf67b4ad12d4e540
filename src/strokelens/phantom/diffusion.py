"""The diffusion images of a simulated patient: what acute ischemia does to ADC, and an ADC map with its noise."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from scipy import ndimage

from strokelens.arrays import Volume
from strokelens.phantom.scanner import MR_SIGNAL

B_S_PER_MM2: Final = 1000.0
"""The diffusion weighting of the second image; the first has none."""

ADC: Final = {
    "grey": 830.0,
    "white": 740.0,
    "fluid": 3000.0,
    "bone": 500.0,
    "scalp": 1100.0,
    "artery": 2000.0,
    "collateral": 2000.0,
    "vein": 2000.0,
}
"""The diffusivity of each tissue in 10⁻⁶ mm²/s; grey, white and fluid are round values of adult brains."""

CORE_SHARE: Final = 0.55
"""The ADC of the core over that of healthy tissue: near 450 in grey matter, below the usual limit of 620."""

PENUMBRA_SHARE: Final = 0.96
"""The same of the penumbra, whose cells hardly swell."""

SNR: Final = 60.0
"""Grey matter's signal without diffusion weighting over the noise of each receiver channel."""

_BLUR_VOXELS = 0.6
"""Echo-planar images are blurred in the plane."""

_LEAST_SIGNAL = 0.2
"""Below this share of grey matter's signal there is air or bone, and no ADC."""

HIGHEST: Final = 4095.0
"""The highest ADC of twelve bits, which ISLES 2017 reaches."""


def adc_map(tissues: Mapping[str, Volume], rng: np.random.Generator, *, snr: float = SNR) -> Volume:
    """The ADC in 10⁻⁶ mm²/s, ln(S0 / Sb) / b of two images with Rician noise; 0 in air and bone.

    `tissues` are the fractions of a `Patient`. A voxel's signal is the sum of its parts', so that fluid in a voxel
    raises its ADC by less than its share.
    """
    plain, weighted = (_image(_signal(tissues, b), rng, snr) for b in (0.0, B_S_PER_MM2))
    with np.errstate(divide="ignore"):
        found = 1e6 / B_S_PER_MM2 * np.log(plain / weighted)
    shown = np.where(plain >= _LEAST_SIGNAL, np.clip(found, 0, HIGHEST), 0)
    adc: Volume = np.rint(shown).astype(np.float32)
    return adc


def _signal(tissues: Mapping[str, Volume], b_s_per_mm2: float) -> Volume:
    """The signal of each voxel, grey matter's without weighting being 1."""
    parenchyma = np.maximum(tissues["grey"] + tissues["white"], 1e-6)
    core, penumbra = (np.clip(tissues[name] / parenchyma, 0, 1) for name in ("core", "penumbra"))
    total = np.zeros(parenchyma.shape, np.float32)
    for name, diffusivity in ADC.items():
        left, late, dead = (
            np.exp(-b_s_per_mm2 * 1e-6 * diffusivity * share) for share in (1.0, PENUMBRA_SHARE, CORE_SHARE)
        )
        part = MR_SIGNAL[name] * tissues[name]
        if name in ("grey", "white"):
            total += part * (left + (late - left) * penumbra + (dead - left) * core)
        else:
            total += part * left
    return total


def _image(signal: Volume, rng: np.random.Generator, snr: float) -> Volume:
    blurred = ndimage.gaussian_filter(signal, (_BLUR_VOXELS, _BLUR_VOXELS, 0))
    real, imaginary = rng.standard_normal((2, *signal.shape), dtype=np.float32) / np.float32(snr)
    magnitude: Volume = np.hypot(blurred + real, imaginary)
    return magnitude
