"""The layout `dicom`: a folder of DICOM files or zip archives, in any folders; one case for each study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final

from strokelens.case import Case, Segmentation
from strokelens.cohorts.cohort import Entry, Problem, Truth, broken
from strokelens.cohorts.decode import is_nifti
from strokelens.cohorts.dicom import examined, read_dicom, study_id
from strokelens.cohorts.dicom_files import is_dicom_file, is_zip, loose, members
from strokelens.cohorts.dicom_header import Plane, read_planes
from strokelens.cohorts.dicom_series import Series, chosen, series_of
from strokelens.cohorts.encode import write_segmentation
from strokelens.cohorts.listing import files_in
from strokelens.cohorts.nifti_folders import truth_of
from strokelens.cohorts.participants import PARTICIPANTS, read_participants
from strokelens.cohorts.parts import Reading
from strokelens.cohorts.study import phantom_of, walk
from strokelens.cohorts.tables import clinical
from strokelens.cohorts.volumes import VolumeReader, look_at_truth, read_truth
from strokelens.errors import FileError, StrokelensError
from strokelens.grid import Grid

TRUTH: Final = "truth"
"""The folder of truths in a cohort."""

TRUTH_ENDING: Final = "_dseg.nii.gz"

_SNIFFED = 200


@dataclass(frozen=True)
class DicomReader:
    """Reads one study out of files that may hold others too; `grid` is that of its first channel, where it has one."""

    study: str
    reading: Reading = field(default_factory=Reading)
    grid: Grid | None = None

    def look(self, entry: Entry) -> tuple[Problem, ...]:
        """What the header of the truth tells; opening read every other one."""
        if entry.truth is None or self.grid is None:
            return ()
        return look_at_truth(entry.truth, entry.channels[0], self.grid)

    def read(self, entry: Entry, channels: Sequence[str]) -> Case:
        """The case with these channels, and its truth on their grid."""
        paths = sorted({file for name in channels for file in entry.files[name]})
        told = replace(self.reading, case_id=self.reading.case_id or entry.id)
        case = read_dicom(paths, told, study=self.study, wanted=channels)
        truth = None if entry.truth is None else read_truth(entry.truth, case.grid)
        return replace(case, truth=truth, group=entry.group, clinical=entry.numbers)

    def read_truth(self, entry: Entry, truth: Truth) -> Case:
        """The case without channels, on the grid of its truth, which is NIfTI."""
        return VolumeReader().read_truth(entry, truth)


@dataclass(frozen=True)
class DicomStudies:
    """Studies in any folders, told apart by their StudyInstanceUID; the number of a patient only parts persons.

    Opening reads the header of every file. An id is `case-` and a hash of the StudyInstanceUID, and a person is called
    by the first study; a simulated patient is called by their folder. The truth of a case is `truth/<id>_dseg.nii.gz`,
    and `participants.tsv` has groups and clinical values by id.
    """

    name: str = "dicom"
    looked_for: str = "DICOM files or zip archives of them, whatever their names"
    special: int = 1

    def recognises(self, folder: Path) -> bool:
        """Whether one of the first files is DICOM or an archive, and none of them is NIfTI."""
        try:
            seen = list(islice(walk(folder), _SNIFFED))
        except OSError:
            return False
        found = any(is_dicom_file(file) or _is_archive(file) for file in seen)
        return found and not any(is_nifti(file) for file in seen)

    def entries(self, folder: Path) -> tuple[Entry, ...]:
        """One entry a study, and one for each file that is damaged."""
        studies: dict[str, list[Plane]] = {}
        damaged: list[Entry] = []
        for path in _sources(folder):
            try:
                planes = _planes(path)
            except FileError as error:
                damaged.append(broken(f"file-{len(damaged) + 1}", path.parent, DicomReader(""), error))
                continue
            for plane in planes:
                studies.setdefault(plane.study, []).append(plane)
        called = {study: _called(study, planes, folder) for study, planes in sorted(studies.items())}
        persons: dict[str, str] = {}
        for study, case_id in called.items():
            persons.setdefault(studies[study][0].person or study, case_id)
        found = [
            _entry(study, case_id, studies[study], persons[studies[study][0].person or study])
            for study, case_id in called.items()
        ]
        return (*_told(found, folder), *damaged)


def _called(study: str, planes: Sequence[Plane], folder: Path) -> str:
    """The id of a study; a simulated patient's is the name of the folder in the cohort that has it."""
    if planes[0].simulated:
        for place in planes[0].member.path.parents:
            if (named := phantom_of(place)) is not None:
                return named
            if place == folder:
                break
    return study_id(study)


def _told(entries: Sequence[Entry], folder: Path) -> list[Entry]:
    """The entries with what the table beside them tells, and with their truths."""
    people, problems = read_participants(folder / PARTICIPANTS)
    truths = _truths(folder)
    told = []
    for entry in entries:
        row = people.get(entry.id, {})
        try:
            truth, more = truth_of(truths[entry.id]) if entry.id in truths else None, problems
        except StrokelensError as error:
            truth, more = None, (*problems, Problem("truth", str(error), unusable=True))
        group = row.get("group") or None
        told.append(
            replace(entry, truth=truth, group=group, clinical=clinical(row), problems=entry.problems + tuple(more))
        )
    return told


def _truths(folder: Path) -> dict[str, Path]:
    """The truths beside the studies of a cohort, by the id of their case."""
    files = files_in(folder / TRUTH) if (folder / TRUTH).is_dir() else []
    return {file.name.removesuffix(TRUTH_ENDING): file for file in files if file.name.endswith(TRUTH_ENDING)}


def write_truth(folder: Path, name: str, truth: Segmentation, facts: Mapping[str, object]) -> Path:
    """Write the truth of a case where the layout looks for it; the file."""
    (folder / TRUTH).mkdir(parents=True, exist_ok=True)
    path = folder / TRUTH / f"{name}{TRUTH_ENDING}"
    write_segmentation(path, truth, facts=facts)
    return path


def _sources(folder: Path) -> list[Path]:
    """The files of a folder that are DICOM, or archives."""
    try:
        return [file for file in walk(folder) if _is_archive(file) or is_dicom_file(file)]
    except OSError as error:
        raise FileError(f"{folder} cannot be read: {error.strerror}; check its permissions") from error


def _is_archive(file: Path) -> bool:
    return file.suffix.lower() == ".zip" and is_zip(file)


def _planes(path: Path) -> list[Plane]:
    """The planes in a file or archive."""
    if not _is_archive(path):
        return list(read_planes(loose(path)))
    with members((path,)) as files:
        return [plane for file in files for plane in read_planes(file)]


def _entry(study: str, case_id: str, planes: Sequence[Plane], person: str) -> Entry:
    """The entry of a study: its channels and their files, or why it cannot be read."""
    place = planes[0].member.path.parent
    try:
        choices = chosen(series_of(planes))
    except StrokelensError as error:
        return replace(broken(case_id, place, DicomReader(study), error), person=person)
    problems: list[Problem] = []
    grids: list[Grid] = []
    for choice in choices:
        try:
            where = examined(choice.channel, choice.series, Reading())
            grids.append(where.grid)
            problems += [Problem("doubt", f"{choice.series.name}: {doubt}") for doubt in where.doubts]
        except StrokelensError as error:
            problems.append(Problem("slices", str(error), unusable=True))
    return Entry(
        case_id,
        person,
        place,
        {choice.channel: _paths(choice.series) for choice in choices},
        DicomReader(study, grid=grids[0] if grids else None),
        problems=tuple(problems),
    )


def _paths(series: Series) -> tuple[Path, ...]:
    return tuple(sorted({plane.member.path for plane in series.planes}, key=str))
