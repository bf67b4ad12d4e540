"""Colour-coded maps: there and back within 1/254 of the range, and no brain lost with bar, text and marker."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from scipy import ndimage

from strokelens.errors import FileError
from strokelens.perfusion.colormap import (
    FARTHEST,
    FLOW,
    LEVELS,
    TIME,
    ColourTable,
    decode_by,
    find_bar,
    map_pixels,
    with_bar,
)

ROWS, COLUMNS = slice(129, 385), slice(435, 455)
TABLES = pytest.mark.parametrize("table", [FLOW, TIME], ids=["flow", "time"])


def head(size: int = 512, *, high: float = 100.0, seed: int = 0) -> Float[np.ndarray, "row column"]:
    """A smooth map in an ellipse, NaN around it and in some small holes."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 25)
    values = (field - field.min()) / np.ptp(field) * high
    row, column = np.indices((size, size)) - size / 2
    values[(row / (0.36 * size)) ** 2 + (column / (0.31 * size)) ** 2 > 1] = np.nan
    values[ndimage.binary_dilation(rng.random((size, size)) > 0.9995, iterations=2)] = np.nan
    found: Float[np.ndarray, "row column"] = values.astype(np.float32)
    return found


def annotated(picture: UInt8[np.ndarray, "row column 3"], table: ColourTable) -> UInt8[np.ndarray, "row column 3"]:
    """The picture with bar, text above and below it, a line of text and a marker, as the vendor's."""
    image = Image.fromarray(with_bar(picture, table, rows=ROWS, columns=COLUMNS))
    draw = ImageDraw.Draw(image)
    draw.text((430, 114), "100,00", fill=(255, 255, 255))
    draw.text((434, 388), "0,00", fill=(255, 255, 255))
    draw.text((150, 20), "Automatically calculated results.", fill=(255, 255, 255))
    draw.rectangle((468, 436, 494, 462), outline=(80, 180, 220))
    draw.text((478, 443), "F", fill=(80, 180, 220))
    return np.asarray(image)


def decoded_by_bar(
    picture: UInt8[np.ndarray, "row column 3"], *, low: float, high: float
) -> Float[np.ndarray, "row column"]:
    """As the reader of slices does it where a picture has its bar."""
    bar = find_bar(picture)
    assert bar is not None
    return decode_by(bar.table, picture, low=low, high=high, bar=bar)


def distances(table: ColourTable, colour: UInt8[np.ndarray, "3"]) -> list[float]:
    """How far a colour is from each of the table, one by one, and last from black."""
    return [float(np.linalg.norm(each.astype(float) - colour)) for each in [*table.colours, np.zeros(3)]]


@TABLES
@given(st.data())
def test_a_value_comes_back_within_1_of_254(table: ColourTable, data: st.DataObject) -> None:
    low = data.draw(st.floats(-50, 50))
    high = low + data.draw(st.floats(0.5, 200))
    values = data.draw(hnp.arrays(np.float64, (3, 4), elements=st.floats(low, high)))
    back = table.decode(table.paint(values, low=low, high=high), low=low, high=high)
    assert np.abs(back - values).max() <= (high - low) / 254 + 1e-4


@TABLES
def test_every_colour_of_a_table_is_another(table: ColourTable) -> None:
    assert len(np.unique(table.colours, axis=0)) == LEVELS == len(table.colours)


@TABLES
def test_no_colour_of_a_table_is_near_one_of_quite_another_value(table: ColourTable) -> None:
    colours = table.colours.astype(float)
    distance = np.linalg.norm(colours[:, None] - colours, axis=2)
    apart = np.abs(np.subtract.outer(np.arange(LEVELS), np.arange(LEVELS))) > 25
    assert distance[apart].min() > 20


@TABLES
@given(hnp.arrays(np.uint8, (2, 3)))
def test_decoding_is_that_of_looking_at_every_colour(table: ColourTable, colours: UInt8[np.ndarray, "2 3"]) -> None:
    for colour, decoded in zip(colours, table.decode(colours, low=0, high=1), strict=True):
        apart = distances(table, colour)
        nearest = min(apart)
        if nearest > FARTHEST or apart[-1] == nearest:
            assert np.isnan(decoded)
        else:
            assert apart[round(float(decoded) * (LEVELS - 1))] == pytest.approx(nearest)


def test_beyond_the_scale_is_the_ends_colour() -> None:
    painted = FLOW.paint(np.array([-5.0, 500.0, np.inf, -np.inf]), low=0, high=100)
    assert np.array_equal(painted, FLOW.colours[[0, -1, -1, 0]])


def test_no_value_is_black_and_black_is_no_value() -> None:
    assert FLOW.paint(np.array([np.nan]), low=0, high=1).tolist() == [[0, 0, 0]]
    assert np.isnan(FLOW.decode(np.zeros((2, 3), np.uint8), low=0, high=1)).all()


def test_a_run_of_one_colour_at_an_end_is_the_end() -> None:
    colours = np.array([[0, 0, 9]] * 3 + [[0, 99, 0], [99, 0, 0], [99, 0, 0]], np.uint8)
    table = ColourTable(colours)
    decoded = table.decode(colours[[0, 3, 5]], low=0, high=5)
    assert decoded.tolist() == [0.0, 3.0, 5.0]


def test_a_table_of_one_colour_is_refused() -> None:
    with pytest.raises(FileError, match=r"^a colour table needs two different colours; give the bar of the image$"):
        ColourTable(np.full((5, 3), 7, np.uint8))


@TABLES
def test_a_picture_with_its_bar_text_and_marker_comes_back(table: ColourTable) -> None:
    values = head()
    picture = annotated(table.paint(values, low=0, high=100), table)
    decoded = decoded_by_bar(picture, low=0, high=100)
    assert np.array_equal(np.isfinite(decoded), np.isfinite(values))
    assert np.nanmax(np.abs(decoded - values)) <= 100 / 254


def test_the_bar_is_found_where_it_is() -> None:
    picture = annotated(FLOW.paint(head(), low=0, high=100), FLOW)
    bar = find_bar(picture)
    assert bar is not None
    assert (bar.rows, bar.columns) == (ROWS, COLUMNS)
    assert np.array_equal(bar.table.colours, FLOW.colours)


@pytest.mark.parametrize("size", [128, 512])
def test_without_a_bar_none_is_found(size: int) -> None:
    assert find_bar(FLOW.paint(head(size), low=0, high=100)) is None
    assert find_bar(np.zeros((size, size, 3), np.uint8)) is None


def test_a_grey_box_and_a_block_inside_the_brain_are_no_bars() -> None:
    picture = TIME.paint(head(), low=0, high=100)
    picture[100:400, 450:470] = 128
    picture = with_bar(picture, TIME, rows=slice(200, 300), columns=slice(250, 260))
    assert find_bar(picture) is None


def test_the_highest_of_two_bars_is_taken() -> None:
    blank = np.zeros((512, 512, 3), np.uint8)
    picture = with_bar(blank, TIME, rows=slice(10, 90), columns=slice(10, 20))
    picture = with_bar(picture, FLOW, rows=ROWS, columns=COLUMNS)
    picture = with_bar(picture, TIME, rows=slice(10, 90), columns=slice(480, 490))
    bar = find_bar(picture)
    assert bar is not None
    assert bar.rows == ROWS


def test_a_bar_that_ends_in_black_is_completed_where_its_rows_are_known() -> None:
    black_end = ColourTable(np.vstack([np.zeros((8, 3), np.uint8), FLOW.colours[8:]]))
    picture = with_bar(np.zeros((512, 512, 3), np.uint8), black_end, rows=ROWS, columns=COLUMNS)
    found, known = find_bar(picture), find_bar(picture, rows=ROWS)
    assert found is not None
    assert known is not None
    assert (found.rows, known.rows) == (slice(129, 377), ROWS)
    assert find_bar(picture, rows=slice(0, 256)).rows == slice(129, 377)  # type: ignore[union-attr]


def test_brain_beside_the_bar_and_in_its_columns_is_not_cleared() -> None:
    values = head()
    values[10:120, 400:500] = 40.0
    values[200:300, 300:433] = 60.0
    picture = annotated(FLOW.paint(values, low=0, high=100), FLOW)
    kept = map_pixels(picture, FLOW, find_bar(picture))
    assert kept[10:110, 400:500].all()
    assert kept[200:300, 300:433].all()
    assert not kept[ROWS, COLUMNS].any()
    assert not kept[430:, 460:].any()


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_a_bar_that_is_off_by_one_leaves_no_stripe(off: int) -> None:
    rows = slice(ROWS.start + off, ROWS.stop + off)
    picture = with_bar(np.zeros((512, 512, 3), np.uint8), FLOW, rows=rows, columns=COLUMNS)
    bar = find_bar(picture, rows=ROWS)
    assert bar is not None
    assert not map_pixels(picture, bar.table, bar).any()


def test_an_empty_picture_has_no_map() -> None:
    assert not map_pixels(np.zeros((64, 64, 3), np.uint8), FLOW).any()


def test_a_vendors_table_stands_in_for_a_missing_bar() -> None:
    values = head(128)
    decoded = decode_by(FLOW, FLOW.paint(values, low=0, high=100), low=0, high=100, bar=None)
    assert np.nanmax(np.abs(decoded - values)) <= 100 / 254


def panel(shared_data: Path, left: int) -> UInt8[np.ndarray, "row column 3"]:
    figure = np.asarray(Image.open(shared_data / "lut/siemens_rgb2scalar/input.png").convert("RGB"))
    return np.ascontiguousarray(figure[:512, left : left + 512])


@pytest.mark.parametrize(("table", "bar"), [(FLOW, "cbfd"), (FLOW, "cbvd"), (TIME, "ttd")], ids=["CBF", "CBV", "time"])
def test_our_tables_are_those_of_the_vendors_bars(shared_data: Path, table: ColourTable, bar: str) -> None:
    image = np.asarray(Image.open(shared_data / f"lut/siemens_rgb2scalar/{bar}.png").convert("RGB"))
    column = image[::-1, 10].astype(float)
    places = np.linspace(0, len(column) - 1, LEVELS)
    measured = np.stack([np.interp(places, np.arange(len(column)), column[:, channel]) for channel in range(3)], axis=1)
    assert np.abs(measured - table.colours).max() <= 13
    decoded = table.decode(image[::-1, 10], low=0, high=1)
    assert np.abs(decoded - np.linspace(0, 1, len(column))).max() < 0.007


def box(values: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "128 128"]:
    """The bounding box of what is above 0, brought to 128×128."""
    rows, columns = ndimage.find_objects((values > 0).astype(int))[0]
    part = values[rows, columns]
    zoomed: Float[np.ndarray, "128 128"] = ndimage.zoom(part, (128 / part.shape[0], 128 / part.shape[1]), order=1)
    return zoomed


@pytest.mark.parametrize(("left", "right", "high"), [(0, 84, 100.0), (517, 599, 15.0)])
def test_the_real_figure_decodes_as_it_was_published(shared_data: Path, left: int, right: int, high: float) -> None:
    figure = np.asarray(Image.open(shared_data / "lut/siemens_rgb2scalar/input.png").convert("L"), dtype=np.float64)
    published = figure[950:1290, right : right + 350]
    islands = ndimage.label(published > 8)[0]
    largest = np.bincount(islands.ravel())[1:].argmax() + 1
    decoded = np.nan_to_num(decoded_by_bar(panel(shared_data, left), low=0, high=high).astype(np.float64))
    ours, theirs = box(decoded), box(np.where(islands == largest, published, 0))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(("left", "pixels"), [(0, 58852), (517, 55038)])
def test_of_the_real_figure_every_pixel_of_the_brain_is_kept(shared_data: Path, left: int, pixels: int) -> None:
    picture = panel(shared_data, left)
    lit = ndimage.label(picture.max(axis=2) > 10, np.ones((3, 3)))[0]
    brain = lit == np.bincount(lit[100:420, 80:400].ravel())[1:].argmax() + 1
    kept = np.isfinite(decoded_by_bar(picture, low=0, high=1))
    assert kept[brain].all()
    assert kept.sum() == pixels
    assert not kept[:, 420:].any()
