"""How each channel is shown: its range, its colours, and what it is called in full.

Ranges are fixed, so that two pages can be compared by eye: the field's usual ones (CBV to 4, Tmax to 12, TTP to 25),
but CBF to 40 instead of 60 and MTT to 20 instead of 12, as truncated deconvolution halves high flow and doubles MTT.
The colours are perceptually uniform and safe for colour-blind readers: viridis for flow and volume, plasma for times,
grey for anatomy and diffusion.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8

from strokelens.arrays import Mask, Volume
from strokelens.case import UNITS


@dataclass(frozen=True)
class Scale:
    """The values from `low` to `high` of a channel, in its unit, on a colour map; beyond is the end's colour."""

    channel: str
    title: str
    low: float
    high: float
    colours: str
    step: float

    @property
    def unit(self) -> str:
        """The channel's unit."""
        return UNITS[self.channel]

    @property
    def ticks(self) -> list[float]:
        """The values that the colour bar names."""
        return [float(tick) for tick in np.arange(self.low, self.high + self.step / 2, self.step)]

    @cached_property
    def table(self) -> UInt8[np.ndarray, "256 4"]:
        """256 colours (RGBA): the first is black and stands for no value, the others go from low to high."""
        colours: np.ndarray = mpl.colormaps[self.colours](np.linspace(0, 1, 255), bytes=True)
        return np.concatenate([np.array([[0, 0, 0, 255]], np.uint8), colours])

    def paint(self, values: Float[np.ndarray, "row column"]) -> UInt8[np.ndarray, "row column 4"]:
        """The colours of the values, opaque; NaN is black."""
        level = (values - np.float32(self.low)) * np.float32(254 / (self.high - self.low)) + np.float32(1.5)
        places = np.nan_to_num(np.clip(level, 1, 255), nan=0.0).astype(np.uint8)
        painted = np.take(self.table.view(np.uint32)[:, 0], np.ascontiguousarray(places))
        return painted.view(np.uint8).reshape(*values.shape, 4)


SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        scale.channel: scale
        for scale in (
            Scale("CBF", "Cerebral blood flow", 0, 40, "viridis", 10),
            Scale("CBV", "Cerebral blood volume", 0, 4, "viridis", 1),
            Scale("MTT", "Mean transit time", 0, 20, "plasma", 5),
            Scale("Tmax", "Time to maximum of the residue function", 0, 12, "plasma", 2),
            Scale("TTP", "Time to peak", 0, 25, "plasma", 5),
            Scale("ADC", "Apparent diffusion coefficient", 0, 2000, "gray", 500),
        )
    }
)
"""The channels with a fixed range, in the order in which they are shown."""

_ANATOMY: Mapping[str, str] = MappingProxyType(
    {
        "DWI": "Diffusion-weighted image",
        "B0": "Image without diffusion weighting",
        "FLAIR": "FLAIR",
        "MIP": "Maximum over time",
        "NCCT": "Non-contrast CT",
        "CTA": "CT angiography",
        "T1": "T1-weighted image",
        "T2": "T2-weighted image",
    }
)


def window(values: Volume, brain: Mask) -> tuple[float, float]:
    """The grey window of an anatomy: five robust standard deviations around the brain's median, or less.

    It ends at the 0.5th and 99.5th percentile where these are nearer. A bright lesion therefore may be plain white, and
    the tissue around it stays readable. (0, 1) if nothing is finite; a constant image is grey.
    """
    finite = np.isfinite(values)
    inside = values[finite & brain]
    inside = inside if inside.size else values[finite]
    if not inside.size:
        return 0.0, 1.0
    least, quarter, middle, three_quarters, most = (
        float(bound) for bound in np.percentile(inside, (0.5, 25, 50, 75, 99.5))
    )
    reach = 5 * (three_quarters - quarter) / 1.349
    low, high = (max(least, middle - reach), min(most, middle + reach)) if reach > 0 else (least, most)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def shown(maps: Mapping[str, Volume], brain: Mask) -> list[Scale]:
    """The scales of the maps that can be shown: fixed ones first, then anatomies with a window of their own."""
    fixed = [SCALES[name] for name in SCALES if name in maps]
    windows = {name: window(maps[name], brain) for name in _ANATOMY if name in maps}
    return fixed + [
        Scale(name, _ANATOMY[name], low, high, "gray", (high - low) / 4) for name, (low, high) in windows.items()
    ]
