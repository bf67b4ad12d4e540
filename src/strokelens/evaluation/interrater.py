"""Two annotators: how far they agree with each other, and whether a model lies within what parts them.

Conventions: the first annotator is the cohort's truth. A difference of volumes is second − first. A person counts once,
as in `people`. A model is set beside the annotators on the scans that have all three Dice, of the model with each
annotator and of the two with each other; who lacks one is left out of every column and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from strokelens.evaluation.people import Joint, by_person, dice, jointly, score
from strokelens.evaluation.results import Annotator, Evaluation, Row
from strokelens.evaluation.summaries import groups, named, rng, volumes
from strokelens.metrics.agreement import Interval, Limits, bland_altman, bootstrap_means
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
    """A model's Dice against each annotator and that between the two, all of the same scans: `scans` of `all_scans`.

    `difference` is the mean of the former two − the latter: below 0, the model agrees less with the annotators than
    they do with each other. It does not change where the annotators change places.
    """

    model: str
    group: str
    name: str
    scans: int
    all_scans: int
    against_first: Interval
    against_second: Interval
    between: Interval
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
            _beside(evaluation, annotator, cells),
        )


def _spread(rows: Sequence[Row], group: str, name: str) -> Spread:
    both = volumes(rows, name)
    (interval,) = bootstrap_means([both[1] - both[0]], rng())
    return Spread(
        group,
        name,
        cases=len(rows),
        summaries={each: Summary.of(by_person(rows, name, score(each)).tolist()) for each in SHOWN},
        limits=bland_altman(both[0], both[1]),
        interval=interval,
    )


def _beside(evaluation: Evaluation, annotator: Annotator, cells: Sequence[tuple[str, str]]) -> tuple[Beside, ...]:
    """Each model in each group and class."""
    keys = [(model, group, name) for model in evaluation.models for group, name in cells]
    found = [_all_three(evaluation, annotator, model, group, name) for model, group, name in keys]
    columns = [(each[0], each[1], each[2], (each[0] + each[1]) / 2 - each[2]) for each in found]
    intervals = iter(bootstrap_means([column for each in columns for column in each], rng()))
    return tuple(
        Beside(*key, each.scans, each.all_scans, *(next(intervals) for _ in range(4)))
        for key, each in zip(keys, found, strict=True)
    )


def _all_three(evaluation: Evaluation, annotator: Annotator, model: str, group: str, name: str) -> Joint:
    """Dice of a model with the first annotator and with the second, and of these two."""
    against = [row for row in annotator.against if row.model == model]
    rows = (evaluation.of(model, named(group)), _in(against, group), _in(annotator.between, group))
    return jointly(name, *((each, dice) for each in rows))


def _in(rows: Sequence[Row], group: str) -> list[Row]:
    return [row for row in rows if named(group) in (None, row.group)]
