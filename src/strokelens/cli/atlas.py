"""`strokelens atlas`: a picture of each case of a cohort, with all maps, truth and prediction."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import counted, loudness, say

if TYPE_CHECKING:
    from strokelens.cohorts.cohort import Entry
    from strokelens.cohorts.predictions import Predictions

MARKER = "atlas.json"


def atlas(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="The folder of a cohort, of any layout.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    predictions: Annotated[
        Path | None, typer.Option("--predictions", metavar="FOLDER", help="What `strokelens predict` wrote of them.")
    ] = None,
    case: Annotated[
        list[str] | None, typer.Option("--case", metavar="ID", help="A case; repeatable. All, if none is told.")
    ] = None,
    layout: options.LayoutName = None,
    slices: Annotated[int, typer.Option("--slices", min=1, max=24, metavar="N", help="Slices a case, at most.")] = 4,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if atlas wrote it.")] = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw each case: all of its maps on the slices where the lesion is largest, with truth and prediction outlined.

    OUT gets a PNG a case. Exit code 1 if a case could not be drawn; the others are. Research use only; not a medical
    device.
    """
    from strokelens.cohorts.encode import write_json
    from strokelens.cohorts.folder import check_apart, new_folder
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.cohorts.predictions import find_predictions
    from strokelens.errors import CohortError, hint
    from strokelens.flags import RESEARCH_USE

    loudness(verbose=verbose, quiet=quiet)
    opened = open_cohort(cohort, layout)
    check_apart(out, cohort)
    known = {entry.id: entry for entry in opened}
    strange = next((each for each in case or () if each not in known), None)
    if strange is not None:
        raise CohortError(f"{cohort} has no case {strange!r}; {hint(strange, known)}")
    entries = [known[each] for each in case] if case else list(opened)
    found = None if predictions is None else find_predictions(predictions, opened)
    with new_folder(out, marker=MARKER, overwrite=overwrite) as folder:
        drawn = _drawn(entries, found, folder, slices)
        failures = dict(counted(f"drawing {cohort.name}", drawn, total=len(entries)))
        told = {name: why for name, why in failures.items() if why}
        write_json(folder / MARKER, {"software": "strokelens", "disclaimer": RESEARCH_USE, "failures": told})
    for name, why in told.items():
        say(f"{name}: {why}")
    say(f"{out}: {len(entries) - len(told)} of {len(entries)} cases drawn. {RESEARCH_USE}")
    if told:
        raise typer.Exit(1)


def _drawn(entries: "list[Entry]", found: "Predictions | None", folder: Path, slices: int) -> Iterator[tuple[str, str]]:
    """Draw one case after the other; its id, and why it could not be drawn."""
    from strokelens.errors import StrokelensError
    from strokelens.prediction.plates import plate_of
    from strokelens.report.atlas import atlas as drawn
    from strokelens.report.figures import figure_png

    for entry in entries:
        prediction = None if found is None else found.entries.get(entry.id)
        lacks = found is not None and prediction is None
        try:
            (folder / f"{entry.id}.png").write_bytes(figure_png(drawn(plate_of(entry, prediction, most_slices=slices))))
        except (StrokelensError, OSError) as error:
            yield entry.id, " ".join(str(error).split())
        else:
            yield entry.id, "drawn without a prediction, as there is none" if lacks else ""
