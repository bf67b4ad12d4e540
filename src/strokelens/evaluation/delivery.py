"""The folder of an evaluation, whole or not at all: tables.md, tables.html, cases.csv and evaluation.json."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import Final

from strokelens.cohorts.folder import new_folder
from strokelens.evaluation.calibrated import CalibratedRow
from strokelens.evaluation.legacy import dice_epsilon, dice_smoothed
from strokelens.evaluation.names import PROBABILITIES
from strokelens.evaluation.overview import Overview
from strokelens.evaluation.pictures import pictures
from strokelens.evaluation.record import compared, evaluation_text, record_of
from strokelens.evaluation.results import TRUTH, Evaluation, Row
from strokelens.evaluation.tables import headline, tables
from strokelens.report.tabular import Picture, html, markdown

MARKER: Final = "evaluation.json"
"""The file that marks a folder as ours."""


def deliver(
    evaluation: Evaluation,
    out: Path,
    *,
    overwrite: bool = False,
    with_legacy: bool = False,
    more: Sequence[Picture] = (),
) -> str:
    """Write an evaluation into a new folder; the text of its evaluation.json.

    Its pictures, and `more` after them, are in tables.html, and beside it as PNG by their titles.

    Raises `OutputError` when `out` exists (without `overwrite`) or cannot be written.
    """
    overview = Overview(evaluation)
    text = evaluation_text(record_of(overview, with_legacy=with_legacy))
    lead, made = headline(evaluation), tables(overview, with_legacy=with_legacy)
    drawn = (*pictures(overview), *more)
    with new_folder(out, marker=MARKER, overwrite=overwrite) as folder:
        (folder / MARKER).write_text(text, encoding="utf-8")
        (folder / "cases.csv").write_text(cases_csv(evaluation), encoding="utf-8", newline="")
        (folder / "tables.md").write_text(markdown(lead, made), encoding="utf-8")
        (folder / "tables.html").write_text(html(lead, made, drawn), encoding="utf-8")
        for picture in drawn:
            (folder / f"{_file_name(picture.title)}.png").write_bytes(picture.png)
    return text


def _file_name(title: str) -> str:
    """A title as the name of a file.

    >>> _file_name("Dice against the lesion's size")
    'dice-against-the-lesions-size'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.casefold().replace("'", "")).strip("-")


def cases_csv(evaluation: Evaluation) -> str:
    """One line a model, case and class with every score; an empty cell for what is not defined.

    `against` is the truth or the second annotator. A case without scores has one line, with its failure.
    """
    every = compared(evaluation)
    names = list(
        dict.fromkeys(name for _, rows in every for row in rows for each in row.scores.values() for name in each.values)
    )
    likely = {(row.model, row.case_id): row for row in evaluation.calibrations}
    names += [] if not likely else list(PROBABILITIES)
    counts = ["tp", "fp", "fn", "tn", "dice_smoothed", "dice_epsilon"]
    head = ["model", "against", "case", "person", "group", "simulated", "class", "truth_ml", "prediction_ml", *counts]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, *names, "failures"])
    for against, rows in every:
        for row in rows:
            writer.writerows(_lines(row, against, names, likely, blank=len(head) + len(names)))
    return text.getvalue()


def _lines(
    row: Row, against: str, names: list[str], likely: Mapping[tuple[str, str], CalibratedRow], *, blank: int
) -> Iterator[list[str]]:
    calibrated = likely.get((row.model, row.case_id)) if against == TRUTH else None
    known = [row.model, against, row.case_id, row.person, row.group or "", str(row.simulated).lower()]
    failures = "; ".join(f"{failure.code}: {failure.message}" for failure in row.failures)
    for name, scores in row.scores.items():
        volumes, counted = row.volumes[name], scores.counts
        numbers = [volumes.truth_ml, volumes.prediction_ml, counted.tp, counted.fp, counted.fn, counted.tn]
        numbers += [dice_smoothed(counted), dice_epsilon(counted)]
        mine = calibrated.classes.get(name) if calibrated is not None else None
        known_values = {**scores.values, **(mine.values if mine is not None else {})}
        values = [known_values.get(each) for each in names]
        yield [*known, name, *map(_cell, numbers), *map(_cell, values), failures]
    if not row.scores:
        yield [*known, *[""] * (blank - len(known)), failures]


def _cell(value: float | None) -> str:
    """Six figures of a measure, and every one of a number of voxels."""
    if value is None or not isfinite(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
