"""The layout `dicom`: a folder of DICOM files or zip archives, in any folders; one case for each study."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from strokelens.case import Case, Segmentation
from strokelens.cohorts.channels import MASK_WORDS
from strokelens.cohorts.cohort import Entry, Problem, Truth, broken
from strokelens.cohorts.decode import is_nifti
from strokelens.cohorts.dicom import examined, read_dicom, study_id
from strokelens.cohorts.dicom_files import Member, is_dicom_file, is_named_zip, members
from strokelens.cohorts.dicom_plane import Plane
from strokelens.cohorts.dicom_series import DIFFUSION, Series, chosen, series_of
from strokelens.cohorts.dicom_survey import Survey, surveyed
from strokelens.cohorts.dicom_walk import every_file
from strokelens.cohorts.encode import write_segmentation
from strokelens.cohorts.listing import files_in
from strokelens.cohorts.nifti_folders import truth_of
from strokelens.cohorts.participants import PARTICIPANTS, participants, participants_noted, with_participant
from strokelens.cohorts.parts import Reading
from strokelens.cohorts.study import phantom_of
from strokelens.cohorts.volumes import VolumeReader, look_at_truth, read_truth
from strokelens.errors import FileError, StrokelensError, shortened
from strokelens.grid import Grid, difference

TRUTH: Final = "truth"
"""The folder of truths in a cohort."""

TRUTH_ENDING: Final = "_dseg.nii.gz"

_SHOWN = 4
_SNIFFED, _MOST_SNIFFED = 200, 20_000
_NO_DICOM = (".png", ".tif", ".tiff", ".jpg", ".txt", ".csv", ".tsv", ".json", ".md", ".html", ".mha", ".pdf", ".xlsx")


@dataclass(frozen=True)
class DicomReader:
    """Reads one study out of files that may hold others too; `grid` is that of its first channel, where it has one.

    `doubts` are those of a channel about what lies beside its files.
    """

    study: str
    reading: Reading = field(default_factory=Reading)
    grid: Grid | None = None
    doubts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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
        sources = {
            name: replace(source, doubts=source.doubts + self.doubts.get(name, ()))
            for name, source in case.sources.items()
        }
        return replace(case, truth=truth, group=entry.group, clinical=entry.numbers, sources=sources)

    def read_truth(self, entry: Entry, truth: Truth) -> Case:
        """The case without channels, on the grid of its truth, which is NIfTI."""
        return VolumeReader().read_truth(entry, truth)


@dataclass(frozen=True)
class DicomStudies:
    """Studies in any folders, told apart by their StudyInstanceUID; the number of a patient only parts persons.

    Opening reads the header of every file. An id is `case-` and a hash of the StudyInstanceUID, and a person is called
    by the first study; a simulated patient is called by their folder. The truth of a case is `truth/<id>_dseg.nii.gz`,
    and `participants.tsv` has groups and clinical values by id. `reading` says how cases are read.
    """

    reading: Reading = field(default_factory=Reading)
    name: str = "dicom"
    looked_for: str = "DICOM files or zip archives of them, whatever their names"
    special: int = 1

    def recognises(self, folder: Path) -> bool:
        """Whether a file is DICOM or an archive, and none of the first ones is a NIfTI image."""
        found = False
        for count, place in enumerate(every_file(folder, lambda _: None)):
            if is_nifti(Path(place)):
                if not MASK_WORDS.isdisjoint(part.casefold() for part in Path(place).relative_to(folder).parts[:-1]):
                    continue
                return False
            if found and count >= _SNIFFED:
                return True
            if count >= _MOST_SNIFFED:
                return False
            if not found and not place.lower().endswith(_NO_DICOM):
                found = is_named_zip(place) or is_dicom_file(Path(place))
        return found

    def entries(self, folder: Path) -> tuple[Entry, ...]:
        """One entry a study, and one for each file that is damaged and folder that may not be read."""
        refused: list[OSError] = []
        survey, archives = _survey(folder, refused)
        lost = [(member.path.parent, error) for member, error in survey.damaged]
        lost += archives
        damaged = [broken(f"file-{at}", place, DicomReader(""), error) for at, (place, error) in enumerate(lost, 1)]
        damaged += [
            broken(f"folder-{at}", Path(str(error.filename)), DicomReader(""), error)
            for at, error in enumerate(refused, 1)
        ]
        studies: dict[str, list[Plane]] = {}
        for plane in survey.planes:
            studies.setdefault(plane.study, []).append(plane)
        called = {study: _called(study, planes, folder) for study, planes in sorted(studies.items())}
        persons = _persons({study: studies[study][0].person for study in called})
        found = [
            _entry(study, case_id, studies[study], called[persons[study]], self.reading, survey)
            for study, case_id in called.items()
        ]
        return (*_with_tables(found, folder), *damaged)

    def notes(self, folder: Path, entries: Sequence[Entry]) -> tuple[str, ...]:
        """Rows of nobody and groups that are none of the known ones; and the truths that belong to no study."""
        known = {entry.id for entry in entries}
        people = participants(folder / PARTICIPANTS)
        noted = () if people is None else participants_noted(people, known)
        stray = [path.name for name, path in _truths(folder).items() if name not in known]
        if not stray:
            return noted
        shown = shortened(stray, _SHOWN)
        verb = "is the truth of no study" if len(stray) == 1 else "are truths of no study"
        called = f"a truth is called by the id that `inspect` shows, <id>{TRUTH_ENDING}"
        return (*noted, f"{TRUTH}/{shown} {verb} here: {called}")


def _survey(folder: Path, refused: list[OSError]) -> tuple[Survey, list[tuple[Path, FileError]]]:
    """What is in the files of a folder, and which archives cannot be opened."""
    files: list[Member] = []
    archives: list[tuple[Path, FileError]] = []
    with ExitStack() as stack:
        for place in every_file(folder, refused.append):
            if not is_named_zip(place):
                files.append(Member(place))
                continue
            try:
                files += stack.enter_context(members((Path(place),)))
            except FileError as error:
                archives.append((Path(place).parent, error))
        return surveyed(files), archives


def _persons(numbers: Mapping[str, str]) -> dict[str, str]:
    """The first study of the person of each study; one without a number is a person of its own.

    A number that one issuer gave is the same where nobody is named as its issuer.
    """
    issuers: dict[str, set[str]] = {}
    for told in numbers.values():
        number, _, issuer = told.partition("\\")
        issuers.setdefault(number, set()).add(issuer)
    first: dict[object, str] = {}
    persons = {}
    for study, told in numbers.items():
        number, _, issuer = told.partition("\\")
        known = issuers[number] - {""}
        person = (number, next(iter(known)) if len(known) == 1 else issuer) if number else study
        persons[study] = first.setdefault(person, study)
    return persons


def _called(study: str, planes: Sequence[Plane], folder: Path) -> str:
    """The id of a study; a simulated patient's is the name of the folder in the cohort that has it."""
    if planes[0].simulated:
        for place in planes[0].member.path.parents:
            if (named := phantom_of(place)) is not None:
                return named
            if place == folder:
                break
    return study_id(study)


def _with_tables(entries: Sequence[Entry], folder: Path) -> list[Entry]:
    """The entries with what the table beside them tells, and with their truths."""
    people = participants(folder / PARTICIPANTS)
    truths = _truths(folder)
    found = []
    for entry in entries:
        known = entry if people is None else with_participant(entry, people, entry.id)
        try:
            found.append(replace(known, truth=truth_of(truths[entry.id]) if entry.id in truths else None))
        except StrokelensError as error:
            found.append(replace(known, problems=(*known.problems, Problem("truth", str(error), unusable=True))))
    return found


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


def _entry(study: str, case_id: str, planes: Sequence[Plane], person: str, reading: Reading, survey: Survey) -> Entry:
    """The entry of a study: its channels and their files, or why it cannot be read."""
    place = planes[0].member.path.parent
    try:
        choices = chosen(series_of(planes))
    except StrokelensError as error:
        return replace(broken(case_id, place, DicomReader(study), error), person=person)
    problems: list[Problem] = []
    grids: dict[str, Grid] = {}
    lost = {choice.channel: survey.doubts(choice.series) for choice in choices}
    for choice in choices:
        doubts = lost[choice.channel]
        try:
            where = examined(choice.channel, choice.series, reading)
            grids[choice.channel] = where.grid
            doubts = (*where.doubts, *doubts)
        except StrokelensError as error:
            problems.append(Problem("slices", str(error), unusable=True))
        problems += [Problem("doubt", f"{choice.series.name}: {doubt}") for doubt in doubts]
    apart, aside = _apart(grids, reading)
    files = {choice.channel: _paths(choice.series) for choice in choices if choice.channel not in aside}
    reader = DicomReader(study, reading, next(iter(grids.values()), None), lost)
    return Entry(case_id, person, place, files, reader, problems=(*problems, *apart))


def _apart(grids: Mapping[str, Grid], reading: Reading) -> tuple[list[Problem], tuple[str, ...]]:
    """The channels that lie on another grid than the first one, and which of them are left out."""
    problems: list[Problem] = []
    aside: list[str] = []
    if not grids:
        return [], ()
    (first, grid), *others = grids.items()
    for channel, other in others:
        if other.agrees(grid):
            continue
        gap = difference(other, grid)
        if reading.resample:
            problems.append(Problem("other-grid", f"{channel} is brought onto the grid of {first} ({gap})"))
        elif channel in DIFFUSION and first not in DIFFUSION:
            aside.append(channel)
            text = f"{channel} lies on another grid than {first} ({gap}) and is left out; use --resample to keep it"
            problems.append(Problem("other-grid", text))
        else:
            text = f"{channel} and {first} lie on different grids ({gap}); use --resample to bring them together"
            problems.append(Problem("other-grid", text, unusable=True))
    return problems, tuple(aside)


def _paths(series: Series) -> tuple[Path, ...]:
    return tuple(Path(place) for place in sorted({plane.member.file for plane in series.planes}))
