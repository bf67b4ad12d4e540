"""In which unit a file stores its values, told from the values themselves; and the way to ours.

What is recognised: ADC in 10⁻⁶, 10⁻³ or 1 mm²/s; MTT, TTP and Tmax in s or ms; HU plain, unsigned (+1024) or shifted
twice (−1024). The units lie a factor of 1000 apart and healthy brain fills less than a factor of 20, so that medians
decide. Deciseconds are not guessed: they overlap with seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from strokelens.errors import UnitError

HOUNSFIELD = ("CTP", "NCCT", "CTA")
"""The channels in HU."""

_ADC_MEDIAN = (200.0, 4000.0)  # 10⁻⁶ mm²/s: core 300-600, grey and white 700-900, CSF 3000
_LATEST_MEDIAN_S: Mapping[str, float] = MappingProxyType({"Tmax": 60.0, "MTT": 60.0, "TTP": 100.0})
_EARLIEST_MEDIAN_MS = 200.0
_ABSOLUTE_MEDIAN: Mapping[str, tuple[float, float]] = MappingProxyType({"CBF": (4.0, 250.0), "CBV": (0.4, 25.0)})
_ABSOLUTE_UNIT: Mapping[str, str] = MappingProxyType({"CBF": "ml/100 g/min", "CBV": "ml/100 g"})
_POSITIVE = frozenset({"ADC", *_LATEST_MEDIAN_S, *_ABSOLUTE_MEDIAN})
_TISSUE_HU = (5.0, 85.0)  # grey and white matter, CSF's edge and noise
_TISSUE_SHARE = 0.05
_TISSUE_SHARE_WITHOUT_AIR = 0.5  # skull-stripped
_AIR_HU = -500.0
_DOUBLE_AIR_HU = -1850.0


@dataclass(frozen=True)
class Conversion:
    """Our value = stored value × `factor` + `offset`; `note` states what was recognised."""

    factor: float = 1.0
    offset: float = 0.0
    note: str = ""


def conversion(channel: str, volume: Float[np.ndarray, "i j k"], name: str, *, relative: bool = False) -> Conversion:
    """From the unit in which `volume` is stored to the channel's unit in `strokelens.case.UNITS`.

    `volume` is one volume (of a series: one frame) with at least one finite value; `name` is for the message.
    `relative` says that the file calls itself a relative map (rCBF, rCBV), as those of ISLES 2017.

    Raises `UnitError` when the values fit no unit in which this channel is stored; none has a map without a value
    above 0.

    >>> conversion("ADC", np.full((2, 2, 2), 0.8), "adc.nii").note
    'ADC stored in 10⁻³ mm²/s (median 0.8); converted to 10⁻⁶ mm²/s'
    """
    if channel in _POSITIVE and not (volume > 0).any():
        highest = np.nanmax(volume) + 0.0  # never −0
        raise UnitError(f"{name}: {channel} has no value above 0 (highest {highest:.3g}); is this a map of {channel}?")
    if channel == "ADC":
        return _diffusion(volume, name)
    if channel in _LATEST_MEDIAN_S:
        return _duration(channel, volume, name)
    if channel in HOUNSFIELD:
        return _hounsfield(channel, volume, name)
    if channel in _ABSOLUTE_MEDIAN:
        return Conversion(note=_blood(channel, volume, relative=relative))
    return Conversion()


def typical(volume: Float[np.ndarray, "*space"]) -> float:
    """The median of the values above 5 % of their 99th percentile: the brain's, without the air; NaN where none is.

    >>> typical(np.array([0.0, 0.0, 0.001, 700, 800, 900]))
    800.0
    """
    positive = volume[volume > 0]
    if not positive.size:
        return float("nan")
    return float(np.median(positive[positive > 0.05 * np.percentile(positive, 99)]))


def _diffusion(volume: Float[np.ndarray, "i j k"], name: str) -> Conversion:
    median = typical(volume)
    low, high = _ADC_MEDIAN
    for factor, unit in ((1.0, "10⁻⁶ mm²/s"), (1e3, "10⁻³ mm²/s"), (1e6, "mm²/s")):
        if low <= median * factor <= high:
            change = "" if factor == 1 else "; converted to 10⁻⁶ mm²/s"
            return Conversion(factor, note=f"ADC stored in {unit} (median {median:.3g}){change}")
    raise UnitError(
        f"{name}: ADC with a median of {median:.3g} fits neither 10⁻⁶ (200 to 4000) nor 10⁻³ (0.2 to 4) nor 1 mm²/s; "
        "is this an ADC map?"
    )


def _duration(channel: str, volume: Float[np.ndarray, "i j k"], name: str) -> Conversion:
    median, latest = typical(volume), _LATEST_MEDIAN_S[channel]
    if median <= latest:
        return Conversion(note=f"{channel} stored in s (median {median:.3g})")
    if _EARLIEST_MEDIAN_MS <= median <= latest * 1000:
        return Conversion(1e-3, note=f"{channel} stored in ms (median {median:.3g}); converted to s")
    raise UnitError(
        f"{name}: {channel} with a median of {median:.3g} fits neither s (at most {latest:g}) nor ms "
        f"({_EARLIEST_MEDIAN_MS:g} to {latest * 1000:g}); store it in s"
    )


def _blood(channel: str, volume: Float[np.ndarray, "i j k"], *, relative: bool) -> str:
    median, (low, high) = typical(volume), _ABSOLUTE_MEDIAN[channel]
    if relative:
        return f"relative map (r{channel}, median {median:.3g}): only ratios within it mean something"
    if low <= median <= high:
        return f"{channel} taken as {_ABSOLUTE_UNIT[channel]} (median {median:.3g})"
    return (
        f"{channel} with a median of {median:.3g} is not in {_ABSOLUTE_UNIT[channel]}: "
        "only ratios within it mean something"
    )


def _hounsfield(channel: str, volume: Float[np.ndarray, "i j k"], name: str) -> Conversion:
    """HU by where soft tissue lies: 5 to 85 HU fill much of a head, and 1029 to 1109 HU (dense bone) little of it."""
    values = volume[np.isfinite(volume) & (volume != 0)]
    if values.size:
        if _tissue_share(values, 1024.0) >= _TISSUE_SHARE and not (values < _AIR_HU).any():
            return Conversion(offset=-1024.0, note=f"{channel} stored as HU + 1024; 1024 subtracted")
        has_air = bool((values < _AIR_HU).any())
        if _tissue_share(values, 0.0) >= (_TISSUE_SHARE if has_air else _TISSUE_SHARE_WITHOUT_AIR):
            return Conversion(note=f"{channel} in HU")
        if _tissue_share(values, -1024.0) >= _TISSUE_SHARE and (values < _DOUBLE_AIR_HU).any():
            return Conversion(offset=1024.0, note=f"{channel} stored as HU − 1024; 1024 added")
    median = float(np.median(values)) if values.size else float("nan")
    raise UnitError(
        f"{name}: {channel} with a median of {median:.4g} does not look like HU (soft tissue near 35, air near −1000); "
        "save it in HU, or name the right --modality"
    )


def _tissue_share(values: Float[np.ndarray, "n"], offset: float) -> float:
    low, high = _TISSUE_HU
    return float(np.mean((values >= offset + low) & (values <= offset + high)))
