"""Predictions of a cohort of ISLES 2017 as the files that the challenge takes, each read again after it was written."""

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from string import Formatter
from typing import Final

import numpy as np

from strokelens import __version__
from strokelens.case import Segmentation
from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.encode import write_json
from strokelens.cohorts.folder import check_apart, new_folder
from strokelens.cohorts.images import read_header
from strokelens.cohorts.isles2017 import write_submission
from strokelens.cohorts.nifti import read_segmentation
from strokelens.cohorts.predictions import Predictions, find_predictions
from strokelens.errors import CaseError, CohortError, SettingsError, StrokelensError
from strokelens.evaluation.legacy import dice_epsilon, dice_smoothed
from strokelens.evaluation.scoring import score
from strokelens.flags import RESEARCH_USE
from strokelens.labels import LESION_ONLY

SUBMITTED: Final = "submission.json"
"""The file in every submission; it marks the folder as ours."""

_LESIONS: Final = ("lesion", "core")


@dataclass(frozen=True)
class Submitted:
    """A case: the name of its file and the lesion's volume, or why there is none.

    Where the truth is there, Dice by all three definitions: ours, with 1 added above and below, and with 1e-7 below.
    """

    case_id: str
    name: str = ""
    volume_ml: float = 0.0
    failure: str | None = None
    dice: float | None = None
    dice_smoothed: float | None = None
    dice_epsilon: float | None = None


def submit(
    predictions: Path,
    cohort: Cohort,
    out: Path,
    *,
    entries: Sequence[Entry] | None = None,
    description: str = "strokelens_{case}",
    overwrite: bool = False,
) -> Iterator[Submitted]:
    """Write `SMIR.<description>.<MTT id>.nii` of each case, and `submission.json`; nothing is there before all are.

    The cases are the `entries`; where none are told those with a prediction, and those without truth.

    `{case}` in the description becomes the case's name. Each file is read again: it lies on the grid of the case's ADC
    and holds 0 and 1 as they were predicted. A case that cannot be written is told, and is not in the folder.

    Raises `SettingsError` for another field in the description, `CohortError` when the cohort is not of ISLES 2017 or
    no case can be written, and `OutputError` when `out` cannot be.
    """
    _check_description(description)
    if cohort.layout != "isles2017":
        raise CohortError(f"{cohort.folder} is of layout {cohort.layout}; the challenge's names are of isles2017")
    for folder in (predictions, cohort.folder):
        check_apart(out, folder)
    found = find_predictions(predictions, cohort)
    if entries is None:
        entries = [entry for entry in cohort if entry.id in found.entries or entry.truth is None]
    done = list[Submitted]()
    with new_folder(out, marker=SUBMITTED, overwrite=overwrite) as folder:
        with closing(_each(entries, found, folder, description)) as each:
            for one in each:
                done.append(one)
                yield one
        if all(one.failure is not None for one in done):
            first = done[0].failure if done else "there is none"
            raise CohortError(f"no case of {cohort.folder} could be submitted; the first reason is: {first}")
        write_json(folder / SUBMITTED, content_of(done, description))


def _check_description(description: str) -> None:
    """Raise `SettingsError` unless `{case}` is all that is filled in."""
    try:
        parts = [part[1:] for part in Formatter().parse(description) if part[1] is not None]
    except ValueError as error:
        raise SettingsError(f"{description!r} is no description: {error}; give one such as team_{{case}}") from error
    strange = next((part for part in parts if part != ("case", "", None)), None)
    if strange is not None:
        raise SettingsError(f"a description knows {{case}} and nothing else, not {{{strange[0]}}}; leave that out")


def content_of(done: Sequence[Submitted], description: str) -> dict[str, object]:
    """What `submission.json` says."""
    return {
        "software": f"strokelens {__version__}",
        "disclaimer": RESEARCH_USE,
        "description": description,
        "cases": [_record(one) for one in done if one.failure is None],
        "failures": {one.case_id: one.failure for one in done if one.failure is not None},
    }


def _record(one: Submitted) -> dict[str, object]:
    told = {"id": one.case_id, "file": one.name, "lesion_ml": round(one.volume_ml, 6)}
    scores = {"dice": one.dice, "dice_smoothed": one.dice_smoothed, "dice_epsilon": one.dice_epsilon}
    return told | {name: round(value, 7) for name, value in scores.items() if value is not None and isfinite(value)}


def _each(
    entries: Sequence[Entry], found: Predictions, folder: Path, description: str
) -> Generator[Submitted, None, None]:
    for entry in entries:
        try:
            yield _submitted(entry, found, folder, description)
        except (StrokelensError, OSError) as error:
            yield Submitted(entry.id, failure=" ".join(str(error).split()))


def _submitted(entry: Entry, found: Predictions, folder: Path, description: str) -> Submitted:
    """One case, written and read again."""
    prediction = found.entries.get(entry.id)
    if prediction is None:
        raise CaseError(f"{entry.id} has no prediction; predict it, or take the case out")
    segmentation = prediction.read_truth().truth
    assert segmentation is not None  # an entry of predictions has one, or raises
    path = write_submission(folder, entry, segmentation, description=description.format(case=entry.id))
    try:
        _check(path, entry, segmentation)
        done = Submitted(entry.id, path.name, segmentation.volume_ml(_lesion(segmentation)))
        return done if entry.truth is None else _scored(done, entry, segmentation)
    except (StrokelensError, OSError):
        path.unlink(missing_ok=True)  # what is told as a failure is not submitted by somebody who looks at files only
        raise


def _lesion(segmentation: Segmentation) -> str:
    return next(name for name in _LESIONS if name in segmentation.scheme.names)


def _check(path: Path, entry: Entry, segmentation: Segmentation) -> None:
    """Raise `CaseError` unless the file says what was predicted, on the grid of the case."""
    reference = entry.files.get("ADC") or next(iter(entry.files.values()))
    again = read_segmentation(path, LESION_ONLY, read_header(reference[0]).grid)
    placed = segmentation.reordered(again.grid)
    if placed is None or not np.array_equal(again.mask("lesion"), placed.mask(_lesion(placed))):
        raise CaseError(f"{path.name} is not what was predicted; the disk may be damaged: write it elsewhere")


def _scored(done: Submitted, entry: Entry, segmentation: Segmentation) -> Submitted:
    """With its scores, where the truth tells the class that was submitted."""
    truth = entry.read_truth().truth
    assert truth is not None
    scores = score(truth, segmentation).get(_lesion(segmentation))
    if scores is None:
        return done
    counts = scores.counts
    return replace(done, dice=counts.dice, dice_smoothed=dice_smoothed(counts), dice_epsilon=dice_epsilon(counts))


def text_of(content: dict[str, object]) -> str:
    """The text of `submission.json`."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
