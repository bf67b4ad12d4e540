"""What becomes of a simulated stroke: treatment, the penumbra that is lost until and after it, and the outcome.

The final infarct is the core and the part of the penumbra that died: first what lies near the core, as it grows. Which
share dies follows from the time to treatment, the collaterals and the reperfusion (`penumbra_lost`). The relations are
plain and ours; they make the clinical values informative, not realistic.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

from strokelens.arrays import Mask
from strokelens.case import Segmentation

REPERFUSED: Final = (0.0, 0.15, 0.6, 0.95)
"""The share of the penumbra that gets blood again, by TICI grade 0 to 3 (2 stands for 2a and 2b)."""

TICI_SHARES: Final = (0.12, 0.08, 0.35, 0.45)

DOOMED: Final = 0.85
"""The share of what is never reperfused that dies in the end; the rest lives on collaterals."""

_WAVE_MM = 7.0
_WAVINESS = 0.35


@dataclass(frozen=True)
class Course:
    """The minutes from onset to imaging and from there to treatment, and the TICI grade that treatment reached."""

    since_stroke_min: float
    to_treatment_min: float
    tici: int


def draw_course(rng: np.random.Generator) -> Course:
    """A course: imaging about two hours after onset, treatment an hour and a half after that."""
    since, treated = (
        float(np.clip(round(middle * np.exp(rng.normal(0, spread))), *limits))
        for middle, spread, limits in ((130, 0.5, (30, 600)), (90, 0.4, (20, 360)))
    )
    return Course(since, treated, int(rng.choice(len(TICI_SHARES), p=TICI_SHARES)))


def penumbra_lost(course: Course, collaterals: float) -> float:
    """The share of the penumbra that dies: 1 - exp(-t/τ) until treatment, and of the rest what blood never reaches.

    τ grows from 60 min without collaterals to 10 h with excellent ones.

    >>> [round(penumbra_lost(Course(120, 90, tici), 0.5), 2) for tici in (0, 3)]
    [0.89, 0.27]
    """
    until = 1 - np.exp(-course.to_treatment_min / (60.0 + 540.0 * collaterals))
    return float(until + (1 - until) * (1 - REPERFUSED[course.tici]) * DOOMED)


def final_infarct(truth: Segmentation, share: float, rng: np.random.Generator) -> Mask:
    """The core, and that share of the penumbra's voxels that lies nearest to it, along a wavy front.

    With equal random numbers a larger share holds the smaller one. Without a core nothing dies.
    """
    core, penumbra = truth.mask("core"), truth.mask("penumbra")
    if not core.any():
        return core
    spacing = truth.grid.spacing_mm
    distance_mm = ndimage.distance_transform_edt(~core, sampling=spacing)[penumbra]
    waves = ndimage.gaussian_filter(
        rng.standard_normal(core.shape, dtype=np.float32), [_WAVE_MM / mm for mm in spacing]
    )
    front = distance_mm * np.exp(_WAVINESS * waves[penumbra] / waves.std())
    dead = np.zeros(front.size, bool)
    dead[np.argsort(front, kind="stable")[: round(share * front.size)]] = True
    infarct: Mask = core.copy()
    infarct[penumbra] = dead
    return infarct


def draw_outcome(rng: np.random.Generator, infarct_ml: float, age_years: float) -> dict[str, float]:
    """The modified Rankin scale some ninety days later, worse the larger the infarct and the older the patient."""
    grade = 1.0 + 0.025 * infarct_ml + (age_years - 70) / 25 + rng.normal(0, 0.9)
    return {"mrs": float(np.clip(round(grade), 0, 6)), "mrs_days": float(np.clip(round(rng.normal(90, 8)), 60, 130))}
