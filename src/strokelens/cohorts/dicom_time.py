"""Which planes make a frame, and when each frame was taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from strokelens.arrays import Curve
from strokelens.cohorts.dicom_plane import Plane
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
_DUE = 0.99


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
    """The planes without copies, and how many there were.

    Copies have the same place, number and times; where these are not known, the same instance and frame. The instance
    alone tells nothing: some anonymisers give one to all.
    """
    unique: dict[object, Plane] = {}
    for plane in sorted(planes, key=lambda plane: (plane.instance, plane.frame, plane.member.place)):
        known = plane.position is not None and (plane.times_s or plane.order)
        named = (plane.instance, plane.frame) if plane.instance else plane
        where = (plane.position, plane.order, tuple(plane.times_s.items()))
        unique.setdefault(where if known else (named, where), plane)
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
    counts = sorted(map(len, times))
    rows = _one_day(times, clock)
    if counts[0] == counts[-1] and (clock is None or _apart(rows)):
        return rows, []
    passes = _passes(rows)
    whole = [each for each in passes if len(each) == len(rows)]
    frames = len(passes)
    lacking = frames - len(whole)
    if lacking > _MOST_INCOMPLETE * frames or clock is None:
        raise SeriesError(
            f"{name} lacks slices: {len(times)} positions have {counts[0]} to {counts[-1]} images each, and "
            f"{len(whole)} of {frames} frames are complete; copy or export the series again"
        )
    word = "lacks slices and was" if lacking == 1 else "lack slices and were"
    return [[each[k] for each in whole] for k in range(len(rows))], [f"{lacking} of {frames} frames {word} left out"]


def _apart(rows: Sequence[Sequence[tuple[Plane, float]]]) -> bool:
    """Whether each frame ends before the next one begins; not where a position lacks a frame in the middle."""
    table = np.array([[time for _, time in row] for row in rows])
    return bool((table[:, :-1].max(axis=0) < table[:, 1:].min(axis=0)).all())


def _passes(rows: Sequence[Sequence[tuple[Plane, float]]]) -> list[dict[int, tuple[Plane, float]]]:
    """The planes of all positions, in time, cut into frames: one begins where a position comes again, or is due to."""
    steps = np.concatenate([np.diff([time for _, time in row]) for row in rows])
    due = _DUE * float(np.median(steps)) if steps.size else np.inf
    listed = sorted(((time, k, plane) for k, row in enumerate(rows) for plane, time in row), key=lambda each: each[:2])
    passes: list[dict[int, tuple[Plane, float]]] = []
    start = -np.inf
    for time, k, plane in listed:
        if not passes or k in passes[-1] or time - start >= due:
            passes.append({})
            start = time
        passes[-1][k] = (plane, time)
    return passes


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
    if not steps.size:
        raise SeriesError(f"{name} has one frame, and a perfusion series has many; copy or export it again")
    low, high = FRAME_INTERVAL_LIMITS_S
    if (steps <= 0).any() or not low <= float(np.median(steps)) <= high:
        raise SeriesError(
            f"{name}: frames {float(np.median(steps)):.3g} s apart ({steps.min():.3g} to {steps.max():.3g} s) are not "
            f"a perfusion series ({low:g} to {high:g} s); give --frame-interval SECONDS"
        )
    return time_s
