"""A whole cohort predicted by networks: case by case, each on disk whole or not at all, going on where it stopped."""

import json
import os
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from strokelens import __version__
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.folder import PREDICTED, alone_in, clear, hidden, make_folder, refusals, settle
from strokelens.cohorts.splits import TEST, TRAIN, VALIDATION, Split, read_split
from strokelens.crashes import Crash, attempt
from strokelens.errors import CaseError, OutputError, SettingsError, StrokelensError
from strokelens.flags import RESEARCH_USE, Flag
from strokelens.model import CARD, MODEL, Model, load_model, members, weights_sha256
from strokelens.networks.devices import device_named
from strokelens.prediction.done import STAGE, UNKNOWN, Done, earlier, is_ours, key_of
from strokelens.prediction.networks import PLAIN, How, check_alike, computing
from strokelens.prediction.outputs import NOTHING_ELSE, Outputs, Predicted, predict_case, write_outputs
from strokelens.prediction.scene import volumes_of

__all__ = ["Done", "Plan", "content_of", "grave_of", "predict_cohort", "text_of"]

_SOFTWARE: Final = f"strokelens {__version__}"
_SPLIT: Final = "split.json"
_WORST_FIRST: Final = (TRAIN, VALIDATION, UNKNOWN, TEST)

_SEEN: Final = Flag(
    "trained-on", "the model was trained on a case of this name: a score on it flatters the model", grave=True
)


@dataclass(frozen=True, eq=False)
class Plan:
    """What is predicted: by which models, how, and what is written of each case.

    `splits` are those that the models were trained by, None where one is not known.
    """

    models: tuple[Model, ...]
    sha256: tuple[str, ...]
    how: How = PLAIN
    outputs: Outputs = NOTHING_ELSE
    splits: tuple[Split | None, ...] = (None,)

    @classmethod
    def of(
        cls, paths: Sequence[Path], how: How = PLAIN, outputs: Outputs = NOTHING_ELSE, *, device: str = "cpu"
    ) -> "Plan":
        """The plan for models on disk, which compute on a device; a cross-validation is all of its folds.

        Raises `FileError` when one is none, `SettingsError` when they are of different recipes.
        """
        place = device_named(device)
        paths = [each for path in paths for each in members(path)]
        with computing():
            models = tuple(load_model(path).on(place) for path in paths)
        check_alike(models)
        still = next((each for each in models if not each.settings.network.dropout), None)
        if how.dropout_samples and still is not None:
            raise SettingsError(
                f"{still.name} was trained without dropout, so its samples are one; leave --dropout out"
            )
        splits = tuple(_split_beside(path, model) for path, model in zip(paths, models, strict=True))
        return cls(models, tuple(weights_sha256(path) for path in paths), how, outputs, splits)

    @property
    def recipe(self) -> dict[str, Any]:
        """What must be the same for a folder of predictions to be gone on with."""
        told = {"software": _SOFTWARE, "models": self.sha256, "options": asdict(self.how) | asdict(self.outputs)}
        plain: dict[str, Any] = json.loads(json.dumps(told))
        return plain

    @property
    def cards(self) -> list[dict[str, object]]:
        """What is told of each model."""
        return [
            {
                "name": model.name,
                "weights_sha256": sha256,
                "trained_on": model.card.trained_on,
                "labels": list(model.scheme.names),
                **asdict(model.card),
                "settings": model.settings.model_dump(mode="json"),
            }
            for model, sha256 in zip(self.models, self.sha256, strict=True)
        ]

    @property
    def device(self) -> str:
        """What computes, by its name."""
        device = next(self.models[0].net.parameters()).device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

    def key_of(self, entry: Entry) -> str:
        """The SHA-256 of all that the case's files and table have a part in; empty where a file cannot be read."""
        drawn = entry if self.outputs.draws else replace(entry, truth=None)
        try:
            return key_of(drawn, self.models[0].recipe)
        except OSError:
            return ""

    def part_in_training(self, *ids: str) -> str:
        """The part of the models' splits that a case is in by its own id or its person's; the worst of all."""
        parts = [UNKNOWN if drawn is None else _part_of(drawn, each) for drawn in self.splits for each in ids]
        return min(parts, key=_WORST_FIRST.index)


def _split_beside(path: Path, model: Model) -> Split | None:
    """The split of the run that a model lies in, if it is the one that the model was trained by."""
    place = path.resolve()
    folder = place.parent if place.name == CARD else place if (place / CARD).is_file() else place / MODEL
    for run in (folder.parent, folder.parent.parent):  # a snapshot lies one folder deeper
        try:
            drawn = read_split(run / _SPLIT)
        except (StrokelensError, OSError):
            continue
        if drawn.sha256 == model.card.split_sha256:
            return drawn
    return None


def _part_of(drawn: Split, case_id: str) -> str:
    found = next((name for name, ids in drawn.parts.items() if case_id in ids), UNKNOWN)
    return found if found in _WORST_FIRST else UNKNOWN


def predict_cohort(
    entries: Sequence[Entry], plan: Plan, out: Path, *, part: str = "", overwrite: bool = False
) -> Generator[Done, None, None]:
    """Predict cases into `out/<id>/`, and tell of each in order as it is there; of what was there already, too.

    What `out` holds by the same models with the same options is kept, as long as the case's files and clinical values
    are the same. However this ends, what is in `out` is whole. Nothing is raised for a case that cannot be predicted.
    Raises `OutputError` when `out` holds something else (without `overwrite`) or cannot be written.
    """
    before = earlier(out, plan.recipe, overwrite=overwrite)
    make_folder(out)
    with refusals(out, out), alone_in(out):
        if before is None:
            clear(out)
        yield from _filled(entries, plan, out, before or {}, part)


def _filled(entries: Sequence[Entry], plan: Plan, out: Path, before: Mapping[str, Done], part: str) -> Iterator[Done]:
    """Predict what is not there as it should be; `predictions.json` is in step with what is there all the time."""
    told = dict(before)
    with hidden(out, STAGE) as stage:
        _tell(out, stage, plan, told)
        for entry in entries:
            key, known = plan.key_of(entry), told.get(entry.id)
            if known is not None and key and known.sha256 == key:
                done = replace(known, part=part)
            else:
                done = replace(_predicted(entry, plan, out, stage, known=known), sha256=key, part=part)
            told[entry.id] = done
            if done != known:
                _tell(out, stage, plan, told)
            yield done


def _predicted(entry: Entry, plan: Plan, out: Path, stage: Path, *, known: Done | None) -> Done:
    """One case on disk, or why it is not; what was there of it is no longer true, and goes.

    An error of ours ends no batch; one of the disk that is written to does, as every case would meet it.
    """
    folder = stage / "case" / entry.id
    folder.mkdir(parents=True)
    try:
        _make_room(out / entry.id, known)
        case = attempt(entry.id, lambda: _written(entry, plan, folder), passing=(StrokelensError, OSError))
    except StrokelensError as error:
        shutil.rmtree(folder.parent)
        return Done(entry.id, {}, failure=" ".join(str(error).split()))
    if isinstance(case, Crash):
        shutil.rmtree(folder.parent)
        return Done(entry.id, {}, failure=case.message, crashed=True)
    settle(folder.parent, out)
    shutil.rmtree(folder.parent)
    volumes, part = volumes_of(case.segmentation), plan.part_in_training(entry.id, entry.person)
    flags = (*_seen_flags(part), *case.flags)
    return Done(entry.id, volumes, case.simulated, part_in_training=part, device=plan.device, flags=flags)


def _written(entry: Entry, plan: Plan, folder: Path) -> Predicted:
    """A case that was predicted, and written into the folder."""
    try:
        case = predict_case(entry, plan.models, plan.how, plan.outputs)
    except OSError as error:
        raise CaseError(f"{entry.id} cannot be read: {error}; copy it again") from error
    except MemoryError as error:
        raise CaseError(f"{entry.id} does not fit into memory; predict it on a machine with more") from error
    write_outputs(case, plan.models, plan.outputs, folder)
    return case


def _make_room(place: Path, known: Done | None) -> None:
    """Remove what we wrote of a case before; `OutputError` where somebody else's is in its place."""
    if not os.path.lexists(place):
        return
    if place.is_symlink() or not place.is_dir() or not (known is not None or is_ours(place)):
        raise OutputError(f"{place} is not by strokelens predict and is not replaced; move it away")
    shutil.rmtree(place)


def _seen_flags(part: str) -> tuple[Flag, ...]:
    """Nothing is learned about a model from those that it learned from."""
    return (_SEEN,) if part == TRAIN else ()


def _tell(out: Path, stage: Path, plan: Plan, told: Mapping[str, Done]) -> None:
    path = stage / PREDICTED
    path.write_text(text_of(content_of(plan, list(told.values()))), encoding="utf-8")
    os.replace(path, out / PREDICTED)


def content_of(plan: Plan, told: Sequence[Done]) -> dict[str, object]:
    """What `predictions.json` says."""
    return {
        "disclaimer": RESEARCH_USE,
        "recipe": plan.recipe,
        "models": plan.cards,
        "cases": [done.record for done in told if done.failure is None],
        "failures": [done.record for done in told if done.failure is not None],
    }


def grave_of(told: Sequence[Done]) -> dict[str, list[str]]:
    """The grave flags by their words, each with the ids of its cases."""
    found: dict[str, list[str]] = {}
    for done in told:
        for flag in done.flags:
            if flag.grave:
                found.setdefault(flag.message, []).append(done.case_id)
    return found


def text_of(content: Mapping[str, object]) -> str:
    """The text of `predictions.json`."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
