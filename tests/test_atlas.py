"""The picture of a case: what is drawn where, and what the verb does with cases that cannot be drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.contour import ContourSet
from PIL import Image

from strokelens.case import Case, Segmentation
from strokelens.cohorts.isles2017 import write_case, write_tables
from strokelens.grid import radiological_grid
from strokelens.labels import LESION_ONLY
from strokelens.report.atlas import PREDICTION, TRUTH, Plate, atlas
from tests.commands import Run

GRID = radiological_grid((40, 30, 4), (2.0, 2.0, 6.0))


def box(i: slice, j: slice, k: int) -> Segmentation:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[i, j, k] = 1
    return Segmentation(labels, GRID, LESION_ONLY)


def case(name: str = "a", *, simulated: bool = True) -> Case:
    rng = np.random.default_rng(0)
    maps = {each: rng.uniform(1, 9, GRID.shape).astype(np.float32) for each in ("Tmax", "CBF")}
    maps["ADC"] = rng.uniform(600, 900, GRID.shape).astype(np.float32)
    return Case(name, GRID, maps, box(slice(4, 12), slice(6, 20), 1), simulated=simulated)


def contours(axes: Axes) -> dict[tuple[float, ...], tuple[float, float, float, float]]:
    """The extent of each outline in mm, by its colour: left, right, upper, lower."""
    found = {}
    for each in axes.collections:
        assert isinstance(each, ContourSet)
        points = np.concatenate([path.vertices for path in each.get_paths()])
        colour = np.asarray(each.get_edgecolor())[0]
        low, high = points.min(axis=0), points.max(axis=0)
        found[tuple(colour.tolist())] = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    return found


def test_outlines_lie_where_the_masks_are_and_not_on_the_first_column() -> None:
    """Voxels 4 to 11 of 2 mm: from 8 to 24 mm, half a voxel inside of which a contour at ½ is its centres' middle."""
    prediction = box(slice(6, 14), slice(6, 20), 1)
    figure = atlas(Plate(case(), prediction, most_slices=1))
    plain, *others = figure.axes
    assert len(others) == 3
    assert not plain.collections
    for axes in others:
        found = contours(axes)
        assert found[to_rgba(TRUTH)] == pytest.approx((8, 24, 12, 40), abs=0.1)
        assert found[to_rgba(PREDICTION)] == pytest.approx((12, 28, 12, 40), abs=0.1)


def test_the_anatomy_comes_first_and_each_map_has_its_range_and_unit() -> None:
    titles = [axes.get_title() for axes in atlas(Plate(case(), most_slices=1)).axes]
    assert titles[0] == "ADC alone"
    assert [title.split("\n")[0] for title in titles[1:]] == ["Tmax", "CBF", "ADC"]
    low, high = np.percentile(case()["Tmax"], (1, 99))
    assert titles[1].endswith(f"{low:.3g} to {high:.3g} s")


@pytest.mark.parametrize("simulated", [True, False])
def test_the_title_tells_whose_it_is_and_how_large(simulated: bool) -> None:
    figure = atlas(Plate(case(simulated=simulated), box(slice(4, 8), slice(6, 20), 1)))
    suptitle = figure.get_suptitle()
    assert suptitle.startswith("a · truth 2.7 ml · prediction 1.3 ml")  # 8 × 14 and 4 × 14 voxels of 0.024 ml
    assert ("simulated patient" in suptitle) is simulated
    assert "not a medical device" in suptitle


def test_the_patients_right_is_on_the_left() -> None:
    """On the radiological grid i grows to the patient's left; a bright voxel at its beginning is at the left."""
    adc = case()["ADC"].copy()
    adc[2, 15, 1] = 5000
    bright = replace(case(), channels={**case().channels, "ADC": adc})
    (image,) = atlas(Plate(bright, most_slices=1)).axes[0].get_images()
    shown: np.ndarray = np.ma.filled(np.ma.asarray(image.get_array()), 0)
    row, column = (int(each) for each in np.unravel_index(np.nanargmax(shown), shown.shape))
    assert column < shown.shape[1] / 4
    assert shown.shape[0] / 3 < row < 2 * shown.shape[0] / 3


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    folder = tmp_path / "isles"
    for number in (1, 2):
        write_case(folder, f"training_{number}", case())
    write_tables(folder, [])
    return folder


def test_a_case_that_cannot_be_read_does_not_stop_the_others(run: Run, cohort: Path, tmp_path: Path) -> None:
    (file,) = (cohort / "training_1").rglob("*Tmax*.nii")
    file.write_bytes(file.read_bytes()[:400])
    answer = run("atlas", cohort, "-o", tmp_path / "out")
    assert answer.code == 1
    assert answer.out.splitlines()[0].startswith("training_1: ")
    assert "1 of 2 cases drawn" in answer.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["atlas.json", "training_2.png"]
    with Image.open(tmp_path / "out/training_2.png") as image:
        assert image.size[0] > 400


def test_an_unknown_case_names_the_nearest_and_writes_nothing(run: Run, cohort: Path, tmp_path: Path) -> None:
    answer = run("atlas", cohort, "-o", tmp_path / "out", "--case", "training_3")
    assert answer.code == 2
    assert "no case 'training_3'; did you mean" in answer.err
    assert not (tmp_path / "out").exists()


def test_a_folder_is_replaced_only_where_atlas_wrote_it(run: Run, cohort: Path, tmp_path: Path) -> None:
    words = ("atlas", cohort, "-o", tmp_path / "out", "--case", "training_1")
    assert run(*words).code == 0
    assert run(*words).code == 2
    assert run(*words, "--overwrite").code == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.txt").write_text("a")
    assert run("atlas", cohort, "-o", tmp_path / "mine", "--overwrite").code == 2
    assert (tmp_path / "mine/a.txt").is_file()
