"""What a training keeps after each epoch: its history, the best weights, and all that it needs to go on from there."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, isnan, nan
from pathlib import Path
from pickle import UnpicklingError
from time import perf_counter
from typing import Any, Final, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from strokelens.cohorts.encode import write_json
from strokelens.errors import TrainingError
from strokelens.settings.schema import Schedule
from strokelens.training.learner import LOSS_SD, VALIDATION_DICE, VALIDATION_LOSS, Learner
from strokelens.training.optimizers import Scheduler, scheduler_of, stepped

LAST: Final = "last.ckpt"
"""All of a training after its last whole epoch, in Lightning's form."""

BEST: Final = "best.safetensors"
"""The weights of the epoch that is the best of this stage and of those before, as `training.watch` tells."""

END: Final = "end.safetensors"
"""The weights after the last epoch."""

HISTORY: Final = "history.csv"

Row = Mapping[str, str | int | float]
"""One epoch of the history; NaN where a class is neither there nor found, which is an empty cell on disk."""


@dataclass(frozen=True)
class Kept:
    """Where a stage keeps what: its own folder, and the table of all stages with the rows before it.

    `watch` tells which epoch is the best. `snapshot` is called after each epoch, to keep a model of it where wanted.
    """

    folder: Path
    history: Path
    before: tuple[Row, ...] = ()
    watch: Literal["loss", "dice"] = "loss"
    snapshot: Callable[[Learner], None] = lambda _: None


def badness(row: Row, watch: Literal["loss", "dice"]) -> float:
    """What is lowest in the best epoch: the loss of those who validate, or what is lacking of their Dice."""
    return float(row[VALIDATION_LOSS]) if watch == "loss" else 1 - float(row[VALIDATION_DICE])


class Rate(Callback):
    """Shrinks the learning rate after an epoch; it runs before `Keep`, so that what is kept has the new rate."""

    def __init__(self, schedule: Schedule, watch: Literal["loss", "dice"] = "loss") -> None:
        self._schedule, self._watch = schedule, watch
        self._scheduler: Scheduler | None = None
        self._restored: dict[str, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin, or go on where the stage was interrupted."""
        (optimizer,) = trainer.optimizers
        rates = [group["lr"] for group in optimizer.param_groups]
        self._scheduler = scheduler_of(self._schedule, optimizer)
        if self._scheduler is not None and self._restored:
            self._scheduler.load_state_dict(self._restored)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the step."""
        if self._scheduler is not None:
            metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
            stepped(self._scheduler, badness(metrics, self._watch), least=self._schedule.least)

    def state_dict(self) -> dict[str, Any]:
        """What goes into the checkpoint."""
        return self._scheduler.state_dict() if self._scheduler is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember it until there is an optimizer."""
        self._restored = state_dict


class Keep(Checkpoint):
    """Writes history, best weights and the checkpoint after each epoch, each file whole or not at all.

    Lightning runs it after all other callbacks. `told` is called with each new row.
    """

    def __init__(self, kept: Kept, told: Callable[[Row], None]) -> None:
        self._kept, self._told = kept, told
        self._rows: list[dict[str, str | int | float]] = []
        self._best = min((badness(row, kept.watch) for row in kept.before), default=inf)
        self._stopped = False
        self._started = perf_counter()

    @property
    def rows(self) -> tuple[Row, ...]:
        """The stage's epochs."""
        return tuple(self._rows)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep what the stage begins with, unless it goes on; one that had ended early has ended."""
        assert isinstance(pl_module, Learner)
        trainer.should_stop = self._stopped
        if self._kept.before and not self._rows and trainer.is_global_zero:
            write_weights(pl_module, self._kept.folder / BEST)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the clock."""
        self._started = perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what there is now."""
        assert isinstance(pl_module, Learner)
        row = self._row(trainer, pl_module)
        self._rows.append(row)
        bad = badness(row, self._kept.watch)
        if bad < self._best:
            self._best = bad
            if trainer.is_global_zero:
                write_weights(pl_module, self._kept.folder / BEST)
        if trainer.is_global_zero:
            write_history(self._kept.history, (*self._kept.before, *self._rows))
            self._kept.snapshot(pl_module)
            self._told(row)
        self._stopped = trainer.should_stop
        part = self._kept.folder / f".{LAST}"
        trainer.save_checkpoint(part)  # every process takes part
        if trainer.is_global_zero:
            _settle(part, self._kept.folder / LAST)

    def state_dict(self) -> dict[str, Any]:
        """What goes into the checkpoint."""
        return {"rows": self._rows, "best": self._best, "stopped": self._stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the rows of the checkpoint."""
        self._rows, self._best = list(state_dict["rows"]), state_dict["best"]
        self._stopped = state_dict["stopped"]

    def _row(self, trainer: Trainer, learner: Learner) -> dict[str, str | int | float]:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        dice = {name: round(value, 6) for name, value in metrics.items() if name.startswith(VALIDATION_DICE)}
        return {
            "epoch": learner.epoch + 1,
            "stage": learner.place.stage + 1,
            "encoders": learner.stage.encoders,
            "loss": round(metrics["loss"], 9),
            LOSS_SD: round(metrics[LOSS_SD], 9),
            VALIDATION_LOSS: metrics[VALIDATION_LOSS],
            **dice,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(perf_counter() - self._started, 2),
        }


def write_weights(learner: Learner, path: Path) -> None:
    """The network's weights, whole or not at all."""
    part = path.with_name(f".{path.name}")
    save_file({name: tensor.contiguous() for name, tensor in learner.net.state_dict().items()}, part)
    _settle(part, path)


def take_weights(learner: Learner, path: Path) -> None:
    """Give the network the weights of a file that `write_weights` made; `TrainingError` where it is damaged."""
    with _whole(path):
        learner.net.load_state_dict(load_file(path))


def check_checkpoint(path: Path) -> None:
    """Raise `TrainingError` when a checkpoint is damaged; only numbers are read of it."""
    with _whole(path):
        torch.load(path, map_location="cpu", weights_only=True)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """What shows that a file of a stage is damaged becomes a `TrainingError`."""
    try:
        yield
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} is damaged; remove {path.parent} to begin that stage anew, or give another folder"
        ) from error


def _settle(part: Path, path: Path) -> None:
    """Give a file its name once the disk has all of it, so that what is there is whole after a loss of power, too."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def write_history(path: Path, rows: tuple[Row, ...]) -> None:
    """The history as CSV, an epoch a row, whole or not at all."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows({name: "" if _lacks(value) else value for name, value in row.items()} for row in rows)
    part = path.with_name(f".{path.name}")
    part.write_text(text.getvalue(), encoding="utf-8")
    part.replace(path)


def write_rows(path: Path, rows: tuple[Row, ...]) -> None:
    """The history as JSON, whole or not at all, for `read_rows`."""
    part = path.with_name(f".{path.name}")
    write_json(
        part, {"rows": [{name: None if _lacks(value) else value for name, value in row.items()} for row in rows]}
    )
    part.replace(path)


def read_rows(path: Path) -> tuple[Row, ...]:
    """The history that `write_rows` wrote; `TrainingError` where it is damaged."""
    with _whole(path):
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return tuple({name: nan if value is None else value for name, value in row.items()} for row in rows)


def _lacks(value: str | float) -> bool:
    return isinstance(value, float) and isnan(value)
