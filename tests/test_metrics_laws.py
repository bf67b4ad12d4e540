"""What holds for every pair of masks: symmetry, bounds, flips, axes in another order, scale, identities."""

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strokelens.arrays import Region
from strokelens.metrics.overlap import Counts
from strokelens.metrics.scores import evaluate
from tests.mask_strategies import Drawn, mask_pairs

SIGNED = ("volume_difference_ml", "lesion_count_difference")
MOVED_BY_TIES = "f1_isles24"  # of equal overlaps the first one goes first, and a flip changes which one is first
SHARES = (
    *("dice", "dice_isles", "jaccard", "precision", "recall", "specificity", "volume_similarity"),
    *("surface_dice_1mm", "surface_dice_2mm", "f1_isles22", "f1_isles24"),
)


def scores(truth: Region, prediction: Region, spacing_mm: tuple[float, ...]) -> dict[str, float]:
    return {
        name: value for name, value in evaluate(truth, prediction, spacing_mm).values.items() if name != MOVED_BY_TIES
    }


def same(first: dict[str, float], second: dict[str, float]) -> None:
    assert list(first) == list(second)
    np.testing.assert_allclose(list(first.values()), list(second.values()), atol=1e-9)


@given(mask_pairs())
def test_exchanging_the_masks_exchanges_precision_and_recall_and_turns_differences(drawn: Drawn) -> None:
    truth, prediction, spacing_mm = drawn
    forth, back = scores(truth, prediction, spacing_mm), scores(prediction, truth, spacing_mm)
    back["precision"], back["recall"] = back["recall"], back["precision"]
    for name in SIGNED:
        if name in back:
            back[name] = -back[name]
    del forth["specificity"], back["specificity"]
    same(forth, back)


@given(mask_pairs())
def test_shares_lie_between_0_and_1(drawn: Drawn) -> None:
    values = evaluate(*drawn).values
    assert all(isnan(values[name]) or 0 <= values[name] <= 1 for name in SHARES if name in values)


@given(mask_pairs())
def test_matthews_correlation_lies_between_minus_1_and_1(drawn: Drawn) -> None:
    mcc = evaluate(*drawn)["mcc"]
    assert isnan(mcc) or -1 - 1e-12 <= mcc <= 1 + 1e-12


@given(mask_pairs())
def test_a_flip_changes_nothing(drawn: Drawn) -> None:
    truth, prediction, spacing_mm = drawn
    same(scores(*drawn), scores(np.flip(truth), np.flip(prediction), spacing_mm))


@given(mask_pairs(axes=(3,)), st.permutations(range(3)))
def test_axes_in_another_order_change_nothing(drawn: Drawn, order: list[int]) -> None:
    truth, prediction, spacing_mm = drawn
    turned = truth.transpose(order), prediction.transpose(order), tuple(spacing_mm[axis] for axis in order)
    same(scores(*drawn), scores(*turned))


@given(mask_pairs(empty=False), st.integers(1, 3))
def test_empty_space_around_changes_only_what_counts_it(drawn: Drawn, margin: int) -> None:
    truth, prediction, spacing_mm = drawn
    wide = scores(np.pad(truth, margin), np.pad(prediction, margin), spacing_mm)
    tight = scores(*drawn)
    for name in ("specificity", "mcc"):
        del wide[name], tight[name]
    same(tight, wide)


@given(mask_pairs(), st.floats(0.25, 4.0))
def test_distances_grow_with_the_spacing_and_volumes_with_its_cube(drawn: Drawn, factor: float) -> None:
    truth, prediction, spacing_mm = drawn
    small = scores(*drawn)
    large = scores(truth, prediction, tuple(length * factor for length in spacing_mm))
    for name in small:
        if name.endswith("_mm"):
            small[name] *= factor
        elif name.endswith("_ml"):
            small[name] *= factor**3
        elif name.startswith("surface_dice"):
            small[name] = large[name] = nan
    same(small, large)


@given(mask_pairs())
def test_dice_is_2_jaccard_over_1_plus_jaccard(drawn: Drawn) -> None:
    values = evaluate(*drawn).values
    assert values["dice"] == pytest.approx(2 * values["jaccard"] / (1 + values["jaccard"]), nan_ok=True)


@given(mask_pairs(empty=False))
def test_dice_is_the_harmonic_mean_of_precision_and_recall(drawn: Drawn) -> None:
    values = evaluate(*drawn).values
    total = values["precision"] + values["recall"]
    expected = 2 * values["precision"] * values["recall"] / total if total else 0.0
    assert values["dice"] == pytest.approx(expected)


@given(mask_pairs(empty=False))
def test_no_percentile_and_no_mean_is_above_the_largest_distance(drawn: Drawn) -> None:
    values = evaluate(*drawn).values
    others = ("hd95_pooled_mm", "hd95_max_mm", "assd_pooled_mm", "assd_isles_mm")
    assert max(values[name] for name in others) <= values["hd_mm"] + 1e-9


@given(mask_pairs(empty=False))
def test_a_missed_lesion_costs_more_than_any_that_was_found(drawn: Drawn) -> None:
    truth, prediction, spacing_mm = drawn
    assert scores(truth, truth & False, spacing_mm)["hd_mm"] > scores(truth, prediction, spacing_mm)["hd_mm"]


@given(mask_pairs(empty=False))
def test_a_larger_tolerance_never_lowers_surface_dice(drawn: Drawn) -> None:
    values = evaluate(*drawn).values
    assert values["surface_dice_1mm"] <= values["surface_dice_2mm"]


@given(mask_pairs(empty=False))
def test_2024_finds_no_more_lesions_than_2022(drawn: Drawn) -> None:
    values = evaluate(*drawn).values
    assert values["f1_isles24"] <= values["f1_isles22"] + 1e-12


@given(mask_pairs(), st.integers(0, 4))
def test_counts_of_two_parts_add_up_to_those_of_the_whole(drawn: Drawn, cut: int) -> None:
    truth, prediction, spacing_mm = drawn
    low = evaluate(truth[:cut], prediction[:cut], spacing_mm).counts if cut else Counts(0, 0, 0, 0)
    high = evaluate(truth[cut:], prediction[cut:], spacing_mm).counts
    assert low + high == evaluate(truth, prediction, spacing_mm).counts
