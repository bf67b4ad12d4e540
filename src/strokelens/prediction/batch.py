"""A whole cohort predicted by networks: case by case, each on disk whole or not at all, going on where it stopped."""

import json
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from strokelens import __version__
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.folder import PREDICTED, alone_in, check_out, clear, refusals, settle
from strokelens.errors import OutputError, StrokelensError
from strokelens.flags import RESEARCH_USE
from strokelens.model import Model, load_model, weights_sha256
from strokelens.networks.devices import device_named
from strokelens.prediction.networks import PLAIN, How, check_alike
from strokelens.prediction.outputs import NOTHING_ELSE, Outputs, predict_case, write_outputs
from strokelens.prediction.scene import volumes_of

_STAGE: Final = ".predict-"
_SOFTWARE: Final = f"strokelens {__version__}"


@dataclass(frozen=True, eq=False)
class Plan:
    """What is predicted: by which models, how, and what is written of each case."""

    models: tuple[Model, ...]
    sha256: tuple[str, ...]
    how: How = PLAIN
    outputs: Outputs = NOTHING_ELSE

    @classmethod
    def of(
        cls, paths: Sequence[Path], how: How = PLAIN, outputs: Outputs = NOTHING_ELSE, *, device: str = "cpu"
    ) -> "Plan":
        """The plan for models on disk, which compute on a device.

        Raises `FileError` when one is none, `SettingsError` when they are of different recipes.
        """
        place = device_named(device)
        models = tuple(load_model(path).on(place) for path in paths)
        check_alike(models)
        return cls(models, tuple(weights_sha256(path) for path in paths), how, outputs)

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


@dataclass(frozen=True)
class Done:
    """A case: the volume in ml of each class, or why there is none. `kept` ones were there before."""

    case_id: str
    volumes_ml: Mapping[str, float]
    simulated: bool = False
    failure: str | None = None
    kept: bool = False

    @property
    def record(self) -> dict[str, object]:
        """Plain values for JSON."""
        if self.failure is not None:
            return {"id": self.case_id, "failure": self.failure}
        volumes = {name: round(volume, 6) for name, volume in self.volumes_ml.items()}
        return {"id": self.case_id, "simulated": self.simulated, "volumes_ml": volumes}


def predict_cohort(
    entries: Sequence[Entry], plan: Plan, out: Path, *, part: str = "", overwrite: bool = False
) -> Generator[Done, None, None]:
    """Predict cases into `out/<id>/`, and tell of each in order as it is there; of what was there already, too.

    What `out` holds by the same models with the same options is kept. However this ends, what is in `out` is whole.
    Nothing is raised for a case that cannot be read. Raises `OutputError` when `out` holds something else (without
    `overwrite`) or cannot be written.
    """
    kept = _earlier(out, plan, overwrite=overwrite)
    with refusals(out, out):
        out.mkdir(parents=True, exist_ok=True)
    with refusals(out, out), alone_in(out):
        if kept is None:
            clear(out)
        yield from _filled(entries, plan, out, kept or {}, part)


def _filled(entries: Sequence[Entry], plan: Plan, out: Path, kept: Mapping[str, Done], part: str) -> Iterator[Done]:
    """Predict the cases that are not kept; `predictions.json` is in step with what is there all the time."""
    told = dict(kept)
    with _stage(out) as stage:
        _tell(out, stage, plan, told, part)
        for entry in entries:
            if entry.id not in kept:
                told[entry.id] = _predicted(entry, plan, out, stage)
                _tell(out, stage, plan, told, part)
            yield told[entry.id]


def _predicted(entry: Entry, plan: Plan, out: Path, stage: Path) -> Done:
    """One case on disk, or why it is not."""
    try:
        case = predict_case(entry, plan.models, plan.how, plan.outputs)
    except (StrokelensError, OSError, MemoryError, RuntimeError) as error:  # torch tells want of memory by the last
        return Done(entry.id, {}, failure=" ".join(str(error).split()) or type(error).__name__)
    folder = stage / "case" / entry.id
    folder.mkdir(parents=True)
    write_outputs(case, plan.models, plan.outputs, folder)
    place = out / entry.id
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)  # of a run that ended before it told of the case
    settle(folder.parent, out)
    return Done(entry.id, volumes_of(case.segmentation), case.simulated)


def _tell(out: Path, stage: Path, plan: Plan, told: Mapping[str, Done], part: str) -> None:
    path = stage / PREDICTED
    path.write_text(text_of(content_of(plan, list(told.values()), part)), encoding="utf-8")
    os.replace(path, out / PREDICTED)


def content_of(plan: Plan, told: Sequence[Done], part: str) -> dict[str, object]:
    """What `predictions.json` says."""
    return {
        "disclaimer": RESEARCH_USE,
        "recipe": plan.recipe,
        "models": plan.cards,
        "part": part,
        "cases": [done.record for done in told if done.failure is None],
        "failures": [done.record for done in told if done.failure is not None],
    }


def text_of(content: Mapping[str, object]) -> str:
    """The text of `predictions.json`."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _earlier(out: Path, plan: Plan, *, overwrite: bool) -> dict[str, Done] | None:
    """The cases of the same plan that are whole in `out`; None where something else is there that may be removed."""
    if not os.path.lexists(out) or (out.is_dir() and all(each.name.startswith(_STAGE) for each in out.iterdir())):
        return {}
    found = None if overwrite else _read(out / PREDICTED)
    if found is None:
        check_out(out, marker=PREDICTED, overwrite=overwrite)
        return None
    if found.get("recipe") != plan.recipe:
        what = _difference(found.get("recipe"), plan.recipe)
        raise OutputError(f"{out} holds predictions {what}; give another folder, or --overwrite to replace them")
    rows = [row for row in found["cases"] if isinstance(row, dict) and isinstance(row.get("volumes_ml"), dict)]
    return {
        str(row["id"]): Done(str(row["id"]), row["volumes_ml"], row.get("simulated") is True, kept=True)
        for row in rows
        if "id" in row and (out / str(row["id"]) / "segmentation.nii.gz").is_file()
    }


def _read(path: Path) -> dict[str, Any] | None:
    """What an earlier run told; None where there was none, or it is damaged."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("cases"), list) else None


def _difference(theirs: object, ours: Mapping[str, Any]) -> str:
    """How an earlier plan differs from ours, in words."""
    before = theirs if isinstance(theirs, dict) else {}
    if before.get("models") != ours["models"]:
        return "of another model"
    options = before.get("options")
    if isinstance(options, dict):
        for name, value in ours["options"].items():
            if options.get(name) != value:
                return f"with another option ({name} {options.get(name)}, now {value})"
    return f"of another version ({before.get('software')}, now {ours['software']})"


@contextmanager
def _stage(out: Path) -> Iterator[Path]:
    """A hidden folder in `out` for what is not whole yet; what a killed run left of its own goes first."""
    for old in out.glob(f"{_STAGE}*"):
        shutil.rmtree(old, ignore_errors=True)
    stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=out))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
