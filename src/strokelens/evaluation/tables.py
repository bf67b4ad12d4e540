"""The tables of an evaluation: which there are, and what their cells say.

A cell says `n of N` where not every person has the score; an en dash where nobody has it.
"""

from collections import Counter
from typing import Final

from strokelens.evaluation.cells import VOLUMES, full, interval, number, p_value, share, spread, volumes
from strokelens.evaluation.more_tables import annotator_tables, legacy_tables, probability_tables
from strokelens.evaluation.names import PROBABILITIES, SCORES, TERMS
from strokelens.evaluation.overview import Overview
from strokelens.evaluation.results import CLASSES, FAILURES, Evaluation
from strokelens.evaluation.summaries import FAMILY, Cell, groups
from strokelens.report.tabular import Table

MAIN: Final = (
    "dice",
    "precision",
    "recall",
    "hd95_max_mm",
    "assd_pooled_mm",
    "absolute_volume_difference_ml",
    "f1_isles22",
)
"""The scores of the first table; 'All scores' has every one."""

_NO_CASE: Final = "no-case"
_PROBABILITIES: Final = "probabilities"
_SAYS: Final = {
    **FAILURES,
    _NO_CASE: "the prediction belongs to no case of the cohort",
    _PROBABILITIES: "the probabilities cannot be read, or are none; the masks are scored",
}


def tables(overview: Overview, *, with_legacy: bool = False) -> tuple[Table, ...]:
    """Every table that has a row, failures first and each of them last.

    `with_legacy` adds the ancestors' own numbers beside the right ones.
    """
    evaluation = overview.evaluation
    made = [
        _failures(evaluation),
        f1_by_group(overview),
        _dice(overview),
        *(legacy_tables(overview.legacy) if with_legacy else ()),
        _scores(overview),
        _volumes(overview),
        _trends(overview),
        _comparisons(overview),
        *annotator_tables(overview.interrater),
        *probability_tables(overview.reliabilities),
        *([_legend(overview)] if overview.cells else ()),
        _every_score(overview),
        _every_failure(evaluation),
        _left_out(evaluation),
    ]
    return tuple(table for table in made if table.rows)


def headline(evaluation: Evaluation) -> str:
    """How many cases of how many patients, how many were scored, and how many are simulated."""
    count = len({row.case_id for row in evaluation.rows})
    told = _scored(evaluation, count) if count else "No case could be scored."
    strangers = sum(map(len, evaluation.strangers.values()))
    if evaluation.left_out:
        left = len(evaluation.left_out)
        told += f" {left} {'case has no truth and was' if left == 1 else 'cases have no truth and were'} left out."
    if strangers:
        told += f" {strangers} {'prediction belongs' if strangers == 1 else 'predictions belong'} to no case."
    unread = len({(row.model, row.case_id) for row in evaluation.calibrations if row.failure})
    if unread:
        told += f" The probabilities of {unread} {'case' if unread == 1 else 'cases'} could not be scored."
    if evaluation.failed_annotations:
        told += f" {_annotations(evaluation)}"
    told += "".join(f" {remark}" for remark in evaluation.remarks)
    if evaluation.simulated:
        told += f" {evaluation.simulated} of {count} cases are simulated: no evidence about real patients."
    return told


def _annotations(evaluation: Evaluation) -> str:
    """How many masks of the second annotator could not be scored."""
    rows = evaluation.failed_annotations
    return f"{len(rows)} {'mask' if len(rows) == 1 else 'masks'} of {rows[0].model} could not be scored in full."


def each_failure(evaluation: Evaluation) -> tuple[tuple[str, str, str, str], ...]:
    """Model, case, code and message of all for which an evaluation is not complete; of a stranger its name."""
    rows = [
        (row.model, row.case_id, failure.code, failure.message) for row in evaluation.failed for failure in row.failures
    ]
    rows += [(row.model, row.case_id, _PROBABILITIES, row.failure) for row in evaluation.calibrations if row.failure]
    rows += [
        (model, name, _NO_CASE, _SAYS[_NO_CASE]) for model, names in evaluation.strangers.items() for name in names
    ]
    return tuple(rows)


def _scored(evaluation: Evaluation, count: int) -> str:
    persons = len({row.person for row in evaluation.rows})
    scored = ", ".join(
        f"{model} {sum(not row.failures for row in evaluation.of(model))} of {count}" for model in evaluation.models
    )
    of = "" if persons == count else f" of {persons} {'patient' if persons == 1 else 'patients'}"
    return f"{count} {'case' if count == 1 else 'cases'}{of}; scored in full: {scored}."


def f1_by_group(overview: Overview) -> Table:
    """The ancestors' own table: F1 of each model, group and class."""
    note = (
        "F1 of all voxels of a group together: large lesions decide. Scans and mirrored copies of one patient are "
        "averaged first. The ancestors' README has this table. n: patients; 'n of N' where a model's failures leave "
        "some out, which makes its number incomparable with the others."
    )
    texts = {}
    for cell in overview.cells:
        count = "" if cell.scored == cell.persons else f"\n({share(cell.scored, cell.persons)})"
        texts[_key(cell)] = f"{number(cell.f1_pooled)}{count}"
    return _wide("F1 by group", note, overview, texts)


def _dice(overview: Overview) -> Table:
    note = (
        "Mean ± standard deviation of each patient's Dice: every patient weighs the same. Without a number: patients "
        "in whom both are empty, and failures."
    )
    texts = {_key(cell): spread(cell.summaries["dice"], 2) for cell in overview.cells if "dice" in cell.summaries}
    return _wide("Dice by group", note, overview, texts)


def _wide(title: str, note: str, overview: Overview, texts: dict[tuple[str, str, str], str]) -> Table:
    """One row a model, and one column for each group and class."""
    evaluation = overview.evaluation
    persons = {cell.group: cell.persons for cell in overview.cells}
    names = [name for name in evaluation.classes if len(CLASSES[name]) == 1 or _alone(name, evaluation)]
    columns = [(group, name) for group in groups(evaluation) for name in names]
    rows = tuple((model, *(texts[model, group, name] for group, name in columns)) for model in evaluation.models)
    heads = (f"{group} {name},\nn = {persons[group]}" for group, name in columns)
    return Table(title, note, ("model", *heads), rows if columns else ())


def _alone(name: str, evaluation: Evaluation) -> bool:
    """Whether a class of several is scored for a case that has no score of its parts."""
    parts = set(CLASSES[name])
    return any(name in row.scores and parts.isdisjoint(row.scores) for row in evaluation.rows)


def _scores(overview: Overview) -> Table:
    note = (
        "Mean ± standard deviation, in brackets the 95 % interval of the mean by bootstrap over patients: none below "
        "6 patients, too narrow below 20. 'n of N' stands in each cell of a row where scores are of different "
        "patients: where truth and prediction are both empty, lesion F1 is 1 as in ISLES'22, |ΔV| is 0, and the "
        "others have no number. A missed lesion has Dice 0, and costs HD95 and ASSD the image's diagonal."
    )
    shown = [score for score in MAIN if any(score in cell.summaries for cell in overview.cells)]
    rows = []
    for cell in overview.cells:
        counted = len({cell.summaries[score].used for score in shown}) > 1
        cells = (
            full(cell.summaries[each], cell.intervals[each], SCORES[each].digits, counted=counted) for each in shown
        )
        rows.append((*_key(cell), *cells))
    header = ("model", "group", "class", *(SCORES[score].head for score in shown))
    return Table("Scores", note, header, tuple(rows), keys=3)


def _every_score(overview: Overview) -> Table:
    """One row a group, class and score, and one column a model."""
    note = (
        "Mean ± standard deviation of every score, with 'n of N' where not every patient has it. Intervals and "
        "medians are in evaluation.json."
    )
    models = overview.evaluation.models
    by_key = {_key(cell): cell for cell in overview.cells}
    rows = [
        (
            cell.group,
            cell.name,
            SCORES[score].head,
            *(spread(by_key[model, cell.group, cell.name].summaries[score], SCORES[score].digits) for model in models),
        )
        for cell in overview.cells
        if cell.model == models[0]
        for score in cell.summaries
    ]
    return Table("All scores", note, ("group", "class", "score", *models), tuple(rows), keys=3, folded=True)


def _volumes(overview: Overview) -> Table:
    note = (
        "Prediction − truth in ml (Bland–Altman), of patients' means where a patient has several scans: the bias with "
        "its 95 % interval, and the limits of 95 % of differences, each with its own (1999). No limits below 5 "
        "patients."
    )
    rows = tuple(
        (
            each.model,
            each.group,
            each.name,
            *volumes(each.interval, each.limits),
        )
        for each in overview.agreements
    )
    header = ("model", "group", "class", *VOLUMES)
    return Table("Volumes", note, header, rows, keys=3)


def _trends(overview: Overview) -> Table:
    note = (
        "The line of Dice over −log10 of the lesion's share of the image, all patients: a slope of −0.3 is 0.3 of Dice "
        "lost where a lesion has a tenth of the voxels. r by Pearson, with its sign. Patients without a lesion are not "
        "in it. No line below 3 patients."
    )
    rows = tuple(
        (
            each.model,
            each.name,
            *(number(value, 3) for value in (each.slope, each.intercept, each.r)),
            share(each.used, each.used + each.empty),
        )
        for each in overview.trends
    )
    header = ("model", "class", "slope", "intercept", "r", "patients")
    return Table("Dice by size", note, header, rows, keys=2)


def _comparisons(overview: Overview) -> Table:
    note = (
        "Dice of the second model − that of the first, scan by scan where both have one, then averaged within the "
        "patient; 95 % interval by bootstrap; p by Wilcoxon's signed-rank test, two-sided, of the patients whose Dice "
        f"differ. p (Holm) is corrected for the main comparisons: each pair of models × {', '.join(FAMILY)}, in all "
        "patients. Those in groups and of hypoperfused tissue overlap with them and are not corrected: read their p "
        "as a hint."
    )
    rows = tuple(
        (
            each.first,
            each.second,
            each.group,
            each.name,
            interval(each.interval, 3),
            p_value(each.test.p),
            p_value(each.p_holm),
            share(each.test.used, each.test.total),
            str(each.test.signed),
            share(each.scans, each.all_scans),
        )
        for each in overview.comparisons
    )
    header = ("first", "second", "group", "class", "gain in Dice", "p", "p (Holm)", "patients", "differ", "scans")
    return Table("Models compared", note, header, rows, keys=4)


def _failures(evaluation: Evaluation) -> Table:
    counts = Counter((row.model, failure.code) for row in evaluation.failed for failure in row.failures)
    counts.update((row.model, _PROBABILITIES) for row in evaluation.calibrations if row.failure)
    counts.update({(model, _NO_CASE): len(names) for model, names in evaluation.strangers.items() if names})
    rows = tuple((model, code, str(count), _SAYS[code]) for (model, code), count in counts.items())
    note = "What could not be scored, or not in full; the last tables name each."
    return Table("Failures", note, ("model", "code", "cases", "says"), rows, keys=2, words=True)


def _every_failure(evaluation: Evaluation) -> Table:
    note = "Each case that could not be scored, or not in full."
    rows = each_failure(evaluation)
    return Table("Each failure", note, ("model", "case", "code", "says"), rows, keys=2, words=True, folded=True)


def _left_out(evaluation: Evaluation) -> Table:
    note = "Cases without truth, for which nobody has a prediction either: no failures, and in no number above."
    return Table("Left out", note, ("case",), tuple((case_id,) for case_id in evaluation.left_out), folded=True)


def _legend(overview: Overview) -> Table:
    note = "What the columns say, and which end is better. Formulas, units and empty cases: docs/reference/scores.md."
    found = {score for cell in overview.cells for score in cell.summaries}
    rows = [(name.title, name.better, name.says) for score, name in SCORES.items() if score in found]
    if overview.reliabilities:
        rows += [(name.title, name.better, name.says) for name in PROBABILITIES.values()]
    rows += [(term, "", says) for term, says in TERMS.items()]
    return Table("Legend", note, ("column", "better", "says"), tuple(rows), words=True)


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.model, cell.group, cell.name
