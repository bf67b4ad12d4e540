"""`strokelens epochs`: every snapshot of a training on the same cases."""

from pathlib import Path
from typing import Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import loudness, say, steps


def epochs(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a training with training.snapshots.")],
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="The folder of a cohort with truth.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; what it has of the same is kept.")],
    layout: options.LayoutName = None,
    split: options.SplitFile = None,
    part: options.Part = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Predict and score cases by every snapshot of a run, and by the model that it kept.

    OUT gets a folder of predictions an epoch, tables/, by_epoch.csv and by_epoch.png: Dice by epoch, by all three
    definitions. Exit code 1 if a case could not be scored in full; the others are.
    """
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.comparison import TABLES
    from strokelens.epochs import by_epoch
    from strokelens.evaluation.tables import each_failure, headline
    from strokelens.flags import RESEARCH_USE

    loudness(verbose=verbose, quiet=quiet)
    opened = open_cohort(cohort, layout)
    entries, what = options.part_of(opened, split, part)
    known = [entry for entry in entries if entry.truth is not None]
    with steps(f"epochs of {run.name}") as done:
        evaluation, rows = by_epoch(run, opened, known, out, device=device, workers=workers, part=what, told=done)
    for model, case, code, message in each_failure(evaluation):
        say(f"{model}, {case}: {code}: {message}")
    for row in rows:
        name = "kept model" if row.epoch is None else f"epoch {row.epoch}"
        dice = f"Dice {row.dice:.3f}, with 1 added {row.dice_smoothed:.3f}, with 1e-7 below {row.dice_epsilon:.3f}"
        say(f"{name}: {row.name}: {dice}, {row.cases} cases")
    say(f"{out / TABLES / 'tables.md'}: {headline(evaluation)} {RESEARCH_USE}")
    if not evaluation.complete:
        raise typer.Exit(1)
