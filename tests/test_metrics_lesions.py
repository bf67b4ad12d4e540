"""Scores of lesions: by hand, against flood filling and loops, and scipy's labels."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from scipy import ndimage

from strokelens.metrics import lesions
from strokelens.metrics.lesions import components, f1_isles22, f1_isles24
from tests.mask_strategies import Drawn, mask_pairs
from tests.oracles import scores as oracle


def row(text: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in text]])


def by_runs(mask: np.ndarray) -> np.ndarray:
    """How lesions that are no speckles are found."""
    return lesions._by_runs(*lesions._runs(mask), mask.shape) if mask.any() else np.zeros(0, np.int64)


EMPTY = row("........")


@given(mask_pairs())
def test_lesions_are_those_of_scipy_in_the_same_order(drawn: Drawn) -> None:
    mask = drawn[0]
    labels = ndimage.label(mask, np.ones((3,) * mask.ndim))[0]
    np.testing.assert_array_equal(by_runs(mask), labels[mask] - 1)
    np.testing.assert_array_equal(components(mask), labels[mask] - 1)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.2, 0.5, 0.9])
def test_lesions_of_a_large_random_mask_are_those_of_scipy(share: float) -> None:
    mask = np.random.default_rng(3).random((30, 31, 29)) < share
    labels = ndimage.label(mask, np.ones((3, 3, 3)))[0]
    np.testing.assert_array_equal(by_runs(mask), labels[mask] - 1)
    np.testing.assert_array_equal(components(mask), labels[mask] - 1)


def test_the_end_of_a_line_does_not_touch_the_start_of_the_next() -> None:
    assert by_runs(np.array([[0, 0, 0, 1], [1, 0, 0, 0]], bool)).tolist() == [0, 1]


@pytest.mark.parametrize("step", [(0, 0, 1), (0, 1, -1), (1, -1, -1), (1, 1, 1), (1, 0, -1), (1, -1, 0)])
def test_voxels_touch_over_faces_edges_and_corners(step: tuple[int, int, int]) -> None:
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = mask[tuple(1 + offset for offset in step)] = True
    assert by_runs(mask).tolist() == [0, 0]


@given(mask_pairs())
def test_f1_of_both_editions_is_that_of_the_loops(drawn: Drawn) -> None:
    truth, prediction, _ = drawn
    assert f1_isles22(truth, prediction) == pytest.approx(oracle.f1_isles22(truth, prediction))
    assert f1_isles24(truth, prediction) == pytest.approx(oracle.f1_isles24(truth, prediction))


@pytest.mark.parametrize("seed", range(20))
def test_f1_of_many_lesions_is_that_of_the_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = (rng.random((16, 16)) < rng.uniform(0.05, 0.3) for _ in range(2))
    assert f1_isles22(truth, prediction) == pytest.approx(oracle.f1_isles22(truth, prediction))
    assert f1_isles24(truth, prediction) == pytest.approx(oracle.f1_isles24(truth, prediction))


def test_one_common_voxel_finds_a_lesion_in_2022_and_not_in_2024() -> None:
    truth, prediction = row("######.."), row(".....###")  # IoU 1/8
    assert f1_isles22(truth, prediction) == 1.0
    assert f1_isles24(truth, prediction) == 0.0


def test_an_overlap_of_exactly_a_fifth_finds_a_lesion_in_2024() -> None:
    truth, prediction = row("###..."), row("..###.")
    assert f1_isles24(truth, prediction) == 1.0


def test_an_overlap_below_a_fifth_does_not() -> None:
    truth, prediction = row("###..."), row("..####")
    assert f1_isles24(truth, prediction) == 0.0


def test_one_prediction_over_two_lesions_finds_both_in_2022_and_one_in_2024() -> None:
    truth, prediction = row("####.###"), row("########")
    assert f1_isles22(truth, prediction) == 1.0  # tp 2, fp 0, fn 0
    assert f1_isles24(truth, prediction) == pytest.approx(1 / (1 + 0.5))  # tp 1, fp 0, fn 1


def test_the_larger_overlap_is_matched_first() -> None:
    # The long prediction overlaps the first lesion with IoU 2/10 and the second with 4/8. It takes the second, so that
    # the short one, with IoU 1/4, is left for the first. In order of the scan there would be 1 match of 2.
    truth, prediction = row("####.####.."), row("#.########.")
    assert f1_isles24(truth, prediction) == 1.0


def test_counts_of_lesions_are_compared() -> None:
    truth, prediction = row("#.#.#.##"), row("########")
    assert lesions.lesion_count_difference(truth, prediction) == -3
    assert lesions.lesion_count_difference(prediction, truth) == 3
    assert lesions.absolute_lesion_count_difference(truth, prediction) == 3


def test_both_empty_is_a_full_score_as_the_challenges_have_it() -> None:
    assert lesions.evaluate(EMPTY, EMPTY) == {
        "f1_isles22": 1.0,
        "f1_isles24": 1.0,
        "lesion_count_difference": 0,
        "absolute_lesion_count_difference": 0,
    }


def test_one_empty_is_none() -> None:
    lesion = row("##...#..")
    assert lesions.evaluate(lesion, EMPTY) == {
        "f1_isles22": 0.0,
        "f1_isles24": 0.0,
        "lesion_count_difference": -2,
        "absolute_lesion_count_difference": 2,
    }
    assert lesions.evaluate(EMPTY, lesion)["f1_isles22"] == 0.0
    assert lesions.evaluate(EMPTY, lesion)["f1_isles24"] == 0.0


def test_evaluate_gives_every_score_under_its_function_s_name() -> None:
    truth, prediction = row("##.##.#."), row("#..##...")
    for name, value in lesions.evaluate(truth, prediction).items():
        assert value == getattr(lesions, name)(truth, prediction)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6])
def test_speckles_are_parted_as_any_lesion_is(share: float) -> None:
    mask = np.random.default_rng(1).random((24, 25, 9)) < share
    labelled = ndimage.label(mask, np.ones((3, 3, 3)))[0]
    assert np.array_equal(lesions.components(mask), labelled[mask] - 1)


def test_memory_is_bounded_for_speckles() -> None:
    mask = np.random.default_rng(0).random((128, 128, 32)) < 0.3
    lesions.components(mask[:8])
    tracemalloc.start()
    lesions.components(mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * mask.size  # 87 before
