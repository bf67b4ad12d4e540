"""The first ancestor's own numbers beside the right ones, so that its published tables can be compared.

Its statistics were MATLAB outside of its repository. What is done here: each case counts, mirrored copies too; Dice,
IoU and MCC are 0 where they are not defined; F1 has 1e-7 in each denominator; volume similarity 1 mm³. What is measured
on masks, in `ancestors`, is there only for rows that were scored with it.
"""

from dataclasses import dataclass
from math import isnan, nan
from typing import Final

from strokelens.evaluation.people import by_person, dice, pooled_f1, score
from strokelens.evaluation.results import Evaluation, Row
from strokelens.evaluation.summaries import groups, named
from strokelens.metrics.overlap import Counts
from strokelens.metrics.scores import Summary
from strokelens.metrics.volumes import Volumes

CONVENTIONS: Final = (
    "Theirs: each case counts, mirrored copies too; Dice is 0 where both masks are empty, which lowers the mean of a "
    "class that is often absent; F1 with 1e-7, volume similarity with 1 mm³ in the denominator. Do not mix the "
    "columns. The second ancestor's two: smoothed, (2|AB| + 1) / (|A| + |B| + 1); and with 1e-7 below, 0 where both "
    "are empty. So many patients were scored by ours, who count once and have no Dice where both are empty; theirs are "
    "of so many cases."
)
"""What the first table says of itself."""

ON_MASKS: Final = (
    "Theirs: IoU and MCC are 0 where they are not defined. Their 'Hausdorff' is no distance: each row of a slice was "
    "taken for one point of as many dimensions as it has pixels, times 0.43664551, and the mean is over all slices, "
    "empty ones too; HD is the true one, in mm. Their counts of voxels leave out where the truth is 0, and are sums."
)
"""What the second table says of itself."""

_SMALL = 1e-7
_MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class LegacyCell:
    """Our and their numbers of one model, group and class; `rowwise_theirs` is no distance.

    Of ours, `persons` of `all_persons` have a score; of theirs, each of the `scored_cases` counts.

    `counts_theirs` is None, and `rowwise_theirs` NaN, where the rows have no measures of masks.
    """

    model: str
    group: str
    name: str
    persons: int
    all_persons: int
    scored_cases: int
    dice: float
    dice_theirs: float
    dice_smoothed: float
    dice_epsilon: float
    f1: float
    f1_theirs: float
    similarity: float
    similarity_theirs: float
    iou: float
    iou_theirs: float
    mcc: float
    mcc_theirs: float
    hd_mm: float
    rowwise_theirs: float
    counts_theirs: Counts | None


def cells(evaluation: Evaluation) -> tuple[LegacyCell, ...]:
    """One cell for each model, group (and all cases, their AIS+WIS), and class."""
    return tuple(
        _cell(model, group, name, evaluation.of(model, named(group)))
        for model in evaluation.models
        for group in groups(evaluation)
        for name in evaluation.classes
    )


def dice_theirs(counts: Counts) -> float:
    """Dice, and 0 where both masks are empty.

    >>> dice_theirs(Counts(tp=0, fp=0, fn=0, tn=9)), dice_theirs(Counts(tp=1, fp=1, fn=1, tn=9))
    (0.0, 0.5)
    """
    return _defined(counts.dice)


def dice_smoothed(counts: Counts) -> float:
    """The second ancestor's soft Dice of two masks: (2 |AB| + 1) / (|A| + |B| + 1), 1 where both are empty.

    >>> dice_smoothed(Counts(0, 0, 0, 9)), round(dice_smoothed(Counts(0, 0, 10, 9)), 4)
    (1.0, 0.0909)
    """
    return (2 * counts.tp + 1) / (2 * counts.tp + counts.fp + counts.fn + 1)


def dice_epsilon(counts: Counts) -> float:
    """The second ancestor's "DSC": 2 |AB| / (|A| + |B| + 1e-7), 0 where both are empty.

    >>> dice_epsilon(Counts(0, 0, 0, 9)), round(dice_epsilon(Counts(1, 1, 1, 9)), 6)
    (0.0, 0.5)
    """
    return 2 * counts.tp / (2 * counts.tp + counts.fp + counts.fn + _SMALL)


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
    measured = [row.theirs[name] for row in rows if name in row.theirs]
    pooled = sum(counts, start=Counts(0, 0, 0, 0))
    return LegacyCell(
        model,
        group,
        name,
        persons=len({row.person for row in rows if name in row.scores}),
        all_persons=len({row.person for row in rows}),
        scored_cases=len(counts),
        dice=_mean(by_person(rows, name, dice).tolist()),
        dice_theirs=_mean([dice_theirs(each) for each in counts]),
        dice_smoothed=_mean([dice_smoothed(each) for each in counts]),
        dice_epsilon=_mean([dice_epsilon(each) for each in counts]),
        f1=pooled_f1(rows, name),
        f1_theirs=f1_theirs(pooled) if counts else nan,
        similarity=_mean(by_person(rows, name, _similarity).tolist()),
        similarity_theirs=_mean([similarity_theirs(each) for each in volumes]),
        iou=_mean(by_person(rows, name, score("jaccard")).tolist()),
        iou_theirs=_mean([_defined(each.jaccard) for each in counts]),
        mcc=_mean(by_person(rows, name, score("mcc")).tolist()),
        mcc_theirs=_mean([_defined(each.mcc) for each in counts]),
        hd_mm=_mean(by_person(rows, name, score("hd_mm")).tolist()),
        rowwise_theirs=_mean([each.rowwise for each in measured]),
        counts_theirs=sum((each.counts for each in measured), start=Counts(0, 0, 0, 0)) if measured else None,
    )


def _similarity(row: Row, name: str) -> float:
    return row.volumes[name].similarity if name in row.volumes else nan


def _defined(value: float) -> float:
    return 0.0 if isnan(value) else value


def _mean(values: list[float]) -> float:
    return Summary.of(values).mean
