"""The table `participants.tsv`: groups and clinical values, one row a participant, as BIDS has it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from strokelens.cohorts.cohort import Problem
from strokelens.cohorts.tables import read_rows
from strokelens.cohorts.written import Written
from strokelens.errors import FileError

PARTICIPANTS = "participants.tsv"
"""The name of the table."""


def read_participants(path: Path) -> tuple[Mapping[str, Mapping[str, str]], tuple[Problem, ...]]:
    """The rows of the table by participant, and what is wrong with it; a cell without a value is left out."""
    if not path.is_file():
        return {}, ()
    try:
        rows = read_rows(path)
    except FileError as error:
        return {}, (Problem("clinical", str(error)),)
    return {
        row["participant_id"]: {name: cell for name, cell in row.items() if cell.casefold() != "n/a"}
        for row in rows
        if "participant_id" in row
    }, ()


def write_participants(folder: Path, rows: Sequence[Written]) -> None:
    """Write the table of cases that were written; a session is no participant of its own."""
    lines = ["participant_id\tgroup\tage\tnihss"]
    for row in rows:
        cells = (row.clinical.get(name) for name in ("age_years", "nihss"))
        lines.append("\t".join([row.name.split("_")[0], row.group or "n/a", *map(_cell, cells)]))
    (folder / PARTICIPANTS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(value: float | None) -> str:
    return "n/a" if value is None else f"{value:g}"
