"""The layout of colour-coded slices: written and read back, broken in every way, and as RGB."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jaxtyping import UInt8
from PIL import Image

from strokelens.case import Case, Segmentation
from strokelens.cohorts import slices
from strokelens.cohorts.cohort import Entry, Problem
from strokelens.cohorts.ctp_slices import CtpSlices, numbered
from strokelens.cohorts.grey import grey_labels
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.slice_reader import SPACING_MM, SliceReader, read_pictures, without_marker
from strokelens.cohorts.slice_writer import coloured, slice_names, write_slices
from strokelens.cohorts.slices import read_grey, read_picture, write_picture
from strokelens.cohorts.volumes import VolumeReader
from strokelens.errors import CaseError, FileError, StrokelensError
from strokelens.grid import Grid, radiological, radiological_grid
from strokelens.labels import CORE_PENUMBRA, CORE_PENUMBRA_BRAIN
from strokelens.perfusion.colormap import BAR_RANGES

SHAPE = (60, 50, 3)
OBLIQUE = np.array([[0.0, 0.9, 0, -20], [-0.8, 0, 0, 30], [0, 0, -5.0, 10], [0, 0, 0, 1]])
ROOM = slice(231, 281), slice(226, 286)  # rows and columns of SHAPE in the middle of 512
WITH_NAME = {"CBF": "CBF", "CBV": "CBV", "TTP": "TTP", "Tmax": "TMAX", "MIP": "MIP"}


def patient(
    case_id: str = "sim-1",
    group: str | None = "LVO",
    *,
    affine: object = None,
    nihss: float | None = 12.0,
    seed: int = 0,
) -> Case:
    """A case with five maps in a box of tissue, penumbra and core."""
    rng = np.random.default_rng(seed)
    channels = {}
    for name in ("CBF", "CBV", "TTP", "Tmax"):
        values = np.zeros(SHAPE)
        values[5:55, 5:45] = rng.uniform(0.05, 1, (50, 40, 3)) * BAR_RANGES[name][1]
        channels[name] = values.astype(np.float32)
    channels["MIP"] = (channels["CBF"] * 3).astype(np.float32)
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:30, 10:30, 1] = 1
    labels[12:20, 12:20, 1] = 2
    grid = Grid(SHAPE, np.diag([-0.9, -0.9, 5, 1]) if affine is None else np.asarray(affine))
    clinical = {"age_years": 70.0} | ({} if nihss is None else {"nihss": nihss})
    return Case(case_id, grid, channels, Segmentation(labels, grid, CORE_PENUMBRA), clinical, group, simulated=True)


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    write_slices(tmp_path, [patient()])
    return tmp_path


def only(folder: Path) -> Entry:
    (entry,) = open_cohort(folder)
    return entry


def day(folder: Path) -> Path:
    return folder / "patients/CTP_01_001/no_date"


def test_a_written_cohort_comes_back_within_1_of_254(cohort: Path) -> None:
    opened = open_cohort(cohort)
    case = opened["CTP_01_001"].read()
    given_case = patient()
    assert opened.layout == "ctp_slices"
    assert (case.group, dict(case.clinical), case.simulated) == ("LVO", dict(given_case.clinical), True)
    for name, (low, high) in {name: BAR_RANGES[name] for name in ("CBF", "CBV", "TTP", "Tmax")}.items():
        back = case[name][226:286, 231:281]
        inside = np.isfinite(back)
        assert inside.sum() == np.isfinite(case[name]).sum() == (given_case[name] != 0).sum()
        assert np.abs(back - given_case[name])[inside].max() <= (high - low) / 254


def test_the_truth_comes_back_exactly(cohort: Path) -> None:
    truth, written = only(cohort).read().truth, patient().truth
    assert truth is not None
    assert written is not None
    assert truth.scheme == CORE_PENUMBRA_BRAIN
    for name in ("penumbra", "core"):
        assert np.array_equal(truth.mask(name)[226:286, 231:281], written.mask(name))
    assert truth.volume_ml("core") == pytest.approx(written.volume_ml("core"))


def test_another_orientation_is_turned_as_a_radiologist_sees_it(tmp_path: Path) -> None:
    case = patient(affine=OBLIQUE)
    write_slices(tmp_path, [case])
    back = only(tmp_path).read()
    turned = radiological(case["CBF"], case.grid)
    assert turned.shape == (50, 60, 3)
    part = back["CBF"][231:281, 226:286]
    assert np.abs(part - turned)[np.isfinite(part)].max() < 0.4
    assert back.grid.orientation == "LPS"
    assert back.grid.spacing_mm == pytest.approx((0.9, 0.8, 5.0))


def test_radiological_axes_are_those_of_the_world() -> None:
    """The slow way: each voxel's world position must grow to the left, to the back and up."""
    grid = Grid((3, 4, 5), OBLIQUE)
    positions = grid.world_mm(np.indices((3, 4, 5)).reshape(3, -1).T.astype(float)).reshape(3, 4, 5, 3)
    x, y, z = (radiological(positions[..., axis], grid) for axis in range(3))
    assert (np.diff(x, axis=0) < 0).all()
    assert (np.diff(y, axis=1) < 0).all()
    assert (np.diff(z, axis=2) > 0).all()


def test_opening_needs_no_picture(cohort: Path) -> None:
    for file in cohort.rglob("*.png"):
        file.write_bytes(b"")
    assert only(cohort).channels == ("CBF", "CBV", "TTP", "Tmax", "MIP")


def test_the_published_layout_has_published_voxels_and_scales(cohort: Path) -> None:
    (cohort / "cohort.json").unlink()
    case = only(cohort).read(channels=["Tmax", "MIP"])
    assert case.grid.spacing_mm == pytest.approx(SPACING_MM)
    assert case.sources["Tmax"].note == "Tmax from 0 to 12 by its bar; voxel sizes of the published cohort"
    assert case.sources["MIP"].note == "MIP in grey levels; voxel sizes of the published cohort"
    assert not case.simulated


def test_each_group_and_mirrored_copies_are_told_from_the_name(tmp_path: Path) -> None:
    for name in ("CTP_00_007", "CTP_01_001", "CTP_02_001", "CTP_03_001", "CTP_21_001"):
        write_picture(tmp_path / name / "20200101-101500/CBF/01.png", np.zeros((64, 64, 3), np.uint8))
    entries = {entry.id: (entry.group, entry.person, entry.mirrored) for entry in open_cohort(tmp_path)}
    assert entries == {
        "CTP_00_007": ("LVO", "CTP_00_007", False),
        "CTP_01_001": ("LVO", "CTP_01_001", False),
        "CTP_02_001": ("Non-LVO", "CTP_02_001", False),
        "CTP_03_001": ("WIS", "CTP_03_001", False),
        "CTP_21_001": ("LVO", "CTP_01_001", True),
    }


def test_of_several_days_the_last_of_the_fullest_is_taken(tmp_path: Path) -> None:
    for name, maps in (("20200101-1", 2), ("20200102-1", 2), ("20200103-1", 1), ("no_date", 0)):
        for channel in ("CBF", "TMAX")[:maps]:
            write_picture(tmp_path / "CTP_01_001" / name / channel / "01.png", np.zeros((64, 64, 3), np.uint8))
    entry = only(tmp_path)
    assert entry.folder.name == "20200102-1"
    assert entry.problems == (Problem("days", "3 days with maps; 20200102-1 is taken"),)


def test_scores_are_typed_and_missing_ones_absent(cohort: Path) -> None:
    (cohort / "nihss_score.csv").write_text("x;nihss;age;gender;NIHSS at discharge\nCTP_01_001;-;064Y;1;3\n")
    assert only(cohort).clinical == {"age_years": 64.0, "sex": "F", "nihss_discharge": 3.0}
    assert "nihss" not in only(cohort).read(channels=["CBF"]).clinical


def test_a_table_of_scores_that_is_none_is_a_remark(cohort: Path) -> None:
    (cohort / "nihss_score.csv").write_bytes(b"")
    assert only(cohort).problems == (
        Problem("clinical", "nihss_score.csv has 0 rows, not 1 to 100000; correct or remove it"),
    )


def test_a_patient_without_truth_has_none(cohort: Path) -> None:
    for file in (cohort / "truth/CTP_01_001").iterdir():
        file.unlink()
    assert only(cohort).truth is None
    assert only(cohort).read(channels=["CBF"]).truth is None


def break_file(folder: Path) -> None:
    (day(folder) / "CBV/02.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")


def remove_slice(folder: Path) -> None:
    (day(folder) / "TTP/03.png").unlink()


def remove_middle(folder: Path) -> None:
    for file in folder.rglob("02.*"):
        file.unlink()


def remove_truth_slice(folder: Path) -> None:
    (folder / "truth/CTP_01_001/02.tiff").unlink()


def double_slice(folder: Path) -> None:
    (day(folder) / "TTP/3.png").write_bytes((day(folder) / "TTP/03.png").read_bytes())


def other_size(folder: Path) -> None:
    write_picture(day(folder) / "CBF/01.png", np.zeros((256, 512, 3), np.uint8))


def no_maps(folder: Path) -> None:
    for name in WITH_NAME.values():
        (day(folder) / name).rename(folder / name)


BROKEN: list[tuple[Callable[[Path], None], str, str]] = [
    (remove_slice, "slices", "TTP has slices 1-2 and CBF has 1-3; export them again"),
    (remove_middle, "slices", "slices are missing: there are 1, 3; export them again"),
    (remove_truth_slice, "truth", "the truth has slices 1, 3, the maps 1-3"),
    (double_slice, "unreadable", "two files are slice 3: 03.png and 3.png; remove one"),
    (
        other_size,
        "other-grid",
        "pictures have different sizes: 256×512 (CBF/01.png) and 512×512 (CBF/02.png); export them again",
    ),
    (
        no_maps,
        "unreadable",
        "CTP_01_001 has no day with maps; looked for folders CBF, CBV, MTT, TTP, TMAX, MIP with PNG slices",
    ),
]


@pytest.mark.parametrize(("damage", "code", "text"), BROKEN, ids=[text[:40] for *_, text in BROKEN])
def test_what_is_broken_is_one_row(cohort: Path, damage: Callable[[Path], None], code: str, text: str) -> None:
    damage(cohort)
    entry = only(cohort)
    assert Problem(code, text, True) in entry.look()
    with pytest.raises(StrokelensError):
        entry.read()


def test_a_damaged_picture_is_told(cohort: Path) -> None:
    break_file(cohort)
    entry = only(cohort)
    (problem,) = entry.look()
    assert (problem.code, problem.unusable) == ("unreadable", True)
    assert problem.message.startswith("02.png is ")
    with pytest.raises(FileError, match=r"^02\.png is .*; export it again$"):
        entry.read()


def test_pictures_of_several_sizes_cannot_be_read(cohort: Path) -> None:
    other_size(cohort)
    with pytest.raises(CaseError, match=r"^CTP_01_001: pictures have different sizes: 256×512×3 and 512×512×3; "):
        only(cohort).read()


def test_a_truth_of_another_size_cannot_be_read(cohort: Path) -> None:
    write_picture(cohort / "truth/CTP_01_001/02.tiff", np.zeros((256, 256), np.uint16))
    with pytest.raises(CaseError, match=r"^the truth CTP_01_001/02\.tiff has 256×256 pixels, the maps 512×512$"):
        only(cohort).read(channels=["CBF"])


def test_a_slice_without_a_bar_is_read_by_another_slices(cohort: Path) -> None:
    picture = read_picture(day(cohort) / "CBF/02.png").copy()
    picture[:, 430:] = 0
    before = only(cohort).read(channels=["CBF"])["CBF"]
    write_picture(day(cohort) / "CBF/02.png", picture)
    assert np.array_equal(only(cohort).read(channels=["CBF"])["CBF"], before, equal_nan=True)


def test_without_any_bar_the_vendors_table_is_used_and_said(cohort: Path) -> None:
    before = only(cohort).read(channels=["CBF"])["CBF"]
    for file in (day(cohort) / "CBF").iterdir():
        picture = read_picture(file).copy()
        picture[:, 430:] = 0
        write_picture(file, picture)
    case = only(cohort).read(channels=["CBF"])
    assert (
        case.sources["CBF"].note
        == "CBF from 0 to 100 by the vendor's table, as no slice has a bar; voxel sizes as told"
    )
    assert np.array_equal(case["CBF"], before, equal_nan=True)


def test_as_pictures_the_maps_keep_their_colours_without_bar_text_and_marker(cohort: Path) -> None:
    entry = only(cohort)
    pictures = read_pictures(entry, channels=["CBF", "MIP"])
    original = slices.volume_of([read_picture(file) for file in entry.files["CBF"]])
    assert pictures.channels["CBF"].shape == (512, 512, 3, 3)
    assert np.array_equal(pictures.channels["CBF"][:430], original[:430])
    assert not pictures.channels["CBF"][430:].any()
    assert not pictures.channels["MIP"][430:].any()
    assert pictures.channels["MIP"][226:286, 231:281].any()
    assert pictures.truth is not None
    assert (pictures.group, pictures.clinical["nihss"]) == ("LVO", 12.0)


def test_all_maps_are_read_as_pictures_unless_some_are_named(cohort: Path) -> None:
    assert tuple(read_pictures(only(cohort)).channels) == ("CBF", "CBV", "TTP", "Tmax", "MIP")


def test_what_cannot_be_read_as_pictures_is_told(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"^CTP_01_001 has no channel 'MTT'; it has CBF, CBV, MIP, TTP, Tmax$"):
        read_pictures(only(cohort), channels=["MTT"])
    other = replace(only(cohort), reader=VolumeReader())
    with pytest.raises(CaseError, match=r"^CTP_01_001 has no coloured slices; read it with Entry\.read\(\)$"):
        read_pictures(other)


def test_a_brain_under_the_marker_of_a_mip_is_kept_and_nothing_is_black() -> None:
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[20:90, 20:100] = 90
    picture[110:120, 110:120] = (80, 180, 220)
    assert np.array_equal(without_marker(picture) > 0, picture[..., 0] == 90)
    assert not without_marker(np.zeros((64, 64, 3), np.uint8)).any()


@given(hnp.arrays(np.uint8, (4, 6), elements=st.sampled_from([0, 85, 169, 170, 254, 255])))
def test_grey_levels_are_snapped_to_the_classes(inside: UInt8[np.ndarray, "4 6"]) -> None:
    grey = np.pad(inside, 3)
    expected = np.select([grey > 250, grey > 160, grey > 80], [3, 2, 1], 0)
    assert np.array_equal(grey_labels([grey], "x")[0], expected)


def test_a_grey_level_belongs_to_the_nearest_class() -> None:
    """Midpoints are 42.5, 127.5 and 212.5; the ancestor's closed intervals took 43 and 128 for the class below."""
    grey = np.pad(np.full((40, 40), 85, np.uint8), 3)  # few pixels may be of no level
    grey[10:12, 10:16] = [[0, 42, 43, 84, 85, 127], [128, 169, 170, 212, 213, 254]]
    assert grey_labels([grey], "x")[0][10:12, 10:16].tolist() == [[0, 0, 1, 1, 1, 1], [2, 2, 2, 2, 3, 3]]


def test_the_older_code_is_told_by_its_white_border() -> None:
    grey = np.full((12, 12), 255, np.uint8)
    grey[3:9, 3:9] = 1
    grey[4:7, 4:7] = 76
    grey[5, 5] = 150
    (labels,) = grey_labels([grey], "x")
    assert (labels[0, 0], labels[3, 3], labels[4, 4], labels[5, 5]) == (0, 1, 2, 3)


def test_colours_of_the_oldest_truth_are_read_by_their_luma(tmp_path: Path) -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [255, 255, 255]]], np.uint8)
    write_picture(tmp_path / "a.png", colours)
    assert read_grey(tmp_path / "a.png").tolist() == [[76, 150, 255]]


@given(hnp.arrays(np.uint8, (3, 5)), st.sampled_from(["x.png", "x.tiff"]), st.booleans())
def test_grey_pictures_come_back_in_8_and_16_bits(
    tmp_path_factory: pytest.TempPathFactory, grey: UInt8[np.ndarray, "3 5"], name: str, deep: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "grey" / name
    write_picture(path, grey.astype(np.uint16) * np.uint16(257) if deep else grey)
    assert np.array_equal(read_grey(path), grey)


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda path: None, "x.png does not exist; check the path"),
        (lambda path: path.write_text("text"), "x.png is no PNG or TIFF picture; export it again"),
        (
            lambda path: Image.new("L", (5000, 2)).save(path),
            "x.png has 5000×2 pixels, more than 4096 a side",
        ),
        (
            lambda path: Image.fromarray(np.full((2, 2), 0.5, np.float32)).save(path, format="TIFF"),
            "x.png holds float32 from 0.5 to 0.5; save it with 8 or 16 bits",
        ),
    ],
)
def test_a_truth_that_cannot_be_read_is_told(tmp_path: Path, write: Callable[[Path], object], text: str) -> None:
    write(tmp_path / "x.png")
    with pytest.raises(FileError) as caught:
        read_grey(tmp_path / "x.png")
    assert str(caught.value).removeprefix(f"{tmp_path}/") == text


def test_a_bomb_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(FileError, match=r"^x\.png has more pixels than any slice; export it again$"):
        read_grey(tmp_path / "x.png")


@pytest.mark.parametrize("cut", [20, 60, 100])
def test_a_picture_that_is_cut_short_is_told(tmp_path: Path, cut: int) -> None:
    rng = np.random.default_rng(0)
    write_picture(tmp_path / "x.png", rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:cut])
    with pytest.raises(FileError, match=r"^x\.png is .*; export it again$"):
        read_picture(tmp_path / "x.png")


@pytest.mark.parametrize("name", ["x.png", "x.tiff"])
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8), st.floats(0, 1))
def test_whatever_is_wrong_with_a_picture_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, name: str, flips: list[tuple[int, int]], kept: float
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped" / name
    write_picture(path, np.random.default_rng(0).integers(0, 255, (8, 9, 3), dtype=np.uint8))
    content = bytearray(path.read_bytes())
    for at, value in flips:
        content[at % len(content)] = value
    path.write_bytes(bytes(content[: int(len(content) * max(kept, 0.5))]))
    told = ""
    try:
        read_picture(path)
        read_grey(path)
    except StrokelensError as error:
        told = str(error)
    assert "\n" not in told


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ({"spacing_mm": [1, 2]}, "cohort.json: spacing_mm must be 3 numbers; correct it"),
        ({"spacing_mm": [1, 2, True]}, "cohort.json: spacing_mm must be 3 numbers; correct it"),
        ({"scales": [1]}, "cohort.json: scales must give two numbers for any of CBF, CBV, MTT, TTP, Tmax; correct it"),
        ({"scales": {"CBF": 3}}, "cohort.json: scale of CBF must be 2 numbers; correct it"),
        ({"scales": {"CBF": [3, 3]}}, "cohort.json: the scale of CBF goes from 3 to 3; correct it"),
    ],
)
def test_what_cohort_json_may_not_say_is_told(about: dict[str, object], text: str) -> None:
    with pytest.raises(FileError) as caught:
        SliceReader().told(about, "cohort.json")
    assert str(caught.value) == text


def test_what_cohort_json_says_is_used() -> None:
    reader = SliceReader().told({"spacing_mm": [1, 2, 3], "scales": {"CBF": [0, 60]}}, "cohort.json")
    assert reader.spacing_mm == (1.0, 2.0, 3.0)
    assert reader.scales == {**BAR_RANGES, "CBF": (0.0, 60.0)}


def test_the_grid_of_pictures_is_centred() -> None:
    grid = radiological_grid((5, 7, 3), (1.0, 2.0, 4.0))
    assert np.allclose(grid.world_mm(np.array([[2.0, 3.0, 1.0]])), 0)
    assert grid.orientation == "LPS"


WRITING: list[tuple[Callable[[], list[Case]], str]] = [
    (lambda: [], "there is no case to write"),
    (lambda: [patient(group=None)], "sim-1 has group None; the layout ctp_slices needs one of LVO, Non-LVO, WIS"),
    (
        lambda: [patient(), patient("sim-2", affine=np.diag([-0.5, -0.9, 5, 1]))],
        "the layout ctp_slices has one voxel size for all cases, not 0.5×0.9×5 and 0.9×0.9×5 mm; resample them first",
    ),
    (
        lambda: [Case("x", Grid((4, 4, 4), np.eye(4)), {"ADC": np.ones((4, 4, 4))}, group="LVO")],
        "x has no map for the layout ctp_slices; it has ADC",
    ),
    (
        lambda: [Case("x", Grid((600, 4, 1), np.eye(4)), {"CBF": np.ones((600, 4, 1))}, group="LVO")],
        "x has slices of 4×600 pixels, more than 512×512; resample it first",
    ),
    (
        lambda: [Case("x", Grid((4, 4, 100), np.eye(4)), {"CBF": np.ones((4, 4, 100))}, group="LVO")],
        "a case has 100 slices; the layout ctp_slices numbers them with two digits",
    ),
    (
        lambda: [Case("x", Grid((512, 4, 1), np.eye(4)), {"CBF": np.ones((512, 4, 1))}, group="LVO")],
        "CBF reaches under the colour bar; crop the image to the head",
    ),
]


@pytest.mark.parametrize(("cases", "text"), WRITING, ids=[text[:40] for _, text in WRITING])
def test_what_cannot_be_written_is_told(tmp_path: Path, cases: Callable[[], list[Case]], text: str) -> None:
    with pytest.raises(CaseError) as caught:
        write_slices(tmp_path, cases())
    assert str(caught.value) == text


def test_cases_are_numbered_within_their_group_and_without_truth_too(tmp_path: Path) -> None:
    cases = [patient(), patient("sim-2", "WIS"), replace(patient("sim-3", nihss=None), truth=None)]
    assert write_slices(tmp_path, cases) == ("CTP_01_001", "CTP_03_001", "CTP_01_002")
    cohort = open_cohort(tmp_path)
    assert cohort["CTP_01_002"].truth is None
    assert "nihss" not in cohort["CTP_01_002"].clinical
    assert (tmp_path / "nihss_score.csv").read_text().splitlines()[-1] == "CTP_01_002;-;70;-"


def test_a_group_has_at_most_999_cases() -> None:
    groups = [(f"sim-{number}", "WIS") for number in range(1000)]
    assert slice_names(groups[:-1])[-1] == "CTP_03_999"
    with pytest.raises(
        CaseError, match=r"^more than 999 cases are WIS; the layout ctp_slices has three digits for them$"
    ):
        slice_names(groups)


def test_a_day_is_one_that_the_published_tools_take(tmp_path: Path) -> None:
    """At least seven folders: five maps, Annotations and Original."""
    write_slices(tmp_path, [patient()])
    wanted = ["Annotations", "CBF", "CBV", "MIP", "Original", "TMAX", "TTP"]
    assert sorted(path.name for path in day(tmp_path).iterdir()) == wanted
    assert (tmp_path / "nihss_score.csv").read_text().splitlines()[0] == "patient;nihss;age;gender"


def test_the_same_case_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_slices(tmp_path / name, [patient()])
    first, second = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("a", "b")
    )
    assert first == second
    assert len(first) == 5 * 3 + 3 + 2


def test_a_mip_of_zeros_is_black(tmp_path: Path) -> None:
    case = replace(patient(), channels={"CBF": patient()["CBF"], "MIP": np.zeros(SHAPE)})
    write_slices(tmp_path, [case])
    assert not only(tmp_path).read(channels=["MIP"])["MIP"][226:286, 231:281].any()


def test_a_coloured_slice_has_bar_text_and_marker() -> None:
    picture = coloured(np.full((512, 512), np.nan), "Tmax")
    lit = picture.max(axis=2) > 0
    assert lit[129:385, 435:455].all()
    assert lit[110:129, 425:470].any()
    assert lit[385:405, 425:470].any()
    assert lit[436:463, 468:495].any()
    assert not lit[:, :425].any()


def test_names_that_are_no_slices_are_passed_over() -> None:
    files = [Path("01.png"), Path("notes.txt"), Path("cover.png"), Path("100.png"), Path("Thumbs.db")]
    assert numbered(files) == {1: Path("01.png"), 100: Path("100.png")}


@pytest.mark.parametrize(
    ("folder", "name", "number"),
    [
        ("CTP_01_001", "01_00102", 2),
        ("CTP_01_001", "CTP_01_001_102", 102),
        ("CTP_21_001", "01_00102", 2),
        ("CTP_01_002", "01_00102", 102),
        ("CTP_01_001", "slice7", 7),
    ],
)
def test_a_slice_may_have_the_id_of_its_own_patient_before_its_number(folder: str, name: str, number: int) -> None:
    assert list(numbered([Path(folder, f"{name}.tiff")])) == [number]


def test_a_layout_can_be_given_with_other_settings(cohort: Path) -> None:
    (cohort / "cohort.json").unlink()
    reader = SliceReader(spacing_mm=(0.5, 0.5, 10.0))
    (entry,) = open_cohort(cohort, CtpSlices(reader=reader))
    assert entry.read(channels=["CBF"]).grid.spacing_mm == (0.5, 0.5, 10.0)
