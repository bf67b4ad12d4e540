"""All channels of a case on a few slices, with the outlines of truth and prediction: one picture a case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strokelens.arrays import Mask, Volume
from strokelens.case import UNITS, Case, Segmentation
from strokelens.flags import RESEARCH_USE
from strokelens.report.display import View, choose, outlined

TRUTH, PREDICTION = "#ff5fc2", "#5fe0ff"
"""The colours of both outlines, told apart on grey and on each of the maps' colours, and by people who see few."""

_STYLES: Final[tuple[Literal["solid", "dashed"], ...]] = ("solid", "dashed")
_TILE_IN = 1.9
_MAPS: Final = {"ADC": "gray", "DWI": "gray", "FLAIR": "gray", "CBF": "viridis", "CBV": "viridis"}
_TIMES: Final = "plasma"
_ANATOMIES: Final = ("ADC", "DWI", "FLAIR", "MIP", "NCCT")
"""What is shown without outlines, the first of them that there is."""
_TAILS_PERCENT: Final = (1, 99)


@dataclass(frozen=True, eq=False)
class Plate:
    """What a picture of a case shows: its maps, and the classes that are outlined."""

    case: Case
    prediction: Segmentation | None = None
    model: str = ""
    most_slices: int = 4

    @property
    def maps(self) -> Mapping[str, Volume]:
        """The channels that are no series."""
        return {name: values for name, values in self.case.channels.items() if values.ndim == 3}


def atlas(plate: Plate) -> Figure:
    """Each map of a case on the slices where its lesion is largest, in a row a slice.

    The first column is the anatomy alone, the others have the outlines. Colours go from each map's 1st to its 99th
    percentile in the head. Radiological display: the patient's right is on the left; slices go from below to above.
    """
    maps, case = plate.maps, plate.case
    head = np.any([np.isfinite(values) & (values != 0) for values in maps.values()], axis=0)
    masks = [_marked(each) for each in (case.truth, plate.prediction)]
    view = View.around(case.grid, head)
    planes = [None if mask is None else view.planes(mask) for mask in masks]
    chosen = _chosen(view.planes(head), planes, plate.most_slices)
    names = [next((name for name in _ANATOMIES if name in maps), next(iter(maps))), *maps]
    across_mm, down_mm = view.extent_mm
    size = (_TILE_IN * len(names), 0.9 + _TILE_IN * down_mm / across_mm * len(chosen))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.set_facecolor("black")
    grid = figure.subplots(len(chosen), len(names), squeeze=False)
    for column, name in enumerate(names):
        values, limits = view.planes(maps[name]), _limits(maps[name], head)
        for row, index in enumerate(chosen):
            axes = grid[row, column]
            axes.set_facecolor("black")
            axes.imshow(
                np.where(view.planes(head)[index], values[index], np.nan),
                cmap=_MAPS.get(name, _TIMES), vmin=limits[0], vmax=limits[1],
                extent=(0, across_mm, down_mm, 0), interpolation="nearest",
            )  # fmt: skip
            axes.set_axis_off()
            if column:
                _outline(axes, [None if each is None else each[index] for each in planes], (across_mm, down_mm))
        grid[0, column].set_title(_title(name, limits) if column else f"{name} alone", color="white", fontsize=8)
    for row, index in enumerate(chosen):
        grid[row, 0].text(2, 4, f"{view.height_mm(index):.0f} mm", color="white", fontsize=7, va="top")
    _tell(figure, plate, masks)
    return figure


def _marked(segmentation: Segmentation | None) -> Mask | None:
    """Where any class is that gets an outline."""
    if segmentation is None:
        return None
    return segmentation.mask(*(label.name for label in outlined(segmentation.scheme)))


def _chosen(
    head: Bool[np.ndarray, "slice row column"], planes: Sequence[Bool[np.ndarray, "slice row column"] | None], most: int
) -> list[int]:
    area = np.sum([each.sum(axis=(1, 2)) for each in planes if each is not None] or [head.sum(axis=(1, 2))], axis=0)
    shown = np.flatnonzero(head.any(axis=(1, 2)))
    return choose(shown.tolist() or [len(head) // 2], area, most=most)


def _limits(values: Volume, head: Mask) -> tuple[float, float]:
    inside = values[head & np.isfinite(values)]
    low, high = (float(each) for each in np.percentile(inside, _TAILS_PERCENT)) if inside.size else (0.0, 1.0)
    return (low, high) if high > low else (low, low + 1)


def _outline(axes: Axes, masks: Sequence[Bool[np.ndarray, "row column"] | None], size_mm: tuple[float, float]) -> None:
    for mask, colour, style in zip(masks, (TRUTH, PREDICTION), _STYLES, strict=True):
        if mask is None or not mask.any():
            continue
        rows, columns = mask.shape
        x = (np.arange(columns) + 0.5) * size_mm[0] / columns
        y = (np.arange(rows) + 0.5) * size_mm[1] / rows
        axes.contour(x, y, mask.astype(np.float32), levels=[0.5], colors=[colour], linewidths=1.1, linestyles=[style])


def _title(name: str, limits: tuple[float, float]) -> str:
    return f"{name}\n{limits[0]:.3g} to {limits[1]:.3g} {UNITS.get(name, '')}".rstrip()


def _tell(figure: Figure, plate: Plate, masks: Sequence[Mask | None]) -> None:
    """Whose case it is, how large both are, and what the lines mean."""
    keys, volumes = [], []
    called = ("truth", plate.model or "prediction")
    for mask, what, colour, style in zip(masks, called, (TRUTH, PREDICTION), _STYLES, strict=True):
        if mask is not None:
            volumes.append(f"{what} {float(mask.sum()) * plate.case.grid.voxel_volume_ml:.1f} ml")
            keys.append(Line2D([], [], color=colour, linestyle=style, label=what))
    simulated = ["simulated patient"] if plate.case.simulated else []
    figure.suptitle(" · ".join([plate.case.id, *volumes, *simulated, RESEARCH_USE]), color="white", fontsize=9)
    if keys:
        legend = figure.legend(handles=keys, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
        for text in legend.get_texts():
            text.set_color("white")
