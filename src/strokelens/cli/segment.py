"""`strokelens segment`: the main job."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import steps

if TYPE_CHECKING:
    from strokelens.finding import Finding


class Rule(StrEnum):
    """The named threshold rules."""

    STROKELENS = "strokelens"
    RAPID = "rapid"
    CEREDA = "cereda"
    BATHLA = "bathla"
    WINTERMARK = "wintermark"
    CAMPBELL = "campbell"
    BIVARD = "bivard"
    MURPHY = "murphy"
    SYNGO = "syngo"
    ADC = "adc"


def segment(
    study: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A 4D series, or a folder of maps or of DWI with ADC or b0 (NIfTI).")
    ],
    out: options.Out,
    method: Annotated[str, typer.Option("--method", help="auto or threshold; networks come later.")] = "auto",
    rule: Annotated[Rule, typer.Option("--rule", help="Which limits part core from penumbra.")] = Rule.STROKELENS,
    deconvolution: options.Deconvolution = options.Method.BCSVD,
    smoothing: options.Smoothing = None,
    no_motion_correction: options.Still = False,
    frame_interval: options.FrameInterval = None,
    echo_time: options.EchoTime = None,
    b_value: options.BValue = None,
    modality: options.ModalityOption = None,
    resample: options.Resample = False,
    age: Annotated[float | None, typer.Option("--age", min=0, max=120, help="Years, for the DAWN criteria.")] = None,
    nihss: Annotated[float | None, typer.Option("--nihss", min=0, max=42, help="For the DAWN criteria.")] = None,
    case_id: Annotated[str | None, typer.Option("--id", help="What to call the case; else its file's name.")] = None,
    bids: Annotated[bool, typer.Option("--bids", help="Name the files as a BIDS derivative.")] = False,
    overwrite: options.Overwrite = False,
    json: options.AsJson = False,
) -> None:
    """Segment one study: core and penumbra (or the lesion), volumes, mismatch, and a page to look at.

    OUT gets segmentation.nii.gz, maps/, result.json, overlay.png and report.html. Research use only.
    """
    from dataclasses import replace

    from strokelens.cohorts.folder import check_out
    from strokelens.cohorts.nifti import read_study
    from strokelens.errors import RuleError
    from strokelens.perfusion.thresholds import rule_named
    from strokelens.prediction import SegmentSettings
    from strokelens.prediction import segment as segment_case
    from strokelens.report.delivery import deliver

    if method not in ("auto", "threshold"):
        raise RuleError(f"no method {method!r}; this version has auto and threshold (which need no training)")
    check_out(out, overwrite=overwrite)
    settings = SegmentSettings(
        rule=rule_named(rule.value),
        maps=options.map_settings(deconvolution, smoothing, no_motion_correction),
        age_years=age,
        nihss=nihss,
    )
    told = options.reading(frame_interval, echo_time, b_value, modality, resample)
    with steps(f"segmenting {study.name}") as done:
        case = read_study(study, told)
        done("reading")
        case = replace(case, id=case_id) if case_id else case
        finding = segment_case(case, settings, done)
        deliver(finding, out, overwrite=overwrite, bids=bids)
    _tell(finding, out, as_json=json)


def _tell(finding: "Finding", out: Path, *, as_json: bool) -> None:
    from strokelens.flags import RESEARCH_USE
    from strokelens.report.result import result_of

    if as_json:
        typer.echo(result_of(finding).model_dump_json(indent=2))
        return
    volumes = ", ".join(f"{name} {volume:.1f} ml" for name, volume in finding.volumes_ml.items())
    typer.echo(f"{finding.case_id}: {volumes}")
    for flag in finding.flags:
        typer.echo(f"{'WARNING' if flag.grave else 'note'}: {flag.message}")
    typer.echo(f"{out / 'report.html'}  {RESEARCH_USE}")
