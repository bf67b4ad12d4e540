"""How well each epoch of a training does on some cases: its snapshots and the kept model, each predicted and scored.

A network is asked as it is asked everywhere, so a case's score does not depend on which cases came before, and is the
same as in any other evaluation of that model.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.folder import check_apart, make_folder
from strokelens.cohorts.learned import flattered, learned_from
from strokelens.comparison import TABLES, found_in, predict_all, scored
from strokelens.errors import FileError
from strokelens.evaluation.delivery import MARKER, deliver
from strokelens.evaluation.legacy import dice_epsilon, dice_smoothed
from strokelens.evaluation.results import Evaluation
from strokelens.flags import RESEARCH_USE
from strokelens.metrics.scores import Summary
from strokelens.model import is_model
from strokelens.prediction.batch import Plan
from strokelens.report.figures import figure_png
from strokelens.training.snapshots import snapshots_of

BY_EPOCH: Final = "by_epoch"
"""How the table and the picture are called."""

KEPT: Final = "kept"
"""What the model that a training ended with is called beside its epochs."""

_LABELS: Final = {"dice": "Dice", "dice_smoothed": "with 1 added", "dice_epsilon": "with 1e-7 below"}
_COLOURS: Final = ("#c2337f", "#7a8794", "#1f6fb4")


@dataclass(frozen=True)
class OfEpoch:
    """The mean over cases of each definition of Dice of a class; `epoch` is None for the kept model."""

    epoch: int | None
    name: str
    cases: int
    dice: float
    dice_smoothed: float
    dice_epsilon: float


def by_epoch(
    run: Path,
    cohort: Cohort,
    entries: Sequence[Entry],
    out: Path,
    *,
    device: str = "cpu",
    workers: int | None = None,
    part: str = "",
    told: Callable[[str], None] = lambda _: None,
) -> tuple[Evaluation, tuple[OfEpoch, ...]]:
    """Predict and score cases by every snapshot of a run, and by its model; what was done before is kept.

    `out` gets a folder of predictions an epoch, `tables`, and `by_epoch.csv` and `.png`. Raises `FileError` when the
    run has no model, and what predicting raises.
    """
    if not is_model(run):
        raise FileError(f"{run} holds no model; give the folder of a run that `strokelens train` has ended")
    for folder in (run, cohort.folder):
        check_apart(out, folder)
    models = {each.name: each for each in snapshots_of(run)} | {KEPT: run}
    make_folder(out)
    found = []
    for name, model in models.items():
        plan = Plan.of([model], device=device)
        place = out / name
        predict_all(entries, plan, place, name=name, part=part, told=told)
        found.append(found_in(place, cohort, name))
    asked = {entry.id for entry in entries}
    note = flattered(len(learned_from(out / KEPT) & asked), len(asked))
    evaluation = scored(found, entries, workers, part, told, [note])
    deliver(evaluation, out / TABLES, overwrite=(out / TABLES / MARKER).is_file())
    rows = of_epochs(evaluation)
    _write(out / f"{BY_EPOCH}.csv", _csv(rows).encode())
    _write(out / f"{BY_EPOCH}.png", figure_png(_figure(rows, run.name)))
    return evaluation, rows


def of_epochs(evaluation: Evaluation) -> tuple[OfEpoch, ...]:
    """The means of each model of an evaluation whose models are epochs."""
    made = []
    for model in evaluation.models:
        for name in evaluation.classes:
            counts = [row.scores[name].counts for row in evaluation.of(model) if name in row.scores]
            epoch = None if model == KEPT else int(model.rpartition("-")[2])
            each = ([one.dice for one in counts], map(dice_smoothed, counts), map(dice_epsilon, counts))
            means = [Summary.of(list(values)).mean for values in each]
            made.append(OfEpoch(epoch, name, len(counts), *means))
    return tuple(made)


def _csv(rows: Sequence[OfEpoch]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["epoch", "class", "cases", *_LABELS])
    for row in rows:
        values = [f"{getattr(row, key):.6f}" for key in _LABELS]
        table.writerow([KEPT if row.epoch is None else row.epoch, row.name, row.cases, *values])
    return text.getvalue()


def _figure(rows: Sequence[OfEpoch], name: str) -> Figure:
    """The means by epoch, a panel a class; the kept model is a line across."""
    classes = list(dict.fromkeys(row.name for row in rows))
    figure = Figure(figsize=(0.8 + 4.6 * len(classes), 4.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, axes in zip(classes, figure.subplots(1, len(classes), squeeze=False)[0], strict=True):
        mine = [row for row in rows if row.name == panel]
        epochs = [row for row in mine if row.epoch is not None]
        for (key, label), colour in reversed([*zip(_LABELS.items(), _COLOURS, strict=True)]):  # ours on top
            axes.plot(
                [row.epoch for row in epochs], [getattr(row, key) for row in epochs], "o-", color=colour, label=label
            )
        kept = next(row for row in mine if row.epoch is None)
        axes.axhline(kept.dice, color=_COLOURS[0], linestyle="--", linewidth=1, label=f"kept model, {kept.dice:.3f}")
        axes.set(title=f"{panel}, n = {kept.cases}", xlabel="epoch", ylabel="mean Dice", ylim=(-0.03, 1.03))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="#e3e8ed", linewidth=0.7)
        axes.legend(fontsize=8, frameon=False)
    figure.suptitle(f"{name}. {RESEARCH_USE}", fontsize=9)
    return figure


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}")
    part.write_bytes(content)
    part.replace(path)
