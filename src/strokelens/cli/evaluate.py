"""`strokelens evaluate`: how well predictions agree with the truth of a cohort."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import counted, loudness, say

if TYPE_CHECKING:
    from strokelens.cohorts.cohort import Cohort, Entry
    from strokelens.cohorts.numbering import Numbering
    from strokelens.cohorts.predictions import Predictions
    from strokelens.cohorts.probabilities import ProbabilityFiles
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
    layout: options.LayoutName = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            metavar="[MODEL:]1=CLASS,…",
            help="What integers of predictions mean: 1=penumbra,2=core; goes before any table.",
        ),
    ] = None,
    counted_as: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            metavar="CLASS=CLASS",
            help="Count a class as another, of all models and the annotator: core=lesion.",
        ),
    ] = None,
    split: options.SplitFile = None,
    part: options.Part = None,
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
    from strokelens.cohorts.learned import flattered, learned_from
    from strokelens.cohorts.predictions import find_predictions
    from strokelens.evaluation.ancestors import measure
    from strokelens.evaluation.delivery import MARKER, deliver
    from strokelens.evaluation.probabilities import probabilities_of, with_probabilities
    from strokelens.evaluation.scoring import cases, collected
    from strokelens.evaluation.tables import each_failure, headline
    from strokelens.flags import RESEARCH_USE

    loudness(verbose=verbose, quiet=quiet)
    asked = [Path(each.partition("=")[2] or each) for each in (*(model or ()), *filter(None, [annotator]))]
    asked += [_folder_of(each)[1] for each in probabilities or ()]
    for source in (predictions, cohort, *asked):
        check_out(out, marker=MARKER, overwrite=overwrite, source=source)
    opened = open_cohort(cohort, layout)
    entries, what = options.part_of(opened, split, part)
    numbering = _Told(labels or [], counted_as or [])
    found = find_predictions(predictions, opened, name=name, numbering=numbering.of(name or predictions.resolve().name))
    measured = measure if legacy else None
    plan = _plan(found, opened, others=model or [], annotator=annotator, measure=measured, numbering=numbering)
    given = _given(probabilities or [], [each.name for each in plan.models])
    likely = probabilities_of(plan.models, opened, given=given)
    _check_part(likely, given, entries)
    processes = _processes(workers, len(entries))
    with closing(cases(plan, entries, workers=processes)) as scored:
        evaluation = collected(plan, counted(f"evaluating {predictions.name}", scored, total=len(entries)), part=what)
    evaluation = with_probabilities(evaluation, likely, entries, workers=processes)
    scored_ids = {row.case_id for row in evaluation.rows if row.scores}
    note = flattered(len(learned_from(predictions) & scored_ids), len(scored_ids))
    evaluation = replace(evaluation, notes=(note,) if note else ())
    text = deliver(evaluation, out, overwrite=overwrite, with_legacy=legacy)
    if json:
        typer.echo(text, nl=False)
    else:
        for named, case, code, message in each_failure(evaluation):
            say(f"{named}, {case}: {code}: {message}")
        say(f"{out / 'tables.md'}: {headline(evaluation)} {RESEARCH_USE}")
    if not evaluation.complete:
        raise typer.Exit(2 if strict else 1)


def _check_part(found: "Mapping[str, ProbabilityFiles]", given: dict[str, Path], part: "Sequence[Entry]") -> None:
    """Raise `CohortError` when a folder that was asked for has no probabilities of the cases that are scored."""
    from strokelens.errors import CohortError

    cases = {entry.id for entry in part}
    for name, folder in given.items():
        if not cases & found[name].cases.keys():
            raise CohortError(f"{folder} holds no probabilities of the part that is scored; give another folder")


def _processes(workers: int | None, cases: int) -> int:
    """How many processes score: where it is not told, one starts only where it has enough cases to be worth it."""
    from strokelens.processes import how_many

    return how_many(workers, cases if workers else cases // _CASES_EACH)


class _Told:
    """What the user tells of the integers and classes of each model."""

    def __init__(self, labels: list[str], counted_as: list[str]) -> None:
        self._labels: dict[str, str] = {}
        for name, given in map(_of_model, labels):
            self._labels[name.strip()] = ",".join(filter(None, [self._labels.get(name.strip()), given]))
        self._counted_as = counted_as

    def of(self, model: str) -> "Numbering":
        """What is told of a model, else of all."""
        from strokelens.cohorts.numbering import Numbering

        return Numbering.told(self._labels.get(model, self._labels.get("")), self._counted_as)

    def check(self, found: "Sequence[Predictions]") -> None:
        """Raise `CohortError` when a model is named that is not there, or a class that nobody has."""
        from strokelens.errors import CohortError, hint

        names = [each.name for each in found]
        strange = sorted(self._labels.keys() - {"", *names})
        if strange:
            raise CohortError(f"--labels names {strange[0]!r}, which is no model; {hint(strange[0], names)}")
        every = (entry.truth for each in found for entry in each.entries.values())
        self.of("").check_used(truth for truth in every if truth is not None)


def _of_model(given: str) -> tuple[str, str]:
    """`MODEL:1=core` in two; the first part is empty where there is none."""
    name, colon, rest = given.rpartition(":")
    return (name, rest) if colon else ("", given)


def _plan(
    first: "Predictions",
    cohort: "Cohort",
    *,
    others: list[str],
    annotator: str | None,
    measure: "Measure | None",
    numbering: _Told,
) -> "Plan":
    """What is scored, each with a name of its own."""
    from strokelens.errors import CohortError
    from strokelens.evaluation.results import TRUTH
    from strokelens.evaluation.scoring import Plan

    models = (first, *(_named("--model", other, cohort, numbering) for other in others))
    second = None if annotator is None else _named("--annotator", annotator, cohort, numbering)
    every = (*models, *([second] if second is not None else []))
    names = [each.name for each in every]
    numbering.check(every)
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
        told, folder = _folder_of(each)
        name = models[0] if told is None else told
        if name not in models:
            raise CohortError(f"--probabilities names no model {name!r}; {hint(name, models)}")
        if name in found:
            raise CohortError(f"--probabilities gives two folders for {name!r}; give one")
        found[name] = folder
    return found


def _folder_of(probabilities: str) -> tuple[str | None, Path]:
    """The name of [NAME=]FOLDER, if it has one, and the folder; one that exists is taken whole, whatever its name."""
    name, sign, folder = probabilities.partition("=")
    whole = Path(probabilities)
    return (name, Path(folder)) if sign and not whole.exists() else (None, whole)


def _named(option: str, given: str, cohort: "Cohort", numbering: _Told) -> "Predictions":
    """The predictions of NAME=FOLDER."""
    from strokelens.cohorts.predictions import find_predictions
    from strokelens.errors import CohortError

    name, sign, folder = given.partition("=")
    if not (sign and name and folder):
        raise CohortError(f"{option} takes NAME=FOLDER, not {given!r}")
    return find_predictions(Path(folder), cohort, name=name, numbering=numbering.of(name))
