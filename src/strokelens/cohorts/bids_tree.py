"""What the trees share that are laid out like BIDS: subjects, sessions, and which file is what."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from strokelens.cohorts.channels import entities, parse
from strokelens.cohorts.cohort import Entry, Problem, Truth, broken
from strokelens.cohorts.decode import is_nifti, stem
from strokelens.cohorts.identity import own_label
from strokelens.cohorts.labelling import label_values, scheme_of
from strokelens.cohorts.listing import files_below, files_in, folders_in, folders_seen
from strokelens.cohorts.nifti_folders import is_mask, truth_of
from strokelens.cohorts.sidecar import read_object
from strokelens.cohorts.tables import read_rows
from strokelens.cohorts.volumes import VolumeReader, ordered
from strokelens.errors import CaseError, FileError, StrokelensError

_DEPTH = 3
_ROOTS = ("rawdata", "raw_data", "sourcedata", "derivatives")
_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")
_LOOSE = re.compile(r"(sub-[A-Za-z0-9]+)_")
_NO_TRUTH = frozenset({"brain", "vessel", "vessels", "head", "lvo", "cow", "probseg"})


@dataclass(frozen=True)
class Found:
    """The files of a case by channel, which of them are relative maps, its truth, and what is doubtful."""

    channels: dict[str, Path]
    relative: frozenset[str] = frozenset()
    truth: Truth | None = None
    problems: tuple[Problem, ...] = ()


Build = Callable[[Sequence[Path]], Found]
"""From the NIfTI files of a case to what they are."""


def subjects(folder: Path) -> dict[str, list[Path]]:
    """The folders and loose images of each subject: in the folder, raw data, derivatives, and the datasets in these."""
    roots = [folder, *(each for each in folders_in(folder) if each.name in _ROOTS)]
    roots += [each for root in roots[1:] if root.name == "derivatives" for each in folders_seen(root)]
    found: dict[str, list[Path]] = {}
    for root in roots:
        for each in folders_seen(root):
            if _SUBJECT.fullmatch(each.name):
                found.setdefault(each.name, []).append(each)
        for file in files_in(root) if root == folder else ():
            match = _LOOSE.match(file.name) if is_nifti(file) else None
            if match is not None:
                found.setdefault(match[1], []).append(file)
    return dict(sorted(found.items()))


def subject_id(name: str) -> str:
    """What the subject of a folder is called: its name, or a hash where that holds a date or a long number."""
    return f"sub-{own_label(name.removeprefix('sub-'))}"


def home_of(place: Path) -> Path:
    """The folder of a case's files."""
    return place.parent if is_nifti(place) else place


def images(places: Sequence[Path]) -> list[Path]:
    """The NIfTI files below some folders, and those among them."""
    folders = [place for place in places if not is_nifti(place)]
    loose = [place for place in places if is_nifti(place)]
    return loose + [file for place in folders for file in files_below(place, depth=_DEPTH) if is_nifti(file)]


def session_entries(folder: Path, reader: VolumeReader, build: Build) -> list[Entry]:
    """One entry a subject and session; a file that names no session belongs to each."""
    entries = []
    for named, places in subjects(folder).items():
        subject = subject_id(named)
        try:
            files = images(places)
        except FileError as error:
            entries.append(broken(subject, home_of(places[0]), reader, error))
            continue
        labels = [
            entities(file.name).get("ses") or entities(str(file.relative_to(folder))).get("ses") for file in files
        ]
        for session in sorted({label for label in labels if label}) or [""]:
            chosen = [file for file, label in zip(files, labels, strict=True) if label in (session, None)]
            case_id = f"{subject}_ses-{own_label(session)}" if session else subject
            entries.append(entry_of(case_id, subject, home_of(places[0]), reader, partial(build, chosen)))
    return entries


def entry_of(case_id: str, person: str, folder: Path, reader: VolumeReader, find: Callable[[], Found]) -> Entry:
    """The entry of what is found; a row that tells what is wrong where it cannot be."""
    try:
        found = find()
        if not found.channels:
            raise FileError(f"{case_id} holds no image with a known name")
    except (StrokelensError, OSError) as error:
        return replace(broken(case_id, folder, reader, error), person=person)
    files = {name: (found.channels[name],) for name in ordered(found.channels)}
    reader = replace(reader, relative=found.relative)
    return Entry(case_id, person, folder, files, reader, found.truth, problems=found.problems)


def plain(files: Sequence[Path]) -> Found:
    """Each image by its name; the truth is the only segmentation, else the only mask."""
    channels: dict[str, Path] = {}
    relative = set()
    for file in files:
        name = parse(stem(file))
        if name.mask or name.channel is None:
            continue
        if name.channel in channels:
            raise CaseError(f"two files hold {name.channel}: {channels[name.channel].name} and {file.name}; remove one")
        channels[name.channel] = file
        relative |= {name.channel} if name.relative else set()
    truth, problems = pick_truth(files)
    return Found(channels, frozenset(relative), truth, problems)


def pick_truth(files: Sequence[Path]) -> tuple[Truth | None, tuple[Problem, ...]]:
    """The only file named `_dseg`, else the only other mask that is no brain's and no result of software."""
    masks = [file for file in files if is_mask(file) and not _words(file) & _NO_TRUTH and not _by_software(file)]
    segmentations = [file for file in masks if stem(file).endswith("_dseg")]
    candidates = segmentations or masks
    if len(candidates) > 1:
        shown = ", ".join(file.name for file in candidates[:4])
        return None, (Problem("ambiguous", f"{len(candidates)} files could be the truth ({shown}); none is taken"),)
    return (labelled(candidates[0]), ()) if candidates else (None, ())


def labelled(file: Path) -> Truth:
    """The truth in a file: its classes by the table `_dseg.tsv` beside it, its sidecar, else a lesion."""
    table = file.with_name(f"{stem(file)}.tsv")
    if not table.is_file():
        return truth_of(file)
    values = label_values(read_rows(table), table.name)
    return Truth((file,), scheme_of(values.values(), table.name), values)


def _words(file: Path) -> set[str]:
    return set(re.split(r"[-_.]", stem(file).casefold()))


def _by_software(file: Path) -> bool:
    """Whether the sidecar says that no human drew it."""
    return (read_object(file.with_name(f"{stem(file)}.json")) or {}).get("Manual") is False
