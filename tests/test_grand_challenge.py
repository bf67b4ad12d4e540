"""MetaImage files and the layout of a Grand Challenge container, with SimpleITK as the oracle."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Shaped

from strokelens.case import Segmentation
from strokelens.cohorts import metaimage
from strokelens.cohorts.cohort import Problem
from strokelens.cohorts.grand_challenge import write_answer
from strokelens.cohorts.images import read_header, read_scan
from strokelens.cohorts.layouts import open_cohort
from strokelens.errors import FileError, GridError, StrokelensError
from strokelens.grid import Grid
from strokelens.labels import LESION_ONLY
from tests.nifti_files import adc_map, as_nobody, nib, save

__all__ = ["as_nobody"]

UUID = "078446e3-21f5-437e-a579-5ebf8ce0bcb4"
sitk: Any = pytest.importorskip("SimpleITK")


TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]]) @ np.array(
    [[1.0, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]]
)
TURNED = np.vstack([np.column_stack([TURN * [-2.0, 2.0, 5.0], [90.0, -110.0, -50.0]]), [0, 0, 0, 1.0]])


def mha(path: Path, array: Shaped[np.ndarray, "..."], *, spacing: tuple[float, ...] = (2.0, 2.0, 5.0)) -> Path:
    """Write (i, j, k) with SimpleITK, in LPS at the origin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def test_a_metaimage_has_the_values_and_the_place_of_the_same_nifti(tmp_path: Path) -> None:
    array = adc_map()
    image = sitk.ReadImage(str(save(tmp_path / "a.nii", array, TURNED)))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    ours, theirs = read_scan(tmp_path / "a.mha"), read_scan(tmp_path / "a.nii")
    assert np.array_equal(ours.array, theirs.array)
    assert ours.grid.distance_mm(theirs.grid) < 1e-3
    assert (ours.lowest, ours.highest) == (theirs.lowest, theirs.highest)
    assert read_header(tmp_path / "a.mha").shape == (12, 10, 4)


def test_what_is_infinite_becomes_nan_and_nothing_finite_is_nan(tmp_path: Path) -> None:
    array = adc_map()
    array[0, 0, 0] = np.inf
    assert np.isnan(read_scan(mha(tmp_path / "a.mha", array)).array[0, 0, 0])
    empty = read_scan(mha(tmp_path / "b.mha", np.full((3, 3, 3), np.nan, np.float32)))
    assert np.isnan([empty.lowest, empty.highest]).all()


def test_four_axes_are_a_series_and_one_frame_is_none(tmp_path: Path) -> None:
    image = sitk.Image([4, 5, 6, 3], sitk.sitkInt16)
    image.SetSpacing((1.0, 1.0, 1.0, 1.5))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    sitk.WriteImage(sitk.Image([4, 5, 6, 1], sitk.sitkInt16), str(tmp_path / "b.mha"))
    series = read_header(tmp_path / "a.mha")
    assert (series.shape, series.frames, series.interval) == ((4, 5, 6, 3), 3, 1.5)
    assert read_scan(tmp_path / "b.mha").array.shape == (4, 5, 6)


def cut(path: Path) -> None:
    mha(path, adc_map())
    path.write_bytes(path.read_bytes()[:-500])


def elsewhere(path: Path) -> None:
    mha(path, adc_map())
    path.write_bytes(path.read_bytes().replace(b"ElementDataFile = LOCAL", b"ElementDataFile = /etc/passwd"))


def huge(path: Path) -> None:
    mha(path, adc_map())
    path.write_bytes(path.read_bytes().replace(b"DimSize = 12 10 4", b"DimSize = 99999 99999 4"))


def header_field(old: bytes, new: bytes) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        mha(path, adc_map())
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new))

    return change


DAMAGED: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_text("text"), "a.mha is no MetaImage with its voxels inside; export it again"),
    (lambda path: path.write_text("text\n"), "a.mha is no MetaImage with its voxels inside; export it again"),
    (elsewhere, "a.mha is no MetaImage with its voxels inside; export it again"),
    (cut, "a.mha is damaged or cut short; copy or download it again"),
    (huge, "a.mha declares 99999×99999×4 voxels, which the file cannot hold; copy it again"),
    (
        header_field(b"DimSize = 12 10 4", b"DimSize = 12 0 4"),
        "a.mha declares 12×0×4 voxels, which the file cannot hold; copy it again",
    ),
    (
        header_field(b"DimSize = 12 10 4", b"DimSize = 12 10 3"),
        "a.mha is damaged or cut short; copy or download it again",
    ),
    (
        header_field(b"DimSize = 12 10 4", b"DimSize = 12 -10 4"),
        "a.mha: its header gives DimSize = '12 -10 4'; repair the header",
    ),
    (
        header_field(b"Offset = 0 0 0", b"Offset = 0 zero 0"),
        "a.mha: its header gives Offset = '0 zero 0'; repair the header",
    ),
    (
        header_field(b"MET_FLOAT", b"MET_STRING"),
        "a.mha holds MET_STRING, not numbers that are read; save it as MET_SHORT or MET_FLOAT",
    ),
    (
        lambda path: sitk.WriteImage(sitk.Image([4, 5, 6], sitk.sitkVectorUInt8, 3), str(path)),
        "a.mha has 3 axes and 3 values a voxel; strokelens reads volumes",
    ),
    (
        lambda path: sitk.WriteImage(sitk.Image([4, 5], sitk.sitkUInt8), str(path)),
        "a.mha has 2 axes and 1 values a voxel; strokelens reads volumes",
    ),
    (lambda path: path.mkdir(), "a.mha cannot be read: Is a directory; change its permissions"),
]


@pytest.mark.parametrize(("damage", "text"), DAMAGED, ids=[text[:50] for _, text in DAMAGED])
def test_a_damaged_file_is_told(tmp_path: Path, damage: Callable[[Path], object], text: str) -> None:
    damage(tmp_path / "a.mha")
    with pytest.raises(FileError) as caught:
        read_scan(tmp_path / "a.mha")
    assert str(caught.value) == text


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"/a\.mha does not exist; check the path$"):
        read_scan(tmp_path / "a.mha")


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
@pytest.mark.parametrize("compressed", [True, False])
def test_every_type_is_read_as_simpleitk_reads_it(tmp_path: Path, kind: str, compressed: bool) -> None:
    values = np.random.default_rng(0).integers(0, 120, (3, 4, 5)).astype(kind)
    sitk.WriteImage(sitk.GetImageFromArray(values.T.copy()), str(tmp_path / "a.mha"), useCompression=compressed)
    assert np.array_equal(read_scan(tmp_path / "a.mha").array, values.astype(np.float32))


def test_another_byte_order_and_older_names_of_fields_are_read(tmp_path: Path) -> None:
    values = np.arange(24, dtype=">i2")
    head = "ObjectType = Image\nNDims = 3\nBinaryDataByteOrderMSB = True\nPosition = 1 2 3\nElementSize = 2 2 2\n"
    head += "DimSize = 2 3 4\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(head.encode() + values.tobytes())
    scan = read_scan(tmp_path / "a.mha")
    assert np.array_equal(scan.array.ravel(order="F"), np.arange(24))
    assert np.allclose(scan.grid.affine, [[-2, 0, 0, -1], [0, -2, 0, -2], [0, 0, 2, 3], [0, 0, 0, 1]])


def test_a_header_without_matrix_and_sizes_has_those_of_the_format(tmp_path: Path) -> None:
    head = "NDims = 3\nDimSize = 1 2 1\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(head.encode() + b"\x01\x02")
    assert np.allclose(read_header(tmp_path / "a.mha").grid.affine, np.diag([-1, -1, 1, 1]))


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8), st.floats(0, 1))
def test_whatever_is_wrong_with_a_file_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], kept: float
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.mha"
    content = bytearray(mha(path, adc_map((4, 5, 6))).read_bytes())
    for at, value in flips:
        content[at % len(content)] = value
    path.write_bytes(bytes(content[: int(len(content) * max(kept, 0.5))]))
    told = ""
    try:
        read_scan(path)
    except StrokelensError as error:
        told = str(error)
    assert "\n" not in told


def container(folder: Path, name: str = UUID) -> Path:
    for slug, seed in (("adc-brain-mri", 0), ("dwi-brain-mri", 1), ("acute-video", 2)):
        mha(folder / f"images/{slug}/{name}.mha", adc_map(seed=seed))
    return folder


def test_a_container_is_a_cohort_of_one(tmp_path: Path) -> None:
    container(tmp_path)
    told = {"age": 71, "nihss": None, "sex": "F"}
    (tmp_path / "acute-stroke-clinical-information.json").write_text(json.dumps(told))
    cohort = open_cohort(tmp_path)
    (entry,) = cohort
    assert (cohort.layout, entry.id, entry.channels) == ("grand_challenge", "case-078446e3", ("ADC", "DWI"))
    assert entry.clinical == {"age_years": 71.0, "sex": "F"}
    assert entry.look() == ()
    assert np.array_equal(entry.read()["DWI"], adc_map(seed=1))


def test_the_interfaces_of_isles_2024_are_known(tmp_path: Path) -> None:
    for slug in ("preprocessed-tmax-map", "preprocessed-cbf-map", "non-contrast-ct"):
        mha(tmp_path / f"images/{slug}/x.mha", adc_map())
    (entry,) = open_cohort(tmp_path)
    assert entry.channels == ("Tmax", "CBF", "NCCT")


def test_several_cases_are_joined_by_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        container(tmp_path, name)
    (tmp_path / "images/adc-brain-mri/b.mha").unlink()
    assert sorted(entry.channels for entry in open_cohort(tmp_path)) == [("ADC", "DWI"), ("DWI",)]


def test_what_is_ambiguous_or_unknown_is_one_row(tmp_path: Path) -> None:
    mha(tmp_path / "images/adc/x.mha", adc_map())
    mha(tmp_path / "images/adc-brain-mri/x.mha", adc_map())
    (entry,) = open_cohort(tmp_path)
    assert entry.problems == (Problem("unreadable", "two interfaces give ADC: adc and adc-brain-mri", True),)
    mha(tmp_path / "other/images/video/x.mha", adc_map())
    (entry,) = open_cohort(tmp_path / "other")
    text = "no interface is known: video; a name needs a channel (dwi, tmax, …)"
    assert entry.problems == (Problem("unreadable", text, True),)


def test_the_answer_lies_where_the_input_lies(tmp_path: Path) -> None:
    array = adc_map()
    image = sitk.ReadImage(str(save(tmp_path / "a.nii", array, TURNED)))
    path = tmp_path / f"in/images/dwi-brain-mri/{UUID}.mha"
    path.parent.mkdir(parents=True)
    sitk.WriteImage(image, str(path))
    (entry,) = open_cohort(tmp_path / "in")
    case = entry.read()
    labels = (array > 800).astype(np.uint8)
    written = write_answer(tmp_path / "out", entry, Segmentation(labels, case.grid, LESION_ONLY))
    back = sitk.ReadImage(str(written))
    assert written == tmp_path / f"out/images/stroke-lesion-segmentation/{UUID}.mha"
    assert np.array_equal(sitk.GetArrayFromImage(back).T, labels)
    for ours, theirs in (
        (back.GetOrigin(), image.GetOrigin()),
        (back.GetDirection(), image.GetDirection()),
        (back.GetSpacing(), image.GetSpacing()),
    ):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert json.loads((tmp_path / "out/results.json").read_text()) == [
        {
            "outputs": [{"type": "Image", "slug": "stroke-lesion-segmentation", "filename": f"{UUID}.mha"}],
            "inputs": [{"type": "Image", "slug": "dwi-brain-mri", "filename": f"{UUID}.mha"}],
        }
    ]


def test_real_answers_are_the_truth_that_they_were_made_of(shared_data: Path) -> None:
    """Predictions of the public test folder, whose voxels equal those of its NIfTI truth."""
    files = [
        *(shared_data / "isles22_scores").glob("*.nii.gz"),
        *(shared_data / "isles22_case0001").glob("*_msk.nii.gz"),
    ]
    truths = [nib.load(path) for path in files]
    voxels = [np.asarray(truth.dataobj).astype(np.float32) for truth in truths]
    for path in sorted((shared_data / "isles22_scores").glob("*.mha")):
        scan = metaimage.read_scan(path)
        same = [
            at for at, each in enumerate(voxels) if each.shape == scan.array.shape and np.array_equal(each, scan.array)
        ]
        assert same
        assert scan.grid.distance_mm(Grid(truths[same[0]].shape, truths[same[0]].affine)) < 1e-2


def test_a_file_without_permission_is_told(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = mha(tmp_path / "a.mha", adc_map())
    path.chmod(0)
    for parent in (tmp_path, *list(tmp_path.parents)[:3]):
        parent.chmod(0o755)
    request.getfixturevalue("as_nobody")
    with pytest.raises(FileError, match=r"^a\.mha cannot be read: Permission denied; change its permissions$"):
        read_scan(path)


# ── spellings of MetaIO


def written_by_hand(path: Path, order: str = "<", **fields: str) -> Path:
    """A header of text and 2 × 2 × 2 voxels of 0 to 7."""
    usual = {"ObjectType": "Image", "NDims": "3", "BinaryData": "True", "DimSize": "2 2 2", "ElementType": "MET_SHORT"}
    head = "".join(f"{name} = {value}\n" for name, value in (usual | fields).items()) + "ElementDataFile = LOCAL\n"
    path.write_bytes(head.encode() + np.arange(8, dtype=f"{order}i2").tobytes())
    return path


@pytest.mark.parametrize("word", ["True", "true", "TRUE", "t", "1", "False", "false", "F", "0"])
@pytest.mark.parametrize("field", ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
def test_yes_and_no_are_spelt_as_metaio_does(tmp_path: Path, field: str, word: str) -> None:
    path = written_by_hand(tmp_path / "a.mha", **{field: word})
    assert np.array_equal(read_scan(path).array, sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T)


def test_deflated_voxels_are_told_by_any_spelling(tmp_path: Path) -> None:
    path = mha(tmp_path / "a.mha", adc_map())
    path.write_bytes(path.read_bytes().replace(b"CompressedData = True", b"CompressedData = true"))
    assert np.array_equal(read_scan(path).array, adc_map())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"BinaryDataByteOrderMSB": "yes"},
            "a.mha: its header gives BinaryDataByteOrderMSB = 'yes', not True or False; repair it",
        ),
        ({"Offset": "inf 0 0"}, "a.mha: its header gives Offset = 'inf 0 0'; repair the header"),
        ({"ElementSpacing": "nan 1 1"}, "a.mha: its header gives ElementSpacing = 'nan 1 1'; repair the header"),
        ({"HeaderSize": "13"}, "a.mha: HeaderSize '13' is not read; export the image again"),
    ],
)
def test_other_spellings_are_refused(tmp_path: Path, fields: dict[str, str], text: str) -> None:
    with pytest.raises(FileError) as caught:
        read_scan(written_by_hand(tmp_path / "a.mha", **fields))
    assert str(caught.value) == text


@pytest.mark.parametrize("fields", [{"ElementSpacing": "0 1 1"}, {"TransformMatrix": "0 0 0 0 1 0 0 0 1"}])
def test_an_impossible_place_names_the_file(tmp_path: Path, fields: dict[str, str]) -> None:
    with pytest.raises(GridError, match=r"^a\.mha: "):
        read_scan(written_by_hand(tmp_path / "a.mha", **fields))
