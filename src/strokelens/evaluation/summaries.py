"""What the rows of an evaluation tell together: of each model, group and class the mean, its interval, and agreement.

Conventions: a person counts once, as in `people`: the scores of a person's scans and mirrored copies are averaged
first, so that an interval or a test does not take one person for several, and so are the counts behind pooled F1.
`used` of `total` are persons; who has no such score, for an empty class or a failure, is left out and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import nan
from typing import Final

import numpy as np
from jaxtyping import Float

from strokelens.evaluation.people import (
    Joint,
    averaged,
    dice,
    jointly,
    pooled_f1,
    prediction_ml,
    truth_ml,
)
from strokelens.evaluation.results import Evaluation, Row
from strokelens.metrics.agreement import Interval, Limits, SignedRank, bland_altman, bootstrap_means, holm, wilcoxon
from strokelens.metrics.scores import Summary

EVERYONE: Final = "all"
"""What the group of all cases is called."""

FAMILY: Final = ("penumbra", "core", "lesion")
"""The classes whose comparisons, over all cases, are corrected for each other; hypoperfused overlaps with them."""

_SEED = 0


@dataclass(frozen=True)
class Cell:
    """One model's scores of one class in one group: `cases` scans of `persons`, of whom `scored` have any score."""

    model: str
    group: str
    name: str
    cases: int
    persons: int
    scored: int
    f1_pooled: float
    summaries: dict[str, Summary]
    intervals: dict[str, Interval]


@dataclass(frozen=True)
class Agreement:
    """Volumes of one class by a model against those of the truth, in ml; differences are prediction − truth.

    `limits` are those of the persons' means.
    """

    model: str
    group: str
    name: str
    limits: Limits
    interval: Interval


@dataclass(frozen=True)
class Comparison:
    """Dice of two models on the same scans: the mean of second − first over persons, its interval, and the test.

    `scans` of `all_scans` have a Dice by both. `p_holm` is the test's p corrected for those of the `FAMILY` of classes
    over all cases and all pairs of models; NaN for a comparison that is none of them.
    """

    first: str
    second: str
    group: str
    name: str
    scans: int
    all_scans: int
    interval: Interval
    test: SignedRank
    p_holm: float


def cells(evaluation: Evaluation) -> tuple[Cell, ...]:
    """One cell for each model, group (and all cases), and class."""
    keys = [
        (model, group, name)
        for model in evaluation.models
        for group in groups(evaluation)
        for name in evaluation.classes
    ]
    called = list(
        dict.fromkeys(each for row in evaluation.rows for found in row.scores.values() for each in found.values)
    )
    tables = [_scores(evaluation.of(model, named(group)), name, called) for model, group, name in keys]
    intervals = iter(bootstrap_means([column for table in tables for column in table.T], rng()))
    made = []
    for (model, group, name), table in zip(keys, tables, strict=True):
        rows = evaluation.of(model, named(group))
        summaries = {each: Summary.of(column) for each, column in zip(called, table.T.tolist(), strict=True)}
        scored = len({row.person for row in rows if name in row.scores})
        counts = {"cases": len(rows), "persons": table.shape[0], "scored": scored}
        found = {each: next(intervals) for each in called}
        made.append(
            Cell(model, group, name, **counts, f1_pooled=pooled_f1(rows, name), summaries=summaries, intervals=found)
        )
    return tuple(made)


def agreements(evaluation: Evaluation) -> tuple[Agreement, ...]:
    """The Bland–Altman limits of the volumes for each model, group and class."""
    keys = [
        (model, group, name)
        for model in evaluation.models
        for group in groups(evaluation)
        for name in evaluation.classes
    ]
    found = [volumes(evaluation.of(model, named(group)), name) for model, group, name in keys]
    intervals = bootstrap_means([each[1] - each[0] for each in found], rng())
    return tuple(
        Agreement(*key, bland_altman(each[0], each[1]), interval)
        for key, each, interval in zip(keys, found, intervals, strict=True)
    )


def comparisons(evaluation: Evaluation) -> tuple[Comparison, ...]:
    """Each two models compared by Dice in each group and class."""
    keys = [
        (first, second, group, name)
        for first, second in combinations(evaluation.models, 2)
        for group in groups(evaluation)
        for name in evaluation.classes
    ]
    found = [
        jointly(name, *((evaluation.of(each, named(group)), dice) for each in (first, second)))
        for first, second, group, name in keys
    ]
    intervals = bootstrap_means([each[1] - each[0] for each in found], rng())
    tests = [wilcoxon(each[0], each[1]) for each in found]
    widest = groups(evaluation)[-1] if keys else EVERYONE
    in_family = [group == widest and name in FAMILY for _, _, group, name in keys]
    family = [test.p if inside else nan for test, inside in zip(tests, in_family, strict=True)]
    corrected = holm(np.array(family, np.float64)).tolist()
    return tuple(
        Comparison(*key, each.scans, each.all_scans, interval, test, p_holm)
        for key, each, interval, test, p_holm in zip(keys, found, intervals, tests, corrected, strict=True)
    )


def groups(evaluation: Evaluation) -> tuple[str, ...]:
    """The groups of an evaluation, and last all cases where there is not one group only."""
    found = evaluation.groups
    alone = len(found) == 1 and all(row.group == found[0] for row in evaluation.rows)
    return found if alone else (*found, EVERYONE)


def volumes(rows: Sequence[Row], name: str) -> Joint:
    """The volumes of the truth and of the prediction, in ml."""
    return jointly(name, (rows, truth_ml), (rows, prediction_ml))


def named(group: str) -> str | None:
    """The group as `Evaluation.of` takes it."""
    return None if group == EVERYONE else group


def rng() -> np.random.Generator:
    """The same draws for each interval, so that none depends on which others were asked for."""
    return np.random.default_rng(_SEED)


def _scores(rows: Sequence[Row], name: str, called: Sequence[str]) -> Float[np.ndarray, "persons scores"]:
    """Each score of each person."""
    listed = [
        [row.scores[name].values.get(each, nan) for each in called] if name in row.scores else [nan] * len(called)
        for row in rows
    ]
    return averaged(np.array(listed, np.float64).reshape(len(rows), len(called)), [row.person for row in rows])
