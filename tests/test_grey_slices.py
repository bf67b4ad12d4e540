"""What grey levels mean: a truth may have scratches, a prediction none; numbers of classes are never black."""

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import UInt8

from strokelens.cohorts.grey import grey_labels, numbered_labels, predicted_labels
from strokelens.cohorts.slices import read_grey, write_picture
from strokelens.errors import LabelError
from strokelens.labels import CORE_PENUMBRA, CORE_PENUMBRA_BRAIN


def brain() -> UInt8[np.ndarray, "row column"]:
    """900 pixels of brain in 3600."""
    grey = np.zeros((60, 60), np.uint8)
    grey[15:45, 15:45] = 85
    return grey


def test_levels_of_a_truth_that_are_none_are_told() -> None:
    grey = np.zeros((10, 10), np.uint8)
    grey[4:6, 4:6] = 120
    grey[7, 2:5] = 40
    with pytest.raises(LabelError) as caught:
        grey_labels([grey], "the truth in x")
    assert (
        str(caught.value) == "the truth in x: grey levels 40, 120 are none of 0, 85, 170, 255; export the truth again"
    )


def test_few_pixels_between_the_levels_of_a_truth_are_no_matter() -> None:
    grey = brain()
    grey[20, 20:29] = 120  # 1 % of the brain
    assert set(grey_labels([grey], "x")[0][20, 20:29].tolist()) == {1}


def test_pixels_between_the_levels_are_counted_beside_the_tissue_and_not_the_air() -> None:
    grey = brain()
    grey[20, 20:30] = 120  # 10 of 900 pixels of brain, and of 3600 in all
    with pytest.raises(LabelError, match=r"^x: grey levels 120 are none of"):
        grey_labels([grey], "x")


def test_a_truth_of_class_numbers_is_not_black() -> None:
    with pytest.raises(LabelError) as caught:
        grey_labels([brain() // 85, np.where(brain() > 0, 3, 0).astype(np.uint8)], "the truth in x")
    wanted = "the truth in x: grey levels 1, 3 are numbers of classes; export it as 0, 85, 170, 255"
    assert str(caught.value) == wanted


def test_one_pixel_of_another_level_makes_a_prediction_none() -> None:
    grey = brain()
    grey[20, 20] = 86
    with pytest.raises(LabelError) as caught:
        predicted_labels([brain(), grey], "the prediction in x")
    told = "the prediction in x: grey levels 86 are none of 0, 85, 170, 255"
    assert str(caught.value) == f"{told}; save class by class, without smoothing or JPEG"


def test_a_prediction_of_class_numbers_is_not_empty() -> None:
    with pytest.raises(LabelError) as caught:
        predicted_labels([np.array([[0, 1], [2, 3]], np.uint8)], "the prediction in x")
    told = "the prediction in x: grey levels 1, 2, 3 are none of 0, 85, 170, 255"
    assert str(caught.value) == f"{told}; tell what they mean with --labels 1=penumbra,2=core"


def theirs(classes: UInt8[np.ndarray, "n"], in_brain: bool, count: int) -> UInt8[np.ndarray, "n"]:
    """What the first ancestor's image writer makes of class indices: `value += 85·mask − 85·[value > 0]`."""
    value = classes.astype(np.float64) * 255 / (count - 1)
    value = value + 85 * in_brain - 85 * (value > 0)
    return value.astype(np.uint8)


@pytest.mark.parametrize("rounded", [False, True])
def test_the_first_ancestors_pictures_are_cut_as_its_statistics_did(rounded: bool) -> None:
    three = np.arange(3, dtype=np.uint8)
    levels = np.concatenate([theirs(three, True, 3), theirs(three, False, 3)])
    assert levels.tolist() == [85, 127, 255, 0, 42, 170]
    if rounded:
        levels = np.where(np.isin(levels, (42, 127)), levels + 1, levels).astype(np.uint8)
    (found,) = predicted_labels([levels[None]], "x")
    assert found[0].tolist() == [1, 2, 3, 0, 1, 2]  # 90 and 212.5 are the limits of penumbra
    four = np.arange(4, dtype=np.uint8)
    levels = np.concatenate([theirs(four, True, 4), theirs(four, False, 4)])
    assert predicted_labels([levels[None]], "x")[0][0].tolist() == [1, 1, 2, 3, 0, 0, 1, 2]


def test_a_prediction_in_the_older_code_is_told_by_its_white_border() -> None:
    grey = np.full((12, 12), 255, np.uint8)
    grey[3:9, 3:9], grey[4:7, 4:7], grey[5, 5] = 1, 76, 150
    (found,) = predicted_labels([grey], "x")
    assert (found[0, 0], found[3, 3], found[4, 4], found[5, 5]) == (0, 1, 2, 3)


def test_numbers_with_a_table_are_read_by_it() -> None:
    values = {0: "background", 1: "penumbra", 2: "core"}
    numbers = np.array([[0, 1], [2, 0]], np.uint8)
    assert numbered_labels([numbers], values, CORE_PENUMBRA, "x")[0].tolist() == [[0, 1], [2, 0]]
    brained = numbered_labels([numbers], values, CORE_PENUMBRA_BRAIN, "x")[0]
    assert brained.tolist() == [[0, 2], [3, 0]]
    with pytest.raises(LabelError, match=r"^x holds 3; known: 0 background, 1 penumbra, 2 core; correct what"):
        numbered_labels([numbers + np.uint8(1)], values, CORE_PENUMBRA, "x")


def test_small_numbers_in_16_bits_are_not_scaled_to_black(tmp_path: Path) -> None:
    numbers = np.array([[0, 1], [2, 255]], np.uint16)
    write_picture(tmp_path / "a.png", numbers)
    assert np.array_equal(read_grey(tmp_path / "a.png"), numbers)
