"""Where a training writes and what it reads there again: what is somebody else's stays, and what is damaged is told."""

import json
import shutil
from pathlib import Path

import pytest

from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.splits import Split, write_split
from strokelens.errors import FileError, OutputError, SettingsError, TrainingError
from strokelens.model import load_model
from strokelens.settings.changing import changed
from strokelens.settings.reading import parse_settings, read_settings
from strokelens.settings.schema import Settings
from strokelens.training.course import train
from strokelens.training.machine import Machine
from tests.tiny_cohort import SMALL, write_tiny_cohort

CPU = Machine("cpu", 1)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return open_cohort(write_tiny_cohort(tmp_path_factory.mktemp("cohort") / "hospital", cases=4))


@pytest.fixture(scope="module")
def settings(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    names = [entry.id for entry in cohort]
    path = tmp_path_factory.mktemp("split") / "split.json"
    write_split(path, Split({"train": tuple(names[1:]), "validation": (names[0],), "test": ()}))
    return changed(read_settings("Baseline"), [*SMALL, f"split.file={path}"])


@pytest.fixture(scope="module")
def finished(cohort: Cohort, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train(settings, cohort, out, machine=CPU, workers=1)
    return out


def test_a_folder_that_holds_something_else_stays_as_it_is(cohort: Cohort, settings: Settings, tmp_path: Path) -> None:
    theirs = tmp_path / "history.csv"
    theirs.write_text("mine")
    with pytest.raises(TrainingError, match=r"holds history\.csv and no run; give a new or an empty folder"):
        train(settings, cohort, tmp_path, machine=CPU, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]
    assert theirs.read_text() == "mine"


def test_the_cohort_stays_as_it_is(cohort: Cohort, settings: Settings) -> None:
    before = sorted(cohort.folder.rglob("*"))
    with pytest.raises(OutputError, match="is or holds the input"):
        train(settings, cohort, cohort.folder, machine=CPU, workers=1)
    assert sorted(cohort.folder.rglob("*")) == before


def test_a_file_in_the_place_of_the_folder_is_told(cohort: Cohort, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(TrainingError, match="out is a file; give a folder"):
        train(settings, cohort, tmp_path / "out", machine=CPU, workers=1)
    with pytest.raises(OutputError, match="out/run would lie inside a file"):
        train(settings, cohort, tmp_path / "out" / "run", machine=CPU, workers=1)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux has /proc, where nobody makes a folder")
def test_a_place_where_no_folder_can_be_is_told(cohort: Cohort, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="/proc/nowhere/run cannot be written here; give another folder"):
        train(settings, cohort, Path("/proc/nowhere/run"), machine=CPU, workers=1)
    with pytest.raises(OutputError, match="/proc/nowhere cannot be written here"):
        train(settings, cohort, tmp_path / "run", machine=CPU, workers=1, cache=Path("/proc/nowhere"))


def unfinished(run: Path, to: Path) -> Path:
    """A copy of a run that ended within its first stage."""
    shutil.copytree(run, to)
    shutil.rmtree(to / "model")
    about = json.loads((to / "run.json").read_text())
    (to / "run.json").write_text(json.dumps(about | {"finished": False}))
    return to


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 torn"], ids=["empty", "text", "torn"])
@pytest.mark.parametrize("name", ["last.ckpt", "best.safetensors", "done.json"])
def test_a_damaged_file_of_a_stage_is_told(
    cohort: Cohort, settings: Settings, finished: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    run = unfinished(finished, tmp_path / "run")
    stage = run / "stages" / "1"
    if name == "last.ckpt":
        (stage / "done.json").unlink()
    (stage / name).write_bytes(content)
    with pytest.raises(TrainingError, match=rf"{name} is damaged; remove .*stages/1 to begin that stage anew"):
        train(settings, cohort, run, machine=CPU, workers=1, resume=True)


def test_a_run_that_lacks_a_part_of_what_it_tells_is_refused(
    cohort: Cohort, settings: Settings, finished: Path, tmp_path: Path
) -> None:
    run = unfinished(finished, tmp_path / "run")
    about = json.loads((run / "run.json").read_text())
    del about["refused"]
    (run / "run.json").write_text(json.dumps(about))
    with pytest.raises(TrainingError, match=r"run\.json is no whole run; give another folder"):
        train(settings, cohort, run, machine=CPU, workers=1, resume=True)


def test_weights_with_a_changed_byte_are_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "model", tmp_path / "model")
    assert load_model(tmp_path / "model").name == "Baseline (simulated patients)"
    path = tmp_path / "model" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match="does not fit its card: its SHA-256 is another"):
        load_model(tmp_path / "model")


def test_a_map_that_no_case_has_is_told_before_anything_is_written(
    cohort: Cohort, settings: Settings, tmp_path: Path
) -> None:
    other = changed(settings, ['input.maps=["CBF","Tmx"]'])
    with pytest.raises(SettingsError, match=r"Baseline: no case of .*hospital has Tmx; did you mean 'Tmax'"):
        train(other, cohort, tmp_path / "run", machine=CPU, workers=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("change", ["loss.gamma=Infinity", "optimizer.l2=1e999", "loss.class_weights=[Infinity,1,1]"])
def test_a_setting_that_is_infinite_is_refused(settings: Settings, change: str) -> None:
    with pytest.raises(SettingsError, match="finite number"):
        changed(settings, [change])


def test_a_name_that_is_told_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="'training' is told twice"):
        parse_settings('{"name": "a", "training": {"batch": 9}, "training": {"seed": 3}}', "mine.json")


@pytest.mark.parametrize(("validation", "test"), [(0.0, 0.2), (0.6, 0.4)])
def test_a_split_that_leaves_nobody_is_refused(settings: Settings, validation: float, test: float) -> None:
    with pytest.raises(SettingsError, match="leave nobody to train or to say when to stop"):
        changed(settings, ["split.file=null", f"split.validation={validation}", f"split.test={test}"])
