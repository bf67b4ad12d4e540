"""The second ancestor's modes, `main.py --mode MODE`: each is one or more of our verbs, which are told and then run.

Its config, or settings of ours, is in `--config_dir`, a file despite the name. What it kept in a folder of the model is
in `OUT/<name>`: `run`, `epochs`, `predictions`, `output` with the submissions, `robustness`.
"""

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strokelens.errors import SettingsError, hint

if TYPE_CHECKING:
    from strokelens.settings.schema import Settings

Command = tuple[str, ...]
"""A verb with its words."""

EVALUATIONS: Final = ("UNet3D_overfit", "UNet3D_overfit_submission", "UNet3D_test_submission", "UNet3D_test_dilution")
DILUTIONS: Final = {
    "UNet3D_overfit_compare_diffgen": ("diffgen", "blur"),
    "UNet3D_overfit_more_comparison": ("uniform", "gaussian", "zeroing"),
}
VISUALS: Final = (
    "plot_loss_0001",
    "evaluation_test_submit_one_case_plot",
    "diffgen_0001",
    "diffgen_0002",
    "lrp_UNet3D_overfit_visualizer",
    "lrp_UNet3D_filter_sweep_visualizer",
    "lrp_UNet3D_filter_sweep_0002_visualizer",
    "lrp_UNet3D_filter_sweep_0003_visualizer",
)
SIDES: Final = {"S": 48, "A": 48, "B": 96, "C": 144, "X": 192}
"""The letters of the sizes in the names of its models."""

FRACTIONS: Final = {"1": 1.0, "2": 1.2}
_DRAWS = 1250
_CYCLES = 2

FIGURES: Final = ("example_process_get_main_figure", "example_process_get_filters_comparison_figure")
"""The submodes of the first publication."""

TELL: Final = "tell"
"""Not a verb: what follows is only said."""


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


def commands(asked: Asked) -> Iterator[Command]:
    """The verbs that a mode stands for, one after the other; each is asked for when those before have run.

    Raises `SettingsError` for a submode that there is not, with the nearest, and for relevance.
    """
    if asked.mode == "lrp":
        raise SettingsError(_LATER)
    if asked.mode == "test":
        yield ("inspect", str(asked.data))
    elif asked.mode == "train":
        yield from _Model.read(asked).trained()
    elif asked.mode == "evaluation":
        yield from _evaluated(asked)
    elif asked.mode == "visual":
        yield from _shown(asked)
    elif asked.mode == "shortcut_sequence":
        yield from _shortcut(asked)
    else:
        yield from _published(asked)


_LATER: Final = (
    "relevance is not in this version, whose verbs are told by `strokelens --help`; train and evaluate as before, and "
    "ask for relevance when it is there"
)


@dataclass(frozen=True)
class _Model:
    """A model of the ancestor's: its name, where its settings are, and how they are changed."""

    asked: Asked
    name: str
    source: str
    epochs: int
    changes: tuple[str, ...] = ()
    stages: int = 1
    evaluation: str = ""
    visual: str = ""

    @classmethod
    def read(cls, asked: Asked) -> "_Model":
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
        evaluation, visual = (str(told.get(f"{name}_mode", "")) for name in ("evaluation", "visual"))
        source = _kept(settings, asked.out / settings.name / "settings.json")
        return cls(asked, settings.name, source, settings.stages[-1].epochs, asked.changes, 1, evaluation, visual)

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
        """Whether predictions are there that are older than the model, which another cycle has trained since."""
        from strokelens.cohorts.folder import PREDICTED
        from strokelens.model import CARD, MODEL

        model, found = self.folder / "run" / MODEL / CARD, Path(self.predictions(part)) / PREDICTED
        return model.is_file() and found.is_file() and model.stat().st_mtime_ns > found.stat().st_mtime_ns

    def predictions(self, part: str) -> str:
        """Where these are."""
        return str(self.folder / "predictions" / part)

    def _which(self, part: str) -> Command:
        return ("--split", _parts(self.asked, self.folder), "--part", part)

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


def _evaluated(asked: Asked) -> Iterator[Command]:
    model = _Model.read(asked)
    mode = model.evaluation
    told = bool(asked.submode) and asked.submode not in EVALUATIONS
    if asked.submode in DILUTIONS or (told and mode == "UNet3D_test_dilution"):
        yield model.robust(DILUTIONS[_choice("submode", asked.submode, tuple(DILUTIONS))])
        return
    mode = _choice("evaluation mode", asked.submode or mode, EVALUATIONS)
    if mode == "UNet3D_test_dilution":
        raise SettingsError(f"{mode} needs a --submode: {' or '.join(DILUTIONS)}")
    if mode == "UNet3D_overfit":
        yield model.by_epoch()
    else:
        yield from model.submitted("test" if mode == "UNet3D_test_submission" else "train")


def _shown(asked: Asked) -> Iterator[Command]:
    model = _Model.read(asked)
    mode = _choice("visual mode", model.visual if not asked.submode else asked.submode, VISUALS)
    place = model.folder / "figures"
    if mode.startswith("lrp_"):
        raise SettingsError(_LATER)
    if mode == "plot_loss_0001":
        yield (TELL, f"{model.run}/history.png has the losses with their SD, {model.run}/history.csv the numbers")
    elif mode == "evaluation_test_submit_one_case_plot":
        yield from model.submitted("test")
    elif mode == "diffgen_0001":
        yield ("phantom", str(place / "diffgen"), "--layout", "diffgen", "--cases", "1", "--labelled", "first")
    elif asked.subsubmode in ("", "0001"):
        yield model.by_epoch()
    elif asked.subsubmode == "0002":
        yield model.predicted("train")
        case = f"training_{asked.case_number or 1}"
        where = ("--predictions", model.predictions("train"), "--overwrite")
        yield ("atlas", str(asked.data), "-o", str(place / case), *where, "--case", case)
    elif asked.subsubmode == "0003":
        yield from model.by_size()
    else:
        raise SettingsError(f"no subsubmode {asked.subsubmode!r} of {mode}; give 0001, 0002 or 0003")


def _shortcut(asked: Asked) -> Iterator[Command]:
    """The named recipes: `diff_gen_shortcut` with 0001.ABCD, 0002.X and 0003.X; `full_sequence_0002` with a code."""
    if asked.shortcut == "diff_gen_shortcut":
        kind, _, code = asked.submode.partition(".")
        if kind == "0001":
            model = _with_textures(asked, code)
            yield from model.trained(_CYCLES)
            yield model.by_epoch()
            return
        kinds = dict(zip(("0002", "0003"), DILUTIONS.values(), strict=True))
        if kind not in kinds or code not in ("X", "S"):
            wanted = "0001.ABCD such as 0001.S021, 0002.X, 0002.S, 0003.X or 0003.S"
            raise SettingsError(f"no shortcut {asked.submode!r}; give {wanted}")
        yield _with_textures(asked, "X022" if code == "X" else "S021").robust(kinds[kind])
        return
    if asked.shortcut != "full_sequence_0002":
        known = ("diff_gen_shortcut", "full_sequence_0002")
        later = "; full_sequence_0000, 0001 and 0003 need relevance, which is not in this version"
        raise SettingsError(f"no shortcut sequence {asked.shortcut!r}; {hint(asked.shortcut, known)}{later}")
    model = _plain(asked, asked.submode)
    yield from model.trained()
    yield model.by_epoch()


def _published(asked: Asked) -> Iterator[Command]:
    if asked.mode == "results_publication_2":
        for code in ("S011", "S022"):
            model = _with_textures(asked, code)
            yield from model.trained(_CYCLES)
            yield model.by_epoch()
            yield from model.by_size()
            yield model.robust([kind for kinds in DILUTIONS.values() for kind in kinds])
        return
    submode = _choice("submode", asked.submode, FIGURES)
    for code in ("AS1",) if submode == FIGURES[0] else ("AS1", "AS2", "BS1"):
        model = _plain(asked, code)
        yield from model.trained()
        yield model.by_epoch()
        yield from model.by_size()


def _with_textures(asked: Asked, code: str) -> _Model:
    """The model of a code ABCD: size, an unused letter, fraction, and a tag."""
    if len(code) != 4 or code[0] not in ("X", "S") or code[2] not in FRACTIONS:
        wanted = "size X or S, any letter, fraction 1 or 2, and a tag, as in 0001.X022"
        raise SettingsError(f"no recipe {code!r}; give {wanted}")
    size, fraction, tag = code[0], code[2], code[3]
    changes = (
        f"input.size={SIDES[size]}",
        f"diffgen.fraction={FRACTIONS[fraction]}",
        "diffgen.labels=first",
        f"training.draws={_DRAWS}",
        *asked.changes,
    )
    return _Model(asked, f"UNet3D_{size}DGX{fraction}{tag}", "Isles2017_legacy", 1, changes)


def _plain(asked: Asked, code: str) -> _Model:
    """The model of a code: size A, B, C or X; what it keeps, S or X; and the number of the trial."""
    if len(code) != 3 or code[0] not in "ABCX" or code[1] not in "SX" or not code[2].isalnum():
        raise SettingsError(f"no code {code!r}; give size A, B, C or X, then S or X, and a number, as in AS1")
    changes = (f"input.size={SIDES[code[0]]}", f"training.seed={ord(code[2])}", *asked.changes)
    return _Model(asked, f"UNet3D_{code[0]}XXX{code[1]}{code[2]}", "Isles2017_legacy", 2, changes)


def _choice(what: str, told: str, known: tuple[str, ...]) -> str:
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
