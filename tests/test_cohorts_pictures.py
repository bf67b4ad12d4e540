"""Pictures that say less than they seem to: maps without colours or bars, deep greys, several pages."""

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image

from strokelens.cohorts import slice_reader
from strokelens.cohorts.cohort import Problem
from strokelens.cohorts.inspection import by_voxels
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.slices import picture_size, read_picture, write_picture
from strokelens.errors import FileError
from strokelens.perfusion.colormap import FLOW, Bar, share_without_value, with_bar


def painted(strange: int = 0) -> UInt8[np.ndarray, "512 512 3"]:
    """A disc of 100 × 100 pixels in the colours of flow, of which some rows are grey."""
    values = np.full((512, 512), np.nan)
    values[200:300, 200:300] = np.linspace(1, 99, 100)
    picture = FLOW.paint(values, low=0, high=100)
    picture[200 : 200 + strange, 200:300] = 200
    return picture


def problems(folder: Path, picture: UInt8[np.ndarray, "row column 3"]) -> tuple[Problem, ...]:
    for at in (1, 2):
        write_picture(folder / "CTP_01_001/day/CBF" / f"{at:02d}.png", picture)
    (entry,) = open_cohort(folder)
    return by_voxels(entry)


def test_a_map_with_its_bar_has_no_problem(tmp_path: Path) -> None:
    picture = with_bar(painted(), FLOW, rows=slice(129, 385), columns=slice(440, 452))
    assert problems(tmp_path, picture) == ()


def test_a_map_without_a_bar_is_a_doubt(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, painted())
    assert (problem.code, problem.unusable) == ("doubt", False)
    assert problem.message.startswith("CBF from 0 to 100 by the vendor's table, as no slice has a bar")


@pytest.mark.parametrize(("strange", "share"), [(11, "11"), (100, "100")])
def test_a_map_without_values_is_unusable(tmp_path: Path, strange: int, share: str) -> None:
    text = f"{share} % of what CBF shows has no colour of its table; export the map again in colours, with its bar"
    assert problems(tmp_path, painted(strange)) == (Problem("unreadable", text, unusable=True),)


def test_a_tenth_without_values_is_still_read(tmp_path: Path) -> None:
    assert [problem.code for problem in problems(tmp_path, painted(10))] == ["doubt"]


def test_bar_and_text_are_no_part_of_the_share() -> None:
    picture = with_bar(painted(), FLOW, rows=slice(129, 385), columns=slice(440, 452))
    picture[400:404, 460:500] = 255
    bar = Bar(slice(129, 385), slice(440, 452), FLOW)
    nothing = np.zeros((8, 8, 3), np.uint8)
    values = FLOW.decode(picture, low=0, high=1)
    assert share_without_value([picture], [values], [bar]) == 0
    assert share_without_value([nothing], [np.full((8, 8), np.nan, np.float32)], [None]) == 0


def test_the_bar_is_searched_once_a_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    monkeypatch.setattr(slice_reader, "find_bar", lambda *_, **__: searched.append(1))
    problems(tmp_path, painted())
    assert len(searched) == 2


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_deep_greys_are_scaled_and_not_cut(tmp_path: Path, kind: type[np.generic]) -> None:
    grey = np.array([[0, 257, 30000, 65535]]).astype(kind)
    Image.fromarray(grey).save(tmp_path / "a.tiff")
    assert read_picture(tmp_path / "a.tiff")[0].tolist() == [[0] * 3, [1] * 3, [117] * 3, [255] * 3]


def test_greys_that_16_bits_do_not_hold_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 0.5, np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(FileError, match=r"^a\.tiff holds float32 from 0\.5 to 0\.5; save it with 8 or 16 bits$"):
        read_picture(tmp_path / "a.tiff")


def test_several_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((4, 4), level, np.uint8)) for level in (0, 85, 255)]
    pages[0].save(tmp_path / "01.tiff", save_all=True, append_images=pages[1:])
    with pytest.raises(FileError, match=r"^01\.tiff has 3 pages; save each slice as a file of its own$"):
        picture_size(tmp_path / "01.tiff")
