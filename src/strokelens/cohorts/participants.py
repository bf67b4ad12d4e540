"""The table `participants.tsv`: groups and clinical values, one row a participant, as BIDS has it."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from strokelens.cohorts.clinical_table import KNOWN_GROUPS, ClinicalTable, read_clinical_table
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.identity import own_label
from strokelens.cohorts.written import Written
from strokelens.errors import shortened

PARTICIPANTS = "participants.tsv"
"""The name of the table."""


def participants(path: Path) -> ClinicalTable | None:
    """The table by participant, None where there is none; a number alone is that of `sub-<number>`."""
    return read_clinical_table(path, _subject, key="participant_id") if path.is_file() else None


def _subject(cell: str) -> str | None:
    """Who a cell names, by the rule of ids."""
    if re.fullmatch(r"[A-Za-z0-9]+", cell):
        return f"sub-{own_label(cell)}"
    if match := re.fullmatch(r"sub-([A-Za-z0-9]+)", cell):
        return f"sub-{own_label(match[1])}"
    return cell if re.fullmatch(r"(?:case|sim)-[0-9a-f]+", cell) else None


def with_participant(entry: Entry, people: ClinicalTable, name: str) -> Entry:
    """The entry with what the table says of the participant `name`."""
    values, problems = people.of(name)
    return replace(entry, clinical=values, group=people.group(name), problems=entry.problems + problems)


def participants_noted(people: ClinicalTable, here: Iterable[str]) -> tuple[str, ...]:
    """Groups of who is here that are none of the known ones, and rows of nobody."""
    names = set(here)
    counts = Counter(group for name in names if (group := people.group(name)) is not None)
    others = [f"{group} ({count})" for group, count in sorted(counts.items()) if group not in KNOWN_GROUPS.values()]
    known = ", ".join(KNOWN_GROUPS.values())
    notes = []
    if others:
        notes.append(f"{PARTICIPANTS} has groups other than {known}: {shortened(others)}; splits part by them")
    if rows := people.strangers(names):
        notes.append(f"{PARTICIPANTS} has rows of nobody here: {shortened(rows)}")
    return tuple(notes)


def write_participants(folder: Path, rows: Sequence[Written]) -> None:
    """Write the table of cases that were written; a session is no participant of its own."""
    lines = ["participant_id\tgroup\tage\tnihss"]
    for row in rows:
        cells = (row.clinical.get(name) for name in ("age_years", "nihss"))
        lines.append("\t".join([row.name.split("_")[0], row.group or "n/a", *map(_cell, cells)]))
    (folder / PARTICIPANTS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(value: float | None) -> str:
    return "n/a" if value is None else f"{value:g}"
