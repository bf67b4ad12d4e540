"""`strokelens train`: a setting and a cohort → a model."""

from pathlib import Path
from typing import Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import loudness, say, steps


def train(
    setting: Annotated[
        str, typer.Argument(metavar="SETTINGS", help="A JSON file, or a bundled name: `strokelens settings list`.")
    ],
    data: options.Data,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="The folder of the run.")],
    change: options.Change = None,
    layout: options.LayoutName = None,
    split: options.TrainedSplit = None,
    pretrained: options.Pretrained = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    devices: options.Devices = "auto",
    nodes: Annotated[int, typer.Option("--nodes", min=1, metavar="N", help="Machines that train together.")] = 1,
    cache: options.Cache = None,
    workers: options.Workers = None,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a network on a cohort: stage after stage, each until it no longer improves.

    RUN gets model/ (weights and card), history.csv and .png, split.json, TensorBoard's files, and what --resume needs.
    The same settings, seed and machine give the same weights. Exit code 1 if a case could not be used; the others were.
    """
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.flags import RESEARCH_USE
    from strokelens.settings.changing import changed
    from strokelens.settings.reading import read_settings
    from strokelens.training.course import train as train_network
    from strokelens.training.machine import Machine
    from strokelens.training.run import is_leader

    loudness(verbose=verbose, quiet=quiet)
    settings = changed(read_settings(setting), options.changes(change, split=split, pretrained=pretrained))
    cohort = open_cohort(data, layout)
    try:
        with steps(f"training {settings.name}") as done:
            trained = train_network(
                settings,
                cohort,
                out,
                machine=Machine.told(devices, nodes=nodes),
                cache=cache,
                workers=workers,
                resume=resume,
                told=done,
            )
    except KeyboardInterrupt:
        if (out / "run.json").is_file() and is_leader():
            typer.echo(f"{out} is kept; the same command with --resume goes on with it", err=True)
        raise
    if not is_leader():  # the first process tells all; one that ends otherwise would end that
        return
    if json:  # which names the cases that were not used, too
        typer.echo((out / "run.json").read_text(encoding="utf-8"), nl=False)
    else:
        for case in trained.refused:
            say(f"{case.case_id}: not used: {case.message}")
        card = trained.model.card
        told = {name.replace("_", " "): f"{value:.3f}" for name, value in card.scores.items()}
        told["epoch"] = f"{card.scores['epoch']:.0f}"
        scores = ", ".join(f"{name} {value}" for name, value in told.items())
        if card.pretrained_sha256 is not None:
            say(f"the encoders began with weights of SHA-256 {card.pretrained_sha256}")
        say(f"{out / 'model'}: {trained.model.name}, {card.trained_on}; {scores}. {RESEARCH_USE}")
    if trained.refused:
        raise typer.Exit(1)
