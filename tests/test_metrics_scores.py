"""All scores at once: the same as one by one, and cases in tables counted."""

import re
from math import hypot, isnan, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from strokelens.metrics import lesions, overlap, surface, volumes
from strokelens.metrics.overlap import f1_per_patient, f1_pooled
from strokelens.metrics.scores import Scores, Summary, evaluate, isles22, summary
from tests.mask_strategies import Drawn, mask_pairs

NAMES = (
    *("dice", "dice_isles", "jaccard", "precision", "recall", "specificity", "mcc"),
    *("hd_mm", "hd95_pooled_mm", "hd95_max_mm", "assd_pooled_mm", "assd_isles_mm"),
    *("surface_dice_1mm", "surface_dice_2mm"),
    *("f1_isles22", "f1_isles24", "lesion_count_difference", "absolute_lesion_count_difference"),
    *("volume_difference_ml", "absolute_volume_difference_ml", "volume_similarity"),
)


def patient(truth: str, prediction: str) -> Scores:
    first, second = (np.array([[[letter == "#" for letter in text]]]) for text in (truth, prediction))
    return evaluate(first, second, (1.0, 1.0, 1.0))


@given(mask_pairs(axes=(3,)))
def test_all_scores_at_once_are_those_of_each_module(drawn: Drawn) -> None:
    truth, prediction, spacing_mm = drawn
    np.testing.assert_equal(
        dict(evaluate(truth, prediction, spacing_mm).values),
        {
            **overlap.evaluate(truth, prediction),
            **surface.evaluate(truth, prediction, spacing_mm),
            **lesions.evaluate(truth, prediction),
            **volumes.evaluate(truth, prediction, spacing_mm),
        },
    )


@given(mask_pairs(axes=(3,)))
def test_the_four_numbers_of_isles22_are_those_of_all_scores(drawn: Drawn) -> None:
    scores = evaluate(*drawn)
    four = isles22(*drawn)
    assert list(four) == [
        *("dice_isles", "absolute_volume_difference_ml", "absolute_lesion_count_difference", "f1_isles22")
    ]
    assert four == {name: scores[name] for name in four}


def test_the_scores_of_a_volume_have_these_names() -> None:
    assert tuple(patient("##..", ".##.").values) == NAMES


def test_a_slice_has_all_scores_but_those_of_volume() -> None:
    mask = np.ones((3, 3), bool)
    assert tuple(evaluate(mask, mask, (1.0, 1.0)).values) == NAMES[:-3]


def test_scores_cannot_be_changed() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        patient("##", "##").values["dice"] = 1.0  # type: ignore[index]


def test_every_score_of_equal_masks_is_the_best() -> None:
    perfect = {name: 0.0 if name.endswith(("_mm", "_ml", "difference")) else 1.0 for name in NAMES}
    assert dict(patient("##..#", "##..#").values) == perfect


def test_what_a_patient_does_not_have_is_nan() -> None:
    missing = {name for name, value in patient("....", "....").values.items() if isnan(value)}
    assert missing == {
        *("dice", "jaccard", "precision", "recall", "mcc", "volume_similarity"),
        *("hd_mm", "hd95_pooled_mm", "hd95_max_mm", "assd_pooled_mm", "assd_isles_mm"),
        *("surface_dice_1mm", "surface_dice_2mm"),
    }


def test_nothing_is_nan_where_a_lesion_was_missed_or_made_up() -> None:
    assert not any(map(isnan, patient("##..", "....").values.values()))
    assert not any(map(isnan, patient("....", "##..").values.values()))


def test_a_table_says_of_how_many_patients_it_speaks() -> None:
    table = summary([patient("##..", "##.."), patient("....", "...."), patient("##..", "....")])
    assert (table["dice"].mean, table["dice"].median, table["dice"].used, table["dice"].total) == (0.5, 0.5, 2, 3)
    assert table["dice"].deviation == pytest.approx(0.5**0.5)
    assert (table["dice_isles"].used, table["dice_isles"].total) == (3, 3)
    assert str(table["dice"]) == "0.500 ± 0.707 (2 of 3)"


def test_a_table_has_the_scores_that_any_patient_has() -> None:
    mask = np.ones((3, 3), bool)
    table = summary([evaluate(mask, mask, (1.0, 1.0)), patient("##", "##")])
    assert tuple(table) == NAMES
    assert (table["volume_similarity"].used, table["volume_similarity"].total) == (1, 2)


def test_the_table_of_nobody_is_empty() -> None:
    assert summary([]) == {}


def test_a_summary_of_nothing_knows_nothing() -> None:
    np.testing.assert_equal(vars(Summary.of([nan])), vars(Summary(nan, nan, nan, used=0, total=1)))


def test_both_meanings_of_f1_come_from_the_counts() -> None:
    patients = [patient("######", "######"), patient("##....", ".##...")]
    assert f1_per_patient(scores.counts for scores in patients) == pytest.approx((1 + 0.5) / 2)
    assert f1_pooled(scores.counts for scores in patients) == pytest.approx(14 / 16)


def lines_of_the_reference() -> dict[str, list[str]]:
    """The cells of the reference's first table by the name of the score, as text."""
    page = (Path(__file__).parents[1] / "docs" / "reference" / "scores.md").read_text()
    table = page[page.index("| score | formula | unit |") : page.index("A lesion is a connected component")]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()[2:] if line]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows}


def test_the_reference_has_every_score() -> None:
    assert tuple(lines_of_the_reference()) == NAMES


def test_the_reference_tells_the_unit_that_is_in_the_name() -> None:
    for name, (_, unit, *_) in lines_of_the_reference().items():
        assert name.endswith(f"_{unit}") == (unit in ("mm", "ml")), name


@pytest.mark.parametrize(
    ("column", "scores"),
    [(2, patient("....", "....")), (3, patient("##..", "....")), (4, patient("....", "##.."))],
    ids=["both empty", "prediction empty", "truth empty"],
)
def test_the_reference_tells_the_empty_cases_as_they_are(column: int, scores: Scores) -> None:
    meaning = {"NaN": nan, "0": 0.0, "1": 1.0, "diagonal": hypot(1.0, 1.0, 4.0)}
    told = {name: cells[column] for name, cells in lines_of_the_reference().items()}
    for name, text in told.items():
        if text != "formula":
            np.testing.assert_equal(scores[name], meaning[text], err_msg=name)
