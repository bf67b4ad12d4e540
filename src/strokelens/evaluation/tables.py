"""The tables of an evaluation: which there are, and what their cells say.

A cell says `n of N` where not every person has the score; an en dash where nobody has it.
"""

from typing import Final

from strokelens.evaluation.cells import full, interval, limits, number, share, spread
from strokelens.evaluation.more_tables import annotator_tables, legacy_tables
from strokelens.evaluation.results import CLASSES, Evaluation
from strokelens.evaluation.summaries import Cell, Overview, groups
from strokelens.report.tabular import Table

_TITLES: Final = {
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "hd95_max_mm": "HD95 (max, mm)",
    "assd_pooled_mm": "ASSD (pooled, mm)",
    "absolute_volume_difference_ml": "|ΔV| (ml)",
    "f1_isles22": "lesion F1 (ISLES'22)",
}
_DIGITS: Final = {"hd95_max_mm": 1, "assd_pooled_mm": 1, "absolute_volume_difference_ml": 1}


def tables(overview: Overview, *, with_legacy: bool = False) -> tuple[Table, ...]:
    """Every table that has a row: F1 and Dice by group, all scores, volumes, comparisons, failures.

    `with_legacy` adds the ancestors' own numbers beside the right ones.
    """
    made = [
        _f1(overview),
        _dice(overview),
        *(legacy_tables(overview.evaluation) if with_legacy else ()),
        _scores(overview),
        _volumes(overview),
        _comparisons(overview),
        *annotator_tables(overview.evaluation),
        _failures(overview.evaluation),
    ]
    return tuple(table for table in made if table.rows)


def headline(evaluation: Evaluation) -> str:
    """How many cases, how many were scored, and whether patients are simulated."""
    count = len({row.case_id for row in evaluation.rows})
    scored = ", ".join(
        f"{model} {sum(not row.failures for row in evaluation.of(model))} of {count}" for model in evaluation.models
    )
    strangers = sum(map(len, evaluation.strangers.values()))
    told = f"{count} {'case' if count == 1 else 'cases'}; scored in full: {scored}."
    if evaluation.left_out:
        left = len(evaluation.left_out)
        told += f" {left} {'case has no truth and was' if left == 1 else 'cases have no truth and were'} left out."
    if strangers:
        told += f" {strangers} {'prediction belongs' if strangers == 1 else 'predictions belong'} to no case."
    told += "".join(f" {remark}" for remark in evaluation.remarks)
    if evaluation.simulated:
        told += (
            f" {evaluation.simulated} of {count} patients are simulated: their scores are no evidence about real ones."
        )
    return told


def _f1(overview: Overview) -> Table:
    note = "F1 of all voxels of a group together: large lesions decide. The ancestors' README has this table."
    return _wide(
        "F1 by group", note, overview.evaluation, {_key(cell): number(cell.f1_pooled) for cell in overview.cells}
    )


def _dice(overview: Overview) -> Table:
    note = (
        "Mean ± standard deviation of each patient's Dice: every patient weighs the same. Without a number: patients "
        "in whom both are empty, and failures."
    )
    texts = {_key(cell): spread(cell.summaries["dice"], 2) for cell in overview.cells}
    return _wide("Dice by group", note, overview.evaluation, texts)


def _wide(title: str, note: str, evaluation: Evaluation, texts: dict[tuple[str, str, str], str]) -> Table:
    """One row a model, and one column for each group and class."""
    names = [name for name in evaluation.classes if len(CLASSES[name]) == 1]
    columns = [(group, name) for group in groups(evaluation) for name in names]
    rows = tuple((model, *(texts[model, group, name] for group, name in columns)) for model in evaluation.models)
    return Table(title, note, ("model", *(f"{group} {name}" for group, name in columns)), rows if columns else ())


def _scores(overview: Overview) -> Table:
    note = "Mean ± standard deviation, and in brackets the 95 % interval of the mean by bootstrap over patients."
    header = ("model", "group", "class", *_TITLES.values())
    rows = tuple(
        (
            *_key(cell),
            *(full(cell.summaries[score], cell.intervals[score], _DIGITS.get(score, 2)) for score in _TITLES),
        )
        for cell in overview.cells
    )
    return Table("Scores", note, header, rows)


def _volumes(overview: Overview) -> Table:
    note = (
        "Prediction − truth in ml (Bland–Altman): the bias, its 95 % interval, and the limits of 95 % of differences."
    )
    rows = tuple(
        (
            each.model,
            each.group,
            each.name,
            interval(each.interval, 1),
            limits(each.limits),
            share(each.limits.used, each.limits.total),
        )
        for each in overview.agreements
    )
    return Table("Volumes", note, ("model", "group", "class", "bias (ml)", "limits (ml)", "patients"), rows)


def _comparisons(overview: Overview) -> Table:
    note = (
        "Dice of the second model − that of the first, on the same patients, with its 95 % interval; p by Wilcoxon's "
        "signed-rank test, two-sided, and corrected for the number of tests of this table by Holm."
    )
    rows = tuple(
        (
            each.first,
            each.second,
            each.group,
            each.name,
            interval(each.interval, 3),
            number(each.test.p, 4),
            number(each.p_holm, 4),
            share(each.test.used, each.test.total),
        )
        for each in overview.comparisons
    )
    header = ("first", "second", "group", "class", "gain in Dice", "p", "p (Holm)", "patients")
    return Table("Models compared", note, header, rows)


def _failures(evaluation: Evaluation) -> Table:
    note = "What could not be scored, or not in full."
    rows = [
        (row.model, row.case_id, failure.code, failure.message) for row in evaluation.failed for failure in row.failures
    ]
    rows += [
        (model, name, "no-case", "the prediction belongs to no case of the cohort")
        for model, names in evaluation.strangers.items()
        for name in names
    ]
    return Table("Failures", note, ("model", "case", "code", "says"), tuple(rows))


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.model, cell.group, cell.name
