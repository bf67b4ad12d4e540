"""The table `participants.tsv`: groups and clinical values, one row a participant, as BIDS has it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from strokelens.cohorts.cohort import Problem
from strokelens.cohorts.identity import own_label
from strokelens.cohorts.scores import Scores, read_scores
from strokelens.cohorts.written import Written

PARTICIPANTS = "participants.tsv"
"""The name of the table."""


def participants(path: Path) -> Scores | None:
    """The table by participant, None where there is none; a number alone is that of `sub-<number>`."""
    return read_scores(path, _subject, key="participant_id") if path.is_file() else None


def _subject(cell: str) -> str | None:
    """Who a cell names, by the rule of ids."""
    if re.fullmatch(r"[A-Za-z0-9]+", cell):
        return f"sub-{own_label(cell)}"
    if match := re.fullmatch(r"sub-([A-Za-z0-9]+)", cell):
        return f"sub-{own_label(match[1])}"
    return cell if re.fullmatch(r"(?:case|sim)-[0-9a-f]+", cell) else None


def read_participants(path: Path) -> tuple[Mapping[str, Mapping[str, str]], tuple[Problem, ...]]:
    """The rows of the table by participant, and what is wrong with it; a cell without a value is left out."""
    table = participants(path)
    if table is None:
        return {}, ()
    rows = {person: found[0] for person, found in table.rows.items()}
    told = {
        person: {name: cell for name, cell in row.items() if cell.casefold() != "n/a"} for person, row in rows.items()
    }
    return told, table.problems


def write_participants(folder: Path, rows: Sequence[Written]) -> None:
    """Write the table of cases that were written; a session is no participant of its own."""
    lines = ["participant_id\tgroup\tage\tnihss"]
    for row in rows:
        cells = (row.clinical.get(name) for name in ("age_years", "nihss"))
        lines.append("\t".join([row.name.split("_")[0], row.group or "n/a", *map(_cell, cells)]))
    (folder / PARTICIPANTS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(value: float | None) -> str:
    return "n/a" if value is None else f"{value:g}"
