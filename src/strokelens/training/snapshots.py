"""Where a model of a training came from, and models that are kept on the way: one every so many epochs."""

import re
import shutil
from math import isfinite
from typing import Final

from strokelens.cohorts.folder import make_folder
from strokelens.model import Card, Model, save_model
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
        found = {int(name[1]): each for each in folder.iterdir() if (name := _NAME.fullmatch(each.name))}
        kept = [found[number] for number in sorted(found)]
        for old in kept[: -training.keep_snapshots] if training.keep_snapshots is not None else ():
            shutil.rmtree(old)


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
