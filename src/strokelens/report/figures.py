"""The pictures of a finding: the overlay montage, one montage a map, and the vessels' curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Int
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from strokelens.arrays import Curve, Mask, Volume
from strokelens.case import Segmentation
from strokelens.finding import Finding
from strokelens.flags import RESEARCH_USE
from strokelens.grid import Grid
from strokelens.perfusion.arterial import Vessels
from strokelens.report import sheets, tiles, words
from strokelens.report.display import View, choose, outlined
from strokelens.report.scales import Scale, window

MOST_SLICES = 24
"""A montage with more is not readable on one screen."""

_MOST_LARGE = 64
"""The viewer's most slices: it is there to leaf through, but the page stays small."""

AIF_COLOUR = "#ff8f4d"
VOF_COLOUR = "#6db6ff"
_GRID = "#2a343e"
_GAP = 4
_LEAST_AREA = 0.03
"""Slices with less brain than this part of the largest slice's are left out, unless something was found there."""


@dataclass(frozen=True, eq=False)
class Layout:
    """What of a finding is shown: the window onto its grid, all slices with brain, and the choice for montages.

    Slices are counted from below, from 0. `lesion_area` is in voxels, one a slice.
    """

    view: View
    slices: list[int]
    chosen: list[int]
    lesion_area: Int[np.ndarray, "slice"]
    window: tuple[float, float]

    @classmethod
    def of(cls, finding: Finding) -> "Layout":
        """The layout that holds the brain and all that was found."""
        names = [label.name for label in outlined(finding.segmentation.scheme)]
        found = finding.segmentation.mask(*names)
        return cls.around(finding.segmentation.grid, finding.brain, found, finding.backdrop)

    @classmethod
    def around(cls, grid: Grid, brain: Mask, found: Mask, backdrop: Volume) -> "Layout":
        """The layout of any images on a grid."""
        view = View.around(grid, brain | found)
        lesion_area = view.planes(found).sum(axis=(1, 2))
        candidates = _worth_showing(view.planes(brain).sum(axis=(1, 2)), lesion_area > 0)
        slices = choose(candidates, lesion_area, most=_MOST_LARGE)
        chosen = choose(slices, lesion_area, most=MOST_SLICES)
        return cls(view, slices, chosen, lesion_area, window(backdrop, brain))

    @property
    def fullest(self) -> int:
        """The slice where the lesion is largest; the middle one where nothing was found."""
        areas = self.lesion_area[self.slices]
        return self.slices[int(areas.argmax())] if areas.any() else self.slices[len(self.slices) // 2]

    def place(self, index: int) -> str:
        """A slice's height (world z), for reading."""
        return f"{round(self.view.height_mm(index), 1) + 0.0:g} mm".replace("-", "−")

    def anatomy(self, backdrop: Volume, index: int, *, width: int) -> Image.Image:
        """A slice of the backdrop in grey."""
        return tiles.grey(self.view.planes(backdrop)[index], self.window, self.view, width=width)

    def contours(self, segmentation: Segmentation, index: int, *, width: int, line: float = 1.5) -> Image.Image | None:
        """The outlines on a slice, on nothing; None where there are none."""
        plane = self.view.planes(segmentation.labels)[index]
        return tiles.contours(plane, segmentation.scheme, self.view, width=width, line=line)


def write_overlay(finding: Finding, path: Path) -> None:
    """Write a PNG of up to 24 slices with the contours of what was found, and what the contours mean.

    Radiological display: the patient's right is on the left. Slices go from below to above.
    """
    overlay(finding).save(path, "png")


def overlay(finding: Finding, *, width: int = 260) -> Image.Image:
    """The picture that `write_overlay` writes; tiles are `width` pixels wide."""
    layout = Layout.of(finding)
    pictures = []
    for index in layout.chosen:
        picture = layout.anatomy(finding.backdrop, index, width=width).convert("RGB")
        lines = layout.contours(finding.segmentation, index, width=width)
        if lines:
            picture.paste(lines, mask=lines)
        sheets.letter(picture, layout.place(index))
        pictures.append(picture)
    columns = columns_for(len(pictures))
    legend = [(label.name, label.colour) for label in reversed(outlined(finding.segmentation.scheme))]
    line = words.headline(finding)
    warning = f"{words.DISTRUST}. {line}" if any(flag.grave for flag in finding.flags) else ""
    return sheets.framed(montage(pictures, columns), finding.case_id, line, legend, warning=warning)


def write_map(case_id: str, volume: Volume, scale: Scale, layout: Layout, path: Path) -> None:
    """Write a PNG of one map: its montage, its colour bar and its unit."""
    columns = columns_for(len(layout.chosen))
    sheet = maps_figure(volume, scale, layout, columns=columns, width=220)
    page = sheets.framed(sheet, case_id, f"{scale.channel}: {scale.title}, {scale.unit}", [])
    sheets.colour_bar(page, scale)
    page.save(path, "png")


def maps_figure(volume: Volume, scale: Scale, layout: Layout, *, columns: int, width: int = 170) -> Image.Image:
    """One map as a montage of the chosen slices, NaN black."""
    planes = layout.view.planes(volume)
    pictures = [tiles.coloured(planes[index], scale, layout.view, width=width) for index in layout.chosen]
    for index, picture in zip(layout.chosen, pictures, strict=True):
        sheets.letter(picture, layout.place(index))
    return montage(pictures, columns)


def lines_figure(finding: Finding, layout: Layout, *, columns: int, width: int = 170) -> Image.Image | None:
    """The contours that lie over `maps_figure`, on nothing; None where nothing was found."""
    size, _ = layout.view.tile(width)
    empty = Image.new("RGBA", size)
    layers = [layout.contours(finding.segmentation, index, width=width, line=1.25) for index in layout.chosen]
    if not any(layers):
        return None
    return montage([layer or empty for layer in layers], columns)


def curves_figure(vessels: Vessels) -> Figure:
    """The arterial and the venous curve over time, each with its peak marked."""
    figure = Figure(figsize=(6.4, 3.3), dpi=150, facecolor=sheets.PAGE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=sheets.PAGE)
    for curve, name, colour in ((vessels.vof, "VOF", VOF_COLOUR), (vessels.aif, "AIF", AIF_COLOUR)):
        axes.plot(vessels.time_s, curve, color=colour, linewidth=1.8, label=name)
        _mark_peak(axes, vessels.time_s, curve, name=name, colour=colour)
    axes.set_xlabel("time, s", color=sheets.MUTED)
    axes.set_ylabel(f"concentration, {vessels.unit}", color=sheets.MUTED)
    axes.margins(x=0.02, y=0.16)
    axes.tick_params(colors=sheets.MUTED, length=0)
    axes.grid(color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    figure.text(0.99, 0.012, RESEARCH_USE, color=sheets.MUTED, fontsize=7, ha="right", va="bottom")
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def figure_png(figure: Figure) -> bytes:
    """A figure's PNG; the same figure gives the same bytes."""
    stream = BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def vessel_tile(
    finding: Finding, layout: Layout, voxels: Int[np.ndarray, "n 3"], *, colour: str, width: int = 300
) -> Image.Image | None:
    """The slice that holds most of the vessel's voxels, a ring around each; None without voxels."""
    if not len(voxels):
        return None
    places = [layout.view.position(voxel) for voxel in voxels]
    index = int(np.bincount([place[0] for place in places]).argmax())
    picture = layout.anatomy(finding.backdrop, index, width=width).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for slice_index, across, down in places:
        if slice_index == index:
            x, y = tiles.centre_of(layout.view, (across, down), width)
            pen.ellipse((x - 7, y - 7, x + 7, y + 7), outline=colour, width=2)
    sheets.letter(picture, layout.place(index))
    return picture


def columns_for(count: int, *, options: tuple[int, ...] = (6, 5, 4)) -> int:
    """The number of columns, of `options`, that leaves the fewest gaps; all in one row if there are few.

    >>> [columns_for(count) for count in (1, 16, 20, 24)], columns_for(16, options=(8, 7, 6))
    ([1, 4, 5, 6], 8)
    """
    if count <= min(options):
        return max(1, count)
    return min(options, key=lambda columns: (-count % columns, -columns))


def montage(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Pictures of one size and mode in rows, from the upper left, with narrow gaps."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    size = columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP
    sheet = Image.new(pictures[0].mode, size)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        sheet.paste(picture, (column * (width + _GAP), row * (height + _GAP)))
    return sheet


def _worth_showing(brain_area: Int[np.ndarray, "slice"], found: Bool[np.ndarray, "slice"]) -> list[int]:
    """Slices with enough brain or with a finding; all of them where there is neither."""
    wanted = (brain_area > _LEAST_AREA * brain_area.max(initial=0)) | found
    places = np.flatnonzero(wanted) if wanted.any() else np.arange(wanted.size)
    return [int(place) for place in places]


def _mark_peak(axes: mpl.axes.Axes, time_s: Curve, curve: Curve, *, name: str, colour: str) -> None:
    """A dot at the curve's maximum, named directly."""
    if not np.isfinite(curve).any():
        return
    frame = int(np.nanargmax(curve))
    axes.plot(time_s[frame], curve[frame], "o", color=colour, markersize=5)
    axes.annotate(
        f"{name}  {curve[frame]:.3g} at {time_s[frame]:.1f} s",
        (time_s[frame], curve[frame]),
        xytext=(8, 6),
        textcoords="offset points",
        color=colour,
        fontweight="bold",
        bbox={"facecolor": sheets.PAGE, "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )
