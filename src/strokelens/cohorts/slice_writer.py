"""Writes cases in the layout `ctp_slices`: maps coloured as the vendor's, with bar, text and marker; grey truth."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image, ImageDraw

from strokelens import __version__
from strokelens.arrays import Mask, Volume
from strokelens.case import Case
from strokelens.cohorts.ctp_slices import ABOUT, GROUPS, MAPS, SCORES
from strokelens.cohorts.encode import write_json
from strokelens.cohorts.slice_reader import BAR_ROWS
from strokelens.cohorts.slices import write_picture
from strokelens.cohorts.written import Written, written
from strokelens.errors import CaseError
from strokelens.flags import RESEARCH_USE
from strokelens.grid import radiological
from strokelens.labels import CORE_PENUMBRA_BRAIN
from strokelens.perfusion.colormap import BAR_RANGES, VENDOR_TABLES, Picture, with_bar

NO_DATE: Final = "no_date"
"""The folder of a day that is not known."""

SIDE: Final = 512
"""Rows and columns of a picture."""

_BAR_COLUMNS = slice(435, 455)
_MARKER = (80, 180, 220)
_TEXT = (255, 255, 255)
_MOST_SLICES = 99
_MOST_CASES = 999
_BESIDE = ("Annotations", "Original")
_SEVERITY = {group: severity for severity, group in GROUPS.items() if severity != "00"}


def write_slices(folder: Path, cases: Sequence[Case], *, day: str = NO_DATE) -> tuple[str, ...]:
    """Write cases into an existing folder; the names CTP_SS_NNN that they got, numbered within their group.

    `patients/` has the maps that a case has of CBF, CBV, MTT, TTP, Tmax and MIP, `truth/` its 16-bit truth,
    `nihss_score.csv` its clinical values, and `cohort.json` what pictures cannot tell.

    Raises `CaseError` when a case has none of these maps, no group, is too large, lies under the bar, or has other
    voxels than the first.
    """
    _check_alike(cases)
    names = slice_names([(case.id, case.group) for case in cases])
    rows = []
    for name, case in zip(names, cases, strict=True):
        write_case(folder, name, case, day=day)
        rows.append(written(name, case))
    write_tables(folder, rows)
    return names


def slice_names(groups: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
    """The names CTP_SS_NNN of cases in this order, given the id and group of each, numbered within their group.

    Raises `CaseError` when a case has no group, or a group more than 999 cases.
    """
    counts: Counter[str] = Counter()
    names = []
    for case_id, group in groups:
        if group is None or group not in _SEVERITY:
            raise CaseError(f"{case_id} has group {group}; the layout ctp_slices needs one of {', '.join(_SEVERITY)}")
        counts[group] += 1
        if counts[group] > _MOST_CASES:
            raise CaseError(
                f"more than {_MOST_CASES} cases are {group}; the layout ctp_slices has three digits for them"
            )
        names.append(f"CTP_{_SEVERITY[group]}_{counts[group]:03d}")
    return tuple(names)


def write_case(folder: Path, name: str, case: Case, *, day: str = NO_DATE) -> None:
    """Write one case as `patients/NAME/DAY/<MAP>/NN.png` and `truth/NAME/NN.tiff`.

    Where all maps are 0 or NaN is outside of the head. A map smaller than 512 pixels is centred in black. The empty
    folders `Annotations` and `Original` of the day are what the published tools know a day by.
    """
    _write_maps(folder / "patients" / name / day, case)
    for beside in _BESIDE:
        (folder / "patients" / name / day / beside).mkdir()
    _write_truth(folder / "truth" / name, case)


def write_tables(folder: Path, rows: Sequence[Written]) -> None:
    """Write the tables of cases that were written: `nihss_score.csv` and `cohort.json`."""
    _write_scores(folder / SCORES, rows)
    about = {
        "software": f"strokelens {__version__}",
        "spacing_mm": list(rows[0].spacing_mm),
        "scales": {name: list(ends) for name, ends in BAR_RANGES.items()},
        "simulated": any(row.simulated for row in rows),
        "cases": {row.name: row.id for row in rows},
        "disclaimer": RESEARCH_USE,
    }
    write_json(folder / ABOUT, about)


def coloured(values: Float[np.ndarray, "row column"], channel: str) -> Picture:
    """A slice of 512×512 as the vendor shows it; NaN is black."""
    low, high = BAR_RANGES[channel]
    picture = VENDOR_TABLES[channel].paint(values, low=low, high=high)
    if picture[:, _BAR_COLUMNS].any():
        raise CaseError(f"{channel} reaches under the colour bar; crop the image to the head")
    image = Image.fromarray(with_bar(picture, VENDOR_TABLES[channel], rows=BAR_ROWS, columns=_BAR_COLUMNS))
    draw = ImageDraw.Draw(image)
    draw.text((430, BAR_ROWS.start - 16), f"{high:.2f}".replace(".", ","), fill=_TEXT)
    draw.text((432, BAR_ROWS.stop + 4), f"{low:.2f}".replace(".", ","), fill=_TEXT)
    return _marked(image)


def _marked(image: Image.Image) -> Picture:
    """With the marker that says: seen from the feet."""
    draw = ImageDraw.Draw(image)
    draw.rectangle((468, 436, 494, 462), outline=_MARKER)
    draw.text((479, 443), "F", fill=_MARKER)
    return np.asarray(image)


def _write_maps(day: Path, case: Case) -> None:
    folders = {channel: name for name, channel in MAPS.items() if channel in case.channels}
    if not folders:
        raise CaseError(f"{case.id} has no map for the layout ctp_slices; it has {', '.join(sorted(case.channels))}")
    head = _head(case, list(folders))
    for channel, name in folders.items():
        shown = radiological(np.where(head, case[channel], np.nan), case.grid)
        top = float(np.nanmax(shown, initial=0.0))
        for k in range(shown.shape[2]):
            values = _centred(shown[:, :, k].T, np.nan, case.id)
            picture = coloured(values, channel) if channel in BAR_RANGES else _grey(values, top)
            write_picture(day / name / f"{k + 1:02d}.png", picture)


def _grey(values: Float[np.ndarray, "row column"], top: float) -> Picture:
    """Grey levels from 0 to the highest value of the case, with the marker."""
    level = np.clip(np.nan_to_num(values) * (255 / top if top > 0 else 0), 0, 255).astype(np.uint8)
    return _marked(Image.fromarray(np.repeat(level[..., None], 3, axis=2)))


def _write_truth(folder: Path, case: Case) -> None:
    """16-bit TIFFs of 0, 85, 170, 255 times 257; healthy tissue of the head is brain."""
    if case.truth is None:
        return
    labels = case.truth.scheme.merge(case.truth.labels, CORE_PENUMBRA_BRAIN)
    head = _head(case, [channel for channel in MAPS.values() if channel in case.channels])
    brain = CORE_PENUMBRA_BRAIN.value("brain")
    whole: Shaped[np.ndarray, "i j k"] = np.where((labels == 0) & head, brain, labels).astype(np.uint8)
    grey = radiological(CORE_PENUMBRA_BRAIN.to_grey(whole), case.grid)
    for k in range(grey.shape[2]):
        pixels = _centred(grey[:, :, k].T, 0, case.id).astype(np.uint16) * np.uint16(257)
        write_picture(folder / f"{k + 1:02d}.tiff", pixels)


def _head(case: Case, channels: Sequence[str]) -> Mask:
    """Where any of the maps has a value other than 0."""
    maps: list[Volume] = [case[channel] for channel in channels]
    inside: Mask = np.any([np.isfinite(volume) & (volume != 0) for volume in maps], axis=0)
    return inside


def _centred(values: Shaped[np.ndarray, "row column"], outside: float, case_id: str) -> Shaped[np.ndarray, "512 512"]:
    """In the middle of a picture of 512×512."""
    rows, columns = values.shape
    if max(rows, columns) > SIDE:
        raise CaseError(f"{case_id} has slices of {rows}×{columns} pixels, more than {SIDE}×{SIDE}; resample it first")
    picture = np.full((SIDE, SIDE), outside, values.dtype)
    top, left = (SIDE - rows) // 2, (SIDE - columns) // 2
    picture[top : top + rows, left : left + columns] = values
    return picture


def _check_alike(cases: Sequence[Case]) -> None:
    """Refuse cases that have not all one voxel size, or too many slices."""
    if not cases:
        raise CaseError("there is no case to write")
    found = {tuple(round(case.grid.spacing_mm[axis], 6) for axis in case.grid.axes) for case in cases}
    if len(found) > 1:
        shown = " and ".join("×".join(f"{size:g}" for size in sizes) for sizes in sorted(found)[:2])
        raise CaseError(f"the layout ctp_slices has one voxel size for all cases, not {shown} mm; resample them first")
    slices = max(case.grid.shape[case.grid.axes[2]] for case in cases)
    if slices > _MOST_SLICES:
        raise CaseError(f"a case has {slices} slices; the layout ctp_slices numbers them with two digits")


def _write_scores(path: Path, rows: Sequence[Written]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter=";", lineterminator="\n")
        table.writerow(["patient", "nihss", "age", "gender"])
        for row in rows:
            table.writerow([row.name, *(_cell(row.clinical.get(name)) for name in ("nihss", "age_years", "female"))])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
