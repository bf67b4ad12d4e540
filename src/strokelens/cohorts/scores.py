"""A table of clinical values by person, and what is doubtful in it: who is there twice, or not at all, or nobody."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from strokelens.cohorts.cohort import Problem
from strokelens.cohorts.tables import clinical, doubts, read_table
from strokelens.errors import FileError

Values = Mapping[str, float | str]
"""The clinical values of one person under our names."""


@dataclass(frozen=True)
class Scores:
    """The rows of the table `name` by person, the keys of rows that name nobody, and why it cannot be read."""

    name: str
    rows: Mapping[str, list[Mapping[str, str]]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def of(self, person: str) -> tuple[Values, tuple[Problem, ...]]:
        """The values of a person, and what is doubtful in them; rows that contradict each other give none."""
        if self.problems:
            return {}, self.problems
        rows = self.rows.get(person, [])
        if not rows:
            return {}, (Problem("clinical", f"{self.name} has no row of {person}"),)
        values = [clinical(row) for row in rows]
        if any(each != values[0] for each in values):
            said = f"{self.name} has {len(rows)} rows of {person} that differ; none is taken; correct the table"
            return {}, (Problem("clinical", said),)
        return values[0], tuple(Problem("clinical", f"{self.name}: {doubt}") for doubt in doubts(rows[0]))

    def strangers(self, persons: Iterable[str]) -> tuple[str, ...]:
        """The keys of rows of nobody among these persons."""
        return (*sorted(self.rows.keys() - set(persons)), *self.unknown)


def read_scores(
    path: Path, person_of: Callable[[str], str | None], *, columns: Callable[[Sequence[str]], Sequence[str]] = list
) -> Scores:
    """The table in a file; `person_of` tells who the cell in the first column is, None for nobody.

    `columns` gives our names of columns, by their titles; an empty one is passed over.
    """
    try:
        header, *table = read_table(path)
    except FileError as error:
        return Scores(path.name, problems=(Problem("clinical", str(error)),))
    names = columns(header)
    rows: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    unknown = []
    for cells in table:
        person = person_of(cells[0])
        if person is None:
            unknown.append(cells[0])
        else:
            rows[person].append({name: cell for name, cell in zip(names, cells, strict=False) if name})
    return Scores(path.name, dict(rows), tuple(unknown))
