"""The first ancestor's own numbers beside the right ones, so that its published tables can be compared.

Its statistics were MATLAB outside of its repository. What is done here: each case counts, mirrored copies too; Dice is
0 where both masks are empty; F1 has 1e-7 in each denominator; volume similarity 1 mm³. What is not: its Hausdorff
distance took the rows of images for points of 512 dimensions, and is no distance.
"""

from dataclasses import dataclass
from math import isnan, nan
from typing import Final

from strokelens.evaluation.scoring import Evaluation, Row
from strokelens.evaluation.summaries import EVERYONE, by_person, dice, groups
from strokelens.metrics.overlap import Counts, f1_pooled
from strokelens.metrics.scores import Summary
from strokelens.metrics.volumes import Volumes

CONVENTIONS: Final = (
    "Theirs: each case counts, mirrored copies too; Dice is 0 where both masks are empty, which lowers the mean of a "
    "class that is often absent; F1 with 1e-7, volume similarity with 1 mm³ in the denominator. Do not mix the columns."
)
"""What the table says of itself."""

_SMALL = 1e-7
_MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class LegacyCell:
    """Our and their Dice, pooled F1 and volume similarity of one model, group and class."""

    model: str
    group: str
    name: str
    dice: float
    dice_theirs: float
    f1: float
    f1_theirs: float
    similarity: float
    similarity_theirs: float


def cells(evaluation: Evaluation) -> tuple[LegacyCell, ...]:
    """One cell for each model, group (and all cases, their AIS+WIS), and class."""
    return tuple(
        _cell(model, group, name, evaluation.of(model, None if group == EVERYONE else group))
        for model in evaluation.models
        for group in groups(evaluation)
        for name in evaluation.classes
    )


def dice_theirs(counts: Counts) -> float:
    """Dice, and 0 where both masks are empty.

    >>> dice_theirs(Counts(tp=0, fp=0, fn=0, tn=9)), dice_theirs(Counts(tp=1, fp=1, fn=1, tn=9))
    (0.0, 0.5)
    """
    return 0.0 if isnan(counts.dice) else counts.dice


def f1_theirs(counts: Counts) -> float:
    """2 P R / (P + R + 1e-7), where P = tp / (tp + fp + 1e-7) and R = tp / (tp + fn + 1e-7).

    >>> round(f1_theirs(Counts(tp=3, fp=1, fn=1, tn=0)), 6), f1_theirs(Counts(tp=0, fp=0, fn=0, tn=1))
    (0.75, 0.0)
    """
    precision = counts.tp / (counts.tp + counts.fp + _SMALL)
    recall = counts.tp / (counts.tp + counts.fn + _SMALL)
    return 2 * precision * recall / (precision + recall + _SMALL)


def similarity_theirs(volumes: Volumes) -> float:
    """1 − |Vp − Vt| / (Vp + Vt + 1) in mm³; 1 where both are empty.

    >>> similarity_theirs(Volumes(0.0, 0.0)), round(similarity_theirs(Volumes(0.001, 0.003)), 3)
    (1.0, 0.6)
    """
    total_mm3 = (volumes.truth_ml + volumes.prediction_ml) * _MM3_PER_ML
    return 1 - abs(volumes.difference_ml) * _MM3_PER_ML / (total_mm3 + 1)


def _cell(model: str, group: str, name: str, rows: tuple[Row, ...]) -> LegacyCell:
    counts = [row.scores[name].counts for row in rows if name in row.scores]
    volumes = [row.volumes[name] for row in rows if name in row.volumes]
    pooled = sum(counts, start=Counts(0, 0, 0, 0))
    return LegacyCell(
        model,
        group,
        name,
        dice=_mean(by_person(rows, name, dice).tolist()),
        dice_theirs=_mean([dice_theirs(each) for each in counts]),
        f1=f1_pooled(counts),
        f1_theirs=f1_theirs(pooled) if counts else nan,
        similarity=_mean(by_person(rows, name, _similarity).tolist()),
        similarity_theirs=_mean([similarity_theirs(each) for each in volumes]),
    )


def _similarity(row: Row, name: str) -> float:
    return row.volumes[name].similarity if name in row.volumes else nan


def _mean(values: list[float]) -> float:
    return Summary.of(values).mean
