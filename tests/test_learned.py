"""Scores on cases that were trained on are told as such, wherever scores are told."""

import json
from pathlib import Path

import pytest

from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.folder import PREDICTED
from strokelens.cohorts.learned import learned_from
from tests.commands import Run
from tests.tiny_volumes import trained, write_tiny_volumes


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_tiny_volumes(tmp_path_factory.mktemp("cohort") / "isles", cases=3)


@pytest.fixture(scope="module")
def run_folder(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(cohort, tmp_path_factory.mktemp("trained") / "run", snapshots=2)


def test_evaluate_submit_and_epochs_say_how_many_were_trained_on(
    run: Run, cohort: Cohort, run_folder: Path, tmp_path: Path
) -> None:
    """Of three patients two train; a snapshot knows the split of its run."""
    snapshot = run_folder / "snapshots" / "epoch-0002"
    found, told = tmp_path / "found", "2 of 3 scored cases were trained on: these scores flatter."
    assert run("predict", snapshot, cohort.folder, "-o", found, "--device", "cpu").code == 0
    assert len(learned_from(found)) == 2
    assert told in run("evaluate", found, cohort.folder, "-o", tmp_path / "scores").out
    assert told in (tmp_path / "scores" / "tables.md").read_text(encoding="utf-8")
    assert told in run("submit", found, cohort.folder, "-o", tmp_path / "submission").out
    assert told in run("epochs", run_folder, cohort.folder, "-o", tmp_path / "epochs", "--device", "cpu").out


@pytest.mark.parametrize("content", ["", "[]", '{"cases": 3}', '{"cases": [1, {"id": "a"}]}'])
def test_what_tells_nothing_is_nothing(tmp_path: Path, content: str) -> None:
    assert learned_from(tmp_path) == frozenset()
    (tmp_path / PREDICTED).write_text(content, encoding="utf-8")
    assert learned_from(tmp_path) == frozenset()
    (tmp_path / PREDICTED).write_text(json.dumps({"cases": [{"id": "a", "part_in_training": "train"}]}))
    assert learned_from(tmp_path) == {"a"}
