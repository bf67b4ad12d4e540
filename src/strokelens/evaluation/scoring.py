"""A row of scores for each case and model, one case in memory at a time; what cannot be scored is a row that says why.

Conventions: the scores are those of `metrics.scores`, with its empty cases. A class is scored where both know it;
hypoperfused tissue is penumbra and core together. Grids must agree: nothing is resampled unasked.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from strokelens.case import Case, Segmentation
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.predictions import Predictions
from strokelens.errors import CaseError, LabelError, StrokelensError
from strokelens.grid import difference
from strokelens.labels import LabelScheme
from strokelens.metrics import scores
from strokelens.metrics.scores import Scores
from strokelens.metrics.volumes import Volumes
from strokelens.processes import in_order

CLASSES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"penumbra": ("penumbra",), "core": ("core",), "hypoperfused": ("penumbra", "core"), "lesion": ("lesion",)}
)
"""The classes that are scored, and the labels that each is made of."""

GROUPS: Final = ("LVO", "Non-LVO", "WIS")
"""The groups that come first, in this order."""

FAILURES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "no-truth": "the case has no truth",
        "truth": "the truth cannot be read",
        "no-prediction": "there is no prediction for the case",
        "prediction": "the prediction cannot be read, or is not the only one",
        "other-grid": "the prediction lies on another grid than the truth",
        "labels": "the prediction holds or lacks labels of another scheme than the truth's",
    }
)
"""Every code of a `Failure`, and what it says."""


@dataclass(frozen=True)
class Failure:
    """Why a case has no scores, or not all: a `code` of `FAILURES` and one line."""

    code: str
    message: str


@dataclass(frozen=True, eq=False)
class Row:
    """A model's scores of one case by class, with the volumes of both; empty, with `failures`, where there are none.

    `person` is the same for repeated scans and mirrored copies of one person.
    """

    model: str
    case_id: str
    person: str
    group: str | None
    simulated: bool = False
    scores: Mapping[str, Scores] = field(default_factory=dict)
    volumes: Mapping[str, Volumes] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Every row, and of each model the predictions that belong to no case."""

    rows: tuple[Row, ...]
    strangers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in the order in which they were given."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that any case has scores of."""
        return tuple(name for name in CLASSES if any(name in row.scores for row in self.rows))

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of the cases: LVO, Non-LVO, WIS, then others by name."""
        found = {row.group for row in self.rows if row.group is not None}
        return tuple(sorted(found, key=lambda name: (GROUPS.index(name) if name in GROUPS else len(GROUPS), name)))

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows with a failure."""
        return tuple(row for row in self.rows if row.failures)

    @property
    def complete(self) -> bool:
        """Whether every case was scored in full, and every prediction belonged to one."""
        return not self.failed and not any(self.strangers.values())

    @property
    def simulated(self) -> int:
        """How many cases are of simulated patients."""
        return len({row.case_id for row in self.rows if row.simulated})

    def of(self, model: str, group: str | None = None) -> tuple[Row, ...]:
        """The rows of a model, in one group or all."""
        return tuple(row for row in self.rows if row.model == model and group in (None, row.group))


def evaluate(models: Sequence[Predictions], cohort: Iterable[Entry], *, workers: int = 1) -> Evaluation:
    """Score the predictions of one or more models for each case of a cohort; only the truth of a case is read.

    Truth and one prediction are in memory for each of the `workers`, whatever the number of cases; with more than one
    these are processes, which need `if __name__ == "__main__":` in a script. The rows are the same whatever their
    number. Nothing is raised for a broken case.
    """
    with closing(cases(models, cohort, workers=workers)) as scored:
        return collected(models, scored)


def cases(
    models: Sequence[Predictions], cohort: Iterable[Entry], *, workers: int = 1
) -> Generator[tuple[Row, ...], None, None]:
    """The rows of each case, one a model, in the cohort's order and as they are there; for `collected`."""
    jobs = (_Job(entry, {model.name: model.entries.get(entry.id) for model in models}) for entry in cohort)
    if workers == 1:
        yield from map(_rows, jobs)
        return
    with closing(in_order(_rows, jobs, workers=workers)) as scoring:
        for job, rows in scoring:
            try:
                yield rows.result()
            except BrokenProcessPool as error:
                raise CaseError(
                    f"the process that scored {job.case.id} was ended, perhaps for want of memory; give fewer --workers"
                ) from error


def collected(models: Sequence[Predictions], rows: Iterable[Sequence[Row]]) -> Evaluation:
    """The evaluation of the rows of each case."""
    return Evaluation(tuple(row for case in rows for row in case), {model.name: model.strangers for model in models})


@dataclass(frozen=True, eq=False)
class _Job:
    """A case and each model's prediction for it: all that another process needs."""

    case: Entry
    predictions: Mapping[str, Entry | None]


def _rows(job: _Job) -> tuple[Row, ...]:
    """The rows of one case."""
    entry = job.case
    try:
        case = entry.read_truth()
    except StrokelensError as error:
        code = "no-truth" if entry.truth is None and entry.usable else "truth"
        failures = (Failure(code, str(error)),)
        return tuple(Row(name, entry.id, entry.person, entry.group, failures=failures) for name in job.predictions)
    return tuple(_row(name, case, entry, prediction) for name, prediction in job.predictions.items())


def _row(model: str, case: Case, entry: Entry, prediction: Entry | None) -> Row:
    scored, volumes, failures = _scored(case, prediction)
    return Row(model, entry.id, entry.person, entry.group, case.simulated, scored, volumes, failures)


def _scored(case: Case, prediction: Entry | None) -> tuple[dict[str, Scores], dict[str, Volumes], tuple[Failure, ...]]:
    """The scores and volumes of a case by class, and why some are missing."""
    if prediction is None:
        return {}, {}, (Failure("no-prediction", f"{case.id} has no prediction; add it, or take the case out"),)
    try:
        found = prediction.read_truth().truth
    except LabelError as error:
        return {}, {}, (Failure("labels", str(error)),)
    except StrokelensError as error:
        return {}, {}, (Failure("prediction", str(error)),)
    truth = case.truth
    assert truth is not None
    assert found is not None
    if not found.grid.agrees(truth.grid):
        gap = difference(found.grid, truth.grid)
        message = f"the prediction of {case.id} lies elsewhere than the truth ({gap}); bring it onto the truth's grid"
        return {}, {}, (Failure("other-grid", message),)
    return _by_class(truth, found, case.id)


def _by_class(
    truth: Segmentation, prediction: Segmentation, case_id: str
) -> tuple[dict[str, Scores], dict[str, Volumes], tuple[Failure, ...]]:
    wanted, known = _classes(truth.scheme), _classes(prediction.scheme)
    shared = [name for name in wanted if name in known]
    spacing_mm = truth.grid.spacing_mm
    scored = {
        name: scores.evaluate(truth.mask(*CLASSES[name]), prediction.mask(*CLASSES[name]), spacing_mm)
        for name in shared
    }
    volumes = {name: Volumes.of(scored[name].counts, spacing_mm) for name in shared}
    if len(shared) == len(wanted):
        return scored, volumes, ()
    lacking = ", ".join(name for name in wanted if name not in known)
    told = f"the prediction of {case_id} has no {lacking}; it has {', '.join(known) or 'none that is scored'}"
    return scored, volumes, (Failure("labels", f"{told}; name its classes in a sidecar"),)


def _classes(scheme: LabelScheme) -> list[str]:
    """The classes that a scheme can tell."""
    return [name for name, parts in CLASSES.items() if set(parts) <= set(scheme.names)]
