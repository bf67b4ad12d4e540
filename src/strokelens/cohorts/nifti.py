"""A study on disk becomes a case: its files found, decoded, brought to our units and joined on one grid."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np

from strokelens.case import SERIES, Case, Image, Segmentation, Source, join
from strokelens.cohorts.decode import Scan, read_scan
from strokelens.cohorts.encode import write_image, write_segmentation
from strokelens.cohorts.sidecar import FRAME_INTERVAL_LIMITS_S, Sidecar, frame_times, read_sidecar
from strokelens.cohorts.study import Study, find_study
from strokelens.cohorts.units import conversion
from strokelens.errors import CaseError, GridError, LabelError, SeriesError
from strokelens.grid import Grid, difference
from strokelens.labels import LabelScheme

__all__ = ["Reading", "read_segmentation", "read_study", "write_image", "write_segmentation"]

_ECHO_LIMITS_S = (0.0005, 0.5)
_B_LIMITS = (50.0, 20000.0)
_AIR_HU = -500.0
_SERIES_OF: Mapping[str, str] = {"CT": "CTP", "MR": "PWI"}


@dataclass(frozen=True)
class Reading:
    """What the user may have to tell the reader, because the files do not.

    `modality` is for a 4D series whose name, sidecar and values do not tell. With `resample`, channels on different
    grids are brought onto that of the series, else of the first perfusion map, else of the ADC or DWI.

    Raises `SeriesError` or `CaseError` at birth when a number is not possible in its unit.
    """

    frame_interval_s: float | None = None
    echo_time_s: float | None = None
    b_value_s_per_mm2: float | None = None
    modality: Literal["CT", "MR"] | None = None
    resample: bool = False

    def __post_init__(self) -> None:
        interval, echo, b = self.frame_interval_s, self.echo_time_s, self.b_value_s_per_mm2
        low, high = FRAME_INTERVAL_LIMITS_S
        if interval is not None and not low <= interval <= high:
            raise SeriesError(f"a frame interval of {interval:g} s is not possible ({low:g} to {high:g} s)")
        low, high = _ECHO_LIMITS_S
        if echo is not None and not low <= echo <= high:
            raise SeriesError(f"an echo time of {echo:g} s is not possible ({low:g} to {high:g} s)")
        low, high = _B_LIMITS
        if b is not None and not low <= b <= high:
            raise CaseError(f"a b value of {b:g} s/mm² is not possible ({low:g} to {high:g} s/mm²)")


_AS_WRITTEN = Reading()


def read_study(path: Path, reading: Reading = _AS_WRITTEN) -> Case:
    """The case in a 4D NIfTI series, or in a folder of NIfTI maps or of BIDS or ISLES files.

    Every file is read once. `Case.sources` has its SHA-256 and states what was recognised: units, times, orientation.
    Masks and segmentations are passed over.

    Raises a `StrokelensError` with one line that names the file and the cure.
    """
    study = find_study(Path(path))
    if study.series is not None:
        return _series_case(study, reading)
    images: dict[str, Image] = {}
    sources: dict[str, Source] = {}
    case = Case(study.id, Grid((1, 1, 1), np.eye(4)), {}, b_value_s_per_mm2=reading.b_value_s_per_mm2)
    for channel, file in study.channels.items():
        scan, sidecar = read_scan(file), read_sidecar(file)
        _check_image(scan, channel)
        note = _convert(scan, channel, relative=channel in study.relative)
        if channel in SERIES:
            case, timing = _timed(case, scan, sidecar, reading)
            note = _joined(note, timing)
        elif channel == "DWI" and reading.b_value_s_per_mm2 is None:
            case = replace(case, b_value_s_per_mm2=sidecar.b_value_s_per_mm2)
        images[channel] = Image(scan.array, scan.grid)
        sources[channel] = Source(scan.sha256, _joined(note, *scan.header.notes), scan.header.notes)
        case = replace(case, simulated=case.simulated or sidecar.simulated)
    grid, channels = join(images, resampled=reading.resample)
    return replace(case, grid=grid, channels=channels, sources=sources)


def read_segmentation(path: Path, scheme: LabelScheme, grid: Grid | None = None) -> Segmentation:
    """The labels of `scheme` in a NIfTI file; on `grid`, where one is given.

    Raises `GridError` when the file lies elsewhere than `grid`, `LabelError` when a value is no label of the scheme.
    """
    scan = read_scan(Path(path))
    if scan.array.ndim != 3:
        raise CaseError(f"{scan.name} has {scan.header.frames} volumes; a segmentation has one")
    if np.isnan(scan.array).any() or not scan.lowest >= 0 or not scan.highest < 256 or (scan.array % 1).any():
        raise LabelError(f"{scan.name} is no segmentation: its values are not all whole numbers from 0 to 255")
    if grid is not None and not scan.grid.agrees(grid):
        gap = difference(scan.grid, grid)
        raise GridError(f"{scan.name} lies elsewhere than the study ({gap}); bring it onto the study's grid")
    try:
        return Segmentation(scan.array.astype(np.uint8), scan.grid, scheme)
    except LabelError as error:
        raise LabelError(f"{scan.name}: {error}") from error


def _series_case(study: Study, reading: Reading) -> Case:
    """The case of one 4D file: CT or MR by the user's word, its name, its sidecar, or its values."""
    assert study.series is not None
    scan, sidecar = read_scan(study.series), read_sidecar(study.series)
    _check_image(scan, SERIES[0])
    named = next(iter(study.channels), None) if reading.modality is None else None
    channel = named or _SERIES_OF[reading.modality or sidecar.modality or _modality_by_values(scan)]
    note = _convert(scan, channel)
    empty = Case(study.id, scan.grid, {}, b_value_s_per_mm2=reading.b_value_s_per_mm2)
    case, timing = _timed(empty, scan, sidecar, reading)
    source = Source(scan.sha256, _joined(note, timing, *scan.header.notes), scan.header.notes)
    return replace(case, channels={channel: scan.array}, sources={channel: source}, simulated=sidecar.simulated)


def _modality_by_values(scan: Scan) -> Literal["CT", "MR"]:
    """CT where there is air in HU; nothing else in the values tells CT from MR."""
    if scan.lowest < _AIR_HU:
        return "CT"
    raise SeriesError(
        f"{scan.name} could be CT or MR: neither its name (ctp, pwi), its sidecar nor its values tell; "
        "give --modality CT or --modality MR"
    )


def _check_image(scan: Scan, channel: str) -> None:
    """Refuse a wrong number of axes, and an image in which there is nothing."""
    kind = SeriesError if channel in SERIES else CaseError
    shape = "×".join(str(size) for size in scan.array.shape)
    if channel in SERIES and scan.array.ndim == 3:
        raise SeriesError(
            f"{scan.name} is 3D or has one frame ({shape}), and a perfusion series has many; "
            "give the 4D file, or the folder that holds the maps"
        )
    if channel not in SERIES and scan.array.ndim == 4:
        raise CaseError(
            f"{scan.name} has {scan.header.frames} volumes ({shape}), and {channel} is one; give one volume"
        )
    if not isfinite(scan.lowest):
        raise kind(f"{scan.name} has no finite value: every voxel is NaN; export it again")
    if scan.lowest == scan.highest:
        raise kind(f"{scan.name} is constant: every voxel is {scan.lowest:g}; export it again")


def _convert(scan: Scan, channel: str, *, relative: bool = False) -> str:
    """Bring the scan, which was read for this case alone, to the channel's unit in place; what was recognised."""
    first = scan.array[..., 0] if scan.array.ndim == 4 else scan.array
    found = conversion(channel, first, scan.name, relative=relative)
    if found.factor != 1:
        np.multiply(scan.array, np.float32(found.factor), out=scan.array)
    if found.offset != 0:
        np.add(scan.array, np.float32(found.offset), out=scan.array)
    return found.note


def _timed(case: Case, scan: Scan, sidecar: Sidecar, reading: Reading) -> tuple[Case, str]:
    """The case with the times and the echo time of its series, and where the times come from."""
    timing = frame_times(scan.header, sidecar, reading.frame_interval_s)
    if case.time_s is not None:
        raise CaseError(f"{case.id} holds a CT and an MR series; give one of them")
    echo = reading.echo_time_s if reading.echo_time_s is not None else sidecar.echo_time_s
    return replace(case, time_s=timing.time_s, echo_time_s=echo), timing.note


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
