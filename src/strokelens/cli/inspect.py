"""`strokelens inspect`: what is in a cohort, and what is wrong with it."""

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from strokelens.cli import options
from strokelens.cli.progress import counted, loudness, say, talkative

if TYPE_CHECKING:
    from strokelens.cohorts.inspection import Inspection, Row


def inspect(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="The folder of a cohort, of any layout.")],
    layout: Annotated[
        str | None, typer.Option("--layout", metavar="NAME", help="How it is laid out, if that is not recognised.")
    ] = None,
    voxels: Annotated[
        bool, typer.Option("--voxels", help="Read every image too: damage, units, labels, empty truths.")
    ] = False,
    resample: Annotated[
        bool, typer.Option("--resample", help="Judge cases as they are read with --resample: on one straight grid.")
    ] = False,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Tell what a cohort holds, case by case, and what is missing or broken; nothing is changed.

    Exit code 1 if a case cannot be used. Layouts: ctp_slices, isles2017, isles2022, isles2024, bids, nnunet,
    grand_challenge, dicom, nifti.
    """
    from strokelens.cohorts import inspection
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.flags import RESEARCH_USE

    loudness(verbose=verbose, quiet=quiet)
    opened = open_cohort(cohort, layout, resample=resample)
    look = inspection.by_voxels if voxels else inspection.by_headers
    found = inspection.inspect(opened, look, counted(f"inspecting {cohort.name}", opened))
    if json:
        typer.echo(dumps(found.record(), indent=2, ensure_ascii=False))
    elif talkative():
        Console(highlight=False).print(_table(found), *(Text(f"note: {note}") for note in opened.notes), sep="\n")
        say(f"{_summary(found)} {RESEARCH_USE}")
    if found.summary["unusable"]:
        raise typer.Exit(1)


def _table(found: "Inspection") -> Table:
    """One row a case; what makes it unusable is red."""
    table = Table(title=f"{found.cohort.layout}: {found.cohort.folder}", title_justify="left", pad_edge=False)
    for name in ("case", "group", "channels", "truth", "problems"):
        table.add_column(name, overflow="fold")
    for row in found.rows:
        entry = row.entry
        truth = "–" if entry.truth is None else ", ".join(entry.truth.scheme.names[1:])
        cells = (_name(row, found), entry.group or "–", ", ".join(entry.channels) or "–", truth)
        table.add_row(*(Text(cell) for cell in cells), _problems(row))
    return table


def _name(row: "Row", found: "Inspection") -> str:
    """The id, and the folder where the id does not lead to it."""
    folder = row.entry.folder.name
    return (
        f"{row.entry.id} ({folder})"
        if row.entry.id.startswith("case-") and folder != found.cohort.folder.name
        else row.entry.id
    )


def _problems(row: "Row") -> Text:
    lines = [
        Text(f"{problem.code}: {problem.message}", style="red" if problem.unusable else "yellow")
        for problem in row.problems
    ]
    return Text("\n").join(lines)


def _summary(found: "Inspection") -> str:
    counts = found.summary
    cases = f"{counts['cases']} {'case' if counts['cases'] == 1 else 'cases'}"
    persons = f"{counts['persons']} {'person' if counts['persons'] == 1 else 'persons'}"
    return (
        f"{cases} of {persons}: {counts['usable']} usable, {counts['unusable']} unusable, "
        f"{counts['with_remarks']} with remarks; {counts['with_truth']} with truth."
    )
