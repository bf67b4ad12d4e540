"""A table of clinical values by person, and what is doubtful in it: who is there twice, or not at all, or nobody."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from strokelens.cohorts.cohort import Problem
from strokelens.cohorts.tables import MISSING, clinical, doubts, read_table
from strokelens.errors import FileError

Values = Mapping[str, float | str]
"""The clinical values of one person under our names."""


_SHOWN = 20  # letters of a name
KNOWN_GROUPS: Mapping[str, str] = MappingProxyType({name.casefold(): name for name in ("LVO", "Non-LVO", "WIS")})
"""The groups that results are told by, by their names in lower case; any other word is a stratum of its own."""


@dataclass(frozen=True)
class ClinicalTable:
    """The rows of the table `name` by person, how many name nobody, and why it cannot be read."""

    name: str
    rows: Mapping[str, list[Mapping[str, str]]] = field(default_factory=dict)
    unknown: int = 0
    problems: tuple[Problem, ...] = ()

    def of(self, person: str) -> tuple[Values, tuple[Problem, ...]]:
        """The values of a person, and what is doubtful in them; rows that contradict each other give none."""
        if self.problems:
            return {}, self.problems
        rows = self.rows.get(person, [])
        if not rows:
            return {}, (Problem("clinical", f"{self.name} has no row of {person}; add it"),)
        values = [clinical(row) for row in rows]
        if not self._agree(rows):
            said = f"{self.name} has {len(rows)} rows of {person} that differ; none is taken; correct the table"
            return {}, (Problem("clinical", said),)
        return values[0], tuple(Problem("clinical", f"{self.name}: {doubt}") for doubt in doubts(rows[0]))

    def group(self, person: str) -> str | None:
        """What the column `group` says of a person."""
        rows = self.rows.get(person, [])
        return group_named(rows[0].get("group", "")) if rows and self._agree(rows) else None

    @staticmethod
    def _agree(rows: Sequence[Mapping[str, str]]) -> bool:
        return all((clinical(row), row.get("group")) == (clinical(rows[0]), rows[0].get("group")) for row in rows)

    def strangers(self, persons: Iterable[str]) -> tuple[str, ...]:
        """Who has rows and is not among these persons; rows without an id are counted, as they may hold names."""
        without = (f"{self.unknown} without an id",) if self.unknown else ()
        return (*without, *(name[:_SHOWN] for name in sorted(self.rows.keys() - set(persons))))


def group_named(said: str) -> str | None:
    """The group that a word names, in our spelling where it is a known one.

    >>> group_named("lvo"), group_named("control"), group_named("unknown")
    ('LVO', 'control', None)
    """
    said = said.strip()
    return None if said.casefold() in MISSING else KNOWN_GROUPS.get(said.casefold(), said[:40])


def told_of(name: str, tables: Iterable[ClinicalTable]) -> tuple[Values, tuple[Problem, ...]]:
    """The values of a person in all tables that have rows of them; a value in which tables differ is none.

    Tables that cannot be read give their problem only.
    """
    problems: list[Problem] = []
    said: dict[str, dict[str, float | str]] = defaultdict(dict)  # by the name of the value, then by table
    for table in tables:
        if table.problems or name in table.rows:
            values, more = table.of(name)
            problems += more
            for value_name, value in values.items():
                said[value_name][table.name] = value
    for value_name, by_table in said.items():
        if len(set(by_table.values())) > 1:
            shown = " and ".join(f"{str(value).removesuffix('.0')} in {table}" for table, value in by_table.items())
            problems.append(Problem("clinical", f"{value_name} is {shown}; none is taken; correct the tables"))
    agreed = {each: next(iter(found.values())) for each, found in said.items() if len(set(found.values())) == 1}
    return agreed, tuple(problems)


def read_clinical_table(
    path: Path,
    person_of: Callable[[str], str | None],
    *,
    key: str = "",
    columns: Callable[[Sequence[str]], Sequence[str]] = list,
) -> ClinicalTable:
    """The table in a file; `person_of` tells who the cell in the column `key` or the first is, None for nobody.

    `columns` gives our names of columns, by their titles; an empty one is passed over.
    """
    try:
        header, *table = read_table(path)
    except FileError as error:
        return ClinicalTable(path.name, problems=(Problem("clinical", str(error)),))
    if key and key not in header:
        return ClinicalTable(path.name, problems=(Problem("clinical", f"{path.name} has no column {key}; correct it"),))
    names, place = columns(header), header.index(key) if key else 0
    rows: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    unknown = 0
    for cells in table:
        cell = cells[place] if place < len(cells) else ""
        person = person_of(cell)
        if person is None:
            unknown += 1
        else:
            rows[person].append({name: cell for name, cell in zip(names, cells, strict=False) if name})
    return ClinicalTable(path.name, dict(rows), unknown)
