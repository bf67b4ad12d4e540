"""The layout `dicom`: a folder of DICOM files or zip archives, in any folders; one case for each study."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from strokelens.case import Case
from strokelens.cohorts.cohort import Entry, Problem, Truth, broken
from strokelens.cohorts.decode import is_nifti
from strokelens.cohorts.dicom import examined, read_dicom, study_id
from strokelens.cohorts.dicom_files import is_dicom_file, is_zip, members
from strokelens.cohorts.dicom_header import Plane, read_planes
from strokelens.cohorts.dicom_series import Series, chosen, series_of
from strokelens.cohorts.parts import Reading
from strokelens.cohorts.study import walk
from strokelens.errors import CaseError, FileError, StrokelensError

_SNIFFED = 200


@dataclass(frozen=True)
class DicomReader:
    """Reads one study out of files that may hold others too."""

    study: str
    reading: Reading = field(default_factory=Reading)

    def look(self, entry: Entry) -> tuple[Problem, ...]:
        """Nothing more than opening told: that read every header."""
        return ()

    def read(self, entry: Entry, channels: Sequence[str]) -> Case:
        """The case with these channels."""
        paths = sorted({file for name in channels for file in entry.files[name]})
        told = replace(self.reading, case_id=entry.id)
        return replace(
            read_dicom(paths, told, study=self.study, wanted=channels), group=entry.group, clinical=entry.numbers
        )

    def read_truth(self, entry: Entry, truth: Truth) -> Case:
        """No truth is read from DICOM."""
        raise CaseError(f"{entry.id}: a truth in DICOM is not read; give the cohort as NIfTI, with the truth beside it")


@dataclass(frozen=True)
class DicomStudies:
    """Studies in any folders, told apart by their StudyInstanceUID; the number of a patient only parts persons.

    Opening reads the header of every file. An id is `case-` and a hash of the StudyInstanceUID, and a person is called
    by the first study.
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
        found = any(is_dicom_file(file) or (file.suffix.lower() == ".zip" and is_zip(file)) for file in seen)
        return found and not any(is_nifti(file) for file in seen)

    def entries(self, folder: Path) -> tuple[Entry, ...]:
        """One entry a study, and one for each file that is damaged."""
        studies: dict[str, list[Plane]] = {}
        damaged: list[Entry] = []
        for path in _sources(folder):
            try:
                with members((path,)) as files:
                    planes = [plane for file in files for plane in read_planes(file)]
            except FileError as error:
                damaged.append(broken(f"file-{len(damaged) + 1}", path.parent, DicomReader(""), error))
                continue
            for plane in planes:
                studies.setdefault(plane.study, []).append(plane)
        persons: dict[str, str] = {}
        for study, planes in sorted(studies.items()):
            persons.setdefault(planes[0].person or study, study_id(study))
        found = [_entry(study, planes, persons[planes[0].person or study]) for study, planes in sorted(studies.items())]
        return (*found, *damaged)


def _sources(folder: Path) -> list[Path]:
    """The files of a folder that are DICOM, or archives."""
    try:
        return [
            file for file in walk(folder) if is_dicom_file(file) or (file.suffix.lower() == ".zip" and is_zip(file))
        ]
    except OSError as error:
        raise FileError(f"{folder} cannot be read: {error.strerror}; check its permissions") from error


def _entry(study: str, planes: Sequence[Plane], person: str) -> Entry:
    """The entry of a study: its channels and their files, or why it cannot be read."""
    case_id, reader = study_id(study), DicomReader(study)
    place = planes[0].member.path.parent
    try:
        choices = chosen(series_of(planes))
    except StrokelensError as error:
        return replace(broken(case_id, place, reader, error), person=person)
    problems = [problem for choice in choices for problem in _problems(choice.channel, choice.series)]
    return Entry(
        case_id,
        person,
        place,
        {choice.channel: _paths(choice.series) for choice in choices},
        reader,
        problems=tuple(problems),
    )


def _paths(series: Series) -> tuple[Path, ...]:
    return tuple(sorted({plane.member.path for plane in series.planes}))


def _problems(channel: str, series: Series) -> list[Problem]:
    """What place and time of a series tell."""
    try:
        doubts = examined(channel, series, Reading())
    except StrokelensError as error:
        return [Problem("slices", str(error), unusable=True)]
    return [Problem("doubt", f"{series.name}: {doubt}") for doubt in doubts]
