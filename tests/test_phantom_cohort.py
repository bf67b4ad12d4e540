"""Simulated patients on disk, and the verb that makes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from strokelens.cli import app
from strokelens.cli.phantom import Group
from strokelens.cohorts.nifti import read_segmentation, read_study
from strokelens.labels import CORE_PENUMBRA
from strokelens.phantom.cohort import protocol_of, write_patient
from strokelens.phantom.groups import GROUP_SHARES, group_of
from strokelens.phantom.patient import Patient, simulate
from strokelens.phantom.scanner import CtProtocol, DscProtocol
from tests.commands import PhantomRun

SMALL = ("--matrix", "32", "--slices", "3", "--frames", "5")


@pytest.fixture(scope="module")
def patient() -> Patient:
    return simulate(2, protocol=CtProtocol(matrix=40, slices=8, time_s=(0.0, 2.0, 4.0, 7.0, 12.0)))


@pytest.fixture(scope="module")
def folder(patient: Patient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cohort")
    write_patient(place, patient)
    return place


def test_a_written_series_is_read_back_as_it_was(patient: Patient, folder: Path) -> None:
    case = read_study(folder)
    assert np.array_equal(case["CTP"], patient.case["CTP"])
    assert case.grid.agrees(patient.case.grid)
    assert case.time_s is not None
    assert case.time_s.tolist() == [0, 2, 4, 7, 12]


def test_the_truth_is_read_back_as_it_was(patient: Patient, folder: Path) -> None:
    assert patient.case.truth is not None
    truth = read_segmentation(folder / "truth.nii.gz", CORE_PENUMBRA, patient.case.grid)
    assert np.array_equal(truth.labels, patient.case.truth.labels)


def test_an_mr_series_tells_its_echo_time(tmp_path: Path) -> None:
    write_patient(tmp_path, simulate(2, protocol=DscProtocol(matrix=32, slices=2, frames=4, echo_time_s=0.028)))
    case = read_study(tmp_path)
    assert case["PWI"].shape == (32, 32, 2, 4)
    assert case.echo_time_s == pytest.approx(0.028)


def test_the_record_says_that_the_patient_is_simulated_and_how(patient: Patient, folder: Path) -> None:
    told = json.loads((folder / "patient.json").read_text())
    assert told["simulated"] is True
    assert told["group"] == "LVO"
    assert told["seed"] == 2
    assert told["volumes_ml"]["hypoperfused"] == pytest.approx(
        told["volumes_ml"]["core"] + told["volumes_ml"]["penumbra"], abs=0.002
    )
    assert told["clinical"] == patient.case.clinical
    assert told["disclaimer"] == "Research use only; not a medical device."


def test_the_true_maps_lie_apart_with_their_units(folder: Path) -> None:
    units = {name: json.loads((folder / "truth" / f"{name}.json").read_text())["Units"] for name in ("CBF", "delay")}
    assert units == {"CBF": "ml/100 g/min", "delay": "s"}


def test_the_true_maps_say_that_they_are_simulated(folder: Path) -> None:
    assert read_study(folder / "truth").simulated


def test_a_mixed_cohort_has_the_shares_of_its_groups() -> None:
    groups = [group_of(seed) for seed in range(600)]
    for name, share in GROUP_SHARES.items():
        assert groups.count(name) / 600 == pytest.approx(share, abs=0.06)


def test_a_varied_protocol_belongs_to_its_seed() -> None:
    assert protocol_of(3, CtProtocol()) == protocol_of(3, CtProtocol()) != protocol_of(4, CtProtocol())


def test_the_verb_makes_a_folder_for_each_patient_and_says_what_is_in_it(tmp_path: Path, phantom: PhantomRun) -> None:
    result = phantom(str(tmp_path / "out"), "--cases", "2", "--seed", "5", "--group", "lvo", *SMALL)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sim-5", "sim-6"]
    assert "sim-6: LVO, penumbra" in result.output
    assert "2 simulated patients. Research use only; not a medical device." in result.output


def test_the_same_command_writes_the_same_bytes(tmp_path: Path, phantom: PhantomRun) -> None:
    for name in ("one", "two"):
        assert phantom(str(tmp_path / name), *SMALL).exit_code == 0
    one, two = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "two")
    )
    assert one == two
    assert len(one) == 15


def test_an_existing_patient_is_refused_before_any_work_unless_told(tmp_path: Path, phantom: PhantomRun) -> None:
    assert phantom(str(tmp_path), "--seed", "1", *SMALL).exit_code == 0
    refused = phantom(str(tmp_path), "--cases", "2", *SMALL)
    assert refused.exit_code == 2
    assert "sim-1 exists; give another folder, or --overwrite to replace it" in refused.output
    assert not (tmp_path / "sim-0").exists()
    assert phantom(str(tmp_path), "--seed", "1", "--overwrite", *SMALL).exit_code == 0


def test_machines_get_one_json_object_a_patient(tmp_path: Path, phantom: PhantomRun) -> None:
    result = phantom(str(tmp_path / "out"), "--group", "WIS", "--vary", "--modality", "MR", "--json", *SMALL)
    told = json.loads(result.output)
    assert told["modality"] == "MR"
    assert told["volumes_ml"] == {"penumbra": 0.0, "core": 0.0, "hypoperfused": 0.0}


def test_a_written_patient_is_read_under_its_own_name(tmp_path: Path, phantom: PhantomRun) -> None:
    assert phantom(str(tmp_path), "--seed", "5", *SMALL).exit_code == 0
    assert read_study(tmp_path / "sim-5").id == "sim-5"


def test_only_patients_are_replaced(tmp_path: Path, phantom: PhantomRun) -> None:
    (tmp_path / "sim-0").mkdir()
    (tmp_path / "sim-0/result.json").write_text("strokelens")
    refused = phantom(str(tmp_path), "--overwrite", *SMALL)
    assert refused.exit_code == 2
    assert "sim-0 has no patient.json by strokelens and is not replaced" in refused.output


def test_an_interrupted_batch_keeps_what_is_whole_and_does_not_deny_it(
    tmp_path: Path, phantom: PhantomRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seed: int, **options: Any) -> Patient:
        if seed == 1:
            raise KeyboardInterrupt
        return simulate(seed, **options)

    monkeypatch.setattr("strokelens.phantom.patient.simulate", interrupted)
    result = phantom(str(tmp_path), "--cases", "2", *SMALL)
    assert result.exit_code == 130
    assert result.stderr == "strokelens: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["sim-0"]


@pytest.mark.parametrize("words", [("-q", "phantom"), ("phantom", "-q")])
def test_quiet_tells_nothing_but_json(tmp_path: Path, words: tuple[str, ...]) -> None:
    told = CliRunner().invoke(app, [*words, str(tmp_path / "a"), *SMALL])
    assert (told.exit_code, told.output) == (0, "")
    asked = CliRunner().invoke(app, [*words, str(tmp_path / "b"), "--json", *SMALL])
    assert json.loads(asked.output)["id"] == "sim-0"


def test_the_command_line_has_every_group() -> None:
    assert set(Group) == {"mixed", *GROUP_SHARES}


def test_noise_in_hu_is_refused_for_mr(tmp_path: Path, phantom: PhantomRun) -> None:
    result = phantom(str(tmp_path / "out"), "--modality", "MR", "--noise", "5")
    assert result.exit_code == 2
    assert "--noise 5 is in HU, and MR has none; leave it out with --modality MR" in result.output
