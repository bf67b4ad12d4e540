"""`strokelens crossvalidate`: a setting trained in folds; who is predicted was not seen by the network that does it."""

from pathlib import Path
from typing import Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import loudness, say, steps


def crossvalidate(
    setting: Annotated[
        str, typer.Argument(metavar="SETTINGS", help="A JSON file, or a bundled name: `strokelens settings list`.")
    ],
    data: options.Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; what it has of the same is kept.")],
    folds: Annotated[int, typer.Option("--folds", min=2, max=100, metavar="N", help="How many folds.")] = 5,
    test: Annotated[
        Path | None,
        typer.Option("--test", metavar="COHORT", help="Patients that no fold sees, for all networks together."),
    ] = None,
    change: options.Change = None,
    layout: options.LayoutName = None,
    pretrained: options.Pretrained = None,
    mirrored: Annotated[
        bool, typer.Option("--mirrored/--no-mirrored", help="Average with the left-right mirrored view.")
    ] = False,
    devices: options.Devices = "auto",
    workers: options.Workers = None,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a setting in folds by patient, and predict each patient by the fold that did not see it.

    OUT gets folds/ (runs, together an ensemble: `strokelens predict OUT COHORT`), out_of_fold/, and tables/; with
    --test also test/ and test_tables/. Run again, it goes on where it stopped. Exit code 1 if a case could not be
    scored in full; the others are.
    """
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.comparison import TABLES
    from strokelens.crossvalidation import TEST_TABLES, CrossValidation, cross_validate
    from strokelens.evaluation.delivery import MARKER
    from strokelens.evaluation.tables import each_failure, headline
    from strokelens.flags import RESEARCH_USE
    from strokelens.prediction.networks import How
    from strokelens.settings.changing import changed
    from strokelens.settings.reading import read_settings
    from strokelens.training.machine import Machine

    loudness(verbose=verbose, quiet=quiet)
    what = CrossValidation(
        changed(read_settings(setting), options.changes(change, split=None, pretrained=pretrained)),
        open_cohort(data, layout),
        out,
        count=folds,
        test=None if test is None else open_cohort(test, layout),
        how=How(mirrored),
        machine=Machine.told(devices),
        workers=workers,
    )
    with steps(f"{folds} folds of {what.settings.name}") as done:
        found = cross_validate(what, done)
    if found is None:
        return
    evaluations = {TABLES: found.out_of_fold} | ({} if found.test is None else {TEST_TABLES: found.test})
    if json:
        typer.echo((out / TABLES / MARKER).read_text(encoding="utf-8"), nl=False)
    else:
        for name, evaluation in evaluations.items():
            for model, case, code, message in each_failure(evaluation):
                say(f"{model}, {case}: {code}: {message}")
            say(f"{out / name / 'tables.md'}: {headline(evaluation)} {RESEARCH_USE}")
    if not all(evaluation.complete for evaluation in evaluations.values()):
        raise typer.Exit(1)
