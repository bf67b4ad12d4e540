"""The layout of ISLES 2017 as the challenge gave it, and the file of a submission to it."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from strokelens.case import Case, Segmentation
from strokelens.cohorts.channels import parse
from strokelens.cohorts.clinical_table import ClinicalTable, read_clinical_table
from strokelens.cohorts.cohort import Entry, Problem, Truth, broken
from strokelens.cohorts.decode import is_nifti, stem
from strokelens.cohorts.encode import compact, write_image
from strokelens.cohorts.images import read_header
from strokelens.cohorts.listing import files_in, folders_in, folders_seen
from strokelens.cohorts.volumes import VolumeReader, ordered, plain_truth
from strokelens.cohorts.written import Written, written
from strokelens.errors import CaseError, FileError, GridError, LabelError, StrokelensError, shortened
from strokelens.grid import difference
from strokelens.labels import LESION_ONLY

TOKEN_OF: Final = {"ADC": "ADC", "MTT": "MTT", "CBF": "rCBF", "CBV": "rCBV", "Tmax": "Tmax", "TTP": "TTP"}
"""The channels of the challenge, and what its files call them."""

_CASE = re.compile(r"(training|testing|test)_\d{1,4}", re.IGNORECASE)
_ID = re.compile(r"MR_MTT\.(\d+)")
_DESCRIPTION = re.compile(r"[A-Za-z0-9_-]{1,80}")
_LAST_COLUMNS = ("tici", "since_stroke_min", "to_treatment_min")
_FIRST_COLUMNS = ("mrs", "mrs_days")
_FIRST_ID = 900000
_TEST_IDS = 9000
_CALLED = {
    "mrs": ("mrs", "mrsondays", "mrsatdays"),
    "mrs_days": ("ttmrs", "timetomrs", "daystomrs"),
    "tici": ("tici", "ticiscale", "ticigrade", "ticiscalegrade"),
    "since_stroke_min": ("tss", "timesincestroke"),
    "to_treatment_min": ("ttt", "timetotreatment"),
}
_TITLE = {
    "mrs": "mRS",
    "mrs_days": "ttMRS",
    "tici": "TICI",
    "since_stroke_min": "TSS",
    "to_treatment_min": "TTT",
}


@dataclass(frozen=True)
class Isles2017:
    """`training_N/VSD.Brain.XX.O.MR_<MAP>.<id>/<same>.nii`, or with SMIR for VSD, and `…OT…` for the truth.

    The numbers have gaps (3, 17, 25, 29 and 34 of the training cases), which is normal. Maps are told by their token,
    never by prefix. The tables have an id first and then columns by their titles; where these are others, TICI, TSS and
    TTT are last, and that of training has mRS and its days before.
    """

    name: str = "isles2017"
    looked_for: str = "folders training_N or test_N with VSD. or SMIR. folders"
    special: int = 2

    def recognises(self, folder: Path) -> bool:
        """Whether a numbered case is in it, or in a folder of it, and holds something named MR_ or CT_."""
        return any(re.search(r"\.(?:MR|CT)_", each.name) for case in _cases(folder) for each in folders_seen(case))

    def entries(self, folder: Path) -> tuple[Entry, ...]:
        """One entry for each numbered folder."""
        tables, problems = _clinical(folder)
        found = []
        for case in _cases(folder):
            try:
                entry = _entry(case)
            except (StrokelensError, OSError) as error:
                entry = broken(case.name, case, VolumeReader(), error)
            name = case.name.casefold()
            values, doubts = tables[name].of(name) if name in tables else ({}, ())
            found.append(replace(entry, clinical=values, problems=entry.problems + problems + doubts))
        return tuple(found)

    def notes(self, folder: Path, entries: Sequence[Entry]) -> tuple[str, ...]:
        """Rows of the tables that are of no case here."""
        here = {entry.folder.name.casefold() for entry in entries}
        tables = {table.name: table for table in _clinical(folder)[0].values()}
        rows = {name: table.strangers(here) for name, table in sorted(tables.items())}
        return tuple(f"{name} has rows of nobody here: {shortened(found)}" for name, found in rows.items() if found)


def smir_id(entry: Entry) -> str:
    """The id of a case at SMIR: that of its MTT volume.

    Raises `CaseError` when there is no MTT, or its name has no id.
    """
    match = _ID.search(entry.files["MTT"][0].name) if "MTT" in entry.files else None
    if match is None:
        raise CaseError(f"{entry.id} has no MTT file with an id (…MR_MTT.<id>.nii), by which a submission is named")
    return match[1]


def write_submission(folder: Path, entry: Entry, segmentation: Segmentation, *, description: str) -> Path:
    """Write the lesion (else the core) of a case as `SMIR.<description>.<id>.nii`, uint16, on the grid of its ADC.

    Raises `CaseError` when the description has other characters than letters, digits, _ and -, `GridError` when the
    segmentation lies elsewhere.
    """
    if not _DESCRIPTION.fullmatch(description):
        raise CaseError(f"a submission cannot be described by {description[:80]!r}; give 1 to 80 of A-Z a-z 0-9 _ -")
    named = [name for name in ("lesion", "core") if name in segmentation.scheme.names]
    if not named:
        raise LabelError(f"a submission needs a lesion or a core, not {', '.join(segmentation.scheme.names)}")
    reference = entry.files.get("ADC") or next(iter(entry.files.values()))
    grid = read_header(reference[0]).grid
    if not segmentation.grid.agrees(grid):
        gap = difference(segmentation.grid, grid)
        raise GridError(f"the segmentation of {entry.id} lies elsewhere than {reference[0].name} ({gap})")
    path = folder / f"SMIR.{description}.{smir_id(entry)}.nii"
    write_image(path, segmentation.mask(named[0]).astype(np.uint16), grid)
    return path


def write_cases(folder: Path, cases: Sequence[Case]) -> tuple[str, ...]:
    """Write cases with the challenge's maps into an existing folder, as `training_1` and on; the names that they got.

    Raises `CaseError` when a case has none of the maps.
    """
    rows = []
    for number, case in enumerate(cases, start=1):
        write_case(folder, f"training_{number}", case)
        rows.append(written(f"training_{number}", case))
    write_tables(folder, rows)
    return tuple(row.name for row in rows)


def write_case(folder: Path, name: str, case: Case) -> None:
    """Write one case as `training_N` or `test_N`, without its truth in the latter; NaN becomes 0, as there.

    The truth is the lesion, else core and penumbra as one. A PWI series is a file of five axes, its fourth of size 1.

    Raises `CaseError` when the case has none of the maps.
    """
    maps = [channel for channel in TOKEN_OF if channel in case.channels]
    if not maps:
        raise CaseError(f"{case.id} has no map of ISLES 2017; it has {', '.join(sorted(case.channels))}")
    files: dict[str, np.ndarray] = {f"MR_{TOKEN_OF[channel]}": np.nan_to_num(case[channel]) for channel in maps}
    if "PWI" in case.channels:
        files["MR_4DPWI"] = compact(case["PWI"])[:, :, :, None, :]
    if case.truth is not None and name.startswith("training"):
        marked = [label for label in case.truth.scheme.names if label in ("lesion", "core", "penumbra")]
        files["OT"] = case.truth.mask(*marked).astype(np.uint8)
    number = int(name.rpartition("_")[2]) + (0 if name.startswith("training") else _TEST_IDS)
    for offset, (token, array) in enumerate(files.items()):
        called = f"VSD.Brain.XX.O.{token}.{_FIRST_ID + 10 * number + offset}"
        (folder / name / called).mkdir(parents=True)
        facts: dict[str, object] = {"Simulated": True} if case.simulated else {}
        if token == "MR_4DPWI" and case.echo_time_s is not None:
            facts["EchoTime"] = case.echo_time_s
        time_s = case.time_s if token == "MR_4DPWI" else None
        write_image(folder / name / called / f"{called}.nii", array, case.grid, time_s=time_s, facts=facts)


def write_tables(folder: Path, rows: Sequence[Written]) -> None:
    """Write the clinical values of cases that were written: the tables of training, and of testing where there is any.

    The second has no outcome, as the challenge's.
    """
    for kind, table, columns in (
        ("training", "Training", (*_FIRST_COLUMNS, *_LAST_COLUMNS)),
        ("test", "Testing", _LAST_COLUMNS),
    ):
        cells = [
            [row.name, *(_cell(row.clinical.get(name)) for name in columns)]
            for row in rows
            if row.name.startswith(kind)
        ]
        if cells or kind == "training":
            with (folder / f"ISLES2017_{table}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([["ID", *(_TITLE[name] for name in columns)], *cells])


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _cases(folder: Path) -> list[Path]:
    """The numbered folders in a folder and in those in it."""
    outer = folders_in(folder)
    inner = [each for place in outer if not _CASE.fullmatch(place.name) for each in folders_seen(place)]
    return [each for each in (*outer, *inner) if _CASE.fullmatch(each.name)]


def _entry(case: Path) -> Entry:
    """A case by the tokens in the names of its folders or files."""
    channels: dict[str, Path] = {}
    relative: set[str] = set()
    truths: list[Path] = []
    for file in _images(case):
        name = parse(stem(file))
        if name.mask:
            truths.append(file)
        elif name.channel is not None:
            if name.channel in channels:
                raise CaseError(f"two files hold {name.channel}: {channels[name.channel].name} and {file.name}")
            channels[name.channel] = file
            relative |= {name.channel} if name.relative else set()
    if not channels:
        raise FileError(f"{case.name} holds no image named by the challenge (…MR_ADC.<id>.nii)")
    truth: Truth | None = None
    problems: tuple[Problem, ...] = ()
    if len(truths) == 1:
        truth = plain_truth(truths[0], LESION_ONLY)
    elif truths:
        shown = ", ".join(file.name for file in truths[:4])
        problems = (Problem("ambiguous", f"{len(truths)} files could be the truth ({shown}); none is taken"),)
    files = {name: (channels[name],) for name in ordered(channels)}
    return Entry(
        case.name, case.name, case, files, VolumeReader(relative=frozenset(relative)), truth, problems=problems
    )


def _images(case: Path) -> list[Path]:
    """The NIfTI files in a case's folder and in the folders in it."""
    places = (case, *folders_in(case))
    return [file for place in places for file in files_in(place) if is_nifti(file)]


def _clinical(folder: Path) -> tuple[dict[str, ClinicalTable], tuple[Problem, ...]]:
    """The rows of every table beside the cases, by kind of case; and which tables cannot be read."""
    tables: dict[str, ClinicalTable] = {}
    problems: list[Problem] = []
    for file in (file for file in files_in(folder) if file.suffix.lower() == ".csv"):
        found = read_clinical_table(file, _case_named, columns=_columns)
        problems += found.problems
        for name in found.rows:
            tables[name] = found
    return tables, tuple(problems)


def _case_named(cell: str) -> str | None:
    return cell.casefold() if _CASE.fullmatch(cell) else None


def _columns(header: Sequence[str]) -> list[str]:
    """Our names of the columns: as they are called, else by their place, for some tables call them otherwise."""
    called = [next((name for name, words in _CALLED.items() if _said(cell) in words), "") for cell in header]
    if set(_LAST_COLUMNS) <= set(called):
        return called
    width = max((at for at, cell in enumerate(header, start=1) if cell), default=0)
    by_place = [""] * len(header)
    if width >= 4:
        by_place[width - 3 : width] = _LAST_COLUMNS
    if width >= 6:
        by_place[1:3] = _FIRST_COLUMNS
    return by_place


def _said(cell: str) -> str:
    """A title in its letters alone."""
    return "".join(letter for letter in cell.casefold() if letter.isalpha())
