"""The value Cohort, the reader of volumes, and the layout of plain NIfTI folders: before reading and after."""

import json
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strokelens.case import Segmentation
from strokelens.cohorts import decode, listing
from strokelens.cohorts.cohort import PROBLEMS, Cohort, Entry, Problem, natural
from strokelens.cohorts.encode import write_segmentation
from strokelens.cohorts.identity import public_id
from strokelens.cohorts.layouts import LAYOUTS, layout_named, open_cohort, recognised
from strokelens.cohorts.nifti import Reading
from strokelens.cohorts.nifti_folders import NiftiFolders
from strokelens.cohorts.volumes import VolumeReader
from strokelens.errors import CaseError, CohortError, FileError, GridError, LabelError, StrokelensError
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA
from strokelens.phantom.cohort import write_patient
from strokelens.phantom.patient import simulate
from strokelens.phantom.scanner import CtProtocol
from tests.nifti_files import PLAIN, adc, adc_map, as_nobody, ctp, head_series, save

__all__ = ["as_nobody"]

AsAUser = Callable[[], AbstractContextManager[None]]


def mask(folder: Path, name: str = "lesion.nii", *, value: int = 1) -> Path:
    truth = np.zeros((12, 10, 4), np.uint8)
    truth[5:7, 5:7, 1] = value
    return save(folder / name, truth)


def two_cases(folder: Path) -> Path:
    """patient_2 has ADC, DWI and a lesion; patient_10 has ADC."""
    adc(folder / "patient_2")
    save(folder / "patient_2/dwi.nii", adc_map(seed=1))
    mask(folder / "patient_2")
    adc(folder / "patient_10")
    return folder


def test_a_folder_of_folders_is_a_cohort_sorted_by_number(tmp_path: Path) -> None:
    cohort = open_cohort(two_cases(tmp_path))
    assert cohort.layout == "nifti"
    assert [entry.id for entry in cohort] == ["patient_2", "patient_10"]
    assert cohort.channels == ("ADC", "DWI")
    assert cohort["patient_2"].channels == ("ADC", "DWI")
    assert cohort["patient_10"].truth is None


def test_opening_reads_no_file_but_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_cases(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(decode, "_opened", refuse)
    assert len(open_cohort(tmp_path)) == 2


def test_a_case_is_read_with_its_truth(tmp_path: Path) -> None:
    case = open_cohort(two_cases(tmp_path))["patient_2"].read()
    assert case.id == "patient_2"
    assert sorted(case.channels) == ["ADC", "DWI"]
    assert case.truth is not None
    assert case.truth.mask("lesion").sum() == 4
    assert np.array_equal(case["ADC"], adc_map())


def test_only_the_channels_that_were_asked_for_are_read(tmp_path: Path) -> None:
    entry = open_cohort(two_cases(tmp_path))["patient_2"]
    (tmp_path / "patient_2/dwi.nii").write_text("broken")
    assert list(entry.read(channels=["ADC"]).channels) == ["ADC"]


@pytest.mark.parametrize(
    ("channels", "text"),
    [
        (["CBF"], "patient_2 has no channel 'CBF'; it has ADC, DWI"),
        ([], "patient_2: no channel was asked for; it has ADC, DWI"),
    ],
)
def test_a_channel_that_is_not_there_is_told(tmp_path: Path, channels: list[str], text: str) -> None:
    with pytest.raises(CaseError) as caught:
        open_cohort(two_cases(tmp_path))["patient_2"].read(channels=channels)
    assert str(caught.value) == text


def test_a_case_that_is_not_there_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"has no case 'patient_3'; did you mean 'patient_2'\?$"):
        open_cohort(two_cases(tmp_path))["patient_3"]


def test_in_a_large_cohort_the_hint_is_short(tmp_path: Path) -> None:
    entry = open_cohort(two_cases(tmp_path))["patient_2"]
    cohort = Cohort(tmp_path, "nifti", tuple(replace(entry, id=f"c{number}") for number in range(30)))
    with pytest.raises(CohortError, match=r"has no case 'x'; it has 30 others$"):
        cohort["x"]


def test_two_folders_with_one_id_are_two_rows(tmp_path: Path) -> None:
    adc(tmp_path / "a", "sub-1_adc.nii")
    adc(tmp_path / "b", "sub-1_adc.nii")
    assert [(entry.id, entry.person) for entry in open_cohort(tmp_path)] == [("sub-1", "sub-1"), ("sub-1~2", "sub-1")]


def test_a_broken_case_is_one_row_and_the_others_are_read(tmp_path: Path, as_a_user: AsAUser) -> None:
    two_cases(tmp_path)
    adc(tmp_path / "patient_3", "adc.nii")
    adc(tmp_path / "patient_3", "again_adc.nii")
    cohort = open_cohort(tmp_path)
    (problem,) = cohort["patient_3"].problems
    assert problem == Problem(
        "unreadable", "two files hold ADC: adc.nii and again_adc.nii; give a folder with only one of them", True
    )
    assert not cohort["patient_3"].usable
    with pytest.raises(CaseError, match=r"^patient_3: two files hold ADC: "):
        cohort["patient_3"].read()
    assert cohort["patient_10"].read().id == "patient_10"


def test_a_folder_that_may_not_be_read_is_one_row(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    two_cases(tmp_path)
    adc(tmp_path / "patient_3", "adc.nii").parent.chmod(0)
    for parent in (tmp_path, *list(tmp_path.parents)[:3]):
        parent.chmod(0o755)
    request.getfixturevalue("as_nobody")
    cohort = open_cohort(tmp_path)
    assert [entry.usable for entry in cohort] == [True, False, True]
    assert (
        cohort["patient_3"]
        .problems[0]
        .message.endswith("patient_3 may not be read by this user; change its permissions")
    )


def test_an_entry_can_be_sent_to_another_process(tmp_path: Path) -> None:
    entry = open_cohort(two_cases(tmp_path))["patient_2"]
    sent: Entry = pickle.loads(pickle.dumps(entry))
    assert np.array_equal(sent.read()["DWI"], entry.read()["DWI"])


def test_a_folder_named_like_a_person_is_not_an_id(tmp_path: Path) -> None:
    adc(tmp_path / "Jane Doe")
    (entry,) = open_cohort(tmp_path)
    assert entry.id.startswith("case-")
    assert "Doe" not in entry.read().id
    assert entry.folder.name == "Jane Doe"


def test_a_single_case_is_a_cohort_of_one(tmp_path: Path) -> None:
    adc(tmp_path, "sub-1_ses-2_adc.nii")
    (entry,) = open_cohort(tmp_path)
    assert (entry.id, entry.person) == ("sub-1_ses-2", "sub-1")


def test_simulated_patients_come_with_truth_group_and_clinical_values(tmp_path: Path) -> None:
    patient = simulate(3, protocol=CtProtocol(matrix=32, slices=3, frames=20), motion=False, group="LVO")
    (tmp_path / "sim-3").mkdir()
    write_patient(tmp_path / "sim-3", patient)
    (entry,) = open_cohort(tmp_path)
    case = entry.read()
    assert (case.id, case.group, case.simulated) == ("sim-3", "LVO", True)
    assert case.clinical == patient.case.clinical
    assert case.truth is not None
    assert patient.case.truth is not None
    assert case.truth.scheme == CORE_PENUMBRA
    assert np.array_equal(case.truth.labels, patient.case.truth.labels)


def test_results_beside_the_cases_are_no_case(tmp_path: Path) -> None:
    two_cases(tmp_path)
    adc(tmp_path / "out_1", "maps/adc.nii")
    (tmp_path / "out_1/result.json").write_text("{}")
    assert len(open_cohort(tmp_path)) == 2


def test_a_series_is_named_by_its_sidecar(tmp_path: Path) -> None:
    ctp(tmp_path / "case_1", "series.nii")
    (tmp_path / "case_1/series.json").write_text('{"Modality": "CT"}')
    assert open_cohort(tmp_path, "nifti")["case_1"].channels == ("CTP",)


def test_a_series_that_nothing_names_is_one_row(tmp_path: Path) -> None:
    ctp(tmp_path / "case_1", "series.nii")
    (entry,) = open_cohort(tmp_path, "nifti")
    assert [problem.message for problem in entry.problems] == [
        "series.nii could be CT or MR; rename it to end with _ctp or _pwi"
    ]


def test_several_possible_truths_are_none(tmp_path: Path) -> None:
    mask(adc(tmp_path / "case_1").parent, "a_seg.nii")
    mask(tmp_path / "case_1", "b_seg.nii")
    (entry,) = open_cohort(tmp_path)
    assert entry.truth is None
    assert entry.problems == (Problem("ambiguous", "2 files could be the truth (a_seg.nii, b_seg.nii); none is taken"),)


@pytest.mark.parametrize("name", ["x_prediction.nii", "lesion_predict.nii", "brain_mask.nii", "Subject01_Mask.nii"])
def test_predictions_and_brain_masks_are_no_truth(tmp_path: Path, name: str) -> None:
    mask(adc(tmp_path / "case_1").parent, name)
    assert open_cohort(tmp_path)["case_1"].truth is None


def test_the_surest_name_is_the_truth(tmp_path: Path) -> None:
    mask(adc(tmp_path / "case_1").parent, "vessel_mask.nii")
    expected = mask(tmp_path / "case_1", "truth.nii")
    truth = open_cohort(tmp_path)["case_1"].truth
    assert truth is not None
    assert truth.files == (expected,)


def test_labels_of_a_sidecar_give_the_classes(tmp_path: Path) -> None:
    adc(tmp_path / "case_1")
    mask(tmp_path / "case_1", "seg.nii", value=7)
    rows = [{"index": 7, "name": "Infarct"}, {"index": 2, "name": "penumbra"}]
    (tmp_path / "case_1/seg.json").write_text(json.dumps({"Labels": rows}))
    truth = open_cohort(tmp_path)["case_1"].read().truth
    assert truth is not None
    assert truth.scheme == CORE_PENUMBRA
    assert truth.mask("core").sum() == 4


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("core", "seg.nii: its labels must be rows of index and name; correct or remove them"),
        (
            [{"index": "x", "name": "core"}],
            "seg.nii: a label's index is 'x', not a whole number from 0 to 65535; correct the table",
        ),
        ([{"index": 1, "name": "cores"}], "seg.nii names a class 'cores'; did you mean 'core'?"),
        ([{"index": 0, "name": "background"}], "seg.nii names no class but the background; name the lesion"),
    ],
)
def test_a_table_of_labels_that_is_wrong_is_one_row(tmp_path: Path, rows: object, text: str) -> None:
    mask(adc(tmp_path / "case_1").parent, "seg.nii")
    (tmp_path / "case_1/seg.json").write_text(json.dumps({"Labels": rows}))
    (entry,) = open_cohort(tmp_path)
    assert [problem.message for problem in entry.problems] == [text]


def test_values_that_mean_nothing_are_told(tmp_path: Path) -> None:
    mask(adc(tmp_path / "case_1").parent, value=3)
    with pytest.raises(LabelError) as caught:
        open_cohort(tmp_path)["case_1"].read()
    assert str(caught.value) == "the truth lesion.nii holds 3; known: 0 background, 1 lesion"


def test_a_truth_of_fractions_is_told(tmp_path: Path) -> None:
    save(adc(tmp_path / "case_1").parent / "lesion.nii", adc_map() / 1000)
    with pytest.raises(
        LabelError, match=r"^the truth lesion.nii holds 0\.60\d+, .* and \d+ more; known: 0 background, "
    ):
        open_cohort(tmp_path)["case_1"].read()


def test_a_truth_elsewhere_is_told(tmp_path: Path) -> None:
    adc(tmp_path / "case_1")
    save(tmp_path / "case_1/lesion.nii", np.zeros((12, 10, 4), np.uint8), PLAIN + np.eye(4, k=3))
    entry = open_cohort(tmp_path)["case_1"]
    with pytest.raises(
        GridError, match=r"^the truth lesion\.nii lies elsewhere than the images \(corners up to 1 mm apart\); "
    ):
        entry.read()
    assert entry.look() == (
        Problem("other-grid", "the truth lies elsewhere than ADC (corners up to 1 mm apart)", True),
    )


def test_a_truth_with_frames_is_told(tmp_path: Path) -> None:
    adc(tmp_path / "case_1")
    save(tmp_path / "case_1/lesion.nii", np.zeros((12, 10, 4, 2), np.uint8))
    entry = open_cohort(tmp_path)["case_1"]
    with pytest.raises(CaseError, match=r"^lesion\.nii has 2 volumes; a truth has one: give it$"):
        entry.read()
    assert entry.look() == (Problem("truth", "lesion.nii has 2 volumes; a truth has one: give it", True),)


def test_headers_tell_of_frames_grids_and_damage(tmp_path: Path) -> None:
    folder = adc(tmp_path / "case_1").parent
    save(folder / "dwi.nii", adc_map(), PLAIN + np.eye(4, k=3))
    save(folder / "cbf.nii", head_series())
    (folder / "tmax.nii").write_text("no image")
    save(folder / "ctp.nii", adc_map())
    assert open_cohort(tmp_path)["case_1"].look() == (
        Problem("frames", "ctp.nii has one frame; CTP needs frames over time", True),
        Problem(
            "unreadable",
            "tmax.nii is not a NIfTI image (no NIfTI header); convert it with dcm2niix or save it as .nii.gz",
            True,
        ),
        Problem("frames", "cbf.nii has 6 frames; CBF is one volume", True),
        Problem("other-grid", "DWI and CTP lie on different grids (corners up to 1 mm apart); resample one", True),
    )


def test_a_layout_that_means_to_resample_only_remarks_on_grids(tmp_path: Path) -> None:
    folder = adc(tmp_path / "case_1").parent
    save(folder / "dwi.nii", adc_map(), PLAIN + np.eye(4, k=3))
    entry = replace(open_cohort(tmp_path)["case_1"], reader=VolumeReader(Reading(resample=True)))
    assert entry.look() == (Problem("other-grid", "DWI is brought onto the grid of ADC (corners up to 1 mm apart)"),)
    assert sorted(entry.read().channels) == ["ADC", "DWI"]


@pytest.mark.parametrize("code", [problem for problem in PROBLEMS])
def test_every_code_of_a_problem_says_what_it_means(code: str) -> None:
    assert PROBLEMS[code]


def test_an_unknown_layout_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"^no layout 'niffti'; did you mean 'nifti'\?$"):
        open_cohort(tmp_path, "niffti")


def test_an_unknown_folder_is_told_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path)
    wanted = "; ".join(f"{layout.name}: {layout.looked_for}" for layout in LAYOUTS)
    assert str(caught.value) == f"{tmp_path} has no layout that strokelens knows; looked for {wanted}"


def test_a_cohort_one_folder_below_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "Dataset901_Diffgen" / "imagesTr").mkdir(parents=True)
    (tmp_path / "Dataset901_Diffgen" / "dataset.json").write_text("{}")
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path)
    told = f"{tmp_path} is no cohort, but Dataset901_Diffgen in it is one of layout nnunet; give that"
    assert str(caught.value) == told


def test_a_folder_of_two_layouts_is_ambiguous(tmp_path: Path) -> None:
    two_cases(tmp_path)
    with pytest.raises(CohortError, match=r"could be of layout one and two; choose one with --layout$"):
        recognised(tmp_path, [NiftiFolders("one"), NiftiFolders("two"), NiftiFolders("low", special=-1)])


def test_a_layout_that_finds_no_case_is_told(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"holds no case of layout nifti$"):
        open_cohort(tmp_path, "nifti")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_every_layout_is_found_by_its_name_and_refuses_a_strange_folder(layout: NiftiFolders, tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/notes.txt").touch()
    assert layout_named(layout.name) is layout
    assert not layout.recognises(tmp_path)
    assert layout.entries(tmp_path) == ()


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [("nothing", FileError, "does not exist; check the path"), ("file", FileError, "is a file; a cohort is a folder")],
)
def test_no_folder_is_told(tmp_path: Path, name: str, kind: type[StrokelensError], text: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(kind) as caught:
        open_cohort(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name} {text}"


def test_a_folder_with_too_many_entries_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_MOST_ENTRIES", 3)
    for number in range(5):
        (tmp_path / f"{number}").mkdir()
    with pytest.raises(FileError, match=r"holds more than 3 entries; give the folder of a cohort$"):
        open_cohort(tmp_path)


def test_what_the_system_refuses_otherwise_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot be read: File name too long; check the disk$"):
        open_cohort(tmp_path / ("x" * 300))


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_names_with_numbers_sort_as_numbers(numbers: list[int]) -> None:
    names = [f"case_{number}" for number in numbers]
    assert sorted(names, key=natural) == [f"case_{number}" for number in sorted(numbers)]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("0042", True),
        ("P003", True),
        ("patient-1", True),
        ("sim-123456", True),
        ("Smith1", False),
        ("19560412", False),
        ("case_00012", True),
        ("12345", False),
        ("p123456", False),
        ("\u0661\u0662", False),
        ("", False),
    ],
)
def test_only_short_numbers_are_public(name: str, kept: bool) -> None:
    assert public_id(name) == (name if kept else None)


def test_a_written_truth_is_read_back(tmp_path: Path) -> None:
    adc(tmp_path / "case_1")
    labels = np.random.default_rng(0).integers(0, 3, (12, 10, 4)).astype(np.uint8)
    write_segmentation(tmp_path / "case_1/truth.nii.gz", Segmentation(labels, Grid((12, 10, 4), PLAIN), CORE_PENUMBRA))
    truth = open_cohort(tmp_path)["case_1"].read().truth
    assert truth is not None
    assert np.array_equal(truth.labels, labels)
