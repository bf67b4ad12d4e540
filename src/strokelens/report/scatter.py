"""A number against another, one dot a patient: a panel for each class, a colour for each model."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Final, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strokelens.flags import RESEARCH_USE

PAPER, TEXT, MUTED, GRID = "#ffffff", "#16202a", "#51606e", "#e3e8ed"
"""The colours of the paper, of what is read, of what is glanced at, and of the lines behind: for a light page."""

COLOURS = (
    *("#1f6fb8", "#c8500a", "#2b8a4b", "#a8348c", "#8a7200", "#5b52c7"),
    *("#0a8f94", "#b3261e", "#6b4a2b", "#d06aa8", "#4f5b66", "#7ba428"),
)
"""Of the models, in their order; a thirteenth has the first one's again, with another mark."""

_MARKS = "osD^v"
_STYLES: Final[tuple[Literal["--", ":"], ...]] = ("--", ":")
_PANEL_IN = 3.8


@dataclass(frozen=True, eq=False)
class Cloud:
    """The dots of a model in the panel `name`, those with NaN left out; `joined` by a line where they are a curve.

    `lines` are heights across: the first in its own style, the others alike; `unseen` patients have no dot. `slope` is
    that of a line through the dots, and its height at 0; NaN is none.
    """

    model: str
    name: str
    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    lines: tuple[float, ...] = ()
    unseen: int = 0
    joined: bool = False
    persons: int | None = None
    slope: tuple[float, float] = (nan, nan)

    @property
    def count(self) -> int:
        """How many patients there are: those told, else a dot each."""
        return self.persons if self.persons is not None else int((~np.isnan(self.x) & ~np.isnan(self.y)).sum())


@dataclass(frozen=True)
class Axis:
    """What an axis is called, and the range that it shows in every panel, where that is one."""

    title: str
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Words:
    """What a picture says besides: what dots are, both kinds of lines across, and why some patients are unseen.

    `slopes` names the lines through dots, and `perfect` the line of perfect agreement: the height 0, and the diagonal
    where dots are joined.
    """

    dots: str = "n"
    lines: tuple[str, ...] = ()
    perfect: str = ""
    unseen: str = ""
    slopes: str = ""


def scatter(clouds: Sequence[Cloud], across: Axis, up: Axis, words: Words) -> Figure:
    """The clouds in a row of panels, and what the marks and lines mean below them."""
    names = list(dict.fromkeys(cloud.name for cloud in clouds))
    models = list(dict.fromkeys(cloud.model for cloud in clouds))
    figure = Figure(figsize=(0.6 + _PANEL_IN * len(names), 4.4), dpi=130, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for name, axes in zip(names, panels, strict=True):
        mine = [cloud for cloud in clouds if cloud.name == name]
        framed(axes, across, up)
        if words.perfect:
            _perfect(axes, diagonal=any(cloud.joined for cloud in mine))
        for cloud in mine:
            _dots(axes, cloud, models.index(cloud.model))
        axes.set_title(f"{name}\n{_counted(mine, words)}", color=TEXT, fontsize=9)
    panels[0].set_ylabel(up.title, color=MUTED)
    keys = _keys(models, words)
    figure.legend(
        handles=keys, loc="outside lower center", ncols=min(len(keys), 2 * len(names)), fontsize=8, frameon=False
    )
    figure.suptitle(RESEARCH_USE, color=MUTED, fontsize=7, x=0.99, ha="right")
    return figure


def framed(axes: Axes, across: Axis, up: Axis) -> None:
    """Give a panel its grid, its axes' titles and ranges, and our colours."""
    axes.set_facecolor(PAPER)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(across.title, color=MUTED)
    axes.tick_params(colors=MUTED, length=0)
    for side in axes.spines.values():
        side.set_color(MUTED)
    if across.span is not None:
        axes.set_xlim(*across.span)
    if up.span is not None:
        axes.set_ylim(*up.span)


def _perfect(axes: Axes, *, diagonal: bool) -> None:
    if diagonal:
        axes.plot([0, 1], [0, 1], color=TEXT, linewidth=0.8)
    else:
        axes.axhline(0.0, color=TEXT, linewidth=0.8)


def _dots(axes: Axes, cloud: Cloud, place: int) -> None:
    colour, mark = _look(place)
    axes.plot(
        cloud.x,
        cloud.y,
        mark,
        color=colour,
        alpha=0.75,
        markersize=4,
        linestyle="-" if cloud.joined else "none",
        linewidth=1.0,
    )
    if np.isfinite(cloud.slope).all() and cloud.x.size:
        ends = np.array([np.nanmin(cloud.x), np.nanmax(cloud.x)])
        axes.plot(ends, cloud.slope[0] * ends + cloud.slope[1], color=colour, linewidth=1.2)
    for at, height in enumerate(cloud.lines):
        if np.isfinite(height):
            axes.axhline(height, color=colour, linewidth=1.2, linestyle=_STYLES[min(at, 1)])


def _look(place: int) -> tuple[str, str]:
    """The colour and the mark of a model."""
    return COLOURS[place % len(COLOURS)], _MARKS[place // len(COLOURS) % len(_MARKS)]


def _counted(clouds: Sequence[Cloud], words: Words) -> str:
    """`n = 20`, or `n = 18 to 20` where models differ; and how many have no dot."""
    counts, unseen = ({getattr(cloud, kind) for cloud in clouds} for kind in ("count", "unseen"))
    told = f"{words.dots} = {_range(counts)}"
    return f"{told}; {words.unseen}: {_range(unseen)}" if words.unseen and max(unseen, default=0) else told


def _range(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _keys(models: Sequence[str], words: Words) -> list[Line2D]:
    """What each mark and line means."""
    keys = []
    for place, model in enumerate(models):
        colour, mark = _look(place)
        keys.append(Line2D([], [], color=colour, marker=mark, linestyle="none", label=model.replace("$", r"\$")))
    for name, style in zip(words.lines, _STYLES, strict=False):
        keys.append(Line2D([], [], color=MUTED, linestyle=style, label=name))
    if words.slopes:
        keys.append(Line2D([], [], color=MUTED, label=words.slopes))
    if words.perfect:
        keys.append(Line2D([], [], color=TEXT, linewidth=0.8, label=words.perfect))
    return keys
