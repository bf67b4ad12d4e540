"""What else is known about a simulated patient: age, and how severe the stroke is at the bedside."""

import numpy as np

UNKNOWN_NIHSS_SHARE = 1 / 6
"""How many patients come without an NIHSS."""

UNKNOWN_SEX_SHARE = 1 / 10
"""How many rows of a table come without a sex."""

FEMALE_SHARE = 0.45


def draw_clinical(rng: np.random.Generator, hypoperfused_ml: float) -> dict[str, float]:
    """Age in years, and an NIHSS that grows with the square root of the hypoperfused volume; it may be unknown.

    The relation is plain and ours; it makes the value informative, not realistic.
    """
    age = float(np.clip(rng.normal(71, 13), 22, 98).round())
    nihss = float(np.clip(round(3 + 1.35 * np.sqrt(hypoperfused_ml) + rng.normal(0, 3)), 0, 38))
    return {"age_years": age} if rng.random() < UNKNOWN_NIHSS_SHARE else {"age_years": age, "nihss": nihss}


def draw_sex(rng: np.random.Generator) -> dict[str, float]:
    """`female`, 1 for women and 0 for men; it may be unknown. Nothing else depends on it."""
    known, female = rng.random() >= UNKNOWN_SEX_SHARE, rng.random() < FEMALE_SHARE
    return {"female": float(female)} if known else {}
