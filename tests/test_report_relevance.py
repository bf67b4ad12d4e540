"""Pictures of relevance: which colour is where, on which scale, and what is said."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from strokelens.arrays import Mask, Volume
from strokelens.case import Case
from strokelens.errors import RelevanceError
from strokelens.flags import RESEARCH_USE
from strokelens.grid import Grid
from strokelens.report.atlas import PREDICTION, TRUTH
from strokelens.report.figures import figure_png
from strokelens.report.overlays import SIGNED
from strokelens.report.relevance import NOTHING, TARGET, Reasons, sheet, six_panels
from tests.report_examples import head_grid

CHANNELS = ("ADC", "Tmax")
RIGHT_MM, LEFT_MM = (30.0, 20.0, 0.0), (-30.0, -20.0, 0.0)
"""Where relevance is positive, to the right and in front, and where it is negative, to the left and behind."""


def near(grid: Grid, place_mm: Sequence[float], reach_mm: float = 13.0) -> Mask:
    """The voxels of a box of a slice around a place."""
    world = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
    reach = np.array([reach_mm, reach_mm, grid.spacing_mm[grid.axes[2]]])
    box: Mask = np.all(np.abs(world - place_mm) < reach, axis=-1)
    return box


def signed(grid: Grid, size: float = 2e-4) -> Volume:
    """Relevance of `size` on the right, half of it against on the left, 0 elsewhere."""
    return (size * near(grid, RIGHT_MM) - 0.5 * size * near(grid, LEFT_MM)).astype(np.float32)


def reasons(grid: Grid | None = None, **changes: Any) -> Reasons:
    """A grey head of 80 × 104 mm with an outside, two channels, two filters."""
    grid = grid or head_grid((40, 40, 5), (3.0, 3.0, 6.0), "LPS")
    world = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
    head = np.linalg.norm(world[..., :2] / (50, 56), axis=-1) < 1
    rng = np.random.default_rng(0)
    channels = {name: np.where(head, rng.uniform(40, 60, grid.shape), 0) for name in CHANNELS}
    target = near(grid, RIGHT_MM)
    maps = {"ADC": signed(grid), "Tmax": signed(grid) / 2}
    filtered = {
        "pass:0:0.4": {name: signed(grid, 3e-6) for name in CHANNELS},
        "clamp:0:0.2": {name: signed(grid, 8.0) for name in CHANNELS},
    }
    made = Reasons(
        case=Case("sim-1", grid, channels, simulated=True),
        maps=maps,
        filtered=filtered,
        truth=near(grid, RIGHT_MM, 19.0),
        prediction=target,
        target=target,
        asked="core in the prediction, by composite stroke",
        model="unet3d, trained on 40 simulated patients",
        shares={"ADC": 0.66, "Tmax": 0.34},
    )
    return replace(made, **changes)


def rendered(figure: Figure) -> UInt8[np.ndarray, "row column 3"]:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]


def tile(figure: Figure, letter: str) -> Axes:
    """The panel with a text in its corner."""
    (axes,) = [each for each in figure.axes if letter in {text.get_text() for text in each.texts}]
    return axes


def crop(figure: Figure, axes: Axes) -> np.ndarray:
    """What is drawn in a panel, its letters left out: red, green and blue."""
    for text in axes.texts:
        text.set_visible(False)
    picture, box = rendered(figure), axes.get_window_extent()
    high = picture.shape[0]
    return picture[high - int(box.y1) : high - int(box.y0), int(box.x0) : int(box.x1)].astype(int)


def of_colour(picture: np.ndarray, sign: int) -> Mask:
    """Where it is plainly red (+1), or blue (−1)."""
    found: Mask = sign * (picture[..., 0] - picture[..., 2]) > 60
    return found


def middle(mask: Mask) -> tuple[float, float]:
    """The mean row and column of what is marked, as shares of the picture."""
    places = np.argwhere(mask).mean(axis=0) / mask.shape
    return float(places[0]), float(places[1])


def words(figure: Figure) -> str:
    """All that is said above the tiles, without line ends."""
    return " ".join(text.get_text() for text in figure.texts)


def layers(axes: Axes) -> list[AxesImage]:
    """What relevance is drawn in a panel."""
    return [each for each in axes.get_images() if each.get_cmap().name == SIGNED.name]


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAI", "PIR", "SAR"])
@pytest.mark.parametrize("letter", ["A", "A2", "C2"])
def test_what_speaks_for_it_is_red_and_the_patients_right_is_on_the_left(orientation: str, letter: str) -> None:
    shape, spacing = [40, 40, 40], [3.0, 3.0, 3.0]
    axis = next(place for place, each in enumerate(orientation) if each in "SI")
    shape[axis], spacing[axis] = 5, 6.0
    grid = head_grid((shape[0], shape[1], shape[2]), (spacing[0], spacing[1], spacing[2]), orientation)
    figure = six_panels(replace(reasons(grid), target=np.zeros(grid.shape, bool)), "ADC")
    picture = crop(figure, tile(figure, letter))
    (up, left), (down, right) = (middle(of_colour(picture, sign)) for sign in (1, -1))
    assert (up < 0.45, left < 0.35) == (True, True)
    assert (down > 0.55, right > 0.65) == (True, True)


def test_red_covers_the_voxels_of_positive_relevance_and_no_others() -> None:
    """9 × 9 voxels of 3 mm are 27 × 27 mm; the window is larger than the head by the margin."""
    made = reasons(target=np.zeros((40, 40, 5), bool))
    figure = six_panels(made, "ADC", slice_index=2)
    axes = tile(figure, "A")
    left, right = axes.get_xlim()
    picture = crop(figure, axes)
    per_mm = picture.shape[1] / (right - left)
    voxels = int(near(made.case.grid, RIGHT_MM)[..., 2].sum())
    assert of_colour(picture, 1).sum() / per_mm**2 == pytest.approx(9.0 * voxels, rel=0.03)


def test_no_relevance_is_drawn_outside_of_the_head_and_its_share_is_told() -> None:
    made = reasons(truth=None, target=np.zeros((40, 40, 5), bool))
    head = made.case["ADC"] != 0
    everywhere = np.where(head, 1.0, 3.0).astype(np.float32)
    figure = sheet(replace(made, maps={"ADC": everywhere}, shares={"ADC": 1.0}))
    share = 3 * (~head).sum() / (head.sum() + 3 * (~head).sum())
    assert f"{share * 100:.0f} % of all relevance lies outside of the head and is not drawn." in words(figure)
    (layer,) = layers(figure.axes[0])
    shown = np.ma.getmaskarray(np.ma.asarray(layer.get_array()))
    corner = crop(figure, figure.axes[0])[:12, :12]
    assert shown.any()
    assert not corner.any()


def test_relevance_within_the_head_needs_no_such_sentence() -> None:
    assert "outside of the head" not in words(sheet(reasons())) + words(six_panels(reasons(), "ADC"))


def test_letters_and_titles_name_all_panels() -> None:
    figure = six_panels(reasons(), "ADC")
    titles = {letter: tile(figure, letter).get_title() for letter in ("A", "B", "C", "A2", "B2", "C2", "D", "E", "F")}
    assert titles == {
        "A": "raw relevance\nover its largest, 2.0 × 10⁻⁴",
        "B": "pass 0–0.4 relevance\nover its largest, 3.0 × 10⁻⁶",
        "C": "clamp 0–0.2 relevance\nover its largest, 8",
        "A2": "",
        "B2": "",
        "C2": "",
        "D": f"truth\n{0.054 * reasons().truth.sum():.1f} ml in all slices",  # type: ignore[union-attr]
        "E": f"prediction\n{0.054 * reasons().target.sum():.1f} ml in all slices",
        "F": "ADC alone",
    }


def test_each_map_is_a_share_of_its_own_largest_on_the_same_scale() -> None:
    figure = six_panels(reasons(), "ADC")
    drawn = [layers(tile(figure, letter)) for letter in ("A", "B", "C", "A2", "B2", "C2")]
    assert [len(each) for each in drawn] == [1] * 6
    for (layer,) in drawn:
        values: np.ma.MaskedArray = np.ma.asarray(layer.get_array())
        assert layer.get_clim() == (-1, 1)
        assert (values.min(), values.max()) == pytest.approx((-0.5, 1.0))


def test_panels_of_masks_show_them_and_the_scan_is_alone() -> None:
    figure = six_panels(reasons(), "ADC")
    for letter, colour in (("D", TRUTH), ("E", PREDICTION)):
        picture = crop(figure, tile(figure, letter))
        mask = (np.abs(picture - np.multiply(to_rgba(colour)[:3], 255)) < 4).all(axis=-1)
        assert mask.any()
        assert middle(mask)[1] < 0.4
    assert np.ptp(crop(figure, tile(figure, "F")), axis=-1).max() == 0  # grey


def test_a_scan_is_dimmed_under_relevance_however_bright_it_is() -> None:
    made = reasons()
    bright = made.case["ADC"].copy()
    bright[5:9, 18:22] = 9000
    figure = six_panels(replace(made, case=replace(made.case, channels={"ADC": bright}), truth=None), "ADC")
    under, alone = (tile(figure, letter).get_images()[0] for letter in ("A2", "F"))
    shades = [float(np.nanmax(each.norm(np.asarray(each.get_array())))) for each in (under, alone)]
    assert shades == pytest.approx([0.6, 1.0])


@pytest.mark.parametrize(("count", "left_out"), [(0, {"B", "B2", "C", "C2"}), (1, {"C", "C2"}), (3, set())])
def test_panels_without_a_filter_are_left_out(count: int, left_out: set[str]) -> None:
    made = reasons()
    by = made.filtered["pass:0:0.4"]
    figure = six_panels(replace(made, filtered={f"pass:0:0.{place + 1}": by for place in range(count)}), "Tmax")
    letters = {text.get_text() for axes in figure.axes for text in axes.texts} - {"R", "L"}
    assert letters == {"A", "A2", "B", "B2", "C", "C2", "D", "E", "F"} - left_out


def test_the_slice_has_most_of_the_target_or_else_of_the_truth_or_is_the_one_asked_for() -> None:
    grid = head_grid((40, 40, 5), (3.0, 3.0, 6.0), "LPS")
    low, high = near(grid, (0, 0, -12)), near(grid, (0, 0, 12))
    nothing = np.zeros(grid.shape, bool)
    both = reasons(grid, target=low, truth=high)
    assert "slice at −12 mm" in words(six_panels(both, "ADC"))
    assert "slice at 12 mm" in words(six_panels(replace(both, target=nothing), "ADC"))
    assert "slice at 0 mm" in words(six_panels(replace(both, target=nothing, truth=None), "ADC"))
    assert "slice at 6 mm" in words(six_panels(both, "ADC", slice_index=3))


@pytest.mark.parametrize("index", [-1, 5])
def test_a_slice_that_is_not_there_is_told(index: int) -> None:
    with pytest.raises(RelevanceError, match=rf"^sim-1 has no slice {index}; they count from below, 0 to 4$"):
        six_panels(reasons(), "ADC", slice_index=index)


def test_a_channel_without_relevance_is_told_with_the_nearest() -> None:
    with pytest.raises(RelevanceError, match="raw has no relevance of 'adc'; did you mean 'ADC'"):
        six_panels(reasons(), "adc")
    with pytest.raises(RelevanceError, match=r"clamp:0:0\.2 has no relevance of 'ADC'"):
        six_panels(reasons(filtered={"clamp:0:0.2": {"Tmax": reasons().maps["Tmax"]}}), "ADC")


def test_all_cells_of_a_sheet_have_one_symmetrical_scale() -> None:
    made = reasons()
    figure = sheet(made, most_slices=3)
    cells = [axes for axes in figure.axes if layers(axes)]
    sizes = np.abs(np.concatenate([values[values != 0] for values in made.maps.values()]))
    limit = float(np.percentile(sizes, 99.5))
    assert len(cells) == 2 * 3
    assert {layers(axes)[0].get_clim() for axes in cells} == {(-limit, limit)}
    assert limit == pytest.approx(2e-4)


def test_a_few_voxels_of_relevance_are_scaled_by_the_largest() -> None:
    lone = np.zeros((40, 40, 5), np.float32)
    lone[20, 20, 2] = -7
    assert reasons(maps={"ADC": lone}).limit == 7


def test_titles_and_bars_tell_the_shares() -> None:
    figure = sheet(reasons(), most_slices=1)
    assert [axes.get_title() for axes in figure.axes if layers(axes)] == [
        "ADC\n66 % of what speaks for it",
        "Tmax\n34 % of what speaks for it",
    ]
    bars = {axes.get_xlabel(): axes for axes in figure.axes if axes.get_xlabel()}
    heights = {name: axes.patches[0].get_height() for name, axes in bars.items()}  # type: ignore[attr-defined]
    assert heights == {"ADC": 0.66, "Tmax": 0.34}
    assert len({axes.get_ylim() for axes in bars.values()}) == 1


def test_rows_are_slices_from_below_to_above_with_the_fullest_among_them() -> None:
    grid = head_grid((40, 40, 9), (3.0, 3.0, 6.0), "LPI")
    figure = sheet(reasons(grid, target=near(grid, (0, 0, 12)), truth=None), most_slices=3)
    heights = [text.get_text() for axes in figure.axes for text in axes.texts if "mm" in text.get_text()]
    assert heights == ["6 mm", "12 mm", "18 mm"]
    assert "3 of 9 slices, from below to above" in words(figure)


def test_outlines_lie_around_target_and_truth() -> None:
    """Both are around the same place: 9 and 13 voxels of 3 mm wide, on the left of the picture."""
    made = reasons()
    axes = sheet(made, most_slices=1).axes[0]
    wide = {}
    for lines in axes.collections:
        assert isinstance(lines, ContourSet)
        x = np.concatenate([path.vertices for path in lines.get_paths()])[:, 0]
        wide[tuple(np.asarray(lines.get_edgecolor())[0].tolist())] = np.ptp(x), x.mean() < np.mean(axes.get_xlim())
    counts = [int(mask.any(axis=(1, 2)).sum()) for mask in (made.target, made.truth) if mask is not None]
    assert wide[to_rgba(TARGET)] == (pytest.approx(3.0 * counts[0], abs=0.1), True)
    assert wide[to_rgba(TRUTH)] == (pytest.approx(3.0 * counts[1], abs=0.1), True)


def test_an_outline_closes_at_the_edge_of_the_grid() -> None:
    grid = head_grid((40, 40, 1), (3.0, 3.0, 6.0), "LPS")
    whole = np.ones(grid.shape, bool)
    case = Case("a", grid, {name: np.ones(grid.shape) for name in CHANNELS})
    (lines,) = sheet(reasons(grid, case=case, target=whole, truth=None)).axes[0].collections
    corners = lines.get_paths()[0].get_extents()
    assert [corners.x0, corners.x1, corners.y0, corners.y1] == pytest.approx([0, 120, 0, 120], abs=0.01)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_a_map_without_relevance_says_so(fill: float) -> None:
    empty = {name: np.full((40, 40, 5), fill, np.float32) for name in CHANNELS}
    made = reasons(maps=empty, filtered={"pass:0:0.4": empty}, shares={})
    figure = sheet(made)
    assert {axes.get_title() for axes in figure.axes[:5:4]} == {f"ADC\n{NOTHING}", f"Tmax\n{NOTHING}"}
    (bar,) = [
        axes for axes in figure.axes if axes.get_title() == "relevance, one scale for all maps (99.5th percentile)"
    ]
    assert [tick.get_text() for tick in bar.get_xticklabels()] == ["", NOTHING, ""]
    for drawn in (figure, six_panels(made, "ADC")):
        assert rendered(drawn).any()
    assert tile(six_panels(made, "ADC"), "B").get_title() == f"pass 0–0.4 relevance\n{NOTHING}"


def test_shares_that_are_missing_or_nan_are_no_zero() -> None:
    figure = sheet(reasons(shares={"ADC": 1.0, "Tmax": float("nan")}), most_slices=1)
    titles = [axes.get_title() for axes in figure.axes if layers(axes)]
    assert titles == ["ADC\n100 % of what speaks for it", f"Tmax\n{NOTHING}"]


def test_an_empty_target_and_a_missing_truth_are_told() -> None:
    made = reasons(target=np.zeros((40, 40, 5), bool), truth=None, prediction=None)
    figure = six_panels(made, "ADC")
    assert (tile(figure, "D").get_title(), tile(figure, "E").get_title()) == ("no truth", "no prediction")
    assert legend(figure) == legend(sheet(made)) == ["what was explained: no voxel"]


def test_the_legend_tells_both_volumes() -> None:
    made = reasons()
    assert made.truth is not None
    target, truth = (f"{0.054 * mask.sum():.1f} ml" for mask in (made.target, made.truth))
    assert legend(sheet(made)) == [f"what was explained: {target}", f"truth: {truth}"]


def test_one_slice_of_one_channel_is_enough() -> None:
    grid = head_grid((40, 40, 1), (3.0, 3.0, 6.0), "RAS")
    made = reasons(grid, maps={"ADC": signed(grid)}, shares={"ADC": 1.0})
    assert "1 of 1 slices ·" in words(sheet(made))
    assert tile(six_panels(made, "ADC"), "F").get_title() == "ADC alone"


@pytest.mark.parametrize("shape", [(200, 2, 2), (2, 200, 1), (1, 1, 1)])
def test_absurd_shapes_give_a_page_of_bounded_size(shape: tuple[int, int, int]) -> None:
    grid = head_grid(shape, (1.0, 1.0, 1.0))
    figure = sheet(reasons(grid))
    assert max(figure.get_size_inches()) < 14
    assert rendered(figure).any()


def test_a_channel_over_time_is_shown_as_its_mean() -> None:
    made = reasons()
    series = np.stack([made.case["ADC"] * factor for factor in (0.5, 1.5)], axis=-1)
    over_time = replace(made.case, channels={**made.case.channels, "PWI": series}, time_s=np.array([0.0, 2.0]))
    figures = [
        six_panels(replace(made, case=case, maps={**made.maps, "PWI": made.maps["ADC"]}, filtered={}), channel)
        for case, channel in ((made.case, "ADC"), (over_time, "PWI"))
    ]
    first, second = (np.asarray(tile(figure, "F").get_images()[0].get_array()) for figure in figures)
    assert np.allclose(first, second, equal_nan=True)


def test_a_case_of_zeros_is_drawn_whole() -> None:
    made = reasons()
    zeros = {name: np.zeros((40, 40, 5)) for name in CHANNELS}
    figure = sheet(replace(made, case=replace(made.case, channels=zeros)), most_slices=1)
    assert figure.axes[0].get_xlim() == pytest.approx((0, 120))


def test_what_is_doubtful_stands_on_the_picture() -> None:
    doubts = ("WARNING: the network learned from simulated patients.", "the network spoke against what is explained.")
    for figure in (sheet(made := reasons(doubts=doubts)), six_panels(made, "ADC")):
        told = words(figure)
        assert all(each in told for each in doubts)


@pytest.mark.parametrize("simulated", [True, False])
def test_whose_it_is_what_was_asked_and_what_it_is_not_for_are_told(simulated: bool) -> None:
    made = reasons()
    made = replace(made, case=replace(made.case, simulated=simulated))
    for figure in (sheet(made), six_panels(made, "ADC")):
        told = words(figure)
        assert told.startswith("What spoke for core in the prediction, by composite stroke sim-1 · ")
        assert f"the model found {made.volume(made.target)}" in told
        assert ("simulated patient ·" in told) is simulated
        assert "model: unet3d, trained on 40 simulated patients" in told
        assert "Red voxels spoke for it, blue ones against it" in told
        assert told.endswith(RESEARCH_USE)


def test_no_line_of_text_leaves_the_page() -> None:
    made = reasons(
        maps={"ADC": signed(reasons().case.grid)}, asked="core in the prediction " * 9, model="unet3d $x$ " * 30
    )
    figure = sheet(made, most_slices=1)
    wide = rendered(figure).shape[1]
    for text in figure.texts:
        assert text.get_window_extent().x1 < wide


def test_colours_bar_ends_are_told_in_words() -> None:
    figure = six_panels(reasons(), "ADC")
    (bar,) = [axes for axes in figure.axes if axes.get_title() == "relevance as a share of its largest"]
    assert [tick.get_text() for tick in bar.get_xticklabels()] == ["−1\nspeaks against", "0", "+1\nspeaks for"]


def test_colours_are_nothing_at_zero_and_grow_denser_and_brighter_to_both_ends() -> None:
    table = SIGNED(np.linspace(0, 1, 257))
    brightness = table[:, :3].mean(axis=1) * table[:, 3]
    assert table[128].tolist() == [0, 0, 0, 0]
    assert (np.diff(brightness[128:]) >= 0).all()
    assert (np.diff(brightness[:129]) <= 0).all()
    assert (table[150:, 0] > table[150:, 2]).all()
    assert (table[:107, 2] > table[:107, 0]).all()


def test_maps_on_another_grid_than_the_case_are_told() -> None:
    other, small = reasons(), head_grid((2, 2, 2), (3.0, 3.0, 6.0))
    case = Case("small", small, {"ADC": np.ones((2, 2, 2))})
    with pytest.raises(
        RelevanceError,
        match=r"^small: the relevance of ADC has shape \(40, 40, 5\) but the case has \(2, 2, 2\); "
        r"bring it onto the case's grid first$",
    ):
        replace(other, case=case)


def test_no_map_at_all_is_told() -> None:
    with pytest.raises(RelevanceError, match=r"^sim-1: no channel has a map of relevance; there is nothing to draw$"):
        reasons(maps={})


def test_both_pictures_are_the_same_bytes_each_time() -> None:
    for draw in (sheet, lambda made: six_panels(made, "ADC")):
        first, second = (figure_png(draw(reasons())) for _ in range(2))
        assert first == second
