"""The folder of an evaluation, whole or not at all: tables.md, tables.html, cases.csv and evaluation.json."""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import Final

from strokelens import __version__
from strokelens.cohorts.folder import new_folder
from strokelens.evaluation import legacy
from strokelens.evaluation.pictures import pictures
from strokelens.evaluation.scoring import Evaluation, Row
from strokelens.evaluation.summaries import Overview
from strokelens.evaluation.tables import headline, tables
from strokelens.flags import RESEARCH_USE
from strokelens.report.tabular import html, markdown

MARKER: Final = "evaluation.json"
"""The file that marks a folder as ours."""


def deliver(evaluation: Evaluation, out: Path, *, overwrite: bool = False, with_legacy: bool = False) -> str:
    """Write an evaluation into a new folder; the text of its evaluation.json.

    Raises `OutputError` when `out` exists (without `overwrite`) or cannot be written.
    """
    overview = Overview.of(evaluation)
    text = json.dumps(record(overview, with_legacy=with_legacy), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    lead, made = headline(evaluation), tables(overview, with_legacy=with_legacy)
    with new_folder(out, marker=MARKER, overwrite=overwrite) as folder:
        (folder / MARKER).write_text(text, encoding="utf-8")
        (folder / "cases.csv").write_text(cases_csv(evaluation), encoding="utf-8", newline="")
        (folder / "tables.md").write_text(markdown(lead, made), encoding="utf-8")
        (folder / "tables.html").write_text(html(lead, made, pictures(evaluation)), encoding="utf-8")
    return text


def record(overview: Overview, *, with_legacy: bool = False) -> dict[str, object]:
    """Everything as plain values for JSON; null for what is not defined."""
    evaluation = overview.evaluation
    told: dict[str, object] = {
        "software": f"strokelens {__version__}",
        "disclaimer": RESEARCH_USE,
        "models": list(evaluation.models),
        "groups": list(evaluation.groups),
        "classes": list(evaluation.classes),
        "simulated": evaluation.simulated,
        "complete": evaluation.complete,
        "predictions_without_case": {name: list(found) for name, found in evaluation.strangers.items()},
        "summaries": [_plain(asdict(cell)) for cell in overview.cells],
        "volumes": [_plain(asdict(each)) for each in overview.agreements],
        "comparisons": [_plain(asdict(each)) for each in overview.comparisons],
        "cases": [_case(row) for row in evaluation.rows],
    }
    if with_legacy:
        told["legacy"] = [_plain(asdict(cell)) for cell in legacy.cells(evaluation)]
    return told


def cases_csv(evaluation: Evaluation) -> str:
    """One line a model, case and class with every score; an empty cell for what is not defined.

    A case without scores has one line, with its failure.
    """
    names = list(dict.fromkeys(name for row in evaluation.rows for each in row.scores.values() for name in each.values))
    counts = ["tp", "fp", "fn", "tn"]
    head = ["model", "case", "person", "group", "simulated", "class", "truth_ml", "prediction_ml", *counts, *names]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, "failures"])
    for row in evaluation.rows:
        known = [row.model, row.case_id, row.person, row.group or "", str(row.simulated).lower()]
        failures = "; ".join(f"{failure.code}: {failure.message}" for failure in row.failures)
        for name, scores in row.scores.items():
            volumes, counted = row.volumes[name], scores.counts
            numbers = [volumes.truth_ml, volumes.prediction_ml, counted.tp, counted.fp, counted.fn, counted.tn]
            values = [scores.values.get(each) for each in names]
            writer.writerow([*known, name, *map(_cell, numbers), *map(_cell, values), failures])
        if not row.scores:
            writer.writerow([*known, *[""] * (len(head) - len(known)), failures])
    return text.getvalue()


def _case(row: Row) -> dict[str, object]:
    classes = {
        name: {
            "truth_ml": _number(row.volumes[name].truth_ml),
            "prediction_ml": _number(row.volumes[name].prediction_ml),
            "counts": asdict(scores.counts),
            "scores": {key: _number(value) for key, value in scores.values.items()},
        }
        for name, scores in row.scores.items()
    }
    return {
        "model": row.model,
        "case": row.case_id,
        "person": row.person,
        "group": row.group,
        "simulated": row.simulated,
        "classes": classes,
        "failures": [asdict(failure) for failure in row.failures],
    }


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """The same with null for NaN, at any depth, and `class` for `name`, which is a word of Python."""
    return {
        "class" if key == "name" else key: _plain(value) if isinstance(value, dict) else _number(value)
        for key, value in values.items()
    }


def _number(value: object) -> object:
    if not isinstance(value, float):
        return value
    return round(value, 6) if isfinite(value) else None


def _cell(value: float | None) -> str:
    return "" if value is None or not isfinite(value) else f"{value:.6g}"
