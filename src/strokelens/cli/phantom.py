"""`strokelens phantom`: simulated patients with known truth."""

from enum import StrEnum
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import counted, loudness, say

if TYPE_CHECKING:
    from strokelens.phantom.scanner import Protocol


class Group(StrEnum):
    """What ails the patients."""

    MIXED = "mixed"
    LVO = "LVO"
    NON_LVO = "Non-LVO"
    WIS = "WIS"


def phantom(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder that gets one folder for each patient.")],
    cases: Annotated[int, typer.Option("--cases", min=1, max=10_000, metavar="N", help="How many patients.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The first patient's seed; the next ones count up.")] = 0,
    group: Annotated[
        Group, typer.Option("--group", help="LVO, Non-LVO, WIS (no stroke), or a mixture.", case_sensitive=False)
    ] = Group.MIXED,
    modality: Annotated[options.Modality, typer.Option("--modality", help="CT perfusion or DSC-MR.")] = (
        options.Modality.CT
    ),
    matrix: Annotated[int | None, typer.Option("--matrix", min=16, max=1024, help="Voxels across.")] = None,
    slices: Annotated[int, typer.Option("--slices", min=1, max=64, help="Slices of 5 mm.")] = 16,
    frames: Annotated[int | None, typer.Option("--frames", min=2, max=500, help="How many frames.")] = None,
    interval: Annotated[
        float | None,
        typer.Option("--frame-interval", min=0.1, max=60.0, metavar="SECONDS", help="Time between frames."),
    ] = None,
    noise: Annotated[
        float | None, typer.Option("--noise", min=0.0, max=100.0, metavar="HU", help="CT: standard deviation.")
    ] = None,
    vary: Annotated[bool, typer.Option("--vary", help="Let timing and noise differ from patient to patient.")] = False,
    overwrite: options.Overwrite = False,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Simulate patients: a perfusion series, its core and penumbra, the true maps and clinical values.

    OUT gets a folder sim-SEED for each patient. The same seed gives the same bytes. Simulated patients are no evidence
    about real ones. Research use only; not a medical device.
    """
    from strokelens.cohorts.folder import PATIENT, check_out, new_folder
    from strokelens.flags import RESEARCH_USE
    from strokelens.phantom.cohort import GROUP_SHARES, group_of, protocol_of, record, write_patient
    from strokelens.phantom.patient import simulate

    loudness(verbose=verbose, quiet=quiet)
    base = _protocol(modality, matrix, slices, frames, interval, noise)
    seeds = range(seed, seed + cases)
    for number in seeds:
        check_out(out / f"sim-{number}", marker=PATIENT, overwrite=overwrite)
    for number in counted("simulating", seeds):
        ails = next((name for name in GROUP_SHARES if name == group.value), None) or group_of(number)
        patient = simulate(number, protocol=protocol_of(number, base) if vary else base, group=ails)
        with new_folder(out / patient.case.id, marker=PATIENT, overwrite=overwrite) as folder:
            write_patient(folder, patient)
        told = record(patient)
        if json:
            typer.echo(dumps(told))
        else:
            say(_line(told))
    if not json:
        say(f"{out}: {cases} simulated {'patient' if cases == 1 else 'patients'}. {RESEARCH_USE}")


def _protocol(
    modality: options.Modality,
    matrix: int | None,
    slices: int,
    frames: int | None,
    interval: float | None,
    noise: float | None,
) -> "Protocol":
    from strokelens.errors import SeriesError
    from strokelens.phantom.scanner import CtProtocol, DscProtocol

    kind = CtProtocol if modality is options.Modality.CT else DscProtocol
    if noise is not None and kind is DscProtocol:
        raise SeriesError(f"--noise {noise:g} is in HU, and MR has none; leave it out with --modality MR")
    given = {"matrix": matrix, "slices": slices, "frames": frames, "interval_s": interval, "noise_hu": noise}
    settings = {name: value for name, value in given.items() if value is not None}
    return kind(**settings)  # type: ignore[arg-type]


def _line(told: dict[str, object]) -> str:
    volumes = told["volumes_ml"]
    assert isinstance(volumes, dict)
    return f"{told['id']}: {told['group']}, penumbra {volumes['penumbra']:.1f} ml, core {volumes['core']:.1f} ml"
