"""What `main.py --mode` was told, and the model that its config tells of: each of its doings as a verb of ours."""

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strokelens.cli import lrp
from strokelens.errors import SettingsError, hint

if TYPE_CHECKING:
    from strokelens.settings.schema import Settings

Command = tuple[str, ...]
"""A verb with its words."""


@dataclass(frozen=True)
class Asked:
    """What `main.py --mode` was told, as paths and words."""

    mode: str
    config: Path
    data: Path
    out: Path
    submode: str = ""
    subsubmode: str = ""
    case_number: str = ""
    shortcut: str = ""
    device: str = "auto"
    changes: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Namespace) -> "Asked":
        """From the command line."""
        told = {name: getattr(given, name) or "" for name in ("submode", "subsubmode", "case_number")}
        return cls(
            given.mode,
            Path(given.config_dir or "config.json"),
            given.data,
            given.out,
            **told,
            shortcut=given.shortcut_mode or "",
            device=given.gpu or "auto",
            changes=tuple(given.change or ()),
        )


@dataclass(frozen=True)
class Model:
    """A model of the ancestor's: its name, where its settings are, and how they are changed."""

    asked: Asked
    name: str
    source: str
    epochs: int
    changes: tuple[str, ...] = ()
    stages: int = 1
    told: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, asked: Asked) -> "Model":
        """The model of the config; a config of the ancestor's is translated, and the settings kept beside the run."""
        from strokelens.settings.reading import convert_settings, read_settings
        from strokelens.settings.second import is_second

        if not asked.config.is_file():
            raise SettingsError(f"{asked.config}: no such file; `main.py --mode create_config_file` writes one")
        text = asked.config.read_text(encoding="utf-8-sig", errors="replace")
        if not is_second(text):
            settings = read_settings(str(asked.config))
            return cls(
                asked,
                settings.name,
                str(asked.config),
                settings.stages[-1].epochs,
                asked.changes,
                stages=len(settings.stages),
            )
        settings, _ = convert_settings(asked.config)
        told = json.loads(text)
        source = _kept(settings, asked.out / settings.name / "settings.json")
        return cls(asked, settings.name, source, settings.stages[-1].epochs, asked.changes, told=told)

    @property
    def folder(self) -> Path:
        """Where all of it is."""
        return self.asked.out / self.name

    @property
    def run(self) -> str:
        """Its run."""
        return str(self.folder / "run")

    @property
    def _asked(self) -> Command:
        return ("--device", self.asked.device)

    def trained(self, cycles: int = 1) -> Iterator[Command]:
        """A cycle or more of training: each goes on for as many epochs as the first had."""
        for _ in range(cycles):
            done = _epochs_done(self.folder / "run")
            changes = [f"name={self.name}", *self.changes, f"stages.{self.stages - 1}.epochs={done + self.epochs}"]
            words = [word for change in changes for word in ("--set", change)]
            resume = ("--resume",) if done else ()
            where = ("--data", str(self.asked.data), "-o", self.run, "--devices", self.asked.device)
            yield ("train", self.source, *where, *words, *resume)

    def by_epoch(self) -> Command:
        """Each epoch scored on the cases with truth, most of which it was trained on."""
        return ("epochs", self.run, str(self.asked.data), "-o", str(self.folder / "epochs"), *self._asked)

    def submitted(self, part: str) -> Iterator[Command]:
        """The training cases, which have a truth, or the test cases predicted, and written as submissions."""
        yield self.predicted(part)
        described = f"{self.name}_{'test_' if part == 'test' else ''}{{case}}"
        place = ("-o", str(self.folder / "output" / part), "--overwrite", "--description", described)
        yield ("submit", self.predictions(part), str(self.asked.data), *place, *self._which(part))

    def predicted(self, part: str) -> Command:
        """The training or the test cases predicted."""
        anew = ("--overwrite",) if self._outdated(part) else ()
        place = ("-o", self.predictions(part), *anew)
        return ("predict", self.run, str(self.asked.data), *place, *self._which(part), *self._asked)

    def _outdated(self, part: str) -> bool:
        """Whether predictions are there of other weights than the model has now, which a cycle has trained since."""
        from strokelens.cohorts.folder import PREDICTED

        return lrp.outdated(Path(self.run), Path(self.predictions(part)) / PREDICTED)

    def predictions(self, part: str) -> str:
        """Where these are."""
        return str(self.folder / "predictions" / part)

    def _which(self, part: str) -> Command:
        return ("--split", _parts(self.asked, self.folder), "--part", part)

    def place(self) -> lrp.Place:
        """Where its relevance is asked."""
        return lrp.Place(
            run=self.run,
            data=str(self.asked.data),
            folder=self.folder,
            split=_parts(self.asked, self.folder),
            device=self.asked.device,
            composite=lrp.composite_of(self.told),
        )

    def robust(self, kinds: Sequence[str]) -> Command:
        """How it stands disturbed images."""
        place = str(self.folder / "robustness" / "_".join(kinds))
        told = ["--kinds", ",".join(kinds), "--overwrite"]
        return ("robustness", self.run, str(self.asked.data), "-o", place, *told, *self._asked)

    def by_size(self) -> Iterator[Command]:
        """Dice by size, of the cases with truth."""
        yield self.predicted("train")
        place = ("-o", str(self.folder / "evaluation"), "--legacy", "--overwrite")
        yield ("evaluate", self.predictions("train"), str(self.asked.data), *place, *self._which("train"))


def choice(what: str, told: str, known: tuple[str, ...]) -> str:
    """What was told, if it is known."""
    if told not in known:
        raise SettingsError(f"no {what} {told!r}; {hint(told, known)}")
    return told


def _kept(settings: "Settings", path: Path) -> str:
    """The file that settings are in now."""
    from strokelens.cohorts.folder import make_folder, new_file
    from strokelens.settings.explaining import settings_text

    text = settings_text(settings)
    make_folder(path.parent)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        path.unlink()  # ours: the config was changed
    if not path.is_file():
        new_file(path, text)
    return str(path)


def _epochs_done(run: Path) -> int:
    """How many epochs a run has had."""
    try:
        return max(0, len((run / "history.csv").read_text(encoding="utf-8").splitlines()) - 1)
    except OSError:
        return 0


def _parts(asked: Asked, folder: Path) -> str:
    """A split in a file: as `train` the cases with truth, as `test` those without."""
    from strokelens.cohorts.folder import make_folder
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.cohorts.splits import TEST, TRAIN, Split, write_split

    entries = [entry for entry in open_cohort(asked.data, None) if entry.usable]
    parts = {
        TRAIN: tuple(entry.id for entry in entries if entry.truth is not None),
        TEST: tuple(entry.id for entry in entries if entry.truth is None),
    }
    make_folder(folder)
    path = folder / "kinds.json"
    write_split(path, Split({name: ids for name, ids in parts.items() if ids}, "with and without truth"))
    return str(path)


def told_in(config: Mapping[str, Any], section: str, name: str, otherwise: object) -> object:
    """A key of a section of the config; else `otherwise`."""
    found = config.get(section)
    return found.get(name, otherwise) if isinstance(found, dict) else otherwise
