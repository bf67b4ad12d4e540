"""result.json: its schema, its numbers, and what it must not tell."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta, timezone
from math import inf, nan
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from strokelens.case import Source
from strokelens.finding import Finding
from strokelens.flags import Flag
from strokelens.perfusion.mismatch import Mismatch
from strokelens.report.result import Result, result_of, result_schema, result_text, schema_text
from tests.report_examples import CREATED, ct_finding, head_grid, mr_finding
from tests.schemas import unexplained

SCHEMA_PATH = Path(__file__).parents[1] / "docs" / "reference" / "result.schema.json"
SMALL_CT = head_grid((40, 44, 6), (4.0, 4.2, 18.0))
SMALL_MR = head_grid((40, 44, 12), (4.0, 4.2, 10.0), "LAS")


@pytest.fixture(scope="module")
def ct() -> Finding:
    return ct_finding(SMALL_CT, flags=(Flag("truncated", "The series ends early.", grave=True),))


def written(finding: Finding) -> dict[str, object]:
    content: dict[str, object] = json.loads(result_text(result_of(finding, created=CREATED)))
    return content


def with_mismatch(finding: Finding, core_ml: float, hypoperfused_ml: float, severe_ml: float = nan) -> Finding:
    return replace(finding, mismatch=Mismatch(core_ml, hypoperfused_ml, severe_ml))


def test_the_published_schema_is_the_one_the_code_writes(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--write-docs"):
        SCHEMA_PATH.parent.mkdir(parents=True, exist_ok=True)
        SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), "`make docs` if this is meant"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(result_schema())


def empty() -> Finding:
    return ct_finding(SMALL_CT, stroke=False)


@pytest.mark.parametrize("make", [lambda: ct_finding(SMALL_CT), lambda: mr_finding(SMALL_MR), empty])
def test_results_obey_the_schema(make: Callable[[], Finding]) -> None:
    jsonschema.validate(written(make()), result_schema())


def test_every_field_of_the_schema_that_may_be_null_says_why() -> None:
    assert unexplained(result_schema()) == []


def test_an_unknown_key_is_refused(ct: Finding) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Result.model_validate({**result_of(ct, created=CREATED).model_dump(), "name": "Jane"})


def test_volumes_are_those_of_the_finding(ct: Finding) -> None:
    assert written(ct)["volumes_ml"] == {name: pytest.approx(ml) for name, ml in ct.volumes_ml.items()}


def test_without_a_core_the_ratio_is_null(ct: Finding) -> None:
    mismatch = result_of(with_mismatch(ct, 0.0, 50.0, 10.0), created=CREATED).mismatch
    assert mismatch is not None
    assert (mismatch.ratio, mismatch.hypoperfusion_intensity_ratio) == (None, 0.2)


def test_without_a_tmax_map_severity_is_null(ct: Finding) -> None:
    mismatch = result_of(with_mismatch(ct, 10.0, 50.0), created=CREATED).mismatch
    assert mismatch is not None
    assert (mismatch.severe_ml, mismatch.hypoperfusion_intensity_ratio) == (None, None)


@given(st.dictionaries(st.text(max_size=5), st.floats(), max_size=4))
def test_any_float_in_settings_and_timings_becomes_json(numbers: dict[str, float]) -> None:
    finding = replace(_TINY, settings=dict(numbers), timings_s=dict(numbers))
    text = result_text(result_of(finding, created=CREATED))
    assert json.loads(text, parse_constant=pytest.fail)["settings"].keys() == numbers.keys()


_TINY = mr_finding(head_grid((6, 6, 2), (30.0, 30.0, 40.0)))


def test_infinity_and_nan_are_null() -> None:
    finding = replace(_TINY, settings={"a": nan, "b": inf, "c": 1.5, "d": "auto"})
    assert written(finding)["settings"] == {"a": None, "b": None, "c": 1.5, "d": "auto"}


def test_the_time_is_written_in_utc(ct: Finding) -> None:
    tokyo = CREATED.astimezone(timezone(timedelta(hours=9)))
    assert json.loads(result_text(result_of(ct, created=tokyo)))["created"] == "2026-03-04T03:05:06Z"


def test_same_finding_and_time_give_the_same_bytes() -> None:
    first, second = (result_text(result_of(ct_finding(SMALL_CT), created=CREATED)) for _ in range(2))
    assert first == second


def test_grid_and_inputs_are_told() -> None:
    finding = replace(_TINY, sources={"DWI": Source("0" * 64, "as stored")})
    content = written(finding)
    assert content["grid"] == {
        "shape": [6, 6, 2],
        "spacing_mm": [30.0, 30.0, 40.0],
        "voxel_volume_ml": 36.0,
        "orientation": "RAS",
    }
    assert content["inputs"] == {"DWI": {"sha256": "0" * 64, "note": "as stored"}}


def test_the_curves_are_told_by_their_peaks(ct: Finding) -> None:
    vessels = result_of(ct, created=CREATED).vessels
    assert vessels is not None
    # onset 8 s + 3 × 2.6 s, on frames of 1.5 s
    assert (vessels.aif_peak_time_s, vessels.frame_count, vessels.duration_s) == (16.5, 40, 58.5)


def test_grave_flags_are_marked(ct: Finding) -> None:
    flag = {"code": "truncated", "message": "The series ends early.", "grave": True}
    assert written(ct)["flags"] == [flag]


def test_results_need_no_pictures() -> None:
    code = (
        "import sys, strokelens.report.result; print([m for m in ('matplotlib', 'PIL', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_result_says_that_it_is_for_research(ct: Finding) -> None:
    assert written(ct)["research_use"] == "Research use only; not a medical device."
