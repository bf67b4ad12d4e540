"""nnU-Net's raw layout: imported with its channels, labels and regions; exported, and imported again."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strokelens.case import Case, Segmentation
from strokelens.cohorts.cohort import Problem
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.nnunet import read_splits, write_raw, write_splits
from strokelens.errors import CohortError, FileError, LabelError
from strokelens.grid import Grid
from strokelens.labels import CORE_ONLY, CORE_PENUMBRA, HYPOPERFUSED_ONLY, LESION_ONLY
from tests.nifti_files import PLAIN, adc_map, head_series, nib, save

SHAPE = (12, 10, 4)


def dataset(folder: Path, *, ending: str = ".nii.gz", **about: object) -> Path:
    """Two cases to train with and one to test, with ADC and DWI, and labels 1 and 2."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4, 4, 1], labels[5, 4, 1] = 1, 2
    for part, case in (("imagesTr", "a_1"), ("imagesTr", "b"), ("imagesTs", "c")):
        for index in range(2):
            save(folder / part / f"{case}_{index:04d}{ending}", adc_map(seed=index))
        if part == "imagesTr":
            save(folder / "labelsTr" / f"{case}{ending}", labels)
    told = {
        "channel_names": {"0": "ADC", "1": "DWI"},
        "labels": {"background": 0, "core": 1, "penumbra": 2},
        "numTraining": 2,
        "file_ending": ending,
    }
    (folder / "dataset.json").write_text(json.dumps({**told, **about}))
    return folder


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_a_dataset_is_a_cohort(tmp_path: Path, ending: str) -> None:
    cohort = open_cohort(dataset(tmp_path, ending=ending))
    assert cohort.layout == "nnunet"
    assert [(entry.id, entry.channels, entry.truth is None) for entry in cohort] == [
        ("a_1", ("ADC", "DWI"), False),
        ("b", ("ADC", "DWI"), False),
        ("c", ("ADC", "DWI"), True),
    ]
    case = cohort["a_1"].read()
    assert case.truth is not None
    assert case.truth.scheme == CORE_PENUMBRA
    assert [case.truth.mask(name).sum() for name in ("core", "penumbra")] == [1, 1]
    assert np.array_equal(case["DWI"], adc_map(seed=1))


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "hypoperfused": [1, 2], "core": 1},
        {"background": 0, "hypoperfused": [1, 2], "core": [1], "ignore": 3},
        {"0": "background", "1": "core", "2": "penumbra"},
    ],
)
def test_regions_and_labels_of_version_1_are_classes_too(tmp_path: Path, labels: dict[str, object]) -> None:
    truth = open_cohort(dataset(tmp_path, labels=labels))["b"].read().truth
    assert truth is not None
    assert [truth.mask(name).sum() for name in ("core", "penumbra")] == [1, 1]


def test_a_label_of_hypoperfused_tissue_without_core_is_a_class(tmp_path: Path) -> None:
    truth = open_cohort(dataset(tmp_path, labels={"background": 0, "hypoperfused": [1, 2]}))["b"].read().truth
    assert truth is not None
    assert truth.scheme == HYPOPERFUSED_ONLY
    assert truth.mask("hypoperfused").sum() == 2


def test_modality_of_version_1_names_the_channels(tmp_path: Path) -> None:
    dataset(tmp_path)
    about = json.loads((tmp_path / "dataset.json").read_text())
    about["modality"] = about.pop("channel_names")
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    assert open_cohort(tmp_path)["b"].channels == ("ADC", "DWI")


def test_a_relative_map_is_known_as_one(tmp_path: Path) -> None:
    cohort = open_cohort(dataset(tmp_path, channel_names={"0": "ADC", "1": "rCBF"}))
    assert cohort["b"].read().sources["CBF"].note.startswith("relative map (rCBF")


def test_a_missing_image_is_a_remark_and_none_is_unusable(tmp_path: Path) -> None:
    dataset(tmp_path)
    (tmp_path / "imagesTr/b_0001.nii.gz").unlink()
    (tmp_path / "imagesTr/a_1_0000.nii.gz").unlink()
    (tmp_path / "imagesTr/a_1_0001.nii.gz").rename(tmp_path / "imagesTr/a_1_0007.nii.gz")
    cohort = open_cohort(tmp_path)
    assert cohort["b"].problems == (Problem("fewer-channels", "b has no image of channel 1 (DWI)"),)
    assert cohort["a_1"].problems == (Problem("unreadable", "a_1 has no image of the channels ADC, DWI", True),)


def test_an_unknown_channel_makes_every_case_unusable(tmp_path: Path) -> None:
    cohort = open_cohort(dataset(tmp_path, channel_names={"0": "ADC", "1": "DWY"}))
    message = "channel 1 is called 'DWY'; did you mean 'DWI'?"
    assert {entry.problems for entry in cohort} == {(Problem("unreadable", message, True),)}


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ({"channel_names": ["ADC"]}, "dataset.json must name its channels by numbers; correct channel_names"),
        ({"channel_names": {"x": "ADC"}}, "dataset.json must name its channels by numbers; correct channel_names"),
        ({"labels": [0, 1]}, "dataset.json must give labels by name; correct labels"),
        ({"labels": {"core": 300}}, "dataset.json: the label 'core' is 300, not an integer from 0 to 255; correct it"),
        ({"labels": {"core": "1"}}, "dataset.json: the label 'core' is '1', not an integer from 0 to 255; correct it"),
        ({"labels": {"cure": 1}}, "dataset.json names a class 'cure'; did you mean 'core'?"),
    ],
)
def test_a_dataset_json_that_is_wrong_is_told(tmp_path: Path, about: dict[str, object], text: str) -> None:
    dataset(tmp_path)
    told = json.loads((tmp_path / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps(told | about))
    with pytest.raises((CohortError, LabelError)) as caught:
        open_cohort(tmp_path)
    assert str(caught.value) == text


def case(case_id: str, *, hole: bool = False) -> Case:
    grid = Grid(SHAPE, PLAIN)
    labels = np.random.default_rng(3).integers(0, 3, SHAPE).astype(np.uint8)
    adc = adc_map()
    if hole:
        adc[3, 3, 1] = np.nan
    return Case(case_id, grid, {"DWI": adc_map(seed=1), "ADC": adc}, Segmentation(labels, grid, CORE_PENUMBRA))


def test_an_export_is_imported_again(tmp_path: Path) -> None:
    export = write_raw(tmp_path, [case("sub-1"), case("x~2"), case("x 2")], number=7, name="Stroke")
    assert export.folder == tmp_path / "Dataset007_Stroke"
    assert export.written == {"sub-1": "sub-1", "x~2": "x_2", "x 2": "x_2-2"}
    assert export.left_out == {}
    about = json.loads((export.folder / "dataset.json").read_text())
    assert about["channel_names"] == {"0": "ADC", "1": "DWI"}
    assert about["labels"] == {"background": 0, "penumbra": 1, "core": 2}
    assert (about["numTraining"], about["file_ending"]) == (3, ".nii.gz")
    back = open_cohort(export.folder)["sub-1"].read()
    assert np.array_equal(back["ADC"], adc_map())
    assert back.truth is not None
    truth = case("a").truth
    assert truth is not None
    assert np.array_equal(back.truth.labels, truth.labels)
    assert not list(export.folder.rglob("*.json.gz"))


def test_no_value_becomes_0_as_nnunet_knows_no_other(tmp_path: Path) -> None:
    export = write_raw(tmp_path, [case("a", hole=True)], number=1, name="x")
    assert np.asarray(nib.load(export.folder / "imagesTr/a_0000.nii.gz").dataobj)[3, 3, 1] == 0


def series(case_id: str) -> Case:
    return replace(case(case_id), channels={"CTP": head_series()}, time_s=np.arange(6.0))


def test_what_does_not_fit_is_left_out_and_listed(tmp_path: Path) -> None:
    grid = Grid(SHAPE, PLAIN)
    cases = [
        replace(case("none"), truth=None),
        case("a"),
        replace(case("b"), channels={"ADC": adc_map()}),
        replace(case("c"), truth=Segmentation(np.zeros(SHAPE, np.uint8), grid, CORE_ONLY)),
    ]
    export = write_raw(tmp_path, cases, number=1, name="x")
    assert export.written == {"a": "a"}
    assert export.left_out == {
        "none": "none has no truth",
        "b": "b has no DWI",
        "c": "c has the classes background, core",
    }


@pytest.mark.parametrize(
    ("cases", "number", "name", "text"),
    [
        (list, 1, "x", "no case could be written for nnU-Net: there is none"),
        (
            lambda: [series("a")],
            1,
            "x",
            "no case could be written for nnU-Net: a has a series (CTP), and nnU-Net takes volumes",
        ),
        (list, 0, "x", "a dataset of nnU-Net is called by 1 to 999 and letters, not 0 and 'x'"),
        (list, 1, "a b", "a dataset of nnU-Net is called by 1 to 999 and letters, not 1 and 'a b'"),
    ],
)
def test_what_cannot_be_exported_is_told(
    tmp_path: Path, cases: Callable[[], list[Case]], number: int, name: str, text: str
) -> None:
    with pytest.raises(CohortError) as caught:
        write_raw(tmp_path, cases(), number=number, name=name)
    assert str(caught.value) == text


def test_folds_go_there_and_back(tmp_path: Path) -> None:
    export = write_raw(tmp_path, [case("x 1"), case("y")], number=1, name="x")
    write_splits(export, [(["x 1", "left out"], ["y"]), (["y"], ["x 1"])])
    assert read_splits(export.folder / "splits_final.json") == [(("x_1",), ("y",)), (("y",), ("x_1",))]
    assert open_cohort(export.folder).layout == "nnunet"


@pytest.mark.parametrize("content", ["", "{}", "[]", "[1]", '[{"train": ["a"]}]', '[{"train": ["a"], "val": [1]}]'])
def test_folds_that_are_none_are_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "splits_final.json"
    path.write_text(content)
    with pytest.raises(FileError) as caught:
        read_splits(path)
    assert (
        str(caught.value) == "splits_final.json must be a list of folds with train and val, lists of cases; correct it"
    )


def test_folds_that_are_not_there_or_too_large_are_told(tmp_path: Path) -> None:
    path = tmp_path / "splits_final.json"
    with pytest.raises(
        FileError,
        match=r"^splits_final\.json cannot be read: No such file or directory; check the path and its permissions$",
    ):
        read_splits(path)
    with path.open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(
        FileError,
        match=r"which no list of folds is; give another file, or remove it$",
    ):
        read_splits(path)


def test_a_truth_of_a_lesion_is_exported_as_one(tmp_path: Path) -> None:
    lesion = Segmentation(np.ones(SHAPE, np.uint8), Grid(SHAPE, PLAIN), LESION_ONLY)
    export = write_raw(tmp_path, [replace(case("a"), truth=lesion)], number=2, name="L")
    truth = open_cohort(export.folder)["a"].read().truth
    assert truth is not None
    assert truth.scheme == LESION_ONLY
