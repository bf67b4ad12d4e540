"""Reading: what nibabel reads is what we read, in every form a series or a map may take."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strokelens.cohorts import decode
from strokelens.cohorts.decode import read_header, read_scan
from strokelens.cohorts.nifti import Reading, read_segmentation, read_study
from strokelens.errors import CaseError, FileError, GridError, LabelError, SeriesError
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA, LESION_ONLY
from tests.nifti_files import OBLIQUE, PLAIN, adc_map, change_header, head_series, nib, save


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("affine", [PLAIN, OBLIQUE, OBLIQUE @ np.diag([-1, 1, -1, 1.0])])
def test_a_series_is_read_as_nibabel_reads_it(tmp_path: Path, suffix: str, kind: Any, affine: Any) -> None:
    made = save(tmp_path / "a.nii.gz", head_series(), affine, interval=1.5, kind=kind)
    path = tmp_path / f"sub-01_ctp{suffix}"
    nib.save(nib.load(made), path) if suffix == ".nii" else made.rename(path)
    case = read_study(path)
    oracle = nib.load(tmp_path / path.name)
    np.testing.assert_array_equal(case["CTP"], oracle.get_fdata(dtype=np.float32))
    assert case.grid.agrees(Grid((12, 10, 4), oracle.affine))
    assert case.time_s == pytest.approx(np.arange(6) * 1.5)
    assert case.id == "sub-01"


def test_a_series_of_five_axes_is_read_as_four(tmp_path: Path) -> None:
    series = head_series()
    path = save(tmp_path / "x_ctp.nii.gz", series[:, :, :, None, :], interval=2.0)
    np.testing.assert_array_equal(read_study(path)["CTP"], series)


def test_the_interval_of_five_axes_is_pixdim_5_where_pixdim_4_was_not_set(tmp_path: Path) -> None:
    path = save(tmp_path / "x_ctp.nii", head_series()[:, :, :, None, :])
    change_header(path, pixdim__4=1, pixdim__5=1.25)
    assert read_study(path).time_s == pytest.approx(np.arange(6) * 1.25)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, ">i2", ">f4"])
def test_every_real_data_type_is_read_with_its_scaling(tmp_path: Path, dtype: Any) -> None:
    raw = np.arange(12 * 10 * 4).reshape(12, 10, 4).astype(dtype)
    big = np.dtype(dtype).byteorder == ">"
    header = nib.Nifti1Header(endianness=">" if big else "<")
    header.set_data_dtype(raw.dtype)
    path = tmp_path / "dwi.nii"
    nib.save(nib.Nifti1Image(raw, PLAIN, header), path)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([0.5, -3.0], ">f4" if big else "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(bytes(content))
    np.testing.assert_allclose(read_scan(path).array, raw.astype(np.float64) * 0.5 - 3.0, rtol=1e-6)


def test_blocks_join_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_BLOCK", 97)
    path = save(tmp_path / "x_ctp.nii.gz", head_series(), interval=1.0)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.array, head_series())
    assert (scan.lowest, scan.highest) == (head_series().min(), head_series().max())


def test_infinite_values_become_nan_and_nan_stays(tmp_path: Path) -> None:
    adc = adc_map()
    adc[0, 0, :3] = [np.inf, -np.inf, np.nan]
    read = read_study(save(tmp_path / "adc.nii.gz", adc).parent)["ADC"]
    assert np.isnan(read[0, 0, :3]).all()
    np.testing.assert_array_equal(read[1:], adc[1:])


def test_negative_adc_is_left_as_it_is(tmp_path: Path) -> None:
    adc = adc_map()
    adc[5, 5, 2] = -40
    assert read_study(save(tmp_path / "adc.nii.gz", adc).parent)["ADC"][5, 5, 2] == -40


def test_the_hash_is_that_of_the_file_on_disk(tmp_path: Path) -> None:
    for name in ("a_ctp.nii", "b_ctp.nii.gz"):
        path = save(tmp_path / name, head_series(), interval=1.0)
        assert read_study(path).sources["CTP"].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_gzip_members_and_padding_after_the_image_are_read_and_hashed(tmp_path: Path) -> None:
    whole = save(tmp_path / "a_ctp.nii", head_series(), interval=1.0).read_bytes()
    path = tmp_path / "b_ctp.nii.gz"
    path.write_bytes(gzip.compress(whole[:1000]) + gzip.compress(whole[1000:]) + bytes(513) + b"tail")
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.array, head_series())
    assert scan.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("offset", [1024, -1024])
def test_shifted_hounsfield_series_come_out_in_hounsfield(tmp_path: Path, offset: int) -> None:
    path = save(tmp_path / "x_ctp.nii.gz", head_series() + np.int16(offset), interval=1.0)
    case = read_study(path)
    np.testing.assert_array_equal(case["CTP"], head_series())
    assert "1024" in case.sources["CTP"].note


@pytest.mark.parametrize(
    ("interval", "unit", "seconds"),
    [
        (1.5, "sec", 1.5),
        (1500, "msec", 1.5),
        (1.5e6, "usec", 1.5),
        (1500, "sec", 1.5),
        (1.5, "msec", 1.5),
        (1500, None, 1.5),
        (2.0, None, 2.0),
        (1.0, "sec", 1.0),
    ],
)
def test_the_time_axis_is_read_in_every_unit(tmp_path: Path, interval: float, unit: str, seconds: float) -> None:
    path = save(tmp_path / "x_ctp.nii", head_series(), interval=interval, time_unit=unit)
    assert read_study(path).time_s == pytest.approx(np.arange(6) * seconds)


@pytest.mark.parametrize(("interval", "unit"), [(0, "sec"), (1.0, None), (np.nan, "sec"), (0.001, "sec"), (-2, "sec")])
def test_a_time_axis_that_nobody_set_asks_for_the_interval(tmp_path: Path, interval: float, unit: str | None) -> None:
    path = save(tmp_path / "x_ctp.nii", head_series(), time_unit=unit)
    change_header(path, pixdim__4=interval)
    with pytest.raises(SeriesError, match=r"x_ctp\.nii does not say .*give --frame-interval SECONDS$"):
        read_study(path)
    assert read_study(path, Reading(frame_interval_s=2.0)).time_s == pytest.approx(np.arange(6) * 2.0)


def test_irregular_frame_times_of_the_sidecar_are_honoured_from_the_first_frame_on(tmp_path: Path) -> None:
    path = save(tmp_path / "x_ctp.nii.gz", head_series(), interval=1.0)
    (tmp_path / "x_ctp.json").write_text(json.dumps({"FrameTimesStart": [10, 11, 12, 14, 17, 30]}))
    assert read_study(path).time_s == pytest.approx([0, 1, 2, 4, 7, 20])


def test_the_user_knows_better_than_sidecar_and_header(tmp_path: Path) -> None:
    path = save(tmp_path / "pwi.nii.gz", np.abs(head_series()), interval=1.0)
    (tmp_path / "pwi.json").write_text(json.dumps({"RepetitionTime": 1.9, "EchoTime": 0.03}))
    case = read_study(path)
    assert (case.time_s is not None, case.echo_time_s) == (True, 0.03)
    assert case.time_s == pytest.approx(np.arange(6) * 1.9)
    told = read_study(path, Reading(frame_interval_s=2.5, echo_time_s=0.045))
    assert told.echo_time_s == 0.045
    assert told.time_s == pytest.approx(np.arange(6) * 2.5)


def test_an_mr_series_without_echo_time_leaves_it_open(tmp_path: Path) -> None:
    path = save(tmp_path / "dsc.nii.gz", np.abs(head_series()), interval=1.5)
    case = read_study(path)
    assert set(case.channels) == {"PWI"}
    assert case.echo_time_s is None


@pytest.mark.parametrize(
    ("sidecar", "reading", "channel"),
    [
        ({}, Reading(), "CTP"),
        ({"Modality": "CT"}, Reading(), "CTP"),
        ({"KVP": 80}, Reading(), "CTP"),
        ({"Modality": "MR"}, Reading(), "PWI"),
        ({"EchoTime": 0.03}, Reading(), "PWI"),
        ({"Modality": "MR"}, Reading(modality="CT"), "CTP"),
    ],
)
def test_modality_by_user_then_sidecar_then_air(tmp_path: Path, sidecar: Any, reading: Reading, channel: str) -> None:
    path = save(tmp_path / "series.nii.gz", head_series(), interval=1.5)
    (tmp_path / "series.json").write_text(json.dumps(sidecar))
    assert set(read_study(path, reading).channels) == {channel}
    assert set(read_study(tmp_path, reading).channels) == {channel}


def test_the_b_value_comes_from_the_user_the_sidecar_or_bval(tmp_path: Path) -> None:
    save(tmp_path / "s_dwi.nii.gz", adc_map())
    assert read_study(tmp_path).b_value_s_per_mm2 is None
    (tmp_path / "s_dwi.bval").write_text("0 1000\n")
    assert read_study(tmp_path).b_value_s_per_mm2 == 1000
    (tmp_path / "s_dwi.json").write_text(json.dumps({"DiffusionBValue": 1500}))
    assert read_study(tmp_path).b_value_s_per_mm2 == 1500
    assert read_study(tmp_path, Reading(b_value_s_per_mm2=800)).b_value_s_per_mm2 == 800


def test_a_nested_bids_folder_of_one_session_is_one_case(tmp_path: Path) -> None:
    for kind, suffix in (("dwi", "adc"), ("dwi", "dwi"), ("anat", "FLAIR"), ("anat", "label-lesion_mask")):
        save(tmp_path / f"sub-7/ses-1/{kind}/sub-7_ses-1_{suffix}.nii.gz", adc_map())
    (tmp_path / "sub-7/ses-1/dwi/._sub-7_ses-1_cbf.nii.gz").write_bytes(b"macOS")
    for folder in (tmp_path, tmp_path / "sub-7", tmp_path / "sub-7/ses-1"):
        case = read_study(folder)
        assert (case.id, sorted(case.channels)) == ("sub-7_ses-1", ["ADC", "DWI", "FLAIR"])


def test_truth_and_our_own_results_inside_a_folder_are_no_input(tmp_path: Path) -> None:
    save(tmp_path / "adc.nii.gz", adc_map())
    save(tmp_path / "Truth/cbf.nii.gz", adc_map())
    save(tmp_path / "out/maps/ADC.nii.gz", adc_map())
    (tmp_path / "out/result.json").write_text("{}")
    assert sorted(read_study(tmp_path).channels) == ["ADC"]
    assert sorted(read_study(tmp_path / "out").channels) == ["ADC"]


def test_a_header_extension_before_the_voxels_is_passed_over(tmp_path: Path) -> None:
    for name in ("a_ctp.nii", "b_ctp.nii.gz"):
        image = nib.Nifti1Image(head_series(), PLAIN)
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe" * 200))
        nib.save(image, tmp_path / name)
        np.testing.assert_array_equal(read_scan(tmp_path / name).array, head_series())


def test_a_repetition_time_that_the_header_contradicts_is_noted(tmp_path: Path) -> None:
    path = save(tmp_path / "x_ctp.nii.gz", head_series(), interval=2.0)
    (tmp_path / "x_ctp.json").write_text(json.dumps({"RepetitionTime": 1500}))
    note = read_study(path).sources["CTP"].note
    assert note == "CTP in HU; frame interval 1.5 s from RepetitionTime in the sidecar; the header says 2 s"


def test_an_impossible_repetition_time_leaves_the_header_to_decide(tmp_path: Path) -> None:
    path = save(tmp_path / "x_ctp.nii.gz", head_series(), interval=2.0)
    (tmp_path / "x_ctp.json").write_text(json.dumps({"RepetitionTime": 1e9}))
    assert read_study(path).sources["CTP"].note == "CTP in HU; frame interval 2 s from the header"


def test_an_impossible_qform_beside_the_sform_is_noted(tmp_path: Path) -> None:
    save(tmp_path / "adc.nii", adc_map(), quatern_b=9)
    assert read_study(tmp_path).sources["ADC"].note.endswith("the header's qform is impossible; the sform is used")


def test_an_isles_2017_folder_keeps_its_relative_maps_as_noted_channels(tmp_path: Path) -> None:
    for number, kind in enumerate(("ADC", "rCBF", "Tmax", "OT")):
        name = f"VSD.Brain.XX.O.{'OT' if kind == 'OT' else f'MR_{kind}'}.12802{number}"
        values = adc_map() / (1 if kind == "ADC" else 200)
        save(tmp_path / f"training_1/{name}/{name}.nii", values)
    case = read_study(tmp_path / "training_1")
    assert (case.id, sorted(case.channels)) == ("training_1", ["ADC", "CBF", "Tmax"])
    assert case.sources["CBF"].note.startswith("relative map (rCBF")


def test_channels_on_different_grids_join_only_when_asked(tmp_path: Path) -> None:
    save(tmp_path / "adc.nii.gz", adc_map())
    save(tmp_path / "flair.nii.gz", adc_map((24, 20, 8)), np.diag([1.0, 1.0, 2.5, 1.0]))
    with pytest.raises(CaseError, match=r"FLAIR and ADC lie on different grids \(shape 24×20×8 against 12×10×4\)"):
        read_study(tmp_path)
    case = read_study(tmp_path, Reading(resample=True))
    assert case.grid.shape == (12, 10, 4)
    np.testing.assert_array_equal(case["ADC"], adc_map())


def test_a_grid_a_tenth_of_a_micrometre_away_is_the_same_place(tmp_path: Path) -> None:
    save(tmp_path / "adc.nii.gz", adc_map())
    affine = PLAIN.copy()
    affine[0, 3] += 5e-5
    save(tmp_path / "dwi.nii.gz", adc_map(), affine)
    assert sorted(read_study(tmp_path).channels) == ["ADC", "DWI"]


def test_qform_beside_the_sform_is_noted_and_the_sform_used(tmp_path: Path) -> None:
    path = save(tmp_path / "adc.nii", adc_map())
    change_header(path, qoffset_x=3.0)
    case = read_study(tmp_path)
    assert case.grid.agrees(Grid((12, 10, 4), PLAIN))
    assert case.sources["ADC"].note.endswith("qform and sform differ by 3 mm; the sform is used")


def test_the_qform_places_an_image_without_sform(tmp_path: Path) -> None:
    save(tmp_path / "adc.nii", adc_map(), np.diag([-2.0, 2.0, 5.0, 1.0]), sform_code=0)
    assert read_study(tmp_path).grid.orientation == "LAS"


def test_an_image_without_orientation_says_that_left_and_right_are_not_known(tmp_path: Path) -> None:
    save(tmp_path / "adc.nii", adc_map(), sform_code=0, qform_code=0)
    assert "left and right are assumed" in read_study(tmp_path).sources["ADC"].note


def test_metres_and_micrometres_become_mm_and_wrong_unit_codes_are_seen_through(tmp_path: Path) -> None:
    for name, size, code in (("metre", 0.002, 1), ("micro", 2000.0, 3), ("wrong", 2.0, 3)):
        path = save(tmp_path / name / "adc.nii", adc_map(), np.diag([size, size, size, 1.0]), xyzt_units=code)
        assert read_study(path.parent).grid.spacing_mm == pytest.approx((2.0, 2.0, 2.0))


def test_no_name_of_a_person_leaves_the_header_or_the_sidecar(tmp_path: Path) -> None:
    path = save(tmp_path / "x_ctp.nii", head_series(), interval=1.0)
    change_header(path, descrip=b"Jane Doe", db_name=b"Jane Doe", intent_name=b"Jane Doe", aux_file=b"Jane Doe")
    (tmp_path / "x_ctp.json").write_text(json.dumps({"PatientName": "Jane Doe", "RepetitionTime": 1.5}))
    case = read_study(path)
    assert "Doe" not in repr((case.id, case.sources, case.clinical))


def test_a_header_is_read_without_the_voxels(tmp_path: Path) -> None:
    header = read_header(save(tmp_path / "x.nii.gz", head_series(), interval=1.5))
    assert (header.shape, header.frames, header.interval, header.time_unit) == ((12, 10, 4, 6), 6, 1.5, "s")


def test_a_segmentation_is_read_and_checked(tmp_path: Path) -> None:
    labels = (adc_map() > 800).astype(np.uint16)
    path = save(tmp_path / "msk.nii.gz", labels)
    grid = Grid((12, 10, 4), PLAIN)
    np.testing.assert_array_equal(read_segmentation(path, LESION_ONLY, grid).labels, labels)
    with pytest.raises(GridError, match=r"msk\.nii\.gz lies elsewhere than the study \(corners up to 3 mm apart\)"):
        read_segmentation(path, LESION_ONLY, Grid((12, 10, 4), PLAIN + 3 * np.eye(4, k=3)))
    with pytest.raises(LabelError, match=r"^msk\.nii\.gz: labels \[3\] are not in the scheme"):
        read_segmentation(save(tmp_path / "msk.nii.gz", labels * np.uint16(3)), CORE_PENUMBRA)
    with pytest.raises(LabelError, match="not all whole numbers"):
        read_segmentation(save(tmp_path / "msk.nii.gz", adc_map() / 7), CORE_PENUMBRA)
    with pytest.raises(CaseError, match="has 6 volumes; a segmentation has one: give it"):
        read_segmentation(save(tmp_path / "msk.nii.gz", head_series()), CORE_PENUMBRA)


@given(
    st.tuples(*[st.integers(1, 6)] * 3),
    st.integers(2, 4),
    st.sampled_from([np.int16, np.uint8, np.float32, np.float64]),
    st.booleans(),
)
def test_whatever_nibabel_writes_is_read_back_the_same(
    tmp_path_factory: Any, shape: tuple[int, int, int], frames: int, dtype: Any, packed: bool
) -> None:
    values = np.random.default_rng(frames).integers(0, 200, (*shape, frames)).astype(dtype)
    path = tmp_path_factory.mktemp("any") / ("x.nii.gz" if packed else "x.nii")
    save(path, values, OBLIQUE)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.array, values)
    assert scan.array.dtype == np.float32
    assert scan.grid.agrees(Grid(shape, OBLIQUE.astype(np.float32)))


def test_the_isles_2022_case_gives_adc_and_dwi_with_the_unit_stated(shared_data: Path) -> None:
    case = read_study(shared_data / "isles22_case0001")
    assert (case.id, sorted(case.channels)) == ("sub-strokecase0001_ses-0001", ["ADC", "DWI"])
    assert case.sources["ADC"].note == "ADC stored in 10⁻³ mm²/s (median 1.05); converted to 10⁻⁶ mm²/s"
    oracle = nib.load(shared_data / "isles22_case0001/sub-strokecase0001_ses-0001_adc.nii.gz").get_fdata()
    np.testing.assert_allclose(case["ADC"], oracle * 1000, rtol=1e-6)


def test_the_isles_2022_mask_is_6_68_ml_on_the_grid_of_the_case(shared_data: Path) -> None:
    folder = shared_data / "isles22_case0001"
    grid = read_study(folder).grid
    mask = read_segmentation(folder / "sub-strokecase0001_ses-0001_msk.nii.gz", LESION_ONLY, grid)
    assert mask.volume_ml("lesion") == pytest.approx(6.68, abs=1e-3)


def test_the_jhu_subject_gives_b0_and_dwi_and_no_prediction(shared_data: Path) -> None:
    case = read_study(shared_data / "jhu_ads_subject01")
    assert sorted(case.channels) == ["B0", "DWI"]
    assert case.grid.shape == (256, 256, 30)


def test_a_single_map_is_no_series(shared_data: Path) -> None:
    with pytest.raises(SeriesError, match="is 3D or has one frame"):
        read_study(shared_data / "isles22_case0001/sub-strokecase0001_ses-0001_adc.nii.gz")


def test_a_missing_file_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nothing\.nii\.gz does not exist; check the path"):
        read_study(tmp_path / "nothing.nii.gz")


def test_a_series_whose_first_frames_are_empty_is_judged_on_the_first_that_is_not(tmp_path: Path) -> None:
    frames = head_series().astype(np.float32) + 1024
    frames[..., 0] = np.nan
    frames[..., 1] = 24.0
    frames[..., 2] = np.nan
    frames[:2, :2, 0, 2] = [[35, 36], [37, 38]]
    case = read_study(save(tmp_path / "x_ctp.nii", frames, interval=1.5))
    np.testing.assert_array_equal(case["CTP"], frames - 1024)
    assert case.sources["CTP"].note.startswith("CTP stored as HU + 1024")


def test_maps_inside_a_folder_that_strokelens_made_of_it_are_no_input(tmp_path: Path) -> None:
    path = save(tmp_path / "ctp.nii.gz", head_series(), interval=1.5)
    for marker in ("result.json", "maps.json"):
        save(tmp_path / f"of {marker}/maps/Tmax.nii.gz", adc_map())
        (tmp_path / f"of {marker}" / marker).write_text("{}")
    assert list(read_study(tmp_path).channels) == list(read_study(path).channels) == ["CTP"]
