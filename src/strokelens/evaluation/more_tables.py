"""The tables of an evaluation that not every one has: two annotators, and the ancestors' own numbers."""

from collections.abc import Sequence

from strokelens.evaluation import legacy
from strokelens.evaluation.cells import NOTHING, VOLUMES, full, interval, number, share, spread, volumes
from strokelens.evaluation.interrater import SHOWN, Interrater
from strokelens.evaluation.legacy import LegacyCell
from strokelens.evaluation.names import PROBABILITIES, SCORES
from strokelens.evaluation.reliabilities import Reliabilities
from strokelens.report.tabular import Table

_KEYS = ("model", "group", "class")
_COUNTS = ("patients", "cases")


def annotator_tables(found: Interrater | None) -> tuple[Table, ...]:
    """How far the second annotator agrees with the truth, and each model beside both; none without one."""
    return () if found is None else (_between(found), _beside(found))


def legacy_tables(cells: tuple[LegacyCell, ...]) -> tuple[Table, ...]:
    """The ancestors' numbers from counts, and those from masks."""
    return _from_counts(cells), _from_masks(cells)


def probability_tables(found: Sequence[Reliabilities]) -> tuple[Table, ...]:
    """The scores of probabilities, and the bins of all cases; none without probabilities."""
    return (_probabilities(found), _bins(found)) if found else ()


def _probabilities(found: Sequence[Reliabilities]) -> Table:
    note = (
        "Within the brain where the truth tells it, else in the whole image, whose easy background flatters. Mean ± "
        "standard deviation over patients, in brackets the 95 % interval of the mean. ECE of 10 bins; 'together' is "
        "that of the voxels of all patients. AUC has no number where the truth is empty. 'n of N' have probabilities."
    )
    rows = tuple(
        (
            each.model,
            each.group,
            each.name,
            *(full(each.summaries[score], each.intervals[score], name.digits) for score, name in PROBABILITIES.items()),
            number(each.pooled_error),
        )
        for each in found
    )
    heads = (*(name.head for name in PROBABILITIES.values()), "ECE, together ↓")
    return Table("Probabilities", note, (*_KEYS, *heads), rows, keys=3)


def _bins(found: Sequence[Reliabilities]) -> Table:
    note = (
        "Of the voxels whose probability lies in a bin: their share of all, their mean probability, and how many of "
        "them are true. Where the last two are equal, a probability means what it says."
    )
    rows = tuple(
        (
            each.model,
            each.group,
            each.name,
            f"{at / len(each.bins):.1f} to {(at + 1) / len(each.bins):.1f}",
            number(one.voxels / sum(bin_.voxels for bin_ in each.bins), 4),
            number(one.mean_probability),
            number(one.frequency),
        )
        for each in found
        for at, one in enumerate(each.bins)
    )
    header = (*_KEYS, "probability", "share of voxels", "mean probability", "share that is true")
    return Table("Reliability", note, header, rows, keys=4, folded=True)


def _between(found: Interrater) -> Table:
    note = (
        f"The masks of {found.annotator} against the cohort's truth: mean ± standard deviation over patients. Volumes "
        f"are {found.annotator} − truth in ml (Bland–Altman), of patients' means: the bias, and the limits of 95 % of "
        "differences, each with its 95 % interval."
    )
    rows = tuple(
        (
            each.group,
            each.name,
            *(spread(each.summaries[score], SCORES[score].digits) for score in SHOWN),
            *volumes(each.interval, each.limits),
        )
        for each in found.spreads
    )
    header = ("group", "class", *(SCORES[score].head for score in SHOWN), *VOLUMES)
    return Table("Two annotators", note, header, rows, keys=2)


def _beside(found: Interrater) -> Table:
    note = (
        f"Dice of each model against the truth and against {found.annotator}, and that between the two annotators: "
        "every column of a row is of the same scans, those that have all three. The difference is the mean of the "
        "former two − the latter, with its 95 % interval by bootstrap. Where the interval lies below 0, the model "
        "agrees less with the annotators than they do with each other."
    )
    rows = tuple(
        (
            each.model,
            each.group,
            each.name,
            interval(each.against_first, 3),
            interval(each.against_second, 3),
            interval(each.between, 3),
            interval(each.difference, 3),
            share(each.difference.used, each.difference.total),
            share(each.scans, each.all_scans),
        )
        for each in found.models
    )
    header = ("against truth", f"against {found.annotator}", "between both", "difference", "patients", "scans")
    return Table("Models beside two annotators", note, (*_KEYS, *header), rows, keys=3)


def _from_counts(cells: tuple[LegacyCell, ...]) -> Table:
    rows = tuple(
        (
            *_key(each),
            number(each.dice, 3),
            number(each.dice_theirs, 3),
            number(each.dice_smoothed, 3),
            number(each.dice_epsilon, 3),
            number(each.f1, 3),
            number(each.f1_theirs, 3),
            number(each.similarity, 3),
            number(each.similarity_theirs, 3),
            *_of(each),
        )
        for each in cells
    )
    header = (
        "Dice",
        "Dice, theirs",
        "Dice, smoothed",
        "Dice, with 1e-7",
        "F1",
        "F1, theirs",
        "volume similarity",
        "volume similarity, theirs",
    )
    return Table("The ancestors' conventions", legacy.CONVENTIONS, (*_KEYS, *header, *_COUNTS), rows, keys=3)


def _from_masks(cells: tuple[LegacyCell, ...]) -> Table:
    rows = tuple(
        (
            *_key(each),
            number(each.iou, 3),
            number(each.iou_theirs, 3),
            number(each.mcc, 3),
            number(each.mcc_theirs, 3),
            number(each.hd_mm, 1),
            number(each.rowwise_theirs, 2),
            _counts(each),
            *_of(each),
        )
        for each in cells
    )
    header = ("IoU", "IoU, theirs", "MCC", "MCC, theirs", "HD (mm)", "'Hausdorff', theirs: no distance")
    counts = "tp, fp, fn, tn where truth ≠ 0"
    return Table("The ancestors' measures", legacy.ON_MASKS, (*_KEYS, *header, counts, *_COUNTS), rows, keys=3)


def _counts(cell: LegacyCell) -> str:
    counts = cell.counts_theirs
    return NOTHING if counts is None else f"{counts.tp}, {counts.fp}, {counts.fn}, {counts.tn}"


def _of(cell: LegacyCell) -> tuple[str, str]:
    """Of how many patients ours are, and of how many cases theirs."""
    return share(cell.persons, cell.all_persons), str(cell.scored_cases)


def _key(cell: LegacyCell) -> tuple[str, str, str]:
    return cell.model, cell.group, cell.name
