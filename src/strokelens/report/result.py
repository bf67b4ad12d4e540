"""`result.json`: what a machine reads of a finding; `Result` is its schema, in docs/reference/result.schema.json.

No name and no path of the user's disk is in it. JSON has neither NaN nor infinity: both become null, and each field's
description says what its null means.
"""

import json
import math
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from strokelens import __version__
from strokelens.case import UNITS, Case, Source
from strokelens.finding import Finding
from strokelens.flags import RESEARCH_USE, Flag
from strokelens.grid import Grid
from strokelens.perfusion.arterial import Vessels
from strokelens.perfusion.mismatch import Mismatch

if TYPE_CHECKING:
    from strokelens.perfusion.maps import PerfusionMaps

SCHEMA_VERSION: Literal["1.0"] = "1.0"
"""Grows in its first number when a reader of the older schema would stumble."""

_LIBRARIES = ("numpy", "scipy", "nibabel", "matplotlib", "pillow")

Triple = Annotated[list[int], Field(min_length=3, max_length=3)]
TripleMm = Annotated[list[float], Field(min_length=3, max_length=3)]


class Record(BaseModel):
    """A part of the result: frozen, and strict about what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MethodRecord(Record):
    """How the segmentation was made."""

    name: str = Field(description="The rule or model, as --method takes it")
    description: str = Field(description="What it does, in words")
    source: str = Field(description="Where it was published, or where it comes from")
    thresholds: dict[str, float | None] = Field(
        description="Each key ends with its unit, such as tmax_s or rcbf_fraction; null where a bound is infinite"
    )


class MismatchRecord(Record):
    """Core against hypoperfused tissue; hypoperfused tissue includes the core."""

    core_ml: float = Field(description="Volume of the core")
    hypoperfused_ml: float = Field(description="Volume of the hypoperfused tissue, core included")
    volume_ml: float = Field(description="Hypoperfused − core; negative where the core exceeds it")
    ratio: float | None = Field(
        description="Hypoperfused / core; null without a core (the ratio is infinite, or undefined if both are zero)"
    )
    hypoperfusion_intensity_ratio: float | None = Field(
        description="Volume of Tmax > 10 s / volume of Tmax > 6 s; null without Tmax or where nothing is that late"
    )
    severe_ml: float | None = Field(description="Volume of Tmax > 10 s; null without a Tmax map")
    late_ml: float | None = Field(description="Volume of Tmax > 6 s; null without a Tmax map")


class CriterionRecord(Record):
    """A published imaging rule of one trial: information, never advice on treatment."""

    trial: str
    rule: str
    met: bool | None = Field(description="null where the rule needs an age or a NIHSS that was not given")


class FlagRecord(Record):
    """What a reader must know before trusting the result."""

    code: str = Field(description="Stable, for machines")
    message: str = Field(description="One sentence, for people")
    grave: bool = Field(description="true: the result should not be trusted; false: it should be looked at")


class GridRecord(Record):
    """The block of voxels that the segmentation lies on."""

    shape: Triple = Field(description="Voxels along i, j, k")
    spacing_mm: TripleMm = Field(description="Voxel edges along i, j, k")
    voxel_volume_ml: float
    orientation: str = Field(description="World direction in which i, j, k grow, such as RAS", pattern="^[RLAPSI]{3}$")


class InputRecord(Record):
    """The file that a channel came from."""

    sha256: str
    note: str = Field(description="What the reader decided about its values, such as a unit that was recognised")


class VesselsRecord(Record):
    """The arterial input function (AIF) and the venous output function (VOF), in short."""

    unit: str = Field(description="Unit of both peaks")
    aif_peak: float | None = Field(description="Highest value before scaling by partial_volume; null if undefined")
    aif_peak_time_s: float | None = Field(description="null where the curve has no finite value")
    vof_peak: float | None = Field(description="Highest value; null if undefined")
    vof_peak_time_s: float | None = Field(description="null where the curve has no finite value")
    partial_volume: float | None = Field(description="AUC(AIF) / AUC(VOF): share of the arterial voxels that is blood")
    aif_voxel_count: int
    vof_voxel_count: int
    frame_count: int
    duration_s: float = Field(description="First to last time of the curves")


class Result(Record):
    """A finding of strokelens. Research use only; not a medical device."""

    schema_version: Literal["1.0"] = SCHEMA_VERSION
    strokelens_version: str
    created: AwareDatetime = Field(description="When the result was written, UTC")
    research_use: str = Field(description="The terms under which this may be read")
    case_id: str
    method: MethodRecord
    volumes_ml: dict[str, float | None] = Field(
        description="core, penumbra and hypoperfused (which includes the core), or lesion; null where not defined"
    )
    mismatch: MismatchRecord | None = Field(description="null where the study has no perfusion maps")
    criteria: list[CriterionRecord]
    flags: list[FlagRecord] = Field(description="In the order in which they were raised; empty: nothing remarkable")
    grid: GridRecord
    inputs: dict[str, InputRecord] = Field(description="Each channel's file")
    settings: dict[str, float | str | None] = Field(description="Options that were used; null stands for NaN or ∞")
    vessels: VesselsRecord | None = Field(description="null where no curve was measured")
    timings_s: dict[str, float | None] = Field(description="Wall time of each step")
    versions: dict[str, str] = Field(description="Python and the libraries that the numbers depend on")


class MapsResult(Record):
    """The perfusion maps of one series, in `maps.json`. Research use only; not a medical device."""

    schema_version: Literal["1.0"] = SCHEMA_VERSION
    strokelens_version: str
    created: AwareDatetime = Field(description="When the maps were written, UTC")
    research_use: str = Field(description="The terms under which this may be read")
    case_id: str
    units: dict[str, str] = Field(description="Each map's unit")
    flags: list[FlagRecord]
    grid: GridRecord
    inputs: dict[str, InputRecord]
    settings: dict[str, float | str | None]
    vessels: VesselsRecord
    timings_s: dict[str, float | None]
    versions: dict[str, str]


def result_of(finding: Finding, *, created: datetime | None = None) -> Result:
    """The finding as its published record; `created` is now unless given (it must know its time zone)."""
    return Result(
        strokelens_version=__version__,
        created=_utc(created),
        research_use=RESEARCH_USE,
        case_id=finding.case_id,
        method=MethodRecord(
            name=finding.method.name,
            description=finding.method.description,
            source=finding.method.source,
            thresholds=_numbers(finding.method.thresholds),
        ),
        volumes_ml=_numbers(finding.volumes_ml),
        mismatch=_mismatch(finding.mismatch) if finding.mismatch else None,
        criteria=[CriterionRecord(trial=c.trial, rule=c.rule, met=c.met) for c in finding.criteria],
        flags=_flags(finding.flags),
        grid=_grid(finding.segmentation.grid),
        inputs=_inputs(finding.sources),
        settings=_settings(finding.settings),
        vessels=_vessels(finding.vessels) if finding.vessels else None,
        timings_s=_numbers(finding.timings_s),
        versions=_versions(),
    )


def maps_result_of(
    case: Case, perfusion: "PerfusionMaps", settings: Mapping[str, float | str], *, created: datetime | None = None
) -> MapsResult:
    """What `maps.json` says beside the maps of a series; `created` is now unless given."""
    return MapsResult(
        strokelens_version=__version__,
        created=_utc(created),
        research_use=RESEARCH_USE,
        case_id=case.id,
        units={name: UNITS[name] for name in perfusion.maps},
        flags=_flags(perfusion.flags),
        grid=_grid(perfusion.grid),
        inputs=_inputs(case.sources),
        settings=_settings(settings),
        vessels=_vessels(perfusion.vessels),
        timings_s=_numbers(perfusion.timings_s),
        versions=_versions(),
    )


def result_text(result: Result | MapsResult) -> str:
    """The JSON text of a result, as `result.json` holds it: same result, same bytes."""
    return result.model_dump_json(indent=2) + "\n"


def result_schema() -> dict[str, Any]:
    """The JSON schema of `result.json`.

    >>> sorted(result_schema())[:3], result_schema()["additionalProperties"]
    (['$defs', '$id', '$schema'], False)
    """
    schema = Result.model_json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:strokelens:result:{SCHEMA_VERSION}",
        **schema,
    }


def schema_text() -> str:
    """The text of docs/reference/result.schema.json, which a test keeps in step with `Result`."""
    return json.dumps(result_schema(), indent=2, ensure_ascii=False) + "\n"


def _utc(created: datetime | None) -> datetime:
    return (created or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)


def _flags(flags: Iterable[Flag]) -> list[FlagRecord]:
    return [FlagRecord(code=flag.code, message=flag.message, grave=flag.grave) for flag in flags]


def _grid(grid: Grid) -> GridRecord:
    return GridRecord(
        shape=list(grid.shape),
        spacing_mm=[round(edge, 6) for edge in grid.spacing_mm],
        voxel_volume_ml=round(grid.voxel_volume_ml, 9),
        orientation=grid.orientation,
    )


def _inputs(sources: Mapping[str, Source]) -> dict[str, InputRecord]:
    return {name: InputRecord(sha256=file.sha256, note=file.note) for name, file in sources.items()}


def _settings(settings: Mapping[str, float | str]) -> dict[str, float | str | None]:
    return {name: value if isinstance(value, str) else _number(value) for name, value in settings.items()}


def _mismatch(mismatch: Mismatch) -> MismatchRecord:
    return MismatchRecord(
        core_ml=round(mismatch.core_ml, 6),
        hypoperfused_ml=round(mismatch.hypoperfused_ml, 6),
        volume_ml=round(mismatch.volume_ml, 6),
        ratio=_number(mismatch.ratio),
        hypoperfusion_intensity_ratio=_number(mismatch.hypoperfusion_intensity_ratio),
        severe_ml=_number(mismatch.severe_ml),
        late_ml=None if mismatch.late_ml is None else _number(mismatch.late_ml),
    )


def _vessels(vessels: Vessels) -> VesselsRecord:
    aif_peak, aif_peak_time_s = _peak(vessels.aif, vessels.time_s)
    vof_peak, vof_peak_time_s = _peak(vessels.vof, vessels.time_s)
    return VesselsRecord(
        unit=vessels.unit,
        aif_peak=aif_peak,
        aif_peak_time_s=aif_peak_time_s,
        vof_peak=vof_peak,
        vof_peak_time_s=vof_peak_time_s,
        partial_volume=_number(vessels.partial_volume),
        aif_voxel_count=len(vessels.aif_voxels),
        vof_voxel_count=len(vessels.vof_voxels),
        frame_count=int(vessels.time_s.size),
        duration_s=round(float(np.ptp(vessels.time_s)), 6) if vessels.time_s.size else 0.0,
    )


def _peak(curve: np.ndarray, time_s: np.ndarray) -> tuple[float | None, float | None]:
    """The highest finite value and its time."""
    if not np.isfinite(curve).any():
        return None, None
    frame = int(np.nanargmax(np.where(np.isfinite(curve), curve, np.nan)))
    return _number(float(curve[frame])), _number(float(time_s[frame]))


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in values.items()}


def _number(value: float) -> float | None:
    """Six decimals, which hides no voxel; null for what JSON cannot say."""
    return round(float(value), 6) if math.isfinite(value) else None


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}
