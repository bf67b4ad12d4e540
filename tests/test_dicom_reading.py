"""DICOM in: what is written one way is read, whatever the order, encoding and clock of its files."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)
from pydicom.valuerep import DSfloat

from strokelens.cohorts.dicom_elements import clock_s
from strokelens.cohorts.dicom_files import loose
from strokelens.cohorts.dicom_pixels import read_values
from strokelens.cohorts.dicom_writer import write_dicom
from strokelens.cohorts.encode import write_image
from strokelens.cohorts.nifti import Reading, read_study
from strokelens.errors import CaseError, GridError
from strokelens.grid import Grid
from strokelens.perfusion.colormap import ColourTable, with_bar
from strokelens.phantom.cohort import write_patient
from strokelens.phantom.patient import Patient, simulate
from strokelens.phantom.scanner import CtProtocol, DscProtocol, Protocol
from tests.dicom_studies import enhanced, head, image, perfusion, planes_of, save, volume
from tests.oracles.jpeg_lossless import encoded

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
PLACE = LPS_TO_RAS @ np.array([[1.25, 0, 0, -9.0], [0, 1.5, 0, -7.5], [0, 0, 5, 20.0], [0, 0, 0, 1.0]])


def decimals(values: Any) -> list[DSfloat]:
    return [DSfloat(float(value), auto_format=True) for value in values]


def as_case(values: np.ndarray) -> np.ndarray:
    """(row, column, k, t) → (i, j, k, t), by hand."""
    return np.array([[values[j, i] for j in range(values.shape[0])] for i in range(values.shape[1])], np.float32)


@pytest.fixture(scope="module", params=[CtProtocol(matrix=48, slices=5), DscProtocol(matrix=48, slices=5)])
def patient(request: pytest.FixtureRequest) -> Patient:
    protocol: Protocol = request.param
    return simulate(7, protocol=protocol, motion=False)


def test_a_simulated_patient_is_the_same_through_dicom_and_nifti(tmp_path: Path, patient: Patient) -> None:
    folder, nifti = tmp_path / "dicom/sim-7", tmp_path / "nifti/sim-7"
    for each in (folder, nifti):
        each.mkdir(parents=True)
    write_dicom(folder, patient.case, seed=7)
    write_patient(nifti, patient)
    channel = patient.protocol.channel
    one, other = read_study(folder), read_study(nifti / f"{channel.lower()}.nii.gz")
    np.testing.assert_array_equal(one[channel], other[channel])
    assert one.grid.distance_mm(patient.case.grid) < 1e-6
    assert one.grid.agrees(other.grid)
    assert one.time_s == pytest.approx(patient.case.time_s, abs=1e-6)
    assert (one.id, one.simulated, one.echo_time_s) == ("sim-7", True, other.echo_time_s)


def test_the_place_and_values_of_a_series_are_those_of_its_headers(tmp_path: Path) -> None:
    values = head()
    case = read_study(save(tmp_path / "x", perfusion(values + np.int16(1024), RescaleIntercept=-1024)))
    np.testing.assert_array_equal(case["CTP"], as_case(values))
    np.testing.assert_allclose(case.grid.affine, PLACE, atol=1e-12)
    assert case.time_s == pytest.approx(np.arange(6) * 1.5)
    assert case.grid.orientation == "LPS"


FOLDER_COUNT = iter(range(10**6))


@settings(max_examples=15)
@given(order=st.permutations(range(24)))
def test_names_and_order_of_files_change_nothing(tmp_path_factory: pytest.TempPathFactory, order: list[int]) -> None:
    values = head()
    case = read_study(save(tmp_path_factory.mktemp("x"), perfusion(values), order=order))
    np.testing.assert_array_equal(case["CTP"], as_case(values))
    known = read_study(save(tmp_path_factory.mktemp("x"), perfusion(values)))
    assert case.sources == known.sources
    assert case.id == known.id


@settings(max_examples=25)
@given(
    turn=st.tuples(*[st.floats(-0.5, 0.5)] * 3),
    corner=st.tuples(*[st.floats(-200, 200)] * 3),
    sizes=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3), st.floats(1, 10)),
    upwards=st.booleans(),
)
def test_a_grid_of_any_direction_comes_back_to_a_ten_thousandth_of_a_mm(
    tmp_path_factory: pytest.TempPathFactory, turn: Any, corner: Any, sizes: Any, upwards: bool
) -> None:
    skew = np.array([[0, -turn[2], turn[1]], [turn[2], 0, -turn[0]], [-turn[1], turn[0], 0]])
    rotation = np.linalg.inv(np.eye(3) + skew) @ (np.eye(3) - skew)  # Cayley's
    affine = np.eye(4)
    affine[:3, :3] = rotation * sizes
    affine[:3, 3] = corner
    values = head(frames=1, slices=3)[..., 0]
    images = volume(
        values,
        modality="CT",
        ImageOrientationPatient=decimals(rotation[:, :2].T.ravel()),
        PixelSpacing=decimals([sizes[1], sizes[0]]),
    )
    for k, data in enumerate(images):
        data.ImagePositionPatient = decimals((affine @ [0, 0, k, 1])[:3])
        data.InstanceNumber = 1 + (k if upwards else 2 - k)
    case = read_study(save(tmp_path_factory.mktemp("x"), images))
    assert case.grid.distance_mm(Grid((12, 10, 3), LPS_TO_RAS @ affine)) < 1e-4
    np.testing.assert_array_equal(case["NCCT"], as_case(values))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_uncompressed_encoding_is_read(tmp_path: Path, syntax: Any) -> None:
    values = head()
    images = perfusion(values.astype(">i2") if syntax == ExplicitVRBigEndian else values)
    (tmp_path / "x").mkdir()
    for at, data in enumerate(images):
        bare = Dataset()
        bare.update(data)
        bare["PixelData"].VR = "OW"
        bare.file_meta = data.file_meta
        bare.file_meta.TransferSyntaxUID = syntax
        bare.save_as(tmp_path / f"x/{at}.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_study(tmp_path / "x")["CTP"], as_case(values))


def test_run_lengths_are_read(tmp_path: Path) -> None:
    values = head()
    images = perfusion(values)
    for data in images:
        data.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(read_study(save(tmp_path / "x", images))["CTP"], as_case(values))


def test_jpeg_lossless_is_read_where_a_decoder_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("libjpeg")
    values = head()
    images = perfusion((values + 1024).astype(np.uint16), RescaleIntercept=-1024)
    for data in images:
        data.PixelData = encapsulate([encoded(data.pixel_array)])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    np.testing.assert_array_equal(read_study(save(tmp_path / "x", images))["CTP"], as_case(values))


def pictures(images: list[FileDataset], syntax: Any, kind: str, **options: Any) -> list[FileDataset]:
    """The images with their pixels as Pillow compresses them."""
    for data in images:
        buffer = io.BytesIO()
        Image.fromarray(data.pixel_array).save(buffer, kind, **options)
        data.PixelData = encapsulate([buffer.getvalue()])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = syntax
    return images


@pytest.mark.parametrize("bits", [12, 16])
def test_jpeg_2000_is_read(tmp_path: Path, bits: int) -> None:
    values = head()
    images = perfusion((values + 1024).astype(np.uint16), RescaleIntercept=-1024, BitsStored=bits, HighBit=bits - 1)
    pictures(images, JPEG2000Lossless, "JPEG2000", no_jp2=True)
    np.testing.assert_array_equal(read_study(save(tmp_path / "x", images))["CTP"], as_case(values))


def test_jpeg_of_8_bits_is_read_with_its_loss(tmp_path: Path) -> None:
    values = np.clip((head() + 1000) // 5, 0, 255).astype(np.uint8)
    images = pictures(perfusion(values, modality="MR"), JPEGBaseline8Bit, "JPEG", quality=100)
    assert np.abs(read_study(save(tmp_path / "x", images))["PWI"] - as_case(values)).max() <= 2


@pytest.mark.parametrize("coded", ["RLE", "jp2klossless", "jpeg_ls_lossless"])
def test_files_that_others_compressed_hold_what_the_plain_one_does(coded: str) -> None:
    """A scan of 64×64 pixels that comes with pydicom."""
    if coded == "jpeg_ls_lossless":
        pytest.importorskip("libjpeg")
    arrays = []
    for name in ("MR_small.dcm", f"MR_small_{coded}.dcm"):
        planes = planes_of(loose(Path(str(get_testdata_file(name, download=False)))))
        arrays.append(read_values([planes])[0])
    np.testing.assert_array_equal(arrays[0], arrays[1])
    assert arrays[0].shape == (64, 64, 1, 1)
    assert np.ptp(arrays[0]) > 1000


def test_files_without_preamble_and_meta_header_are_read(tmp_path: Path) -> None:
    values = head()
    (tmp_path / "x").mkdir()
    for at, data in enumerate(perfusion(values)):
        bare = Dataset()
        bare.update(data)
        bare.save_as(tmp_path / f"x/{at}", implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(read_study(tmp_path / "x")["CTP"], as_case(values))


def test_overlays_in_unused_bits_are_no_values(tmp_path: Path) -> None:
    values = head()
    packed = ((values + 1024) & 0x0FFF).astype(np.uint16) | np.uint16(0x4000)
    images = perfusion(packed, BitsStored=12, HighBit=11, RescaleIntercept=-1024)
    np.testing.assert_array_equal(read_study(save(tmp_path / "x", images))["CTP"], as_case(values))


def test_signed_values_of_twelve_bits_keep_their_sign(tmp_path: Path) -> None:
    values = head()
    packed = (values & 0x0FFF).astype(np.int16)
    images = perfusion(packed, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(read_study(save(tmp_path / "x", images))["CTP"], as_case(values))


def test_padding_of_ct_is_no_value(tmp_path: Path) -> None:
    values = head()
    values[0, 0] = -2000
    case = read_study(save(tmp_path / "x", perfusion(values, PixelPaddingValue=-2000)))
    assert np.isnan(case["CTP"][0, 0]).all()
    assert np.isnan(case["CTP"]).sum() == 24


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_an_enhanced_file_is_the_series_that_it_holds(tmp_path: Path, modality: str) -> None:
    values = head()
    path = tmp_path / "one.dcm"
    enhanced((values + 1024).astype(np.uint16), modality=modality).save_as(path, enforce_file_format=True)
    case = read_study(path)
    channel = {"CT": "CTP", "MR": "PWI"}[modality]
    np.testing.assert_array_equal(case[channel], as_case(values))
    np.testing.assert_allclose(case.grid.affine, PLACE, atol=1e-12)
    assert case.time_s == pytest.approx(np.arange(6) * 1.5)
    assert case.echo_time_s == (0.03 if modality == "MR" else None)


def diffusion(**tags: Any) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.integers(600, 1000, (10, 12, 4)).astype(np.uint16)


PRIVATE: dict[str, Any] = {
    "standard": lambda data, b: setattr(data, "DiffusionBValue", float(b)),
    "siemens": lambda data, b: data.private_block(0x19, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", str(b)),
    "ge": lambda data, b: data.private_block(0x43, "GEMS_PARM_01", create=True).add_new(
        0x39, "IS", [str(b + 1_000_000_000 * (b > 0)), "8", "0", "0"]
    ),
    "philips": lambda data, b: data.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(
        0x03, "FL", float(b)
    ),
}


@pytest.mark.parametrize("maker", sorted(PRIVATE))
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_b_values_of_every_maker_part_a_diffusion_series(tmp_path: Path, maker: str, syntax: str) -> None:
    volumes = {b: diffusion() + np.uint16(b) for b in (0, 1000)}
    images = []
    for b, values in volumes.items():
        for data in volume(values, InstanceNumber=b + 1):
            PRIVATE[maker](data, b)
            data.SOPInstanceUID = f"1.2.{b}.{float(data.ImagePositionPatient[2]):.0f}"
            if syntax == "implicit":
                data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            images.append(data)
    save(tmp_path / "x", images)
    adc = volume(diffusion(), ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], SeriesNumber=4)
    save(tmp_path / "x", adc, prefix="ADC")
    case = read_study(tmp_path / "x")
    assert sorted(case.channels) == ["ADC", "B0", "DWI"]
    np.testing.assert_array_equal(case["B0"], as_case(volumes[0]))
    np.testing.assert_array_equal(case["DWI"], as_case(volumes[1000]))
    assert case.b_value_s_per_mm2 == 1000


def test_directions_without_a_trace_image_give_their_geometric_mean(tmp_path: Path) -> None:
    volumes = [diffusion() + np.uint16(100 * at) for at in range(3)]
    images = []
    for at, values in enumerate(volumes):
        for data in volume(values, InstanceNumber=at + 1, DiffusionBValue=1000.0):
            data.SOPInstanceUID = f"1.2.{at}.{float(data.ImagePositionPatient[2]):.0f}"
            images.append(data)
    case = read_study(save(tmp_path / "x", images))
    expected = np.prod([as_case(values).astype(np.float64) for values in volumes], axis=0) ** (1 / 3)
    np.testing.assert_allclose(case["DWI"], expected, rtol=1e-5)


def coloured(table: ColourTable, values: np.ndarray, high: float) -> list[np.ndarray]:
    pictures = []
    for k in range(values.shape[2]):
        painted = table.paint(values[:, :, k], low=0, high=high)
        pictures.append(with_bar(painted, table, rows=slice(20, 200), columns=slice(230, 240)))
    return pictures


@pytest.mark.parametrize("placed", [True, False])
def test_a_coloured_map_is_read_through_its_bar(tmp_path: Path, placed: bool) -> None:
    values = np.full((256, 256, 3), np.nan)
    values[60:160, 60:160] = np.random.default_rng(0).uniform(2, 11, (20, 20, 3)).repeat(5, 0).repeat(5, 1)
    from strokelens.perfusion.colormap import TIME  # noqa: PLC0415

    pictures = coloured(TIME, values, 12.0)
    tags: dict[str, Any] = {"SeriesDescription": "Tmax", "ImageType": ["DERIVED", "SECONDARY"]}
    if not placed:
        tags |= {"ImageOrientationPatient": None, "PixelSpacing": None, "SliceThickness": None}
    images = []
    for k, picture in enumerate(pictures):
        place = {"ImagePositionPatient": [-9.0, -7.5, 20.0 + 5 * k]} if placed else {}
        images.append(image(picture, modality="OT", InstanceNumber=k + 1, **place, **tags))
    case = read_study(save(tmp_path / "x", images))
    np.testing.assert_allclose(case["Tmax"], as_case(values), atol=0.15)
    assert case.grid.spacing_mm == pytest.approx((1.25, 1.5, 5.0) if placed else (0.43664551, 0.43664551, 5.0))
    assert any("tell no position" in doubt for doubt in case.sources["Tmax"].doubts) != placed


def test_colours_without_a_bar_are_refused(tmp_path: Path) -> None:
    images = volume(np.zeros((10, 12, 3), np.uint8), modality="OT", SeriesDescription="CBF")
    for data in images:
        data.PhotometricInterpretation, data.SamplesPerPixel, data.PlanarConfiguration = "RGB", 3, 0
        data.PixelData = bytes(360)
    with pytest.raises(CaseError) as caught:
        read_study(save(tmp_path / "x", images))
    assert str(caught.value) == "series 3 is CBF in colours without a bar of its values; export it as values"


def test_a_palette_is_looked_up_before_the_bar_is(tmp_path: Path) -> None:
    from strokelens.perfusion.colormap import TIME  # noqa: PLC0415

    values = np.full((256, 256, 1), np.nan)
    values[60:160, 60:160] = np.linspace(2, 11, 100)[:, None, None]
    (picture,) = coloured(TIME, values, 12.0)
    colours, places = np.unique(picture.reshape(-1, 3), axis=0, return_inverse=True)
    assert len(colours) <= 256
    data = image(
        places.reshape(256, 256).astype(np.uint8),
        modality="OT",
        SeriesDescription="Tmax",
        ImagePositionPatient=[0, 0, 0],
        PhotometricInterpretation="PALETTE COLOR",
    )
    for at, name in enumerate(("Red", "Green", "Blue")):
        setattr(data, f"{name}PaletteColorLookupTableDescriptor", [len(colours), 0, 8])
        raw = colours[:, at].tobytes()
        setattr(data, f"{name}PaletteColorLookupTableData", raw + bytes(len(raw) % 2))
    case = read_study(save(tmp_path / "x", [data]))
    np.testing.assert_allclose(case["Tmax"], as_case(values), atol=0.15)


def test_the_only_nifti_image_beside_dicom_is_read(tmp_path: Path) -> None:
    save(tmp_path / "x", perfusion(head()))
    write_image(tmp_path / "x/adc.nii.gz", diffusion().astype(np.float32), Grid((10, 12, 4), PLACE))
    assert sorted(read_study(tmp_path / "x").channels) == ["ADC"]


def test_a_sheared_series_is_refused_and_straightened_on_demand(tmp_path: Path) -> None:
    values = np.zeros((40, 40, 4, 6), np.int16)
    ramp = np.arange(40)[:, None]
    shear = 0.6 * np.tan(np.radians(15)) * 5  # rows shift by less than a pixel a slice
    for k in range(4):
        values[:, :, k] = np.rint(ramp + k * shear / 1.5)[..., None] + 15
    images = perfusion(values)
    for data in images:
        k = round((float(data.ImagePositionPatient[2]) - 20) / 5)
        data.ImagePositionPatient = [-9.0, -7.5 + k * shear, 20.0 + 5 * k]
    save(tmp_path / "x", images)
    with pytest.raises(GridError, match=r"^series 3: its slices are sheared by a gantry tilt of 9\.1°; use --resample"):
        read_study(tmp_path / "x")
    case = read_study(tmp_path / "x", Reading(resample=True))
    straight = case["CTP"][:, :, :, 0]
    inner = straight[2:-2, 4:-4]
    assert np.abs(inner - inner[:, :, :1]).max() < 1.01  # one pixel in space is the same in every slice
    cosines = case.grid.affine[:3, :3] / case.grid.spacing_mm
    np.testing.assert_allclose(cosines.T @ cosines, np.eye(3), atol=1e-9)
    assert "gantry tilt of 9.1°: resampled" in case.sources["CTP"].doubts[0]


def test_uneven_slices_are_refused_and_interpolated_on_demand(tmp_path: Path) -> None:
    values = head()
    depths = [20.0, 25.0, 27.5, 32.5]
    for k, depth in enumerate(depths):
        values[4:8, 4:8, k] = np.int16(depth)
    images = perfusion(values)
    for data in images:
        data.ImagePositionPatient = [-9.0, -7.5, depths[round((float(data.ImagePositionPatient[2]) - 20) / 5)]]
    save(tmp_path / "x", images)
    with pytest.raises(GridError) as caught:
        read_study(tmp_path / "x")
    assert str(caught.value) == (
        "series 3: its slices are unevenly spaced (2.5 to 5 mm); use --resample to bring it onto a straight grid"
    )
    case = read_study(tmp_path / "x", Reading(resample=True))
    np.testing.assert_allclose(case["CTP"][5, 5, :, 0], [20, 26.25, 32.5], atol=0.6)
    assert case.grid.spacing_mm[2] == pytest.approx(6.25)


@pytest.mark.parametrize(("left_out", "lack"), [((2,), "1 slice is"), ((2, 3), "2 slices are")])
def test_a_missing_slice_is_never_made_up(tmp_path: Path, left_out: tuple[int, ...], lack: str) -> None:
    images = [data for at, data in enumerate(perfusion(head(slices=6))) if at % 6 not in left_out]
    save(tmp_path / "x", images)
    for reading in (Reading(), Reading(resample=True)):
        with pytest.raises(GridError) as caught:
            read_study(tmp_path / "x", reading)
        assert str(caught.value) == (
            f"series 3: {lack} missing: there is a gap of {5 + 5 * len(left_out)} mm where slices are 5 mm apart; "
            "copy or export it again"
        )


def test_a_stated_tilt_that_positions_do_not_show_is_a_doubt(tmp_path: Path) -> None:
    case = read_study(save(tmp_path / "x", perfusion(head(), GantryDetectorTilt=12)))
    assert case.sources["CTP"].doubts == (
        "the header states a gantry tilt of 12°, and positions show none: taken as corrected",
    )


@given(st.floats(0, 86399.99))
def test_a_time_of_day_is_read_in_seconds(seconds: float) -> None:
    text = (
        f"{int(seconds // 3600):02d}{int(seconds // 60 % 60):02d}{int(seconds % 60):02d}.{int(seconds % 1 * 1e6):06d}"
    )
    assert clock_s(text) == pytest.approx(seconds, abs=2e-6)
