"""What the probabilities of each model, group and class tell together: means over persons, and one table of bins.

Conventions: as in `summaries`, a person counts once, and `used` of `total` persons have probabilities.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np

from strokelens.evaluation.calibrated import Bin, Calibration, pooled
from strokelens.evaluation.names import PROBABILITIES
from strokelens.evaluation.people import averaged
from strokelens.evaluation.results import CLASSES, Evaluation
from strokelens.evaluation.summaries import groups, named, rng
from strokelens.metrics.agreement import Interval, bootstrap_means
from strokelens.metrics.scores import Summary


@dataclass(frozen=True)
class Reliabilities:
    """Of one model, group and class: scores of each person, and the bins of all, with their calibration error."""

    model: str
    group: str
    name: str
    summaries: dict[str, Summary]
    intervals: dict[str, Interval]
    bins: tuple[Bin, ...]
    pooled_error: float


def of(evaluation: Evaluation) -> tuple[Reliabilities, ...]:
    """One for each model and class that has probabilities, in each group."""
    found = {
        (row.model, row.case_id, name): each for row in evaluation.calibrations for name, each in row.classes.items()
    }
    there = {(model, name) for model, _, name in found}
    return tuple(
        _of(evaluation, model, group, name, found)
        for model in evaluation.models
        for group in groups(evaluation)
        for name in CLASSES
        if (model, name) in there
    )


def _of(
    evaluation: Evaluation, model: str, group: str, name: str, found: Mapping[tuple[str, str, str], Calibration]
) -> Reliabilities:
    rows = evaluation.of(model, named(group))
    mine = [found.get((model, row.case_id, name)) for row in rows]
    persons = [row.person for row in rows]
    listed = [[each.values[score] if each is not None else nan for score in PROBABILITIES] for each in mine]
    values = averaged(np.array(listed, np.float64).reshape(len(rows), len(PROBABILITIES)), persons)
    intervals = bootstrap_means(list(values.T), rng())
    known = [(each.table, person) for each, person in zip(mine, persons, strict=True) if each is not None]
    bins, error = pooled([table for table, _ in known], [person for _, person in known]) if known else ((), nan)
    return Reliabilities(
        model,
        group,
        name,
        {score: Summary.of(column) for score, column in zip(PROBABILITIES, values.T.tolist(), strict=True)},
        dict(zip(PROBABILITIES, intervals, strict=True)),
        bins,
        error,
    )
