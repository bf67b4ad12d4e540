"""The tables of an evaluation that not every one has: two annotators, and the ancestors' own numbers."""

from strokelens.evaluation import legacy
from strokelens.evaluation.cells import NOTHING, interval, limits, number, share, spread
from strokelens.evaluation.interrater import Interrater
from strokelens.evaluation.legacy import LegacyCell
from strokelens.evaluation.results import Evaluation
from strokelens.report.tabular import Table


def annotator_tables(evaluation: Evaluation) -> tuple[Table, ...]:
    """How far the second annotator agrees with the truth, and each model beside both; none without one."""
    found = Interrater.of(evaluation)
    return () if found is None else (_between(found), _beside(found))


def legacy_tables(evaluation: Evaluation) -> tuple[Table, ...]:
    """The ancestors' numbers from counts, and those from masks."""
    cells = legacy.cells(evaluation)
    return _from_counts(cells), _from_masks(cells)


def _between(found: Interrater) -> Table:
    note = (
        f"The masks of {found.annotator} against the cohort's truth: mean ± standard deviation over patients. Volumes "
        f"are {found.annotator} − truth in ml (Bland–Altman): the bias, its 95 % interval, and the limits of 95 % of "
        "differences."
    )
    header = ("group", "class", "Dice", "HD95 (max, mm)", "|ΔV| (ml)", "bias (ml)", "limits (ml)", "patients")
    rows = tuple(
        (
            each.group,
            each.name,
            spread(each.summaries["dice"], 2),
            spread(each.summaries["hd95_max_mm"], 1),
            spread(each.summaries["absolute_volume_difference_ml"], 1),
            interval(each.interval, 1),
            limits(each.limits),
            share(each.limits.used, each.limits.total),
        )
        for each in found.spreads
    )
    return Table("Two annotators", note, header, rows)


def _beside(found: Interrater) -> Table:
    note = (
        f"Dice of each model against the truth and against {found.annotator}, and how far the former lies above that "
        "between the two annotators on the same patients, each with its 95 % interval by bootstrap. Where the interval "
        "of the difference lies below 0, the model agrees with the truth less than the annotators with each other."
    )
    between = {(each.group, each.name): each.summaries["dice"].mean for each in found.spreads}
    rows = tuple(
        (
            each.model,
            each.group,
            each.name,
            interval(each.against_first, 3),
            interval(each.against_second, 3),
            number(between[each.group, each.name]),
            interval(each.difference, 3),
            share(each.difference.used, each.difference.total),
        )
        for each in found.models
    )
    header = ("model", "group", "class", "against truth", f"against {found.annotator}", "between both", "difference")
    return Table("Models beside two annotators", note, (*header, "patients"), rows)


def _from_counts(cells: tuple[LegacyCell, ...]) -> Table:
    rows = tuple(
        (
            *_key(each),
            number(each.dice, 3),
            number(each.dice_theirs, 3),
            number(each.f1, 3),
            number(each.f1_theirs, 3),
            number(each.similarity, 3),
            number(each.similarity_theirs, 3),
        )
        for each in cells
    )
    header = ("Dice", "Dice, theirs", "F1", "F1, theirs", "volume similarity", "volume similarity, theirs")
    return Table("The ancestors' conventions", legacy.CONVENTIONS, ("model", "group", "class", *header), rows)


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
        )
        for each in cells
    )
    header = ("IoU", "IoU, theirs", "MCC", "MCC, theirs", "HD (mm)", "'Hausdorff', theirs: no distance")
    counts = "tp, fp, fn, tn where truth ≠ 0"
    return Table("The ancestors' measures", legacy.ON_MASKS, ("model", "group", "class", *header, counts), rows)


def _counts(cell: LegacyCell) -> str:
    counts = cell.counts_theirs
    return NOTHING if counts is None else f"{counts.tp}, {counts.fp}, {counts.fn}, {counts.tn}"


def _key(cell: LegacyCell) -> tuple[str, str, str]:
    return cell.model, cell.group, cell.name
