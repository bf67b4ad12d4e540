"""What is wrong with a cohort, case by case: from headers alone, or from voxels too; and between cases."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from strokelens import __version__
from strokelens.case import SERIES, Case
from strokelens.cohorts.cohort import Cohort, Entry, Problem
from strokelens.cohorts.copies import Copy, copies, persons
from strokelens.cohorts.slice_reader import NO_BAR
from strokelens.cohorts.study import ORDER
from strokelens.errors import GridError, LabelError, SeriesError, StrokelensError, UnitError
from strokelens.flags import RESEARCH_USE
from strokelens.labels import BACKGROUND, BRAIN

Look = Callable[[Entry], tuple[Problem, ...]]
"""What is wrong with one case by itself."""

_REFUSED = (OSError, MemoryError)
_CODE_OF: tuple[tuple[type[StrokelensError], str], ...] = (
    (UnitError, "units"),
    (LabelError, "labels"),
    (GridError, "other-grid"),
)


@dataclass(frozen=True, eq=False)
class Row:
    """A case and its problems."""

    entry: Entry
    problems: tuple[Problem, ...]

    @property
    def usable(self) -> bool:
        """Whether it can be read, as far as was looked."""
        return not any(problem.unusable for problem in self.problems)


@dataclass(frozen=True, eq=False)
class Inspection:
    """A cohort, a row for each case, and the person of each case: one where cases are copies of each other."""

    cohort: Cohort
    rows: tuple[Row, ...]
    persons: Mapping[str, str]

    @property
    def summary(self) -> dict[str, int]:
        """How many cases, persons, usable and unusable ones, cases with truth, and usable ones with remarks."""
        return {
            "cases": len(self.rows),
            "persons": len(set(self.persons.values())),
            "usable": sum(row.usable for row in self.rows),
            "unusable": sum(not row.usable for row in self.rows),
            "with_truth": sum(row.entry.truth is not None for row in self.rows),
            "with_remarks": sum(row.usable and bool(row.problems) for row in self.rows),
        }

    def record(self) -> dict[str, object]:
        """Everything as plain values for JSON; folders are relative to the cohort's."""
        return {
            "software": f"strokelens {__version__}",
            "layout": self.cohort.layout,
            "summary": self.summary,
            "notes": list(self.cohort.notes),
            "cases": [_record(row, self.persons[row.entry.id], self.cohort.folder) for row in self.rows],
            "disclaimer": RESEARCH_USE,
        }


def by_headers(entry: Entry) -> tuple[Problem, ...]:
    """What names, tables and headers tell."""
    try:
        return entry.look()
    except _REFUSED as error:
        return (*entry.problems, _refusal(error))


def by_voxels(entry: Entry) -> tuple[Problem, ...]:
    """What reading the case tells too: damage, units, labels out of scheme, an empty truth."""
    problems = by_headers(entry)
    if any(problem.unusable for problem in problems):
        return problems
    try:
        doubts = _doubts(entry.read())
        if len(entry.files) > 1:  # a series beside maps is large, and comes alone
            doubts += [each for name in entry.files if name in SERIES for each in _series(entry, name)]
    except StrokelensError as error:
        code = next((code for kind, code in _CODE_OF if isinstance(error, kind)), "unreadable")
        return (*problems, Problem(code, str(error), unusable=True))
    except _REFUSED as error:
        return (*problems, _refusal(error))
    return (*problems, *doubts)


def _series(entry: Entry, name: str) -> list[Problem]:
    """What is wrong with a series beside maps; where only its times are not known, the maps can be used."""
    try:
        return _doubts(replace(entry, truth=None).read(channels=(name,)))
    except SeriesError as error:
        return [Problem("frames", str(error))]


def _refusal(error: OSError | MemoryError) -> Problem:
    """What the system did not give to one case, which is no end of the batch."""
    if isinstance(error, MemoryError):
        return Problem("unreadable", "the case needs more memory than this machine can give", unusable=True)
    return Problem("unreadable", f"the system cannot read it: {error.strerror or type(error).__name__}", unusable=True)


def inspect(cohort: Cohort, look: Look = by_headers, entries: Iterable[Entry] | None = None) -> Inspection:
    """A row for each case of a cohort: what `look` tells of it, and what comparing it with the others does.

    `entries` are the cohort's, where the caller wants to count them as they are looked at.
    """
    own = {entry.id: look(entry) for entry in (cohort if entries is None else entries)}
    same = tuple(copies(cohort))
    between = _between(cohort, same)
    rows = tuple(Row(entry, own[entry.id] + tuple(between[entry.id])) for entry in cohort)
    return Inspection(cohort, rows, persons(cohort, same))


def _doubts(case: Case) -> list[Problem]:
    """What is doubtful in a case that could be read."""
    problems = []
    if case.truth is not None:
        marked = [label.name for label in case.truth.scheme if label not in (BACKGROUND, BRAIN)]
        if not case.truth.mask(*marked).any() and case.group != "WIS":  # these have nothing to mark
            problems.append(Problem("empty-truth", f"nothing is marked in the truth ({', '.join(marked)})"))
    for name, source in case.sources.items():
        if f"{name} with a median of" in source.note:
            problems.append(Problem("units", source.note))
        if NO_BAR in source.note:
            problems.append(Problem("doubt", source.note))
    return problems


def _between(cohort: Cohort, same: Iterable[tuple[Entry, Copy]]) -> Mapping[str, list[Problem]]:
    """What comparing the cases tells of each."""
    problems: dict[str, list[Problem]] = defaultdict(list)
    for entry, problem in (*_lacks(cohort), *_persons(cohort)):
        problems[entry.id].append(problem)
    for entry, copy in same:
        said = f"its {copy.channel} is that of {copy.first.id}, byte for byte: one case under two names?"
        problems[entry.id].append(Problem("copy", said))
    return problems


def _lacks(cohort: Cohort) -> Iterable[tuple[Entry, Problem]]:
    """Channels and truths that most cases have and some have not."""
    entries = [entry for entry in cohort if entry.usable]
    counts = Counter(name for entry in entries for name in entry.files)
    usual = [name for name in ORDER if counts[name] > len(entries) / 2]
    truths = sum(entry.truth is not None for entry in entries)
    for entry in entries:
        lacking = [name for name in usual if name not in entry.files]
        if lacking:
            yield entry, Problem("fewer-channels", f"no {', '.join(lacking)}, which most cases have")
        if entry.truth is None and truths > len(entries) / 2:
            yield entry, Problem("no-truth", f"no truth, which {truths} of {len(entries)} cases have")


def _persons(cohort: Cohort) -> Iterable[tuple[Entry, Problem]]:
    """Persons who are there more than once."""
    originals: dict[str, Entry] = {}
    for entry in sorted(cohort, key=lambda entry: entry.mirrored):
        first = originals.setdefault(entry.person, entry)
        if entry.mirrored:
            of = f"of {first.id}" if first is not entry else "whose original is not here"
            yield entry, Problem("mirrored", f"a mirrored copy {of}: never train on one and test on the other")
        elif first is not entry:
            yield entry, Problem("repeat", f"the same person as {first.id}: keep both in one part of a split")


def _record(row: Row, person: str, folder: Path) -> dict[str, object]:
    entry = row.entry
    inside = entry.folder.is_relative_to(folder)
    return {
        "id": entry.id,
        "person": person,
        "group": entry.group,
        "folder": entry.folder.relative_to(folder).as_posix() if inside else entry.folder.as_posix(),
        "channels": list(entry.channels),
        "truth": None if entry.truth is None else list(entry.truth.scheme.names),
        "clinical": dict(entry.clinical),
        "mirrored": entry.mirrored,
        "usable": row.usable,
        "problems": [
            {"code": problem.code, "message": problem.message, "unusable": problem.unusable} for problem in row.problems
        ],
    }
