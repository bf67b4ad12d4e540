"""The second ancestor's modes as data: which verbs each stands for; and what main.py says of what there is not."""

import json
import math
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strokelens.case import Case
from strokelens.cli import ancestors, lrp, modes
from strokelens.cli.asked import Asked, Command
from strokelens.cli.modes import commands
from strokelens.cohorts.isles2017 import write_case, write_tables
from strokelens.cohorts.splits import read_split
from strokelens.errors import SettingsError
from strokelens.explain.filters import Clamp, Pass, Standard, filter_named
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
        (
            {"mode": "shortcut_sequence", "shortcut": "full_sequence_0002", "submode": "BS3"},
            ["train", "epochs", "explain"],
        ),
        (
            {"mode": "shortcut_sequence", "shortcut": "full_sequence_0000"},
            ["train"] * 2 + ["epochs"] + ["predict", "submit"] * 2 + ["explain"],
        ),
        (
            {"mode": "shortcut_sequence", "shortcut": "full_sequence_0001", "submode": "AYp1"},
            ["train"] * 2 + ["epochs", "explain"],
        ),
        ({"mode": "shortcut_sequence", "shortcut": "full_sequence_0003"}, ["explain"] * 2),
        ({"mode": "lrp"}, ["explain"]),
        ({"mode": "visual", "submode": "lrp_UNet3D_overfit_visualizer"}, ["explain"]),
        ({"mode": "visual", "submode": "lrp_UNet3D_filter_sweep_0003_visualizer"}, ["explain"]),
        (
            {"mode": "results_publication_1", "submode": "example_process_get_main_figure"},
            ["train", "epochs", "predict", "evaluate", "explain", "explain"],
        ),
        (
            {"mode": "results_publication_1", "submode": "example_process_get_filters_comparison_figure"},
            ["train", "epochs", "predict", "evaluate", "explain"] * 3,
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
        ({"mode": "visual", "submode": "lrp_UNet3D_overfit"}, "did you mean 'lrp_UNet3D_overfit_visualizer'"),
        ({"mode": "evaluation", "submode": "UNet3D_overfitt"}, "did you mean 'UNet3D_overfit'"),
        (
            {"mode": "evaluation", "submode": "UNet3D_test_dilution"},
            "needs a --submode: UNet3D_overfit_compare_diffgen",
        ),
        ({"mode": "visual", "submode": "diffgen_0002", "subsubmode": "9"}, "give 0001, 0002 or 0003"),
        ({"mode": "shortcut_sequence", "shortcut": "diff_gen_shortcut", "submode": "0001.Q021"}, "give size X or S"),
        ({"mode": "shortcut_sequence", "shortcut": "diff_gen_shortcut", "submode": "0004.X"}, "give 0001.ABCD such as"),
        ({"mode": "shortcut_sequence", "shortcut": "full_sequence_0001"}, "give size A, B, C or X, a filter"),
        (
            {"mode": "shortcut_sequence", "shortcut": "full_sequence_0001", "submode": "AQp1"},
            "a filter of XX, Yp, Zp, Lp, Hp, Yc, Zc, Lc, Hc, a number",
        ),
        ({"mode": "shortcut_sequence", "shortcut": "full_sequence_0004"}, "full_sequence_000"),
        ({"mode": "shortcut_sequence", "shortcut": "full_sequence_0002", "submode": "Q"}, "give size A, B, C or X"),
        ({"mode": "results_publication_1"}, "example_process_get_main_figure"),
    ],
)
def test_what_there_is_not_is_one_line(asked: Asked, told: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        verbs(asked, **told)
    assert "\n" not in str(caught.value)


def changed_config(asked: Asked, **told: Any) -> Asked:
    """The same with other values at the top of its config, in `LRP` and in `misc`, whose sections are joined."""
    config = json.loads(asked.config.read_text())
    for name, value in told.items():
        config[name] = config[name] | value if isinstance(value, dict) else value
    path = asked.config.with_name("changed.json")
    path.write_text(json.dumps(config))
    return replace(asked, config=path)


def test_relevance_is_asked_by_the_ancestors_rules_of_the_cases_with_truth(asked: Asked) -> None:
    (explain,) = run_of(asked, mode="lrp", device="cpu")
    place = asked.out / "UNet3D_AYXXX2"
    assert explain[:3] == ("explain", str(place / "run"), str(asked.data))
    assert option(explain, "-o") == [str(place / "lrp_raw")]
    assert option(explain, "--split") == [str(place / "kinds.json")]
    assert option(explain, "--part") == ["train"]
    assert option(explain, "--composite") == ["legacy-head"]
    assert option(explain, "--target") == ["output"]
    assert option(explain, "--device") == ["cpu"]
    assert option(explain, "--filter") == ["raw"]
    assert option(explain, "--keep") == ["all"]
    assert {"--everywhere", "--sweep"} <= set(explain)


def with_factors(told: Any) -> dict[str, Any]:
    return {"LRP": {"relprop_config": {"UNet3D": {"concat_factors": told}}}}


def test_the_shares_of_skips_are_those_of_the_config(asked: Asked) -> None:
    (explain,) = run_of(changed_config(asked, **with_factors([0.2, 0.5, 1])), mode="lrp")
    assert option(explain, "--composite") == ["legacy-head:0.2:0.5:1"]
    assert option(explain, "-o")[0].endswith("lrp_raw_0.2_0.5_1")  # beside what other shares made


def test_shares_are_told_to_the_last_digit(asked: Asked) -> None:
    (explain,) = run_of(changed_config(asked, **with_factors([1 / 3, 0.5, 0])), mode="lrp")
    assert option(explain, "--composite") == ["legacy-head:0.3333333333333333:0.5:0"]


@pytest.mark.parametrize("told", [0.5, [True, False, 0.5], ["0.5"], [math.nan, 0.5, 0.5]])
def test_shares_that_are_none_are_refused(asked: Asked, told: Any) -> None:
    with pytest.raises(SettingsError, match=r"^concat_factors is .*; give a share of each skip"):
        run_of(changed_config(asked, **with_factors(told)), mode="lrp")


@pytest.mark.parametrize("told", ["x", ["x"], 5, None, [None], [1.5], [True], [math.inf]])
def test_cases_that_are_no_numbers_are_refused(asked: Asked, told: Any) -> None:
    sweeper = {"LRP": {"filter_sweeper": {"case_numbers": told}}}
    with pytest.raises(SettingsError, match=r"^case_numbers is .*; give the numbers of cases, as \[1, 2, 4"):
        run_of(changed_config(asked, **sweeper), mode="lrp", submode="0001")


def test_a_sweep_of_a_model_that_was_trained_since_begins_anew(asked: Asked) -> None:
    place = asked.out / "UNet3D_AYXXX2"
    swept, model = place / "lrp_raw" / "sweep.json", place / "run" / "model"
    for path in (model / "card.json", model / "weights.safetensors", swept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
    swept.write_text(json.dumps({"recipe": {"models": [sha256(b"weights").hexdigest()]}}))
    assert "--overwrite" not in run_of(asked, mode="lrp")[0]
    (model / "weights.safetensors").write_bytes(b"other weights")
    assert "--overwrite" in run_of(asked, mode="lrp")[0]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"normalization": "standard"}, "standard"),
        (
            {
                "normalization": "fraction_pass_filter",
                "fraction_pass_filter": {"positive": [0, 0.6], "negative": [-0.6, 0]},
            },
            "pass:0:0.6:-0.6:0",
        ),
        (
            {
                "normalization": "fraction_clamp_filter",
                "fraction_clamp_filter": {"positive": [0.2, 1], "negative": [-0.5, -0.1]},
            },
            "clamp:0.2:1:-0.5:-0.1",
        ),
    ],
)
def test_the_normalization_of_the_config_is_a_filter(asked: Asked, settings: dict[str, Any], word: str) -> None:
    (explain,) = run_of(changed_config(asked, LRP={"relprop_config": settings}), mode="lrp")
    assert option(explain, "--filter") == [word]
    assert filter_named(word) in (Standard(), Pass.mirrored(0, 0.6), Clamp((0.2, 1), (-0.5, -0.1)))
    assert option(explain, "-o")[0].endswith("lrp_" + word.replace(":", "_"))


@pytest.mark.parametrize("submode", ["0001", "0002", "0003"])
def test_each_submode_of_the_filter_sweeper_is_the_sweep_whose_maps_the_config_keeps(
    asked: Asked, submode: str
) -> None:
    sweeping = changed_config(asked, lrp_mode="lrp_UNet3D_filter_sweeper")
    (explain,) = run_of(sweeping, mode="lrp", submode=submode)
    assert option(explain, "-o") == [str(asked.out / "UNet3D_AYXXX2" / "lrp_filter_sweep")]
    assert option(explain, "--keep") == ["training_4", "training_27"]
    assert "--filter" not in explain
    assert "--sweep" in explain


def test_without_a_submode_the_configs_sweep_is_made(asked: Asked) -> None:
    told = {"filter_sweeper": {"submode": "0002"}}
    (explain,) = run_of(changed_config(asked, lrp_mode="lrp_UNet3D_filter_sweeper", LRP=told), mode="lrp")
    assert option(explain, "--keep") == [f"training_{number}" for number in lrp.KEPT]


@pytest.mark.parametrize(
    ("told", "submode", "message"),
    [
        ({"lrp_mode": "lrp_UNet3D_overfitt"}, "", "no lrp_mode 'lrp_UNet3D_overfitt'; did you mean 'lrp_UNet3D_over"),
        ({"lrp_mode": "lrp_UNet3D_filter_sweeper"}, "0004", "no submode '0004' of the filter sweep; give 0001, 0002, "),
        ({"LRP": {"relprop_config": {"normalization": "standart"}}}, "", "did you mean 'standard'"),
        ({"LRP": {"relprop_config": 3}}, "", "relprop_config of the config is no object"),
        (
            {"LRP": {"relprop_config": {"normalization": "fraction_pass_filter"}}},
            "",
            "fraction_pass_filter needs positive and negative, each as",
        ),
        (
            {
                "LRP": {
                    "relprop_config": {
                        "normalization": "fraction_pass_filter",
                        "fraction_pass_filter": {"positive": [0], "negative": [-1, 0]},
                    }
                }
            },
            "",
            "each as",
        ),
    ],
)
def test_what_the_config_says_wrong_of_relevance_is_one_line(
    asked: Asked, told: dict[str, Any], submode: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        run_of(changed_config(asked, **told), mode="lrp", submode=submode)
    assert "\n" not in str(caught.value)


def test_the_viewer_of_one_case_is_its_figures_without_a_filter(asked: Asked) -> None:
    (explain,) = run_of(asked, mode="visual", submode="lrp_UNet3D_overfit_visualizer", case_number="2")
    assert option(explain, "--case") == ["training_2"]
    assert option(explain, "-o") == [str(asked.out / "UNet3D_AYXXX2" / "figures" / "lrp_training_2")]
    assert option(explain, "--filter") == []
    assert "--overwrite" in explain
    assert "--sweep" not in explain


def test_the_viewer_of_filters_shows_the_configs_case_with_those_of_the_publication(asked: Asked) -> None:
    changed = changed_config(asked, misc={"case_number": 7})
    (explain,) = run_of(changed, mode="visual", submode="lrp_UNet3D_filter_sweep_visualizer")
    assert option(explain, "--case") == ["training_7"]
    assert option(explain, "--filter") == ["pass:0:0.4", "clamp:0:0.2"]


def test_the_viewers_of_statistics_are_the_sweep_that_is_there(asked: Asked) -> None:
    sweeping = changed_config(asked, lrp_mode="lrp_UNet3D_filter_sweeper")
    (sweep,) = run_of(sweeping, mode="lrp")
    for name in ("lrp_UNet3D_filter_sweep_0002_visualizer", "lrp_UNet3D_filter_sweep_0003_visualizer"):
        (viewed,) = run_of(sweeping, mode="visual", submode=name)
        assert option(viewed, "-o") == option(sweep, "-o")
        assert option(viewed, "--keep") == []


@pytest.mark.parametrize(("letters", "word"), lrp.CODES.items())
def test_the_letters_of_the_second_sequence_are_filters(asked: Asked, letters: str, word: str) -> None:
    told = {"mode": "shortcut_sequence", "shortcut": "full_sequence_0001", "submode": f"B{letters}3"}
    train, *_, explain = run_of(asked, **told)
    assert option(train, "--set")[:2] == [f"name=UNet3D_B{letters}XX3", "input.size=96"]
    assert option(explain, "--filter") == [word]
    assert explain[1] == str(asked.out / f"UNet3D_B{letters}XX3" / "run")


def test_the_third_sequence_keeps_maps_where_its_code_says_so(asked: Asked) -> None:
    told = {"mode": "shortcut_sequence", "shortcut": "full_sequence_0002"}
    kept, lost = (option(run_of(asked, **told, submode=code)[-1], "--keep") for code in ("BS3", "BX3"))
    assert kept == [f"training_{number}" for number in lrp.KEPT]
    assert lost == []


def test_the_fourth_sequence_sweeps_two_models_that_are_there(asked: Asked) -> None:
    first, second = run_of(asked, mode="shortcut_sequence", shortcut="full_sequence_0003")
    assert [explain[1] for explain in (first, second)] == [
        str(asked.out / f"UNet3D_XXXXS{number}" / "run") for number in (5, 6)
    ]


def test_the_first_publication_ends_with_the_panels_of_its_case(asked: Asked) -> None:
    told = {"mode": "results_publication_1", "submode": "example_process_get_main_figure"}
    *_, sweep, viewed = run_of(asked, **told)
    assert "--sweep" in sweep
    assert option(viewed, "--case") == ["training_27"]
    assert option(viewed, "--filter") == list(lrp.FIGURE)
    assert option(run_of(asked, **told, case_number="2")[-1], "--case") == ["training_2"]


def test_its_comparison_of_filters_has_the_sweeps_beside_each_other(asked: Asked) -> None:
    told = {"mode": "results_publication_1", "submode": "example_process_get_filters_comparison_figure"}
    sweeps = [command for command in run_of(asked, **told) if command[0] == "explain"]
    places = [option(each, "-o")[0] for each in sweeps]
    assert [option(each, "--beside") for each in sweeps] == [[], places[:1], places[:2]]


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
