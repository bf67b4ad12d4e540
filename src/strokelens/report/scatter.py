"""A number against another, one dot a patient: a panel for each class, a colour for each model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from strokelens.flags import RESEARCH_USE

PAPER, TEXT, MUTED, GRID = "#ffffff", "#16202a", "#51606e", "#e3e8ed"
"""The colours of the paper, of what is read, of what is glanced at, and of the lines behind: for a light page."""

COLOURS = ("#1f6fb8", "#c8500a", "#2b8a4b", "#a8348c", "#8a7200", "#5b52c7")
"""Of the models, in their order; a seventh has the first one's again."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """The dots of a model in the panel `name`, those with NaN left out, and the heights of lines across."""

    model: str
    name: str
    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    lines: tuple[float, ...] = ()


def scatter(clouds: Sequence[Cloud], *, across: str, up: str) -> Figure:
    """The clouds in a row of panels, whose axes are called `across` and `up`."""
    names = list(dict.fromkeys(cloud.name for cloud in clouds))
    models = list(dict.fromkeys(cloud.model for cloud in clouds))
    figure = Figure(figsize=(0.6 + 3.8 * len(names), 3.8), dpi=130, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for name, axes in zip(names, panels, strict=True):
        axes.set_facecolor(PAPER)
        axes.grid(color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        for cloud in (each for each in clouds if each.name == name):
            colour = COLOURS[models.index(cloud.model) % len(COLOURS)]
            axes.plot(
                cloud.x, cloud.y, "o", color=colour, alpha=0.75, markersize=4, label=cloud.model.replace("$", r"\$")
            )
            for height in (line for line in cloud.lines if np.isfinite(line)):
                axes.axhline(height, color=colour, linewidth=0.9, linestyle="--")
        axes.set_title(name, color=TEXT, fontsize=10)
        axes.set_xlabel(across, color=MUTED)
        axes.tick_params(colors=MUTED, length=0)
        for side in axes.spines.values():
            side.set_color(MUTED)
    panels[0].set_ylabel(up, color=MUTED)
    if len(models) > 1:
        panels[-1].legend(facecolor=PAPER, labelcolor=TEXT, fontsize=8)
    figure.supxlabel(RESEARCH_USE, color=MUTED, fontsize=7)
    return figure
