"""The tables of an evaluation: which there are, and what their cells say.

A cell says `n of N` where not every person has the score; an en dash where nobody has it.
"""

from math import isnan
from typing import Final

from strokelens.evaluation import legacy
from strokelens.evaluation.scoring import CLASSES, Evaluation
from strokelens.evaluation.summaries import Cell, Overview, groups
from strokelens.metrics.agreement import Interval, Limits
from strokelens.metrics.scores import Summary
from strokelens.report.tabular import Table

NOTHING: Final = "–"

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
        *([_legacy(overview.evaluation)] if with_legacy else []),
        _scores(overview),
        _volumes(overview),
        _comparisons(overview),
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
    if strangers:
        told += f" {strangers} {'prediction belongs' if strangers == 1 else 'predictions belong'} to no case."
    if evaluation.simulated:
        told += (
            f" {evaluation.simulated} of {count} patients are simulated: their scores are no evidence about real ones."
        )
    return told


def number(value: float, digits: int = 3) -> str:
    """A number in a cell; an en dash for NaN."""
    return NOTHING if isnan(value) else f"{value:.{digits}f}".replace("-", "−")


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
    texts = {_key(cell): _spread(cell.summaries["dice"], 2) for cell in overview.cells}
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
            *(_full(cell.summaries[score], cell.intervals[score], _DIGITS.get(score, 2)) for score in _TITLES),
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
            _interval(each.interval, 1),
            _limits(each.limits),
            _share(each.limits.used, each.limits.total),
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
            _interval(each.interval, 3),
            number(each.test.p, 4),
            number(each.p_holm, 4),
            _share(each.test.used, each.test.total),
        )
        for each in overview.comparisons
    )
    header = ("first", "second", "group", "class", "gain in Dice", "p", "p (Holm)", "patients")
    return Table("Models compared", note, header, rows)


def _legacy(evaluation: Evaluation) -> Table:
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
        for each in legacy.cells(evaluation)
    )
    header = ("Dice", "Dice, theirs", "F1", "F1, theirs", "volume similarity", "volume similarity, theirs")
    return Table("The ancestors' conventions", legacy.CONVENTIONS, ("model", "group", "class", *header), rows)


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


def _key(cell: "Cell | legacy.LegacyCell") -> tuple[str, str, str]:
    return cell.model, cell.group, cell.name


def _spread(summary: Summary, digits: int) -> str:
    """`0.71 ± 0.10 (18 of 20)`; without the count where everybody has the score."""
    if not summary.used:
        return f"{NOTHING} ({_share(0, summary.total)})"
    text = f"{number(summary.mean, digits)} ± {number(summary.deviation, digits)}"
    return text if summary.used == summary.total else f"{text} ({_share(summary.used, summary.total)})"


def _full(summary: Summary, interval: Interval, digits: int) -> str:
    if not summary.used:
        return _spread(summary, digits)
    text = f"{number(summary.mean, digits)} ± {number(summary.deviation, digits)}{_bounds(interval, digits)}"
    return text if summary.used == summary.total else f"{text} ({_share(summary.used, summary.total)})"


def _interval(interval: Interval, digits: int) -> str:
    if isnan(interval.mean):
        return NOTHING
    return f"{number(interval.mean, digits)}{_bounds(interval, digits)}"


def _bounds(interval: Interval, digits: int) -> str:
    """The interval in brackets; nothing for one patient, whose mean has none."""
    return f" [{number(interval.low, digits)}, {number(interval.high, digits)}]" if interval.used > 1 else ""


def _limits(limits: Limits) -> str:
    return NOTHING if isnan(limits.lower) else f"{number(limits.lower, 1)} to {number(limits.upper, 1)}"


def _share(used: int, total: int) -> str:
    return f"{used} of {total}"
