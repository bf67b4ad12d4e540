"""The parts of a study, one image a channel in our units; what the user tells their reader; and the case of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np
from jaxtyping import Float

from strokelens.arrays import Curve
from strokelens.case import SERIES, Case, Image, Source, join
from strokelens.cohorts.decode import Scan
from strokelens.cohorts.sidecar import FRAME_INTERVAL_LIMITS_S, Sidecar
from strokelens.cohorts.units import conversion
from strokelens.errors import CaseError, SeriesError
from strokelens.grid import Grid, resample

_ECHO_LIMITS_S = (0.0005, 0.5)
_B_LIMITS = (50.0, 20000.0)
_ID = re.compile(r"[A-Za-z0-9 ._-]{1,64}")
_LEAST_COVERED = 0.5
_LEAST_FINITE = 0.05


@dataclass(frozen=True)
class Reading:
    """What the user may have to tell the reader, because the files do not.

    `modality` is for a 4D series whose name, sidecar and values do not tell. With `resample`, channels on different
    grids are brought onto that of the series, else of the first perfusion map, else of the ADC or DWI. `case_id` is
    what to call the case, and `series` are the numbers of the DICOM series to read; empty is all.

    Raises `SeriesError` or `CaseError` at birth when a number is not possible in its unit, and `CaseError` when
    `case_id` is not 1 to 64 characters of letters (a to z), digits, space, dot, underscore and hyphen.
    """

    frame_interval_s: float | None = None
    echo_time_s: float | None = None
    b_value_s_per_mm2: float | None = None
    modality: Literal["CT", "MR"] | None = None
    resample: bool = False
    case_id: str | None = None
    series: tuple[int, ...] = ()

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


@dataclass(frozen=True, eq=False)
class Part:
    """One image of a study in our units; `note` tells what was recognised, and a series has the times of its frames."""

    channel: str
    scan: Scan
    sidecar: Sidecar
    note: str
    time_s: Curve | None


def case_of(parts: Sequence[Part], reading: Reading, identity: str) -> Case:
    """The case of a study's parts on the first one's grid; what the user told goes before what the files say.

    Raises `CaseError` when parts lie on different grids without `reading.resample`, or hardly overlap with it.
    """
    images = {part.channel: Image(part.scan.array, part.scan.grid) for part in parts}
    grid, channels = join(images, resampled=reading.resample)
    _check_cover(images, grid)
    series = next((part for part in parts if part.channel in SERIES), None)
    diffusion = next((part for part in parts if part.channel == "DWI"), None)
    return Case(
        reading.case_id or identity,
        grid,
        channels,
        time_s=series.time_s if series else None,
        echo_time_s=reading.echo_time_s or series.sidecar.echo_time_s if series else None,
        b_value_s_per_mm2=reading.b_value_s_per_mm2 or (diffusion.sidecar.b_value_s_per_mm2 if diffusion else None),
        sources={part.channel: Source(part.scan.sha256, part.note, part.scan.header.notes) for part in parts},
        simulated=any(part.sidecar.simulated for part in parts),
    )


def check_image(scan: Scan, channel: str) -> None:
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


def convert(scan: Scan, channel: str, *, relative: bool = False) -> str:
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
