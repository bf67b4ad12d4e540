"""The one case that a user means: a study, the folder of a case in a cohort, or a case of a cohort by its name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from strokelens.case import SERIES, Case
from strokelens.cohorts.cohort import Cohort, Entry, Layout
from strokelens.cohorts.dicom import read_dicom
from strokelens.cohorts.dicom_layout import DicomReader
from strokelens.cohorts.layouts import LAYOUTS, open_cohort, recognised
from strokelens.cohorts.nifti import is_dicom, read_files
from strokelens.cohorts.parts import Reading
from strokelens.cohorts.study import Study, find_study
from strokelens.cohorts.volumes import VolumeReader
from strokelens.errors import CaseError, CohortError, FileError, StrokelensError, shortened

_AS_WRITTEN = Reading()
_BESIDE_SERIES: Final = ("ADC", "DWI", "B0")
_LEVELS = 3
_PLAIN: Final = "nifti"
"""The layout of any folder with NIfTI files: what is wrong with a study says more than what it would be as a cohort."""


def read_case(path: Path, reading: Reading = _AS_WRITTEN, *, name: str | None = None) -> Case:
    """The case at `path`, or the one called `name` in the cohort there, as `segment` needs it: without its truth.

    What is one study is read as `read_study` does. Else `path` may be a cohort with one case, or the folder of a case,
    whose cohort is then looked for in up to three folders above. Of a series and maps the series is read, with ADC,
    DWI and b0.

    Raises a `StrokelensError` with one line; of a cohort with several cases it lists their names.
    """
    found = find_case(path, reading, name=name)
    if isinstance(found, Entry):
        return read_entry(found, reading)
    return read_dicom((Path(path),), reading) if found is None else read_files(found, reading)


def find_case(path: Path, reading: Reading = _AS_WRITTEN, *, name: str | None = None) -> Entry | Study | None:
    """What `read_case` reads: a case of a cohort, the files of a study, or None for a study in DICOM."""
    path = Path(path)
    if name is not None:
        return open_cohort(path, resample=reading.resample)[name]
    if is_dicom(path):
        return None
    try:
        return find_study(path)
    except (CaseError, FileError) as error:
        entry = _entry_at(path, error, resample=reading.resample) if path.is_dir() else None
        if entry is None:
            raise
        return entry


def _entry_at(path: Path, error: StrokelensError, *, resample: bool) -> Entry | None:
    """The only case of the cohort at `path`, or of the cohort that holds `path`; None where `error` says it all.

    Raises `CaseError` where there are several.
    """
    cohort = _cohort_at(path, resample=resample)
    plain = cohort is None or cohort.layout == _PLAIN
    entries = tuple(_holding(path, resample=resample)) if plain else ()
    if len(entries) == 1:
        return entries[0]
    entries = entries if cohort is None else cohort.entries
    if len(entries) < 2:
        return None if plain else entries[0]
    shown = shortened([entry.id for entry in entries])
    if cohort is None:
        raise CaseError(f"{path.resolve().name} is a folder of {len(entries)} cases ({shown}); give that of one")
    if plain:
        raise CaseError(f"{error}; or one of {shown} with --case") from error
    raise CaseError(
        f"{path.resolve().name} is a cohort of {len(entries)} cases ({cohort.layout}: {shown}); "
        f"choose one, as in --case {entries[0].id}"
    ) from error


def _cohort_at(path: Path, *, resample: bool) -> Cohort | None:
    """The cohort in a folder; None where there is none."""
    try:
        return open_cohort(path, resample=resample)
    except (CohortError, FileError):
        return None


def _holding(path: Path, *, resample: bool) -> Sequence[Entry]:
    """The cases that have files below `path`, of the cohort that one of the folders above it is.

    Of several folders that one layout recognises the uppermost is taken, as tables may lie there.
    """
    layout: Layout | None = None
    cohort: Path | None = None
    for above in path.resolve().parents[:_LEVELS]:
        found = _special(above)
        if layout is not None and found != layout:
            break
        if found is not None:
            layout, cohort = found, above
    if layout is None or cohort is None:
        return ()
    place = path.resolve()
    return [entry for entry in open_cohort(cohort, layout, resample=resample) if _lies_in(entry, place)]


def _special(folder: Path) -> Layout | None:
    """The layout of a folder, of those that ask much of one: others would take the whole disk for a cohort."""
    try:
        return recognised(folder, [layout for layout in LAYOUTS if layout.special > 1])
    except (CohortError, FileError):
        return None


def _lies_in(entry: Entry, place: Path) -> bool:
    """Whether a file of the case lies below `place`; of a case without files, its folder."""
    files = [file for files in entry.files.values() for file in files] or [entry.folder]
    return any(file.resolve().is_relative_to(place) for file in files)


def read_entry(entry: Entry, reading: Reading = _AS_WRITTEN) -> Case:
    """A case of a cohort as `read_case` gives it, with what the user told its reader."""
    reader = entry.reader
    if isinstance(reader, VolumeReader | DicomReader):
        resample = reading.resample or reader.reading.resample
        reader = replace(reader, reading=replace(reading, resample=resample))
    series = [name for name in entry.files if name in SERIES]
    wanted = [name for name in entry.files if name in (*SERIES, *_BESIDE_SERIES)] if series else None
    case = replace(entry, reader=reader, truth=None).read(channels=wanted)
    return replace(case, id=reading.case_id or case.id)
