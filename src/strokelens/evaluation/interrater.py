"""Two annotators: how far they agree with each other, and whether a model lies within what parts them.

Conventions: the first annotator is the cohort's truth. A difference of volumes is second − first. A person counts once,
as in `summaries`; who lacks one of two numbers is left out and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strokelens.evaluation.results import Annotator, Evaluation, Row
from strokelens.evaluation.summaries import (
    by_person,
    dice,
    groups,
    named,
    prediction_ml,
    rng,
    score,
    truth_ml,
)
from strokelens.metrics.agreement import Interval, Limits, bland_altman, bootstrap_mean
from strokelens.metrics.scores import Summary

SHOWN = ("dice", "hd95_max_mm", "absolute_volume_difference_ml")
"""The scores that tell how far annotators agree."""


@dataclass(frozen=True)
class Spread:
    """The second annotator against the first in one group and class; `bias` of the volumes in ml, with its interval."""

    group: str
    name: str
    cases: int
    summaries: dict[str, Summary]
    limits: Limits
    interval: Interval


@dataclass(frozen=True)
class Beside:
    """A model's Dice against each annotator; `difference` is that against the first − that between the two."""

    model: str
    group: str
    name: str
    against_first: Interval
    against_second: Interval
    difference: Interval


@dataclass(frozen=True)
class Interrater:
    """All that the masks of a second annotator tell."""

    annotator: str
    spreads: tuple[Spread, ...]
    models: tuple[Beside, ...]

    @classmethod
    def of(cls, evaluation: Evaluation) -> "Interrater | None":
        """Summarise what the second annotator gave; None without one."""
        annotator = evaluation.annotator
        if annotator is None:
            return None
        cells = [(group, name) for group in groups(evaluation) for name in evaluation.classes]
        return cls(
            annotator.name,
            tuple(_spread(_in(annotator.between, group), group, name) for group, name in cells),
            tuple(
                _beside(evaluation, annotator, model, group, name)
                for model in evaluation.models
                for group, name in cells
            ),
        )


def _spread(rows: Sequence[Row], group: str, name: str) -> Spread:
    first, second = by_person(rows, name, truth_ml), by_person(rows, name, prediction_ml)
    return Spread(
        group,
        name,
        cases=len(rows),
        summaries={each: Summary.of(by_person(rows, name, score(each)).tolist()) for each in SHOWN},
        limits=bland_altman(first, second),
        interval=bootstrap_mean(second - first, rng()),
    )


def _beside(evaluation: Evaluation, annotator: Annotator, model: str, group: str, name: str) -> Beside:
    first = by_person(evaluation.of(model, named(group)), name, dice)
    against = [row for row in annotator.against if row.model == model]
    second = by_person(_in(against, group), name, dice)
    between = by_person(_in(annotator.between, group), name, dice)
    return Beside(
        model,
        group,
        name,
        against_first=bootstrap_mean(first, rng()),
        against_second=bootstrap_mean(second, rng()),
        difference=bootstrap_mean(np.asarray(first - between), rng()),
    )


def _in(rows: Sequence[Row], group: str) -> list[Row]:
    return [row for row in rows if named(group) in (None, row.group)]
