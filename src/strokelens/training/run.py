"""The folder of a training: what it is, how far it came, and whether it may be gone on with.

`run.json` tells what it is and how far it came, `split.json` who is in which part, `history.csv` and `history.png` how
it went, `diary.txt` what was done when, `stages/N` what stage N needs to go on, `tensorboard` the same for that viewer,
`prepared` the cases as the network sees them, and `model` what it ended with.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from lightning.fabric.utilities.rank_zero import rank_zero_only
from pydantic import ValidationError

from strokelens import __version__
from strokelens.cohorts.encode import write_json
from strokelens.cohorts.folder import make_folder, refusals
from strokelens.cohorts.json_files import read_json
from strokelens.cohorts.splits import Split, content_of, write_split
from strokelens.errors import TrainingError
from strokelens.flags import RESEARCH_USE
from strokelens.settings.schema import Settings

RUN: Final = "run.json"
"""The file in every run; with the word strokelens in it, it marks the folder as ours."""

SPLIT: Final = "split.json"
DIARY: Final = "diary.txt"
FORMAT: Final = "strokelens run 2"
OTHER_DATA: Final = "{} was trained on other data; give the cohort as it was, or another folder"

_TOLD: Final = ("data_sha256", "pretrained_sha256", "refused", "settings")
"""What every run tells of itself."""

_NO_MATTER: Final = ("workers",)
"""Of `training`: what changes nothing but the pace."""

PREPARED: Final = "prepared"
"""The folder of a run that holds its cases as the network sees them."""

_MAY_BE_THERE: Final = (PREPARED, f".{RUN}", f".{SPLIT}")
"""What a run that was ended before it was marked leaves."""

logger = logging.getLogger(__name__)


def is_leader() -> bool:
    """Whether this is the one of the processes that train together which also does what is done once.

    Before they have met, a process knows its number on its node, and the node by `NODE_RANK` or `GROUP_RANK`.
    """
    node = os.environ.get("NODE_RANK") or os.environ.get("GROUP_RANK") or "0"
    return (getattr(rank_zero_only, "rank", 0) or 0) == 0 and (node == "0" or "RANK" in os.environ)


@dataclass(frozen=True, eq=False)
class Run:
    """A training's folder, what is trained in it, and whom it tells how far it is."""

    folder: Path
    settings: Settings
    drawn: Split
    told: Callable[[str], None]

    @property
    def diary(self) -> Path:
        """What was done when, line by line, over all times that the run was begun or gone on with."""
        return self.folder / DIARY

    def write_diary(self, line: str) -> None:
        """Add a line with the time to the diary."""
        if self.leads:
            with self.diary.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}  {line}\n")

    @property
    def leads(self) -> bool:
        """Whether this is the one of several processes that writes."""
        return is_leader()

    def begin(self, *, resume: bool) -> Mapping[str, Any]:
        """What the folder tells of its run, nothing where it is new.

        A run may go on for more epochs of its last stage than it was begun with. Raises `TrainingError` when it holds a
        run that is not to be gone on with, or one of other settings or split.
        """
        with refusals(self.folder, self.folder):
            if not (self.folder / RUN).is_file():
                self._check_free()
                return {}
        if not resume and self.leads:
            raise TrainingError(f"{self.folder} holds a run; give --resume to go on with it, or another folder")
        told = read_json(self.folder / RUN, what="run")
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise TrainingError(f"{self.folder / RUN} is no run by strokelens; give another folder")
        if any(name not in told for name in _TOLD):
            raise TrainingError(f"{self.folder / RUN} is no whole run; give another folder")
        mine, theirs = (
            _what_matters(self.settings.model_dump(mode="json")),
            _what_matters(_today(told["settings"])),
        )
        if _last_epochs(theirs) < _last_epochs(mine):
            theirs = _with_epochs(theirs, _last_epochs(mine))
        other = next((name for name in mine if mine[name] != theirs.get(name)), None)
        if other is not None:
            raise TrainingError(
                f"{self.folder} was begun with other settings of {other!r}; give those in its {RUN}, or another folder"
            )
        split = self.folder / SPLIT
        if split.is_file() and read_json(split, what="split") != json.loads(json.dumps(content_of(self.drawn))):
            raise TrainingError(f"{self.folder} was begun with another split; give that in it, or another folder")
        return told

    def make(self) -> None:
        """Make the folder; `OutputError` where that cannot be."""
        make_folder(self.folder)

    def _check_free(self) -> None:
        """Raise `TrainingError` where a new run would write among what is not its own."""
        if not self.leads or not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise TrainingError(f"{self.folder} is a file; give a folder")
        found = next((each.name for each in sorted(self.folder.iterdir()) if each.name not in _MAY_BE_THERE), None)
        if found is not None:
            raise TrainingError(f"{self.folder} holds {found} and no run; give a new or an empty folder")

    def check(
        self,
        before: Mapping[str, Any],
        *,
        data_sha256: str,
        pretrained_sha256: str | None,
        machine: Mapping[str, str | int],
    ) -> None:
        """Raise `TrainingError` where a run would go on with other data or from other weights than it began with.

        Of another machine it is warned: the run's weights will be others than they would have been.
        """
        if before and before["data_sha256"] != data_sha256:
            raise TrainingError(OTHER_DATA.format(self.folder))
        if before and before["pretrained_sha256"] != pretrained_sha256:
            raise TrainingError(
                f"{self.folder} was begun with encoders of SHA-256 {before['pretrained_sha256']}, not "
                f"{pretrained_sha256}; give network.pretrained as it was, or another folder"
            )
        self._warn_of_machine(before.get("machine", {}), machine)

    def _warn_of_machine(self, then: Mapping[str, str | int], now: Mapping[str, str | int]) -> None:
        for name in (each for each in now if each in then and then[each] != now[each]):
            logger.warning(
                "%s was begun with %s %s and goes on with %s: its weights will be others than those of one machine; "
                "go on as it began, if you can",
                self.folder, name, then[name], now[name],
            )  # fmt: skip

    def mark(self, **facts: object) -> None:
        """Write what the run is, who is in which part, and how far it came."""
        if not self.leads:
            return
        about = {"format": FORMAT, "strokelens": __version__, "disclaimer": RESEARCH_USE, **facts}
        part, split = self.folder / f".{RUN}", self.folder / f".{SPLIT}"
        write_json(part, about | {"settings": self.settings.model_dump(mode="json")})
        write_split(split, self.drawn)
        part.replace(self.folder / RUN)  # first: what is ended between the two is a run that can be gone on with
        split.replace(self.folder / SPLIT)


def _today(settings: Any) -> dict[str, Any]:
    """Settings of an earlier version, with today's defaults for what it lacks; as they are where they are none."""
    try:
        return Settings.model_validate_json(json.dumps(settings)).model_dump(mode="json")
    except ValidationError:
        return settings if isinstance(settings, dict) else {}


def _what_matters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that are compared: without what changes only the pace, and a split's file by where it is."""
    training = {name: value for name, value in settings.get("training", {}).items() if name not in _NO_MATTER}
    split = dict(settings.get("split", {}))
    if split.get("file") is not None:
        split["file"] = os.path.abspath(split["file"])
    return {**settings, "training": training, "split": split}


def _last_epochs(settings: Mapping[str, Any]) -> int:
    """How many epochs the last stage may have."""
    stages = settings.get("stages") or [{}]
    return int(stages[-1].get("epochs", 0))


def _with_epochs(settings: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The settings with more epochs for their last stage."""
    stages = settings.get("stages") or [{}]
    return {**settings, "stages": [*stages[:-1], {**stages[-1], "epochs": epochs}]}


def is_longer(settings: Settings, before: Mapping[str, Any]) -> bool:
    """Whether a run shall go on for more epochs than it was begun with."""
    return bool(before) and _last_epochs(_today(before["settings"])) < settings.stages[-1].epochs
