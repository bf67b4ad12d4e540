"""The probabilities of predictions against the truth of each case; the cohort is read case by case.

Conventions: within the brain where the truth tells it, else in the whole image, whose easy background flatters. The
probability of hypoperfused tissue is that of penumbra plus that of core. A case without probabilities is no failure.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from strokelens.case import Segmentation
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.predictions import Predictions
from strokelens.cohorts.probabilities import Probabilities, beside, find_probabilities
from strokelens.errors import CaseError, StrokelensError
from strokelens.evaluation.calibrated import BINS, CalibratedRow, Calibration
from strokelens.evaluation.results import CLASSES, Evaluation
from strokelens.labels import BRAIN
from strokelens.metrics.calibration import auc, brier, reliability
from strokelens.processes import in_order


def with_probabilities(
    evaluation: Evaluation,
    models: Sequence[Predictions],
    cohort: Iterable[Entry],
    *,
    given: Mapping[str, Path] | None = None,
    workers: int = 1,
) -> Evaluation:
    """The evaluation with the scores of each model's probabilities: those beside its masks, or in a folder by model.

    Of a case only its bins are kept. Raises `CohortError` when a given folder has none of any case.
    """
    entries = {entry.id: entry for entry in cohort if entry.truth is not None}
    jobs = []
    for model in models:
        folder = (given or {}).get(model.name)
        found = (
            beside(model.folder, entries.values()) if folder is None else find_probabilities(folder, entries.values())
        )
        jobs += [_Job(model.name, entries[case_id], mine) for case_id, mine in found.items()]
    return replace(evaluation, calibrations=_rows(jobs, workers))


def calibrated(truth: Segmentation, probabilities: Mapping[str, Float[np.ndarray, "i j k"]]) -> dict[str, Calibration]:
    """The scores of the classes all of whose parts have a probability."""
    where = truth.labels != 0 if BRAIN.name in truth.scheme.names else np.ones(truth.labels.shape, np.bool_)
    found = {}
    for name, parts in CLASSES.items():
        if set(parts) <= set(truth.scheme.names) and set(parts) <= set(probabilities):
            likely = np.minimum(np.sum([probabilities[part][where] for part in parts], axis=0), 1.0)
            true = truth.mask(*parts)[where]
            table = reliability(true, likely, bins=BINS)
            error = table.expected_calibration_error
            values = {"auc": auc(true, likely), "brier": brier(true, likely), "expected_calibration_error": error}
            found[name] = Calibration(values, table)
    return found


@dataclass(frozen=True, eq=False)
class _Job:
    """A case and a model's files for it: all that another process needs."""

    model: str
    case: Entry
    probabilities: Probabilities


def _rows(jobs: Sequence[_Job], workers: int) -> tuple[CalibratedRow, ...]:
    if workers == 1 or not jobs:
        return tuple(map(_row, jobs))
    rows = []
    with closing(in_order(_row, jobs, workers=workers)) as results:
        for job, result in results:
            try:
                rows.append(result.result())
            except BrokenProcessPool as error:
                told = f"the process that read the probabilities of {job.case.id} was ended"
                raise CaseError(f"{told}, perhaps for want of memory; give fewer --workers") from error
    return tuple(rows)


def _row(job: _Job) -> CalibratedRow:
    """The row of one case; a truth that cannot be read is told elsewhere."""
    try:
        truth = job.case.read_truth().truth
    except StrokelensError:
        return CalibratedRow(job.model, job.case.id)
    assert truth is not None
    try:
        classes = calibrated(truth, job.probabilities.read(truth.scheme, truth.grid))
    except StrokelensError as error:
        return CalibratedRow(job.model, job.case.id, failure=str(error))
    return CalibratedRow(job.model, job.case.id, classes)
