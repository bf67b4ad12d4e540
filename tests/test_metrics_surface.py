"""Scores of surfaces: by hand, against the distances of all pairs, and what an empty mask gives."""

import tracemalloc
from math import hypot, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from strokelens.arrays import Region
from strokelens.metrics import surface
from strokelens.metrics.pairs import Pair
from strokelens.metrics.surface import Distances
from tests.mask_strategies import Drawn, mask_pairs
from tests.oracles import scores as oracle


def square(shape: tuple[int, ...], *corner: int, size: int) -> Region:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(start, start + size) for start in corner)] = True
    return mask


@given(mask_pairs(empty=False))
def test_scores_are_those_of_all_pairs_of_surface_voxels(drawn: Drawn) -> None:
    assert surface.evaluate(*drawn) == pytest.approx(oracle.surface_scores(*drawn), abs=1e-9)


@given(mask_pairs(empty=False))
def test_the_tree_and_the_transform_measure_the_same(drawn: Drawn) -> None:
    truth, prediction = (surface._surface(mask) for mask in drawn[:2])
    lengths_mm = np.array(drawn[2])
    by_tree = surface._by_tree(truth, prediction, lengths_mm)
    by_transform = surface._by_transform(truth, prediction, lengths_mm)
    for one, other in zip(by_tree, by_transform, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


@given(mask_pairs(), st.booleans())
def test_the_surface_is_what_an_erosion_by_a_cross_takes_away(drawn: Drawn, fortran: bool) -> None:
    mask = np.asfortranarray(drawn[0]) if fortran else drawn[0]
    np.testing.assert_array_equal(surface._surface(mask), mask ^ ndimage.binary_erosion(mask))


def test_a_square_that_moves_by_one_voxel_by_hand() -> None:
    # 16 voxels, 12 of them on the rim. Moved along i by 3 mm, of either rim 3 + 3 voxels are not on the other one:
    # the row outside, 4 voxels, is 3 mm away, and the 2 inner ones of the row that became inner 2 mm, along j.
    truth, prediction = square((9, 9), 2, 2, size=4), square((9, 9), 3, 2, size=4)
    found = Distances.of(Pair.of(truth, prediction), (3.0, 2.0))
    assert sorted(found.from_truth_mm.tolist()) == [0.0] * 6 + [2.0] * 2 + [3.0] * 4
    assert sorted(found.from_prediction_mm.tolist()) == [0.0] * 6 + [2.0] * 2 + [3.0] * 4


def test_distances_are_measured_where_most_of_the_box_is_surface() -> None:
    truth, prediction = (np.random.default_rng(seed).random((9, 10, 8)) < 0.5 for seed in range(2))
    spacing_mm = (0.9, 1.0, 2.5)
    assert surface.evaluate(truth, prediction, spacing_mm) == pytest.approx(
        oracle.surface_scores(truth, prediction, spacing_mm), abs=1e-9
    )


def test_two_empty_masks_have_no_distance() -> None:
    nothing = np.zeros((6, 6, 6), bool)
    assert all(isnan(score) for score in surface.evaluate(nothing, nothing, (1.0, 1.0, 2.0)).values())


@pytest.mark.parametrize("missed", [True, False])
def test_with_one_empty_mask_each_distance_is_the_diagonal_of_the_image(missed: bool) -> None:
    lesion = square((3, 4, 6), 0, 0, 0, size=2)
    truth, prediction = (lesion, ~lesion & lesion) if missed else (~lesion & lesion, lesion)
    diagonal_mm = hypot(3 * 1.0, 4 * 1.0, 6 * 2.0)  # 13
    assert surface.evaluate(truth, prediction, (1.0, 1.0, 2.0)) == {
        "hd_mm": diagonal_mm,
        "hd95_pooled_mm": diagonal_mm,
        "hd95_max_mm": diagonal_mm,
        "assd_pooled_mm": diagonal_mm,
        "assd_isles_mm": diagonal_mm,
        "surface_dice_1mm": 0.0,
        "surface_dice_2mm": 0.0,
    }


def test_a_missed_lesion_has_no_surface_dice_in_an_image_smaller_than_the_tolerance() -> None:
    dot = np.ones((1, 1), bool)
    assert surface.surface_dice(dot, ~dot, (0.5, 0.5), tolerance_mm=2.0) == 0.0


def test_a_voxel_at_the_tolerance_counts_in_spite_of_rounding() -> None:
    truth, prediction = square((9, 9), 3, 3, size=1), square((9, 9), 6, 3, size=1)
    assert 3 * 0.1 + 6 * 0.1 > 0.9  # so it is in floating point
    assert surface.surface_dice(truth, prediction, (0.3, 1.0), tolerance_mm=0.9) == 1.0


def test_a_voxel_beyond_the_tolerance_does_not_count() -> None:
    truth, prediction = square((9, 9), 3, 3, size=1), square((9, 9), 6, 3, size=1)
    assert surface.surface_dice(truth, prediction, (0.3, 1.0), tolerance_mm=0.8999) == 0.0


def test_the_two_percentiles_differ_where_one_surface_is_large() -> None:
    # Truth: 1 voxel. Prediction: the same, and 19 in a row, 1 to 19 mm away. Pooled: 0, 0, 1 ... 19, of 21 values
    # the 95th percentile is the 20th of 0 ... 20, 18 mm. Directed: of 20 values the rank is 18.05, 18.05 mm.
    truth, prediction = np.zeros((2, 1, 30), bool)
    truth[0, 0] = prediction[0, :20] = True
    assert surface.hd95_pooled_mm(truth, prediction, (1.0, 1.0)) == pytest.approx(18.0)
    assert surface.hd95_max_mm(truth, prediction, (1.0, 1.0)) == pytest.approx(18.05)


def test_evaluate_gives_every_score_under_its_function_s_name() -> None:
    case = square((9, 9, 9), 2, 2, 2, size=4), square((9, 9, 9), 3, 2, 3, size=4), (0.5, 1.0, 2.0)
    expected = {
        name: getattr(surface, name)(*case)
        for name in ("hd_mm", "hd95_pooled_mm", "hd95_max_mm", "assd_pooled_mm", "assd_isles_mm")
    }
    for tolerance_mm in (1, 2):
        expected[f"surface_dice_{tolerance_mm}mm"] = surface.surface_dice(*case, tolerance_mm=tolerance_mm)
    assert surface.evaluate(*case) == expected


def test_surface_dice_of_two_empty_masks_is_unknown() -> None:
    nothing = np.zeros((4, 4), bool)
    np.testing.assert_equal(surface.surface_dice(nothing, nothing, (1.0, 1.0), tolerance_mm=1.0), nan)


def test_edges_that_are_not_at_right_angles_are_measured_in_the_world() -> None:
    rng = np.random.default_rng(3)
    truth, prediction = (ndimage.gaussian_filter(rng.normal(size=(9, 10, 6)), 1) > 0.2 for _ in range(2))
    edges_mm = np.array([[0.5, 0.1, 0.0], [0.0, 0.5, 1.8], [0.0, 0.0, 5.0]])
    found = Distances.of(Pair.of(truth, prediction), tuple(np.linalg.norm(edges_mm, axis=0)), edges_mm)
    one, other = (np.argwhere(surface._surface(mask)) @ edges_mm.T for mask in (truth, prediction))
    apart = np.linalg.norm(one[:, None] - other, axis=2)
    assert found.hd_mm == pytest.approx(max(apart.min(axis=1).max(), apart.min(axis=0).max()))
    assert found.assd_isles_mm == pytest.approx((apart.min(axis=1).mean() + apart.min(axis=0).mean()) / 2)


def test_the_edges_at_right_angles_give_what_their_lengths_give() -> None:
    truth, prediction = (np.random.default_rng(seed).random((9, 10, 8)) < 0.1 for seed in range(2))
    pair, spacing_mm = Pair.of(truth, prediction), (0.9, 1.0, 2.5)
    wanted = Distances.of(pair, spacing_mm).evaluate()
    assert Distances.of(pair, spacing_mm, np.diag(spacing_mm)).evaluate() == pytest.approx(wanted)


def test_a_missed_lesion_costs_the_longest_diagonal_of_a_sheared_image() -> None:
    mask = square((4, 3, 2), 0, 0, 0, size=1)
    edges_mm = np.array([[1.0, 0, 0], [0, 1.0, 2.0], [0, 0, 1.0]])
    found = Distances.of(Pair.of(mask, mask & ~mask), (1.0, 1.0, hypot(2, 1)), edges_mm)
    assert found.hd_mm == pytest.approx(hypot(4, 3 + 4, 2))


def test_memory_is_bounded_where_most_of_the_box_is_surface() -> None:
    rng = np.random.default_rng(0)
    truth, prediction = (rng.random((128, 128, 32)) < 0.4 for _ in range(2))
    surface.evaluate(truth[:8], prediction[:8], (1.0, 1.0, 2.0))
    tracemalloc.start()
    surface.evaluate(truth, prediction, (1.0, 1.0, 2.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * truth.size  # 12 bytes a voxel for its nearest one; 76 in all before
