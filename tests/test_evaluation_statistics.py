"""The statistics of an evaluation compare the same scans, count a person once, and say who is missing."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strokelens.evaluation import legacy
from strokelens.evaluation.cells import p_value
from strokelens.evaluation.delivery import cases_csv, deliver
from strokelens.evaluation.interrater import Interrater
from strokelens.evaluation.names import PROBABILITIES, SCORES
from strokelens.evaluation.overview import Overview
from strokelens.evaluation.people import averaged
from strokelens.evaluation.pictures import against_rarity
from strokelens.evaluation.record import evaluation_text, record_of
from strokelens.evaluation.results import Annotator, Evaluation, Failure, Row
from strokelens.evaluation.summaries import cells, comparisons
from strokelens.evaluation.tables import headline, tables
from strokelens.metrics import agreement, calibration, scores
from strokelens.metrics.overlap import Counts
from strokelens.metrics.scores import Scores
from strokelens.metrics.volumes import Volumes
from strokelens.report.tabular import Table

LOST = (Failure("no-prediction", "it has no prediction"),)


def scored(case_id: str, *, model: str = "A", person: str = "", name: str = "core", counts: Counts) -> Row:
    values = {**counts.evaluate(), **Volumes.of(counts, (1.0, 1.0, 1.0)).evaluate()}
    volumes = {name: Volumes.of(counts, (1.0, 1.0, 1.0))}
    return Row(model, case_id, person or case_id, "LVO", scores={name: Scores(values, counts)}, volumes=volumes)


def with_dice(case_id: str, tenths: int, *, model: str = "A", person: str = "", name: str = "core") -> Row:
    """A scan with a Dice of so many tenths."""
    return scored(
        case_id, model=model, person=person, name=name, counts=Counts(tenths, 10 - tenths, 10 - tenths, 1_000_000)
    )


def lost(case_id: str, *, model: str = "A", person: str = "") -> Row:
    return Row(model, case_id, person or case_id, "LVO", failures=LOST)


def table(evaluation: Evaluation, title: str, *, with_legacy: bool = False) -> Table:
    return next(each for each in tables(Overview(evaluation), with_legacy=with_legacy) if each.title == title)


def test_models_are_compared_scan_by_scan_before_a_person_is_averaged() -> None:
    rows = []
    for person in map(str, range(8)):
        for model in ("A", "B"):
            rows.append(with_dice(f"{person}-easy", 9, model=model, person=person))
        rows.append(lost(f"{person}-hard", model="A", person=person))
        rows.append(with_dice(f"{person}-hard", 3, model="B", person=person))
    (found,) = comparisons(Evaluation(tuple(rows)))
    assert (found.interval.mean, found.test.p, found.test.signed) == (0.0, 1.0, 0)
    assert (found.scans, found.all_scans, found.interval.used, found.interval.total) == (8, 16, 8, 8)


def test_a_model_is_set_beside_annotators_on_the_same_scans() -> None:
    # The model has 0.4 with the truth on scans that the second annotator did not see, and 0.8 on those that all have.
    seen, unseen = [f"s{n}" for n in range(5)], [f"u{n}" for n in range(5)]
    rows = tuple(with_dice(each, 8) for each in seen) + tuple(with_dice(each, 4) for each in unseen)
    between = tuple(with_dice(each, 7, model="second") for each in seen) + tuple(map(lost, unseen))
    against = tuple(with_dice(each, 9) for each in seen) + tuple(map(lost, unseen))
    found = Interrater.of(Evaluation(rows, annotator=Annotator("second", between, against)))
    assert found is not None
    (each,) = found.models
    told = (each.against_first.mean, each.against_second.mean, each.between.mean, each.difference.mean)
    assert told == pytest.approx((0.8, 0.9, 0.7, (0.8 + 0.9) / 2 - 0.7))
    assert {of.used for of in (each.against_first, each.against_second, each.between, each.difference)} == {5}
    assert (each.scans, each.all_scans) == (5, 10)


def test_annotators_may_change_places_beside_a_model() -> None:
    first, second, between = (
        [with_dice(f"s{n}", tenths + n % 2, model=model) for n in range(6)]
        for tenths, model in ((8, "A"), (5, "A"), (6, "second"))
    )
    forth = Interrater.of(Evaluation(tuple(first), annotator=Annotator("second", tuple(between), tuple(second))))
    back = Interrater.of(Evaluation(tuple(second), annotator=Annotator("second", tuple(between), tuple(first))))
    assert forth is not None
    assert back is not None
    assert forth.models[0].difference == back.models[0].difference


def test_the_f1_of_a_model_that_fails_says_so() -> None:
    rows = (with_dice("a", 9), with_dice("b", 1), with_dice("a", 9, model="B"), lost("b", model="B"))
    found = table(Evaluation(rows), "F1 by group")
    assert found.header == ("model", "LVO core,\nn = 2")
    assert found.rows == (("A", "0.500"), ("B", "0.900\n(1 of 2)"))


@pytest.mark.parametrize("title", ["The ancestors' conventions", "The ancestors' measures"])
def test_the_ancestors_tables_say_of_how_many_they_are(title: str) -> None:
    found = table(Evaluation((with_dice("a", 9, person="p"), lost("b"))), title, with_legacy=True)
    assert found.header[-2:] == ("patients", "cases")
    assert found.rows[0][-2:] == ("1 of 2", "1")


def test_pooled_f1_counts_a_person_once() -> None:
    copies = Counts(90, 10, 10, 0)
    rows = (
        scored("a", person="a", counts=copies),
        scored("a_m", person="a", counts=copies),
        scored("b", person="b", counts=Counts(0, 0, 20, 0)),
    )
    (cell,) = cells(Evaluation(rows))
    assert cell.f1_pooled == pytest.approx(180 / (180 + 10 + 10 + 20))  # not 360 / (360 + 20 + 20 + 20)
    (theirs,) = legacy.cells(Evaluation(rows))
    assert theirs.f1 == cell.f1_pooled
    assert theirs.f1_theirs == pytest.approx(360 / 420)


def test_the_main_comparisons_are_one_family() -> None:
    rows = tuple(
        with_dice(f"{n}-{name}", 5 + (model == "B") * (1 + n % 3), model=model, name=name)
        for name in ("penumbra", "core", "hypoperfused")
        for model in ("A", "B", "C")
        for n in range(8)
    )
    found = comparisons(Evaluation((*rows, replace(rows[0], case_id="x", person="x", group="WIS"))))
    corrected = [(each.group, each.name) for each in found if not isnan(each.p_holm)]
    assert sorted(set(corrected)) == [("all", "core"), ("all", "penumbra")]
    assert len(corrected) == 3 * 2
    smallest = min(found, key=lambda each: each.p_holm if not isnan(each.p_holm) else 2)
    assert smallest.p_holm == pytest.approx(6 * smallest.test.p)
    note = table(Evaluation(rows), "Models compared").note
    assert "each pair of models × penumbra, core, lesion, in all patients" in note


@pytest.mark.parametrize(("p", "text"), [(1e-12, "<0.0001"), (0.00012, "0.0001"), (1.0, "1.0000"), (nan, "–")])
def test_p_is_never_0_in_a_table(p: float, text: str) -> None:
    assert p_value(p) == text


def test_p_is_never_0_in_the_record() -> None:
    rows = [with_dice(f"{n}", 1 + (model == "B"), model=model) for model in ("A", "B") for n in range(40)]
    overview = Overview(Evaluation(tuple(rows)))
    (told,) = json.loads(evaluation_text(record_of(overview)))["comparisons"]
    assert 0 < told["test"]["p"] == overview.comparisons[0].test.p < 1e-8
    assert 0 < told["p_holm"] < 1e-8


def test_a_row_says_n_in_each_cell_where_scores_are_of_different_patients() -> None:
    values = {"dice": nan, "f1_isles22": 1.0}
    empty = Row("A", "c", "c", "LVO", scores={"core": Scores(values, Counts(0, 0, 0, 9))})
    full = [with_dice(each, 5) for each in "ab"]
    rows = [
        replace(row, scores={"core": Scores({**row.scores["core"].values, "f1_isles22": 0.5}, Counts(5, 5, 5, 9))})
        for row in full
    ]
    found = table(Evaluation((*rows, empty)), "Scores")
    row = dict(zip(found.header, found.rows[0], strict=True))
    assert row["Dice ↑"] == "0.50 ± 0.00\n(2 of 3)"
    assert row["lesion F1 (ISLES'22) ↑"] == "0.67 ± 0.29\n(3 of 3)"
    assert "costs HD95 and ASSD the image's diagonal" in found.note


def test_the_headline_counts_cases_and_patients() -> None:
    rows = (with_dice("a1", 5, person="a"), with_dice("a2", 5, person="a"), with_dice("b", 5))
    assert headline(Evaluation(rows)) == "3 cases of 2 patients; scored in full: A 3 of 3."
    assert headline(Evaluation(())) == "No case could be scored."
    assert headline(Evaluation((), left_out=("x",))) == (
        "No case could be scored. 1 case has no truth and was left out."
    )


def test_left_out_cases_are_named() -> None:
    assert table(Evaluation((with_dice("a", 5),), left_out=("x", "y")), "Left out").rows == (("x",), ("y",))


def test_failures_are_counted_by_code_and_named_last() -> None:
    evaluation = Evaluation((with_dice("a", 5), lost("b"), lost("c")), {"A": ("z",)})
    first, *_ = tables(Overview(evaluation))
    assert (first.title, [row[:3] for row in first.rows]) == (
        "Failures",
        [("A", "no-prediction", "2"), ("A", "no-case", "1")],
    )
    assert [row[1] for row in table(evaluation, "Each failure").rows] == ["b", "c", "z"]


def test_every_score_reaches_a_summary_a_table_and_the_legend() -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[2:4, 2:4, 2:4] = True
    found = scores.evaluate(mask, np.roll(mask, 1), (1.0, 1.0, 1.0))
    row = Row("A", "a", "a", "LVO", scores={"core": found}, volumes={"core": Volumes.of(found.counts, (1.0, 1.0, 1.0))})
    (cell,) = cells(Evaluation((row,)))
    assert list(cell.summaries) == list(cell.intervals) == list(found.values)
    assert set(SCORES) == set(found.values)
    assert len(table(Evaluation((row,)), "All scores").rows) == len(found.values)
    assert set(PROBABILITIES) == set(calibration.evaluate(np.ones(2, bool), np.ones(2)))
    titles = [name.title for name in SCORES.values()]
    assert titles == [line[0] for line in table(Evaluation((row,)), "Legend").rows][: len(titles)]


def test_the_lines_of_cases_have_every_voxel() -> None:
    text = cases_csv(Evaluation((scored("a", counts=Counts(1_234_567, 1, 2, 2_014_939)),)))
    (line,) = csv.DictReader(StringIO(text))
    assert (line["tp"], line["tn"]) == ("1234567", "2014939")


def test_a_dot_is_of_the_scans_that_have_both_numbers() -> None:
    # A person with a found lesion on one scan and a false alarm on another, whose truth is empty
    rows = (with_dice("a1", 8, person="a"), scored("a2", person="a", counts=Counts(0, 5, 0, 9)))
    (cloud,) = against_rarity(Evaluation(rows))
    assert cloud.y.tolist() == [0.8]
    (other,) = against_rarity(Evaluation((with_dice("a", 8), scored("b", counts=Counts(0, 5, 0, 9)))))
    assert (other.count, other.unseen) == (1, 1)


def test_a_mean_over_a_persons_scans_is_that_of_the_loop() -> None:
    drawn = np.random.default_rng(0)
    values = np.where(drawn.random((40, 3)) < 0.4, nan, drawn.random((40, 3)))
    persons = [str(number) for number in drawn.integers(12, size=40)]
    for at, person in enumerate(dict.fromkeys(persons)):
        mine = values[[each == person for each in persons]]
        for column in range(3):
            known = [value for value in mine[:, column].tolist() if not isnan(value)]
            wanted = sum(known) / len(known) if known else nan
            assert averaged(values, persons)[at, column] == pytest.approx(wanted, nan_ok=True)


def many(persons: int) -> Evaluation:
    """Three models and an annotator on so many persons, of three groups, and some cores empty."""
    drawn = np.random.default_rng(0)
    mask = np.zeros((4, 4, 4), bool)
    mask[1:3, 1:3, 1:3] = True
    known = dict(scores.evaluate(mask, np.roll(mask, 1), (1.0, 1.0, 1.0)).values)

    def row(case: int, model: str) -> Row:
        found, volumes = {}, {}
        for name in ("penumbra", "core", "hypoperfused"):
            tp, fp, fn = drawn.integers(0, 900, size=3).tolist() if drawn.random() > 0.1 else (0, 0, 0)
            counts = Counts(tp, fp, fn, 1_000_000)
            found[name] = Scores({**known, **counts.evaluate()}, counts)
            volumes[name] = Volumes.of(counts, (1.0, 1.0, 1.0))
        group = ("LVO", "Non-LVO", "WIS")[case % 3]
        return Row(model, f"c{case}", f"c{case}", group, scores=found, volumes=volumes)

    models = ("A", "B", "C")
    rows = [row(case, model) for case in range(persons) for model in models]
    against = [row(case, model) for case in range(persons) for model in models]
    between = [row(case, "second") for case in range(persons)]
    return Evaluation(tuple(rows), annotator=Annotator("second", tuple(between), tuple(against)))


def test_what_tables_and_record_tell_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    of, cells_of, drawn = Interrater.of, legacy.cells, agreement._drawn_means

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def spy(*arguments: Any) -> Any:
            calls.append(name)
            return call(*arguments)

        return spy

    monkeypatch.setattr(Interrater, "of", counted("interrater", of))
    monkeypatch.setattr(legacy, "cells", counted("legacy", cells_of))
    monkeypatch.setattr(agreement, "_drawn_means", counted("draws", drawn))
    deliver(many(30), tmp_path / "out", with_legacy=True)
    assert (calls.count("interrater"), calls.count("legacy")) == (1, 1)
    # once for each number of patients, in each of scores, volumes, comparisons, both annotators and each spread
    assert calls.count("draws") < 100  # of 2,000 intervals
