"""Maps of a series as vendors picture them: flow calibrated as theirs is, and the projection over time."""

from typing import Final

import numpy as np

from strokelens.arrays import Mask, Series, Volume
from strokelens.case import Case
from strokelens.perfusion.maps import PerfusionMaps

FLOW_FACTOR: Final = np.float32(3.3)
"""What brings the flow of bcSVD onto a bar from 0 to 100, as vendors calibrate theirs: true flow over ours in
the healthy tissue of twelve simulated patients, 2.3 to 6.1, geometric mean 3.3 (seeds 40 to 51; decision 0017)."""

_WHITE = 255
_BRIGHTEST = 2.2
"""The white of a MIP over the median of its brain."""


def pictured(case: Case, perfusion: PerfusionMaps) -> dict[str, Volume]:
    """The maps of a case's series as pictures show them: CBF times `FLOW_FACTOR`, and of CT the MIP besides.

    The MIP is as pictures are written: in grey levels, of which the case's highest value has 255.
    """
    maps = dict(perfusion.maps)
    maps["CBF"] = maps["CBF"] * FLOW_FACTOR
    if "CTP" in case.channels:
        projected = projection(case["CTP"], perfusion.brain)
        top = float(projected.max(initial=0))
        maps["MIP"] = projected * np.float32(_WHITE / top if top > 0 else 0)
    return maps


def projection(series: Series, brain: Mask) -> Volume:
    """The largest value of each voxel of the brain over time in HU, at most 2.2 times their median; 0 elsewhere."""
    highest = np.where(brain, series.max(axis=-1), 0)
    top = _BRIGHTEST * float(np.median(highest[brain])) if brain.any() else 0.0
    shown: Volume = np.clip(highest, 0, top).astype(np.float32)
    return shown
