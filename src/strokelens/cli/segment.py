"""`strokelens segment`: the main job."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import loudness, say, steps

if TYPE_CHECKING:
    from strokelens.cohorts.nifti import Reading
    from strokelens.finding import Finding
    from strokelens.model import Model
    from strokelens.perfusion.maps import Progress
    from strokelens.prediction.segmenting import SegmentSettings


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
    ADC_DWI = "adc-dwi"


class Sex(StrEnum):
    """As tables have it."""

    F = "F"
    M = "M"


def segment(
    study: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="A 4D series, or a folder of maps or of DWI with ADC or b0 (NIfTI); a DICOM folder or zip; "
            "a case of a cohort of any layout.",
        ),
    ],
    out: options.Out,
    method: Annotated[str, typer.Option("--method", help="auto, threshold, or the folder of a model.")] = "auto",
    rule: Annotated[
        Rule | None, typer.Option("--rule", help="Which limits part core from penumbra; else the study decides.")
    ] = None,
    deconvolution: options.Deconvolution = options.DeconvolutionName.BCSVD,
    smoothing: options.Smoothing = None,
    no_motion_correction: options.Still = False,
    frame_interval: options.FrameInterval = None,
    echo_time: options.EchoTime = None,
    b_value: options.BValue = None,
    modality: options.ModalityOption = None,
    resample: options.Resample = False,
    series: options.SeriesNumbers = None,
    case: options.CaseName = None,
    age: Annotated[
        float | None,
        typer.Option("--age", min=0, max=120, help="Years: for the DAWN criteria, and for a network that sees it."),
    ] = None,
    nihss: Annotated[
        float | None,
        typer.Option("--nihss", min=0, max=42, help="For the DAWN criteria, and for a network that sees it."),
    ] = None,
    sex: Annotated[Sex | None, typer.Option("--sex", help="For a network that sees it.")] = None,
    device: options.Device = "auto",
    case_id: Annotated[
        str | None, typer.Option("--id", help="What to call the case; else its BIDS or ISLES name.")
    ] = None,
    bids: Annotated[bool, typer.Option("--bids", help="Name the files as a BIDS derivative.")] = False,
    overwrite: options.Overwrite = False,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Segment one study: core and penumbra (or the lesion), volumes, mismatch, and a page to look at.

    OUT gets segmentation.nii.gz, maps/, result.json, overlay.png and report.html. Research use only.
    """
    from strokelens.cohorts.folder import RESULT, check_out
    from strokelens.perfusion.thresholds import rule_named
    from strokelens.prediction.segmenting import SegmentSettings
    from strokelens.report.delivery import deliver
    from strokelens.report.result import result_text

    loudness(verbose=verbose, quiet=quiet)
    model = _model(method, rule, device)
    check_out(out, marker=RESULT, overwrite=overwrite, source=study)
    settings = SegmentSettings(
        rule=rule_named(rule.value) if rule else None,
        maps=options.map_settings(deconvolution, smoothing, no_motion_correction),
        age_years=age,
        nihss=nihss,
        sex=sex.value if sex else None,
    )
    told = options.reading(
        frame_interval=frame_interval,
        echo_time=echo_time,
        modality=modality,
        b_value=b_value,
        resample=resample,
        case_id=case_id,
        series=series,
    )
    with steps(f"segmenting {study.name}") as done:
        finding = (_by_threshold if model is None else model)(_Study(study, told, case), settings, done)
        result = deliver(finding, out, overwrite=overwrite, bids=bids)
    if json:
        typer.echo(result_text(result), nl=False)
    else:
        _tell(finding, out)


@dataclass(frozen=True)
class _Study:
    """What is to be segmented: a path, what the user tells of it, and the name of a case."""

    path: Path
    told: "Reading"
    name: str | None


def _by_threshold(study: _Study, settings: "SegmentSettings", done: "Progress") -> "Finding":
    from strokelens.cohorts.choosing import read_case
    from strokelens.prediction.segmenting import segment as segment_case

    case = read_case(study.path, study.told, name=study.name)
    done("reading")
    return segment_case(case, settings, done)


def _model(
    method: str, rule: Rule | None, device: str
) -> "Callable[[_Study, SegmentSettings, Progress], Finding] | None":
    """What segments by the model that a method names; None where it names none."""
    from strokelens.errors import RuleError

    if method in ("auto", "threshold"):
        return None
    if not os.path.exists(method):
        raise RuleError(f"no method {method[:80]!r}; give auto, threshold, or the folder of a model that is there")
    if rule is not None:
        raise RuleError(f"--rule {rule.value} is for thresholds, and {Path(method).name} is a network; leave one out")
    from strokelens.model import load_model, members, weights_sha256
    from strokelens.networks.devices import device_named
    from strokelens.prediction.networks import computing

    paths = members(Path(method))
    with computing():
        models = [load_model(path).on(device_named(device)) for path in paths]
    return partial(_by_models, models, [weights_sha256(path) for path in paths])


def _by_models(
    models: "list[Model]", sha256: list[str], study: _Study, settings: "SegmentSettings", done: "Progress"
) -> "Finding":
    from strokelens.cohorts.choosing import find_case, read_case, read_entry
    from strokelens.cohorts.cohort import Entry
    from strokelens.cohorts.slice_reader import read_pictures
    from strokelens.prediction.by_model import segment_with
    from strokelens.prediction.samples import colours_are_there

    found = find_case(study.path, study.told, name=study.name)
    if isinstance(found, Entry):
        case = read_entry(found, study.told)
        seen = colours_are_there(found, models[0].recipe)
        colours = read_pictures(found, channels=models[0].recipe.maps).channels if seen else None
    else:
        case, colours = read_case(study.path, study.told), None
    done("reading")
    case = settings.told_of(case)
    return segment_with(models, case, colours=colours, maps=settings.maps, weights_sha256=sha256, progress=done)


def _tell(finding: "Finding", out: Path) -> None:
    from strokelens.flags import RESEARCH_USE

    volumes = ", ".join(f"{name} {volume:.1f} ml" for name, volume in finding.volumes_ml.items())
    say(f"{finding.case_id}: {volumes}")
    for flag in finding.flags:
        say(f"{'WARNING' if flag.grave else 'note'}: {flag.message}")
    say(f"{out / 'report.html'}  {RESEARCH_USE}")
