"""What the JSON file beside an image says, and from it and the header: when each frame was taken.

Only the keys that are named here are read; a patient's name in a sidecar never leaves it.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np

from strokelens.arrays import Curve
from strokelens.cohorts.decode import Header, is_nifti, stem
from strokelens.cohorts.json_files import read_json
from strokelens.cohorts.listing import regular
from strokelens.errors import FileError, SeriesError

FRAME_INTERVAL_LIMITS_S = (0.1, 60.0)
"""No perfusion series is faster or slower than this."""

_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6}
_MR_KEYS = ("EchoTime", "MagneticFieldStrength", "FlipAngle")
_CT_KEYS = ("KVP", "XRayExposure", "XRayTubeCurrent")


@dataclass(frozen=True)
class Sidecar:
    """The facts of one sidecar, None where it does not give them; `frame_times` are as they stand in the file."""

    name: str = ""
    modality: Literal["CT", "MR"] | None = None
    frame_times: tuple[float, ...] | None = None
    repetition_time_s: float | None = None
    echo_time_s: float | None = None
    b_value_s_per_mm2: float | None = None
    simulated: bool = False


@dataclass(frozen=True, eq=False)
class Timing:
    """Frame times from the first frame on, and where they come from."""

    time_s: Curve
    note: str


def read_sidecar(image: Path) -> Sidecar:
    """The sidecar `STEM.json` of an image, and the b value of `STEM.bval`; empty where there is neither.

    Raises `FileError` when it is no JSON object, or when a value has an impossible type or size.
    """
    path = image.with_name(f"{stem(image)}.json")
    b_value = _b_value(image.with_name(f"{stem(image)}.bval"))
    found = read_object(path)
    if found is None:
        return Sidecar(b_value_s_per_mm2=b_value)
    times = _times(found.get("FrameTimesStart", found.get("VolumeTiming")), path.name)
    echo = _positive(found, "EchoTime", path.name)
    return Sidecar(
        path.name,
        _modality(found),
        times,
        _positive(found, "RepetitionTime", path.name),
        echo / 1000 if echo is not None and echo > 1 else echo,  # BIDS gives seconds; some converters give ms
        _positive(found, "DiffusionBValue", path.name) or b_value,
        found.get("Simulated") is True,
    )


def told_simulated(images: Iterable[Path]) -> bool:
    """Whether the sidecar of any of these images says that there is no such patient; a damaged one says nothing."""
    for image in images:
        try:
            if is_nifti(image) and read_sidecar(image).simulated:
                return True
        except FileError:
            continue
    return False


def frame_times(header: Header, sidecar: Sidecar, frame_interval_s: float | None = None) -> Timing:
    """When each frame was taken: by the user's word, else the sidecar's times, its RepetitionTime, or pixdim[4].

    Raises `SeriesError` when none of them gives times between 0.1 and 60 s apart that grow, one for each frame.
    """
    if frame_interval_s is not None:
        return Timing(np.arange(header.frames) * frame_interval_s, f"frame interval {frame_interval_s:g} s as given")
    if sidecar.frame_times is not None:
        return _listed(header, sidecar)
    interval_s, note = _interval_s(header, sidecar)
    return Timing(np.arange(header.frames) * interval_s, f"frame interval {interval_s:g} s {note}")


def _listed(header: Header, sidecar: Sidecar) -> Timing:
    times = np.array(sidecar.frame_times, np.float64)
    if times.size != header.frames:
        raise SeriesError(
            f"{sidecar.name} gives {times.size} frame times and {header.name} has {header.frames} frames; "
            "correct FrameTimesStart or give --frame-interval"
        )
    steps = np.diff(times)
    if (steps <= 0).any():
        later = int(np.flatnonzero(steps <= 0)[0]) + 1
        raise SeriesError(
            f"{sidecar.name}: frame {later} is not later than the one before it "
            f"({times[later]:g} after {times[later - 1]:g}); correct FrameTimesStart or give --frame-interval"
        )
    factor = _factor(float(np.median(steps)), ("s", "ms"))
    if factor is None:
        raise SeriesError(
            f"{sidecar.name}: frames {np.median(steps):g} s apart are not a perfusion series (0.1 to 60 s); "
            "correct FrameTimesStart or give --frame-interval"
        )
    unit = "" if factor == 1.0 else ", read as ms"
    return Timing((times - times[0]) * factor, f"frame times from the sidecar{unit}")


def _interval_s(header: Header, sidecar: Sidecar) -> tuple[float, str]:
    """The interval by the sidecar or the header, and where it comes from."""
    in_header = _header_factor(header)
    if sidecar.repetition_time_s is not None:
        factor = _factor(sidecar.repetition_time_s, ("s", "ms"))
        if factor is not None:
            interval_s = sidecar.repetition_time_s * factor
            differs = in_header is not None and abs(header.interval * in_header / interval_s - 1) > 0.01
            other = f"; the header says {header.interval:g} {header.time_unit or 'without a unit'}" if differs else ""
            return interval_s, f"from RepetitionTime in the sidecar{other}"
    if in_header is None:
        unit = header.time_unit or "without a unit"
        raise SeriesError(
            f"{header.name} does not say how far its {header.frames} frames are apart "
            f"(pixdim[4] = {header.interval:g} {unit}); give --frame-interval SECONDS"
        )
    stated = header.time_unit and _SECONDS[header.time_unit] == in_header
    return header.interval * in_header, "from the header" if stated else f"read from {header.interval:g} in the header"


def _header_factor(header: Header) -> float | None:
    """Seconds per unit of pixdim[4], or None where it says nothing: 0, or a bare 1 that nobody set."""
    if not isfinite(header.interval) or header.interval <= 0 or (not header.time_unit and header.interval == 1.0):
        return None
    return _factor(header.interval, tuple(unit for unit in (header.time_unit, "s", "ms") if unit))


def _factor(interval: float, units: tuple[str, ...]) -> float | None:
    """Seconds per unit, of the first unit that makes this a possible frame interval; s and ms cannot both."""
    low, high = FRAME_INTERVAL_LIMITS_S
    return next((_SECONDS[unit] for unit in units if low <= interval * _SECONDS[unit] <= high), None)


def read_object(path: Path) -> dict[str, object] | None:
    """The JSON object in a file, None where there is no file; `FileError` when it holds something else."""
    if not os.path.exists(path):
        return None
    found = read_json(path, what="sidecar")
    if not isinstance(found, dict):
        raise FileError(f"{path.name} holds a {type(found).__name__}, not a JSON object; correct or remove it")
    return found


def _modality(found: dict[str, object]) -> Literal["CT", "MR"] | None:
    stated = found.get("Modality")
    if stated == "CT" or (stated is None and any(key in found for key in _CT_KEYS)):
        return "CT"
    if stated == "MR" or (stated is None and any(key in found for key in _MR_KEYS)):
        return "MR"
    return None


def _times(value: object, name: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(_is_number(item) for item in value):
        raise FileError(f"{name}: FrameTimesStart must be a list of numbers; correct or remove it")
    return tuple(float(item) for item in value)


def _positive(found: dict[str, object], key: str, name: str) -> float | None:
    """A positive number; 0, as some converters write where they do not know, counts as absent."""
    value = found.get(key)
    if value is None or value == 0:
        return None
    if not _is_number(value) or float(str(value)) < 0:
        raise FileError(f"{name}: {key} must be one positive number, not {json.dumps(value)[:40]}; correct it")
    return float(str(value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _b_value(path: Path) -> float | None:
    """The highest b value of an FSL .bval file, None where there is none."""
    try:
        values = [float(word) for word in regular(path).read_text(encoding="ascii").split()[:10000]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FileError(f"{path.name} is not a list of b values; correct or remove it") from error
    highest = max(values, default=0.0)
    return highest if isfinite(highest) and highest > 0 else None
