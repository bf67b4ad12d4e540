"""Reads cases that have one image file a channel; every layout but that of slices is read by this."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from strokelens.case import SERIES, Case, Segmentation
from strokelens.cohorts.cohort import AS_TRUTH, Entry, Problem, Truth
from strokelens.cohorts.decode import Header, Scan
from strokelens.cohorts.grey import NAME_THEM
from strokelens.cohorts.images import read_header, read_scan
from strokelens.cohorts.nifti import Reading, read_files
from strokelens.cohorts.sidecar import read_sidecar
from strokelens.cohorts.study import ORDER, Study
from strokelens.errors import CaseError, GridError, LabelError, StrokelensError
from strokelens.grid import Grid, difference, reordered
from strokelens.labels import LabelScheme


@dataclass(frozen=True)
class VolumeReader:
    """Reads an image file for each channel; `relative` names the channels whose files call themselves relative maps.

    `reading.resample` tells that channels on other grids are brought onto the first one's. That is a remark, but for
    those that are `apart`: their layout means them to have grids of their own. `simulated` is what the cohort tells of
    all cases; a file may tell it of one.
    """

    reading: Reading = field(default_factory=Reading)
    relative: frozenset[str] = frozenset()
    apart: frozenset[str] = frozenset()
    simulated: bool = False

    def look(self, entry: Entry) -> tuple[Problem, ...]:
        """What the headers tell: files that are no images, frames that do not fit a channel, grids that differ."""
        problems: list[Problem] = []
        first: tuple[str, Grid] | None = None
        for channel in ordered(entry.files):
            header = _header(entry.files[channel][0], problems)
            if header is None:
                continue
            if (header.frames > 1) != (channel in SERIES):
                frames = "one frame" if header.frames == 1 else f"{header.frames} frames"
                problems.append(Problem("frames", f"{header.name} has {frames}; {channel} {_wants(channel)}", True))
            first = first or (channel, header.grid)
            problems += self._elsewhere(channel, header.grid, *first)
        if entry.truth is not None and first is not None:
            problems += look_at_truth(entry.truth, *first)
        return tuple(problems)

    def read(self, entry: Entry, channels: Sequence[str]) -> Case:
        """The case with its truth, on the grid of the first channel."""
        files = {name: entry.files[name][0] for name in ordered(channels)}
        if not files:
            raise CaseError(f"{entry.id}: no channel was asked for; it has {', '.join(entry.files) or 'none'}")
        relative = self.relative & set(files)
        case = read_files(Study(entry.id, entry.id, None, files, relative=relative), self.reading)
        truth = read_truth(entry.truth, case.grid) if entry.truth is not None else None
        simulated = self.simulated or case.simulated
        return replace(case, truth=truth, group=entry.group, clinical=entry.numbers, simulated=simulated)

    def read_truth(self, entry: Entry, truth: Truth) -> Case:
        """The case without channels, on the grid of its truth."""
        labels = read_truth(truth)
        simulated = self.simulated or read_sidecar(truth.files[0]).simulated
        return Case(entry.id, labels.grid, {}, labels, entry.numbers, entry.group, simulated=simulated)

    def _elsewhere(self, channel: str, grid: Grid, first: str, reference: Grid) -> list[Problem]:
        if grid.agrees(reference) or (self.reading.resample and channel in self.apart):
            return []
        gap = difference(grid, reference)
        if self.reading.resample:
            return [Problem("other-grid", f"{channel} is brought onto the grid of {first} ({gap})")]
        return [Problem("other-grid", f"{channel} and {first} lie on different grids ({gap}); resample one", True)]


def ordered(channels: Sequence[str] | Mapping[str, object]) -> list[str]:
    """The channels with the one first whose grid a case keeps."""
    return sorted(channels, key=ORDER.index)


def read_truth(truth: Truth, grid: Grid | None = None) -> Segmentation:
    """The truth in a file of integers, on `grid` where one is given, else on its own.

    Where the file has the same voxels in another order, as after a conversion by other software, they are turned.
    Raises `GridError` when it lies elsewhere, `LabelError` when it holds a value that stands for no class.
    """
    scan = read_scan(truth.files[0])
    if scan.array.ndim != 3:
        raise CaseError(f"{scan.name} has {scan.header.frames} volumes; a {truth.called} has one: give it")
    if grid is not None and not _in_place(scan.grid, grid):
        gap = difference(scan.grid, grid)
        raise GridError(
            f"the {truth.called} {scan.name} lies elsewhere than the images ({gap}); bring it onto their grid"
        )
    labels, known = np.zeros_like(scan.array, np.uint8), 0
    truth = _in_8_bits(truth, scan)
    for value, name in truth.values.items():
        here = scan.array == value
        known += int(np.count_nonzero(here))
        np.copyto(labels, truth.scheme.value(name), where=here, casting="unsafe")
    if known < labels.size:
        raise LabelError(_strange(truth, scan))
    place = grid or scan.grid
    return Segmentation(labels if scan.grid.agrees(place) else _turned(labels, scan.grid, place), place, truth.scheme)


def _in_place(grid: Grid, other: Grid) -> bool:
    """Whether voxels of both grids are in the same places, be their axes in another order or direction."""
    return grid.agrees(other) or reordered(np.broadcast_to(np.uint8(0), grid.shape), grid, other) is not None


def _turned(labels: Integer[np.ndarray, "i j k"], grid: Grid, other: Grid) -> Integer[np.ndarray, "x y z"]:
    """Labels on another grid of the same places, as dcm2niix and others lay them out."""
    turned = reordered(labels, grid, other)
    assert turned is not None
    return turned


def _in_8_bits(truth: Truth, scan: Scan) -> Truth:
    """A prediction of one class that is not said to be numbered otherwise may mark it with 255."""
    marked = [value for value in truth.values if value]
    if not truth.by.startswith(AS_TRUTH) or len(marked) != 1 or scan.highest != 255:
        return truth
    return replace(truth, values={0: truth.values[0], 255: truth.values[marked[0]]})


def _strange(truth: Truth, scan: Scan) -> str:
    """Which values of a file stand for no class."""
    values = np.unique(scan.array)
    strange = [float(value) for value in values if value not in truth.values]
    shown = ", ".join(f"{value:g}" for value in strange[:5])
    told = f"the {truth.called} {scan.name} holds {shown}{f' and {len(strange) - 5} more' if len(strange) > 5 else ''}"
    if truth.called == "prediction" and 0 <= scan.lowest <= scan.highest <= 1 and any(value % 1 for value in strange):
        return f"{told}, which are probabilities; threshold them at 0.5 and save whole numbers"
    known = ", ".join(f"{value} {name}" for value, name in sorted(truth.values.items()))
    return f"{told}; known: {known}{f'; {NAME_THEM}' if truth.called == 'prediction' else ''}"


def plain_truth(path: Path, scheme: LabelScheme) -> Truth:
    """A truth whose integers are the positions of the classes in the scheme."""
    return Truth((path,), scheme, dict(enumerate(scheme.names)))


def _header(path: Path, problems: list[Problem]) -> Header | None:
    """The header of a file; None and a problem more where there is none."""
    try:
        return read_header(path)
    except StrokelensError as error:
        problems.append(Problem("unreadable", str(error), True))
        return None


def _wants(channel: str) -> str:
    return "needs frames over time" if channel in SERIES else "is one volume"


def look_at_truth(truth: Truth, channel: str, grid: Grid) -> tuple[Problem, ...]:
    """What the header of a truth tells, beside a channel on `grid`."""
    problems: list[Problem] = []
    header = _header(truth.files[0], problems)
    if header is not None and header.frames > 1:
        problems.append(Problem("truth", f"{header.name} has {header.frames} volumes; a truth has one: give it", True))
    if header is not None and not _in_place(header.grid, grid):
        gap = difference(header.grid, grid)
        problems.append(Problem("other-grid", f"the truth lies elsewhere than {channel} ({gap})", True))
    return tuple(problems)
