"""A study on disk becomes a case: its files found, decoded, brought to our units and joined on one grid."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from strokelens.case import SERIES, Case, Segmentation
from strokelens.cohorts.channels import parse
from strokelens.cohorts.decode import Scan, is_nifti, stem
from strokelens.cohorts.dicom import read_dicom
from strokelens.cohorts.dicom_files import holds_dicom
from strokelens.cohorts.encode import write_image, write_segmentation
from strokelens.cohorts.images import read_scan
from strokelens.cohorts.parts import Part, Reading, case_of, check_image, convert
from strokelens.cohorts.sidecar import frame_times, read_sidecar
from strokelens.cohorts.study import Study, find_study, walk
from strokelens.errors import CaseError, GridError, LabelError, SeriesError
from strokelens.grid import Grid, difference
from strokelens.labels import LabelScheme

__all__ = ["Reading", "read_segmentation", "read_study", "write_image", "write_segmentation"]

_AIR_HU = -500.0
_SERIES_OF: Mapping[str, str] = {"CT": "CTP", "MR": "PWI"}
_AS_WRITTEN = Reading()


def read_study(path: Path, reading: Reading = _AS_WRITTEN) -> Case:
    """The case in a 4D NIfTI series, in a folder of NIfTI maps or of BIDS or ISLES files, or in a DICOM study.

    A DICOM study is a folder, a zip archive or a file, and is told by its content: see `strokelens.cohorts.dicom`.

    Every file is read once. `Case.sources` has its SHA-256 and states what was recognised: units, times, orientation.
    Masks and segmentations are passed over.

    A file's name may be a person's, so `Case.id` is never a free name: it is `reading.case_id`, else made of the BIDS
    entities `sub-` and `ses-`, else the number of an ISLES case (`training_1`, `VSD-128020`), else `sim-N` of a
    simulated patient, else `case-` and the first 8 hexadecimal digits of the SHA-256 of the first channel's file.

    Raises a `StrokelensError` with one line that names the file and the cure.
    """
    path = Path(path)
    return read_dicom((path,), reading) if is_dicom(path) else read_files(find_study(path), reading)


def is_dicom(path: Path) -> bool:
    """Whether DICOM is all that there is to read; where a NIfTI image lies beside it, that is read."""
    try:
        if path.is_dir() and any(is_nifti(file) and not parse(stem(file)).mask for file in walk(path)):
            return False
        return not is_nifti(path) and holds_dicom(path)
    except (OSError, CaseError):
        return False  # `find_study` tells


def read_files(study: Study, reading: Reading = _AS_WRITTEN) -> Case:
    """The case of a study whose files are known; as `read_study`."""
    if study.series is not None:
        parts = [_read(study.series, next(iter(study.channels), None), reading, alone=True)]
    else:
        parts = [
            _read(file, channel, reading, relative=channel in study.relative)
            for channel, file in study.channels.items()
        ]
    return case_of(parts, reading, _identity(study, parts))


def read_segmentation(path: Path, scheme: LabelScheme, grid: Grid | None = None) -> Segmentation:
    """The labels of `scheme` in a NIfTI file; on `grid`, where one is given.

    Raises `GridError` when the file lies elsewhere than `grid`, `LabelError` when a value is no label of the scheme.
    """
    scan = read_scan(Path(path))
    if scan.array.ndim != 3:
        raise CaseError(f"{scan.name} has {scan.header.frames} volumes; a segmentation has one: give it")
    if np.isnan(scan.array).any() or not scan.lowest >= 0 or not scan.highest < 256 or (scan.array % 1).any():
        raise LabelError(f"{scan.name} is no segmentation: its values are not all whole numbers from 0 to 255")
    if grid is not None and not scan.grid.agrees(grid):
        gap = difference(scan.grid, grid)
        raise GridError(f"{scan.name} lies elsewhere than the study ({gap}); bring it onto the study's grid")
    try:
        return Segmentation(scan.array.astype(np.uint8), scan.grid, scheme)
    except LabelError as error:
        raise LabelError(f"{scan.name}: {error}") from error


def _read(file: Path, named: str | None, reading: Reading, *, alone: bool = False, relative: bool = False) -> Part:
    """One file in our units; `alone`, it is a series: CT or MR by the user's word, its name, sidecar, or values."""
    scan, sidecar = read_scan(file), read_sidecar(file)
    check_image(scan, SERIES[0] if alone or named is None else named)
    if alone and reading.modality is not None:
        named = _SERIES_OF[reading.modality]
    channel = named or _SERIES_OF[sidecar.modality or _modality_by_values(scan)]
    notes = [convert(scan, channel, relative=relative)]
    time_s = None
    if channel in SERIES:
        timing = frame_times(scan.header, sidecar, reading.frame_interval_s)
        time_s = timing.time_s
        notes.append(timing.note)
    return Part(channel, scan, sidecar, "; ".join(note for note in (*notes, *scan.header.notes) if note), time_s)


def _identity(study: Study, parts: Sequence[Part]) -> str:
    """What to call a case that the user did not name: see `read_study`."""
    if study.id is not None:
        return study.id
    if study.phantom is not None and parts[0].sidecar.simulated:
        return study.phantom
    return f"case-{parts[0].scan.sha256[:8]}"


def _modality_by_values(scan: Scan) -> Literal["CT", "MR"]:
    """CT where there is air in HU; nothing else in the values tells CT from MR."""
    if scan.lowest < _AIR_HU:
        return "CT"
    raise SeriesError(
        f"{scan.name} could be CT or MR: neither its name (ctp, pwi), its sidecar nor its values tell; "
        "give --modality CT or --modality MR"
    )
