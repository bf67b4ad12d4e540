"""The folder of a training: what it is, how far it came, and whether it may be gone on with.

`run.json` tells what it is and how far it came, `split.json` who is in which part, `history.csv` and `history.png` how
it went, `stages/N` what stage N needs to go on, `tensorboard` the same for that viewer, `prepared` the cases as the
network sees them, and `model` what it ended with.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lightning.fabric.utilities.rank_zero import rank_zero_only

from strokelens import __version__
from strokelens.cohorts.encode import write_json
from strokelens.cohorts.json_files import read_json
from strokelens.cohorts.splits import Split, content_of, write_split
from strokelens.errors import TrainingError
from strokelens.flags import RESEARCH_USE
from strokelens.settings.schema import Settings

RUN: Final = "run.json"
"""The file in every run; with the word strokelens in it, it marks the folder as ours."""

SPLIT: Final = "split.json"
FORMAT: Final = "strokelens run 1"


def is_leader() -> bool:
    """Whether this is the one of the processes that train together which also does what is done once."""
    return (getattr(rank_zero_only, "rank", 0) or 0) == 0


@dataclass(frozen=True, eq=False)
class Run:
    """A training's folder, what is trained in it, and whom it tells how far it is."""

    folder: Path
    settings: Settings
    drawn: Split
    told: Callable[[str], None]

    @property
    def leads(self) -> bool:
        """Whether this is the one of several processes that writes."""
        return is_leader()

    def begin(self, *, resume: bool) -> Mapping[str, Any]:
        """What the folder tells of its run, nothing where it is new.

        Raises `TrainingError` when it holds a run that is not to be gone on with, or one of other settings or split.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / RUN).is_file():
            return {}
        if not resume and self.leads:
            raise TrainingError(f"{self.folder} holds a run; give --resume to go on with it, or another folder")
        told = read_json(self.folder / RUN, what="run")
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise TrainingError(f"{self.folder / RUN} is no run by strokelens; give another folder")
        mine, theirs = self.settings.model_dump(mode="json"), told.get("settings", {})
        other = next((name for name in mine if mine[name] != theirs.get(name)), None)
        if other is not None:
            raise TrainingError(
                f"{self.folder} was begun with other settings of {other!r}; give those in its {RUN}, or another folder"
            )
        split = self.folder / SPLIT
        if split.is_file() and read_json(split, what="split") != json.loads(json.dumps(content_of(self.drawn))):
            raise TrainingError(f"{self.folder} was begun with another split; give that in it, or another folder")
        return told

    def mark(self, **facts: object) -> None:
        """Write what the run is, who is in which part, and how far it came."""
        if not self.leads:
            return
        about = {"format": FORMAT, "strokelens": __version__, "disclaimer": RESEARCH_USE, **facts}
        part = self.folder / f".{RUN}"
        write_json(part, about | {"settings": self.settings.model_dump(mode="json")})
        write_split(self.folder / SPLIT, self.drawn)
        part.replace(self.folder / RUN)
