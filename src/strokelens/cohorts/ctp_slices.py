"""The layout `ctp_slices` of the Stavanger cohort: colour-coded CT perfusion maps and grey truth, slice by slice."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from strokelens.cohorts.clinical_table import ClinicalTable, read_clinical_table
from strokelens.cohorts.cohort import Entry, Problem, Truth, broken
from strokelens.cohorts.grey import GREY_LEVELS
from strokelens.cohorts.listing import files_in, folders_in, folders_seen
from strokelens.cohorts.sidecar import read_object
from strokelens.cohorts.slice_reader import SliceReader
from strokelens.cohorts.slices import SUFFIXES
from strokelens.errors import CaseError, FileError, StrokelensError, shortened
from strokelens.labels import CORE_PENUMBRA_BRAIN

GROUPS: Final[Mapping[str, str]] = MappingProxyType({"00": "LVO", "01": "LVO", "02": "Non-LVO", "03": "WIS"})
"""The severity codes of folder names and their groups; 20 to 23 are their mirrored copies."""

MAPS: Final[Mapping[str, str]] = MappingProxyType(
    {"CBF": "CBF", "CBV": "CBV", "MTT": "MTT", "TTP": "TTP", "TMAX": "Tmax", "MIP": "MIP"}
)
"""The folders of a day and the channels in them."""

ABOUT: Final = "cohort.json"
"""The file in which a cohort tells its voxel sizes and scales, where they are not the published ones."""

SCORES: Final = "nihss_score.csv"
"""The table of clinical values, one row a patient."""

_NAME = re.compile(r"CTP_([02])([0-3])_(\d{3})")
_NEARLY = re.compile(r"ctp[-_ ]?\d.*", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![0-9])([0-9]{1,9})$")
_WHOSE = re.compile(r"(?:CTP_)?([02])([0-3])_(\d{3})", re.IGNORECASE)


@dataclass(frozen=True)
class CtpSlices:
    """Maps in `CTP_SS_NNN/<day>/<MAP>/NN.png` and truth in `CTP_SS_NNN/NN.tiff`, each in the folder or in one in it.

    `reader` has the voxel sizes and the values at the ends of the bars, which no file of the published layout tells;
    `cohort.json` with `spacing_mm` and `scales` goes before it.
    """

    name: str = "ctp_slices"
    looked_for: str = "folders CTP_SS_NNN with PNG slices of CBF, CBV, TTP, TMAX"
    special: int = 2
    reader: SliceReader = field(default_factory=SliceReader)

    def recognises(self, folder: Path) -> bool:
        """Whether a folder named as a patient is in it, or in a folder of it."""
        return bool(_places(folder))

    def entries(self, folder: Path) -> tuple[Entry, ...]:
        """One entry a patient; of several days the one with most maps, of these the last."""
        about = read_object(folder / ABOUT)
        reader = self.reader if about is None else self.reader.told(about, ABOUT)
        scores = _scores(folder)
        found = []
        for name, places in _places(folder).items():
            copy, group, person = _patient(name)
            try:
                entry = _entry(name, places, reader)
            except (StrokelensError, OSError) as error:
                entry = broken(name, places[0], reader, error)
            values, problems = scores.of(person) if scores is not None else ({}, ())
            told = replace(entry, person=person, group=group, mirrored=copy, clinical=values)
            found.append(replace(told, problems=entry.problems + problems))
        return tuple(found)

    def notes(self, folder: Path, entries: Sequence[Entry]) -> tuple[str, ...]:
        """Folders that are nearly named as patients, and rows of the table that are nobody's here."""
        nearly = sorted({each.name for each in _seen(folder) if _NEARLY.fullmatch(each.name)} - _places(folder).keys())
        scores = _scores(folder)
        rows = scores.strangers({_patient(name)[2] for name in _places(folder)}) if scores is not None else ()
        notes = []
        if nearly:
            notes.append(
                f"left out, as no CTP_SS_NNN with SS of 00 to 03 or 20 to 23: {shortened(nearly)}; rename them"
            )
        if rows:
            notes.append(f"{SCORES} has rows of nobody here: {shortened(rows)}")
        return tuple(notes)


def numbered(files: Sequence[Path]) -> dict[int, Path]:
    """The slices by the number at the end of their names, after the patient's id where the folder is that patient's.

    Raises `CaseError` when two have one number.
    """
    slices: dict[int, Path] = {}
    for file in files:
        match = _NUMBER.search(_own_name(file)) if file.suffix.lower() in SUFFIXES else None
        if match is None:
            continue
        number = int(match[1])
        if number in slices:
            raise CaseError(f"two files are slice {number}: {slices[number].name} and {file.name}; remove one")
        slices[number] = file
    return dict(sorted(slices.items()))


def _own_name(file: Path) -> str:
    """The name of a slice without what its folder says: `01_00102` is `02` in the folder of CTP_01_001."""
    folder, name = _WHOSE.fullmatch(file.parent.name), _WHOSE.match(file.stem)
    same = folder is not None and name is not None and folder.groups()[1:] == name.groups()[1:]
    return file.stem[name.end() :] if same and name is not None else file.stem


def _seen(folder: Path) -> list[Path]:
    """The folders in a folder, and those in them that are no patient's."""
    outer = folders_in(folder)
    return outer + [inner for each in outer if not _NAME.fullmatch(each.name) for inner in folders_seen(each)]


def _places(folder: Path) -> dict[str, list[Path]]:
    """The folders of each patient, in the folder and in those in it."""
    places: dict[str, list[Path]] = defaultdict(list)
    for place in _seen(folder):
        if _NAME.fullmatch(place.name):
            places[place.name].append(place)
    return dict(sorted(places.items()))


def _patient(name: str) -> tuple[bool, str, str]:
    """Whether a patient's folder has a mirrored copy, the group, and the name of the original."""
    match = _NAME.fullmatch(name)
    assert match is not None
    copy, severity, number = match.groups()
    return copy == "2", GROUPS[f"0{severity}"], f"CTP_0{severity}_{number}"


def _entry(name: str, places: Sequence[Path], reader: SliceReader) -> Entry:
    days = [(day, maps) for place in places for day in (place, *folders_in(place)) if (maps := _maps(day))]
    if not days:
        raise FileError(f"{name} has no day with maps; looked for folders {', '.join(MAPS)} with PNG slices")
    day, maps = max(days, key=lambda each: (len(each[1]), each[0].name))
    problems = [Problem("days", f"{len(days)} days with maps; {day.name} is taken")] if len(days) > 1 else []
    truth, more = _truth(places, maps)
    return Entry(
        name,
        name,
        day,
        {channel: tuple(slices.values()) for channel, slices in maps.items()},
        reader,
        truth,
        problems=(*problems, *_gaps(maps), *more),
    )


def _maps(day: Path) -> dict[str, dict[int, Path]]:
    """The slices of each map of a day."""
    folders = {each.name.upper(): each for each in folders_in(day)}
    found = {channel: numbered(files_in(folders[name])) for name, channel in MAPS.items() if name in folders}
    return {channel: slices for channel, slices in found.items() if slices}


def _gaps(maps: Mapping[str, Mapping[int, Path]]) -> list[Problem]:
    """Maps with other slices than the first one, and numbers that are left out."""
    (first, slices), *others = maps.items()
    problems = [
        Problem("slices", f"{name} has slices {spans(each)} and {first} has {spans(slices)}; export them again", True)
        for name, each in others
        if each.keys() != slices.keys()
    ]
    if len(slices) != max(slices) - min(slices) + 1:
        problems.append(Problem("slices", f"slices are missing: there are {spans(slices)}; export them again", True))
    return problems


def _truth(places: Sequence[Path], maps: Mapping[str, Mapping[int, Path]]) -> tuple[Truth | None, list[Problem]]:
    """The truth of the maps' slices; None where there is none, or not for each of them."""
    wanted = next(iter(maps.values()))
    for place in places:
        slices = numbered(files_in(place))
        if not slices:
            continue
        lacking = wanted.keys() - slices.keys()
        if lacking:
            return None, [Problem("truth", f"the truth has slices {spans(slices)}, the maps {spans(wanted)}", True)]
        return Truth(tuple(slices[number] for number in wanted), CORE_PENUMBRA_BRAIN, GREY_LEVELS), []
    return None, []


def spans(slices: Iterable[int]) -> str:
    """Numbers in words.

    >>> spans([1, 2, 3, 7])
    '1-3, 7'
    """
    numbers = sorted(slices)
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in found)


def _scores(folder: Path) -> ClinicalTable | None:
    """The clinical values in the table of a cohort; None where there is no table."""
    table = next((each / SCORES for each in (folder, *folders_in(folder)) if (each / SCORES).is_file()), None)
    return None if table is None else read_clinical_table(table, _person)


def _person(cell: str) -> str | None:
    """The patient that a cell names, as `CTP_SS_NNN` or `SS_NNN`; a mirrored copy is its original."""
    match = _WHOSE.fullmatch(cell)
    return f"CTP_0{match[2]}_{match[3]}" if match else None
