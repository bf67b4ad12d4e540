"""The layout of ISLES 2024: CT perfusion of the first day, the infarct of the follow-up."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from strokelens.cohorts.bids_tree import Found, entry_of, home_of, images, labelled, subject_id, subjects
from strokelens.cohorts.channels import entities, parse
from strokelens.cohorts.clinical_table import ClinicalTable, told_of
from strokelens.cohorts.cohort import Entry, Problem
from strokelens.cohorts.decode import stem
from strokelens.cohorts.listing import files_below
from strokelens.cohorts.tables import read_rows
from strokelens.cohorts.volumes import VolumeReader
from strokelens.errors import CaseError, FileError, shortened

_SUBJECT = re.compile(r"sub-stroke\d+")
_PHENOTYPE = "phenotype"
_REGISTERED = "space-ncct"
_REFERENCE = "NCCT"


@dataclass(frozen=True)
class Isles2024:
    """`derivatives/sub-strokeNNNN/ses-01/…_space-ncct_<map>`, `ses-02/…_lesion-msk`, and the raw `…_ncct`.

    One case a subject: the images of the first session that lie on the grid of the NCCT, and the truth of the second.
    Clinical values come from the tables below `phenotype/`.
    """

    name: str = "isles2024"
    looked_for: str = "folders sub-strokeNNNN"
    special: int = 2

    def recognises(self, folder: Path) -> bool:
        """Whether a subject of the challenge is there."""
        return any(_SUBJECT.fullmatch(name) for name in subjects(folder))

    def entries(self, folder: Path) -> tuple[Entry, ...]:
        """One entry a subject."""
        tables = _phenotype(folder / _PHENOTYPE)
        found = []
        for subject, places in subjects(folder).items():
            called = subject_id(subject)
            entry = entry_of(called, called, home_of(places[0]), VolumeReader(), partial(_found, places))
            values, problems = told_of(subject, tables)
            found.append(replace(entry, clinical=values, problems=entry.problems + problems))
        return tuple(found)

    def notes(self, folder: Path, entries: Sequence[Entry]) -> tuple[str, ...]:
        """Rows of the tables that are of no subject here."""
        here = subjects(folder).keys()
        rows = {table.name: table.strangers(here) for table in _phenotype(folder / _PHENOTYPE)}
        return tuple(f"{name} has rows of nobody here: {shortened(found)}" for name, found in rows.items() if found)


def _found(places: Sequence[Path]) -> Found:
    """The images on the grid of the NCCT, and the lesion, in the folders of a subject."""
    channels: dict[str, Path] = {}
    truths = []
    for file in images(places):
        name = parse(stem(file))
        if name.mask:
            truths += [file] if stem(file).endswith("_lesion-msk") else []
            continue
        if name.channel is None or entities(file.name).get("ses") == "02":
            continue
        if _REGISTERED not in file.name and name.channel != _REFERENCE:
            continue
        if name.channel in channels:
            raise CaseError(f"two files hold {name.channel}: {channels[name.channel].name} and {file.name}; remove one")
        channels[name.channel] = file
    if len(truths) > 1:
        shown = ", ".join(file.name for file in truths[:4])
        return Found(channels, problems=(Problem("ambiguous", f"{len(truths)} lesions ({shown}); none is taken"),))
    return Found(channels, truth=labelled(truths[0]) if truths else None)


def _phenotype(folder: Path) -> list[ClinicalTable]:
    """The tables below a folder."""
    files = files_below(folder, depth=2) if folder.is_dir() else []
    return [_table(file, folder) for file in files if file.suffix.lower() in (".csv", ".tsv")]


def _table(file: Path, folder: Path) -> ClinicalTable:
    """A table by subject, who is named in a row, else in the name of the table."""
    called = file.relative_to(folder).as_posix()
    try:
        rows = read_rows(file)
    except FileError as error:
        return ClinicalTable(called, problems=(Problem("clinical", str(error)),))
    of_all = _SUBJECT.match(file.name)
    found: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    unknown = 0
    for row in rows:
        subject = next((cell for cell in row.values() if _SUBJECT.fullmatch(cell)), of_all and of_all[0])
        if subject is None:
            unknown += 1
        else:
            found[subject].append(row)
    return ClinicalTable(called, dict(found), unknown)
