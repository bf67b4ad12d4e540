"""Curves and their intervals over the points that they are means of: a panel a measure, a colour a kind."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from strokelens.report.scatter import COLOURS, MUTED, PAPER, TEXT, Axis, framed

_PANEL_IN, _HIGH_IN, _LEFT_IN, _GAP_IN, _TOP_IN, _BOTTOM_IN = 5.0, 5.6, 0.65, 0.35, 0.85, 1.15
"""The width of a panel, the height of the picture, and what is around its panels."""


@dataclass(frozen=True, eq=False)
class Band:
    """The points of a kind in the panel `name`, and its curve through `at` with the interval from `low` to `high`.

    Without any `at` the points are large and stand alone. A `label` stands at a place of its own.
    """

    kind: str
    name: str
    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    at: Float[np.ndarray, "k"]
    mean: Float[np.ndarray, "k"]
    low: Float[np.ndarray, "k"]
    high: Float[np.ndarray, "k"]
    label: tuple[str, float, float] | None = None


def bands(kinds: Sequence[Band], across: Axis, up: Axis, title: str, note: str) -> Figure:
    """The panels in a row, below a title; the legend and a note below them.

    The scale across is that of square roots, as most of what happens does so near 0.
    """
    names, called = list(dict.fromkeys(each.name for each in kinds)), list(dict.fromkeys(each.kind for each in kinds))
    figure, panels = _panels(len(names))
    for name, axes in zip(names, panels, strict=True):
        mine = [each for each in kinds if each.name == name]
        for draw in (_points, _curve):
            for each in mine:
                draw(axes, each, COLOURS[called.index(each.kind) % len(COLOURS)])
        axes.set_xscale("function", functions=(_root, np.square))
        axes.xaxis.set_major_locator(FixedLocator([0, 0.05, 0.2, 0.5, *range(1, 10), *range(10, 100, 10)]))
        framed(axes, across, up)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(name, color=TEXT, fontsize=10.5, loc="left")
    panels[0].set_ylabel(up.title, color=MUTED)
    left = _LEFT_IN / figure.get_figwidth()
    figure.text(left, 1 - 0.3 / _HIGH_IN, title, color=TEXT, fontsize=12.5, weight="bold", va="center")
    figure.text(left, 0.18 / _HIGH_IN, note, color=MUTED, fontsize=8, va="center")
    place = (0.5, 0.3 / _HIGH_IN)
    figure.legend(
        handles=_keys(kinds, called),
        loc="lower center",
        bbox_to_anchor=place,
        ncols=len(called) if len(names) > 1 else 4,
        fontsize=9.5,
        frameon=False,
    )
    return figure


def _panels(count: int) -> tuple[Figure, Sequence[Axes]]:
    """A picture with so many panels side by side, which share the axis up."""
    wide = _LEFT_IN + (_PANEL_IN + _GAP_IN) * count
    figure = Figure(figsize=(wide, _HIGH_IN), dpi=150, facecolor=PAPER)
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, count, squeeze=False, sharey=True)[0]
    figure.subplots_adjust(
        left=_LEFT_IN / wide,
        right=1 - _GAP_IN / wide,
        bottom=_BOTTOM_IN / _HIGH_IN,
        top=1 - _TOP_IN / _HIGH_IN,
        wspace=_GAP_IN / _PANEL_IN,
    )
    return figure, list(panels)


def _root(x: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """The square root; 0 below 0."""
    root: Float[np.ndarray, "n"] = np.sqrt(np.maximum(x, 0))
    return root


def _points(axes: Axes, band: Band, colour: str) -> None:
    if band.at.size:
        axes.plot(band.x, band.y, "o", color=colour, alpha=0.22, markersize=2.4, markeredgewidth=0, zorder=2)
    else:
        axes.plot(band.x, band.y, "D", color=colour, alpha=0.8, markersize=3.6, markeredgewidth=0, zorder=3)


def _curve(axes: Axes, band: Band, colour: str) -> None:
    if band.label is not None:
        text, x, y = band.label
        axes.annotate(text, (x, y), (7, 0), textcoords="offset points", color=colour, fontsize=8.5, va="center")
    axes.fill_between(band.at, band.low, band.high, color=colour, alpha=0.09, linewidth=0, zorder=4)
    for end in (band.low, band.high):
        axes.plot(band.at, end, "-", color=colour, alpha=0.35, linewidth=0.7, zorder=4)
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
