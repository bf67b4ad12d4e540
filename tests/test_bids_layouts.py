"""Trees that are laid out like BIDS: ISLES 2022 and 2024, BIDS and its derivatives, read and written."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strokelens.case import Case, Segmentation
from strokelens.cohorts.bids import write_derivative
from strokelens.cohorts.bids_layout import write_dataset
from strokelens.cohorts.cohort import Problem
from strokelens.cohorts.layouts import open_cohort
from strokelens.errors import CaseError, FileError
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA, LESION_ONLY
from tests.nifti_files import PLAIN, adc_map, as_nobody, head_series, nib, save

__all__ = ["as_nobody"]

FINE = np.diag([1.0, 1.0, 2.5, 1.0])


def mask(path: Path) -> Path:
    labels = np.zeros((12, 10, 4), np.uint8)
    labels[4:6, 4:6, 1] = 1
    return save(path, labels)


def volume(path: Path, low: float = 1, high: float = 9) -> Path:
    return save(path, np.random.default_rng(1).uniform(low, high, (12, 10, 4)).astype(np.float32))


@pytest.fixture
def isles2022(tmp_path: Path) -> Path:
    for number in (1, 2):
        start = f"sub-strokecase{number:04d}_ses-0001"
        place = tmp_path / f"sub-strokecase{number:04d}/ses-0001"
        save(place / f"dwi/{start}_adc.nii.gz", adc_map())
        save(place / f"dwi/{start}_dwi.nii.gz", adc_map(seed=2))
        save(place / f"anat/{start}_flair.nii.gz", adc_map((24, 20, 8)), FINE)
        mask(tmp_path / f"derivatives/sub-strokecase{number:04d}/ses-0001/{start}_msk.nii.gz")
    (tmp_path / "dataset_description.json").write_text("{}")
    return tmp_path


def test_isles_2022_is_read_with_flair_on_the_grid_of_diffusion(isles2022: Path) -> None:
    cohort = open_cohort(isles2022)
    assert cohort.layout == "isles2022"
    assert [entry.id for entry in cohort] == ["sub-strokecase0001_ses-0001", "sub-strokecase0002_ses-0001"]
    entry = cohort["sub-strokecase0001_ses-0001"]
    assert entry.person == "sub-strokecase0001"
    assert entry.look() == ()
    case = entry.read()
    assert sorted(case.channels) == ["ADC", "DWI", "FLAIR"]
    assert case["FLAIR"].shape == (12, 10, 4)
    assert case.truth is not None
    assert case.truth.mask("lesion").sum() == 4


def test_isles_2022_with_raw_data_in_a_folder_of_its_own(isles2022: Path) -> None:
    (isles2022 / "rawdata").mkdir()
    for subject in isles2022.glob("sub-*"):
        subject.rename(isles2022 / "rawdata" / subject.name)
    assert open_cohort(isles2022)["sub-strokecase0002_ses-0001"].truth is not None


@pytest.mark.parametrize("channel", ["adc", "dwi"])
def test_a_real_case_of_isles_2022_is_read(shared_data: Path, tmp_path: Path, channel: str) -> None:
    start = "sub-strokecase0001_ses-0001"
    for name in ("adc", "dwi"):
        target = tmp_path / f"sub-strokecase0001/ses-0001/dwi/{start}_{name}.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(shared_data / f"isles22_case0001/{start}_{name}.nii.gz")
    truth = tmp_path / f"derivatives/sub-strokecase0001/ses-0001/{start}_msk.nii.gz"
    truth.parent.mkdir(parents=True)
    truth.symlink_to(shared_data / f"isles22_case0001/{start}_msk.nii.gz")
    case = open_cohort(tmp_path)[start].read()
    assert case[channel.upper()].shape == (112, 112, 73)
    assert case.truth is not None
    assert case.truth.mask("lesion").sum() == 835


@pytest.fixture
def isles2024(tmp_path: Path) -> Path:
    subject = "sub-stroke0001"
    derived = tmp_path / f"derivatives/{subject}"
    for name, low, high in (("cbf", 5, 60), ("cbv", 1, 5), ("mtt", 2, 12), ("tmax", 0, 12)):
        volume(derived / f"ses-01/perfusion-maps/{subject}_ses-01_space-ncct_{name}.nii.gz", low, high)
    save(derived / f"ses-01/{subject}_ses-01_space-ncct_ctp.nii.gz", head_series(), interval=1.5)
    save(derived / f"ses-01/{subject}_ses-01_space-ncct_cta.nii.gz", head_series()[..., 0])
    mask(derived / f"ses-01/{subject}_ses-01_space-ncct_lvo-msk.nii.gz")
    mask(derived / f"ses-02/{subject}_ses-02_space-ncct_lesion-msk.nii.gz")
    save(derived / f"ses-02/{subject}_ses-02_space-ncct_adc.nii.gz", adc_map())
    save(tmp_path / f"raw_data/{subject}/ses-01/{subject}_ses-01_ncct.nii.gz", head_series()[..., 0])
    save(tmp_path / f"raw_data/{subject}/ses-01/{subject}_ses-01_cta.nii.gz", head_series((20, 20, 6, 2))[..., 0])
    (tmp_path / "phenotype/ses-01").mkdir(parents=True)
    (tmp_path / "phenotype/ses-02").mkdir(parents=True)
    (tmp_path / f"phenotype/ses-01/{subject}_ses-01_baseline.csv").write_text("Age,Sex,NIHSS at admission\n71,F,14\n")
    (tmp_path / "phenotype/ses-02/outcome.tsv").write_text(
        "participant_id\tmRS at 3 months\nsub-stroke0001\tn/a\nx\t3\n"
    )
    (tmp_path / "phenotype/notes.txt").touch()
    return tmp_path


def test_isles_2024_takes_images_of_the_first_day_on_the_grid_of_ncct(isles2024: Path) -> None:
    cohort = open_cohort(isles2024)
    (entry,) = cohort
    assert cohort.layout == "isles2024"
    assert (entry.id, entry.person) == ("sub-stroke0001", "sub-stroke0001")
    assert entry.channels == ("CTP", "Tmax", "CBF", "CBV", "MTT", "NCCT", "CTA")
    assert entry.files["CTA"][0].name == "sub-stroke0001_ses-01_space-ncct_cta.nii.gz"
    assert entry.clinical == {"age_years": 71.0, "sex": "F", "nihss": 14.0}
    assert entry.look() == ()
    case = entry.read()
    assert "CTP" not in case.channels
    assert case.truth is not None
    assert case.truth.mask("lesion").sum() == 4
    assert case.clinical == {"age_years": 71.0, "female": 1.0, "nihss": 14.0}


def test_isles_2024_without_phenotype_and_truth(isles2024: Path) -> None:
    for file in isles2024.rglob("*lesion-msk*"):
        file.unlink()
    (isles2024 / "phenotype").rename(isles2024 / "elsewhere")
    (entry,) = open_cohort(isles2024)
    assert (entry.truth, entry.clinical, entry.problems) == (None, {}, ())


def broken_phenotype(folder: Path) -> None:
    (folder / "phenotype/ses-01/other.csv").write_bytes(b"")


def two_lesions(folder: Path) -> None:
    mask(folder / "derivatives/sub-stroke0001/ses-02/sub-stroke0001_ses-02_lesion-msk.nii.gz")


def two_maps(folder: Path) -> None:
    volume(folder / "raw_data/sub-stroke0001/ses-01/x_space-ncct_tmax.nii.gz")


def no_images(folder: Path) -> None:
    for file in folder.rglob("*.nii.gz"):
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (broken_phenotype, Problem("clinical", "other.csv has 0 rows, not 1 to 100000; correct or remove it")),
        (
            two_lesions,
            Problem(
                "ambiguous",
                "2 lesions (sub-stroke0001_ses-02_lesion-msk.nii.gz, "
                "sub-stroke0001_ses-02_space-ncct_lesion-msk.nii.gz); none is taken",
            ),
        ),
        (
            two_maps,
            Problem(
                "unreadable",
                "two files hold Tmax: sub-stroke0001_ses-01_space-ncct_tmax.nii.gz and x_space-ncct_tmax.nii.gz; "
                "remove one",
                True,
            ),
        ),
        (no_images, Problem("unreadable", "sub-stroke0001 holds no image with a known name", True)),
    ],
)
def test_what_is_wrong_in_isles_2024_is_told(isles2024: Path, damage: Callable[[Path], None], problem: Problem) -> None:
    damage(isles2024)
    (entry,) = open_cohort(isles2024)
    assert entry.problems == (problem,)


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    """Two sessions of one subject, one of another."""
    for start, place in (("sub-1_ses-a", "sub-1/ses-a"), ("sub-1_ses-b", "sub-1/ses-b"), ("sub-2", "sub-2")):
        save(tmp_path / place / f"dwi/{start}_adc.nii.gz", adc_map())
    mask(tmp_path / "derivatives/manual/sub-1/ses-a/anat/sub-1_ses-a_label-L_mask.nii.gz")
    mask(tmp_path / "derivatives/manual/sub-2/anat/sub-2_desc-brain_mask.nii.gz")
    (tmp_path / "participants.tsv").write_text("participant_id\tgroup\tage\tnihss\nsub-1\tLVO\t66\tn/a\n")
    return tmp_path


def test_bids_has_one_case_a_session_and_one_person_a_subject(bids: Path) -> None:
    cohort = open_cohort(bids)
    assert cohort.layout == "bids"
    assert [(entry.id, entry.person, entry.group) for entry in cohort] == [
        ("sub-1_ses-a", "sub-1", "LVO"),
        ("sub-1_ses-b", "sub-1", "LVO"),
        ("sub-2", "sub-2", None),
    ]
    assert [entry.truth is None for entry in cohort] == [False, True, True]
    assert cohort["sub-1_ses-a"].clinical == {"age_years": 66.0}


def test_a_file_without_a_session_belongs_to_each(bids: Path) -> None:
    save(bids / "sub-1/sub-1_flair.nii.gz", adc_map())
    assert [entry.channels for entry in open_cohort(bids)] == [("ADC", "FLAIR"), ("ADC", "FLAIR"), ("ADC",)]


def test_a_result_of_software_is_no_truth(bids: Path) -> None:
    grid = Grid((12, 10, 4), PLAIN)
    found = Segmentation(np.ones((12, 10, 4), np.uint8), grid, CORE_PENUMBRA)
    write_derivative(bids / "derivatives/strokelens", "sub-2", found, {}, {}, version="1")
    assert open_cohort(bids)["sub-2"].truth is None
    assert open_cohort(bids)["sub-1_ses-a"].truth is not None


def test_a_segmentation_goes_before_masks_and_its_table_gives_the_classes(bids: Path) -> None:
    path = bids / "derivatives/manual/sub-2/anat/sub-2_dseg.nii.gz"
    mask(path)
    mask(path.with_name("sub-2_label-L_mask.nii.gz"))
    path.with_name("sub-2_dseg.tsv").write_text("index\tname\tabbreviation\n1\tcore\tCORE\n2\tpenumbra\tPEN\n")
    truth = open_cohort(bids)["sub-2"].read().truth
    assert truth is not None
    assert truth.mask("core").sum() == 4


def test_two_masks_are_ambiguous_and_two_maps_unusable(bids: Path) -> None:
    mask(bids / "derivatives/other/sub-1/ses-a/sub-1_ses-a_label-L_mask.nii.gz")
    save(bids / "derivatives/other/sub-1/ses-b/sub-1_ses-b_adc.nii.gz", adc_map())
    cohort = open_cohort(bids)
    name = "sub-1_ses-a_label-L_mask.nii.gz"
    assert cohort["sub-1_ses-a"].problems == (
        Problem("ambiguous", f"2 files could be the truth ({name}, {name}); none is taken"),
    )
    assert cohort["sub-1_ses-b"].problems == (
        Problem(
            "unreadable",
            "two files hold ADC: sub-1_ses-b_adc.nii.gz and sub-1_ses-b_adc.nii.gz; remove one",
            True,
        ),
    )
    assert cohort["sub-1_ses-b"].person == "sub-1"


def test_loose_files_are_parted_by_their_subjects(tmp_path: Path) -> None:
    for start in ("sub-1_ses-a", "sub-1_ses-b", "sub-2"):
        save(tmp_path / f"{start}_adc.nii.gz", adc_map())
    mask(tmp_path / "sub-2_msk.nii.gz")
    (tmp_path / "sub-3_notes.txt").touch()
    cohort = open_cohort(tmp_path)
    assert cohort.layout == "bids"
    assert [(entry.id, entry.person) for entry in cohort] == [
        ("sub-1_ses-a", "sub-1"),
        ("sub-1_ses-b", "sub-1"),
        ("sub-2", "sub-2"),
    ]
    assert {entry.folder for entry in cohort} == {tmp_path}
    truth = cohort["sub-2"].read().truth
    assert truth is not None
    assert truth.mask("lesion").sum() == 4


def test_the_real_files_of_two_subjects_are_two_cases(shared_data: Path) -> None:
    cohort = open_cohort(shared_data / "isles22_scores")
    assert [entry.id for entry in cohort] == ["sub-strokecase0002_ses-0001", "sub-strokecase0003_ses-0001"]


def test_a_table_of_participants_that_is_none_is_a_remark(bids: Path) -> None:
    (bids / "participants.tsv").write_bytes(b"")
    text = "participants.tsv has 0 rows, not 1 to 100000; correct or remove it"
    assert {entry.problems for entry in open_cohort(bids)} == {(Problem("clinical", text),)}
    (bids / "participants.tsv").write_text("name\tage\nsub-1\t4\n")
    assert open_cohort(bids)["sub-1_ses-a"].clinical == {}


def test_a_subject_that_may_not_be_read_is_one_row(bids: Path, request: pytest.FixtureRequest) -> None:
    (bids / "sub-2").chmod(0)
    for parent in (bids, *list(bids.parents)[:3]):
        parent.chmod(0o755)
    request.getfixturevalue("as_nobody")
    cohort = open_cohort(bids)
    assert [entry.usable for entry in cohort] == [True, True, False]


def case(case_id: str, *, group: str | None = "LVO", series: bool = False) -> Case:
    grid = Grid((12, 10, 4), PLAIN)
    labels = np.random.default_rng(0).integers(0, 3, grid.shape).astype(np.uint8)
    core = (labels == 2).astype(np.float32)
    truth = Segmentation(labels, grid, CORE_PENUMBRA, {"core": core})
    channels: dict[str, object] = {"ADC": adc_map(), "Tmax": adc_map() / 200}
    if series:
        channels["PWI"] = head_series() + 2000
    return Case(
        case_id,
        grid,
        channels,  # type: ignore[arg-type]
        truth,
        {"age_years": 61.0},
        group,
        time_s=np.arange(6) * 1.5 if series else None,
        simulated=True,
    )


def test_written_cases_are_read_back(tmp_path: Path) -> None:
    lesion = Segmentation(np.ones((12, 10, 4), np.uint8), Grid((12, 10, 4), PLAIN), LESION_ONLY)
    cases = [
        case("sub-1_ses-2"),
        replace(case("Patient 7", group=None), truth=None),
        replace(case("x", series=True), truth=lesion),
    ]
    assert write_dataset(tmp_path, cases, version="1.2.3") == ("sub-1_ses-2", "sub-Patient7", "sub-x")
    cohort = open_cohort(tmp_path)
    assert cohort.layout == "bids"
    first = cohort["sub-1_ses-2"].read()
    assert (first.group, dict(first.clinical), first.simulated) == ("LVO", {"age_years": 61.0}, True)
    assert np.array_equal(first["ADC"], adc_map())
    assert first.truth is not None
    assert cases[0].truth is not None
    assert np.array_equal(first.truth.labels, cases[0].truth.labels)
    assert cohort["sub-Patient7"].truth is None
    assert cohort["sub-Patient7"].group is None
    assert cohort["sub-x"].channels == ("PWI", "Tmax", "ADC")
    last = cohort["sub-x"].read().truth
    assert last is not None
    assert last.scheme == LESION_ONLY
    about = json.loads((tmp_path / "dataset_description.json").read_text())
    assert about["DatasetType"] == "raw"


def test_a_mask_and_probabilities_are_written_as_bids_names_them(tmp_path: Path) -> None:
    write_dataset(tmp_path, [case("sub-1")], version="1")
    place = tmp_path / "derivatives/truth/sub-1/anat"
    names = sorted(path.name for path in place.iterdir() if not path.name.endswith(".json"))
    assert names == [
        "sub-1_space-orig_desc-truth_dseg.nii.gz",
        "sub-1_space-orig_desc-truth_dseg.tsv",
        "sub-1_space-orig_label-L_desc-core_mask.nii.gz",
        "sub-1_space-orig_label-core_desc-truth_probseg.nii.gz",
    ]
    core = np.asarray(nib.load(place / names[2]).dataobj)
    assert np.array_equal(core, np.asarray(nib.load(place / names[3]).dataobj))
    assert json.loads((place / "sub-1_space-orig_label-L_desc-core_mask.json").read_text())["Manual"] is True


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError) as caught:
        write_dataset(tmp_path, [case("a b"), case("ab")], version="1")
    assert str(caught.value) == (
        "two cases would get one name in BIDS; give them ids that differ in letters and digits"
    )


def test_a_folder_that_is_not_there_has_no_subjects(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        open_cohort(tmp_path / "x", "bids")
