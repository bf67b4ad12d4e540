"""The layout of BIDS datasets and their derivatives, read; and a cohort of cases written as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from strokelens.case import UNITS, Case
from strokelens.cohorts.bids import case_prefix, dataset_description, place_of, write_labels, write_mask
from strokelens.cohorts.bids_tree import plain, session_entries, subject_id, subjects
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.encode import compact, write_image, write_json
from strokelens.cohorts.participants import (
    PARTICIPANTS,
    participants,
    participants_noted,
    with_participant,
    write_participants,
)
from strokelens.cohorts.volumes import VolumeReader
from strokelens.cohorts.written import Written, written
from strokelens.errors import CaseError


@dataclass(frozen=True)
class Bids:
    """`sub-X[/ses-Y]/…/sub-X[_ses-Y]_…_<map>.nii.gz`, and `_dseg` or `_mask` for the truth, also in `derivatives/`.

    A mask whose sidecar says `"Manual": false` is a result, and no truth. `participants.tsv` has clinical values, and
    the column `group`.
    """

    name: str = "bids"
    looked_for: str = "folders sub-X"
    special: int = 1

    def recognises(self, folder: Path) -> bool:
        """Whether subjects are there."""
        return bool(subjects(folder))

    def entries(self, folder: Path) -> tuple[Entry, ...]:
        """One entry a subject and session."""
        people = participants(folder / PARTICIPANTS)
        found = session_entries(folder, VolumeReader(), plain)
        return tuple(found if people is None else (with_participant(entry, people, entry.person) for entry in found))

    def notes(self, folder: Path, entries: Sequence[Entry]) -> tuple[str, ...]:
        """Groups that are none of the known ones, and rows of nobody."""
        people = participants(folder / PARTICIPANTS)
        if people is None:
            return ()
        return participants_noted(people, {subject_id(name) for name in subjects(folder)})


def write_dataset(folder: Path, cases: Sequence[Case], *, version: str) -> tuple[str, ...]:
    """Write cases as a BIDS-like dataset into an existing folder; the prefixes `sub-X[_ses-Y]` that they got.

    Raises `CaseError` when two cases would get one prefix.
    """
    prefixes = tuple(case_prefix(case.id) for case in cases)
    if len(set(prefixes)) < len(prefixes):
        raise CaseError("two cases would get one name in BIDS; give them ids that differ in letters and digits")
    rows = []
    for prefix, case in zip(prefixes, cases, strict=True):
        write_case(folder, prefix, case)
        rows.append(written(prefix, case))
    write_tables(folder, rows, version=version)
    return prefixes


def write_case(folder: Path, prefix: str, case: Case) -> None:
    """Write one case under its prefix.

    Maps have the suffixes of `strokelens.cohorts.bids`; the truth is `_desc-truth_dseg` with its table, and the lesion
    or core as a `_mask` too, in the derivative `truth`.
    """
    facts: dict[str, object] = {"Simulated": True} if case.simulated else {}
    for name, values in case.channels.items():
        path = place_of(folder, prefix, name) / f"{prefix}_{name.casefold()}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        series = values.ndim == 4
        told = facts | ({"EchoTime": case.echo_time_s} if series and case.echo_time_s is not None else {})
        array = compact(values) if series else values
        times = case.time_s if series else None
        write_image(path, array, case.grid, unit=UNITS[name], time_s=times, facts=told)
    if case.truth is not None:
        root = folder / "derivatives" / "truth"
        write_labels(root, prefix, case.truth, "truth", {"Manual": True, **facts})
        for name in {"lesion", "core"} & set(case.truth.scheme.names):
            write_mask(root, prefix, case.truth, name, {"Manual": True, **facts})


def write_tables(folder: Path, rows: Sequence[Written], *, version: str) -> None:
    """Write what tells of the whole dataset: `participants.tsv` and the descriptions of it and of its truth."""
    write_participants(folder, rows)
    write_json(folder / "dataset_description.json", dataset_description(version, "Cohort.", kind="raw"))
    if any(row.classes for row in rows):
        root = folder / "derivatives" / "truth"
        root.mkdir(parents=True, exist_ok=True)
        write_json(root / "dataset_description.json", dataset_description(version, "Truth."))
