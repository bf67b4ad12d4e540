"""A study on disk becomes a case: its files found, decoded, brought to our units and joined on one grid."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

from strokelens.arrays import Curve
from strokelens.case import SERIES, Case, Image, Segmentation, Source, join
from strokelens.cohorts.decode import Scan
from strokelens.cohorts.encode import write_image, write_segmentation
from strokelens.cohorts.images import read_scan
from strokelens.cohorts.sidecar import FRAME_INTERVAL_LIMITS_S, Sidecar, frame_times, read_sidecar
from strokelens.cohorts.study import Study, find_study
from strokelens.cohorts.units import conversion
from strokelens.errors import CaseError, GridError, LabelError, SeriesError
from strokelens.grid import Grid, difference, resample
from strokelens.labels import LabelScheme

__all__ = ["Reading", "read_segmentation", "read_study", "write_image", "write_segmentation"]

_ECHO_LIMITS_S = (0.0005, 0.5)
_B_LIMITS = (50.0, 20000.0)
_AIR_HU = -500.0
_ID = re.compile(r"[A-Za-z0-9 ._-]{1,64}")
_LEAST_COVERED = 0.5
_LEAST_FINITE = 0.05
_SERIES_OF: Mapping[str, str] = {"CT": "CTP", "MR": "PWI"}


@dataclass(frozen=True)
class Reading:
    """What the user may have to tell the reader, because the files do not.

    `modality` is for a 4D series whose name, sidecar and values do not tell. With `resample`, channels on different
    grids are brought onto that of the series, else of the first perfusion map, else of the ADC or DWI. `case_id` is
    what to call the case.

    Raises `SeriesError` or `CaseError` at birth when a number is not possible in its unit, and `CaseError` when
    `case_id` is not 1 to 64 characters of letters (a to z), digits, space, dot, underscore and hyphen.
    """

    frame_interval_s: float | None = None
    echo_time_s: float | None = None
    b_value_s_per_mm2: float | None = None
    modality: Literal["CT", "MR"] | None = None
    resample: bool = False
    case_id: str | None = None

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
        if self.case_id is not None and not _ID.fullmatch(self.case_id):
            raise CaseError(
                f"a case cannot be called {self.case_id[:80]!r}; give 1 to 64 characters of letters (a to z), digits, "
                "space, dot, underscore, hyphen"
            )


_AS_WRITTEN = Reading()


@dataclass(frozen=True, eq=False)
class _Part:
    """One file of a study in our units; `note` tells what was recognised, and a series has the times of its frames."""

    channel: str
    scan: Scan
    sidecar: Sidecar
    note: str
    time_s: Curve | None


def read_study(path: Path, reading: Reading = _AS_WRITTEN) -> Case:
    """The case in a 4D NIfTI series, or in a folder of NIfTI maps or of BIDS or ISLES files.

    Every file is read once. `Case.sources` has its SHA-256 and states what was recognised: units, times, orientation.
    Masks and segmentations are passed over.

    A file's name may be a person's, so `Case.id` is never a free name: it is `reading.case_id`, else made of the BIDS
    entities `sub-` and `ses-`, else the number of an ISLES case (`training_1`, `VSD-128020`), else `sim-N` of a
    simulated patient, else `case-` and the first 8 hexadecimal digits of the SHA-256 of the first channel's file.

    Raises a `StrokelensError` with one line that names the file and the cure.
    """
    return read_files(find_study(Path(path)), reading)


def read_files(study: Study, reading: Reading = _AS_WRITTEN) -> Case:
    """The case of a study whose files are known; as `read_study`."""
    if study.series is not None:
        parts = [_read(study.series, next(iter(study.channels), None), reading, alone=True)]
    else:
        parts = [
            _read(file, channel, reading, relative=channel in study.relative)
            for channel, file in study.channels.items()
        ]
    images = {part.channel: Image(part.scan.array, part.scan.grid) for part in parts}
    grid, channels = join(images, resampled=reading.resample)
    _check_cover(images, grid)
    return _case(study, reading, parts, grid, channels)


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


def _read(file: Path, named: str | None, reading: Reading, *, alone: bool = False, relative: bool = False) -> _Part:
    """One file in our units; `alone`, it is a series: CT or MR by the user's word, its name, sidecar, or values."""
    scan, sidecar = read_scan(file), read_sidecar(file)
    _check_image(scan, SERIES[0] if alone or named is None else named)
    if alone and reading.modality is not None:
        named = _SERIES_OF[reading.modality]
    channel = named or _SERIES_OF[sidecar.modality or _modality_by_values(scan)]
    notes = [_convert(scan, channel, relative=relative)]
    time_s = None
    if channel in SERIES:
        timing = frame_times(scan.header, sidecar, reading.frame_interval_s)
        time_s = timing.time_s
        notes.append(timing.note)
    return _Part(channel, scan, sidecar, "; ".join(note for note in (*notes, *scan.header.notes) if note), time_s)


def _case(
    study: Study,
    reading: Reading,
    parts: Sequence[_Part],
    grid: Grid,
    channels: Mapping[str, Shaped[np.ndarray, "..."]],
) -> Case:
    """The case of a study's parts; what the user told goes before what the files say."""
    series = next((part for part in parts if part.channel in SERIES), None)
    diffusion = next((part for part in parts if part.channel == "DWI"), None)
    return Case(
        reading.case_id or _identity(study, parts),
        grid,
        channels,
        time_s=series.time_s if series else None,
        echo_time_s=reading.echo_time_s or series.sidecar.echo_time_s if series else None,
        b_value_s_per_mm2=reading.b_value_s_per_mm2 or (diffusion.sidecar.b_value_s_per_mm2 if diffusion else None),
        sources={part.channel: Source(part.scan.sha256, part.note, part.scan.header.notes) for part in parts},
        simulated=any(part.sidecar.simulated for part in parts),
    )


def _identity(study: Study, parts: Sequence[_Part]) -> str:
    """What to call a case that the user did not name: see `read_study`."""
    if study.id is not None:
        return study.id
    if study.phantom is not None and parts[0].sidecar.simulated:
        return study.phantom
    return f"case-{parts[0].scan.sha256[:8]}"


def _check_cover(images: Mapping[str, Image], grid: Grid) -> None:
    """Refuse a channel whose image, brought onto `grid`, covers less than half of it."""
    (first, _), *others = images.items()
    for name, image in others:
        if image.grid.agrees(grid):
            continue
        inside = resample(np.ones(image.grid.shape, bool), image.grid, grid, order=0)
        share = float(inside.mean())
        if share < _LEAST_COVERED:
            raise CaseError(
                f"{name} covers only {100 * share:.0f} % of the grid of {first}, and --resample needs half of it; "
                f"check that both show one patient, or leave {name} out"
            )


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
    found = conversion(channel, _telling_volume(scan), scan.name, relative=relative)
    if found.factor != 1:
        np.multiply(scan.array, np.float32(found.factor), out=scan.array)
    if found.offset != 0:
        np.add(scan.array, np.float32(found.offset), out=scan.array)
    return found.note


def _telling_volume(scan: Scan) -> Float[np.ndarray, "i j k"]:
    """The volume that tells the unit: of a series the first with 5 % of finite voxels that are not all the same."""
    if scan.array.ndim == 3:
        return scan.array
    frames = (scan.array[..., t] for t in range(scan.array.shape[3]))
    return next((frame for frame in frames if _tells(frame)), scan.array[..., 0])


def _tells(volume: Float[np.ndarray, "i j k"]) -> bool:
    finite = volume[np.isfinite(volume)]
    return finite.size >= max(_LEAST_FINITE * volume.size, 1) and bool(np.ptp(finite) > 0)
