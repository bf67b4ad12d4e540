"""A dark page of tiles in rows, with lines of text above, a colour bar and a legend below: laid out in inches."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from textwrap import wrap
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strokelens.flags import RESEARCH_USE
from strokelens.report.overlays import BRIGHT, DIM, PAGE, signed_bar

TITLE_IN, GAP_IN = 0.46, 0.07
"""What is left above a row of tiles that has titles, and between tiles."""

_TILE_IN, _SIDE_IN, _LEAST_IN = 2.1, 0.3, 6.8
_EDGE_IN, _FOOT_IN = 0.16, 1.15
_LINE_IN: Final = {"bold": 0.24, "normal": 0.19}
_LETTERS_PER_IN: Final = {"bold": 10.9, "normal": 14.2}
_POINTS: Final = {"bold": 11.0, "normal": 9.0}


@dataclass(frozen=True)
class Board:
    """A page whose tiles are `ratio` times as high as wide, `above` each row of which so many inches are free.

    `heading` stands in bold over `lines`; all are wrapped, and followed by what the page is not for. `below_in` is left
    free between the tiles and the colour bar.
    """

    ratio: float
    columns: int
    above: Sequence[float]
    heading: str
    lines: Sequence[str]
    below_in: float = 0.0

    @property
    def _tall_in(self) -> float:
        return _TILE_IN * self.ratio

    @property
    def _wide_in(self) -> float:
        return max(2 * _SIDE_IN + self.columns * (_TILE_IN + GAP_IN) - GAP_IN, _LEAST_IN)

    @cached_property
    def _text(self) -> list[tuple[str, str, str]]:
        """Each line with its weight and its colour."""
        paragraphs = [(self.heading, "bold", BRIGHT), *((each, "normal", BRIGHT) for each in self.lines)]
        used_in = self._wide_in - 2 * _SIDE_IN
        return [
            (line, weight, colour)
            for paragraph, weight, colour in [*paragraphs, (RESEARCH_USE, "normal", DIM)]
            for line in wrap(paragraph, int(_LETTERS_PER_IN[weight] * used_in))
        ]

    @property
    def _head_in(self) -> float:
        return _EDGE_IN + sum(_LINE_IN[weight] for _, weight, _ in self._text)

    @property
    def _high_in(self) -> float:
        return self._head_in + sum(self.above) + len(self.above) * self._tall_in + self.below_in + _FOOT_IN

    def figure(self) -> Figure:
        """The page with its text and nothing else."""
        figure = Figure(figsize=(self._wide_in, self._high_in), dpi=150, facecolor=PAGE)
        FigureCanvasAgg(figure)
        down_in = _EDGE_IN
        for line, weight, colour in self._text:
            figure.text(
                _SIDE_IN / self._wide_in, 1 - down_in / self._high_in, line,
                color=colour, weight=weight, fontsize=_POINTS[weight], va="top", parse_math=False,
            )  # fmt: skip
            down_in += _LINE_IN[weight]
        return figure

    def tile(self, figure: Figure, row: int, column: int) -> Axes:
        """The panel of a tile, without axes."""
        down_in = self._head_in + sum(self.above[: row + 1]) + row * self._tall_in
        return self._panel(figure, (self._left_in(column), down_in, _TILE_IN, self._tall_in))

    def under(self, figure: Figure, column: int, high_in: float) -> Axes:
        """A panel of a column's width at the upper end of what is free below the tiles."""
        down_in = self._high_in - _FOOT_IN - self.below_in
        return self._panel(figure, (self._left_in(column), down_in, _TILE_IN, high_in))

    def foot(
        self, figure: Figure, title: str, limit: float, words: tuple[str, str, str], keys: Sequence[Line2D]
    ) -> None:
        """The colour bar from −`limit` to `limit` with its words, and beside it what the outlines mean."""
        wide_in = min(3.0, self._wide_in / 2 - _SIDE_IN - 0.3)
        down_in = self._high_in - _FOOT_IN + 0.44
        axes = self._panel(figure, (_SIDE_IN + 0.45, down_in, wide_in, 0.13))
        signed_bar(axes, limit, title, words=words)
        legend = figure.legend(
            handles=list(keys), loc="upper right", fontsize=8, frameon=False, labelcolor=BRIGHT, borderaxespad=0,
            bbox_to_anchor=(1 - _SIDE_IN / self._wide_in, 1 - (down_in - 0.25) / self._high_in),
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)

    def _left_in(self, column: int) -> float:
        used = self.columns * (_TILE_IN + GAP_IN) - GAP_IN
        return (self._wide_in - used) / 2 + column * (_TILE_IN + GAP_IN)

    def _panel(self, figure: Figure, place_in: tuple[float, float, float, float]) -> Axes:
        """A panel at so many inches from the left and from above, so wide and so high."""
        left, down, wide, high = place_in
        return figure.add_axes(
            (left / self._wide_in, 1 - (down + high) / self._high_in, wide / self._wide_in, high / self._high_in)
        )
