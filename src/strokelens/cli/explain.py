"""`strokelens explain`: which voxels of which map made a network say what it said."""

import logging
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import counted, loudness, say, steps

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool

    from strokelens.cohorts.cohort import Entry
    from strokelens.explain.composites import Composite
    from strokelens.explain.filters import Filter
    from strokelens.explanation.case import Explained
    from strokelens.explanation.question import Question, Reference
    from strokelens.grid import Grid
    from strokelens.prediction.batch import Plan
    from strokelens.prediction.samples import Seen
    from strokelens.prepare import Recipe


class ReferenceName(StrEnum):
    """What a map's values are seen against."""

    HEALTHY = "healthy"
    OPPOSITE = "opposite"
    ZERO = "zero"


logger = logging.getLogger(__name__)

_ONE_OF_MANY = "components"
"""The target that is several."""

_NEEDS = {
    "--methods": "names those of --compare",
    "--beside": "is of --sweep",
    "--keep": "is of --sweep",
    "--everywhere": "is about --filter, or --sweep",
    "--split": "parts a cohort for --sweep or --compare",
    "--part": "is of a cohort for --sweep or --compare",
    "--layout": "is of a cohort for --sweep or --compare",
    "--case": "names one case, and --sweep and --compare take all",
    "--filter": "filters one map, and --compare has methods",
    "--composite": "is one method, and --compare takes those of --methods",
    "--tile": "is not of the ancestor's rules",
    "--seed": "is of what --sweep and --compare draw",
    "--reference": "is of composites with a rule that has one, as stroke has",
}
"""What some options are about, and why they can do nothing."""


def explain(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The folder of a model, or of the run that made it.")],
    case: Annotated[
        Path, typer.Argument(metavar="CASE", help="A study; or a cohort with --case, --sweep or --compare.")
    ],
    out: options.Out,
    name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="The class to explain; the gravest, if not told.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="NAME", help="What makes it --class rather than this one.")
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="WHERE",
            help="prediction, truth, missed, false, components, volume, output; a mask; or a voxel, as 80,96,10.",
        ),
    ] = "prediction",
    composite: Annotated[
        str, typer.Option("--composite", metavar="NAME", help="Which rule where: by name, or in a JSON file.")
    ] = "stroke",
    reference: Annotated[
        ReferenceName, typer.Option("--reference", help="What values are seen against by the first layer.")
    ] = ReferenceName.HEALTHY,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="WORD", help="raw, standard, pass:0:0.4, clamp:0:0.2, …; repeatable."),
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Filter relevance at every layer, not only the final map.")
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile", metavar="ROWS", min=1, help="Rows of a layer at a time, in place of as many as is fast."
        ),
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="The ancestor's 16 filters for every case of a cohort; goes on if stopped.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="A table of methods over the cases of a cohort; goes on if stopped.")
    ] = False,
    methods: Annotated[
        str | None, typer.Option("--methods", metavar="NAMES", help="Of --compare, parted by commas; all if not told.")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="ID", help="A case whose maps --sweep keeps, or all; repeatable."),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option("--beside", metavar="FOLDER", help="Another sweep, for figures of both; repeatable."),
    ] = None,
    one: options.CaseName = None,
    layout: options.LayoutName = None,
    split: options.SplitFile = None,
    part: options.Part = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what --compare draws.")] = 0,
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Explain what a network found: relevance of each voxel of each map, what it is worth, pictures and a page.

    OUT gets relevance_MAP.nii.gz, explanation.png, report.html and explanation.json. Exit code 1 if a case of a cohort
    could not be done; the others are. Research use only; not a medical device.
    """
    from strokelens.cohorts.folder import check_apart
    from strokelens.errors import RelevanceError
    from strokelens.prediction.batch import Plan

    loudness(verbose=verbose, quiet=quiet)
    for source in (model, case):
        check_apart(out, source)
    if sweep and compare:
        raise RelevanceError("--sweep and --compare are two tables; ask for one after the other")
    many = sweep or compare
    question = _question(name, against, target, composite, reference.value, filters, everywhere=everywhere, tile=tile)
    idle: dict[str, object] = {
        "--methods": methods and not compare,
        "--beside": beside and not sweep,
        "--keep": keep and not sweep,
        "--everywhere": everywhere and not (filters or sweep),
        "--split": split and not many,
        "--part": part and not many,
        "--layout": layout and not many,
        "--case": one and many,
        "--filter": filters and compare,
        "--composite": composite != "stroke" and compare,
        "--seed": seed and not many,
        "--tile": tile and question.composite.ancestor is not None,
        "--reference": reference is not ReferenceName.HEALTHY and not compare and not question.refers,
    }
    told = next((option for option, idles in idle.items() if idles), None)
    if told is not None:
        raise RelevanceError(f"{told} {_NEEDS[told]}, so that it would do nothing here; leave it out")
    if not many:
        _one(model, case, out, question, one, device=device, overwrite=overwrite, json=json)
        return
    from strokelens.cohorts.layouts import open_cohort

    _check_target(question.target)
    opened = open_cohort(case, layout)
    entries, what = options.part_of(opened, split, part)
    plan = Plan.of([model], device=device)
    _cohort(
        plan,
        entries,
        out,
        question,
        _Batch(sweep, methods, tuple(keep or ()), tuple(beside or ()), seed, what, overwrite, json),
    )


def _check_target(target: str) -> None:
    """Refuse, for a cohort, places of one case, and what is several targets."""
    from strokelens.errors import RelevanceError, hint
    from strokelens.explanation.question import TARGETS

    known = [each for each in TARGETS if each != _ONE_OF_MANY]
    if target not in known:
        raise RelevanceError(f"no target of a whole cohort is called {target!r}; {hint(target, known)}")


def _question(
    name: str | None,
    against: str | None,
    target: str,
    composite: str,
    reference: "Reference",
    filters: list[str] | None,
    *,
    everywhere: bool,
    tile: int | None,
) -> "Question":
    """What is asked, in our terms."""
    from strokelens.errors import RelevanceError
    from strokelens.explain.filters import Raw, filter_named
    from strokelens.explanation.question import Question

    try:
        told: tuple[Filter, ...] = tuple(filter_named(word) for word in filters or ())
    except ValueError as error:
        raise RelevanceError(str(error)) from error
    if told and Raw() not in told:
        told = (Raw(), *told)  # what the others are seen beside
    return Question(
        name=name,
        against=against,
        target=target,
        composite=_composite(composite),
        reference=reference,
        filters=tuple(dict.fromkeys(told)),
        everywhere=everywhere,
        tile=tile,
    )


def _composite(told: str) -> "Composite":
    """A composite by name, or from a JSON file of places and rules."""
    from dataclasses import replace
    from json import loads

    from strokelens.errors import RelevanceError
    from strokelens.explain.composites import Composite

    path = Path(told)
    if not path.is_file() and path.suffix == ".json":
        raise RelevanceError(f"{path} is not there; give a JSON file of places and rules, or a composite's name")
    if not path.is_file():
        return Composite.of(told)
    try:
        rules = loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RelevanceError(f"{path} is no JSON ({error}); write places and rules") from error
    if not isinstance(rules, dict) or not all(isinstance(each, str) for each in rules.values()):
        raise RelevanceError(f"{path} has no places with rules; as {{'any': 'gamma:0.1'}}")
    try:
        return replace(Composite.of(rules), name=path.stem)
    except RelevanceError as error:
        raise RelevanceError(f"{path}: {error}") from error


def _one(
    model: Path,
    path: Path,
    out: Path,
    question: "Question",
    name: str | None,
    *,
    device: str,
    overwrite: bool,
    json: bool,
) -> None:
    """Explain one study."""
    from strokelens.cohorts.folder import check_out
    from strokelens.explanation.case import explain_case
    from strokelens.explanation.delivery import MARKER, deliver
    from strokelens.flags import RESEARCH_USE
    from strokelens.prediction.batch import Plan

    check_out(out, marker=MARKER, overwrite=overwrite)
    with steps(f"explaining {path.name}") as done:
        plan = Plan.of([model], device=device)
        seen = _seen(path, name, plan.models[0].recipe)
        done("reading")
        question, place = _placed(question, seen.sample.frame.grid)
        explained = explain_case(plan.models, seen, question, place=place)
        done("relevance")
        deliver(explained, out, sha256=plan.sha256, overwrite=overwrite)
    if json:
        typer.echo((out / MARKER).read_text(encoding="utf-8"), nl=False)
        return
    _tell(explained)
    say(f"{out / 'report.html'}  {RESEARCH_USE}")


def _seen(path: Path, name: str | None, recipe: "Recipe") -> "Seen":
    """A case as the network sees it."""
    from strokelens.cohorts.choosing import find_case, read_case
    from strokelens.cohorts.cohort import Entry
    from strokelens.cohorts.nifti import Reading
    from strokelens.prediction.samples import sample_of, seen

    found = find_case(path, Reading(), name=name)
    if isinstance(found, Entry):
        return sample_of(found, recipe)
    return seen(read_case(path, Reading()), recipe)


def _placed(question: "Question", grid: "Grid") -> "tuple[Question, Bool[np.ndarray, 'i j k'] | None]":
    """The voxels that a target names: those of a mask in a file, or one voxel."""
    from dataclasses import replace

    from strokelens.explanation.places import mask_of, voxel_of
    from strokelens.explanation.question import PLACE

    told = question.target
    if told.count(",") == 2:
        return replace(question, target=PLACE, place=f"voxel {told}"), voxel_of(told, grid)
    path = Path(told)
    if path.suffix in (".gz", ".nii", ".mha") or path.is_file():
        return replace(question, target=PLACE, place=path.name), mask_of(path, grid)
    return question, None


def _tell(explained: "Explained") -> None:
    """Which maps spoke for it, how much of it reached them, and what is doubtful."""
    from strokelens.explain.places import shares

    asked = explained.question.in_words(explained.models[0].scheme)
    names, many = explained.models[0].recipe.maps, len(explained.question.words)
    for number, target in enumerate(explained.targets):
        found = shares(explained.answer.maps[number * many]).positive
        told = sorted(zip(names, found, strict=True), key=lambda each: -each[1])
        which = f": {target.replace('_', ' ')}" if len(explained.targets) > 1 else ""
        say(f"{explained.case.id}: {asked}{which}: {', '.join(f'{name} {100 * each:.0f} %' for name, each in told)}")
    for flag in explained.flags:
        say(f"{'WARNING' if flag.grave else 'note'}: {flag.message}")


@dataclass(frozen=True)
class _Batch:
    """What is done with a cohort: a sweep, or a comparison of methods."""

    sweep: bool
    methods: str | None
    keep: tuple[str, ...]
    beside: tuple[Path, ...]
    seed: int
    part: str
    overwrite: bool
    json: bool


def _cohort(plan: "Plan", entries: "tuple[Entry, ...]", out: Path, question: "Question", batch: _Batch) -> None:
    """Every case, then the tables of all."""
    from strokelens.explanation import contest, sweep, tables
    from strokelens.explanation.cohort import begin_anew, recipe_of, worked
    from strokelens.explanation.methods import methods_named
    from strokelens.flags import RESEARCH_USE

    job: sweep.Sweep | contest.Contest
    if batch.sweep:
        job, marker = sweep.Sweep(plan.models, question, out, batch.keep, batch.seed), sweep.MARKER
    else:
        job, marker = contest.Contest(plan.models, question, methods_named(batch.methods), batch.seed), contest.MARKER
    if batch.overwrite:
        begin_anew(out, marker)
    recipe = recipe_of(plan, {**job.recipe, "part": batch.part})
    others = [sweep.Swept.read(path) for path in batch.beside]
    mine = [each for each in entries if not each.mirrored]
    strange = sorted(set(batch.keep) - {sweep.ALL, *(each.id for each in mine)})
    if strange:
        logger.warning("--keep: there is no case %s in what is swept", ", ".join(strange))
    cases = worked(mine, plan, job, out, recipe=recipe, marker=marker)
    done = list(counted(f"explaining {len(mine)} cases", cases, total=len(mine)))
    name = ", ".join(dict.fromkeys(model.name for model in plan.models))
    if isinstance(job, sweep.Sweep):
        swept = sweep.Swept.of(done, [str(each) for each in job.filters], size=job.size, seed=batch.seed)
        lead = tables.deliver_sweep(swept, out, recipe, model=name, beside=others)
    else:
        found = contest.Compared.of(done, list(job.methods), seed=batch.seed)
        lead = tables.deliver_comparison(found, out, recipe, model=name)
    if batch.json:
        typer.echo((out / marker).read_text(encoding="utf-8"), nl=False)
    else:
        for each in done:
            if each.failure is not None:
                say(f"{each.case_id}: {each.failure}")
        say(f"{out / 'tables.md'}: {lead} {RESEARCH_USE}")
    if any(each.failure is not None for each in done):
        raise typer.Exit(1)
