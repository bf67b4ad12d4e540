"""Which planes make a frame, and when each frame was taken."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from strokelens.arrays import Curve
from strokelens.cohorts.dicom_header import Plane
from strokelens.cohorts.sidecar import FRAME_INTERVAL_LIMITS_S
from strokelens.errors import SeriesError

CLOCKS: Final = (
    "AcquisitionDateTime",
    "AcquisitionTime",
    "ContentTime",
    "TriggerTime",
    "TemporalPositionTimeOffset",
    "TemporalPosition",
)
"""What gives the time of a plane, the most direct one first."""

COUNTERS: Final = ("TemporalPositionIdentifier", "AcquisitionNumber")
"""What only counts frames, and needs the repetition time or the user's interval."""

_OF_DAY: Final = frozenset({"AcquisitionDateTime", "AcquisitionTime", "ContentTime"})
_DAY_S, _HALF_A_DAY_S = 86_400.0, 43_200.0
_SHUTTLE_S = 0.2
_MOST_INCOMPLETE = 0.25


@dataclass(frozen=True, eq=False)
class Frames:
    """Planes by position and frame, each frame complete; `time_s` from the first frame on."""

    planes: tuple[tuple[Plane, ...], ...]
    time_s: Curve
    note: str
    doubts: tuple[str, ...]


def frames_of(positions: Sequence[Sequence[Plane]], name: str, frame_interval_s: float | None = None) -> Frames:
    """The frames of planes that are parted by position, in any order within one.

    Raises `SeriesError` when nothing tells frames apart or when they were taken, when more than a quarter of the
    frames lack slices, or when the times are not those of a perfusion series.
    """
    clock = next((each for each in (*CLOCKS, *COUNTERS) if _tells(positions, each)), None)
    if clock is None and frame_interval_s is None:
        count = sum(map(len, positions))
        raise SeriesError(
            f"{name} has {count} images at {len(positions)} positions, and nothing tells when they were taken; "
            "give --frame-interval SECONDS"
        )
    times = [_sorted(planes, clock) for planes in positions]
    chosen, left_out = _complete(times, clock, name)
    planes = tuple(tuple(plane for plane, _ in row) for row in chosen)
    table = np.array([[time for _, time in row] for row in chosen])  # (k, t)
    doubts = list(left_out)
    if frame_interval_s is not None:
        time_s: Curve = np.arange(table.shape[1]) * frame_interval_s
        note = f"frame interval {frame_interval_s:g} s as given"
    elif clock in COUNTERS:
        time_s, note = _counted(table, planes[0][0], clock, name)
        doubts.append(f"no time of its images is known: frames by {clock}, one each {planes[0][0].repetition_s:g} s")
    else:
        time_s, note = table.mean(axis=0), f"frame times from {clock}"
        doubts += _clock_doubts(table, str(clock))
    return Frames(planes, _checked(time_s - time_s[0], name), note, tuple(doubts))


def deduplicated(planes: Sequence[Plane]) -> tuple[list[Plane], int]:
    """The planes without copies (same instance and frame; or same place, number and times), and how many there were."""
    kept: dict[object, Plane] = {}
    for plane in sorted(planes, key=lambda plane: (plane.instance, plane.frame, plane.member.place)):
        kept.setdefault((plane.instance, plane.frame) if plane.instance else plane, plane)
    unique: dict[object, Plane] = {}
    for plane in kept.values():
        known = plane.position is not None and (plane.times_s or plane.order)
        key = (plane.position, plane.order, tuple(plane.times_s.items())) if known else plane
        unique.setdefault(key, plane)
    return list(unique.values()), len(planes) - len(unique)


def seconds(plane: Plane, clock: str | None) -> float:
    """The time of a plane by a clock; its number where there is no clock."""
    return plane.order if clock is None else plane.times_s[clock]


def _tells(positions: Sequence[Sequence[Plane]], clock: str) -> bool:
    """Whether a clock has another time for each plane of a position; a counter also needs the repetition time."""
    if clock in COUNTERS and positions[0][0].repetition_s is None:
        return False
    for planes in positions:
        found = [plane.times_s.get(clock) for plane in planes]
        if None in found or len(set(found)) < len(found):
            return False
    return True


def _sorted(planes: Sequence[Plane], clock: str | None) -> list[tuple[Plane, float]]:
    """The planes of one position in time, with their times; a clock that passes midnight goes on."""
    found = [(plane, seconds(plane, clock)) for plane in planes]
    if clock in _OF_DAY and max(time for _, time in found) - min(time for _, time in found) > _HALF_A_DAY_S:
        found = [(plane, time + _DAY_S if time < _HALF_A_DAY_S else time) for plane, time in found]
    return sorted(found, key=lambda pair: (pair[1], pair[0].order, pair[0].instance))


def _complete(
    times: Sequence[Sequence[tuple[Plane, float]]], clock: str | None, name: str
) -> tuple[list[list[tuple[Plane, float]]], list[str]]:
    """The frames that have every position, and a doubt that tells of those left out."""
    counts = Counter(map(len, times))
    frames = max(counts, key=lambda count: (counts[count], count))
    rows = _one_day(times, clock)
    if len(counts) == 1:
        return rows, []
    reference = np.median([[time for _, time in row] for row in rows if len(row) == frames], axis=0)
    tables = [_nearest(row, reference) for row in rows]
    whole = [t for t in range(frames) if all(t in table for table in tables)]
    lacking = max(frames, *counts) - len(whole)
    if lacking > _MOST_INCOMPLETE * frames or clock is None:
        least = min(map(len, times))
        raise SeriesError(
            f"{name} lacks slices: {len(times)} positions have {least} to {max(counts)} images each, and "
            f"{len(whole)} of {frames} frames are complete; copy or export the series again"
        )
    word = "frame lacks" if lacking == 1 else "frames lack"
    return [[table[t] for t in whole] for table in tables], [f"{lacking} of {frames} {word} slices and were left out"]


def _nearest(
    row: Sequence[tuple[Plane, float]], reference: Float[np.ndarray, "t"]
) -> Mapping[int, tuple[Plane, float]]:
    """The planes of one position by the frame whose time is nearest; of two, the nearer one."""
    found: dict[int, tuple[Plane, float]] = {}
    for plane, time in row:
        t = int(np.abs(reference - time).argmin())
        if t not in found or abs(reference[t] - time) < abs(reference[t] - found[t][1]):
            found[t] = (plane, time)
    return found


def _one_day(times: Sequence[Sequence[tuple[Plane, float]]], clock: str | None) -> list[list[tuple[Plane, float]]]:
    """The times of all positions on one day: midnight may lie between the slices of a frame."""
    rows = [list(row) for row in times]
    if clock not in _OF_DAY:
        return rows
    latest = max(row[-1][1] for row in rows)
    return [
        [(plane, time + _DAY_S) if latest - time > _HALF_A_DAY_S else (plane, time) for plane, time in row]
        for row in rows
    ]


def _counted(table: Float[np.ndarray, "k t"], plane: Plane, clock: str | None, name: str) -> tuple[Curve, str]:
    """Times of frames that are only counted, by the repetition time."""
    assert plane.repetition_s is not None
    if np.ptp(table, axis=0).any():
        raise SeriesError(f"{name}: {clock} differs within a frame; give --frame-interval SECONDS")
    return table[0] * plane.repetition_s, f"frames counted by {clock}"


def _clock_doubts(table: Float[np.ndarray, "k t"], clock: str) -> list[str]:
    doubts = []
    spread_s = float(np.ptp(table, axis=0).max())
    if spread_s > _SHUTTLE_S:
        doubts.append(
            f"the slices of a frame were taken up to {spread_s:.2g} s apart (shuttle or interleaved): "
            "the mean time of each frame is taken"
        )
    if clock not in ("AcquisitionDateTime", "AcquisitionTime"):
        doubts.append(f"no time of acquisition tells its frames apart: times are those of {clock}")
    return doubts


def _checked(time_s: Curve, name: str) -> Curve:
    """The times, refused where they are not those of a perfusion series."""
    steps = np.diff(time_s)
    low, high = FRAME_INTERVAL_LIMITS_S
    if (steps <= 0).any() or not low <= float(np.median(steps)) <= high:
        raise SeriesError(
            f"{name}: frames {float(np.median(steps)):.3g} s apart ({steps.min():.3g} to {steps.max():.3g} s) are not "
            f"a perfusion series ({low:g} to {high:g} s); give --frame-interval SECONDS"
        )
    return time_s
