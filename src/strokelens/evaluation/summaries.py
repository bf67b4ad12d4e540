"""What the rows of an evaluation tell together: of each model, group and class the mean, its interval, and agreement.

Conventions: a person counts once. The scores of a person's scans and mirrored copies are averaged first, so that an
interval or a test does not take one person for several. Pooled F1 is of all voxels of all cases together. `used` of
`total` are persons; who has no such score, for an empty class or a failure, is left out and counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log10, nan
from typing import Final

import numpy as np
from jaxtyping import Float

from strokelens.evaluation.results import Evaluation, Row
from strokelens.metrics.agreement import Interval, Limits, SignedRank, bland_altman, bootstrap_mean, holm, wilcoxon
from strokelens.metrics.overlap import f1_pooled
from strokelens.metrics.scores import Summary

SHOWN: Final = (
    "dice",
    "precision",
    "recall",
    "hd95_max_mm",
    "assd_pooled_mm",
    "absolute_volume_difference_ml",
    "f1_isles22",
)
"""The scores that are summarised, by their names in `metrics.scores`."""

EVERYONE: Final = "all"
"""What the group of all cases is called."""

_SEED = 0

Value = Callable[[Row, str], float]
"""One number of a row's class; NaN where it has none."""


@dataclass(frozen=True)
class Cell:
    """One model's scores of one class in one group."""

    model: str
    group: str
    name: str
    cases: int
    f1_pooled: float
    summaries: dict[str, Summary]
    intervals: dict[str, Interval]


@dataclass(frozen=True)
class Agreement:
    """Volumes of one class by a model against those of the truth, in ml; differences are prediction − truth."""

    model: str
    group: str
    name: str
    limits: Limits
    interval: Interval


@dataclass(frozen=True)
class Comparison:
    """Dice of two models on the same persons: the mean of second − first, its interval, and the signed-rank test.

    `p_holm` is the test's p corrected for all comparisons of the evaluation.
    """

    first: str
    second: str
    group: str
    name: str
    interval: Interval
    test: SignedRank
    p_holm: float


@dataclass(frozen=True, eq=False)
class Overview:
    """An evaluation and all that its rows tell together."""

    evaluation: Evaluation
    cells: tuple[Cell, ...]
    agreements: tuple[Agreement, ...]
    comparisons: tuple[Comparison, ...]

    @classmethod
    def of(cls, evaluation: Evaluation) -> "Overview":
        """Summarise an evaluation."""
        return cls(evaluation, cells(evaluation), agreements(evaluation), comparisons(evaluation))


def cells(evaluation: Evaluation) -> tuple[Cell, ...]:
    """One cell for each model, group (and all cases), and class."""
    return tuple(
        _cell(model, group, name, evaluation)
        for model in evaluation.models
        for group in groups(evaluation)
        for name in evaluation.classes
    )


def agreements(evaluation: Evaluation) -> tuple[Agreement, ...]:
    """The Bland–Altman limits of the volumes for each model, group and class."""
    found = []
    for model in evaluation.models:
        for group in groups(evaluation):
            rows = evaluation.of(model, named(group))
            for name in evaluation.classes:
                true, predicted = by_person(rows, name, truth_ml), by_person(rows, name, prediction_ml)
                interval = bootstrap_mean(predicted - true, rng())
                found.append(Agreement(model, group, name, bland_altman(true, predicted), interval))
    return tuple(found)


def comparisons(evaluation: Evaluation) -> tuple[Comparison, ...]:
    """Each two models compared by Dice in each group and class."""
    keys = [
        (first, second, group, name)
        for first, second in combinations(evaluation.models, 2)
        for group in groups(evaluation)
        for name in evaluation.classes
    ]
    found = []
    for first, second, group, name in keys:
        one, other = (by_person(evaluation.of(each, named(group)), name, dice) for each in (first, second))
        found.append((bootstrap_mean(other - one, rng()), wilcoxon(one, other)))
    corrected = holm(np.array([test.p for _, test in found])).tolist()
    return tuple(
        Comparison(*key, interval, test, p_holm)
        for key, (interval, test), p_holm in zip(keys, found, corrected, strict=True)
    )


def groups(evaluation: Evaluation) -> tuple[str, ...]:
    """The groups of an evaluation, and all cases where there is not one group only."""
    named = evaluation.groups
    alone = len(named) == 1 and all(row.group == named[0] for row in evaluation.rows)
    return named if alone else (*named, EVERYONE)


def by_person(rows: Sequence[Row], name: str, value: Value) -> Float[np.ndarray, "persons"]:
    """A number of each person, in the order in which they first come: the mean over a person's rows that have it."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row.person, []).append(value(row, name))
    known = [[number for number in numbers if not np.isnan(number)] for numbers in found.values()]
    return np.array([np.mean(numbers) if numbers else nan for numbers in known], np.float64)


def dice(row: Row, name: str) -> float:
    """The Dice of a row's class."""
    return row.scores[name]["dice"] if name in row.scores else nan


def truth_ml(row: Row, name: str) -> float:
    """The volume of the class in the truth."""
    return row.volumes[name].truth_ml if name in row.volumes else nan


def prediction_ml(row: Row, name: str) -> float:
    """The volume of the class in the prediction."""
    return row.volumes[name].prediction_ml if name in row.volumes else nan


def rarity(row: Row, name: str) -> float:
    """−log10 of the share of the image's voxels that the truth marks; NaN where it marks none."""
    if name not in row.scores:
        return nan
    counts = row.scores[name].counts
    marked = counts.tp + counts.fn
    return -log10(marked / (marked + counts.fp + counts.tn)) if marked else nan


def _cell(model: str, group: str, name: str, evaluation: Evaluation) -> Cell:
    rows = evaluation.of(model, named(group))
    values = {each: by_person(rows, name, score(each)) for each in SHOWN}
    return Cell(
        model,
        group,
        name,
        cases=len(rows),
        f1_pooled=f1_pooled(row.scores[name].counts for row in rows if name in row.scores),
        summaries={each: Summary.of(numbers.tolist()) for each, numbers in values.items()},
        intervals={each: bootstrap_mean(numbers, rng()) for each, numbers in values.items()},
    )


def score(called: str) -> Value:
    """A score of a row's class, by its name in `metrics.scores`."""
    return lambda row, name: row.scores[name].values.get(called, nan) if name in row.scores else nan


def named(group: str) -> str | None:
    """The group as `Evaluation.of` takes it."""
    return None if group == EVERYONE else group


def rng() -> np.random.Generator:
    """The same draws for each interval, so that none depends on which others were asked for."""
    return np.random.default_rng(_SEED)
