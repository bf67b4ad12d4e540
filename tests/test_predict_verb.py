"""`strokelens predict` as a user meets it: what it writes, what `evaluate` reads, how it goes on, what it refuses."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from strokelens.cohorts.encode import write_image, write_segmentation
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.nifti import read_segmentation
from strokelens.cohorts.splits import split, write_split
from strokelens.grid import radiological
from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.kinds import Slices as Pictures
from strokelens.phantom.patient import simulate
from strokelens.phantom.scanner import CtProtocol
from strokelens.prediction.samples import sample_of
from tests.commands import Answer
from tests.tiny_models import saved, tiny

Run = Callable[..., Answer]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cohort") / "slices"
    plan = Plan(Pictures(CtProtocol(matrix=96, slices=5, frames=30)), 3, 0, {"LVO": 1, "Non-LVO": 0, "WIS": 0})
    assert [made.failure for made in write_cohort(place, plan, workers=1)] == [None] * 3
    return place


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny(), tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny(seed=2, name="other"), tmp_path_factory.mktemp("models") / "other")


IDS = ["CTP_01_001", "CTP_01_002", "CTP_01_003"]


def told(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "predictions.json").read_text())
    return found


def times(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in sorted(out.glob("*/*.nii.gz"))}


def rows_of(scores: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((scores / "cases.csv").read_text(encoding="utf-8").splitlines()))


def test_every_case_gets_a_segmentation_that_evaluate_reads(
    run: Run, cohort: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer = run("predict", model, cohort, "-o", out, "--probabilities", "--uncertainty")
    assert answer.code == 0
    assert answer.out.endswith(
        "3 of 3 cases predicted by tiny (simulated patients). Research use only; not a medical device.\n"
    )
    assert sorted(path.name for path in out.iterdir()) == [*IDS, "predictions.json"]
    files = {path.name for path in (out / IDS[0]).iterdir() if path.suffix == ".gz"}
    assert files == {"segmentation.nii.gz", "entropy.nii.gz", "prob_penumbra.nii.gz", "prob_core.nii.gz"}
    record = told(out)
    assert record["models"][0]["trained_on"] == "trained on 2 simulated patients"
    assert [row["id"] for row in record["cases"]] == IDS
    case = record["cases"][0]
    entry = open_cohort(cohort)[IDS[0]]
    found = read_segmentation(
        out / IDS[0] / "segmentation.nii.gz", tiny().scheme, sample_of(entry, tiny().recipe).case.grid
    )
    assert case["volumes_ml"] == pytest.approx(
        {
            "core": found.volume_ml("core"),
            "penumbra": found.volume_ml("penumbra"),
            "hypoperfused": found.volume_ml("core", "penumbra"),
        }
    )
    scores = run("evaluate", out, cohort, "-o", tmp_path / "scores")
    assert scores.code == 0, scores.out
    evaluation = json.loads((tmp_path / "scores" / "evaluation.json").read_text())
    assert "expected_calibration_error" in (tmp_path / "scores" / "cases.csv").read_text()
    assert evaluation


def test_a_perfect_prediction_written_as_predict_writes_scores_one(run: Run, cohort: Path, tmp_path: Path) -> None:
    for entry in open_cohort(cohort):
        truth = entry.read_truth().truth
        assert truth is not None
        labels = truth.scheme.merge(truth.labels, tiny().scheme)
        (tmp_path / "out" / entry.id).mkdir(parents=True)
        place = tmp_path / "out" / entry.id / "segmentation.nii.gz"
        write_segmentation(place, type(truth)(labels, truth.grid, tiny().scheme))
    assert run("evaluate", tmp_path / "out", cohort, "-o", tmp_path / "scores").code == 0
    rows = (tmp_path / "scores" / "cases.csv").read_text().splitlines()
    head = rows[0].split(",")
    found = {(row.split(",")[head.index("class")], row.split(",")[head.index("dice")]) for row in rows[1:]}
    assert {dice for _, dice in found} <= {"1", ""}
    assert ("hypoperfused", "1") in found


def test_pictures_are_the_ancestors_and_evaluate_reads_their_grey(
    run: Run, cohort: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("predict", model, cohort, "-o", out, "--png").code == 0
    folder = out / IDS[1]
    names = {str(path.relative_to(folder)) for path in folder.rglob("*.*") if "nii" not in path.name}
    wanted = {f"{n:02d}.png" for n in range(1, 6)} | {f"GT/{n:02d}.tiff" for n in range(1, 6)}
    wanted |= {f"TMP/{n:02d}.png" for n in range(1, 6)}
    wanted |= {f"HEATMAP/{n:02d}_heatmap_{name}.png" for n in range(1, 6) for name in ("penumbra", "core")}
    assert names == wanted | {"segmentation.json"}
    truth = next(cohort.rglob(f"truth/{IDS[1]}/02.tiff"))
    assert np.array_equal(np.asarray(Image.open(folder / "GT" / "02.tiff")), np.asarray(Image.open(truth)))
    grid = open_cohort(cohort)[IDS[1]].read(channels=["CBF"]).grid
    found = read_segmentation(folder / "segmentation.nii.gz", tiny().scheme, grid)
    grey = np.asarray(Image.open(folder / "02.png"))
    assert np.array_equal(grey, tiny().scheme.to_grey(radiological(found.labels, grid)[:, :, 1].T))
    before = run("evaluate", out, cohort, "-o", tmp_path / "a", "--name", "m")
    for each in out.glob("*/segmentation.*"):
        each.unlink()
    after = run("evaluate", out, cohort, "-o", tmp_path / "b", "--name", "m")
    assert before.code == after.code == 0, after.out
    assert (tmp_path / "a" / "cases.csv").read_text() == (tmp_path / "b" / "cases.csv").read_text()


def test_it_goes_on_where_it_stopped(run: Run, cohort: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("predict", model, cohort, "-o", out).code == 0
    before = times(out)
    shutil.rmtree(out / IDS[2])
    answer = run("predict", model, cohort, "-o", out)
    assert answer.code == 0
    assert "of which 2 were there" in answer.out
    after = times(out)
    assert {name: after[name] for name in before if IDS[2] not in name} == {
        name: before[name] for name in before if IDS[2] not in name
    }
    assert after.keys() == before.keys()


def test_other_options_or_models_are_refused_unless_it_begins_anew(
    run: Run, cohort: Path, model: Path, other: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("predict", model, cohort, "-o", out).code == 0
    refusals: dict[str, tuple[object, ...]] = {
        r"with another option \(mirrored False, now True\)": ("--mirrored",),
        r"with another option \(probabilities False, now True\)": ("--probabilities",),
        "of another model": ("--also", other),
    }
    for message, more in refusals.items():
        answer = run("predict", model, cohort, "-o", out, *more)
        assert answer.code == 2
        told_of = f"out holds predictions {message}; give another folder, or --overwrite to replace them"
        assert re.search(told_of, answer.err)
    assert run("predict", model, cohort, "-o", out, "--also", other, "--overwrite").code == 0
    assert len(told(out)["models"]) == 2


def test_a_folder_of_somebody_else_is_never_touched(run: Run, cohort: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    answer = run("predict", model, cohort, "-o", tmp_path / "out", "--overwrite")
    assert answer.code == 2
    assert "has no predictions.json by strokelens and is not replaced" in answer.err
    assert run("predict", model, cohort, "-o", cohort, "--overwrite").code == 2


def test_a_case_without_a_map_is_a_row_and_the_others_are_done(
    run: Run, cohort: Path, model: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "slices"
    shutil.copytree(cohort, copy)
    shutil.rmtree(next(copy.rglob(f"{IDS[1]}/no_date/TMAX")))
    out = tmp_path / "out"
    answer = run("predict", model, copy, "-o", out)
    assert answer.code == 1
    assert f"{IDS[1]}: {IDS[1]} has no Tmax, which the network sees, but" in answer.out
    assert sorted(path.name for path in out.iterdir()) == [IDS[0], IDS[2], "predictions.json"]
    (failure,) = told(out)["failures"]
    assert failure["id"] == IDS[1]
    assert run("predict", model, copy, "-o", out, "--strict").code == 2


def test_a_part_of_a_split_is_predicted(run: Run, cohort: Path, model: Path, tmp_path: Path) -> None:
    write_split(tmp_path / "split.json", split(open_cohort(cohort), validation=0, test=0.34, seed=1))
    out = tmp_path / "out"
    options = ("--split", tmp_path / "split.json", "--part", "test")
    assert run("predict", model, cohort, "-o", out, *options).code == 0
    assert len(times(out)) == 1
    answer = run("predict", model, cohort, "-o", out, *options[:2])
    assert answer.code == 2
    assert "--part is missing" in answer.err


def test_members_are_averaged_and_their_disagreement_is_written(
    run: Run, cohort: Path, model: Path, other: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("--also", other, "--mirrored", "--dropout", 2, "--uncertainty", "--json")
    answer = run("predict", model, cohort, "-o", out, *words)
    assert answer.code == 0
    printed = json.loads(answer.out)
    assert printed == told(out)
    assert printed["recipe"]["options"]["dropout_samples"] == 2
    names = {path.name for path in (out / IDS[0]).glob("*.nii.gz")}
    assert {"mutual_information.nii.gz", "deviation_penumbra.nii.gz", "deviation_core.nii.gz"} <= names


def test_what_is_no_model_is_one_line(run: Run, cohort: Path, model: Path, tmp_path: Path) -> None:
    answer = run("predict", cohort, cohort, "-o", tmp_path / "out")
    assert answer.code == 2
    assert "is no model by strokelens; give the folder `model`" in answer.err
    wider = saved(tiny(classes=2), tmp_path / "wider")
    answer = run("predict", model, cohort, "-o", tmp_path / "out", "--also", wider)
    assert answer.code == 2
    assert "models of different recipes cannot be averaged" in answer.err
    assert not (tmp_path / "out").exists()


def test_a_legacy_model_draws_the_ancestors_grey(run: Run, cohort: Path, tmp_path: Path) -> None:
    old = saved(tiny(legacy=True), tmp_path / "old")
    out = tmp_path / "out"
    assert run("predict", old, cohort, "-o", out, "--png").code == 0
    grey = np.unique([np.asarray(Image.open(path)) for path in (out / IDS[0]).glob("*.png")])
    assert set(grey.tolist()) <= {0, 42, 85, 128, 170, 255}
    for each in out.glob("*/segmentation.*"):
        each.unlink()
    assert run("evaluate", out, cohort, "-o", tmp_path / "scores").code == 0


def segment_words(cohort: Path, model: Path, out: Path) -> tuple[object, ...]:
    return ("segment", cohort, "--case", IDS[0], "-o", out, "--method", model)


def test_segment_by_a_model_writes_what_thresholds_write_and_finds_what_predict_finds(
    run: Run, cohort: Path, model: Path, tmp_path: Path
) -> None:
    answer = run(*segment_words(cohort, model, tmp_path / "one"))
    assert answer.code == 0, answer.err
    assert "WARNING: the model was trained on simulated patients only" in answer.out
    names = {str(path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert {"segmentation.nii.gz", "result.json", "overlay.png", "report.html", "maps/Tmax.nii.gz"} <= names
    result = json.loads((tmp_path / "one" / "result.json").read_text())
    assert result["method"]["name"] == "network:tiny"
    assert "trained on 2 simulated patients" in result["method"]["description"]
    assert result["mismatch"]["core_ml"] == result["volumes_ml"]["core"]
    assert {"code": "simulated-model", "grave": True}.items() <= {
        key: value for flag in result["flags"] if flag["code"] == "simulated-model" for key, value in flag.items()
    }.items()
    assert run("predict", model, cohort, "-o", tmp_path / "all").code == 0
    one, all_ = (
        (folder / "segmentation.nii.gz").read_bytes() for folder in (tmp_path / "one", tmp_path / "all" / IDS[0])
    )
    assert one == all_


def test_segment_by_a_model_of_a_series_makes_its_maps_first(run: Run, tmp_path: Path) -> None:
    patient = simulate(7, protocol=CtProtocol(matrix=64, slices=4), motion=False)
    write_image(tmp_path / "ctp.nii.gz", patient.case["CTP"], patient.case.grid, unit="HU", time_s=patient.case.time_s)
    three = saved(tiny(form="values", maps=["CBF", "Tmax", "MIP"], classes=2), tmp_path / "three")
    answer = run("segment", tmp_path / "ctp.nii.gz", "-o", tmp_path / "out", "--method", three)
    assert answer.code == 0, answer.err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert list(result["volumes_ml"]) == ["hypoperfused"]
    assert {"other-scale", "flow-calibration"}.isdisjoint(flag["code"] for flag in result["flags"])
    assert result["mismatch"] is None
    assert result["vessels"] is not None
    answer = run(
        "segment", tmp_path / "ctp.nii.gz", "-o", tmp_path / "no", "--method", saved(tiny(maps=["ADC"]), tmp_path / "m")
    )
    assert answer.code == 2
    assert "has no ADC, which the network sees, but" in answer.err


def test_two_classes_are_hypoperfused_tissue_and_scored_as_penumbra_and_core_together(
    run: Run, cohort: Path, tmp_path: Path
) -> None:
    two, out = saved(tiny(classes=2), tmp_path / "two"), tmp_path / "out"
    assert run("predict", two, cohort, "-o", out, "--probabilities", "--png").code == 0
    assert [list(row["volumes_ml"]) for row in told(out)["cases"]] == [["hypoperfused"]] * 3
    entry = open_cohort(cohort)[IDS[0]]
    truth = entry.read_truth().truth
    assert truth is not None
    found = read_segmentation(out / IDS[0] / "segmentation.nii.gz", two_classes := tiny(classes=2).scheme, truth.grid)
    assert two_classes.names == ("background", "hypoperfused")
    both, mine = truth.mask("penumbra", "core"), found.mask("hypoperfused")
    wanted = 2 * (both & mine).sum() / (both.sum() + mine.sum())
    assert run("evaluate", out, cohort, "-o", tmp_path / "scores").code == 0
    rows = rows_of(tmp_path / "scores")
    assert [row["class"] for row in rows] == ["hypoperfused"] * 3
    assert float(rows[0]["dice"]) == pytest.approx(wanted, abs=1e-5)
    assert rows[0]["brier"]
    assert "hypoperfused" in (tmp_path / "scores" / "tables.md").read_text().split("## Scores")[0]
    for each in out.glob("*/*.nii.gz"):
        each.unlink()
    words = ("evaluate", out, cohort, "-o", tmp_path / "pictures", "--labels", "170=hypoperfused")
    assert run(*words).code == 0
    again = rows_of(tmp_path / "pictures")
    assert [row["dice"] for row in again] == [row["dice"] for row in rows]


def test_methods_that_are_none_are_one_line(run: Run, cohort: Path, model: Path, tmp_path: Path) -> None:
    answer = run(*segment_words(cohort, Path("netwrok"), tmp_path / "out"))
    assert answer.code == 2
    assert "no method 'netwrok'; give auto, threshold, or the folder of a model that is there" in answer.err
    answer = run(*segment_words(cohort, tmp_path, tmp_path / "out"))
    assert answer.code == 2
    assert "is no model by strokelens" in answer.err
    answer = run(*segment_words(cohort, model, tmp_path / "out"), "--rule", "rapid")
    assert answer.code == 2
    assert "--rule rapid is for thresholds, and tiny is a network; leave one out" in answer.err
