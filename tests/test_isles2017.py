"""The layout of ISLES 2017: tokens, gaps in the numbers, tables, grids of each case, and the file of a submission."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strokelens.case import Case, Segmentation
from strokelens.cohorts.cohort import Cohort, Entry, Problem
from strokelens.cohorts.inspection import by_voxels, inspect
from strokelens.cohorts.isles2017 import TOKEN_OF, smir_id, write_case, write_cases, write_submission, write_tables
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.written import written
from strokelens.errors import CaseError, GridError, LabelError, StrokelensError
from strokelens.grid import Grid
from strokelens.labels import BACKGROUND, BRAIN, CORE_ONLY, CORE_PENUMBRA, LESION_ONLY, LabelScheme
from tests.nifti_files import PLAIN, adc_map, nib, save

TRAINING = "ID,mRS on 90 days,TimeToMRS,TICI,TSS,TTT\ntraining_1,-,,2b,185,\ntraining_4,4,90,3,116,93\n"
TESTING = "ID,TICI,TSS,TTT\ntest_1,2a,n/a,75\n"


def images(
    case: Path, first: int, *, prefix: str = "VSD", suffix: str = ".nii", shape: tuple[int, int, int] = (12, 10, 4)
) -> None:
    """The six maps of a case, and 4DPWI, in folders of their own."""
    rng = np.random.default_rng(first)
    for offset, token in enumerate(("ADC", "MTT", "rCBF", "rCBV", "Tmax", "TTP")):
        name = f"{prefix}.Brain.XX.O.MR_{token}.{first + offset}"
        values = adc_map(shape) if token == "ADC" else rng.uniform(1, 9, shape).astype(np.float32)
        save(case / name / f"{name}{suffix}", values)
    name = f"{prefix}.Brain.XX.O.MR_4DPWI.{first + 9}"
    save(case / name / f"{name}{suffix}", rng.uniform(1, 900, (*shape, 1, 6)).astype(np.float32), interval=1.5)


def truth(case: Path, name: str = "VSD.Brain_3more.XX.XX.OT.128050") -> Path:
    labels = np.zeros((12, 10, 4), np.uint8)
    labels[4:6, 4:6, 1] = 1
    return save(case / name / f"{name}.nii", labels)


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    """Training cases 1, 2 and 4 and the testing case 1, as the challenge gave them; 3 was never there."""
    images(tmp_path / "training_1", 127013)
    truth(tmp_path / "training_1")
    images(tmp_path / "training_2", 127093, prefix="SMIR", suffix=".nii.gz")
    truth(tmp_path / "training_2", "SMIR.Brain.XX.O.OT.345678")
    images(tmp_path / "training_4", 127205)
    images(tmp_path / "test_1", 129318)
    (tmp_path / "ISLES2017_Training.csv").write_text(TRAINING)
    (tmp_path / "ISLES2017_Testing.csv").write_text(TESTING)
    return tmp_path


@pytest.fixture
def cohort(challenge: Path) -> Cohort:
    return open_cohort(challenge)


def test_it_is_recognised_and_gaps_in_the_numbers_are_no_problem(cohort: Cohort) -> None:
    assert cohort.layout == "isles2017"
    assert [entry.id for entry in cohort] == ["test_1", "training_1", "training_2", "training_4"]
    assert [entry.problems for entry in cohort] == [(), (), (), ()]


@pytest.mark.parametrize("case_id", ["training_1", "training_2"])
def test_maps_are_told_by_their_token_whatever_the_prefix_and_packing(cohort: Cohort, case_id: str) -> None:
    entry = cohort[case_id]
    assert sorted(entry.channels) == ["ADC", "CBF", "CBV", "MTT", "PWI", "TTP", "Tmax"]
    case = entry.read()
    assert sorted(case.channels) == ["ADC", "CBF", "CBV", "MTT", "TTP", "Tmax"]
    assert case.truth is not None
    assert case.truth.scheme == LESION_ONLY
    assert case.truth.mask("lesion").sum() == 4
    assert case.sources["CBF"].note.startswith("relative map (rCBF")


def test_the_series_of_five_axes_is_read_where_it_is_asked_for(cohort: Cohort) -> None:
    case = cohort["training_1"].read(channels=["PWI"])
    assert case["PWI"].shape == (12, 10, 4, 6)
    assert case.time_s is not None
    assert np.allclose(np.diff(case.time_s), 1.5)


def test_clinical_values_are_typed_and_missing_ones_absent(cohort: Cohort) -> None:
    assert cohort["training_1"].clinical == {"tici": "2b", "since_stroke_min": 185.0}
    assert cohort["training_4"].clinical == {
        "mrs": 4.0,
        "mrs_days": 90.0,
        "tici": 3.0,
        "since_stroke_min": 116.0,
        "to_treatment_min": 93.0,
    }
    assert cohort["test_1"].clinical == {"tici": "2a", "to_treatment_min": 75.0}
    assert cohort["training_2"].clinical == {}
    assert cohort["training_1"].read(channels=["ADC"]).clinical == {"tici": 2.5, "since_stroke_min": 185.0}


def test_each_case_has_its_own_grid(challenge: Path) -> None:
    images(challenge / "training_5", 127213, shape=(16, 16, 5))
    shapes = {entry.id: entry.read(channels=["ADC"]).grid.shape for entry in open_cohort(challenge)}
    assert shapes["training_5"] == (16, 16, 5)
    assert shapes["training_4"] == (12, 10, 4)


def test_cases_may_lie_one_folder_below(challenge: Path) -> None:
    (challenge / "Training").mkdir()
    for case in challenge.glob("training_*"):
        case.rename(challenge / "Training" / case.name)
    assert len(open_cohort(challenge)) == 4


def test_a_testing_case_has_no_truth(cohort: Cohort) -> None:
    assert cohort["test_1"].truth is None


def test_a_broken_case_is_one_row(challenge: Path) -> None:
    (challenge / "training_6").mkdir()
    images(challenge / "training_7", 127500)
    images(challenge / "training_7", 127600)
    truth(challenge / "training_4")
    truth(challenge / "training_4", "OT.1")
    problems = {entry.id: entry.problems for entry in open_cohort(challenge) if entry.problems}
    assert problems == {
        "training_4": (
            Problem(
                "ambiguous",
                "2 files could be the truth (OT.1.nii, VSD.Brain_3more.XX.XX.OT.128050.nii); none is taken",
            ),
        ),
        "training_6": (
            Problem("unreadable", "training_6 holds no image named by the challenge (…MR_ADC.<id>.nii)", True),
        ),
        "training_7": (
            Problem(
                "unreadable",
                "two files hold PWI: VSD.Brain.XX.O.MR_4DPWI.127509.nii and VSD.Brain.XX.O.MR_4DPWI.127609.nii",
                True,
            ),
        ),
    }


def test_a_table_that_is_none_is_a_remark_on_every_case(challenge: Path) -> None:
    (challenge / "ISLES2017_Testing.csv").write_bytes(b"\n")
    text = "ISLES2017_Testing.csv has 0 rows, not 1 to 100000; correct or remove it"
    assert {entry.problems for entry in open_cohort(challenge)} == {(Problem("clinical", text),)}


def test_a_table_of_three_columns_tells_nothing(challenge: Path) -> None:
    (challenge / "ISLES2017_Testing.csv").write_text("ID,TICI,TSS\ntest_1,3,5\n")
    assert open_cohort(challenge)["test_1"].clinical == {}


@pytest.mark.parametrize(("case_id", "expected"), [("training_1", "127014"), ("test_1", "129319")])
def test_the_id_is_that_of_mtt(cohort: Cohort, case_id: str, expected: str) -> None:
    assert smir_id(cohort[case_id]) == expected


def lesion(entry: Entry, scheme: LabelScheme = LESION_ONLY) -> Segmentation:
    labels = np.zeros((12, 10, 4), np.uint8)
    labels[2:4, 2:4, 2] = len(scheme) - 1
    return Segmentation(labels, entry.read(channels=["ADC"]).grid, scheme)


@pytest.mark.parametrize("scheme", [LESION_ONLY, CORE_PENUMBRA, CORE_ONLY])
def test_a_submission_is_named_and_stored_as_the_challenge_asks(
    cohort: Cohort, tmp_path: Path, scheme: LabelScheme
) -> None:
    entry = cohort["test_1"]
    path = write_submission(tmp_path, entry, lesion(entry, scheme), description="etjoa001_UNet3D_test_1")
    assert path.name == "SMIR.etjoa001_UNet3D_test_1.129319.nii"
    image = nib.load(path)
    assert image.get_data_dtype() == np.uint16
    assert np.unique(image.dataobj).tolist() == [0, 1]
    assert np.asarray(image.dataobj).sum() == 4
    assert np.allclose(image.affine, nib.load(entry.files["ADC"][0]).affine)
    assert not path.with_suffix(".json").exists()


def test_what_cannot_be_submitted_is_told(cohort: Cohort, tmp_path: Path) -> None:
    entry = cohort["test_1"]
    good = lesion(entry)
    elsewhere = Segmentation(good.labels, Grid((12, 10, 4), PLAIN + np.eye(4, k=3)), LESION_ONLY)
    brain = Segmentation(good.labels, good.grid, LabelScheme((BACKGROUND, BRAIN)))
    bare = Entry("x", "x", tmp_path, {"ADC": entry.files["ADC"]}, entry.reader)
    wrong: list[tuple[Entry, Segmentation, str, type[StrokelensError], str]] = [
        (entry, good, "a b", CaseError, "a submission cannot be described by 'a b'; give 1 to 80 of A-Z a-z 0-9 _ -"),
        (entry, brain, "a", LabelError, "a submission needs a lesion or a core, not background, brain"),
        (
            entry,
            elsewhere,
            "a",
            GridError,
            "the segmentation of test_1 lies elsewhere than VSD.Brain.XX.O.MR_ADC.129318.nii "
            "(corners up to 1 mm apart)",
        ),
        (
            bare,
            good,
            "a",
            CaseError,
            "x has no MTT file with an id (…MR_MTT.<id>.nii), by which a submission is named",
        ),
    ]
    for case, segmentation, description, kind, text in wrong:
        with pytest.raises(kind) as caught:
            write_submission(tmp_path, case, segmentation, description=description)
        assert str(caught.value) == text


def case(scheme: LabelScheme | None = CORE_PENUMBRA, *, simulated: bool = True) -> Case:
    grid = Grid((12, 10, 4), PLAIN)
    rng = np.random.default_rng(0)
    channels = {name: rng.uniform(1, 9, grid.shape) for name in TOKEN_OF} | {"ADC": adc_map()}
    labels = np.zeros(grid.shape, np.uint8)
    labels[4:6, 4:6, 1] = 1
    labels[4, 4, 1] = len(scheme or ()) - 1 if scheme else 0
    truth = Segmentation(labels, grid, scheme) if scheme else None
    return Case("a", grid, channels, truth, {"mrs": 2.0}, simulated=simulated)


def test_written_cases_are_read_back(tmp_path: Path) -> None:
    assert write_cases(tmp_path, [case(), case(LESION_ONLY, simulated=False), case(None)]) == (
        "training_1",
        "training_2",
        "training_3",
    )
    cohort = open_cohort(tmp_path)
    assert cohort.layout == "isles2017"
    for entry in cohort:
        assert entry.look() == ()
        back = entry.read()
        assert all(np.allclose(back[name], case()[name]) for name in TOKEN_OF)
        assert back.clinical == {"mrs": 2.0}
        assert back.simulated == (entry.id != "training_2")
        if entry.id == "training_3":
            assert back.truth is None
        else:
            assert back.truth is not None
            assert back.truth.mask("lesion").sum() == 4
    assert smir_id(cohort["training_1"]) == "900011"


def test_a_case_without_maps_of_the_challenge_is_told(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"^a has no map of ISLES 2017; it has DWI$"):
        write_cases(tmp_path, [Case("a", Grid((4, 4, 4), PLAIN), {"DWI": np.ones((4, 4, 4))})])


def with_series(values: np.ndarray) -> Case:
    one = case()
    return replace(one, channels={**one.channels, "PWI": values}, time_s=np.arange(5) * 1.5, echo_time_s=0.03)


@pytest.mark.parametrize(("scale", "stored"), [(1.0, "int16"), (1.001, "float32"), (100.0, "float32")])
def test_a_series_is_written_with_five_axes_and_read_back(tmp_path: Path, scale: float, stored: str) -> None:
    values = scale * np.random.default_rng(1).integers(1, 900, (12, 10, 4, 5)).astype(np.float32)
    write_cases(tmp_path, [with_series(values)])
    (path,) = tmp_path.glob("training_1/*4DPWI*/*.nii")
    image = nib.load(path)
    assert image.shape == (12, 10, 4, 1, 5)
    assert image.header.get_data_dtype() == np.dtype(stored)
    assert image.header["pixdim"][5] == 1.5
    back = open_cohort(tmp_path)["training_1"].read(channels=["PWI"])
    assert np.array_equal(back["PWI"], values)
    assert back.time_s is not None
    assert back.time_s.tolist() == [0, 1.5, 3, 4.5, 6]
    assert back.echo_time_s == pytest.approx(0.03)


def test_cases_for_testing_have_no_truth_and_a_table_of_their_own(tmp_path: Path) -> None:
    one = replace(case(), clinical={"mrs": 2.0, "tici": 3.0, "to_treatment_min": 75.0})
    for name in ("test_1", "training_1"):
        write_case(tmp_path, name, one)
    write_tables(tmp_path, [written("test_1", one), written("training_1", one)])
    assert (tmp_path / "ISLES2017_Testing.csv").read_text() == "ID,TICI,TSS,TTT\ntest_1,3,,75\n"
    assert (tmp_path / "ISLES2017_Training.csv").read_text() == "ID,mRS,ttMRS,TICI,TSS,TTT\ntraining_1,2,,3,,75\n"
    cohort = open_cohort(tmp_path)
    assert cohort["test_1"].truth is None
    assert cohort["training_1"].truth is not None
    assert smir_id(cohort["test_1"]) != smir_id(cohort["training_1"])
    assert cohort["test_1"].numbers == {"tici": 3.0, "to_treatment_min": 75.0}


def test_the_challenge_has_no_missing_voxels(tmp_path: Path) -> None:
    holes = np.full((12, 10, 4), np.nan)
    write_cases(tmp_path, [replace(case(), channels={**case().channels, "MTT": holes})])
    (path,) = tmp_path.glob("training_1/*MTT*/*.nii")
    assert not np.asarray(nib.load(path).dataobj).any()


def test_a_series_beside_maps_is_read_with_the_voxels(tmp_path: Path) -> None:
    images(tmp_path / "training_1", 127013, suffix=".nii.gz")
    (row,) = inspect(open_cohort(tmp_path), by_voxels).rows
    assert row.problems == ()
    (path,) = tmp_path.glob("training_1/*4DPWI*/*.nii.gz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (row,) = inspect(open_cohort(tmp_path), by_voxels).rows
    assert [(each.code, each.unusable) for each in row.problems] == [("unreadable", True)]
    assert "gzip data end too early" in row.problems[0].message


def test_the_key_of_a_case_is_the_same_in_every_process(challenge: Path) -> None:
    """Sets are in another order in each, and the relative maps of a case are one: it was prepared again and again."""
    code = (
        "import sys; from pathlib import Path; from strokelens.cohorts.digest import digest_of; "
        "from strokelens.cohorts.layouts import open_cohort; "
        "print([digest_of(entry, ('ADC', 'CBF', 'CBV')) for entry in open_cohort(Path(sys.argv[1]))])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(challenge)],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3, 4)
    }
    assert len(found) == 1


def test_grades_of_reperfusion_are_numbers_to_a_network(cohort: Cohort) -> None:
    assert [entry.numbers.get("tici") for entry in cohort] == [2.0, 2.5, None, 3.0]
