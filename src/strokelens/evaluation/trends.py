"""How Dice goes with the size of the lesion: a line through the patients of each model and class, with its sign."""

from dataclasses import dataclass
from math import nan

import numpy as np
from scipy import stats

from strokelens.evaluation.people import dice as dice_of
from strokelens.evaluation.people import jointly, rarity
from strokelens.evaluation.results import Evaluation

_LEAST = 3
"""Through two patients there is always a line."""


@dataclass(frozen=True)
class Trend:
    """Dice = `slope` × −log10(share of the image that is lesion) + `intercept`, with Pearson's signed `r`.

    Of `used` patients; the truth of `empty` ones shows no lesion, whose logarithm there is not. NaN below 3 patients,
    and where all lesions are of one size or all Dice the same.
    """

    model: str
    name: str
    slope: float
    intercept: float
    r: float
    used: int
    empty: int


def trends(evaluation: Evaluation) -> tuple[Trend, ...]:
    """One of each model and class."""
    return tuple(_trend(evaluation, model, name) for model in evaluation.models for name in evaluation.classes)


def _trend(evaluation: Evaluation, model: str, name: str) -> Trend:
    rows = evaluation.of(model)
    size, dice = jointly(name, (rows, rarity), (rows, dice_of)).values.T
    known = ~np.isnan(size)
    scored = len({row.person for row in rows if name in row.scores})
    used, empty = int(known.sum()), scored - int(known.sum())
    size, dice = size[known], dice[known]
    if used < _LEAST or np.ptp(size) == 0 or np.ptp(dice) == 0:
        return Trend(model, name, nan, nan, nan, used, empty)
    line = stats.linregress(size, dice)
    return Trend(model, name, float(line.slope), float(line.intercept), float(line.rvalue), used, empty)
