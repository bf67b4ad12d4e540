"""`strokelens phantom`: simulated patients with known truth, one by one or as a cohort."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from enum import StrEnum
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strokelens.cli import options
from strokelens.cli.progress import counted, loudness, say

if TYPE_CHECKING:
    from strokelens.phantom.groups import Shares
    from strokelens.phantom.kinds import Kind
    from strokelens.phantom.scanner import Protocol


_OPTION = {"tests": "test-cases", "interval_s": "frame-interval", "noise_hu": "noise"}


class Layout(StrEnum):
    """How the cohort lies on disk."""

    PATIENTS = "patients"
    CTP_SLICES = "ctp_slices"
    ISLES2017 = "isles2017"
    BIDS = "bids"
    DICOM = "dicom"
    DIFFGEN = "diffgen"


class Textures(StrEnum):
    """Whether the parameters of diffgen are the same for each sample."""

    FIXED = "fixed"
    RANDOM = "random"


class Labelled(StrEnum):
    """What diffgen labels."""

    SHARED = "shared"
    UNION = "union"
    FIRST = "first"


class Group(StrEnum):
    """What ails the patients."""

    MIXED = "mixed"
    LVO = "LVO"
    NON_LVO = "Non-LVO"
    WIS = "WIS"


def phantom(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder that gets the cohort.")],
    layout: Annotated[
        Layout, typer.Option("--layout", help="A folder for each patient, or a cohort in a layout of the field.")
    ] = Layout.PATIENTS,
    cases: Annotated[int, typer.Option("--cases", min=1, max=10_000, metavar="N", help="How many patients.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The first patient's seed; the next ones count up.")] = 0,
    group: Annotated[
        Group, typer.Option("--group", help="LVO, Non-LVO, WIS (no stroke), or a mixture.", case_sensitive=False)
    ] = Group.MIXED,
    groups: Annotated[
        str | None, typer.Option("--groups", metavar="LVO:NON-LVO:WIS", help="A mixture in shares, as in 77:60:15.")
    ] = None,
    modality: Annotated[
        options.Modality | None, typer.Option("--modality", help="CT perfusion or DSC-MR; else what the layout has.")
    ] = None,
    matrix: Annotated[int | None, typer.Option("--matrix", min=16, max=1024, help="Voxels across.")] = None,
    slices: Annotated[int | None, typer.Option("--slices", min=1, max=64, help="How many slices.")] = None,
    frames: Annotated[int | None, typer.Option("--frames", min=2, max=500, help="How many frames.")] = None,
    interval: Annotated[
        float | None,
        typer.Option("--frame-interval", min=0.1, max=60.0, metavar="SECONDS", help="Time between frames."),
    ] = None,
    noise: Annotated[
        float | None, typer.Option("--noise", min=0.0, max=100.0, metavar="HU", help="CT: standard deviation.")
    ] = None,
    vary: Annotated[
        bool,
        typer.Option("--vary", help="Let timing and noise differ from patient to patient; isles2017: the grid too."),
    ] = False,
    tests: Annotated[
        int, typer.Option("--test-cases", min=0, metavar="N", help="isles2017: so many of the cases have no truth.")
    ] = 0,
    textures: Annotated[Textures | None, typer.Option("--textures", help="diffgen: parameters; else fixed.")] = None,
    labelled: Annotated[
        Labelled | None,
        typer.Option(
            "--labelled", help="diffgen: one lesion in all channels; one in each; of these the first only. Else shared."
        ),
    ] = None,
    workers: options.Workers = None,
    overwrite: options.Overwrite = False,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Simulate patients: a perfusion series or maps, core and penumbra or the infarct, and clinical values.

    OUT gets a folder sim-SEED for each patient, or with --layout a cohort as the field lays it out. The same seed gives
    the same bytes. Simulated patients are no evidence about real ones. Research use only; not a medical device.
    """
    from strokelens.errors import CohortError
    from strokelens.flags import RESEARCH_USE

    loudness(verbose=verbose, quiet=quiet)
    given = {"matrix": matrix, "slices": slices, "frames": frames, "interval_s": interval, "noise_hu": noise}
    scan = {name: value for name, value in given.items() if value is not None}
    shares = _shares(group, groups)
    seeds = range(seed, seed + cases)
    if layout is not Layout.ISLES2017:
        _only_for(layout, tests=tests)
    if layout is not Layout.DIFFGEN:
        _only_for(layout, textures=textures, labelled=labelled)
    if layout is Layout.PATIENTS:
        _only_for(layout, workers=workers)
        protocol = _protocol(modality or options.Modality.CT, scan)
        records = _patients(out, seeds, protocol, shares, vary=vary, overwrite=overwrite)
    else:
        if tests > cases:
            raise CohortError(f"--test-cases {tests} are more than the --cases {cases}; ask for more cases")
        recipe = (textures or Textures.FIXED, labelled or Labelled.SHARED)
        kind = _kind(layout, modality, scan, vary=vary, tests=tests, recipe=recipe)
        records = _cohort(out, kind, seeds, shares, workers=workers, overwrite=overwrite)
    failed = _told(records, cases, as_json=json)
    if not json:
        say(f"{out}: {cases - failed} simulated {'patient' if cases - failed == 1 else 'patients'}. {RESEARCH_USE}")
    if failed:
        raise typer.Exit(1)


def _told(records: Generator[dict[str, object], None, None], cases: int, *, as_json: bool) -> int:
    """Tell of each case as it is there; how many could not be made."""
    from strokelens.errors import CohortError

    failures = []
    with closing(records):
        for told in counted("simulating", records, total=cases):
            if "failure" in told:
                failures.append(str(told["failure"]))
                typer.echo(f"strokelens: {told['name']}: {told['failure']}", err=True)
            elif as_json:
                typer.echo(dumps(told))
            else:
                say(_line(told))
    if len(failures) == cases:
        raise CohortError(f"no case could be made: {failures[0]}")
    return len(failures)


def _patients(
    out: Path, seeds: range, protocol: "Protocol", shares: "Shares | None", *, vary: bool, overwrite: bool
) -> Generator[dict[str, object], None, None]:
    """Make a folder for each patient; what patient.json says of it."""
    from strokelens.cohorts.folder import PATIENT, check_out, new_folder
    from strokelens.phantom.cohort import protocol_of, record, write_patient
    from strokelens.phantom.groups import group_in, group_of
    from strokelens.phantom.patient import simulate

    for number in seeds:
        check_out(out / f"sim-{number}", marker=PATIENT, overwrite=overwrite)
    for number in seeds:
        ails = group_of(number) if shares is None else group_in(number, shares)
        patient = simulate(number, protocol=protocol_of(number, protocol) if vary else protocol, group=ails)
        with new_folder(out / patient.case.id, marker=PATIENT, overwrite=overwrite) as folder:
            write_patient(folder, patient)
        yield record(patient)


def _cohort(
    out: Path, kind: "Kind", seeds: range, shares: "Shares | None", *, workers: int | None, overwrite: bool
) -> Generator[dict[str, object], None, None]:
    """Make a cohort; what phantom.json says of each case."""
    from strokelens.phantom.batch import Plan, write_cohort

    plan = Plan(kind, len(seeds), seeds.start, kind.shares if shares is None else shares)
    with closing(write_cohort(out, plan, workers=workers, overwrite=overwrite)) as made:
        for each in made:
            yield each.record


def _shares(group: Group, groups: str | None) -> "Shares | None":
    """The shares asked for; None where they are left to the layout."""
    from strokelens.errors import CohortError
    from strokelens.phantom.groups import GROUP_SHARES, shares_of

    if groups is not None:
        if group is not Group.MIXED:
            raise CohortError(f"--group {group.value} and --groups {groups} exclude each other; leave one out")
        return shares_of(groups)
    return None if group is Group.MIXED else {name: int(name == group.value) for name in GROUP_SHARES}


def _kind(
    layout: Layout,
    modality: options.Modality | None,
    scan: dict[str, float],
    *,
    vary: bool,
    tests: int,
    recipe: tuple[Textures, Labelled],
) -> "Kind":
    from strokelens.errors import CohortError
    from strokelens.phantom.diffgen import Recipe
    from strokelens.phantom.kinds import GRIDS, BidsSeries, DicomSeries, Diffgen, Isles, Slices

    if layout is Layout.DIFFGEN:
        side, depth = int(scan.pop("matrix", 192)), int(scan.pop("slices", 19))
        _only_for(layout, **scan, vary=vary, modality=modality)
        if depth == 2:
            raise CohortError(f"--slices {depth}: none is in the middle, where the lesion lies; take 1, or 3 and more")
        textures, labelled = recipe
        return Diffgen(Recipe(textures.value, labelled.value), (side, side, depth))
    if layout in (Layout.BIDS, Layout.DICOM):
        series = BidsSeries if layout is Layout.BIDS else DicomSeries
        return series(_protocol(modality or options.Modality.CT, scan), vary)
    grids = GRIDS if vary and not {"matrix", "slices"} & scan.keys() else ()
    kind: Slices | Isles = (
        Slices(vary=vary) if layout is Layout.CTP_SLICES else Isles(vary=vary, tests=tests, grids=grids)
    )
    own = options.Modality.CT if layout is Layout.CTP_SLICES else options.Modality.MR
    _only_for(layout, modality=None if modality is own else modality)
    return replace(kind, protocol=replace(kind.protocol, **_in_scan(own, scan)))


def _only_for(layout: Layout, **given: object) -> None:
    """Refuse options that a layout has no use for."""
    from strokelens.errors import CohortError

    for name, value in given.items():
        if value:
            shown = f"--{_OPTION.get(name, name)}" + ("" if value is True else f" {value}")
            raise CohortError(f"--layout {layout.value} has no use for {shown}; leave it out")


def _protocol(modality: options.Modality, scan: dict[str, float]) -> "Protocol":
    from strokelens.phantom.scanner import CtProtocol, DscProtocol

    kind = CtProtocol if modality is options.Modality.CT else DscProtocol
    return kind(**_in_scan(modality, scan))


def _in_scan(modality: options.Modality, scan: dict[str, float]) -> dict[str, Any]:
    """What the user wants of the scan; MR has no noise in HU."""
    from strokelens.errors import SeriesError

    if "noise_hu" in scan and modality is options.Modality.MR:
        raise SeriesError(f"--noise {scan['noise_hu']:g} is in HU, and MR has none; leave it out with --modality MR")
    return dict(scan)


def _line(told: dict[str, object]) -> str:
    """One line on a case, with the volume of each class of its truth."""
    volumes, row = told["volumes_ml"], told.get("row", told)
    assert isinstance(volumes, dict)
    assert isinstance(row, dict)
    names = [name for name in volumes if name != "hypoperfused"]
    marked = ", ".join(f"{name} {volumes[name]:.1f} ml" for name in names)
    return ": ".join([str(told.get("name", told.get("id"))), ", ".join(filter(None, (row["group"], marked)))])
