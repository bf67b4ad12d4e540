"""`strokelens evaluate`: how well predictions agree with the truth of a cohort."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import counted, loudness, say

if TYPE_CHECKING:
    from strokelens.cohorts.cohort import Cohort
    from strokelens.cohorts.predictions import Predictions

_CASES_EACH = 5


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="A folder with a segmentation for each case.")
    ],
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="The folder of a cohort with truth, of any layout.")],
    out: options.Out,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME=FOLDER", help="Predictions of another model to compare; repeatable."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What to call the model of PREDICTIONS.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", metavar="NAME", help="How COHORT is laid out, if that is not recognised.")
    ] = None,
    legacy: Annotated[
        bool, typer.Option("--legacy", help="Add the first ancestor's own numbers beside the right ones.")
    ] = False,
    workers: options.Workers = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 2, not 1, if a case could not be scored.")
    ] = False,
    overwrite: options.Overwrite = False,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Score predictions against the truth of a cohort: tables by group and class, and every case.

    OUT gets tables.md, tables.html, cases.csv and evaluation.json. Exit code 1 if a case could not be scored in full,
    or a prediction belongs to no case; the others are done. A second annotator's folder is scored as predictions.
    """
    from strokelens.cohorts.folder import check_out
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.evaluation.delivery import MARKER, deliver
    from strokelens.evaluation.scoring import cases, collected
    from strokelens.evaluation.tables import headline
    from strokelens.flags import RESEARCH_USE

    loudness(verbose=verbose, quiet=quiet)
    for source in (predictions, cohort):
        check_out(out, marker=MARKER, overwrite=overwrite, source=source)
    opened = open_cohort(cohort, layout)
    models = _models(predictions, name, model or [], opened)
    with closing(cases(models, opened, workers=_processes(workers, len(opened)))) as scored:
        evaluation = collected(models, counted(f"evaluating {predictions.name}", scored, total=len(opened)))
    text = deliver(evaluation, out, overwrite=overwrite, with_legacy=legacy)
    if json:
        typer.echo(text, nl=False)
    else:
        for row in evaluation.failed:
            for failure in row.failures:
                say(f"{row.model}, {row.case_id}: {failure.code}: {failure.message}")
        say(f"{out / 'tables.md'}: {headline(evaluation)} {RESEARCH_USE}")
    if not evaluation.complete:
        raise typer.Exit(2 if strict else 1)


def _processes(workers: int | None, cases: int) -> int:
    """How many processes score: where it is not told, one starts only where it has enough cases to be worth it."""
    from strokelens.processes import how_many

    return how_many(workers, cases if workers else cases // _CASES_EACH)


def _models(first: Path, name: str | None, others: list[str], cohort: "Cohort") -> "list[Predictions]":
    """The predictions of each model, with names that differ."""
    from strokelens.cohorts.predictions import find_predictions
    from strokelens.errors import CohortError

    models = [find_predictions(first, cohort, name=name)]
    for other in others:
        called, sign, folder = other.partition("=")
        if not (sign and called and folder):
            raise CohortError(f"--model takes NAME=FOLDER, not {other!r}")
        models.append(find_predictions(Path(folder), cohort, name=called))
    names = [each.name for each in models]
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice is not None:
        raise CohortError(f"two models are called {twice!r}; give each a name with --name and --model NAME=FOLDER")
    return models
