"""What `strokelens predict` keeps, and what it tells of each case: flags, parts, crashes, and whom it never touches."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.encode import write_image, write_segmentation
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.splits import Split, write_split
from strokelens.grid import Grid
from strokelens.model import Card, Model
from strokelens.networks.fusion import Fusion
from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.kinds import Slices
from strokelens.phantom.patient import simulate
from strokelens.phantom.scanner import CtProtocol
from strokelens.prediction import batch as batch_module
from strokelens.prediction.done import key_of
from strokelens.prediction.outputs import predict_case
from tests.commands import Answer
from tests.tiny_models import saved, tiny

Run = Callable[..., Answer]
FIRST, SECOND = "CTP_01_001", "CTP_01_002"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cohort") / "slices"
    plan = Plan(Slices(CtProtocol(matrix=96, slices=4, frames=30)), 2, 1, {"LVO": 1, "Non-LVO": 0, "WIS": 0})
    assert [each.failure for each in write_cohort(place, plan, workers=1)] == [None] * 2
    return place


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny(), tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def cohort(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "slices"))


def told(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "predictions.json").read_text())
    return found


def row(out: Path, case_id: str) -> dict[str, Any]:
    return next(each for each in (*told(out)["cases"], *told(out)["failures"]) if each["id"] == case_id)


def codes(out: Path, case_id: str = FIRST) -> list[str]:
    return [flag["code"] for flag in row(out, case_id)["flags"]]


def pictures(cohort: Path, case_id: str, name: str = "CBF") -> list[Path]:
    return sorted(next((cohort / "patients" / case_id).rglob(name)).glob("*.png"))


def volumes(folder: Path, values: float = 1.0, **names: float) -> Cohort:
    """A cohort of NIfTI maps, one case a name, with a NIHSS where it is told."""
    for name, level in names.items():
        for channel in ("CBF", "Tmax"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            grid = Grid((40, 40, 3), np.diag([3.0, -3.0, 5.0, 1.0]))
            array = np.zeros(grid.shape, np.float32)
            array[8:30, 8:30] = np.random.default_rng(int(level)).uniform(1, 20, (22, 22, 3)) * values
            write_image(folder / name / f"{channel}.nii.gz", array, grid)
    return open_cohort(folder)


def test_another_patient_of_the_same_name_is_predicted_anew(
    run: Run, made: Path, cohort: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("predict", model, made, "-o", out).code == 0
    mask, key = (out / FIRST / "segmentation.nii.gz").read_bytes(), row(out, FIRST)["sha256"]
    for name in ("CBF", "TMAX"):
        for ours, theirs in zip(pictures(cohort, FIRST, name), pictures(cohort, SECOND, name), strict=True):
            shutil.copyfile(theirs, ours)
    answer = run("predict", model, cohort, "-o", out)
    assert (answer.code, "of which 1 were there" in answer.out) == (0, True)
    assert (out / FIRST / "segmentation.nii.gz").read_bytes() != mask
    assert row(out, FIRST)["sha256"] != key


def test_a_mask_whose_scan_can_no_longer_be_read_does_not_stay(
    run: Run, cohort: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("predict", model, cohort, "-o", out).code == 0
    damaged = pictures(cohort, FIRST)[0]
    damaged.write_bytes(damaged.read_bytes()[:60])
    assert run("predict", model, cohort, "-o", out).code == 1
    assert not (out / FIRST).exists()
    assert (row(out, FIRST)["crashed"], damaged.name in row(out, FIRST)["failure"]) == (False, True)


def test_the_key_of_a_case_has_its_clinical_values_where_they_are_seen(cohort: Path) -> None:
    entry = open_cohort(cohort)[FIRST]
    other = type(entry)(**{**vars(entry), "clinical": {**entry.clinical, "nihss": 41}})
    blind, seeing = tiny().recipe, tiny(clinical=["nihss"]).recipe
    assert key_of(entry, blind) == key_of(other, blind)
    assert key_of(entry, seeing) != key_of(other, seeing)


def test_the_part_is_told_of_each_case(run: Run, cohort: Path, model: Path, tmp_path: Path) -> None:
    write_split(tmp_path / "split.json", Split({"train": (FIRST,), "test": (SECOND,)}))
    out = tmp_path / "out"
    for part in ("test", "train"):
        words = ("predict", model, cohort, "-o", out, "--split", tmp_path / "split.json", "--part", part)
        assert run(*words).code == 0
    assert (row(out, FIRST)["part"][:8], row(out, SECOND)["part"][:8]) == ("train of", "test of ")


def test_a_case_that_the_model_was_trained_on_is_told(run: Run, cohort: Path, tmp_path: Path) -> None:
    drawn = Split({"train": (FIRST,), "test": (SECOND,)})
    base = tiny()
    model = Model(base.net, base.settings, Card({"train": 1}, False, drawn.sha256, ""))
    saved(model, tmp_path / "run" / "model")
    write_split(tmp_path / "run" / "split.json", drawn)
    out = tmp_path / "out"
    answer = run("predict", tmp_path / "run", cohort, "-o", out)
    assert (row(out, FIRST)["part_in_training"], row(out, SECOND)["part_in_training"]) == ("train", "test")
    assert f"WARNING: the model was trained on a case of this name: a score on it flatters the model ({FIRST})" in (
        answer.out
    )
    assert ("trained-on" in codes(out), "trained-on" in codes(out, SECOND)) == (True, False)
    write_split(tmp_path / "run" / "split.json", Split({"train": (SECOND,), "test": (FIRST,)}))
    assert run("predict", tmp_path / "run", cohort, "-o", out, "--overwrite").code == 0
    assert row(out, FIRST)["part_in_training"] == "unknown"  # the split is not the one that the card names


def test_flags_of_the_model_and_of_the_case_are_told_and_kept(
    run: Run, cohort: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer = run("predict", model, cohort, "-o", out)
    assert "WARNING: the model was trained on simulated patients only" in answer.out
    assert answer.out.count("WARNING: the model was trained on simulated") == 1
    before = row(out, FIRST)
    assert {"simulated-model", "simulated"} <= set(codes(out))
    assert before["device"] == "cpu"
    answer = run("predict", model, cohort, "-o", out)
    assert "WARNING: the model was trained on simulated patients only" in answer.out
    assert row(out, FIRST) == before


def test_our_bug_is_a_row_of_its_case_with_its_place(
    run: Run, cohort: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def broken(entry: Any, *rest: Any) -> Any:
        if entry.id == FIRST:
            raise KeyError("shape")
        return predict_case(entry, *rest)

    monkeypatch.setattr(batch_module, "predict_case", broken)
    out = tmp_path / "out"
    answer = run("predict", model, cohort, "-o", out)
    assert answer.code == 1
    assert f"{FIRST} ended in KeyError ('shape'), which is our bug" in answer.out
    assert "report it with test_predict_told.py:" in answer.out
    assert row(out, FIRST)["crashed"] is True
    assert (out / SECOND / "segmentation.nii.gz").is_file()
    assert not (out / FIRST).exists()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError("[enforce] DefaultCPUAllocator: no")]
)
def test_want_of_memory_is_one_line_with_its_cure(
    run: Run, cohort: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("strokelens.networks.fusion.Fusion.forward", full)
    out = tmp_path / "out"
    assert run("predict", model, cohort, "-o", out).code == 1
    assert row(out, FIRST)["failure"].startswith("there is no memory left for the network (")
    assert row(out, FIRST)["crashed"] is False
    answer = run("segment", cohort, "--case", FIRST, "-o", tmp_path / "one", "--method", model, "--device", "cpu")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "give a smaller --batch, or --device cpu" in answer.err


def test_a_damaged_truth_costs_the_pictures_of_it_and_nothing_else(
    run: Run, cohort: Path, model: Path, tmp_path: Path
) -> None:
    truth = next(cohort.rglob(f"truth/{FIRST}/02.tiff"))
    truth.write_bytes(truth.read_bytes()[:50])
    out = tmp_path / "out"
    assert run("predict", model, cohort, "-o", out, "--heatmaps").code == 0
    assert ("truth-not-drawn" in codes(out), "truth-not-drawn" in codes(out, SECOND)) == (True, False)
    heat = {path.name for path in (out / FIRST).rglob("*.png")}
    assert heat == {f"{n:02d}_heatmap_{name}.png" for n in (1, 2, 3, 4) for name in ("penumbra", "core")}


def test_a_folder_of_the_users_is_not_removed(run: Run, cohort: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("predict", model, cohort, "-o", out).code == 0
    shutil.rmtree(out / FIRST)
    (out / FIRST).mkdir()
    (out / FIRST / "notes.txt").write_text("dear")
    answer = run("predict", model, cohort, "-o", out)
    assert answer.code == 1
    assert f"{out / FIRST} is not by strokelens predict and is not replaced; move it away" in answer.out
    assert (out / FIRST / "notes.txt").read_text() == "dear"


def test_four_classes_of_maps_on_a_flipped_grid(run: Run, tmp_path: Path) -> None:
    cohort = volumes(tmp_path / "cohort", case_1=1, case_2=2)
    four = saved(tiny(classes=4, form="values"), tmp_path / "four")
    out = tmp_path / "out"
    answer = run("predict", four, cohort.folder, "-o", out)
    assert answer.code == 0, answer.out
    assert set(row(out, "case_1")["volumes_ml"]) == {"core", "penumbra", "hypoperfused"}
    sidecar = json.loads((out / "case_1" / "segmentation.json").read_text())
    assert [label["name"] for label in sidecar["Labels"]] == ["background", "brain", "penumbra", "core"]
    assert sidecar["TrainedOn"] == "trained on 2 simulated patients"
    one = run("segment", cohort.folder, "--case", "case_1", "-o", tmp_path / "one", "--method", four)
    assert one.code == 0, one.err
    found = (tmp_path / "one" / "segmentation.nii.gz").read_bytes()
    assert found == (out / "case_1" / "segmentation.nii.gz").read_bytes()


def test_maps_without_pictures_are_coloured(run: Run, model: Path, tmp_path: Path) -> None:
    cohort = volumes(tmp_path / "cohort", case_1=1)
    assert run("predict", model, cohort.folder, "-o", tmp_path / "out").code == 0
    assert (tmp_path / "out" / "case_1" / "segmentation.nii.gz").is_file()


def test_a_truth_on_another_grid_is_told(run: Run, model: Path, tmp_path: Path) -> None:
    volumes(tmp_path / "cohort", case_1=1)
    grid = Grid((20, 20, 3), np.diag([6.0, -6.0, 5.0, 1.0]))
    truth = simulate(7, protocol=CtProtocol(matrix=64, slices=3, frames=30), motion=False).case.truth
    assert truth is not None
    labels = np.zeros(grid.shape, np.uint8)
    labels[4:8, 4:8] = 1
    write_segmentation(tmp_path / "cohort" / "case_1" / "truth.nii.gz", type(truth)(labels, grid, truth.scheme))
    out = tmp_path / "out"
    assert run("predict", model, tmp_path / "cohort", "-o", out, "--png").code == 0
    assert "truth-not-drawn" in codes(out, "case_1")


def test_segment_tells_what_the_network_was_not_told_and_what_it_was(run: Run, tmp_path: Path) -> None:
    drawn = tiny(clinical=["nihss", "female"])
    assert isinstance(drawn.net, Fusion)
    assert drawn.net.clinical is not None
    with torch.no_grad():
        drawn.net.clinical.spread.weight.mul_(1000)
    seeing = saved(drawn, tmp_path / "seeing")
    folder = volumes(tmp_path / "cohort", case_1=1).folder / "case_1"
    answer = run("segment", folder, "-o", tmp_path / "a", "--method", seeing)
    assert answer.code == 0, answer.err
    assert "note: NIHSS and sex not known to the network" in answer.out
    answer = run("segment", folder, "-o", tmp_path / "b", "--method", seeing, "--nihss", 12, "--sex", "M")
    assert "not known to the network" not in answer.out
    settings = json.loads((tmp_path / "b" / "result.json").read_text())["settings"]
    assert (settings["network_nihss"], settings["network_female"]) == (12, 0)
    assert len(settings["weights_sha256"]) == 64
    masks = [(tmp_path / name / "segmentation.nii.gz").read_bytes() for name in ("a", "b")]
    assert masks[0] != masks[1]


def test_segment_refuses_a_device_that_is_not_there(run: Run, made: Path, model: Path, tmp_path: Path) -> None:
    answer = run("segment", made, "--case", FIRST, "-o", tmp_path / "o", "--method", model, "--device", "gpu")
    assert (answer.code, "no device 'gpu'; give auto, cpu, or the number of a GPU" in answer.err) == (2, True)
