"""A row of scores for each case and model, one case in memory at a time; what cannot be scored is a row that says why.

Conventions: the scores are those of `metrics.scores`, with its empty cases. A class is scored where both know it;
hypoperfused tissue is penumbra and core together, or a class of its own, in truth or prediction. Grids must agree:
nothing is resampled unasked.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from strokelens.arrays import Mask
from strokelens.case import Case, Segmentation
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.predictions import Predictions
from strokelens.cohorts.sidecar import told_simulated
from strokelens.cohorts.slice_reader import SliceReader
from strokelens.cohorts.volumes import VolumeReader
from strokelens.errors import GridError, LabelError, StrokelensError
from strokelens.evaluation.ancestors import Measure, Theirs
from strokelens.evaluation.failures import attempt, lost, was_ended
from strokelens.evaluation.results import CLASSES, Annotator, Evaluation, Failure, Row, labels_of
from strokelens.grid import Grid, difference
from strokelens.labels import HYPOPERFUSED, LabelScheme
from strokelens.metrics import scores
from strokelens.metrics.scores import Scores
from strokelens.metrics.volumes import Volumes
from strokelens.processes import surviving


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
    their number. Nothing is raised for a broken case, nor for one that ends its process.
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
    with closing(surviving(_scored, jobs, workers=workers)) as scoring:
        for job, scored in scoring:
            yield _lost(job) if was_ended(scored) else scored.result()


def collected(plan: Plan, scored: Iterable[Scored], *, part: str = "") -> Evaluation:
    """The evaluation of the rows of each case; `part` tells which part of a split these are."""
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
        part=part,
    )


def score(truth: Segmentation, prediction: Segmentation) -> dict[str, Scores]:
    """The scores of one prediction by class, of the classes that both know.

    Raises `GridError` when the two lie on different grids, `LabelError` when they have no class in common.
    """
    placed = _placed(prediction, truth.grid)
    if placed is None:
        gap = difference(prediction.grid, truth.grid)
        raise GridError(f"the prediction lies elsewhere than the truth ({gap}); bring it there with onto(truth.grid)")
    found = _by_class(truth, placed)
    if not found:
        known = " and ".join(", ".join(each.scheme.names) for each in (truth, prediction))
        raise LabelError(f"truth and prediction have no class in common that is scored: {known}; name them alike")
    return found


@dataclass(frozen=True, eq=False)
class _Job:
    """A case, each model's prediction for it and the annotator's: all that another process needs.

    Where there is no prediction, there may be the name of one that is nearly the case's.
    """

    case: Entry
    predictions: Mapping[str, Entry | str | None]
    annotators: Mapping[str, Entry | str | None]
    measure: Measure | None


def _job(plan: Plan, entry: Entry) -> _Job:
    def of(each: Predictions) -> Entry | str | None:
        return each.entries.get(entry.id) or each.hints.get(entry.id)

    annotators = () if plan.annotator is None else (plan.annotator,)
    predictions, drawn = ({each.name: of(each) for each in named} for named in (plan.models, annotators))
    return _Job(entry, predictions, drawn, plan.measure)


def _scored(job: _Job) -> Scored:
    """The rows of one case; none where it has no truth, and nobody a prediction."""
    entry = job.case
    drawn = any(isinstance(each, Entry) for each in (*job.predictions.values(), *job.annotators.values()))
    if _lacks_truth(entry) and not drawn:
        return Scored(entry.id)
    truth = _read_truth(entry)
    second = {name: _drawn(name, entry, masks) for name, masks in job.annotators.items()}
    return _rows(job, truth, lambda prediction: _read(entry, prediction), second)


def _lost(job: _Job) -> Scored:
    """The rows of a case whose process was ended."""
    failure = lost(job.case.id)
    return _rows(job, failure, lambda _: failure, dict.fromkeys(job.annotators, failure))


def _rows(
    job: _Job,
    truth: Case | Failure,
    read: Callable[[Entry | str | None], Case | Failure],
    second: Mapping[str, Case | Failure],
) -> Scored:
    """The rows of one case, of which one prediction is in memory at a time."""
    entry = job.case
    rows, against = [], []
    for model, prediction in job.predictions.items():
        found = read(prediction)
        rows.append(_row(_known(model, entry, truth, prediction), truth, found, job.measure))
        against += [_row(_known(model, entry, truth, prediction), drawn, found, None) for drawn in second.values()]
    between = tuple(
        _row(_known(name, entry, truth, job.annotators[name]), truth, drawn, None) for name, drawn in second.items()
    )
    return Scored(entry.id, tuple(rows), between, tuple(against))


def _lacks_truth(entry: Entry) -> bool:
    """Whether there is no truth at all, which is no failure where nobody has a prediction."""
    return entry.truth is None and entry.usable and entry.doubted is None


def _read_truth(entry: Entry) -> Case | Failure:
    try:
        return attempt(entry.id, entry.read_truth)
    except StrokelensError as error:
        return Failure("no-truth" if _lacks_truth(entry) else "truth", str(error))


def _drawn(name: str, entry: Entry, masks: Entry | str | None) -> Case | Failure:
    """An annotator's masks; a failure names the annotator, as it stands in the rows of models against them too."""
    found = _read(entry, masks, called="mask")
    if isinstance(found, Failure):
        return replace(found, message=f"annotator {name}: {found.message}")
    return found


def _read(entry: Entry, prediction: Entry | str | None, *, called: str = "prediction") -> Case | Failure:
    """A prediction, or an annotator's mask."""
    if not isinstance(prediction, Entry):
        cure = "add it, or take the case out"
        if prediction is not None:
            cure = f"if {prediction} is meant, call it {entry.id}"
        return Failure("no-prediction", f"{entry.id} has no {called}; {cure}")
    try:
        if _is_truth(entry, prediction):
            message = f"the {called} of {entry.id} is the file of its truth; give the folder of the {called}s"
            return Failure("is-truth", message)
        return attempt(entry.id, prediction.read_truth)
    except LabelError as error:
        return Failure("labels", str(error))
    except StrokelensError as error:
        refused = any(problem.code == "labels" for problem in prediction.problems)
        return Failure("labels" if refused else "prediction", str(error))


def _is_truth(entry: Entry, prediction: Entry) -> bool:
    """Whether a prediction's files are those of the truth, by whatever path."""
    if entry.truth is None or prediction.truth is None:
        return False
    files = {_identity(file) for file in entry.truth.files} - {None}
    return bool(files) and all(_identity(file) in files for file in prediction.truth.files)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _known(model: str, entry: Entry, truth: Case | Failure, prediction: Entry | str | None) -> Row:
    """What is known of a row before it is scored."""
    if isinstance(truth, Case):
        simulated = truth.simulated
    elif isinstance(entry.reader, SliceReader | VolumeReader) and entry.reader.simulated:
        simulated = True
    else:
        files = [*(entry.truth.files if entry.truth is not None else ()), *(each[0] for each in entry.files.values())]
        simulated = told_simulated(files)
    labels = prediction.truth.by if isinstance(prediction, Entry) and prediction.truth is not None else ""
    return Row(model, entry.id, entry.person, entry.group, simulated, labels=labels)


def _row(known: Row, truth: Case | Failure, found: Case | Failure, measure: Measure | None) -> Row:
    """The row of one truth and prediction."""
    for each in (truth, found):
        if isinstance(each, Failure):
            return replace(known, failures=(each,))
    assert isinstance(truth, Case)
    assert isinstance(found, Case)
    assert truth.truth is not None
    assert found.truth is not None
    compared = attempt(known.case_id, partial(_compared, truth.truth, found.truth, known.case_id, measure))
    if isinstance(compared, Failure):
        return replace(known, failures=(compared,))
    values, volumes, failures, theirs = compared
    return replace(known, scores=values, volumes=volumes, failures=failures, theirs=theirs)


def _compared(
    truth: Segmentation, prediction: Segmentation, case_id: str, measure: Measure | None
) -> tuple[dict[str, Scores], dict[str, Volumes], tuple[Failure, ...], dict[str, Theirs]]:
    """Scores, volumes and the ancestors' measures by class, and why some are missing."""
    placed = _placed(prediction, truth.grid)
    if placed is None:
        gap = difference(prediction.grid, truth.grid)
        message = f"the prediction of {case_id} lies elsewhere than the truth ({gap}); bring it onto the truth's grid"
        return {}, {}, (Failure("other-grid", message),), {}
    scored, grid, inside = _by_class(truth, placed), truth.grid, truth.labels != 0
    edges_mm = grid.edges_mm if grid.sheared else None
    volumes = {name: scores.volumes_of(each.counts, grid.spacing_mm, edges_mm) for name, each in scored.items()}
    pairs = {name: (_mask(truth, name), _mask(placed, name)) for name in scored} if measure is not None else {}
    theirs = {name: measure(*pair, inside) for name, pair in pairs.items()} if measure is not None else {}
    wanted, known = _classes(truth.scheme), _classes(prediction.scheme)
    lacking = [name for name in wanted if name not in known and not _joined(name, truth.scheme, prediction.scheme)]
    if not lacking:
        return scored, volumes, (), theirs
    told = (
        f"the prediction of {case_id} has no {', '.join(lacking)}; it has {', '.join(known) or 'none that is scored'}"
    )
    return scored, volumes, (Failure("labels", f"{told}; {_cure(lacking, known)}"),), theirs


def _cure(lacking: Sequence[str], known: Sequence[str]) -> str:
    """How a prediction gets the classes that it lacks."""
    others = [name for name in known if name != HYPOPERFUSED.name]
    if known and not others:
        return f"count one as the other with --as {HYPOPERFUSED.name}={lacking[0]}"
    if "lesion" in lacking and others:
        return f"count one as the other with --as {'core' if 'core' in others else others[0]}=lesion"
    if "lesion" in known:
        return f"count one as the other with --as lesion={'core' if 'core' in lacking else lacking[0]}"
    return "name its classes in a sidecar, or with --labels 1=penumbra,2=core"


def _placed(prediction: Segmentation, grid: Grid) -> Segmentation | None:
    """The prediction on the truth's grid, if only the order or direction of axes differs; None if it is elsewhere."""
    return prediction if prediction.grid.agrees(grid) else prediction.reordered(grid)


def _by_class(truth: Segmentation, prediction: Segmentation) -> dict[str, Scores]:
    """The scores of the classes that both know."""
    known, grid = _classes(prediction.scheme), truth.grid
    edges_mm = grid.edges_mm if grid.sheared else None
    return {
        name: scores.evaluate(_mask(truth, name), _mask(prediction, name), grid.spacing_mm, edges_mm=edges_mm)
        for name in _classes(truth.scheme)
        if name in known
    }


def _classes(scheme: LabelScheme) -> list[str]:
    """The classes that a scheme can tell."""
    return [name for name in CLASSES if labels_of(name, scheme.names)]


def _mask(segmentation: Segmentation, name: str) -> Mask:
    """The voxels of a class that the segmentation can tell."""
    return segmentation.mask(*labels_of(name, segmentation.scheme.names))


def _joined(name: str, truth: LabelScheme, prediction: LabelScheme) -> bool:
    """Whether a class is part of what a prediction tells as one, which is scored: then it lacks nothing."""
    whole = HYPOPERFUSED.name
    return whole in prediction.names and name in CLASSES[whole] and whole in _classes(truth)
