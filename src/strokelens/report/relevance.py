"""Why a model marked what it marked: each channel's relevance over its scan, for reading and for a paper."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Final

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strokelens.arrays import Mask, Volume
from strokelens.case import Case
from strokelens.errors import RelevanceError, hint
from strokelens.report.atlas import PREDICTION, TRUTH
from strokelens.report.boards import GAP_IN, TITLE_IN, Board
from strokelens.report.display import choose
from strokelens.report.overlays import BRIGHT, DIM, FOR, PAGE, Stage
from strokelens.report.sweeps import spoken
from strokelens.report.words import ml

TARGET = "#ffe14d"
"""The outline of what was explained."""

NOTHING = "no relevance"

_PERCENTILE = 99.5
_TOLD = 0.005
"""A smaller share of relevance outside of the head is not worth a sentence."""

_COLUMNS: Final = ("A", "B", "C")
_BARS_IN, _CHART_IN = 1.05, 0.7
_UNDER = 0.6
"""How bright a scan is under relevance, as a share of one alone: colours stand out from it."""


@dataclass(frozen=True, eq=False)
class Reasons:
    """What a picture of relevance shows.

    `maps` has each channel's relevance (i j k) on the case's grid; `filtered` has the same by a filter's word, such as
    `pass:0:0.4`. `target` is what was explained, and `asked` says so in words; `model` says what it was trained on,
    too. `shares` are those of positive relevance by channel, of sum 1; NaN or left out where there is none. `doubts`
    are what must stand on the picture beside it, for pictures go without their page.

    Raises `RelevanceError` where a map or mask does not lie on the case's grid, or there is no map.
    """

    case: Case
    maps: Mapping[str, Volume]
    filtered: Mapping[str, Mapping[str, Volume]]
    truth: Mask | None
    prediction: Mask | None
    target: Mask
    asked: str
    model: str
    shares: Mapping[str, float]
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.maps:
            raise RelevanceError(f"{self.case.id}: no channel has a map of relevance; there is nothing to draw")
        arrays: dict[str, np.ndarray | None] = {f"the relevance of {name}": each for name, each in self.maps.items()}
        arrays |= {f"{name} after {word}": each for word, by in self.filtered.items() for name, each in by.items()}
        arrays |= {"the truth": self.truth, "the prediction": self.prediction, "the target": self.target}
        for what, array in arrays.items():
            if array is not None and array.shape != self.case.grid.shape:
                raise RelevanceError(
                    f"{self.case.id}: {what} has shape {array.shape} but the case has {self.case.grid.shape}; "
                    "bring it onto the case's grid first"
                )

    @cached_property
    def limit(self) -> float:
        """The 99.5th percentile of |R| over all channels where it is not 0; 0 without any relevance."""
        sizes = np.concatenate([np.abs(values[np.isfinite(values) & (values != 0)]) for values in self.maps.values()])
        return float(np.percentile(sizes, _PERCENTILE)) if sizes.size else 0.0

    def volume(self, mask: Mask) -> str:
        """A mask's volume for reading."""
        return f"{ml(float(mask.sum()) * self.case.grid.voxel_volume_ml)} ml"


def six_panels(reasons: Reasons, channel: str, *, slice_index: int | None = None) -> Figure:
    """One channel on one slice: A raw relevance, B and C after the first two filters, D truth, E prediction, F scan.

    A2, B2 and C2 are A to C over the scan. Each map is divided by the largest |R| of its own volume, and all colours go
    from −1 to 1. B and C are left out where there are fewer filters. Slices count from below, from 0; the default has
    most of the target, or of the truth where the target is empty. After figure 2 of the ancestor.

    Raises `RelevanceError` when the channel has no map, or the slice is not there.
    """
    maps = {"raw": reasons.maps} | dict(list(reasons.filtered.items())[: len(_COLUMNS) - 1])
    for word, known in maps.items():
        if channel not in known:
            raise RelevanceError(f"{reasons.case.id}: {word} has no relevance of {channel!r}; {hint(channel, known)}")
    stage = Stage(reasons.case)
    index = _slice(reasons, stage, slice_index)
    place = f"{channel}, slice at {_height(stage, index)}"
    board = _board(reasons, stage, place, [each[channel] for each in maps.values()], above=(TITLE_IN, GAP_IN, TITLE_IN))
    figure = board.figure()
    for column, (word, by) in enumerate(maps.items()):
        largest = _largest(by[channel])
        for row, suffix in enumerate(("", "2")):
            axes = board.tile(figure, row, column)
            (stage.scan(axes, channel, index, brightness=_UNDER) if row else stage.silhouette(axes, index))
            stage.relevance(axes, by[channel] / (largest or 1.0), index, limit=1.0)
            stage.outline(axes, reasons.target, index, TARGET)
            _letter(axes, stage, _COLUMNS[column] + suffix)
            if not row:
                told = f"over its largest, {_number(largest)}" if largest else NOTHING
                _title(axes, f"{spoken(word)} relevance\n{told}")
    _bottom(board, figure, reasons, stage, (channel, index))
    ends = ("−1\nspeaks against", "0", "+1\nspeaks for")
    board.foot(figure, "relevance as a share of its largest", 1.0, ends, [_key(reasons)])
    return figure


def sheet(reasons: Reasons, *, most_slices: int = 4) -> Figure:
    """All channels' relevance over their scans, a row a slice: which map spoke for what was explained, and where.

    One scale for all channels, symmetrical, to the 99.5th percentile of |R| that is not 0, so that they can be
    compared; below, each channel's share of what speaks for it. Slices are chosen by the target's area, by the truth's
    where it is empty.
    """
    stage, limit, maps = Stage(reasons.case), reasons.limit, reasons.maps
    shown = _shown(stage)
    chosen = choose(shown, _area(reasons, stage), most=most_slices)
    above = (TITLE_IN, *[GAP_IN] * (len(chosen) - 1))
    place = f"{len(chosen)} of {len(shown)} slices{', from below to above' if len(chosen) > 1 else ''}"
    spoke = any(isfinite(share) for share in reasons.shares.values())
    board = _board(
        reasons, stage, place, list(maps.values()), above=above, columns=len(maps), below_in=_BARS_IN * spoke
    )
    figure = board.figure()
    for column, (channel, values) in enumerate(maps.items()):
        for row, index in enumerate(chosen):
            axes = board.tile(figure, row, column)
            stage.scan(axes, channel, index, brightness=_UNDER)
            stage.relevance(axes, values, index, limit=limit or 1.0)
            stage.outline(axes, reasons.target, index, TARGET)
            if reasons.truth is not None:
                stage.outline(axes, reasons.truth, index, TRUTH, style="dashed")
            _letter(axes, stage, "" if column else _height(stage, index))
            if not row:
                _title(axes, f"{channel}\n{_speaks(reasons, channel)}")
        if spoke:
            _bar(board.under(figure, column, _CHART_IN), reasons, channel, first=not column)
    keys = [_key(reasons)]
    if reasons.truth is not None:
        keys.append(Line2D([], [], color=TRUTH, linestyle="dashed", label=f"truth: {reasons.volume(reasons.truth)}"))
    ends = (f"−{_number(limit)}\nspeaks against", "0", f"+{_number(limit)}\nspeaks for") if limit else ("", NOTHING, "")
    board.foot(figure, "relevance, one scale for all maps (99.5th percentile)", limit or 1.0, ends, keys)
    return figure


def _board(
    reasons: Reasons,
    stage: Stage,
    place: str,
    maps: list[Volume],
    *,
    above: tuple[float, ...],
    columns: int = 3,
    below_in: float = 0.0,
) -> Board:
    """The page, with whose case it is, what was asked of which model, and what both colours mean."""
    case = reasons.case
    simulated = ["simulated patient"] if case.simulated else []
    found = [] if reasons.prediction is None else [f"the model found {reasons.volume(reasons.prediction)}"]
    lines = [
        " · ".join([case.id, *simulated, place, f"model: {reasons.model}", *found]),
        "Red voxels spoke for it, blue ones against it; the brighter, the stronger. "
        "This shows what the model used, not whether it is right.",
    ]
    outside = _outside(stage, maps)
    if outside > _TOLD:
        lines.append(f"{_percent(outside)} of all relevance lies outside of the head and is not drawn.")
    lines += reasons.doubts
    return Board(stage.ratio, columns, above, f"What spoke for {reasons.asked}", lines, below_in)


def _outside(stage: Stage, maps: list[Volume]) -> float:
    """The share of |R| outside of the head; 0 without relevance."""
    total, lost = (
        sum(float(np.nansum(np.abs(np.where(where, values, 0)))) for values in maps)
        for where in (np.ones_like(stage.head), ~stage.head)
    )
    return lost / total if total else 0.0


def _bottom(board: Board, figure: Figure, reasons: Reasons, stage: Stage, shown: tuple[str, int]) -> None:
    """D, E and F: the truth, the prediction, and the scan alone."""
    channel, index = shown
    masks = (("D", "truth", reasons.truth, TRUTH), ("E", "prediction", reasons.prediction, PREDICTION))
    for column, (letter, what, mask, colour) in enumerate(masks):
        axes = board.tile(figure, 2, column)
        stage.silhouette(axes, index)
        if mask is not None:
            stage.fill(axes, mask, index, colour)
        _letter(axes, stage, letter)
        _title(axes, f"no {what}" if mask is None else f"{what}\n{reasons.volume(mask)} in all slices")
    axes = board.tile(figure, 2, 2)
    stage.scan(axes, channel, index)
    _letter(axes, stage, "F")
    _title(axes, f"{channel} alone")


def _bar(axes: Axes, reasons: Reasons, channel: str, *, first: bool) -> None:
    """A channel's share as a bar under its column; dashed is the share of each if all were alike."""
    share, even = reasons.shares.get(channel, float("nan")), 1 / len(reasons.maps)
    axes.set(
        xlim=(0, 1), ylim=(0, np.nanmax([*reasons.shares.values(), even]) * 1.3), facecolor=PAGE, xticks=[], yticks=[]
    )
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.spines["bottom"].set_color(DIM)
    if isfinite(share):
        axes.bar(0.5, share, width=0.36, color=FOR)
        axes.annotate(
            _percent(share), (0.5, share), (0, 2.5), textcoords="offset points", ha="center", va="bottom",
            color=BRIGHT, fontsize=8, bbox={"facecolor": PAGE, "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
    axes.axhline(even, color=DIM, linewidth=0.8, linestyle="dashed", zorder=0)
    if first:
        axes.text(0, even, "even share", color=DIM, fontsize=6.5, va="bottom")
    axes.set_xlabel(channel, color=BRIGHT, fontsize=8, labelpad=2)


def _slice(reasons: Reasons, stage: Stage, wanted: int | None) -> int:
    """The slice that was wanted, else the one with most of the target."""
    area = _area(reasons, stage)
    if wanted is None:
        return int(area.argmax()) if area.any() else (_shown(stage)[len(_shown(stage)) // 2])
    if not 0 <= wanted < area.size:
        raise RelevanceError(f"{reasons.case.id} has no slice {wanted}; they count from below, 0 to {area.size - 1}")
    return wanted


def _area(reasons: Reasons, stage: Stage) -> Int[np.ndarray, "slice"]:
    """Voxels of the target a slice; of the truth where the target is empty."""
    mask = reasons.target if reasons.target.any() or reasons.truth is None else reasons.truth
    area: np.ndarray = stage.view.planes(mask).sum(axis=(1, 2))
    return area


def _shown(stage: Stage) -> list[int]:
    """The slices that hold any of the head."""
    return [int(place) for place in np.flatnonzero(stage.view.planes(stage.head).any(axis=(1, 2)))]


def _largest(values: Volume) -> float:
    sizes = np.abs(values[np.isfinite(values)])
    return float(sizes.max(initial=0.0))


def _letter(axes: Axes, stage: Stage, text: str) -> None:
    """Finish a tile with what stands in its corner."""
    stage.prepare(axes)
    axes.text(0.02, 0.98, text, transform=axes.transAxes, color=BRIGHT, fontsize=9, weight="bold", va="top")


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, color=BRIGHT, fontsize=9, pad=3)


def _key(reasons: Reasons) -> Line2D:
    volume = reasons.volume(reasons.target) if reasons.target.any() else "no voxel"
    return Line2D([], [], color=TARGET, label=f"what was explained: {volume}")


def _speaks(reasons: Reasons, channel: str) -> str:
    share = reasons.shares.get(channel, float("nan"))
    return f"{_percent(share)} of what speaks for it" if isfinite(share) else NOTHING


def _height(stage: Stage, index: int) -> str:
    return f"{round(stage.view.height_mm(index)) + 0:d} mm".replace("-", "−")


def _percent(share: float) -> str:
    """A share for reading.

    >>> _percent(0.341), _percent(0.004), _percent(0.0)
    ('34 %', '< 1 %', '0 %')
    """
    return "< 1 %" if 0 < share < 0.005 else f"{share * 100:.0f} %"


def _number(size: float) -> str:
    """A relevance for reading, its unit being the network's own.

    >>> _number(0.000123), _number(4.5)
    ('1.2 × 10⁻⁴', '4.5')
    """
    if 0.01 <= size < 1000:
        return f"{size:.2g}"
    digits, power = f"{size:.1e}".split("e")
    return f"{digits} × 10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
