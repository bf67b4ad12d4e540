"""evaluation.json: its schema, and that whatever is written obeys it."""

import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.predictions import find_predictions
from strokelens.evaluation.ancestors import measure
from strokelens.evaluation.delivery import deliver
from strokelens.evaluation.overview import Overview
from strokelens.evaluation.record import EvaluationRecord, evaluation_schema, record_of, schema_text
from strokelens.evaluation.results import Evaluation
from strokelens.evaluation.scoring import Plan, cases, collected
from tests.schemas import unexplained
from tests.test_evaluation import cohort, labels, write

__all__ = ["cohort"]

SCHEMA_PATH = Path(__file__).parents[1] / "docs" / "reference" / "evaluation.schema.json"


def everything(cohort: Cohort, tmp_path: Path) -> Evaluation:
    """Two models, one of which lacks a case, an annotator, and the ancestors' measures."""
    for number in (1, 2):
        write(tmp_path / f"second/case_{number}.nii.gz", labels(number + 200))
        write(tmp_path / f"other/case_{number}.nii.gz", labels(number + 300))
    ours, other, second = (find_predictions(tmp_path / name, cohort) for name in ("ours", "other", "second"))
    plan = Plan((ours, other), second, measure)
    return collected(plan, cases(plan, cohort))


def test_the_published_schema_is_the_one_the_code_writes(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--write-docs"):
        SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), "`make docs` if this is meant"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(evaluation_schema())


@pytest.mark.parametrize("with_legacy", [False, True])
def test_an_evaluation_obeys_the_schema(with_legacy: bool, cohort: Cohort, tmp_path: Path) -> None:
    text = deliver(everything(cohort, tmp_path), tmp_path / "out", with_legacy=with_legacy)
    jsonschema.validate(json.loads(text, parse_constant=pytest.fail), evaluation_schema())


def test_an_evaluation_of_nothing_obeys_the_schema() -> None:
    record = record_of(Overview(Evaluation(())))
    jsonschema.validate(record.model_dump(mode="json"), evaluation_schema())
    assert (record.annotator, record.legacy, record.cases) == (None, None, [])


def test_every_field_of_the_schema_that_may_be_null_says_why() -> None:
    assert unexplained(evaluation_schema()) == []


def test_an_unknown_key_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    told = record_of(Overview(everything(cohort, tmp_path))).model_dump()
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        EvaluationRecord.model_validate({**told, "name": "Jane"})
