"""Dice against the lesion's size: the line as numpy has it, the sign of r, and the ancestor's two definitions."""

from math import isnan, log10

import numpy as np
import pytest

from strokelens.evaluation.delivery import cases_csv
from strokelens.evaluation.legacy import dice_epsilon, dice_smoothed
from strokelens.evaluation.overview import Overview
from strokelens.evaluation.results import Evaluation, Row
from strokelens.evaluation.tables import tables
from strokelens.evaluation.trends import trends
from strokelens.metrics.overlap import Counts
from strokelens.metrics.scores import Scores
from strokelens.metrics.volumes import Volumes

TOTAL = 100_000
CASES = ((4000, 500, 400), (900, 100, 300), (200, 150, 100), (50, 30, 60), (5, 9, 20))
"""Voxels in both, found only, and in the truth only: the smaller the lesion, the lower the Dice."""


def row(name: str, tp: int, fp: int, fn: int) -> Row:
    counts = Counts(tp, fp, fn, TOTAL - tp - fp - fn)
    volumes = Volumes((tp + fn) / 1000, (tp + fp) / 1000)
    scores = {"lesion": Scores(counts.evaluate(), counts)}
    return Row("ours", name, name, None, scores=scores, volumes={"lesion": volumes})


EVALUATION = Evaluation(tuple(row(f"case{at}", *each) for at, each in enumerate(CASES)))


def test_the_line_is_numpys_and_r_has_its_sign() -> None:
    size = [-log10((tp + fn) / TOTAL) for tp, _, fn in CASES]
    dice = [2 * tp / (2 * tp + fp + fn) for tp, fp, fn in CASES]
    (found,) = trends(EVALUATION)
    slope, intercept = np.polyfit(size, dice, 1)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept))
    assert found.r == pytest.approx(np.corrcoef(size, dice)[0, 1])
    assert found.r < -0.9, "the root of R², as the ancestor had it, is positive"
    assert (found.used, found.empty) == (5, 0)


def test_empty_lesions_have_no_logarithm_and_are_counted() -> None:
    (found,) = trends(Evaluation((*EVALUATION.rows, row("empty", 0, 7, 0), row("nothing", 0, 0, 0))))
    (without,) = trends(EVALUATION)
    assert (found.slope, found.r) == (without.slope, without.r)
    assert (found.used, found.empty) == (5, 2)


@pytest.mark.parametrize(
    "rows",
    [EVALUATION.rows[:2], tuple(row(f"same{at}", 10, at, 5) for at in range(4)),
     tuple(row(f"alike{at}", 10 * at, at, at) for at in range(1, 5))],
    ids=["two patients", "one size", "one Dice"],
)  # fmt: skip
def test_where_there_is_no_line_there_is_no_number(rows: tuple[Row, ...]) -> None:
    (found,) = trends(Evaluation(rows))
    assert isnan(found.slope)
    assert isnan(found.r)


def test_the_table_tells_it() -> None:
    (table,) = (each for each in tables(Overview(EVALUATION)) if each.title == "Dice by size")
    (cells,) = table.rows
    (found,) = trends(EVALUATION)
    assert cells[:2] == ("ours", "lesion")
    assert cells[4] == f"{found.r:.3f}".replace("-", "−")
    assert cells[5] == "5 of 5"


@pytest.mark.parametrize(
    ("counts", "smoothed", "epsilon"),
    [((0, 0, 0), 1.0, 0.0), ((0, 0, 10), 1 / 11, 0.0), ((0, 10, 0), 1 / 11, 0.0), ((3, 1, 1), 7 / 9, 0.75)],
)
def test_both_old_definitions_are_the_golden_numbers(
    counts: tuple[int, int, int], smoothed: float, epsilon: float
) -> None:
    tp, fp, fn = counts
    each = Counts(tp, fp, fn, 100)
    assert dice_smoothed(each) == pytest.approx(smoothed)
    assert dice_epsilon(each) == pytest.approx(epsilon, abs=1e-7)


def test_the_table_of_cases_has_both() -> None:
    head, first, *_ = (line.split(",") for line in cases_csv(EVALUATION).splitlines())
    told = dict(zip(head, first, strict=True))
    assert float(told["dice_smoothed"]) == pytest.approx(8001 / 8901, abs=1e-6)
    assert float(told["dice_epsilon"]) == pytest.approx(8000 / 8900, abs=1e-6)
