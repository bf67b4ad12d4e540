"""The layout of ISLES 2024: CT perfusion of the first day, the infarct of the follow-up."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from strokelens.cohorts.bids_tree import Found, entry_of, home_of, images, labelled, subject_id, subjects
from strokelens.cohorts.channels import entities, parse
from strokelens.cohorts.cohort import Entry, Problem
from strokelens.cohorts.decode import stem
from strokelens.cohorts.listing import files_below
from strokelens.cohorts.tables import clinical, doubts, read_rows
from strokelens.cohorts.volumes import VolumeReader
from strokelens.errors import CaseError, FileError

_SUBJECT = re.compile(r"sub-stroke\d+")
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
        told = _phenotype(folder / "phenotype")
        found = []
        for subject, places in subjects(folder).items():
            called = subject_id(subject)
            entry = entry_of(called, called, home_of(places[0]), VolumeReader(), partial(_found, places))
            problems = (*entry.problems, *told.unread, *told.doubts.get(subject, ()))
            found.append(replace(entry, clinical=told.values.get(subject, {}), problems=problems))
        return tuple(found)


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


@dataclass(frozen=True)
class Phenotype:
    """What the tables say of each subject, what is doubtful in it, and which tables cannot be read."""

    values: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)
    doubts: Mapping[str, Sequence[Problem]] = field(default_factory=dict)
    unread: tuple[Problem, ...] = ()


def _phenotype(folder: Path) -> Phenotype:
    """The clinical values by subject, who is named in a row, or in the name of the table."""
    values: dict[str, dict[str, float | str]] = {}
    problems: dict[str, list[Problem]] = {}
    unread: list[Problem] = []
    if not folder.is_dir():
        return Phenotype()
    for file in files_below(folder, depth=2):
        if file.suffix.lower() not in (".csv", ".tsv"):
            continue
        try:
            rows = read_rows(file)
        except FileError as error:
            unread.append(Problem("clinical", str(error)))
            continue
        for row in rows:
            named = next((cell for cell in row.values() if _SUBJECT.fullmatch(cell)), None)
            match = _SUBJECT.match(file.name)
            subject = named or (match[0] if match else None)
            if subject is not None:
                values.setdefault(subject, {}).update(clinical(row))
                said = [Problem("clinical", f"{file.name}: {doubt}") for doubt in doubts(row)]
                problems.setdefault(subject, []).extend(said)
    return Phenotype(values, problems, tuple(unread))
