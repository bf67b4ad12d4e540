"""`strokelens predict`: a trained network for every case of a cohort."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import counted, loudness, say


class PrecisionName(StrEnum):
    """How exactly networks compute."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The folder of a model, or of the run that made it.")],
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="The folder of a cohort, of any layout.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; what it has of the same is kept.")],
    also: Annotated[
        list[Path] | None,
        typer.Option("--also", metavar="MODEL", help="Another model, to average with; repeatable."),
    ] = None,
    layout: options.LayoutName = None,
    split: options.SplitFile = None,
    part: options.Part = None,
    mirrored: Annotated[
        bool, typer.Option("--mirrored/--no-mirrored", help="Average with the left-right mirrored view.")
    ] = False,
    dropout: Annotated[
        int, typer.Option("--dropout", min=0, max=1000, metavar="N", help="Average N samples of dropout.")
    ] = 0,
    precision: Annotated[
        PrecisionName, typer.Option("--precision", help="bfloat16 is faster where the processor has it.")
    ] = PrecisionName.FLOAT32,
    device: options.Device = "auto",
    batch: Annotated[int, typer.Option("--batch", min=1, metavar="N", help="Slices at once.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the dropout.")] = 0,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write the probability of each class, for `evaluate`.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Write the entropy, and how far members disagree.")
    ] = False,
    heatmaps: Annotated[bool, typer.Option("--heatmaps", help="Draw the probability of each class.")] = False,
    png: Annotated[
        bool, typer.Option("--png", help="Draw classes, heat maps, truth and its outline, slice by slice.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 2, not 1, if a case could not be predicted.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew in OUT, if predict wrote it.")] = False,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Predict the cases of a cohort; no truth is needed.

    OUT gets a folder a case with segmentation.nii.gz, and predictions.json. Run again, it goes on where it stopped.
    Exit code 1 if a case could not be predicted; the others are done. Research use only; not a medical device.
    """
    from strokelens.cohorts.folder import check_apart
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.errors import shortened
    from strokelens.flags import RESEARCH_USE
    from strokelens.prediction.batch import Plan, content_of, grave_of, predict_cohort, text_of
    from strokelens.prediction.networks import How
    from strokelens.prediction.outputs import Outputs

    loudness(verbose=verbose, quiet=quiet)
    for source in (model, cohort, *(also or ())):
        check_apart(out, source)
    how = How(mirrored, dropout, precision.value, batch, seed)
    plan = Plan.of([model, *(also or ())], how, Outputs(probabilities, uncertainty, heatmaps, png), device=device)
    opened = open_cohort(cohort, layout)
    entries, what = options.part_of(opened, split, part)
    cases = predict_cohort(entries, plan, out, part=what, overwrite=overwrite)
    told = list(counted(f"predicting {cohort.name}", cases, total=len(entries)))
    failed = [done for done in told if done.failure is not None]
    if json:
        typer.echo(text_of(content_of(plan, told)), nl=False)
    else:
        for done in failed:
            say(f"{done.case_id}: {done.failure}")
        for message, names in grave_of(told).items():
            say(f"WARNING: {message} ({shortened(names, most=3)})")
        by = ", ".join(dict.fromkeys(each.name for each in plan.models))
        kept = sum(done.kept for done in told)
        there = f", of which {kept} were there" if kept else ""
        say(f"{out}: {len(told) - len(failed)} of {len(told)} cases predicted by {by}{there}. {RESEARCH_USE}")
    if failed:
        raise typer.Exit(2 if strict else 1)
