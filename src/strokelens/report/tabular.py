"""Tables as text: written as Markdown, or as one HTML file that refers to nothing outside of itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from strokelens import __version__
from strokelens.flags import RESEARCH_USE
from strokelens.report.tiles import data_uri


@dataclass(frozen=True)
class Table:
    """A title, a note below it, the names of the columns, and rows of as many cells, in which a line feed may be.

    The first `keys` cells name the row; the others are numbers, unless they are `words`. A table that is `folded` is
    for looking up: a page shows it when it is asked for.
    """

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: int = 1
    words: bool = False
    folded: bool = False

    @property
    def changes(self) -> tuple[int, ...]:
        """For each row the first of its keys that differs from the row above; `keys` where none does.

        >>> Table("T", "", ("a", "b", "n"), (("x", "y", "1"), ("x", "z", "2"), ("x", "z", "3")), keys=2).changes
        (0, 1, 2)
        """
        pairs = zip((None, *self.rows), self.rows, strict=False)
        return tuple(
            0 if above is None else next((at for at in range(self.keys) if above[at] != row[at]), self.keys)
            for above, row in pairs
        )


@dataclass(frozen=True)
class Picture:
    """A figure as PNG, and what it shows in words."""

    title: str
    note: str
    png: bytes


def markdown(lead: str, tables: Sequence[Table], *, title: str = "Evaluation") -> str:
    """The tables as a page of Markdown.

    >>> print(markdown("Two cases.", [Table("Sizes", "In ml.", ("case", "size"), (("a", "3"),))]))
    # Evaluation
    <BLANKLINE>
    Two cases. Research use only; not a medical device.
    <BLANKLINE>
    ## Sizes
    <BLANKLINE>
    In ml.
    <BLANKLINE>
    | case | size |
    | --- | --- |
    | a | 3 |
    <BLANKLINE>
    """
    parts = [f"# {title}\n\n{lead} {RESEARCH_USE}\n"]
    for table in tables:
        lines = [table.header, tuple("---" for _ in table.header), *table.rows]
        rows = "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)
        parts.append(f"## {table.title}\n\n{table.note}\n\n{rows}\n")
    return "\n".join(parts)


def html(lead: str, tables: Sequence[Table], pictures: Sequence[Picture] = (), *, title: str = "Evaluation") -> str:
    """The tables, and pictures below them, as one HTML page."""
    environment = Environment(
        loader=PackageLoader("strokelens.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("tables.html").render(
        title=title,
        lead=lead,
        tables=tables,
        pictures=[(picture, data_uri(picture.png, "png")) for picture in pictures],
        research_use=RESEARCH_USE,
        version=__version__,
    )


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
