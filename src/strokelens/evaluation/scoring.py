"""A row of scores for each case and model, one case in memory at a time; what cannot be scored is a row that says why.

Conventions: the scores are those of `metrics.scores`, with its empty cases. A class is scored where both know it;
hypoperfused tissue is penumbra and core together. Grids must agree: nothing is resampled unasked.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass

from strokelens.case import Case, Segmentation
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.predictions import Predictions
from strokelens.errors import CaseError, GridError, LabelError, StrokelensError
from strokelens.evaluation.ancestors import Measure, Theirs
from strokelens.evaluation.results import CLASSES, Annotator, Evaluation, Failure, Row
from strokelens.grid import difference
from strokelens.labels import LabelScheme
from strokelens.metrics import scores
from strokelens.metrics.scores import Scores
from strokelens.metrics.volumes import Volumes
from strokelens.processes import in_order


@dataclass(frozen=True, eq=False)
class Plan:
    """What is scored against the truth: models, a second annotator, and what else is measured of each pair of masks."""

    models: tuple[Predictions, ...]
    annotator: Predictions | None = None
    measure: Measure | None = None


@dataclass(frozen=True, eq=False)
class Scored:
    """The rows of one case: of each model, of the annotator, and of each model against the annotator."""

    case_id: str
    rows: tuple[Row, ...] = ()
    between: tuple[Row, ...] = ()
    against: tuple[Row, ...] = ()


def evaluate(
    models: Sequence[Predictions],
    cohort: Iterable[Entry],
    *,
    annotator: Predictions | None = None,
    workers: int = 1,
) -> Evaluation:
    """Score the predictions of one or more models for each case of a cohort; only the truth of a case is read.

    Truth, annotator and one prediction are in memory for each of the `workers`, whatever the number of cases; with more
    than one these are processes, which need `if __name__ == "__main__":` in a script. The rows are the same whatever
    their number. Nothing is raised for a broken case.
    """
    plan = Plan(tuple(models), annotator)
    with closing(cases(plan, cohort, workers=workers)) as scored:
        return collected(plan, scored)


def cases(plan: Plan, cohort: Iterable[Entry], *, workers: int = 1) -> Generator[Scored, None, None]:
    """The rows of each case, in the cohort's order and as they are there; for `collected`."""
    jobs = (_job(plan, entry) for entry in cohort)
    if workers == 1:
        yield from map(_scored, jobs)
        return
    with closing(in_order(_scored, jobs, workers=workers)) as scoring:
        for job, scored in scoring:
            try:
                yield scored.result()
            except BrokenProcessPool as error:
                raise CaseError(
                    f"the process that scored {job.case.id} was ended, perhaps for want of memory; give fewer --workers"
                ) from error


def collected(plan: Plan, scored: Iterable[Scored]) -> Evaluation:
    """The evaluation of the rows of each case."""
    every = tuple(scored)
    named = (*plan.models, *([plan.annotator] if plan.annotator is not None else []))
    annotator = None
    if plan.annotator is not None:
        between = tuple(row for each in every for row in each.between)
        annotator = Annotator(plan.annotator.name, between, tuple(row for each in every for row in each.against))
    return Evaluation(
        tuple(row for each in every for row in each.rows),
        {each.name: each.strangers for each in named},
        tuple(each.case_id for each in every if not each.rows),
        annotator,
    )


def score(truth: Segmentation, prediction: Segmentation) -> dict[str, Scores]:
    """The scores of one prediction by class, of the classes that both know.

    Raises `GridError` when the two lie on different grids, `LabelError` when they have no class in common.
    """
    if not prediction.grid.agrees(truth.grid):
        gap = difference(prediction.grid, truth.grid)
        raise GridError(f"the prediction lies elsewhere than the truth ({gap}); bring it there with onto(truth.grid)")
    found = _by_class(truth, prediction)
    if not found:
        known = " and ".join(", ".join(each.scheme.names) for each in (truth, prediction))
        raise LabelError(f"truth and prediction have no class in common that is scored: {known}; name them alike")
    return found


@dataclass(frozen=True, eq=False)
class _Job:
    """A case, each model's prediction for it and the annotator's: all that another process needs."""

    case: Entry
    predictions: Mapping[str, Entry | None]
    annotator: tuple[str, Entry | None] | None
    measure: Measure | None


def _job(plan: Plan, entry: Entry) -> _Job:
    predictions = {model.name: model.entries.get(entry.id) for model in plan.models}
    second = plan.annotator
    return _Job(
        entry, predictions, None if second is None else (second.name, second.entries.get(entry.id)), plan.measure
    )


def _scored(job: _Job) -> Scored:
    """The rows of one case; none where it has no truth, and nobody a prediction."""
    entry = job.case
    named = dict([job.annotator]) if job.annotator is not None else {}
    if entry.truth is None and entry.usable and not any((*job.predictions.values(), *named.values())):
        return Scored(entry.id)
    truth = _read_truth(entry)
    second = {name: _read(entry, prediction) for name, prediction in named.items()}
    rows, against = [], []
    for model, prediction in job.predictions.items():
        found = _read(entry, prediction)
        rows.append(_row(model, entry, truth, found, job.measure))
        against += [_row(model, entry, annotated, found, None) for annotated in second.values()]
    between = tuple(_row(name, entry, truth, annotated, None) for name, annotated in second.items())
    return Scored(entry.id, tuple(rows), between, tuple(against))


def _read_truth(entry: Entry) -> Case | Failure:
    try:
        return entry.read_truth()
    except StrokelensError as error:
        return Failure("no-truth" if entry.truth is None and entry.usable else "truth", str(error))


def _read(entry: Entry, prediction: Entry | None) -> Case | Failure:
    """A prediction, or an annotator's masks."""
    if prediction is None:
        return Failure("no-prediction", f"{entry.id} has no prediction; add it, or take the case out")
    try:
        return prediction.read_truth()
    except LabelError as error:
        return Failure("labels", str(error))
    except StrokelensError as error:
        return Failure("prediction", str(error))


def _row(model: str, entry: Entry, truth: Case | Failure, found: Case | Failure, measure: Measure | None) -> Row:
    """The row of one truth and prediction."""
    for each in (truth, found):
        if isinstance(each, Failure):
            return Row(model, entry.id, entry.person, entry.group, failures=(each,))
    assert isinstance(truth, Case)
    assert isinstance(found, Case)
    assert truth.truth is not None
    assert found.truth is not None
    row = _compared(truth.truth, found.truth, entry.id, measure)
    return Row(model, entry.id, entry.person, entry.group, truth.simulated, *row)


def _compared(
    truth: Segmentation, prediction: Segmentation, case_id: str, measure: Measure | None
) -> tuple[dict[str, Scores], dict[str, Volumes], tuple[Failure, ...], dict[str, Theirs]]:
    """Scores, volumes and the ancestors' measures by class, and why some are missing."""
    if not prediction.grid.agrees(truth.grid):
        gap = difference(prediction.grid, truth.grid)
        message = f"the prediction of {case_id} lies elsewhere than the truth ({gap}); bring it onto the truth's grid"
        return {}, {}, (Failure("other-grid", message),), {}
    scored = _by_class(truth, prediction)
    volumes = {name: Volumes.of(each.counts, truth.grid.spacing_mm) for name, each in scored.items()}
    theirs = {name: measure(truth, prediction, CLASSES[name]) for name in scored} if measure is not None else {}
    wanted, known = _classes(truth.scheme), _classes(prediction.scheme)
    lacking = ", ".join(name for name in wanted if name not in known)
    if not lacking:
        return scored, volumes, (), theirs
    told = f"the prediction of {case_id} has no {lacking}; it has {', '.join(known) or 'none that is scored'}"
    return scored, volumes, (Failure("labels", f"{told}; name its classes in a sidecar"),), theirs


def _by_class(truth: Segmentation, prediction: Segmentation) -> dict[str, Scores]:
    """The scores of the classes that both know."""
    known = _classes(prediction.scheme)
    return {
        name: scores.evaluate(truth.mask(*CLASSES[name]), prediction.mask(*CLASSES[name]), truth.grid.spacing_mm)
        for name in _classes(truth.scheme)
        if name in known
    }


def _classes(scheme: LabelScheme) -> list[str]:
    """The classes that a scheme can tell."""
    return [name for name, parts in CLASSES.items() if set(parts) <= set(scheme.names)]
