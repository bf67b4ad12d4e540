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
    from strokelens.evaluation.ancestors import Measure
    from strokelens.evaluation.scoring import Plan

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
    annotator: Annotated[
        str | None,
        typer.Option("--annotator", metavar="NAME=FOLDER", help="A second annotator's masks, or their cohort."),
    ] = None,
    probabilities: Annotated[
        list[str] | None,
        typer.Option(
            "--probabilities",
            metavar="[NAME=]FOLDER",
            help="Probabilities of PREDICTIONS, or of model NAME; repeatable. Those beside masks are found unasked.",
        ),
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
    or a prediction belongs to no case; the others are done. PREDICTIONS may be a cohort itself, whose truth is taken.
    """
    from strokelens.cohorts.folder import check_out
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.cohorts.predictions import find_predictions
    from strokelens.evaluation.ancestors import measure
    from strokelens.evaluation.delivery import MARKER, deliver
    from strokelens.evaluation.probabilities import with_probabilities
    from strokelens.evaluation.scoring import cases, collected
    from strokelens.evaluation.tables import headline
    from strokelens.flags import RESEARCH_USE

    loudness(verbose=verbose, quiet=quiet)
    asked = (*(model or ()), *(probabilities or ()), *filter(None, [annotator]))
    others = [Path(each.partition("=")[2] or each) for each in asked]
    for source in (predictions, cohort, *others):
        check_out(out, marker=MARKER, overwrite=overwrite, source=source)
    opened = open_cohort(cohort, layout)
    found = find_predictions(predictions, opened, name=name)
    plan = _plan(found, model or [], annotator, opened, measure if legacy else None)
    given = _given(probabilities or [], [each.name for each in plan.models])
    with closing(cases(plan, opened, workers=_processes(workers, len(opened)))) as scored:
        evaluation = collected(plan, counted(f"evaluating {predictions.name}", scored, total=len(opened)))
    evaluation = with_probabilities(
        evaluation, plan.models, opened, given=given, workers=_processes(workers, len(opened))
    )
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


def _plan(
    first: "Predictions", others: list[str], annotator: str | None, cohort: "Cohort", measure: "Measure | None"
) -> "Plan":
    """What is scored, each with a name of its own."""
    from strokelens.errors import CohortError
    from strokelens.evaluation.results import TRUTH
    from strokelens.evaluation.scoring import Plan

    models = (first, *(_named("--model", other, cohort) for other in others))
    second = None if annotator is None else _named("--annotator", annotator, cohort)
    names = [each.name for each in (*models, *([second] if second is not None else []))]
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice is not None:
        raise CohortError(f"two models are called {twice!r}; give each a name with --name and --model NAME=FOLDER")
    if second is not None and second.name == TRUTH:
        raise CohortError(f"no annotator can be called {TRUTH!r}, which the cohort's is; give another name")
    return Plan(models, second, measure)


def _given(probabilities: list[str], models: list[str]) -> dict[str, Path]:
    """The folder of each model's probabilities, as [NAME=]FOLDER; without a name the first model's."""
    from strokelens.errors import CohortError, hint

    found: dict[str, Path] = {}
    for each in probabilities:
        name, sign, folder = each.partition("=")
        name, folder = (name, folder) if sign else (models[0], each)
        if name not in models:
            raise CohortError(f"--probabilities names no model {name!r}; {hint(name, models)}")
        if name in found:
            raise CohortError(f"--probabilities gives two folders for {name!r}; give one")
        found[name] = Path(folder)
    return found


def _named(option: str, given: str, cohort: "Cohort") -> "Predictions":
    """The predictions of NAME=FOLDER."""
    from strokelens.cohorts.predictions import find_predictions
    from strokelens.errors import CohortError

    name, sign, folder = given.partition("=")
    if not (sign and name and folder):
        raise CohortError(f"{option} takes NAME=FOLDER, not {given!r}")
    return find_predictions(Path(folder), cohort, name=name)
