"""Relevance over a scan: one window, one pair of colours, and the outlines, the same in every picture of relevance."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.patheffects import withStroke

from strokelens.arrays import Mask, Volume
from strokelens.case import Case
from strokelens.report.display import View
from strokelens.report.scales import window

PAGE, BRIGHT, DIM = "#000000", "#ffffff", "#aab4be"
"""The colours of the page, of what is read, and of what is glanced at: as dark as the room that scans are read in."""

FOR = "#ff4a38"
"""Of a number that tells how much speaks for what was explained."""

_FAINTEST, _DENSEST, _BEND = 0.03, 0.95, 0.75
"""Below this share of the limit nothing is drawn; a full one hides the scan to this degree; how fast colours come."""

_LOOSEST = 2.0
"""No tile is more than twice as long as it is wide, nor the other way round."""

_LINE = 1.2


def _signed() -> ListedColormap:
    """Blue to nothing to red, growing brighter and denser to both ends, so that strength is seen whatever the hue."""
    places = np.linspace(-1, 1, 257)
    strength = np.clip((np.abs(places) - _FAINTEST) / (1 - _FAINTEST), 0, 1)
    ends = {1: ((0.78, 0.04, 0.04), (0.96, 0.16, 0.10), (1.0, 0.45, 0.36))}
    ends[-1] = (0.04, 0.20, 0.85), (0.10, 0.42, 0.98), (0.42, 0.74, 1.0)
    table = np.zeros((places.size, 4))
    for sign, colours in ends.items():
        side = np.sign(places) == sign
        for band in range(3):
            table[side, band] = np.interp(strength[side], (0, 0.55, 1), [colour[band] for colour in colours])
    table[:, 3] = _DENSEST * strength**_BEND
    return ListedColormap(table, "signed relevance")


SIGNED: Final = _signed()
"""Relevance from −1 to +1: the same over a scan and on the page, as nearness to zero is transparency."""


@dataclass(frozen=True, eq=False)
class Stage:
    """The window onto a case's head in which all of its pictures are drawn, radiological: the patient's right is left.

    The head is where any channel has a value that is not 0. A channel over time is shown as its mean.
    """

    case: Case

    @cached_property
    def head(self) -> Mask:
        """Where the patient is; everywhere if no channel has a value."""
        head: Mask = np.zeros(self.case.grid.shape, bool)
        for scan in map(self._scan, self.case.channels):
            head = head | (np.isfinite(scan) & (scan != 0))
        return head if head.any() else ~head

    @cached_property
    def view(self) -> View:
        """The window."""
        return View.around(self.case.grid, self.head)

    @property
    def ratio(self) -> float:
        """A tile's height as a share of its width, from ½ to 2."""
        across_mm, down_mm = self.view.extent_mm
        return float(np.clip(down_mm / across_mm, 1 / _LOOSEST, _LOOSEST))

    def plane(self, volume: Volume | Mask, index: int) -> np.ndarray:
        """A slice as it is shown: (row, column)."""
        plane: np.ndarray = self.view.planes(volume)[index]
        return plane

    def _scan(self, channel: str) -> Volume:
        values = self.case[channel]
        scan: Volume = values if values.ndim == 3 else values.mean(axis=3)
        return scan

    def prepare(self, axes: Axes) -> None:
        """Make a tile of a panel: mm, proportions kept, both sides named."""
        across_mm, down_mm = self.view.extent_mm
        axes.set(xlim=(0, across_mm), ylim=(down_mm, 0), aspect="equal")
        axes.set_axis_off()
        for side, x, place in (("R", 0.015, "left"), ("L", 0.985, "right")):
            axes.text(x, 0.5, side, transform=axes.transAxes, ha=place, va="center", color=DIM, fontsize=6.5)

    def scan(self, axes: Axes, channel: str, index: int, *, brightness: float = 1.0) -> None:
        """A slice of a channel in grey, from black to this share of white."""
        low, high = window(self._scan(channel), self.head)
        values = np.minimum(self._scan(channel), high)
        self._paint(axes, values, index, cmap="gray", limits=(low, low + (high - low) / brightness))

    def silhouette(self, axes: Axes, index: int) -> None:
        """The head as a dark shape, for what has no scan below it."""
        self._paint(axes, self.head.astype(np.float32), index, cmap="gray", limits=(0, 8))

    def relevance(self, axes: Axes, volume: Volume, index: int, *, limit: float) -> None:
        """A slice of relevance from −`limit` to `limit`, in the head only; the scan shows through where it is weak."""
        self._paint(axes, volume, index, cmap=SIGNED, limits=(-limit, limit))

    def _paint(
        self, axes: Axes, volume: Volume, index: int, *, cmap: str | ListedColormap, limits: tuple[float, float]
    ) -> None:
        across_mm, down_mm = self.view.extent_mm
        shown = np.where(self.plane(self.head, index), self.plane(volume, index), np.nan)
        axes.imshow(
            np.ma.masked_invalid(shown), cmap=cmap, vmin=limits[0], vmax=limits[1],
            extent=(0, across_mm, down_mm, 0), aspect="equal", interpolation="nearest",
        )  # fmt: skip

    def fill(self, axes: Axes, mask: Mask, index: int, colour: str) -> None:
        """A slice of a mask as a plain shape."""
        across_mm, down_mm = self.view.extent_mm
        shown = np.ma.masked_equal(self.plane(mask, index).astype(np.float32), 0)
        axes.imshow(
            shown, cmap=ListedColormap([colour]), extent=(0, across_mm, down_mm, 0), interpolation="nearest"
        )  # fmt: skip

    def outline(
        self, axes: Axes, mask: Mask, index: int, colour: str, *, style: Literal["solid", "dashed"] = "solid"
    ) -> None:
        """The edge of a mask on a slice, cased in black; nothing where the slice has none of it."""
        plane: Bool[np.ndarray, "row column"] = np.pad(self.plane(mask, index), 1)
        if not plane.any():
            return
        (rows, columns), (across_mm, down_mm) = plane.shape, self.view.extent_mm
        x = (np.arange(columns) - 0.5) * across_mm / (columns - 2)
        y = (np.arange(rows) - 0.5) * down_mm / (rows - 2)
        lines = axes.contour(
            x, y, plane.astype(np.float32), levels=[0.5], colors=[colour], linewidths=_LINE, linestyles=[style]
        )
        lines.set_path_effects([withStroke(linewidth=_LINE + 1.2, foreground=PAGE, alpha=0.6)])


def signed_bar(axes: Axes, limit: float, title: str, *, words: tuple[str, str, str]) -> None:
    """A lying colour bar from −`limit` to `limit` on the page, with words at its left end, zero and its right end."""
    colours = ScalarMappable(Normalize(-limit, limit), SIGNED)
    bar = axes.figure.colorbar(colours, cax=axes, orientation="horizontal", ticks=[-limit, 0, limit])
    axes.set_facecolor(PAGE)
    bar.ax.set_xticklabels(words)
    bar.ax.tick_params(colors=BRIGHT, labelsize=7.5, length=2)
    bar.outline.set_edgecolor(DIM)
    axes.set_title(title, color=BRIGHT, fontsize=8, pad=4)
