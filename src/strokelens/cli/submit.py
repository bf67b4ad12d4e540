"""`strokelens submit`: predictions → the files that the ISLES 2017 challenge takes."""

from pathlib import Path
from typing import Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import counted, loudness, say


def submit(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="The folder that `strokelens predict` wrote.")
    ],
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="The challenge's folder of those cases.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    description: Annotated[
        str,
        typer.Option("--description", metavar="TEXT", help="Between SMIR. and the id; {case} is the case's name."),
    ] = "strokelens_{case}",
    split: options.SplitFile = None,
    part: options.Part = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if submit wrote it.")] = False,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Write each prediction as SMIR.<description>.<MTT id>.nii on the grid of its ADC, and read it again.

    OUT gets the files and submission.json, with Dice where the truth is there. Exit code 1 if a case could not be
    written; the others are. Research use only; not a medical device.
    """
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.cohorts.learned import flattered, learned_from
    from strokelens.flags import RESEARCH_USE
    from strokelens.submission import content_of, text_of
    from strokelens.submission import submit as submit_all

    loudness(verbose=verbose, quiet=quiet)
    opened = open_cohort(cohort, None)
    entries = None if split is None and part is None else options.part_of(opened, split, part)[0]
    cases = submit_all(predictions, opened, out, entries=entries, description=description, overwrite=overwrite)
    done = list(counted(f"submitting {cohort.name}", cases, total=len(opened if entries is None else entries)))
    failed = [one for one in done if one.failure is not None]
    if json:
        typer.echo(text_of(content_of(done, description)), nl=False)
    else:
        for one in failed:
            say(f"{one.case_id}: {one.failure}")
        scored = [one.dice for one in done if one.dice is not None and one.dice == one.dice]
        mean = f"; mean Dice {sum(scored) / len(scored):.3f} of {len(scored)} with truth" if scored else ""
        learned = learned_from(predictions) & {one.case_id for one in done if one.dice is not None}
        if note := flattered(len(learned), len(scored)):
            say(f"WARNING: {note}")
        say(f"{out}: {len(done) - len(failed)} of {len(done)} cases written{mean}. {RESEARCH_USE}")
    if failed:
        raise typer.Exit(1)
