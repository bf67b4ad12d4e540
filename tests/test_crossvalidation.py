"""Folds end to end on simulated patients: who is predicted by whom, what is kept, and the ensemble against its mean."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.splits import read_split
from strokelens.crossvalidation import CrossValidated, CrossValidation, cross_validate
from strokelens.errors import CohortError, FileError, OutputError, SettingsError
from strokelens.model import load_model, members
from strokelens.prediction.networks import predicted
from strokelens.prediction.samples import sample_of
from strokelens.training.machine import Machine
from tests.tiny_volumes import tiny_volume, write_tiny_volumes

CPU = Machine("cpu", 1)
SETTINGS = tiny_volume(stages=({"encoders": "full", "epochs": 1},))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_tiny_volumes(tmp_path_factory.mktemp("cohort") / "isles", cases=3)


@pytest.fixture(scope="module")
def what(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> CrossValidation:
    """Two folds, and a test cohort of one case."""
    test = write_tiny_volumes(tmp_path_factory.mktemp("others") / "isles", cases=1, seed=9)
    out = tmp_path_factory.mktemp("folds") / "out"
    return CrossValidation(SETTINGS, cohort, out, 2, test, machine=CPU, workers=1)


@pytest.fixture(scope="module")
def found(what: CrossValidation) -> CrossValidated:
    answer = cross_validate(what)
    assert answer is not None
    return answer


def predicted_in(folder: Path) -> set[str]:
    return {case["id"] for case in json.loads((folder / "predictions.json").read_text())["cases"]}


def test_every_patient_is_predicted_once_by_a_fold_that_did_not_train_on_it(
    found: CrossValidated, what: CrossValidation
) -> None:
    assert found.out_of_fold.complete
    seen: list[str] = []
    for number in (1, 2):
        told = predicted_in(what.out / "out_of_fold" / str(number))
        parts = read_split(what.run_of(number) / "split.json").parts
        assert told == set(parts["validation"])
        assert told.isdisjoint(parts["train"])
        assert parts == read_split(what.out / "splits" / f"fold-{number}.json").parts
        seen += told
    assert sorted(seen) == sorted(entry.id for entry in what.cohort)
    assert sorted(row.case_id for row in found.out_of_fold.rows) == sorted(seen)


def test_what_was_done_is_kept_when_it_goes_on(found: CrossValidated, what: CrossValidation) -> None:
    def times() -> dict[Path, int]:
        parts = ("folds/*/model/*", "folds/*/stages/*/*", "out_of_fold/*/*/*", "test/*/*", "splits/*", "prepared/*")
        return {file: file.stat().st_mtime_ns for part in parts for file in what.out.glob(part) if file.is_file()}

    before = times()
    lines: list[str] = []
    again = cross_validate(what, lines.append)
    assert again is not None
    assert times() == before
    assert len(before) > 20
    assert not any("epoch" in line for line in lines)
    assert [row.case_id for row in again.out_of_fold.rows] == [row.case_id for row in found.out_of_fold.rows]


def test_the_folds_are_one_model_of_all(found: CrossValidated, what: CrossValidation) -> None:
    """The mean of what each fold says by itself, written out."""
    paths = members(what.out)
    assert paths == (what.run_of(1), what.run_of(2))
    models = [load_model(path) for path in paths]
    sample = sample_of(what.cohort.entries[0], models[0].recipe).sample
    each = [predicted([model], sample).probabilities for model in models]
    assert not np.allclose(each[0], each[1])
    np.testing.assert_allclose(predicted(models, sample).probabilities, np.mean(each, axis=0), atol=1e-6)
    card = json.loads((what.out / "test" / "predictions.json").read_text())
    assert len(card["models"]) == 2
    assert found.test is not None
    assert len(found.test.rows) == 1


def test_folds_that_are_not_all_trained_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "folds" / "1").mkdir(parents=True)
    with pytest.raises(FileError, match=r"folds/1 has no model yet; let `strokelens crossvalidate` go on with"):
        members(tmp_path)


def test_settings_with_a_split_of_their_own_are_refused(cohort: Cohort, tmp_path: Path) -> None:
    settings = tiny_volume(split={"file": "split.json"})
    with pytest.raises(SettingsError, match=r"folds are drawn here, .* set split\.file to null"):
        CrossValidation(settings, cohort, tmp_path / "out")


def test_a_folder_of_something_else_is_refused_and_what_a_killed_one_left_is_not(
    cohort: Cohort, tmp_path: Path
) -> None:
    (tmp_path / ".tables.abc.part").mkdir()
    CrossValidation(SETTINGS, cohort, tmp_path, machine=CPU)
    (tmp_path / "runs").mkdir()
    with pytest.raises(OutputError, match=r"holds runs, which is of no cross-validation; give a new folder"):
        CrossValidation(SETTINGS, cohort, tmp_path, machine=CPU)


def test_a_folder_is_gone_on_with_by_the_same_folds_only(found: CrossValidated, what: CrossValidation) -> None:
    """Else patients would be predicted by folds that were trained on them."""
    fewer = replace(what.cohort, entries=what.cohort.entries[:2])
    for other in (replace(what, count=3), replace(what, cohort=fewer)):
        with pytest.raises(OutputError, match=r"begun with other patients, another seed or another number of folds"):
            cross_validate(other)


def test_a_fold_too_many_is_no_member_of_the_ensemble(what: CrossValidation, tmp_path: Path) -> None:
    (tmp_path / "folds" / "3").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"has fold 3, and 2 folds were asked for"):
        cross_validate(replace(what, out=tmp_path))


def test_a_patient_of_the_cohort_is_no_test_patient(what: CrossValidation, tmp_path: Path) -> None:
    same = replace(what.cohort, entries=what.cohort.entries[-1:])
    with pytest.raises(CohortError, match=r"byte for byte, so some fold saw it; give other patients to --test"):
        cross_validate(replace(what, test=same, out=tmp_path / "out"))
