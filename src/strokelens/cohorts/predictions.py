"""Which files of a folder are somebody's segmentations of a cohort: of a method, a network, or another annotator."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from strokelens.cohorts import metaimage
from strokelens.cohorts.bids import case_prefix
from strokelens.cohorts.case_names import case_names, submitted
from strokelens.cohorts.channels import entities
from strokelens.cohorts.cohort import Entry, Problem, broken, natural
from strokelens.cohorts.ctp_slices import numbered, spans
from strokelens.cohorts.decode import is_nifti, stem
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.listing import files_below, files_in, folders_seen, listing
from strokelens.cohorts.nifti_folders import is_mask
from strokelens.cohorts.numbering import AS_FOUND, Numbering, of_cohort, of_slices, of_volume, table_of
from strokelens.cohorts.probabilities import class_of
from strokelens.cohorts.slice_reader import SliceReader
from strokelens.cohorts.slices import SUFFIXES
from strokelens.cohorts.volumes import VolumeReader
from strokelens.errors import CaseError, CohortError, LabelError, StrokelensError

_SEGMENTATION = "segmentation"
_DEPTH = 3
_MOST_HINTS = 1000
_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")


@dataclass(frozen=True, eq=False)
class Predictions:
    """The segmentations of a folder by the id of their case, and the names of those that belong to no case.

    Each is an entry whose truth is the prediction, on which `Entry.read_truth` gives it; one that is ambiguous or
    cannot be opened is unusable. `hints` tell by the id of a case without one which of these names may be meant.
    """

    name: str
    folder: Path
    entries: Mapping[str, Entry]
    strangers: tuple[str, ...] = ()
    hints: Mapping[str, str] = field(default_factory=dict)


def find_predictions(
    folder: Path, cohort: Iterable[Entry], *, name: str | None = None, numbering: Numbering = AS_FOUND
) -> Predictions:
    """The predictions in a folder for the cases of a cohort; only names and small tables are read.

    A case's prediction is `<id>.nii.gz` (or .nii, .mha), `<id>/segmentation.nii.gz`, the only `_dseg` or else the only
    mask in `<id>/`, slices `<id>/NN.png`, a `_dseg` of BIDS derivatives, or `SMIR.….<number>.nii`. What integers mean
    is told by `numbering`, else the sidecar or table beside it, the folder's `dataset.json`, or the case's truth. A
    folder that is a cohort itself, of any layout, gives its truth, if that finds more cases than names do.

    Raises `CohortError` when the folder holds nothing of the kind, `FileError` when it cannot be read.
    """
    found, named = _found(folder), case_names(cohort)
    chosen = _chosen(named, found)
    truths = _truths(folder) if len(chosen) < len(named) else {}
    drawn = _chosen(named, truths)
    called = name or folder.resolve().name
    if sum(truths[key].truth is not None for _, key in drawn) > len(chosen):
        entries = {entry.id: _drawn(entry, truths[key], numbering) for entry, key in drawn}
        return Predictions(called, folder, entries, _strangers(truths, drawn))
    if not found:
        wanted = f"looked for <case>.nii.gz and <case>/{_SEGMENTATION}.nii.gz"
        raise CohortError(f"{folder} holds no prediction; {_deeper(folder, named) or wanted}")
    entries = {entry.id: _prediction(entry, folder, found[key], numbering) for entry, key in chosen}
    strangers = _strangers(found, chosen)
    return Predictions(called, folder, entries, strangers, _alike([entry.id for entry, _ in named], entries, strangers))


def _deeper(folder: Path, named: Sequence[tuple[Entry, list[str]]]) -> str:
    """The first folder one or two levels down that has predictions for the cohort, as a cure; empty without one."""
    for outer in folders_seen(folder):
        for each in (outer, *folders_seen(outer)):
            try:
                if _chosen(named, _found(each)):
                    return f"{each.relative_to(folder).as_posix()} in it does; give {each}"
            except StrokelensError:
                continue
    return ""


def _alike(cases: Sequence[str], known: Mapping[str, Entry], strangers: Sequence[str]) -> dict[str, str]:
    """By each case without prediction, the one name of no case that begins or ends with its id."""
    lacking = [case_id for case_id in cases if case_id not in known] if len(strangers) else []
    near = {
        case_id: [name for name in strangers if re.fullmatch(rf"(?:.*[-_. ])?{re.escape(case_id)}(?:[-_. ].*)?", name)]
        for case_id in lacking[:_MOST_HINTS]
    }
    taken = Counter(name for names in near.values() for name in names)
    return {case_id: names[0] for case_id, names in near.items() if len(names) == 1 and taken[names[0]] == 1}


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


def _drawn(entry: Entry, other: Entry, numbering: Numbering) -> Entry:
    """The entry whose truth is that of a case in another cohort."""
    truth, problems = other.truth and of_cohort(other.truth, numbering), other.problems
    if truth is not None and isinstance(entry.reader, SliceReader) and isinstance(other.reader, SliceReader):
        try:
            _check_slices(entry, truth.files)
        except StrokelensError as error:
            problems = (*problems, Problem("slices", str(error), unusable=True))
    return Entry(entry.id, entry.person, other.folder, {}, other.reader, truth, problems=problems)


def _found(folder: Path) -> dict[str, list[tuple[Path, ...]]]:
    """By what a case may be called, its candidates: a file, or slices."""
    folders, files = listing(folder)
    found: dict[str, list[tuple[Path, ...]]] = {}
    for file in filter(_is_image, files):
        name, label = _stem(file), _label(file)
        if submitted(name) or not label or name == label or is_mask(file):
            found.setdefault(submitted(name) or label or name, []).append((file,))
    for each in folders:
        if _is_image(each):
            found.setdefault(_stem(each), []).append((each,))  # reading it tells that it is a folder
            continue
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


def _prediction(entry: Entry, folder: Path, candidates: list[tuple[Path, ...]], numbering: Numbering) -> Entry:
    """The entry whose truth is the prediction for a case."""
    if len(candidates) > 1:
        shown = ", ".join(files[0].relative_to(folder).as_posix() for files in candidates[:4])
        message = f"{len(candidates)} files could be the prediction ({shown}); remove all but one"
        return _unusable(entry, folder, "ambiguous", message)
    try:
        if not candidates:
            raise CaseError("the folder of its prediction cannot be read, or has two files for one slice")
        (files,) = candidates
        table = None if numbering.values is not None else table_of(folder)
        if _is_image(files[0]):
            truth = of_volume(files[0], entry.truth, numbering, table)
            return Entry(entry.id, entry.person, folder, {}, VolumeReader(), truth)
        if not isinstance(entry.reader, SliceReader):
            raise CaseError(f"{files[0].parent.name} has pictures, which tell no place; give NIfTI")
        _check_slices(entry, files)
        return Entry(entry.id, entry.person, folder, {}, entry.reader, of_slices(files, numbering, table))
    except LabelError as error:
        return _unusable(entry, folder, "labels", str(error))
    except (StrokelensError, OSError) as error:
        return broken(entry.id, folder, VolumeReader(), error)


def _unusable(entry: Entry, folder: Path, code: str, message: str) -> Entry:
    problems = (Problem(code, message, unusable=True),)
    return Entry(entry.id, entry.person, folder, {}, VolumeReader(), problems=problems)


def _check_slices(entry: Entry, files: Sequence[Path]) -> None:
    """Raise `CaseError` unless slices have the numbers of the truth's, or others without a gap, such as from 0 on."""
    wanted = entry.truth.files if entry.truth is not None else next(iter(entry.files.values()), ())
    theirs, ours = numbered(wanted).keys(), numbered(files).keys()
    if theirs == ours or not theirs or (len(theirs) == len(ours) and _whole(theirs) and _whole(ours)):
        return
    told = [f"lacks slices {spans(lacking)}"] if (lacking := sorted(theirs - ours)) else []
    told += [f"has slices {spans(more)}, which the truth lacks"] if (more := sorted(ours - theirs)) else []
    raise CaseError(f"the prediction of {entry.id} {' and '.join(told)}; give a picture of each, by its number")


def _whole(numbers: Collection[int]) -> bool:
    return max(numbers) - min(numbers) + 1 == len(numbers)


def _is_image(file: Path) -> bool:
    return (is_nifti(file) and class_of(file) is None) or metaimage.is_mha(file)


def _stem(file: Path) -> str:
    return stem(file) if is_nifti(file) else file.stem


def _label(file: Path) -> str:
    """`sub-X[_ses-Y]` of a file's name; empty where it names no subject."""
    found = entities(file.name)
    return case_prefix(file.name) if "sub" in found else ""
