"""Which files of a folder are somebody's segmentations of a cohort: of a method, a network, or another annotator."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from strokelens.cohorts import metaimage
from strokelens.cohorts.bids import case_prefix
from strokelens.cohorts.bids_tree import labelled
from strokelens.cohorts.channels import entities
from strokelens.cohorts.cohort import Entry, Problem, Truth, broken, natural
from strokelens.cohorts.ctp_slices import numbered
from strokelens.cohorts.decode import is_nifti, stem
from strokelens.cohorts.grey import GREY_LEVELS
from strokelens.cohorts.isles2017 import smir_id
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.listing import files_below, files_in, listing
from strokelens.cohorts.nifti_folders import is_mask
from strokelens.cohorts.sidecar import read_object
from strokelens.cohorts.slice_reader import SliceReader
from strokelens.cohorts.slices import SUFFIXES
from strokelens.cohorts.volumes import VolumeReader
from strokelens.errors import CaseError, CohortError, StrokelensError
from strokelens.labels import CORE_PENUMBRA_BRAIN

_SEGMENTATION = "segmentation"
_DEPTH = 3
_SUBMISSION = re.compile(r"(?:SMIR|VSD)\..+\.(\d+)")
_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")


@dataclass(frozen=True, eq=False)
class Predictions:
    """The segmentations of a folder by the id of their case, and the names of those that belong to no case.

    Each is an entry whose truth is the prediction, on which `Entry.read_truth` gives it; one that is ambiguous or
    cannot be opened is unusable.
    """

    name: str
    folder: Path
    entries: Mapping[str, Entry]
    strangers: tuple[str, ...] = ()


def find_predictions(folder: Path, cohort: Iterable[Entry], *, name: str | None = None) -> Predictions:
    """The predictions in a folder for the cases of a cohort; only names and small tables are read.

    A case's prediction is `<id>.nii.gz` (or .nii, .mha), `<id>/segmentation.nii.gz`, the only `_dseg` or else the only
    mask in `<id>/`, grey slices `<id>/NN.png`, a `_dseg` of BIDS derivatives, or `SMIR.….<number>.nii`. What integers
    mean is told by the sidecar or table beside it, else by the case's truth. A folder that is a cohort itself, of any
    layout, gives its truth, if that finds more cases than names do.

    Raises `CohortError` when the folder holds nothing of the kind, `FileError` when it cannot be read.
    """
    found, named = _found(folder), _names(tuple(cohort))
    chosen = _chosen(named, found)
    truths = _truths(folder) if len(chosen) < len(named) else {}
    drawn = _chosen(named, truths)
    called = name or folder.resolve().name
    if sum(truths[key].truth is not None for _, key in drawn) > len(chosen):
        entries = {entry.id: _drawn(entry, truths[key]) for entry, key in drawn}
        return Predictions(called, folder, entries, _strangers(truths, drawn))
    if not found:
        raise CohortError(f"{folder} holds no prediction; looked for <case>.nii.gz and <case>/{_SEGMENTATION}.nii.gz")
    entries = {entry.id: _prediction(entry, folder, found[key]) for entry, key in chosen}
    return Predictions(called, folder, entries, _strangers(found, chosen))


def _chosen(named: Sequence[tuple[Entry, list[str]]], found: Mapping[str, object]) -> list[tuple[Entry, str]]:
    """The cases that are found, each with what it is called there."""
    keys = [(entry, next((each for each in names if each in found), None)) for entry, names in named]
    return [(entry, key) for entry, key in keys if key is not None]


def _strangers(found: Mapping[str, object], chosen: Sequence[tuple[Entry, str]]) -> tuple[str, ...]:
    """What is called like no case."""
    return tuple(sorted(found.keys() - {key for _, key in chosen}, key=natural))


def _truths(folder: Path) -> dict[str, Entry]:
    """The cases with truth of a folder that is a cohort, by id; none where it is no cohort."""
    try:
        cohort = open_cohort(folder)
    except StrokelensError:
        return {}
    return {entry.id: entry for entry in cohort if entry.truth is not None or not entry.usable}


def _drawn(entry: Entry, other: Entry) -> Entry:
    """The entry whose truth is that of a case in another cohort."""
    truth = other.truth and replace(other.truth, called="prediction")
    return Entry(entry.id, entry.person, other.folder, {}, other.reader, truth, problems=other.problems)


def _found(folder: Path) -> dict[str, list[tuple[Path, ...]]]:
    """By what a case may be called, its candidates: a file, or slices."""
    folders, files = listing(folder)
    found: dict[str, list[tuple[Path, ...]]] = {}
    for file in filter(_is_image, files):
        name, label = _stem(file), _label(file)
        match = _SUBMISSION.fullmatch(name)
        if match is not None or not label or name == label or is_mask(file):
            found.setdefault(_number(match[1]) if match else label or name, []).append((file,))
    for each in folders:
        try:
            candidates = _inside(each)
        except StrokelensError:
            found.setdefault(each.name, [])  # a row of its case, not the end of a batch
            continue
        for key, candidate in candidates:
            found.setdefault(key, []).append(candidate)
    return found


def _inside(folder: Path) -> list[tuple[str, tuple[Path, ...]]]:
    """The candidates in a folder, each with what its case may be called."""
    files = files_in(folder)
    images = [file for file in files if _is_image(file)]
    whole = [file for file in images if _stem(file) == _SEGMENTATION]
    if whole:
        return [(folder.name, (file,)) for file in whole]
    named = [file for file in files_below(folder, depth=_DEPTH) if _is_image(file) and _stem(file).endswith("_dseg")]
    if named:
        is_subject = _SUBJECT.fullmatch(folder.name) is not None
        return [(_label(file) or folder.name if is_subject else folder.name, (file,)) for file in named]
    masks = [file for file in images if is_mask(file)]
    if masks:
        return [(folder.name, (file,)) for file in masks]
    slices = numbered([file for file in files if file.suffix.lower() in SUFFIXES])
    return [(folder.name, tuple(slices.values()))] if slices else []


def _names(cohort: tuple[Entry, ...]) -> list[tuple[Entry, list[str]]]:
    """Each case with all that its prediction may be called, its id first; what would mean two cases is left out."""
    others = {
        entry.id: [entry.folder.name, case_prefix(entry.id), entry.person, *_submission(entry)] for entry in cohort
    }
    counts = Counter(name for case_id, names in others.items() for name in {case_id, *names})
    return [(entry, [entry.id, *(name for name in others[entry.id] if counts[name] == 1)]) for entry in cohort]


def _submission(entry: Entry) -> list[str]:
    """What a submission of ISLES calls the case, if it has a number there."""
    try:
        return [_number(smir_id(entry))]
    except CaseError:
        return []


def _prediction(entry: Entry, folder: Path, candidates: list[tuple[Path, ...]]) -> Entry:
    """The entry whose truth is the prediction for a case."""
    if len(candidates) > 1:
        shown = ", ".join(files[0].relative_to(folder).as_posix() for files in candidates[:4])
        message = f"{len(candidates)} files could be the prediction ({shown}); remove all but one"
        problems = (Problem("ambiguous", message, unusable=True),)
        return Entry(entry.id, entry.person, folder, {}, VolumeReader(), problems=problems)
    try:
        if not candidates:
            raise CaseError("the folder of its prediction cannot be read, or has two files for one slice")
        (files,) = candidates
        if _is_image(files[0]):
            return Entry(entry.id, entry.person, folder, {}, VolumeReader(), _labels(files[0], entry.truth))
        if not isinstance(entry.reader, SliceReader):
            raise CaseError(f"{files[0].parent.name} has pictures, which tell no place; give NIfTI")
        truth = Truth(files, CORE_PENUMBRA_BRAIN, GREY_LEVELS, "prediction")
        return Entry(entry.id, entry.person, folder, {}, entry.reader, truth)
    except (StrokelensError, OSError) as error:
        return broken(entry.id, folder, VolumeReader(), error)


def _labels(file: Path, truth: Truth | None) -> Truth:
    """The prediction in a file: its classes by the table or sidecar beside it, else those of the case's truth."""
    sidecar = read_object(file.with_name(f"{_stem(file)}.json")) or {}
    if truth is None or "Labels" in sidecar or file.with_name(f"{_stem(file)}.tsv").is_file():
        own = labelled(file)
        return Truth(own.files, own.scheme, own.values, "prediction")
    values = truth.values if _is_image(truth.files[0]) else dict(enumerate(truth.scheme.names))
    return Truth((file,), truth.scheme, values, "prediction")


def _is_image(file: Path) -> bool:
    return is_nifti(file) or metaimage.is_mha(file)


def _stem(file: Path) -> str:
    return stem(file) if is_nifti(file) else file.stem


def _label(file: Path) -> str:
    """`sub-X[_ses-Y]` of a file's name; empty where it names no subject."""
    found = entities(file.name)
    return case_prefix(file.name) if "sub" in found else ""


def _number(digits: str) -> str:
    return f"SMIR number {digits}"
