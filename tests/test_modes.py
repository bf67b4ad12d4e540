"""The second ancestor's modes as data: which verbs each stands for; and what main.py says of what there is not."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strokelens.case import Case
from strokelens.cli import ancestors, modes
from strokelens.cli.asked import Asked, Command
from strokelens.cli.modes import commands
from strokelens.cohorts.isles2017 import write_case, write_tables
from strokelens.cohorts.splits import read_split
from strokelens.errors import SettingsError
from strokelens.settings.reading import convert_settings, read_settings
from tests.test_submission import GRID, NAMES, lesion  # the same cases


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    for seed, name in enumerate(NAMES):
        adc = np.random.default_rng(seed).uniform(600, 900, GRID.shape).astype(np.float32)
        write_case(tmp_path / "isles", name, Case(name, GRID, {"ADC": adc}, lesion(slice(2, 6))))
    write_tables(tmp_path / "isles", [])
    assert ancestors.main(["--mode", "create_config_file", "--config_dir", str(tmp_path / "config.json")]) == 0
    return Asked("train", tmp_path / "config.json", tmp_path / "isles", tmp_path / "SAVE")


def run_of(asked: Asked, **told: Any) -> list[Command]:
    return list(commands(replace(asked, **told)))


def verbs(asked: Asked, **told: Any) -> list[str]:
    return [command[0] for command in run_of(asked, **told)]


def option(command: Command, name: str) -> list[str]:
    return [value for word, value in pairwise(command) if word == name]


def test_a_cycle_goes_on_for_as_many_epochs_as_the_config_has(asked: Asked) -> None:
    (first,) = run_of(asked)
    run = asked.out / "UNet3D_AYXXX2" / "run"
    assert first[:2] == ("train", str(asked.out / "UNet3D_AYXXX2" / "settings.json"))
    assert option(first, "-o") == [str(run)]
    assert option(first, "--set")[-1] == "stages.0.epochs=2"
    assert "--resume" not in first
    assert read_settings(first[1]) == convert_settings(asked.config)[0]
    run.mkdir(parents=True)
    (run / "history.csv").write_text("epoch\n1\n2\n")
    (second,) = run_of(asked)
    assert option(second, "--set")[-1] == "stages.0.epochs=4"
    assert second[-1] == "--resume"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"mode": "test"}, ["inspect"]),
        ({"mode": "evaluation"}, ["epochs"]),
        ({"mode": "evaluation", "submode": "UNet3D_overfit"}, ["epochs"]),
        ({"mode": "evaluation", "submode": "UNet3D_overfit_submission"}, ["predict", "submit"]),
        ({"mode": "evaluation", "submode": "UNet3D_test_submission"}, ["predict", "submit"]),
        ({"mode": "evaluation", "submode": "UNet3D_overfit_compare_diffgen"}, ["robustness"]),
        ({"mode": "evaluation", "submode": "UNet3D_overfit_more_comparison"}, ["robustness"]),
        ({"mode": "visual"}, ["tell"]),
        ({"mode": "visual", "submode": "evaluation_test_submit_one_case_plot"}, ["predict", "submit"]),
        ({"mode": "visual", "submode": "diffgen_0001"}, ["phantom"]),
        ({"mode": "visual", "submode": "diffgen_0002", "subsubmode": "0001"}, ["epochs"]),
        ({"mode": "visual", "submode": "diffgen_0002", "subsubmode": "0002"}, ["predict", "atlas"]),
        ({"mode": "visual", "submode": "diffgen_0002", "subsubmode": "0003"}, ["predict", "evaluate"]),
        (
            {"mode": "shortcut_sequence", "shortcut": "diff_gen_shortcut", "submode": "0001.X022"},
            ["train"] * 2 + ["epochs"],
        ),
        ({"mode": "shortcut_sequence", "shortcut": "diff_gen_shortcut", "submode": "0002.S"}, ["robustness"]),
        ({"mode": "shortcut_sequence", "shortcut": "diff_gen_shortcut", "submode": "0003.X"}, ["robustness"]),
        ({"mode": "shortcut_sequence", "shortcut": "full_sequence_0002", "submode": "BS3"}, ["train", "epochs"]),
        (
            {"mode": "results_publication_1", "submode": "example_process_get_main_figure"},
            ["train", "epochs", "predict", "evaluate"],
        ),
        (
            {"mode": "results_publication_1", "submode": "example_process_get_filters_comparison_figure"},
            ["train", "epochs", "predict", "evaluate"] * 3,
        ),
        ({"mode": "results_publication_2"}, ["train", "train", "epochs", "predict", "evaluate", "robustness"] * 2),
    ],
)
def test_each_mode_is_these_verbs(asked: Asked, told: dict[str, str], expected: list[str]) -> None:
    assert verbs(asked, **told) == expected


def test_recipes_by_their_codes(asked: Asked) -> None:
    """A is the size, C the fraction, D the tag; two cycles of an epoch of 1250 draws."""
    first = run_of(asked, mode="shortcut_sequence", shortcut="diff_gen_shortcut", submode="0001.X021")[0]
    assert first[1] == "Isles2017_legacy"
    changes = ["name=UNet3D_XDGX21", "input.size=192", "diffgen.fraction=1.2", "diffgen.labels=first",
               "training.draws=1250", "stages.0.epochs=1"]  # fmt: skip
    assert option(first, "--set") == changes
    small = run_of(asked, mode="shortcut_sequence", shortcut="full_sequence_0002", submode="BX2")[0]
    assert option(small, "--set")[:2] == ["name=UNet3D_BXXXX2", "input.size=96"]


def test_who_is_submitted_is_told_by_a_split_of_those_with_and_without_truth(asked: Asked) -> None:
    predict, submit = run_of(asked, mode="evaluation", submode="UNet3D_test_submission")
    (path,) = option(predict, "--split")
    assert dict(read_split(Path(path)).parts) == {"train": ("training_1", "training_2"), "test": ("test_1",)}
    assert option(predict, "--part") == option(submit, "--part") == ["test"]
    assert option(submit, "--description") == ["UNet3D_AYXXX2_test_{case}"]
    diffgen, others = (
        run_of(asked, mode="evaluation", submode=f"UNet3D_overfit_{name}")[0]
        for name in ("compare_diffgen", "more_comparison")
    )
    assert option(diffgen, "--kinds") == ["diffgen,blur"]
    assert option(others, "--kinds") == ["uniform,gaussian,zeroing"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"mode": "lrp"}, "relevance is not in this version"),
        ({"mode": "visual", "submode": "lrp_UNet3D_overfit_visualizer"}, "relevance is not in this version"),
        ({"mode": "evaluation", "submode": "UNet3D_overfitt"}, "did you mean 'UNet3D_overfit'"),
        (
            {"mode": "evaluation", "submode": "UNet3D_test_dilution"},
            "needs a --submode: UNet3D_overfit_compare_diffgen",
        ),
        ({"mode": "visual", "submode": "diffgen_0002", "subsubmode": "9"}, "give 0001, 0002 or 0003"),
        ({"mode": "shortcut_sequence", "shortcut": "diff_gen_shortcut", "submode": "0001.Q021"}, "give size X or S"),
        ({"mode": "shortcut_sequence", "shortcut": "diff_gen_shortcut", "submode": "0004.X"}, "give 0001.ABCD such as"),
        ({"mode": "shortcut_sequence", "shortcut": "full_sequence_0001"}, "need relevance"),
        ({"mode": "shortcut_sequence", "shortcut": "full_sequence_0002", "submode": "Q"}, "give size A, B, C or X"),
        ({"mode": "results_publication_1"}, "example_process_get_main_figure"),
    ],
)
def test_what_there_is_not_is_one_line(asked: Asked, told: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        verbs(asked, **told)
    assert "\n" not in str(caught.value)


def test_without_a_config_the_way_to_one_is_told(asked: Asked, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no such file; `main\.py --mode create_config_file` writes one"):
        verbs(asked, config=tmp_path / "none.json")


def test_settings_of_ours_are_taken_as_they_are(asked: Asked, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text('{"name": "mine", "stages": [{"epochs": 3}, {"encoders": "full", "epochs": 5}]}')
    (train,) = run_of(replace(asked, config=mine))
    assert train[1] == str(mine)
    assert option(train, "--set") == ["name=mine", "stages.1.epochs=5"]


def test_a_config_is_written_once_and_read_again(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert ancestors.main(["--mode", "create_config_file", "--config_dir", str(asked.config)]) == 2
    assert "exists, and is not replaced" in capsys.readouterr().err
    settings, ignored = convert_settings(asked.config)
    assert (settings.name, settings.stages[0].epochs, settings.input.depth) == ("UNet3D_AYXXX2", 2, 19)
    assert any(line.startswith("normalization.ADC_source_min_max: ") for line in ignored)


def test_the_log_tells_what_was_run_and_how_it_ended(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ("settings", "check", "nothing")
    monkeypatch.setattr(modes, "commands", lambda _: iter([(modes.TELL, "look"), wrong, ("settings", "list")]))
    words = ["--mode", "test", "--submode", "a/b", "--data", str(asked.data), "--out", str(asked.out)]
    assert ancestors.main(words) == 2
    (log,) = asked.out.glob("logfile_test_*.txt")
    lines = log.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["look", "strokelens settings check nothing"]
    assert lines[2].startswith("exit code 2, ")
    assert lines[-1].endswith(" h"), "what comes after a wrong command is not run"
    assert "strokelens settings check nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mode", "word"), [("more_info_on_publication_1", "1911.08136"), ("more_info_on_publication_2", "diffgen")]
)
def test_what_the_publications_are_is_told(mode: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ancestors.main(["--mode", mode]) == 0
    assert word in capsys.readouterr().out
