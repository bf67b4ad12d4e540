"""The ancestors' command line: each option reaches the setting, and the whole command goes from maps to a table."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from strokelens.cli.ancestors import arguments, folder_of, main, planned, settings_of
from strokelens.cohorts.splits import Split, write_split
from strokelens.errors import SettingsError
from strokelens.model import load_model
from strokelens.settings.networks import FusionNetwork
from strokelens.settings.reading import read_settings
from strokelens.settings.schema import Settings
from tests.commands import AsAUser
from tests.tiny_cohort import SET, write_tiny_cohort

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_cohort(tmp_path_factory.mktemp("cohort") / "hospital")


def given(*words: str) -> Namespace:
    return arguments().parse_args(["cpu", *words])


def told(*words: str) -> Settings:
    return settings_of(given(*words))


def test_without_options_the_setting_is_as_it_is() -> None:
    assert told("Setting/Mdl_G_PmN.json") == read_settings("Mdl_G_PmN")


def test_published_names_are_known() -> None:
    assert told("Settings/Model_G(PMs,M).json") == read_settings("Mdl_G_PmM")


def test_flags_that_change_nothing_are_accepted() -> None:
    assert told("Baseline", "-v", "-o", "-pm") == read_settings("Baseline")


def test_a_tile_is_a_tile_with_a_quarter_as_stride() -> None:
    assert (told("Baseline", "-t", "128").input.tile, told("Baseline", "-t", "128").input.step) == (128, 32)


def test_a_tile_as_large_as_the_slice_means_whole_slices(tmp_path: Path) -> None:
    assert told("Baseline", "-t", "512", "-dim", "512").input == read_settings("Baseline").input
    mine = tmp_path / "mine.json"
    mine.write_text('{"name": "mine", "input": {"tile": 64, "stride": 32}}')
    assert (told(str(mine), "-t", "256", "-dim", "256").input.tile, told(str(mine), "-t", "128").input.step) == (
        None,
        32,
    )


def test_a_dimension_is_the_side_of_a_slice() -> None:
    assert told("Baseline", "-dim", "256").input.size == 256


@pytest.mark.parametrize(("classes", "weights"), [(2, (0.1, 1.0)), (3, (0.1, 50.0, 440.0)), (4, (0, 0.1, 50.0, 440.0))])
def test_classes_bring_their_published_weights(classes: int, weights: tuple[float, ...]) -> None:
    found = told("Baseline", "-c", str(classes))
    assert (found.input.classes, found.class_weights) == (classes, weights)


def test_other_classes_than_the_setting_has_drop_its_weights(tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text('{"name": "mine", "loss": {"class_weights": [1, 2, 3]}}')
    assert told(str(mine), "-c", "3").class_weights == (1, 2, 3)
    assert told(str(mine), "-c", "2").class_weights == (0.1, 1)


def test_weights_are_those_of_the_loss() -> None:
    assert told("Baseline", "-w", "0.1", "50", "100", "-pm").class_weights == (0.1, 50, 100)


def test_a_jump_leaves_out_the_frozen_stage() -> None:
    assert [stage.encoders for stage in told("Mdl_G_PmN", "-j").stages] == ["full"]


def test_changes_and_weights_of_encoders_pass_through() -> None:
    found = told("Baseline", "--set", "training.batch=8", "--set", "stages.all.epochs=3", "--pretrained", "none")
    assert isinstance(found.network, FusionNetwork)
    assert (found.training.batch, found.stages[0].epochs, found.network.pretrained) == (8, 3, None)


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ((), "SAVE/EXPBaseline"),
        (("-e", "0"), "SAVE/EXPBaseline"),
        (("-e", "99.3"), "SAVE/EXP099.3"),
        (("-e", "100.887"), "SAVE/EXP100.887"),
        (("-e", "7", "--out", "here"), "here/EXP007.0"),
    ],
)
def test_the_folder_is_called_after_the_experiment(words: tuple[str, ...], folder: str) -> None:
    asked = given("Baseline", *words)
    assert folder_of(asked, settings_of(asked)) == Path(folder)


@pytest.mark.parametrize("number", ["-3", "nan", "inf"])
def test_what_is_no_number_of_an_experiment_is_refused(number: str) -> None:
    with pytest.raises(SettingsError, match=rf"-e {number} is no number of an experiment; give one such as 100.887"):
        folder_of(given("Baseline", "-e", number), read_settings("Baseline"))


def test_debugging_takes_five_patients_and_one_who_validates(cohort: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in (cohort / "patients").iterdir())
    path = tmp_path / "split.json"
    write_split(path, Split({"train": tuple(names[:6]), "validation": tuple(names[6:])}))
    words = ("Baseline", "-d", "--data", str(cohort), "--out", str(tmp_path), "--set", f'split.file="{path}"')
    found = planned(given(*words))
    assert found.drawn.parts == {"train": tuple(names[:5]), "validation": (names[6],)}
    assert found.parts == ("validation",)
    assert found.settings[0].split.file == str(tmp_path / "EXPBaseline" / "few.json")


def test_debugging_keeps_those_who_test_only_of_a_split_on_disk(cohort: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in (cohort / "patients").iterdir())
    path = tmp_path / "split.json"
    write_split(path, Split({"train": tuple(names[:4]), "validation": tuple(names[4:6]), "test": tuple(names[6:])}))
    words = ("Baseline", "-d", "--data", str(cohort), "--out", str(tmp_path))
    assert planned(given(*words, "--set", f'split.file="{path}"')).parts == ("validation", "test")
    assert planned(given(*words)).parts == ("validation",)


LINES = [
    (("cpu", "Baseline", "-t", "16"), "input: tile 16 is no multiple of 32 up to 512, the slice's side, which VGG16"),
    (("cpu", "Baseline", "-t", "512", "-dim", "256"), "input: tile 512 is no multiple of 32 up to 256"),
    (("cpu", "Baseline", "-dim", "20"), "input.size: input should be greater than or equal to 32; it is 20"),
    (("cpu", "Baseline", "-c", "2", "-w", "1", "2", "3"), "3 class_weights for 2 classes"),
    (("cpu", "Baseline", "-w", "-1", "2", "3"), "loss.class_weights.0: input should be greater than or equal to 0"),
    (("cpu", "Baseline", "-w", "nan", "2", "3"), "loss.class_weights.0: input should be a finite number"),
    (("cpu", "Baseline", "-c", "5"), "invalid choice: 5"),
    (("cpu", "Baseline", "-j"), "Baseline has one stage; take one with more, such as Mdl_G_Pm, or leave -j out"),
    (("cpu", "Basline"), "no bundled setting 'Basline'; did you mean 'Baseline'?"),
    (("cpu", "Baseline", "--set", "training.bach=3"), "no setting 'bach' in training; did you mean 'batch'?"),
    (("cpu", "Baseline", "--pretrained", "imagnet"), "imagnet"),
    (("cpu", "Baseline", "--data", "nowhere"), "no folder nowhere; give the cohort to train on, as --data COHORT"),
    (("cpu", "Baseline"), "no folder data; give the cohort to train on, as --data COHORT"),
    (("gpu", "Baseline"), "no device 'gpu'; give auto, cpu, cpu:2, or ids of GPUs such as 0 or 0,1"),
    (("0,0", "Baseline"), "no device '0,0'"),
    (("cpu",), "no SNAME after GPU 'cpu'; give a setting, as in: main.py cpu Baseline"),
    (("cpu", "Baseline", "-x"), "unrecognized arguments: -x"),
    (("--mode", "lrp"), "config.json: no such file; `main.py --mode create_config_file` writes one"),
    (("--mode", "trian"), "no mode 'trian'; did you mean 'train'?"),
]


@pytest.mark.parametrize(("words", "message"), LINES, ids=[" ".join(words) for words, _ in LINES])
def test_what_cannot_be_is_one_line_and_exit_code_2(
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cohort: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--pretrained" in words:
        words = (*words, "--data", str(cohort))
    try:
        code: object = main(words)
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr()
    assert (code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert said.err.startswith("main.py: ")
    assert message in said.err


def theirs(name: str, trainable: int, more: str = "", gradual: str = "") -> str:
    """A setting file as the first ancestor had it."""
    return (
        f'{{"EXPERIMENT": 99.3, "root_path": "...", "PATIENTS_TO_TEST": [""...""], "models": [{{"name": "{name}", '
        f'"params": {{"trainable": {trainable}{gradual}, "dropout": {{"mip.1": 0.25}}}}{more}}}]}}'
    )


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        (theirs("PMs_segmentation_NOBatch", 0), "give Baseline, which is bundled and trains the same network"),
        (theirs("PMs", 1, ', "moreinfo": {"mip": 1, "nihss": 1}'), "give Mdl_U_PmMN, "),
        (theirs("PMs", 0, ', "moreinfo": {"mip": 0, "nihss": 1}', ', "gradual_finetuning_solution": {"type": "full"}'),
         "give Mdl_G_PmN, "),
        (theirs("PMs", 0, ', "moreinfo": {"age": 1}'), "give a bundled setting: `strokelens settings list`"),
    ],
    ids=["frozen", "with MIP and NIHSS", "gradual", "with age"],
)  # fmt: skip
def test_a_setting_of_the_ancestors_own_format_names_the_bundled_one(text: str, cure: str, tmp_path: Path) -> None:
    path = tmp_path / "Model.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match="is of the first ancestor's own format, which is not read; ") as error:
        told(str(path))
    assert cure in str(error.value)
    assert "\n" not in str(error.value)


def test_the_whole_command_goes_from_maps_to_a_table(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], as_a_user: AsAUser
) -> None:
    words = ["cpu", "Setting/Mdl_G_PmN.json", "-v", "-pm", "-c", "3", "-e", "100.887", "-j", "--data", str(cohort),
             "--out", str(tmp_path), *SET]  # fmt: skip
    with as_a_user():
        code = main(words)
    said = capsys.readouterr().out
    out = tmp_path / "EXP100.887"
    assert code == 0
    lines = said.splitlines()
    assert lines[0] == "F1 by group"
    assert lines[1].split("  ")[0] == "model"
    for column in ("LVO penumbra", "LVO core", "Non-LVO penumbra", "Non-LVO core", "all penumbra", "all core"):
        assert f"{column}, n = " in lines[1]
    assert lines[2].startswith("Mdl_G_PmN (simulated patients)  ")
    assert lines[3].startswith(f"{out}/tables/tables.md: 4 cases; scored in full: ")
    assert "no evidence about real patients" in lines[3]
    model = load_model(out / "runs" / "Mdl_G_PmN")
    assert [stage.encoders for stage in model.settings.stages] == ["full"]
    drawn = json.loads((out / "runs" / "Mdl_G_PmN" / "split.json").read_text())["parts"]
    predicted = {path.name for path in (out / "predictions" / "Mdl_G_PmN").iterdir() if path.is_dir()}
    assert predicted == {*drawn["validation"], *drawn["test"]}
    one = out / "predictions" / "Mdl_G_PmN" / drawn["test"][0]
    for name in ("01.png", "HEATMAP/01_heatmap_core.png", "GT/01.tiff", "TMP/01.png", "segmentation.nii.gz"):
        assert (one / name).is_file(), name


@pytest.mark.slow
def test_two_classes_are_one_table_of_hypoperfused_tissue(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], as_a_user: AsAUser
) -> None:
    with as_a_user():
        code = main(["cpu", "Baseline", "-c", "2", "-d", "--data", str(cohort), "--out", str(tmp_path), *SET])
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0] == "F1 by group"
    assert "LVO hypoperfused, n = 1" in lines[1]
    assert "core" not in lines[1]


@pytest.mark.slow
def test_main_py_does_the_same_and_goes_on_where_it_was(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], as_a_user: AsAUser
) -> None:
    words = ["cpu", "Baseline", "-d", "--data", str(cohort), "--out", str(tmp_path), *SET]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "main.py"), "cpu:2", *words[1:]]  # the second process only helps to train
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert f"{tmp_path}/EXPBaseline/tables/tables.md: 1 case; scored in full" in finished.stdout
    with as_a_user():
        assert main(words) == 0
        assert capsys.readouterr().out == finished.stdout
        assert main([*words, "-w", "1", "2", "3"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "was begun with other settings of 'loss'" in said


@pytest.mark.parametrize("words", [(), ("--mode", "info")])
def test_the_usage_is_the_ancestors(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: main.py GPU SNAME [-v] [-d] [-o] [-pm] [-t TILE] [-dim DIMENSION] [-c {2,3,4}]")
    assert "not a medical device" in said


WITHOUT_TORCH = """
import sys

class WithoutTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name=name)

sys.meta_path.insert(0, WithoutTorch())
"""


@pytest.mark.parametrize(
    ("program", "call"),
    [
        ("main.py", "from strokelens.cli.ancestors import main; sys.exit(main(['cpu', 'Baseline']))"),
        ("strokelens", "from strokelens.cli import app; app(['train', 'Baseline', '--data', '.', '-o', 'run'])"),
    ],
)
def test_where_torch_is_not_installed_one_line_tells_how(program: str, call: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH + call]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == (
        f"{program}: networks need torch, which is not installed; run: pip install -c constraints.txt '.[networks]'\n"
    )
