"""The picture of how a training went: losses and Dice by epoch, with the stages and the epoch that was kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from strokelens.flags import RESEARCH_USE

Row = Mapping[str, str | int | float]
"""One epoch."""

_CURVES = (("loss", "training", "#7a8794"), ("validation_loss", "validation", "#1f6fb4"))
_DICE = "validation_dice_"
_SPREAD = "loss_sd"
_COLOURS = {"penumbra": "#2f9b46", "core": "#c2337f", "lesion": "#c2337f", "brain": "#9aa0a6"}


def write_history_figure(path: Path, rows: Sequence[Row], name: str, *, kept: Row) -> None:
    """Write the picture of a history, a row an epoch, as PNG, whole or not at all; `kept` is the row that is marked."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, dice = figure.subplots(2, 1, sharex=True)
    epochs = [int(row["epoch"]) for row in rows]
    for key, label, colour in _CURVES:
        losses.plot(epochs, [float(row[key]) for row in rows], label=label, color=colour)
    _draw_spread(losses, epochs, rows)
    for key in (key for key in rows[0] if key.startswith(_DICE)):
        label = key.removeprefix(_DICE)
        dice.plot(epochs, [float(row[key]) for row in rows], label=label, color=_COLOURS.get(label))
    stages = sorted({int(row["stage"]) for row in rows})
    for stage in stages:
        of_stage = [row for row in rows if row["stage"] == stage]
        for axes in (losses, dice):
            axes.axvline(int(of_stage[0]["epoch"]) - 0.5, color="#c8ced4", linewidth=1)
        losses.annotate(
            f"encoders {of_stage[0]['encoders']}",
            (int(of_stage[0]["epoch"]) - 0.4, 1.01),
            xycoords=("data", "axes fraction"),
            fontsize=8,
        )
    losses.plot(int(kept["epoch"]), float(kept["validation_loss"]), "o", color=_CURVES[1][2])
    losses.set_ylabel("loss")
    dice.set_ylabel("Dice, all voxels of validation")
    dice.set_ylim(0, 1)
    dice.set_xlabel(f"epoch; the dot is the one whose weights are kept.  {RESEARCH_USE}")
    dice.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(name)
    losses.legend(loc="upper right", frameon=False)
    dice.legend(loc="lower right", frameon=False)
    part = path.with_name(f".{path.name}")
    figure.savefig(part, format="png", dpi=110)
    part.replace(path)


def _draw_spread(axes: Axes, epochs: Sequence[int], rows: Sequence[Row]) -> None:
    """The training's loss ± the standard deviation of its batches; histories of earlier versions have none."""
    if not all(_SPREAD in row for row in rows):
        return
    low, high = ([float(row["loss"]) + sign * float(row[_SPREAD]) for row in rows] for sign in (-1, 1))
    axes.fill_between(epochs, low, high, color=_CURVES[0][2], alpha=0.2, linewidth=0, label="± SD of batches")
