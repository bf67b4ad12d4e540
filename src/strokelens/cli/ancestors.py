"""The ancestors' command line, which `main.py` calls: `main.py GPU SNAME …` and `main.py --mode MODE …`.

`main.py GPU SNAME` trains one setting, predicts those who validate and those kept for the end, and prints F1 by group.
"""

import logging
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from json import dumps
from math import isfinite
from pathlib import Path
from shlex import join
from time import perf_counter
from typing import TYPE_CHECKING, NoReturn

import typer

from strokelens import __version__
from strokelens.cli import lacks_networks, options
from strokelens.cli.progress import loudness, say, steps
from strokelens.errors import CohortError, SettingsError, StrokelensError, hint

if TYPE_CHECKING:
    from strokelens.cli.asked import Command
    from strokelens.cli.second import Tee
    from strokelens.cohorts.cohort import Cohort
    from strokelens.cohorts.splits import Split
    from strokelens.comparison import Comparison
    from strokelens.evaluation.results import Evaluation
    from strokelens.settings.schema import Settings

VERBS = (
    "segment, maps, phantom, inspect, split, train, crossvalidate, predict, evaluate, atlas, epochs, robustness, "
    "submit, compare, settings"
)
MODES = (  # noqa: SIM905  # a list would be a page of its own
    "info more_info_on_publication_1 more_info_on_publication_2 create_config_file test train evaluation lrp visual "
    "shortcut_sequence results_publication_1 results_publication_2"
).split()

_USAGE = """main.py GPU SNAME [-v] [-d] [-o] [-pm] [-t TILE] [-dim DIMENSION] [-c {2,3,4}] [-w W [W ...]] [-e EXP] [-j]
               [--data COHORT] [--out FOLDER] [--set KEY=VALUE] [--pretrained WEIGHTS]
       main.py --mode MODE [--config_dir FILE] ..."""
_ABOUT = """The ancestors' command line. New work: `strokelens VERB ...`.

Trains a setting on a cohort, predicts the patients who validate and those kept for the end, and prints F1 by group.
FOLDER/EXP<id> gets runs/, predictions/ with the ancestor's pictures, and tables/; run again, it goes on there."""
_DEBUG_TRAIN, _DEBUG_VALIDATION = 5, 1
_PLACES = 3


class _OneLine(ArgumentParser):
    """Tells what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Say it, and exit with 2."""
        self.exit(2, f"main.py: {' '.join(message.split())}; `main.py -h` tells more\n")


def arguments() -> ArgumentParser:
    """What both ancestors accepted, and where the data are, which their setting files told."""
    parser = _OneLine(
        "main.py",
        usage=_USAGE,
        description=f"strokelens {__version__}. Research use only; not a medical device.\n\n{_ABOUT}",
        epilog=f"This version has the verbs {VERBS}; see `strokelens --help`.",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("gpu", nargs="?", metavar="GPU", help="ids of the GPUs to use, separated by commas, or cpu")
    parser.add_argument("sname", nargs="?", metavar="SNAME", help="a setting: its path, Setting/NAME.json, or its name")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell of every step")
    parser.add_argument(
        "-d", "--debug", action="store_true", help="the first 5 patients train, 1 validates; only a split on disk tests"
    )
    parser.add_argument(
        "-o", "--original", action="store_true",
        help="no effect: it changed grey levels of the ancestor's truth; here a truth is read by the levels it has",
    )  # fmt: skip
    parser.add_argument(
        "-pm",
        "--pm",
        action="store_true",
        help="use parametric maps: always so, with it or without; no network reads series",
    )
    parser.add_argument("-t", "--tile", type=int, help="pixels of a tile's side; a whole slice's side: no tiles")
    parser.add_argument("-dim", "--dimension", type=int, help="pixels of a slice's side")
    parser.add_argument("-c", "--classes", type=int, choices=(2, 3, 4), help="how many classes; else as SNAME says")
    parser.add_argument("-w", "--weights", type=float, nargs="+", metavar="W", help="weights of the classes, in order")
    parser.add_argument("-e", "--exp", type=float, help="number of the experiment; else its folder has SNAME's name")
    parser.add_argument("-j", "--jump", action="store_true", help="go to gradual fine-tuning at once")
    _add_ours(parser)
    parser.add_argument("--mode", help=", ".join(MODES))
    for name in ("config_dir", "submode", "subsubmode", "case_number", "shortcut_mode"):
        parser.add_argument(f"--{name}")
    return parser


def _add_ours(parser: ArgumentParser) -> None:
    """Options that the ancestors did not have."""
    parser.add_argument("--data", default=Path("data"), type=Path, metavar="COHORT", help="its folder; else ./data")
    parser.add_argument(
        "--out", default=Path("SAVE"), type=Path, metavar="FOLDER", help="where EXP<id> is; else ./SAVE"
    )
    parser.add_argument(
        "--set", action="append", metavar="KEY=VALUE", dest="change", help="change a setting; repeatable"
    )
    parser.add_argument("--pretrained", metavar="WEIGHTS", help="imagenet, a file, or none; else as SNAME says")


def main(words: Sequence[str] | None = None) -> int:
    """Run the ancestors' command line; the exit code. No words, or mode `info`: the usage."""
    parser = arguments()
    words = sys.argv[1:] if words is None else words
    given = parser.parse_args(words)
    if not words or given.mode == "info":
        parser.print_help()
        return 0
    if given.mode is not None and given.mode not in MODES:
        parser.error(f"no mode {given.mode!r}; {hint(given.mode, MODES)}")
    if given.mode is None and given.sname is None:
        parser.error(f"no SNAME after GPU {given.gpu!r}; give a setting, as in: main.py cpu Baseline")
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    loudness(verbose=given.verbose, quiet=False, otherwise=logging.WARNING)
    try:
        return _experiment(given) if given.mode is None else _mode(given)
    except StrokelensError as error:
        typer.echo(f"main.py: {error}", err=True)
        return 2
    except ModuleNotFoundError as error:
        if (lacking := lacks_networks(error)) is None:
            raise
        typer.echo(f"main.py: {lacking}", err=True)
        return 2
    except KeyboardInterrupt:
        typer.echo("main.py: interrupted; the same command goes on", err=True)
        return 130


def _mode(given: Namespace) -> int:
    """Run what a mode of the second ancestor's stands for; the exit code is the worst of all."""
    from strokelens.cli import second
    from strokelens.cli.asked import Asked
    from strokelens.cli.modes import commands
    from strokelens.cohorts.folder import new_file

    asked = Asked.of(given)
    if given.mode.startswith("more_info"):
        say(second.ABOUT_1 if given.mode.endswith("1") else second.ABOUT_2)
        return 0
    if given.mode == "create_config_file":
        new_file(asked.config, second.config_text())
        for line in second.described(asked.config.read_text(encoding="utf-8")):
            say(line)
        say(f"{asked.config}: `strokelens settings convert` translates it; `main.py --mode train` takes it as it is")
        return 0
    log = second.Tee.of(asked.out, given.mode)
    worst = 0
    for command in commands(asked):
        code = _ran(command, log)
        worst = max(worst, code)
        if code > 1:
            break
    say(log.end())
    return worst


def _ran(command: "Command", log: "Tee") -> int:
    """Say which verb it is, and run it."""
    from strokelens.cli import app
    from strokelens.cli.modes import TELL

    line = command[1] if command[0] == TELL else f"strokelens {join(command)}"
    say(line)
    log.write(line)
    if command[0] == TELL:
        return 0
    started = perf_counter()
    try:
        app(args=list(command))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    log.write(f"exit code {code}, {perf_counter() - started:.1f} s")
    return code


def _experiment(given: Namespace) -> int:
    """Train, predict and score one setting; the exit code."""
    from strokelens.comparison import compare

    comparison = planned(given)
    with steps(f"training {comparison.settings[0].name}") as done:
        evaluation = compare(comparison, done)
    if evaluation is None:
        return 0
    _tell(evaluation, comparison.out)
    return 0 if evaluation.complete else 1


def planned(given: Namespace) -> "Comparison":
    """The comparison of the one setting with itself that the words tell; `StrokelensError` where they cannot be."""
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.cohorts.splits import TEST, VALIDATION
    from strokelens.comparison import Comparison
    from strokelens.prediction.outputs import Outputs
    from strokelens.training.machine import Machine
    from strokelens.training.parts import split_of

    machine, settings = Machine.told(given.gpu), settings_of(given)
    out = folder_of(given, settings)
    machine.check(settings)
    if not os.path.exists(given.data):
        raise CohortError(f"no folder {given.data}; give the cohort to train on, as --data COHORT")
    cohort = open_cohort(given.data)
    drawn = split_of(settings, cohort)
    if given.debug:
        settings, drawn = _few(settings, drawn, cohort, out)
    parts = tuple(part for part in (VALIDATION, TEST) if drawn.parts.get(part))
    return Comparison((settings,), cohort, out, parts=parts, outputs=Outputs(png=True), machine=machine)


def settings_of(given: Namespace) -> "Settings":
    """The setting SNAME with all that the words change in it; `SettingsError` for what is impossible."""
    from strokelens.settings.changing import changed
    from strokelens.settings.reading import read_settings

    settings = read_settings(given.sname)
    asked = [] if given.dimension is None else [f"input.size={given.dimension}"]
    if given.classes not in (None, settings.input.classes):
        asked += [f"input.classes={given.classes}", "loss.class_weights=null"]
    asked += [] if given.weights is None else [f"loss.class_weights={dumps(given.weights)}"]
    asked += [] if given.tile is None else ["input.tile=null", "input.stride=null"]
    settings = changed(settings, [*asked, *options.changes(given.change, split=None, pretrained=given.pretrained)])
    if given.tile not in (None, settings.input.size):
        settings = changed(settings, [f"input.tile={given.tile}"])
    return _jumped(settings) if given.jump else settings


def _jumped(settings: "Settings") -> "Settings":
    """Without the frozen stage that gradual fine-tuning begins with."""
    from strokelens.settings.changing import changed

    if len(settings.stages) == 1:
        raise SettingsError(
            f"-j goes to gradual fine-tuning at once, and {settings.name} has one stage; take one with more, such as "
            "Mdl_G_Pm, or leave -j out"
        )
    left = [stage.model_dump(mode="json", exclude_unset=True) for stage in settings.stages[1:]]
    return changed(settings, [f"stages={dumps(left)}"])


def folder_of(given: Namespace, settings: "Settings") -> Path:
    """The folder of the experiment: EXP, and the number with three places before the point, or the setting's name."""
    if not given.exp:  # 0 is none, as the ancestor had it
        return Path(given.out, f"EXP{settings.name}")
    if not isfinite(given.exp) or given.exp < 0:
        raise SettingsError(f"-e {given.exp:g} is no number of an experiment; give one such as 100.887")
    whole, point, rest = str(given.exp).partition(".")
    return Path(given.out, f"EXP{whole.zfill(_PLACES)}{point}{rest}")


def _few(settings: "Settings", drawn: "Split", cohort: "Cohort", out: Path) -> "tuple[Settings, Split]":
    """The settings with a split of few patients, which is kept beside the results."""
    from strokelens.cohorts.folder import make_folder, refusals
    from strokelens.cohorts.splits import TEST, TRAIN, VALIDATION, Split, cases_of, write_split
    from strokelens.settings.changing import changed
    from strokelens.training.run import is_leader

    parts = {TEST: drawn.parts.get(TEST, ()) if settings.split.file is not None else ()}
    for part, most in ((TRAIN, _DEBUG_TRAIN), (VALIDATION, _DEBUG_VALIDATION)):
        entries = cases_of(drawn, part, cohort)
        persons = list(dict.fromkeys(entry.person for entry in entries))[:most]
        parts[part] = tuple(entry.id for entry in entries if entry.person in persons)
    few = Split({part: ids for part, ids in parts.items() if ids}, f"few patients of: {drawn.method}", drawn.seed)
    path = out / "few.json"
    if is_leader():  # the others, which it starts, find it there
        make_folder(out)
        with refusals(out, out):
            unfinished = path.with_name(f".{path.name}")
            write_split(unfinished, few)
            unfinished.replace(path)
    return changed(settings, [f"split.file={dumps(str(path))}"]), few


def _tell(evaluation: "Evaluation", out: Path) -> None:
    """The results: F1 by group as a table, what could not be done, and where all else is."""
    from strokelens.comparison import TABLES
    from strokelens.evaluation.overview import Overview
    from strokelens.evaluation.tables import each_failure, f1_by_group, headline
    from strokelens.flags import RESEARCH_USE

    table = f1_by_group(Overview(evaluation))
    heads = [head.replace("\n", " ") for head in table.header]
    lines = [heads, *([cell.replace("\n", " ") for cell in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    say(table.title)
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for model, case, code, message in each_failure(evaluation):
        say(f"{model}, {case}: {code}: {message}")
    say(f"{out / TABLES / 'tables.md'}: {headline(evaluation)} {RESEARCH_USE}")
    say(f"{out / 'predictions'} has the pictures, {out / 'runs'} the network.")
