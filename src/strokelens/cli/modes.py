"""The second ancestor's modes, `main.py --mode MODE`: each is one or more of our verbs, which are told and then run.

Its config, or settings of ours, is in `--config_dir`, a file despite the name. What it kept in a folder of the model is
in `OUT/<name>`: `run`, `epochs`, `predictions`, `output` with the submissions, `robustness`.
"""

from collections.abc import Iterator
from typing import Final

from strokelens.cli import lrp
from strokelens.cli.asked import Asked, Command, Model, choice, told_in
from strokelens.cli.recipes import DILUTIONS, published, shortcut
from strokelens.errors import SettingsError

EVALUATIONS: Final = ("UNet3D_overfit", "UNet3D_overfit_submission", "UNet3D_test_submission", "UNet3D_test_dilution")
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
TELL: Final = "tell"
"""Not a verb: what follows is only said."""


def commands(asked: Asked) -> Iterator[Command]:
    """The verbs that a mode stands for, one after the other; each is asked for when those before have run.

    Raises `SettingsError` for a submode that there is not, with the nearest.
    """
    if asked.mode == "lrp":
        model = Model.read(asked)
        yield from lrp.by_mode(model.place(), model.told, asked.submode)
    elif asked.mode == "test":
        yield ("inspect", str(asked.data))
    elif asked.mode == "train":
        yield from Model.read(asked).trained()
    elif asked.mode == "evaluation":
        yield from _evaluated(asked)
    elif asked.mode == "visual":
        yield from _shown(asked)
    elif asked.mode == "shortcut_sequence":
        yield from shortcut(asked)
    else:
        yield from published(asked)


def _evaluated(asked: Asked) -> Iterator[Command]:
    model = Model.read(asked)
    mode = str(model.told.get("evaluation_mode", ""))
    told = bool(asked.submode) and asked.submode not in EVALUATIONS
    if asked.submode in DILUTIONS or (told and mode == "UNet3D_test_dilution"):
        yield model.robust(DILUTIONS[choice("submode", asked.submode, tuple(DILUTIONS))])
        return
    mode = choice("evaluation mode", asked.submode or mode, EVALUATIONS)
    if mode == "UNet3D_test_dilution":
        raise SettingsError(f"{mode} needs a --submode: {' or '.join(DILUTIONS)}")
    if mode == "UNet3D_overfit":
        yield model.by_epoch()
    else:
        yield from model.submitted("test" if mode == "UNet3D_test_submission" else "train")


def _shown(asked: Asked) -> Iterator[Command]:
    model = Model.read(asked)
    mode = choice("visual mode", asked.submode or str(model.told.get("visual_mode", "")), VISUALS)
    place = model.folder / "figures"
    if mode.startswith("lrp_"):
        yield from _reasons(model, mode)
    elif mode == "plot_loss_0001":
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


def _reasons(model: Model, mode: str) -> Iterator[Command]:
    """The viewers of relevance: one case's figures, or the statistics of a sweep, whose maps and tables it has."""
    number = model.asked.case_number or str(told_in(model.told, "misc", "case_number", 1))
    if mode == "lrp_UNet3D_overfit_visualizer":
        yield lrp.viewed(model.place(), number, ())
    elif mode == "lrp_UNet3D_filter_sweep_visualizer":
        yield lrp.viewed(model.place(), number)
    else:
        yield lrp.swept(model.place(), ())
