"""Where a model of a training came from, and models that are kept on the way: one every so many epochs."""

import re
import shutil
from math import isfinite
from pathlib import Path
from typing import Final

from strokelens.cohorts.folder import make_folder
from strokelens.model import Card, Model, is_model, save_model
from strokelens.training.keeping import Row
from strokelens.training.learner import Learner
from strokelens.training.parts import Parts
from strokelens.training.run import Run

SNAPSHOTS: Final = "snapshots"
"""The folder of a run that holds them, each a model: `epoch-0010`."""

_NAME: Final = re.compile(r"epoch-(\d{4,})")


class Snapshots:
    """Keeps a model after every `training.snapshots` epochs, and of these the latest `training.keep_snapshots`."""

    def __init__(self, run: Run, parts: Parts, pretrained: str | None) -> None:
        self._run, self._parts, self._pretrained = run, parts, pretrained

    def __call__(self, learner: Learner) -> None:
        """Keep the model as it is now, if it is time to."""
        training, epoch = self._run.settings.training, learner.epoch + 1
        if training.snapshots is None or epoch % training.snapshots:
            return
        folder = self._run.folder / SNAPSHOTS
        place = folder / f"epoch-{epoch:04d}"
        make_folder(place)
        card = card_of(self._run, self._parts, {"epoch": float(epoch)}, self._pretrained)
        save_model(Model(learner.net, self._run.settings, card), place)
        kept = _numbered(folder)
        for old in kept[: -training.keep_snapshots] if training.keep_snapshots is not None else ():
            hidden = old.rename(old.with_name(f".{old.name}"))  # first, so that no half of a model is ever there
            shutil.rmtree(hidden)


def snapshots_of(run: Path) -> list[Path]:
    """The models that a run kept on its way, the earliest first."""
    return [place for place in _numbered(run / SNAPSHOTS) if is_model(place)]


def _numbered(folder: Path) -> list[Path]:
    """What is called like a snapshot, by its number."""
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    numbers = {int(match[1]): name for name in names if (match := _NAME.fullmatch(name))}
    return [folder / numbers[each] for each in sorted(numbers)]


def card_of(run: Run, parts: Parts, scores: dict[str, float], pretrained: str | None) -> Card:
    """Where a model of this run came from."""
    return Card(
        parts.persons,
        parts.simulated,
        run.drawn.sha256,
        parts.sha256,
        scores,
        pretrained,
        pixel_mm=round(parts.pixel_mm, 6),
        modality=parts.modality,
    )


def scores_of(row: Row) -> dict[str, float]:
    """What those who validate gave in an epoch; what was no number is left out."""
    scores = {name: float(value) for name, value in row.items() if name.startswith("validation_")}
    return {"epoch": float(row["epoch"])} | {name: value for name, value in scores.items() if isfinite(value)}
