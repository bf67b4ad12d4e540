"""Curves with their intervals over the points that they are means of: a panel for each measure, a colour for each kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strokelens.report.scatter import COLOURS, MUTED, PAPER, TEXT, Axis, framed

_PANEL_IN: Final = 5.2


@dataclass(frozen=True, eq=False)
class Band:
    """The points of a kind in the panel `name`, and its curve through `at` with the interval from `low` to `high`.

    Without any `at` the points are large and stand alone.
    """

    kind: str
    name: str
    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    at: Float[np.ndarray, "k"]
    mean: Float[np.ndarray, "k"]
    low: Float[np.ndarray, "k"]
    high: Float[np.ndarray, "k"]


def bands(kinds: Sequence[Band], across: Axis, up: Axis, title: str, note: str) -> Figure:
    """The panels in a row; the legend and a note below them."""
    names, called = list(dict.fromkeys(each.name for each in kinds)), list(dict.fromkeys(each.kind for each in kinds))
    figure = Figure(figsize=(0.4 + _PANEL_IN * len(names), 5.2), dpi=150, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for name, axes in zip(names, panels, strict=True):
        framed(axes, across, up)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(name, color=TEXT, fontsize=11, loc="left")
        mine = [each for each in kinds if each.name == name]
        for each in mine:
            _points(axes, each, COLOURS[called.index(each.kind) % len(COLOURS)])
        for each in mine:
            _curve(axes, each, COLOURS[called.index(each.kind) % len(COLOURS)])
    panels[0].set_ylabel(up.title, color=MUTED)
    figure.suptitle(title, color=TEXT, fontsize=12, x=0.01, ha="left")
    figure.legend(
        handles=_keys(kinds, called), loc="outside lower center", ncols=len(called), fontsize=9, frameon=False
    )
    figure.supxlabel(note, color=MUTED, fontsize=8, x=0.01, ha="left")
    return figure


def _points(axes: Axes, band: Band, colour: str) -> None:
    if band.at.size:
        axes.plot(band.x, band.y, "o", color=colour, alpha=0.22, markersize=2.4, markeredgewidth=0, zorder=2)
    else:
        axes.plot(band.x, band.y, "D", color=colour, alpha=0.8, markersize=3.6, markeredgewidth=0, zorder=3)


def _curve(axes: Axes, band: Band, colour: str) -> None:
    axes.fill_between(band.at, band.low, band.high, color=colour, alpha=0.16, linewidth=0, zorder=4)
    axes.plot(band.at, band.mean, "-", color=PAPER, linewidth=3.6, zorder=5)
    axes.plot(band.at, band.mean, "o-", color=colour, linewidth=1.9, markersize=3.4, zorder=6)


def _keys(kinds: Sequence[Band], called: Sequence[str]) -> list[Line2D]:
    """What each colour means."""
    alone = {each.kind for each in kinds if not each.at.size}
    return [
        Line2D(
            [],
            [],
            color=COLOURS[place % len(COLOURS)],
            marker="D" if kind in alone else "o",
            markersize=4,
            linestyle="none" if kind in alone else "-",
            linewidth=2.2,
            label=kind,
        )
        for place, kind in enumerate(called)
    ]
