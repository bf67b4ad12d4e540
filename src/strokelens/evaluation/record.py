"""The evaluation as a strict record: what evaluation.json holds. null stands for what is not defined."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from strokelens import __version__
from strokelens.evaluation.calibrated import CalibratedRow
from strokelens.evaluation.interrater import Interrater
from strokelens.evaluation.overview import Overview
from strokelens.evaluation.results import TRUTH, Evaluation, Row
from strokelens.flags import RESEARCH_USE

SCHEMA_VERSION: Final = "1.0"
"""Grows in its second part when fields are added, and in its first when one changes or goes."""

_EXACT: Final = ("p", "p_holm")

Number = Annotated[float | None, Field(description="null where it is not defined, such as a mean of nobody")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)


class SummaryRecord(_Record):
    """A score over persons; `used` of `total` have it."""

    mean: Number
    deviation: Number
    median: Number
    used: int
    total: int


class IntervalRecord(_Record):
    """A mean over persons with its 95 % interval by bootstrap; none below 6 persons, too narrow a one below 20."""

    mean: Number
    low: Number
    high: Number
    used: int
    total: int


class LimitsRecord(_Record):
    """Bland–Altman of persons' means: bias and the limits of 95 % of differences; no limits below 5 persons."""

    bias: Number
    lower: Number
    upper: Number
    margin: Annotated[Number, Field(description="The 95 % interval of each limit is it ± margin; null below 5 persons")]
    used: int
    total: int


class TestRecord(_Record):
    """Wilcoxon's signed-rank test, two-sided."""

    statistic: Number
    p: Number
    signed: int = Field(description="The persons whose difference is not 0, of whom the test is")
    used: int
    total: int


class CountsRecord(_Record):
    """Voxels: true and false positive, false and true negative."""

    tp: int
    fp: int
    fn: int
    tn: int


class SummariesRecord(_Record):
    """A model's scores of one class in one group; `f1_pooled` is of all voxels together, each person weighing once."""

    model: str
    group: str
    name: str = Field(alias="class")
    cases: int
    persons: int
    scored: int = Field(description="The persons with a scored scan, of whom f1_pooled is")
    f1_pooled: Number
    summaries: dict[str, SummaryRecord]
    intervals: dict[str, IntervalRecord]


class VolumesRecord(_Record):
    """Prediction − truth in ml, with the interval of the bias."""

    model: str
    group: str
    name: str = Field(alias="class")
    limits: LimitsRecord
    interval: IntervalRecord


class TrendRecord(_Record):
    """The line of Dice over −log10 of the lesion's share of the image."""

    model: str
    name: str = Field(alias="class")
    slope: Number
    intercept: Number
    r: Number = Field(description="Pearson's, with its sign")
    used: int
    empty: int = Field(description="Patients whose truth has no lesion, who are not in it")


class ComparisonRecord(_Record):
    """Dice of the second model − that of the first, scan by scan, then averaged within the person."""

    first: str
    second: str
    group: str
    name: str = Field(alias="class")
    scans: int = Field(description="The scans that have a Dice by both models")
    all_scans: int
    interval: IntervalRecord
    test: TestRecord
    p_holm: Annotated[
        Number,
        Field(description="Corrected by Holm for the pairs of models × penumbra, core, lesion in all cases; else null"),
    ]


class ClassRecord(_Record):
    """The scores of one class of one case."""

    truth_ml: float
    prediction_ml: float
    counts: CountsRecord
    scores: dict[str, Number]


class FailureRecord(_Record):
    """Why a case has no scores, or not all."""

    code: str
    message: str


class BinRecord(_Record):
    """The voxels of a bin of probability, each person weighing once."""

    voxels: float
    mean_probability: Number
    frequency: Annotated[Number, Field(description="How many of the voxels are true; null without any")]


class ProbabilitiesRecord(_Record):
    """A model's probabilities of one class in one group; `pooled_error` is of the bins, all persons together."""

    model: str
    group: str
    name: str = Field(alias="class")
    summaries: dict[str, SummaryRecord]
    intervals: dict[str, IntervalRecord]
    bins: list[BinRecord]
    pooled_error: Number


class CalibratedRecord(_Record):
    """A case's scores of a model's probabilities, by class; `failure` is empty unless they could not be read."""

    model: str
    case: str
    classes: dict[str, dict[str, Number]]
    failure: str


class CaseRecord(_Record):
    """A case's scores by a model; `against` tells by whose masks."""

    model: str
    against: str = Field(description="`truth`, or the name of the second annotator")
    case: str
    person: str
    group: Annotated[str | None, Field(description="null where the cohort tells none")]
    simulated: bool
    labels: str = Field(description="Who says what the prediction's integers mean; empty without a prediction")
    classes: dict[str, ClassRecord]
    failures: list[FailureRecord]


class SpreadRecord(_Record):
    """The second annotator against the truth; limits and interval are of second − truth in ml."""

    group: str
    name: str = Field(alias="class")
    cases: int
    summaries: dict[str, SummaryRecord]
    limits: LimitsRecord
    interval: IntervalRecord


class BesideRecord(_Record):
    """A model's Dice against each annotator; `difference` is the mean of both − that between the annotators.

    All are of the scans that have all three.
    """

    model: str
    group: str
    name: str = Field(alias="class")
    scans: int
    all_scans: int
    against_first: IntervalRecord
    against_second: IntervalRecord
    between: IntervalRecord
    difference: IntervalRecord


class AnnotatorRecord(_Record):
    """What the masks of a second annotator tell."""

    name: str
    agreement: list[SpreadRecord]
    models: list[BesideRecord]


class LegacyRecord(_Record):
    """The first ancestor's numbers (`_theirs`) beside the right ones; `rowwise_theirs` is no distance."""

    model: str
    group: str
    name: str = Field(alias="class")
    persons: int = Field(description="The persons with a scored scan, of whom our numbers are")
    all_persons: int
    scored_cases: int = Field(description="The cases with a score, of which theirs are; `cases` of summaries are all")
    dice: Number
    dice_theirs: Number
    dice_smoothed: Number = Field(description="The second ancestor's: 1 added above and below")
    dice_epsilon: Number = Field(description="The second ancestor's: 1e-7 added below")
    f1: Number
    f1_theirs: Number
    similarity: Number
    similarity_theirs: Number
    iou: Number
    iou_theirs: Number
    mcc: Number
    mcc_theirs: Number
    hd_mm: Number
    rowwise_theirs: Number
    counts_theirs: Annotated[CountsRecord | None, Field(description="Where the truth is not 0; null if not measured")]


class EvaluationRecord(_Record):
    """What strokelens writes to evaluation.json. Scores and units: docs/reference/scores.md."""

    schema_version: Literal["1.0"] = SCHEMA_VERSION
    software: str
    disclaimer: str
    models: list[str]
    groups: list[str]
    classes: list[str]
    part: str = Field(description="Which part of which split was scored, with its hash; empty for the whole cohort")
    notes: list[str] = Field(description="What a reader must know of the scores, in sentences")
    simulated: int = Field(description="How many cases are of simulated patients")
    complete: bool = Field(description="Every case was scored in full, and every prediction belonged to one")
    cases_without_truth: list[str] = Field(description="Left out, as nobody has a prediction for them")
    predictions_without_case: dict[str, list[str]]
    summaries: list[SummariesRecord]
    volumes: list[VolumesRecord]
    trends: list[TrendRecord]
    comparisons: list[ComparisonRecord]
    annotator: Annotated[AnnotatorRecord | None, Field(description="null without a second annotator")]
    legacy: Annotated[list[LegacyRecord] | None, Field(description="null unless it was asked for")]
    probabilities: list[ProbabilitiesRecord]
    calibrations: list[CalibratedRecord]
    cases: list[CaseRecord]


def record_of(overview: Overview, *, with_legacy: bool = False) -> EvaluationRecord:
    """The record of an evaluation."""
    evaluation = overview.evaluation
    told = {
        "software": f"strokelens {__version__}",
        "disclaimer": RESEARCH_USE,
        "models": evaluation.models,
        "groups": evaluation.groups,
        "classes": evaluation.classes,
        "part": evaluation.part,
        "notes": evaluation.notes,
        "simulated": evaluation.simulated,
        "complete": evaluation.complete,
        "cases_without_truth": evaluation.left_out,
        "predictions_without_case": evaluation.strangers,
        "summaries": map(asdict, overview.cells),
        "volumes": map(asdict, overview.agreements),
        "trends": map(asdict, overview.trends),
        "comparisons": map(asdict, overview.comparisons),
        "annotator": _annotator(overview.interrater),
        "legacy": list(map(asdict, overview.legacy)) if with_legacy else None,
        "probabilities": map(asdict, overview.reliabilities),
        "calibrations": [
            {"model": row.model, "case": row.case_id, "classes": _values(row), "failure": row.failure}
            for row in evaluation.calibrations
        ],
        "cases": [_case(row, against) for against, rows in compared(evaluation) for row in rows],
    }
    return EvaluationRecord.model_validate(_plain(told))


def compared(evaluation: Evaluation) -> list[tuple[str, Sequence[Row]]]:
    """The rows of each whose masks others are compared with: those of the truth, then those of the annotator."""
    second = evaluation.annotator
    if second is None:
        return [(TRUTH, evaluation.rows)]
    return [(TRUTH, (*evaluation.rows, *second.between)), (second.name, second.against)]


def evaluation_text(record: EvaluationRecord) -> str:
    """The text of evaluation.json, a line a case: same record, same bytes."""
    told = record.model_dump(mode="json")
    cases = ",\n".join(f"    {json.dumps(case, ensure_ascii=False, allow_nan=False)}" for case in told["cases"])
    head = json.dumps({**told, "cases": []}, indent=2, ensure_ascii=False, allow_nan=False)
    empty = '"cases": []\n}'
    assert head.endswith(empty)
    return f'{head.removesuffix(empty)}"cases": [\n{cases}\n  ]\n}}\n'


def evaluation_schema() -> dict[str, Any]:
    """The JSON schema of evaluation.json.

    >>> sorted(evaluation_schema())[:3], evaluation_schema()["additionalProperties"]
    (['$defs', '$id', '$schema'], False)
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:strokelens:evaluation:{SCHEMA_VERSION}",
        **EvaluationRecord.model_json_schema(mode="serialization"),
    }


def schema_text() -> str:
    """The text of docs/reference/evaluation.schema.json, which a test keeps in step with `EvaluationRecord`."""
    return json.dumps(evaluation_schema(), indent=2, ensure_ascii=False) + "\n"


def _annotator(found: Interrater | None) -> dict[str, object] | None:
    if found is None:
        return None
    told = asdict(found)
    return {"name": told["annotator"], "agreement": told["spreads"], "models": told["models"]}


def _values(row: CalibratedRow) -> dict[str, dict[str, float]]:
    return {name: dict(each.values) for name, each in row.classes.items()}


def _case(row: Row, against: str) -> dict[str, object]:
    classes = {
        name: {
            "truth_ml": row.volumes[name].truth_ml,
            "prediction_ml": row.volumes[name].prediction_ml,
            "counts": asdict(scores.counts),
            "scores": dict(scores.values),
        }
        for name, scores in row.scores.items()
    }
    known = {"model": row.model, "against": against, "case": row.case_id, "person": row.person, "group": row.group}
    failures = [asdict(failure) for failure in row.failures]
    return {**known, "simulated": row.simulated, "labels": row.labels, "classes": classes, "failures": failures}


def _plain(value: object) -> Any:
    """Six decimals for floats, which hides no voxel, and None for NaN, at any depth; p in full, for it may be small."""
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _exact(each) if key in _EXACT else _plain(each) for key, each in value.items()}
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    return [_plain(each) for each in value]


def _exact(p: float) -> float | None:
    return p if isfinite(p) else None
