"""What else is known about a simulated patient: age, and how severe the stroke is at the bedside."""

import numpy as np

UNKNOWN_NIHSS_SHARE = 1 / 6
"""How many patients come without an NIHSS."""


def draw_clinical(rng: np.random.Generator, hypoperfused_ml: float) -> dict[str, float]:
    """Age in years, and an NIHSS that grows with the square root of the hypoperfused volume; it may be unknown.

    The relation is plain and ours; it makes the value informative, not realistic.
    """
    age = float(np.clip(rng.normal(71, 13), 22, 98).round())
    nihss = float(np.clip(round(3 + 1.35 * np.sqrt(hypoperfused_ml) + rng.normal(0, 3)), 0, 38))
    return {"age_years": age} if rng.random() < UNKNOWN_NIHSS_SHARE else {"age_years": age, "nihss": nihss}
