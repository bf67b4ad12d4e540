"""`strokelens robustness`: how the segmentation by a network changes as its input is disturbed."""

from pathlib import Path
from typing import Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import loudness, say, steps


def robustness(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The folder of a model, or of the run that made it.")],
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="The folder of a cohort, of any layout.")],
    out: options.Out,
    layout: options.LayoutName = None,
    split: options.SplitFile = None,
    part: options.Part = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            "--kinds",
            metavar="NAMES",
            help="blur, diffgen, gaussian, uniform, zeroing, motion, missing, parted by commas; all if not told.",
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, max=1000, metavar="N", help="How often each is drawn for a case.")
    ] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn.")] = 0,
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Disturb what a network sees, and measure Dice with the truth and with its own clean output.

    OUT gets points.csv, robustness.json, robustness.png and tables.md. Exit code 1 if a case could not be done; the
    others are. Research use only; not a medical device.
    """
    from strokelens.cohorts.folder import check_apart, check_out
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.flags import RESEARCH_USE
    from strokelens.prediction.batch import Plan
    from strokelens.robustness.delivery import MARKER, Told, deliver, headline
    from strokelens.robustness.measuring import Asking, classes_of, measured
    from strokelens.robustness.summaries import Robustness

    loudness(verbose=verbose, quiet=quiet)
    names = None if kinds is None else tuple(name.strip() for name in kinds.split(",") if name.strip())
    asking = Asking(repeats=repeats, seed=seed) if names is None else Asking(names, repeats, seed)
    for source in (model, cohort):
        check_apart(out, source)
    check_out(out, marker=MARKER, overwrite=overwrite)
    plan = Plan.of([model], device=device)
    entries, what = options.part_of(open_cohort(cohort, layout), split, part)
    with steps(f"disturbing {cohort.name}") as done:
        cases = tuple(measured([entry for entry in entries if not entry.mirrored], plan, asking, done))
    found = Robustness(cases, classes_of(plan.models[0].scheme), asking.kinds)
    deliver(found, Told(plan, asking, cohort.name, what), out, overwrite=overwrite)
    if json:
        typer.echo((out / MARKER).read_text(encoding="utf-8"), nl=False)
    else:
        for case in found.failed:
            say(f"{case.case_id}: {case.failure}")
        say(f"{out / 'tables.md'}: {headline(found)} {RESEARCH_USE}")
    if found.failed:
        raise typer.Exit(1)
