"""The cases of a cohort that were predicted, as `predictions.json` tells of them, and which of them are still true."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import starmap
from pathlib import Path
from typing import Any, Final

from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.digest import digest_of
from strokelens.cohorts.encode import sidecar_path
from strokelens.cohorts.folder import PREDICTED, check_out
from strokelens.errors import OutputError
from strokelens.flags import Flag
from strokelens.prediction.samples import channels_of
from strokelens.prepare import Recipe

STAGE: Final = ".predict-"
"""How the names of hidden folders begin that hold what is not whole."""

MASK: Final = "segmentation.nii.gz"
"""The file that every case has."""

UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Done:
    """A case: the volume in ml of each class, or why there is none. `kept` ones were there before.

    `sha256` is that of what it was predicted from, `part` the part of the user's split that was asked for, and
    `part_in_training` the one in the split of the models, where that is known.
    """

    case_id: str
    volumes_ml: Mapping[str, float]
    simulated: bool = False
    failure: str | None = None
    crashed: bool = False
    kept: bool = False
    sha256: str = ""
    part: str = ""
    part_in_training: str = UNKNOWN
    device: str = ""
    flags: tuple[Flag, ...] = ()

    @property
    def record(self) -> dict[str, object]:
        """Plain values for JSON."""
        if self.failure is not None:
            return {"id": self.case_id, "part": self.part, "failure": self.failure, "crashed": self.crashed}
        return {
            "id": self.case_id,
            "part": self.part,
            "part_in_training": self.part_in_training,
            "simulated": self.simulated,
            "volumes_ml": {name: round(volume, 6) for name, volume in self.volumes_ml.items()},
            "flags": [asdict(flag) for flag in self.flags],
            "device": self.device,
            "sha256": self.sha256,
        }


def key_of(entry: Entry, recipe: Recipe) -> str:
    """The SHA-256 of what a prediction is made from: the bytes that are read, how, and the clinical values.

    The truth is in it where the entry has one. Raises `OSError` where a file cannot be read.
    """
    clinical = {name: entry.numbers[name] for name in recipe.clinical if name in entry.numbers}
    return digest_of(entry, channels_of(entry, recipe), sorted(clinical.items()))


def is_ours(folder: Path) -> bool:
    """Whether a folder is that of a case which `predict` wrote: its segmentation names the models."""
    try:
        told = json.loads(sidecar_path(folder / MASK).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and "Model" in told and not folder.is_symlink()


def earlier(out: Path, recipe: Mapping[str, Any], *, overwrite: bool) -> dict[str, Done] | None:
    """The cases of the same recipe that are whole in `out`; None where something else is there that may be removed.

    Raises `OutputError` where it may not.
    """
    if not os.path.lexists(out) or (out.is_dir() and all(each.name.startswith(STAGE) for each in out.iterdir())):
        return {}
    found = None if overwrite else _read(out / PREDICTED)
    if found is None:
        check_out(out, marker=PREDICTED, overwrite=overwrite)
        return None
    if found.get("recipe") != recipe:
        what = _difference(found.get("recipe"), recipe)
        raise OutputError(f"{out} holds predictions {what}; give another folder, or --overwrite to replace them")
    rows = (_row(row) for row in found["cases"])
    return {done.case_id: done for done in rows if done is not None and (out / done.case_id / MASK).is_file()}


def _read(path: Path) -> dict[str, Any] | None:
    """What an earlier run told; None where there was none, or it is damaged."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("cases"), list) else None


def _row(row: object) -> Done | None:
    """A case as its record tells it; None where that is damaged: it is predicted again."""
    try:
        told = dict(row)  # type: ignore[call-overload]
        flags = tuple(starmap(Flag, [(flag["code"], flag["message"], flag["grave"]) for flag in told.pop("flags")]))
        found = Done(str(told.pop("id")), dict(told.pop("volumes_ml")), kept=True, flags=flags, **told)
    except (KeyError, TypeError, ValueError):
        return None
    return found


def _difference(theirs: object, ours: Mapping[str, Any]) -> str:
    """How an earlier recipe differs from ours, in words."""
    before = theirs if isinstance(theirs, dict) else {}
    if before.get("models") != ours["models"]:
        return "of another model"
    options = before.get("options")
    if isinstance(options, dict):
        for name, value in ours["options"].items():
            if options.get(name) != value:
                return f"with another option ({name} {options.get(name)}, now {value})"
    return f"of another version ({before.get('software')}, now {ours['software']})"
