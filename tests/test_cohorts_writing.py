"""Writing: what is written reads back the same, with nibabel and with our reader, byte for byte again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strokelens.case import Segmentation
from strokelens.cohorts.bids import write_derivative
from strokelens.cohorts.nifti import read_segmentation, read_study, write_image, write_segmentation
from strokelens.errors import CaseError
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA
from tests.nifti_files import OBLIQUE, PLAIN, adc_map, head_series, nib

SHAPE = (12, 10, 4)
LABELS = (np.arange(480).reshape(SHAPE) % 3).astype(np.uint8)


@pytest.mark.parametrize("affine", [PLAIN, OBLIQUE, OBLIQUE @ np.diag([1, -1, 1, 1.0])])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_series_survives_the_round_trip(tmp_path: Path, affine: Any, suffix: str) -> None:
    times = np.array([0, 1.5, 3, 4.5, 7.5, 10.5])
    path = tmp_path / f"x_ctp{suffix}"
    write_image(path, head_series(), Grid(SHAPE, affine), unit="HU", time_s=times)
    case = read_study(path)
    np.testing.assert_array_equal(case["CTP"], head_series())
    assert case.grid.agrees(Grid(SHAPE, affine))
    assert case.time_s == pytest.approx(times)


def test_the_header_carries_both_forms_the_units_and_the_interval(tmp_path: Path) -> None:
    path = tmp_path / "x_ctp.nii.gz"
    write_image(path, head_series(), Grid(SHAPE, PLAIN), time_s=np.arange(6) * 1.5, description="Größe")
    image = nib.load(path)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert image.header.get_zooms() == pytest.approx((2, 2, 5, 1.5))
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-5)
    assert image.get_data_dtype() == np.int16


def test_a_series_without_sidecar_keeps_its_times_by_the_header(tmp_path: Path) -> None:
    path = tmp_path / "x_ctp.nii.gz"
    write_image(path, head_series(), Grid(SHAPE, PLAIN), time_s=np.arange(6) * 1.5)
    (tmp_path / "x_ctp.json").unlink()
    assert read_study(path).time_s == pytest.approx(np.arange(6) * 1.5)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        (np.float64, np.float32),
        (np.float32, np.float32),
        (np.int64, np.float32),
        (np.uint8, np.uint8),
        (bool, np.uint8),
        (">i2", np.int16),
    ],
)
def test_small_integers_stay_and_all_else_is_float32(tmp_path: Path, dtype: Any, stored: Any) -> None:
    path = tmp_path / "x.nii.gz"
    write_image(path, LABELS.astype(dtype), Grid(SHAPE, PLAIN))
    image = nib.load(path)
    assert image.get_data_dtype() == stored
    np.testing.assert_array_equal(np.asarray(image.dataobj), LABELS.astype(dtype))


def test_nan_survives(tmp_path: Path) -> None:
    adc = adc_map()
    adc[0] = np.nan
    write_image(tmp_path / "adc.nii.gz", adc, Grid(SHAPE, PLAIN), unit="10⁻⁶ mm²/s")
    np.testing.assert_array_equal(read_study(tmp_path)["ADC"], adc)


def test_the_same_values_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "adc.nii.gz", np.asfortranarray(adc_map()), Grid(SHAPE, PLAIN))
    assert (tmp_path / "a/adc.nii.gz").read_bytes() == (tmp_path / "b/adc.nii.gz").read_bytes()


def test_the_sidecar_tells_unit_description_facts_and_disclaimer(tmp_path: Path) -> None:
    write_image(
        tmp_path / "Tmax.nii.gz", adc_map(), Grid(SHAPE, PLAIN), unit="s", description="Tmax", facts={"EchoTime": 0.03}
    )
    assert json.loads((tmp_path / "Tmax.json").read_text(encoding="utf-8")) == {
        "Description": "Tmax",
        "Units": "s",
        "EchoTime": 0.03,
        "Disclaimer": "Research use only; not a medical device.",
    }


def test_an_image_without_anything_to_tell_has_no_sidecar(tmp_path: Path) -> None:
    write_image(tmp_path / "x.nii.gz", adc_map(), Grid(SHAPE, PLAIN))
    assert [path.name for path in tmp_path.iterdir()] == ["x.nii.gz"]


def test_an_array_off_its_grid_or_its_times_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="does not lie on a grid"):
        write_image(tmp_path / "x.nii.gz", adc_map(), Grid((12, 10, 5), PLAIN))
    with pytest.raises(CaseError, match="does not have 3 frames"):
        write_image(tmp_path / "x.nii.gz", head_series(), Grid(SHAPE, PLAIN), time_s=np.arange(3.0))


def test_a_segmentation_survives_with_its_table(tmp_path: Path) -> None:
    path = tmp_path / "segmentation.nii.gz"
    write_segmentation(path, Segmentation(LABELS, Grid(SHAPE, OBLIQUE), CORE_PENUMBRA))
    np.testing.assert_array_equal(read_segmentation(path, CORE_PENUMBRA).labels, LABELS)
    assert nib.load(path).get_data_dtype() == np.uint8
    table = json.loads((tmp_path / "segmentation.json").read_text(encoding="utf-8"))["Labels"]
    assert [(row["index"], row["name"]) for row in table] == [(0, "background"), (1, "penumbra"), (2, "core")]
    assert table[2]["color"] == "#e13ca5"


def derivative(folder: Path, case_id: str) -> tuple[str, ...]:
    segmentation = Segmentation(LABELS, Grid(SHAPE, OBLIQUE), CORE_PENUMBRA)
    maps = {"Tmax": adc_map() / 100, "ADC": adc_map()}
    return write_derivative(folder, case_id, segmentation, maps, {"Tmax": "s"}, version="1.2.3", description="RAPID.")


def test_bids_paths_are_those_of_the_case(tmp_path: Path) -> None:
    stem = "sub-7/ses-1/{}/sub-7_ses-1_space-orig_{}"
    paths = derivative(tmp_path, "sub-7_ses-1")
    assert paths == (
        "dataset_description.json",
        *(stem.format("anat", f"desc-ischemia_dseg.{suffix}") for suffix in ("nii.gz", "json", "tsv")),
        *(stem.format("perf", f"tmax.{suffix}") for suffix in ("nii.gz", "json")),
        *(stem.format("dwi", f"adc.{suffix}") for suffix in ("nii.gz", "json")),
    )
    assert sorted(paths) == sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    )


def test_a_case_without_entities_becomes_a_subject_of_letters_and_digits(tmp_path: Path) -> None:
    assert derivative(tmp_path, "run 3.ctp")[1] == "sub-run3ctp/anat/sub-run3ctp_space-orig_desc-ischemia_dseg.nii.gz"


def test_bids_says_that_it_is_derived_by_which_version_for_research_only(tmp_path: Path) -> None:
    derivative(tmp_path, "sub-7")
    about = json.loads((tmp_path / "dataset_description.json").read_text(encoding="utf-8"))
    assert about["DatasetType"] == "derivative"
    assert about["GeneratedBy"] == [
        {
            "Name": "strokelens",
            "Version": "1.2.3",
            "Description": "RAPID. Research use only; not a medical device.",
        }
    ]


def test_the_label_table_has_the_columns_of_bids(tmp_path: Path) -> None:
    path = derivative(tmp_path, "sub-7")[3]
    assert (tmp_path / path).read_text(encoding="utf-8").splitlines() == [
        "index\tname\tabbreviation\tcolor",
        "0\tbackground\tBG\t#000000",
        "1\tpenumbra\tPEN\t#3cbe50",
        "2\tcore\tCORE\t#e13ca5",
    ]


def test_our_own_derivatives_are_read_again_without_the_segmentation(tmp_path: Path) -> None:
    derivative(tmp_path, "sub-7")
    case = read_study(tmp_path)
    assert (case.id, sorted(case.channels)) == ("sub-7", ["ADC", "Tmax"])
