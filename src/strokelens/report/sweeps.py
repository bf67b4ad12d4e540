"""What filters of relevance do to it, over many patients: dots, boxes and means, a place across for each filter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from strokelens.flags import RESEARCH_USE
from strokelens.report.scatter import COLOURS, MUTED, PAPER, TEXT, Axis, framed

_FAMILIES: Final = {
    "raw": "",
    "": "",
    "pass": "pass: only relevance of this size is kept",
    "clamp": "clamp: larger relevance is cut to this size",
}
"""What they do, from left to right; "" is every other one. Sizes are shares of the largest |R|."""

_GAP = 0.8
"""How much farther than neighbours the families are apart."""

_LANES = 0.76
"""How much of a filter's place its groups share."""

_GOLDEN = 0.618034
"""Multiples of it, without their whole parts, lie evenly however many there are: dots are spread without chance."""

_LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN, _PANEL_IN, _SPACE_IN = 0.85, 0.25, 0.86, 1.42, 3.6, 0.36
_LETTER_IN = 0.062
"""How wide a letter of 8 points is, about."""

_STYLES: Final[tuple[Literal["--", ":", "-."], ...]] = ("--", ":", "-.")


@dataclass(frozen=True, eq=False)
class Group:
    """Values that are pooled over patients, channels and models by filter; those that are NaN are left out."""

    name: str
    values: Mapping[str, Float[np.ndarray, "n"]]

    def known(self, word: str) -> Float[np.ndarray, "n"]:
        """The values of a filter that are numbers; none where the group lacks the filter."""
        values = np.asarray(self.values.get(word, ()), dtype=np.float64)
        return values[np.isfinite(values)]


@dataclass(frozen=True, eq=False)
class Curve:
    """The measure `name` by filter: its mean and the 95 % interval from `low` to `high`; what is NaN is left out.

    `nulls` are what the measure would be for maps that explain nothing, such as a random or a constant one.
    """

    name: str
    words: Sequence[str]
    mean: Float[np.ndarray, "n"]
    low: Float[np.ndarray, "n"]
    high: Float[np.ndarray, "n"]
    nulls: Mapping[str, float]


def spoken(word: str) -> str:
    """A filter's word for reading; one of another form as it is.

    >>> spoken("pass:0:0.4"), spoken("clamp:0:0.20"), spoken("raw"), spoken("standard")
    ('pass 0–0.4', 'clamp 0–0.2', 'raw', 'standard')
    """
    family, low, high = _parted(word)
    return f"{family} {low:g}–{high:g}" if family in ("pass", "clamp") else word


def places(words: Sequence[str]) -> dict[str, float]:
    """Where each filter stands across: raw, any other, pass, clamp, by interval, with a gap between two kinds.

    >>> places(["clamp:0:0.2", "pass:0.1:1", "raw", "pass:0:0.4", "pass:0:0.1"])
    {'raw': 0.0, 'pass:0:0.1': 1.8, 'pass:0:0.4': 2.8, 'pass:0.1:1': 3.8, 'clamp:0:0.2': 5.6}
    """
    ordered = sorted(
        dict.fromkeys(words), key=lambda word: (list(_FAMILIES).index(_parted(word)[0]), *_parted(word)[1:])
    )
    at: dict[str, float] = {}
    x, before = -1.0, None
    for word in ordered:
        family = _parted(word)[0]
        x += 1 + (_GAP if before not in (None, family) else 0)
        at[word], before = round(x, 6), family
    return at


def scattered(groups: Sequence[Group], title: str, axis_title: str, note: str) -> Figure:
    """A dot for each value by filter, a colour and a lane for each group; a bar at each median.

    Where a dot stands within its lane means nothing.
    """
    figure, (axes,), at = _paper([word for group in groups for word in group.values], [axis_title], title, note)
    for place, group in enumerate(groups):
        shift, lane = _lane(place, len(groups))
        for word, x in at.items():
            values = group.known(word)
            if not values.size:
                continue
            spread = (np.arange(1, values.size + 1) * _GOLDEN % 1 - 0.5) * lane * 0.8
            colour = _colour(place)
            axes.plot(x + shift + spread, values, "o", color=colour, alpha=0.4, markersize=2.6, markeredgewidth=0)
            middle, reach = float(np.median(values)), lane * 0.46
            axes.plot([x + shift - reach, x + shift + reach], [middle] * 2, color=TEXT, linewidth=1.3)
    medians = [Line2D([], [], color=TEXT, linewidth=1.3, label="median")]
    _finish(figure, axes, _counted(groups, at), medians)
    return figure


def boxes(groups: Sequence[Group], title: str, axis_title: str, note: str) -> Figure:
    """A box for each group by filter: quartiles and median; whiskers to the last value within 1.5 box lengths.

    What lies farther out is a dot.
    """
    figure, (axes,), at = _paper([word for group in groups for word in group.values], [axis_title], title, note)
    for place, group in enumerate(groups):
        shift, lane = _lane(place, len(groups))
        filled = {word: x + shift for word, x in at.items() if group.known(word).size}
        if not filled:
            continue
        colour = _colour(place)
        axes.boxplot(
            [group.known(word) for word in filled],
            positions=list(filled.values()), widths=lane * 0.82, patch_artist=True, manage_ticks=False,
            boxprops={"facecolor": colour, "alpha": 0.55, "edgecolor": colour},
            medianprops={"color": TEXT, "linewidth": 1.4},
            whiskerprops={"color": colour}, capprops={"color": colour},
            flierprops={"marker": "o", "markersize": 1.8, "markerfacecolor": colour, "markeredgecolor": "none"},
        )  # fmt: skip
    _finish(figure, axes, _counted(groups, at), [Line2D([], [], color=TEXT, linewidth=1.4, label="median")])
    return figure


def curves(measures: Sequence[Curve], title: str, note: str) -> Figure:
    """The mean of each measure by filter and its 95 % interval, a panel a measure above the same filters.

    Lines across are the measure of maps that explain nothing. A mean above all of them says more than they do.
    """
    names = [word for measure in measures for word in measure.words]
    figure, panels, at = _paper(names, [measure.name for measure in measures] or [""], title, note, high_in=1.9)
    nulls = list(dict.fromkeys(name for measure in measures for name in measure.nulls))
    for axes, measure in zip(panels, measures, strict=False):
        for null, height in measure.nulls.items():
            place = nulls.index(null)
            style = _STYLES[place % len(_STYLES)]
            axes.axhline(height, color=COLOURS[(place + 1) % len(COLOURS)], linewidth=1.2, linestyle=style)
        _means(axes, measure, at)
    keys = [
        Line2D([], [], color=COLOURS[(place + 1) % len(COLOURS)], linestyle=_STYLES[place % len(_STYLES)], label=null)
        for place, null in enumerate(nulls)
    ]
    mean = Line2D([], [], color=COLOURS[0], marker="o", markersize=4, label="mean and 95 % interval")
    _finish(figure, panels[-1], [mean] if measures else [], keys)
    return figure


def _means(axes: Axes, measure: Curve, at: Mapping[str, float]) -> None:
    """Points with their intervals, joined within a family."""
    for family in _FAMILIES:
        mine = [(at[word], place) for place, word in enumerate(measure.words) if _parted(word)[0] == family]
        if not mine:
            continue
        order = [place for _, place in sorted(mine)]
        x = [at[measure.words[place]] for place in order]
        axes.vlines(x, measure.low[order], measure.high[order], color=COLOURS[0], linewidth=2.2, alpha=0.45)
        axes.plot(x, measure.mean[order], "o-", color=COLOURS[0], markersize=4.5, linewidth=1.0)


def _paper(
    words: Sequence[str], axis_titles: Sequence[str], title: str, note: str, *, high_in: float = _PANEL_IN
) -> tuple[Figure, list[Axes], dict[str, float]]:
    """A white page with a panel for each axis's title, one above another over the same filters, and their places."""
    at = places(words)
    wide, count = max(7.0, _LEFT_IN + _RIGHT_IN + 0.72 * len(at)), len(axis_titles)
    high = _TOP_IN + _BOTTOM_IN + count * high_in + (count - 1) * _SPACE_IN
    figure = Figure(figsize=(wide, high), dpi=150, facecolor=PAPER)
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(count, 1, squeeze=False, sharex=True)[:, 0])
    figure.subplots_adjust(
        left=_LEFT_IN / wide, right=1 - _RIGHT_IN / wide, top=1 - _TOP_IN / high, bottom=_BOTTOM_IN / high,
        hspace=_SPACE_IN / high_in,
    )  # fmt: skip
    for axes, axis_title in zip(panels, axis_titles, strict=True):
        framed(axes, Axis(""), Axis(""))
        axes.grid(visible=False, axis="x")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(axis_title, color=TEXT, fontsize=9.5, loc="left", pad=20 if axes is panels[0] else 4)
        axes.tick_params(axis="y", labelsize=9)
        axes.axhline(0, color=TEXT, linewidth=0.8, zorder=1.5)
        axes.margins(y=0.06)
    end, room_in, taken_in = max(at.values(), default=0.0) + 0.7, wide - _LEFT_IN - _RIGHT_IN, 0.0
    for family, does in _FAMILIES.items():
        mine = [x for word, x in at.items() if _parted(word)[0] == family]
        if mine and does:
            begin_in = min((mine[0] + 0.3) * room_in / (end + 0.7), room_in - _LETTER_IN * len(does))
            above = 14 if begin_in < taken_in else 3  # beside few filters there is no room for both in a line
            taken_in = begin_in + _LETTER_IN * len(does)
            panels[0].annotate(
                does, (begin_in / room_in, 1), (0, above), xycoords="axes fraction", textcoords="offset points",
                color=MUTED, fontsize=8,
            )  # fmt: skip
    left = _LEFT_IN / wide
    panels[-1].set_xticks(list(at.values()), [spoken(word) for word in at], rotation=40, ha="right", fontsize=8)
    panels[-1].set_xlim(-0.7, end)
    figure.text(left, 1 - 0.2 / high, title, color=TEXT, fontsize=12, weight="bold", va="center", parse_math=False)
    figure.text(left, 0.2 / high, note, color=MUTED, fontsize=8, va="center", parse_math=False)
    figure.text(1 - _RIGHT_IN / wide, 0.2 / high, RESEARCH_USE, color=MUTED, fontsize=7, va="center", ha="right")
    return figure, panels, at


def _finish(figure: Figure, axes: Axes, groups: Sequence[Patch | Line2D], others: Sequence[Line2D]) -> None:
    """The legend below the filters; or that there are no values."""
    if not groups:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, color=MUTED, ha="center", va="center")
        return
    figure.legend(
        handles=[*groups, *others], loc="lower center", bbox_to_anchor=(0.5, 0.3 / figure.get_figheight()),
        ncols=6, fontsize=8.5, frameon=False,
    )  # fmt: skip


def _counted(groups: Sequence[Group], at: Mapping[str, float]) -> list[Patch]:
    """What each colour means and how many values a filter has; a group without any value is left out."""
    keys = []
    for place, group in enumerate(groups):
        counts = [size for word in at if (size := group.known(word).size)]
        if counts:
            low, high = min(counts), max(counts)
            told = f"{group.name}, n = {low}" + (f" to {high}" if high > low else "")
            keys.append(Patch(facecolor=_colour(place), alpha=0.7, label=told.replace("$", r"\$")))
    return keys


def _lane(place: int, count: int) -> tuple[float, float]:
    """Where a group's middle is beside its filter's place, and how wide it may be."""
    lane = _LANES / count
    return (place - (count - 1) / 2) * lane, lane


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _parted(word: str) -> tuple[str, float, float]:
    """The family of a filter and its interval; a word of another form is of the family ""."""
    family, *ends = word.split(":")
    if word == "raw":
        return "raw", 0.0, 0.0
    try:
        low, high = (float(end) for end in ends)
    except ValueError:
        return "", 0.0, 0.0
    return (family, low, high) if family in _FAMILIES else ("", 0.0, 0.0)
