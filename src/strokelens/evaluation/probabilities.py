"""The probabilities of predictions against the truth of each case; the cohort is read case by case.

Conventions: within the brain where the truth tells it, else in the whole image, whose easy background flatters. The
probability of hypoperfused tissue is its own, else that of penumbra plus that of core. A case without
probabilities is no failure.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from strokelens.case import Segmentation
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.predictions import Predictions
from strokelens.cohorts.probabilities import Probabilities, ProbabilityFiles, beside, find_probabilities
from strokelens.errors import StrokelensError
from strokelens.evaluation.calibrated import BINS, CalibratedRow, Calibration
from strokelens.evaluation.failures import attempt, lost, was_ended
from strokelens.evaluation.results import CLASSES, Evaluation, Failure, labels_of
from strokelens.labels import BRAIN
from strokelens.metrics.calibration import auc, brier, reliability
from strokelens.processes import surviving


def probabilities_of(
    models: Sequence[Predictions], cohort: Iterable[Entry], *, given: Mapping[str, Path] | None = None
) -> dict[str, ProbabilityFiles]:
    """Each model's files for the cases of a cohort: those beside its masks, or in a folder by model.

    Only names are read. Raises `CohortError` when a given folder has none of any case.
    """
    entries, folders = tuple(cohort), given or {}
    return {
        model.name: find_probabilities(folders[model.name], entries)
        if model.name in folders
        else beside(model.folder, entries)
        for model in models
    }


def with_probabilities(
    evaluation: Evaluation, found: Mapping[str, ProbabilityFiles], cohort: Iterable[Entry], *, workers: int = 1
) -> Evaluation:
    """The evaluation with the scores of each model's probabilities, as `probabilities_of` found them.

    Of a case only its bins are kept. Nothing is raised for a broken file, nor for one that ends its process.
    """
    entries = {entry.id: entry for entry in cohort if entry.truth is not None}
    jobs = [
        _Job(model, entries[case_id], mine)
        for model, files in found.items()
        for case_id, mine in files.cases.items()
        if case_id in entries
    ]
    strangers = {
        name: (*theirs, *(found[name].strangers if name in found else ()))
        for name, theirs in evaluation.strangers.items()
    }
    return replace(evaluation, calibrations=_rows(jobs, workers), strangers=strangers)


def calibrated(truth: Segmentation, probabilities: Mapping[str, Float[np.ndarray, "i j k"]]) -> dict[str, Calibration]:
    """The scores of the classes all of whose parts have a probability."""
    where = truth.labels != 0 if BRAIN.name in truth.scheme.names else np.ones(truth.labels.shape, np.bool_)
    found = {}
    for name in CLASSES:
        drawn, parts = labels_of(name, truth.scheme.names), labels_of(name, probabilities)
        if drawn and parts:
            likely = np.minimum(np.sum([probabilities[part][where] for part in parts], axis=0), 1.0)
            true = truth.mask(*drawn)[where]
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
    with closing(surviving(_row, jobs, workers=workers)) as results:
        return tuple(_lost(job) if was_ended(row) else row.result() for job, row in results)


def _lost(job: _Job) -> CalibratedRow:
    return CalibratedRow(job.model, job.case.id, failure=lost(job.case.id).message)


def _row(job: _Job) -> CalibratedRow:
    """The row of one case; a truth that cannot be read is told elsewhere."""
    try:
        found = attempt(job.case.id, partial(_calibrated, job))
    except StrokelensError as error:
        return CalibratedRow(job.model, job.case.id, failure=str(error))
    if isinstance(found, Failure):
        return CalibratedRow(job.model, job.case.id, failure=found.message)
    return found


def _calibrated(job: _Job) -> CalibratedRow:
    try:
        truth = job.case.read_truth().truth
    except StrokelensError:
        return CalibratedRow(job.model, job.case.id)
    assert truth is not None
    return CalibratedRow(job.model, job.case.id, calibrated(truth, job.probabilities.read(truth.scheme, truth.grid)))
