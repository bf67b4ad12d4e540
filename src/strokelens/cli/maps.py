"""`strokelens maps`: a perfusion series to parametric maps."""

from pathlib import Path
from typing import Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import loudness, say, steps


def maps(
    series: Annotated[
        Path,
        typer.Argument(
            metavar="SERIES", help="A 4D CTP or DSC-MR series (NIfTI); a DICOM folder or zip; a case of a cohort."
        ),
    ],
    out: options.Out,
    deconvolution: options.Deconvolution = options.DeconvolutionName.BCSVD,
    smoothing: options.Smoothing = None,
    no_motion_correction: options.Still = False,
    frame_interval: options.FrameInterval = None,
    echo_time: options.EchoTime = None,
    modality: options.ModalityOption = None,
    resample: options.Resample = False,
    series_number: options.SeriesNumbers = None,
    case: options.CaseName = None,
    png: Annotated[bool, typer.Option("--png", help="Write each map as a colour-coded picture too.")] = False,
    overwrite: options.Overwrite = False,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Make CBF, CBV, MTT, TTP and Tmax of a perfusion series, with its arterial and venous curves.

    OUT gets maps/*.nii.gz, maps.json and curves.png. Research use only; not a medical device.
    """
    from strokelens.cohorts.choosing import read_case
    from strokelens.cohorts.folder import MAPS, check_out
    from strokelens.flags import RESEARCH_USE
    from strokelens.perfusion.maps import compute_maps

    loudness(verbose=verbose, quiet=quiet)
    check_out(out, marker=MAPS, overwrite=overwrite, source=series)
    told = options.reading(
        frame_interval=frame_interval,
        echo_time=echo_time,
        modality=modality,
        resample=resample,
        series=series_number,
    )
    settings = options.map_settings(deconvolution, smoothing, no_motion_correction)
    with steps(f"making maps of {series.name}") as done:
        read = read_case(series, told, name=case)
        done("reading")
        perfusion = compute_maps(read, settings, done)
        from strokelens.report.delivery import deliver_maps  # drawing takes 40 MB that the maps may need
        from strokelens.report.result import result_text

        result = deliver_maps(read, perfusion, settings, out, overwrite=overwrite, png=png)
    if json:
        typer.echo(result_text(result), nl=False)
        return
    for flag in perfusion.flags:
        say(f"{'WARNING' if flag.grave else 'note'}: {flag.message}")
    say(f"{out}: {', '.join(perfusion.maps)}  {RESEARCH_USE}")
