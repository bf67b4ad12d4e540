"""Options that several verbs share, and what they become."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from strokelens.cohorts.cohort import Cohort, Entry
    from strokelens.cohorts.nifti import Reading
    from strokelens.perfusion.maps import MapSettings


class Modality(StrEnum):
    """What a 4D series is."""

    CT = "CT"
    MR = "MR"


class DeconvolutionName(StrEnum):
    """How curves are deconvolved."""

    BCSVD = "bcsvd"
    OSVD = "osvd"
    SSVD = "ssvd"
    TIKHONOV = "tikhonov"


PUBLISHED = "stavanger"
"""What --split calls the published split, which ships with the package."""

Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write; made whole or not at all.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if strokelens wrote it.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell of every step, on standard error.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Tell of errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
FrameInterval = Annotated[
    float | None, typer.Option("--frame-interval", min=0.1, max=60.0, metavar="SECONDS", help="Time between frames.")
]
EchoTime = Annotated[float | None, typer.Option("--echo-time", min=1e-4, metavar="SECONDS", help="TE of a PWI series.")]
BValue = Annotated[
    float | None, typer.Option("--b-value", min=50.0, max=20_000.0, metavar="S/MM2", help="b of the DWI.")
]
ModalityOption = Annotated[
    Modality | None, typer.Option("--modality", help="What a 4D series is, if its file does not say.")
]
Resample = Annotated[bool, typer.Option("--resample", help="Bring channels on different grids onto the first one's.")]
Deconvolution = Annotated[DeconvolutionName, typer.Option("--deconvolution", help="How curves become maps.")]
Smoothing = Annotated[
    float | None,
    typer.Option(
        "--smoothing", min=0.0, max=10.0, metavar="MM", help="Blur within the brain; else it follows the noise."
    ),
]
SeriesNumbers = Annotated[
    list[int] | None,
    typer.Option(
        "--series", min=0, metavar="NUMBER", help="A DICOM series to read; again for more; else strokelens chooses."
    ),
]
CaseName = Annotated[
    str | None,
    typer.Option("--case", metavar="NAME", help="Which case, where the input is a cohort: its name by `inspect`."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, metavar="N", help="Cases side by side; else one a core.")
]
LayoutName = Annotated[
    str | None, typer.Option("--layout", metavar="NAME", help="How COHORT is laid out, if that is not recognised.")
]
SplitFile = Annotated[
    str | None,
    typer.Option("--split", metavar="FILE", help="A split of COHORT, of which --part is taken; or stavanger."),
]
Part = Annotated[
    str | None, typer.Option("--part", metavar="NAME", help="The part of --split: train, validation or test.")
]
Still = Annotated[bool, typer.Option("--no-motion-correction", help="Take the frames as they lie.")]

Change = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, as in training.batch=8; repeatable."),
]
Devices = Annotated[
    str, typer.Option("--devices", metavar="WHICH", help="auto, cpu, cpu:2 for two processes, or ids of GPUs: 0,1.")
]
Device = Annotated[
    str, typer.Option("--device", metavar="WHICH", help="auto: the first GPU, else cpu; cpu; or the number of a GPU.")
]
Data = Annotated[Path, typer.Option("--data", metavar="COHORT", help="A cohort with truth, of any layout.")]
TrainedSplit = Annotated[
    str | None,
    typer.Option("--split", metavar="FILE", help="A split of COHORT, or stavanger; else as settings say."),
]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", metavar="FOLDER", help="Where prepared cases are kept, for several runs; else in RUN."),
]

Pretrained = Annotated[
    str | None,
    typer.Option("--pretrained", metavar="WEIGHTS", help="imagenet, a file, or none; else as settings say."),
]


def reading(
    *,
    frame_interval: float | None,
    echo_time: float | None,
    modality: Modality | None,
    b_value: float | None = None,
    resample: bool = False,
    case_id: str | None = None,
    series: list[int] | None = None,
) -> "Reading":
    """What the user tells the reader."""
    from strokelens.cohorts.nifti import Reading

    return Reading(
        frame_interval_s=frame_interval,
        echo_time_s=echo_time,
        b_value_s_per_mm2=b_value,
        modality=modality.value if modality else None,
        resample=resample,
        case_id=case_id,
        series=tuple(series or ()),
    )


def map_settings(deconvolution: DeconvolutionName, smoothing: float | None, still: bool) -> "MapSettings":
    """How the user wants maps to be made."""
    from strokelens.perfusion.deconvolve import METHODS
    from strokelens.perfusion.maps import MapSettings

    return MapSettings(deconvolution=METHODS[deconvolution.value], smoothing_mm=smoothing, still=still)


def part_of(cohort: "Cohort", split: str | None, part: str | None) -> "tuple[tuple[Entry, ...], str]":
    """The cases that are asked for, and which part of which split these are; all of them without one."""
    from strokelens.cohorts.splits import cases_of, published_split, read_split
    from strokelens.errors import CohortError

    if split is None and part is None:
        return tuple(cohort), ""
    if split is None or part is None:
        raise CohortError(
            f"{'--part' if split else '--split'} is missing; give both, as --split split.json --part test"
        )
    drawn = published_split() if split == PUBLISHED and not Path(split).exists() else read_split(Path(split))
    return cases_of(drawn, part, cohort), f"{part} of {Path(split).name}, {drawn.sha256[:12]}"


def changes(told: list[str] | None, *, split: str | None, pretrained: str | None) -> list[str]:
    """What the user changes in settings, as `settings.changing` takes it."""
    from json import dumps

    asked = list(told or ())
    asked += [] if split is None else [f"split.file={dumps(split)}"]
    asked += [] if pretrained is None else [f"network.pretrained={dumps(None if pretrained == 'none' else pretrained)}"]
    return asked
