"""Pictures: what is where, which slices, and which colours."""

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from strokelens.arrays import Mask
from strokelens.case import Segmentation
from strokelens.finding import Finding, Method
from strokelens.flags import Flag
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA, CORE_PENUMBRA_BRAIN, LESION_ONLY
from strokelens.report import figures, tiles
from strokelens.report.display import View, choose
from strokelens.report.figures import Layout
from strokelens.report.scales import SCALES, shown, window
from tests.report_examples import ct_finding, curves, head_grid, mr_finding, tilted

ORIENTATIONS = [
    "".join(pair[flip] for pair, flip in zip(pairs, flips, strict=True))
    for pairs in permutations(("RL", "AP", "SI"))
    for flips in product((0, 1), repeat=3)
]
CORE, PENUMBRA = (225, 60, 165), (60, 190, 80)


def plain_finding(grid: Grid, *, backdrop: np.ndarray | None = None, labels: np.ndarray | None = None) -> Finding:
    """Grey everywhere, brain everywhere, nothing found."""
    labels = np.zeros(grid.shape, np.uint8) if labels is None else labels
    volume = np.full(grid.shape, 50, np.float32) if backdrop is None else backdrop
    return Finding(
        case_id="marker",
        segmentation=Segmentation(labels, grid, CORE_PENUMBRA),
        maps={},
        backdrop=volume,
        brain=np.ones(grid.shape, bool),
        volumes_ml={"core": 0.0},
        method=Method("none", "nothing", "nobody", {}),
    )


def right_anterior_superior(grid: Grid) -> Mask:
    """The octant of a grid, taken by world position."""
    positions = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
    centre = grid.world_mm((np.array(grid.shape) - 1.0) / 2)
    octant: Mask = np.all(positions > centre, axis=-1)
    return octant


def places_of(picture: Image.Image, colour: tuple[int, int, int], tolerance: int = 40) -> np.ndarray:
    """Rows and columns of the pixels of about this colour."""
    distance = np.abs(np.asarray(picture.convert("RGB"), int) - colour).max(axis=-1)
    return np.argwhere(distance <= tolerance)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_columns_go_left_rows_go_back_and_slices_go_up(orientation: str) -> None:
    grid = tilted(head_grid((5, 6, 4), (2.0, 3.0, 5.0), orientation), 12)
    world = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
    x, y, z = (View(grid, slice(None), slice(None)).planes(world[..., axis]) for axis in range(3))
    assert (np.diff(x, axis=2) < 0).all()
    assert (np.diff(y, axis=1) < 0).all()
    assert (np.diff(z, axis=0) > 0).all()


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAS", "RPI", "PIR", "SAR", "ASL"])
@pytest.mark.parametrize("degrees", [0.0, 14.0])
def test_right_anterior_superior_is_drawn_upper_left_in_the_last_slices(orientation: str, degrees: float) -> None:
    grid = tilted(head_grid((8, 8, 8), (2.0, 2.0, 2.0), orientation), degrees)
    shape = tuple(12 if axis in grid.axes[:2] else 4 for axis in range(3))
    grid = tilted(head_grid((shape[0], shape[1], shape[2]), (2.0, 2.0, 2.0), orientation), degrees)
    bright = right_anterior_superior(grid)
    picture = figures.overlay(plain_finding(grid, backdrop=np.where(bright, 100, 0).astype(np.float32)))
    sheet = np.asarray(picture.crop((24, 92, picture.width - 24, picture.height - 52)).convert("L"), float)
    tile = sheet[:260, -260:]  # the fourth of four in a row: the highest
    quarters = [[part.mean() for part in np.array_split(half, 2, axis=1)] for half in np.array_split(tile, 2)]
    assert quarters[0][0] > 2 * max(quarters[0][1], *quarters[1])
    assert sheet[:260, :260].mean() < 0.3 * tile.mean()


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "PIR"])
def test_a_core_on_the_right_is_outlined_on_the_left(orientation: str) -> None:
    grid = head_grid((16, 16, 16), (3.0, 3.0, 3.0), orientation)
    finding = plain_finding(grid, labels=np.where(right_anterior_superior(grid), 2, 0).astype(np.uint8))
    layout = Layout.of(finding)
    lines = layout.contours(finding.segmentation, 12, width=200)
    assert lines is not None
    rows, columns = places_of(lines, CORE).T
    assert (rows.max() < 105, columns.max() < 105) == (True, True)


@given(st.sampled_from(ORIENTATIONS), st.tuples(*[st.integers(0, 4)] * 3))
def test_the_place_of_a_voxel_is_where_its_plane_shows_it(orientation: str, voxel: tuple[int, int, int]) -> None:
    grid = head_grid((5, 6, 7), (2.0, 3.0, 5.0), orientation)
    view = View.around(grid, np.ones(grid.shape, bool))
    single = np.zeros(grid.shape, bool)
    single[voxel] = True
    planes = view.planes(single)
    slice_index, row, column = (int(index) for index in np.argwhere(planes)[0])
    expected = slice_index, (column + 0.5) / planes.shape[2], (row + 0.5) / planes.shape[1]
    assert view.position(np.array(voxel)) == pytest.approx(expected)


def test_heights_are_world_z() -> None:
    grid = head_grid((4, 4, 5), (2.0, 2.0, 6.0), "RAI")
    view = View(grid, slice(None), slice(None))
    assert [view.height_mm(index) for index in range(5)] == [-12.0, -6.0, 0.0, 6.0, 12.0]


@pytest.mark.parametrize(("spacing", "ratio"), [((1.0, 1.0, 5.0), 1.0), ((1.0, 1.5, 5.0), 1.5), ((2.0, 1.0, 1.0), 0.5)])
def test_a_slice_keeps_its_proportions_in_mm(spacing: tuple[float, float, float], ratio: float) -> None:
    view = View(head_grid((40, 40, 3), spacing), slice(None), slice(None))
    (width, height), _ = view.tile(200)
    assert height / width == pytest.approx(ratio)


@pytest.mark.parametrize("shape", [(400, 2, 1), (2, 400, 1), (1, 1, 1), (3, 2, 50)])
def test_absurd_shapes_give_a_picture_of_bounded_size(shape: tuple[int, int, int]) -> None:
    labels = np.zeros(shape, np.uint8)
    labels[0, 0, 0] = 2
    picture = figures.overlay(plain_finding(head_grid(shape, (1.0, 1.0, 1.0)), labels=labels))
    assert max(picture.size) < 3500
    assert len(places_of(picture, CORE))


def test_a_single_core_voxel_of_a_fine_grid_is_seen() -> None:
    grid = head_grid((512, 512, 1), (0.43, 0.43, 5.0))
    labels = np.zeros(grid.shape, np.uint8)
    labels[150, 300, 0] = 2
    lines = tiles.contours(labels[..., 0], CORE_PENUMBRA, View(grid, slice(None), slice(None)), width=256)
    assert lines is not None
    assert np.asarray(lines)[..., 3].max() > 100


def test_a_contour_lies_on_the_edge_of_its_mask() -> None:
    grid = head_grid((60, 60, 1), (1.0, 1.0, 1.0), "LPS")  # shown as it is stored
    labels = np.zeros(grid.shape, np.uint8)
    labels[20:40, 20:40] = 2
    view = View(grid, slice(None), slice(None))
    lines = tiles.contours(view.planes(labels)[0], CORE_PENUMBRA, view, width=600)
    assert lines is not None
    rows, columns = places_of(lines, CORE, 10).T
    assert [rows.min(), rows.max(), columns.min(), columns.max()] == pytest.approx([200, 399, 200, 399], abs=2)


def test_the_penumbra_is_outlined_around_the_core() -> None:
    grid = head_grid((60, 60, 1), (1.0, 1.0, 1.0), "LPS")
    labels = np.zeros(grid.shape, np.uint8)
    labels[10:50, 10:50] = 1
    labels[20:40, 20:40] = 2
    view = View(grid, slice(None), slice(None))
    lines = tiles.contours(view.planes(labels)[0], CORE_PENUMBRA, view, width=300)
    assert lines is not None
    green = places_of(lines, PENUMBRA, 10)
    assert np.abs(green - 149.5).max(axis=1).min() > 90  # none of it at the core's border


def test_brain_gets_no_contour() -> None:
    grid = head_grid((20, 20, 1), (1.0, 1.0, 1.0))
    plane = np.ones((20, 20), np.uint8)
    assert tiles.contours(plane, CORE_PENUMBRA_BRAIN, View(grid, slice(None), slice(None)), width=100) is None


def test_colours_of_both_classes_are_in_the_overlay() -> None:
    picture = figures.overlay(ct_finding(head_grid((64, 64, 8), (3.4, 3.6, 12.0))))
    assert min(len(places_of(picture, CORE)), len(places_of(picture, PENUMBRA))) > 300


def test_nan_is_black() -> None:
    plane = np.array([[np.nan, 12.0], [0.0, np.nan]], np.float32)
    painted = SCALES["Tmax"].paint(plane)[..., :3].astype(int).sum(axis=-1)
    assert (painted == 0).tolist() == [[True, False], [False, True]]


def test_colours_end_with_the_range() -> None:
    painted = SCALES["Tmax"].paint(np.array([[-3, 0, 12, 99]], np.float32))[0].tolist()
    assert (painted[0], painted[3]) == (painted[1], painted[2])


def test_colours_keep_the_order_of_values_to_a_255th_of_the_range() -> None:
    scale = SCALES["CBF"]
    values = np.linspace(0, 40, 255, dtype=np.float32)
    assert np.array_equal(scale.paint(values[None])[0], scale.table[1:])


def test_maps_come_in_a_fixed_order() -> None:
    assert [scale.channel for scale in shown(ct_finding(head_grid((8, 8, 2), (20.0, 20.0, 40.0))).maps, BRAIN)] == [
        "CBF",
        "CBV",
        "MTT",
        "Tmax",
        "TTP",
    ]


BRAIN = np.ones((8, 8, 2), bool)


@pytest.mark.parametrize(
    ("value", "expected"), [(np.nan, (0.0, 1.0)), (7.0, (6.5, 7.5))], ids=["nothing finite", "constant"]
)
def test_images_without_contrast_have_a_window(value: float, expected: tuple[float, float]) -> None:
    assert window(np.full((4, 4, 2), value, np.float32), np.ones((4, 4, 2), bool)) == expected


def test_a_backdrop_of_nan_is_drawn_black() -> None:
    grid = head_grid((8, 8, 2), (4.0, 4.0, 5.0))
    finding = plain_finding(grid, backdrop=np.full(grid.shape, np.nan, np.float32))
    assert np.asarray(Layout.of(finding).anatomy(finding.backdrop, 0, width=50)).max() == 0


@given(st.integers(1, 120), st.integers(1, 24), st.sets(st.integers(0, 119), max_size=20))
def test_the_chosen_slices_hold_the_largest_lesion(count: int, most: int, lesion: set[int]) -> None:
    area = np.zeros(count, int)
    for place in lesion:
        if place < count:
            area[place] = 1 + (place * 7) % 5
    chosen = choose(range(count), area, most=most)
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= most
    if area.any():
        assert int(area.argmax()) in chosen


def test_a_lesion_that_fits_is_shown_in_every_one_of_its_slices() -> None:
    area = np.zeros(73, int)
    area[30:48] = 9
    assert set(range(30, 48)) <= set(choose(range(73), area, most=24))


def test_a_diffusion_study_shows_24_of_its_73_slices() -> None:
    finding = mr_finding(head_grid((40, 44, 73), (4.0, 4.2, 2.0), "LAS"))
    assert len(Layout.of(finding).chosen) == 24


def test_a_study_without_brain_is_shown_whole() -> None:
    grid = head_grid((8, 8, 3), (4.0, 4.0, 5.0))
    finding = replace(plain_finding(grid), brain=np.zeros(grid.shape, bool))
    layout = Layout.of(finding)
    assert (layout.chosen, layout.view.extent_mm) == ([0, 1, 2], (32.0, 32.0))


def test_the_overlay_is_a_png_of_the_same_bytes_each_time(tmp_path: Path) -> None:
    finding = mr_finding(head_grid((24, 24, 6), (7.0, 8.0, 24.0)))
    for name in ("first", "second"):
        figures.write_overlay(finding, tmp_path / name)
    content = (tmp_path / "first").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert content == (tmp_path / "second").read_bytes()


def test_curves_are_a_png_of_the_same_bytes_each_time() -> None:
    vessels = curves(head_grid((8, 8, 4), (20.0, 20.0, 30.0)))
    first, second = (figures.figure_png(figures.curves_figure(vessels)) for _ in range(2))
    assert first == second


def test_every_tile_of_a_map_says_which_side_is_right() -> None:
    grid = head_grid((8, 8, 4), (8.0, 8.0, 5.0))
    volume = np.full(grid.shape, np.nan, np.float32)
    layout = Layout.of(plain_finding(grid))
    sheet = np.asarray(figures.maps_figure(volume, SCALES["CBF"], layout, columns=4, width=100).convert("L"))
    tiles_of_sheet = [sheet[40:60, start : start + 100] for start in range(0, 4 * 104, 104)]
    assert [(tile[:, :20].max() > 200, tile[:, 80:].max() > 200) for tile in tiles_of_sheet] == [(True, True)] * 4


def test_curves_say_what_they_are_not_for() -> None:
    figure = figures.curves_figure(curves(head_grid((8, 8, 4), (20.0, 20.0, 30.0))))
    assert [text.get_text() for text in figure.texts] == ["Research use only; not a medical device."]


def test_curves_name_their_axes_and_units() -> None:
    axes = figures.curves_figure(curves(head_grid((8, 8, 4), (20.0, 20.0, 30.0)))).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time, s", "concentration, HU")


def test_a_vessel_is_ringed_where_it_is() -> None:
    grid = head_grid((40, 40, 3), (4.0, 4.0, 5.0))
    finding = plain_finding(grid)
    picture = figures.vessel_tile(finding, Layout.of(finding), np.array([[35, 30, 1]]), colour="#ff8f4d", width=200)
    assert picture is not None
    # i grows to the right: column (39 − 35 + ½) · 5; j to anterior: row (39 − 30 + ½) · 5
    assert places_of(picture, (255, 143, 77)).mean(axis=0) == pytest.approx([47.5, 22.5], abs=1.5)


def test_a_grave_flag_is_red_in_the_overlay_too() -> None:
    finding = plain_finding(head_grid((8, 8, 2), (4.0, 4.0, 5.0)))
    grave = replace(finding, flags=(Flag("truncated", "The series ends early.", grave=True),))
    red = [len(places_of(figures.overlay(each), (179, 0, 27), 3)) for each in (finding, grave)]
    assert (red[0], red[1] > 5000) == (0, True)


def test_lesion_scheme_is_drawn_in_its_colour() -> None:
    finding = mr_finding(head_grid((40, 44, 12), (4.0, 4.2, 12.0), "LAS"))
    assert finding.segmentation.scheme == LESION_ONLY
    assert len(places_of(figures.overlay(finding), CORE)) > 100
