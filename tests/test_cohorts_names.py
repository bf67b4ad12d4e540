"""What a case is called: never by a free name, which may be a person's."""

import hashlib
import json
from pathlib import Path

import pytest

from strokelens.cohorts.nifti import Reading, read_study
from strokelens.errors import CaseError
from tests.nifti_files import adc_map, head_series, save


def digits(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


@pytest.mark.parametrize("name", ["Doe_Jane_ctp.nii.gz", "doe/jane.nii", "sim-Jane/ctp.nii.gz", "sim-7/ctp.nii.gz"])
def test_a_case_is_never_called_by_a_name_that_may_be_a_persons(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, head_series(), interval=1.5)
    for path_given in (path, path.parent):
        assert read_study(path_given).id == f"case-{digits(path)}"


def test_a_folder_of_maps_is_called_by_its_first_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "jane/dwi.nii.gz", adc_map(seed=1))
    first = save(tmp_path / "jane/adc.nii.gz", adc_map())
    monkeypatch.chdir(tmp_path / "jane")
    assert read_study(Path()).id == f"case-{digits(first)}"


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("Doe/sub-07_ses-2_adc.nii", "sub-07_ses-2"),
        ("case_94/adc.nii", "case_94"),
        ("Testing_3/adc.nii", "Testing_3"),
        ("Doe/VSD.Brain.XX.O.MR_ADC.128020.nii", "VSD-128020"),
        ("Doe/SMIR.Brain.XX.O.CT_Tmax.345567.nii", "SMIR-345567"),
    ],
)
def test_a_case_of_bids_or_isles_keeps_its_number(tmp_path: Path, name: str, called: str) -> None:
    scale = 200 if "Tmax" in name else 1
    save(tmp_path / name, adc_map() / scale)
    assert read_study((tmp_path / name).parent).id == called


def test_a_simulated_patient_is_called_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "sim-7/ctp.nii.gz", head_series(), interval=1.5)
    (tmp_path / "sim-7/ctp.json").write_text(json.dumps({"Simulated": True}))
    monkeypatch.chdir(tmp_path / "sim-7")
    for path_given in (path, path.parent, Path(), Path("ctp.nii.gz")):
        assert read_study(path_given).id == "sim-7"


def test_the_user_names_a_case(tmp_path: Path) -> None:
    save(tmp_path / "sub-1_adc.nii", adc_map())
    assert read_study(tmp_path, Reading(case_id="Case 7.b_2-x")).id == "Case 7.b_2-x"


@pytest.mark.parametrize("name", ["", "a/b", "x" * 65, "7\n", "<b>", "Ärzte"])
def test_a_name_of_other_characters_is_refused(name: str) -> None:
    with pytest.raises(CaseError, match=r"^a case cannot be called '.*'; give 1 to 64 characters of letters .*hyphen$"):
        Reading(case_id=name)
