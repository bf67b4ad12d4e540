"""The one case that a user means, of every layout: by its folder, as the only one of a cohort, or by its name."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from strokelens.case import Case, Segmentation
from strokelens.cli import app
from strokelens.cohorts import isles2017, nnunet, slice_writer
from strokelens.cohorts.bids_layout import write_dataset
from strokelens.cohorts.choosing import read_case
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.nifti import read_study
from strokelens.cohorts.parts import Reading
from strokelens.errors import CaseError, CohortError, FileError, StrokelensError
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA, LESION_ONLY
from tests.dicom_studies import STUDY, head, perfusion
from tests.dicom_studies import save as save_dicom
from tests.nifti_files import adc_map, head_series, save

GRID = Grid((40, 40, 3), np.diag([-4.0, -4.0, 5.0, 1.0]))


def simulated(number: int) -> Case:
    """Two cases, each with maps, ADC, a series and a truth."""
    rng = np.random.default_rng(number)
    maps = {"CBF": 60.0, "CBV": 4.0, "MTT": 10.0, "TTP": 20.0, "Tmax": 9.0, "ADC": 1000.0}
    channels: dict[str, np.ndarray] = {}
    for name, high in maps.items():
        channels[name] = np.zeros(GRID.shape, np.float32)
        channels[name][8:32, 8:32] = rng.uniform(0.2 * high, high, (24, 24, 3))
    channels["PWI"] = np.rint(rng.uniform(100, 600, (*GRID.shape, 6))).astype(np.float32)
    labels = np.zeros(GRID.shape, np.uint8)
    labels[10:14, 10:14] = 1
    truth = Segmentation(labels, GRID, CORE_PENUMBRA)
    clinical = {"nihss": 14.0, "age_years": 71.0}
    times = 1.5 * np.arange(6)
    return Case(f"sim-{number}", GRID, channels, truth, clinical, "LVO", time_s=times, echo_time_s=0.03, simulated=True)


CASES = [simulated(1), simulated(2)]


def without(case: Case, *names: str) -> Case:
    kept = {name: values for name, values in case.channels.items() if name not in names}
    return Case(case.id, case.grid, kept, case.truth, case.clinical, case.group, simulated=True)


def slices(folder: Path) -> Path:
    slice_writer.write_slices(folder, [without(case, "PWI", "ADC", "MTT") for case in CASES])
    return folder


def isles(folder: Path) -> Path:
    isles2017.write_cases(folder, CASES)
    return folder


def raw(folder: Path) -> Path:
    lesions = []
    for case in CASES:
        assert case.truth is not None
        lesion = Segmentation(case.truth.labels, GRID, LESION_ONLY)
        kept = without(case, "PWI")
        lesions.append(Case(case.id, GRID, kept.channels, lesion, simulated=True))
    return nnunet.write_raw(folder, lesions, number=7, name="X").folder


def bids(folder: Path) -> Path:
    write_dataset(folder, [without(case, "PWI") for case in CASES], version="0")
    return folder


def plain(folder: Path) -> Path:
    for number in (1, 2):
        save(folder / f"case_{number}/tmax.nii.gz", CASES[number - 1]["Tmax"], GRID.affine)
        save(folder / f"case_{number}/cbf.nii.gz", CASES[number - 1]["CBF"], GRID.affine)
        save(folder / f"case_{number}/lesion.nii.gz", np.ones(GRID.shape, np.uint8), GRID.affine)
    return folder


def diffusion(folder: Path) -> Path:
    for number in (1, 2):
        start = f"sub-strokecase{number:04d}_ses-0001"
        place = folder / f"rawdata/sub-strokecase{number:04d}/ses-0001"
        save(place / f"dwi/{start}_adc.nii.gz", adc_map())
        save(place / f"dwi/{start}_dwi.nii.gz", adc_map(seed=2))
        save(place / f"anat/{start}_flair.nii.gz", adc_map((24, 20, 8)), np.diag([1.0, 1.0, 2.5, 1.0]))
    return folder


def two_sessions(folder: Path) -> Path:
    """ISLES 2024: the maps in derivatives, the outcome in another session."""
    for number in (1, 2):
        subject = f"sub-stroke{number:04d}"
        place = folder / f"derivatives/{subject}"
        for name, values in (("cbf", CASES[0]["CBF"]), ("tmax", CASES[0]["Tmax"])):
            save(
                place / f"ses-01/perfusion-maps/{subject}_ses-01_space-ncct_{name}.nii.gz",
                values[:12, :10],
                GRID.affine,
            )
        save(
            place / f"ses-01/{subject}_ses-01_space-ncct_ctp.nii.gz",
            head_series((12, 10, 3, 6)),
            GRID.affine,
            interval=1.5,
        )
        save(place / f"ses-02/{subject}_ses-02_space-ncct_adc.nii.gz", adc_map((12, 10, 3)), GRID.affine)
        save(folder / f"raw_data/{subject}/ses-01/{subject}_ses-01_ncct.nii.gz", head_series((12, 10, 3, 1))[..., 0])
    return folder


def dicom(folder: Path) -> Path:
    save_dicom(folder / "a", perfusion(head()))
    save_dicom(folder / "b", perfusion(head(seed=1), StudyInstanceUID=f"{STUDY}.2"))
    return folder


Make = Callable[[Path], Path]
MAPS = ("CBF", "CBV", "MTT", "TTP", "Tmax")
LAYOUTS: list[tuple[str, Make, str, tuple[str, ...]]] = [
    ("ctp_slices", slices, "CTP_01_002", ("CBF", "CBV", "TTP", "Tmax")),
    ("isles2017", isles, "training_2", ("ADC", "PWI")),
    ("nnunet", raw, "sim-2", ("ADC", *MAPS)),
    ("bids", bids, "sub-sim2", ("ADC", *MAPS)),
    ("nifti", plain, "case_2", ("CBF", "Tmax")),
    ("isles2022", diffusion, "sub-strokecase0002_ses-0001", ("ADC", "DWI", "FLAIR")),
    ("isles2024", two_sessions, "sub-stroke0002", ("CTP",)),
    ("dicom", dicom, "", ("CTP",)),
]


@pytest.mark.parametrize(("layout", "make", "name", "channels"), LAYOUTS, ids=[row[0] for row in LAYOUTS])
def test_a_case_of_every_layout_is_read_by_its_name(
    tmp_path: Path, layout: str, make: Make, name: str, channels: tuple[str, ...]
) -> None:
    folder = make(tmp_path / "c")
    cohort = open_cohort(folder)
    assert (cohort.layout, len(cohort)) == (layout, 2)
    name = name or cohort.entries[1].id
    case = read_case(folder, name=name)
    known = cohort[name].read(channels=[each for each in case.channels])
    assert (case.id, sorted(case.channels)) == (known.id, sorted(channels))
    assert case.truth is None
    for each in channels:
        np.testing.assert_array_equal(case[each], known[each])
    assert (case.group, dict(case.clinical)) == (known.group, dict(known.clinical))


@pytest.mark.parametrize(("layout", "make", "name", "channels"), LAYOUTS, ids=[row[0] for row in LAYOUTS])
def test_without_a_name_the_cases_of_a_cohort_are_listed(
    tmp_path: Path, layout: str, make: Make, name: str, channels: tuple[str, ...]
) -> None:
    folder = make(tmp_path / "c")
    with pytest.raises(CaseError, match=r"--case") as caught:
        read_case(folder)
    if layout != "dicom":
        assert name in str(caught.value)
    with pytest.raises(CohortError, match="has no case 'nobody';"):
        read_case(folder, name="nobody")


def test_the_cases_are_listed_in_one_line_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(CaseError) as caught:
        read_case(slices(tmp_path / "c"))
    assert str(caught.value) == (
        "c is a cohort of 2 cases (ctp_slices: CTP_01_001, CTP_01_002); choose one, as in --case CTP_01_001"
    )


@pytest.mark.parametrize(
    ("make", "place", "name"),
    [
        (slices, "patients/CTP_01_002", "CTP_01_002"),
        (slices, "patients/CTP_01_002/no_date", "CTP_01_002"),
        (two_sessions, "derivatives/sub-stroke0002", "sub-stroke0002"),
    ],
)
def test_the_folder_of_a_case_is_read_as_its_cohort_tells(tmp_path: Path, make: Make, place: str, name: str) -> None:
    folder = make(tmp_path / "c")
    by_folder, by_name = read_case(folder / place), read_case(folder, name=name)
    assert (by_folder.id, by_folder.channels.keys()) == (name, by_name.channels.keys())
    assert by_folder.grid.agrees(by_name.grid)
    for each in by_name.channels:
        np.testing.assert_array_equal(by_folder[each], by_name[each])


def test_the_scales_of_the_cohort_hold_for_the_folder_of_a_case(tmp_path: Path) -> None:
    folder = slices(tmp_path / "c")
    told = json.loads((folder / "cohort.json").read_text())
    told["spacing_mm"], told["scales"]["Tmax"] = [1.0, 2.0, 3.0], [0.0, 24.0]
    (folder / "cohort.json").write_text(json.dumps(told))
    case = read_case(folder / "patients/CTP_01_001")
    assert case.grid.spacing_mm == pytest.approx((1.0, 2.0, 3.0))
    assert 12 < np.nanmax(case["Tmax"]) <= 24


@pytest.mark.parametrize("make", [isles, bids, plain], ids=["isles2017", "bids", "nifti"])
def test_the_folder_of_a_study_is_read_as_before(tmp_path: Path, make: Make) -> None:
    folder = make(tmp_path / "c")
    place = sorted(each for each in folder.iterdir() if each.name[-1] in "12")[0]
    one, other = read_case(place), read_study(place)
    assert one.id == other.id
    assert one.channels.keys() == other.channels.keys()


def test_a_cohort_of_one_case_is_that_case(tmp_path: Path) -> None:
    slice_writer.write_slices(tmp_path, [without(CASES[0], "PWI", "ADC", "MTT")])
    assert read_case(tmp_path).id == "CTP_01_001"


def test_what_the_user_tells_goes_before_what_files_say(tmp_path: Path) -> None:
    case = read_case(isles(tmp_path / "c"), Reading(case_id="me", frame_interval_s=2.0), name="training_1")
    assert case.id == "me"
    assert case.time_s is not None
    assert case.time_s.tolist() == [0, 2, 4, 6, 8, 10]
    assert read_case(slices(tmp_path / "d"), Reading(case_id="me"), name="CTP_01_001").id == "me"


def test_a_broken_truth_does_not_keep_a_case_from_being_read(tmp_path: Path) -> None:
    folder = isles(tmp_path / "c")
    (path,) = (folder / "training_1").glob("*OT*/*.nii")
    path.write_bytes(b"broken")
    with pytest.raises(StrokelensError):
        open_cohort(folder)["training_1"].read()
    assert read_case(folder, name="training_1").truth is None


def test_what_is_no_study_and_in_no_cohort_is_told_as_before(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/notes.txt").touch()
    with pytest.raises(FileError, match="b holds no image with a known name"):
        read_case(tmp_path / "a/b")
    with pytest.raises(FileError, match="does not exist; check the path"):
        read_case(tmp_path / "a/c")


def test_a_folder_of_some_cases_of_a_cohort_lists_them(tmp_path: Path) -> None:
    folder = two_sessions(tmp_path / "c")
    with pytest.raises(CaseError, match=r"sub-stroke0001.*, sub-stroke0002"):
        read_case(folder / "derivatives")


def test_the_verbs_take_a_case_by_its_name(tmp_path: Path) -> None:
    folder = str(slices(tmp_path / "c"))
    answer = CliRunner().invoke(app, ["segment", folder, "--case", "CTP_01_002", "-o", str(tmp_path / "out"), "--json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert told["case_id"] == "CTP_01_002"
    assert "simulated" in [flag["code"] for flag in told["flags"]]
    refused = CliRunner().invoke(app, ["segment", folder, "-o", str(tmp_path / "other")])
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    none = CliRunner().invoke(app, ["maps", folder, "--case", "CTP_01_002", "-o", str(tmp_path / "maps")])
    assert none.exit_code == 2
    assert none.stderr.startswith("strokelens: CTP_01_002")
