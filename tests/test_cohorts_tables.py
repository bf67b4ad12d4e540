"""Tables beside cohorts as people write them: columns that moved, numbers that cannot be, rows of nobody."""

from pathlib import Path

import numpy as np
import pytest

from strokelens.case import Segmentation
from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.metaimage import write_labels
from strokelens.errors import FileError
from strokelens.grid import Grid
from strokelens.labels import LESION_ONLY
from tests.nifti_files import adc_map, save
from tests.test_cohorts_as_they_come import patients, remarks

# ── ISLES 2017 and 2024

WANTED = {"mrs": 4, "mrs_days": 90, "tici": 3, "since_stroke_min": 116, "to_treatment_min": 93}


def challenge(folder: Path, table: str, **others: str) -> Cohort:
    for name in (f"VSD.Brain.XX.O.MR_ADC.{number}" for number in (1,)):
        save(folder / "training_1" / name / f"{name}.nii", adc_map())
    (folder / "ISLES2017_Training.csv").write_text(table)
    for name, text in others.items():
        (folder / f"{name}.csv").write_text(text)
    return open_cohort(folder)


@pytest.mark.parametrize(
    "table",
    [
        "ID,mRS,ttMRS,TICI,TSS,TTT\ntraining_1,4,90,3,116,93\n",
        "ID,mRS,ttMRS,TICI,TSS,TTT,\ntraining_1,4,90,3,116,93,\n",
        "ID,TICI,TSS,TTT,mRS on 90 days,TimeToMRS\ntraining_1,3,116,93,4,90\n",
        "ID,mRS,ttMRS,TICI,TSS,TTT,note\ntraining_1,4,90,3,116,93,moved\n",
        "ID,a,b,c,d,e,,\ntraining_1,4,90,3,116,93,,\n",
    ],
)
def test_columns_are_told_by_their_titles_and_else_by_their_place(tmp_path: Path, table: str) -> None:
    assert challenge(tmp_path, table)["training_1"].clinical == WANTED


def test_a_table_that_is_none_does_not_hide_the_next(tmp_path: Path) -> None:
    table = "ID,mRS,ttMRS,TICI,TSS,TTT\ntraining_1,4,90,3,116,93\n"
    cohort = challenge(tmp_path, table, A_notes="")
    assert cohort["training_1"].clinical == WANTED
    assert remarks(cohort, "training_1") == ["A_notes.csv has 0 rows, not 1 to 100000; correct or remove it"]


def test_rows_of_one_case_that_differ_give_nothing(tmp_path: Path) -> None:
    cohort = challenge(tmp_path, "ID,mRS,ttMRS,TICI,TSS,TTT\ntraining_1,4,90,3,116,93\ntraining_1,1,1,1,1,1\n")
    text = "ISLES2017_Training.csv has 2 rows of training_1 that differ; none is taken; correct the table"
    assert (cohort["training_1"].clinical, remarks(cohort, "training_1")) == ({}, [text])


def test_tables_of_isles_2024_are_read_past_a_bad_one_and_checked(tmp_path: Path) -> None:
    place = tmp_path / "derivatives/sub-stroke0001/ses-01"
    save(place / "sub-stroke0001_ses-01_space-ncct_tmax.nii.gz", adc_map() / 100)
    (tmp_path / "phenotype").mkdir()
    (tmp_path / "phenotype/a.csv").write_text("")
    (tmp_path / "phenotype/b.csv").write_text("id,NIHSS at admission,age\nsub-stroke0001,99,64\n")
    cohort = open_cohort(tmp_path)
    assert cohort["sub-stroke0001"].clinical == {"age_years": 64}
    assert remarks(cohort, "sub-stroke0001") == [
        "a.csv has 0 rows, not 1 to 100000; correct or remove it",
        "b.csv: nihss is '99', not 0 to 42, and left out",
    ]


def test_tables_of_isles_2024_that_contradict_themselves_or_each_other_give_nothing(tmp_path: Path) -> None:
    place = tmp_path / "derivatives/sub-stroke0001/ses-01"
    save(place / "sub-stroke0001_ses-01_space-ncct_tmax.nii.gz", adc_map() / 100)
    (tmp_path / "phenotype").mkdir()
    rows = "sub-stroke0001,14,64\nsub-stroke0001,9,64\nsub-stroke0002,1,1\nx,1,1\n"
    (tmp_path / "phenotype/a.csv").write_text(f"id,NIHSS,age\n{rows}")
    (tmp_path / "phenotype/b.csv").write_text("id,mRS,age,NIHSS\nsub-stroke0001,2,65,7\n")
    (tmp_path / "phenotype/c.csv").write_text("id,mRS,age,NIHSS\nsub-stroke0001,2,66,n/a\n")
    cohort = open_cohort(tmp_path)
    assert cohort["sub-stroke0001"].clinical == {"mrs": 2, "nihss": 7}
    assert remarks(cohort, "sub-stroke0001") == [
        "a.csv has 2 rows of sub-stroke0001 that differ; none is taken; correct the table",
        "age_years is 65 in b.csv and 66 in c.csv; none is taken; correct the tables",
    ]
    assert cohort.notes == ("a.csv has rows of nobody here: 1 without an id, sub-stroke0002",)


# ── one file a case


def test_impossible_values_of_a_patient_are_left_out_and_told(tmp_path: Path) -> None:
    save(tmp_path / "case_1/adc.nii", adc_map())
    about = '{"group": "lvo", "clinical": {"nihss": -3, "age_years": 64, "collaterals": 7}}'
    (tmp_path / "case_1/patient.json").write_text(about)
    cohort = open_cohort(tmp_path)
    assert (cohort["case_1"].group, cohort["case_1"].clinical) == ("LVO", {"age_years": 64, "collaterals": 7})
    assert remarks(cohort, "case_1") == ["patient.json: nihss is '-3', not 0 to 42, and left out"]


def test_impossible_values_of_a_container_are_left_out_and_told(tmp_path: Path) -> None:
    array = np.ones((4, 4, 4), np.uint8)
    write_labels(tmp_path / "images/adc/x.mha", Segmentation(array, Grid(array.shape, np.eye(4)), LESION_ONLY))
    (tmp_path / "acute-stroke-clinical-information.json").write_text('{"age": 64, "nihss": 99, "sex": "?"}')
    (entry,) = cohort = open_cohort(tmp_path)
    assert (cohort.layout, entry.clinical) == ("grand_challenge", {"age_years": 64})
    name = "acute-stroke-clinical-information.json"
    assert remarks(cohort, entry.id) == [f"{name}: nihss is '99', not 0 to 42, and left out"]


# ── participants.tsv


def test_participants_may_be_numbers_and_are_checked(tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        save(tmp_path / f"sub-{number}/dwi/sub-{number}_adc.nii", adc_map(seed=number))
    rows = ["sub-1\tcontrol\t64\t-3", "2\tlvo\t7O\t9", "sub-3\tLVO\t1\t1", "sub-3\tWIS\t1\t1", "sub-9\tn/a\t1\t1"]
    (tmp_path / "participants.tsv").write_text("\n".join(["participant_id\tgroup\tage\tnihss", *rows]))
    cohort = open_cohort(tmp_path)
    told = {entry.id: (entry.group, dict(entry.clinical), remarks(cohort, entry.id)) for entry in cohort}
    assert told == {
        "sub-1": ("control", {"age_years": 64}, ["participants.tsv: nihss is '-3', not 0 to 42, and left out"]),
        "sub-2": ("LVO", {"nihss": 9}, ["participants.tsv: age_years is '7O', not 0 to 120, and left out"]),
        "sub-3": (None, {}, ["participants.tsv has 2 rows of sub-3 that differ; none is taken; correct the table"]),
        "sub-4": (None, {}, ["participants.tsv has no row of sub-4; add it"]),
    }
    assert cohort.notes == (
        "participants.tsv has groups other than LVO, Non-LVO, WIS: control (1); splits part by them",
        "participants.tsv has rows of nobody here: sub-9",
    )


# ── cohort.json


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ('{"spacing_mm": [0, -1, NaN]}', "cohort.json: spacing_mm is 0, -1, nan, not 0.05 to 50 mm each; correct it"),
        ('{"spacing_mm": [1, 1, 1' + "0" * 400 + "]}", "cohort.json: spacing_mm must be 3 numbers; correct it"),
        (
            '{"scales": {"CBF": [0, Infinity]}}',
            "cohort.json: the scale of CBF goes from 0 to inf; correct it",
        ),
    ],
)
def test_voxel_sizes_and_scales_that_cannot_be_are_told_at_opening(tmp_path: Path, about: str, text: str) -> None:
    (patients(tmp_path, "CTP_01_001") / "cohort.json").write_text(about)
    with pytest.raises(FileError) as caught:
        open_cohort(tmp_path)
    assert str(caught.value) == text


def test_rows_of_no_case_of_isles_2017_are_noted(tmp_path: Path) -> None:
    cohort = challenge(tmp_path, "ID,mRS,ttMRS,TICI,TSS,TTT\ntraining_2,4,90,3,116,93\ntraining1,4,90,3,116,93\n")
    assert cohort.notes == ("ISLES2017_Training.csv has rows of nobody here: 1 without an id, training_2",)
