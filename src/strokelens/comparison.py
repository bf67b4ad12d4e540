"""Several settings on one cohort, from training to one table: what networks find, and what thresholds find.

Every setting is trained on the same part of the split, predicts the parts that are asked for, and is a row of the
tables; threshold rules on the same maps are rows above. The folder may be gone on with at any time.
"""

import json
import logging
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from strokelens import __version__
from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.digest import digest_of
from strokelens.cohorts.encode import write_segmentation
from strokelens.cohorts.folder import check_apart, new_folder, refusals
from strokelens.cohorts.predictions import Predictions, find_predictions
from strokelens.cohorts.splits import TEST, Split, cases_of
from strokelens.errors import CohortError, OutputError, SettingsError, StrokelensError
from strokelens.evaluation.delivery import MARKER, deliver
from strokelens.evaluation.results import Evaluation
from strokelens.evaluation.scoring import Plan as Scoring
from strokelens.evaluation.scoring import cases as scores
from strokelens.evaluation.scoring import collected
from strokelens.perfusion.thresholds import Rule
from strokelens.prediction.batch import Plan, predict_cohort
from strokelens.prediction.done import Done, earlier
from strokelens.prediction.networks import PLAIN, How
from strokelens.prediction.outputs import NOTHING_ELSE, Outputs
from strokelens.prediction.segmenting import SegmentSettings, segment
from strokelens.processes import how_many, in_order
from strokelens.settings.schema import Settings
from strokelens.training.course import Trained, train
from strokelens.training.machine import Machine
from strokelens.training.parts import check_maps, split_of
from strokelens.training.run import is_leader

TABLES: Final = "tables"
"""The folder of the evaluation; `runs` and `predictions` are beside it, with a folder for each setting."""

_OURS = (TABLES, "runs", "predictions", "rules", "prepared", "few.json")
"""What a comparison, or the first ancestor's command, writes; a name with a dot first is left of a killed one."""

_MARK, _MASK = "segmentation.json", "segmentation.nii.gz"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is compared on which cohort, in the folder `out`.

    `parts` are the parts of the split that are predicted and scored. At birth raises `SettingsError` when two have one
    name, patients would not be the same, a map is lacking, or the machine cannot compute one of them, and `OutputError`
    when `out` is somebody else's.
    """

    settings: Sequence[Settings]
    cohort: Cohort
    out: Path
    rules: Sequence[Rule] = ()
    parts: tuple[str, ...] = (TEST,)
    how: How = PLAIN
    outputs: Outputs = NOTHING_ELSE
    machine: Machine | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        names = [each.name for each in self.settings] + [f"rule {rule.name}" for rule in self.rules]
        twice = next((name for name in names if names.count(name) > 1), None)
        if not self.settings:
            raise SettingsError("nothing is compared; give a setting")
        if twice is not None:
            raise SettingsError(f"two settings are called {twice!r}; give each a name of its own")
        splits = {(each.split, each.split.file or each.training.seed) for each in self.settings}
        if len(splits) > 1:
            raise SettingsError(
                "the settings have different splits or seeds, and networks are compared on the same patients; "
                "give one to all, as --split split.json or --set training.seed=2"
            )
        for each in self.settings:
            (self.machine or Machine()).check(each)
            check_maps(each, self.cohort)
        self._check_out()

    def _check_out(self) -> None:
        """Raise `OutputError` unless the folder is apart from the cohort, and new, empty or that of a comparison."""
        check_apart(self.out, self.cohort.folder)
        with refusals(self.out, self.out):
            there = sorted(each.name for each in self.out.iterdir()) if self.out.is_dir() else []
        found = next((name for name in there if name not in _OURS and not name.startswith(".")), None)
        if found is not None:
            raise OutputError(f"{self.out} holds {found}, which is of no comparison; give a new or an empty folder")

    @property
    def drawn(self) -> Split:
        """Who trains, validates and is asked at the end: the same for all settings."""
        return split_of(self.settings[0], self.cohort)


def compare(comparison: Comparison, told: Callable[[str], None] = lambda _: None) -> Evaluation | None:
    """Train, predict and score all that is compared; the tables are in `out/tables`.

    What was trained or predicted before by the same settings is kept. None in a process that only helps to train.
    Raises what training raises; a case that a network or rule cannot do is a row that says so.
    """
    drawn = comparison.drawn
    entries = [entry for part in comparison.parts for entry in cases_of(drawn, part, comparison.cohort)]
    entries = [entry for entry in entries if not entry.mirrored]
    if not entries:
        parts = " and ".join(comparison.parts)
        raise CohortError(f"nobody of {comparison.cohort.folder} is in the part {parts}; give a split with some")
    folders = _by_rules(comparison, entries, told) if is_leader() else {}
    names = {settings.name: _trained(comparison, settings, told).model.name for settings in comparison.settings}
    if not is_leader():
        return None
    folders |= {names[each.name]: _predicted(comparison, each.name, entries, told) for each in comparison.settings}
    found = [found_in(folder, comparison.cohort, name) for name, folder in folders.items()]
    part = f"{' and '.join(comparison.parts)} of a split, {drawn.sha256[:12]}"
    evaluation = scored(found, entries, comparison.workers, part, told)
    deliver(evaluation, comparison.out / TABLES, overwrite=(comparison.out / TABLES / MARKER).is_file())
    return evaluation


def _trained(comparison: Comparison, settings: Settings, told: Callable[[str], None]) -> Trained:
    """Train one setting, or go on with it; what cannot be used is warned of."""
    trained = train(
        settings,
        comparison.cohort,
        comparison.out / "runs" / settings.name,
        machine=comparison.machine,
        cache=comparison.out / "prepared",
        workers=comparison.workers,
        resume=True,
        told=lambda line: told(f"{settings.name}: {line}"),
    )
    for case in trained.refused:
        logger.warning("%s: %s is not used: %s", settings.name, case.case_id, case.message)
    return trained


def _predicted(comparison: Comparison, name: str, entries: Sequence[Entry], told: Callable[[str], None]) -> Path:
    """Let a trained setting predict, and warn of what it cannot; the folder of its predictions."""
    out = comparison.out / "predictions" / name
    plan = Plan.of(
        [comparison.out / "runs" / name], comparison.how, comparison.outputs, device=place_of(comparison.machine)
    )
    predict_all(entries, plan, out, name=name, part=" and ".join(comparison.parts), told=told)
    return out


def predict_all(
    entries: Sequence[Entry], plan: Plan, out: Path, *, name: str, part: str = "", told: Callable[[str], None]
) -> list[Done]:
    """Predict cases into a folder, where what is there of the same models is kept; what cannot be is warned of.

    What another version or training predicted there begins anew.
    """
    every = list[Done]()
    with closing(predict_cohort(entries, plan, out, part=part, overwrite=_is_outdated(out, plan))) as cases:
        for done in cases:
            every.append(done)
            if done.failure is not None:
                logger.warning("%s: %s is not predicted: %s", name, done.case_id, done.failure)
            told(f"{name}: {len(every)} of {len(entries)} cases predicted")
    return every


def _is_outdated(out: Path, plan: Plan) -> bool:
    """Whether another version or training predicted what is there, which is ours: it begins anew."""
    try:
        earlier(out, plan.recipe, overwrite=False)
    except OutputError:
        return True
    return False


def place_of(machine: Machine | None) -> str:
    """Where a trained setting is asked: on the first of the devices that trained it."""
    told = machine or Machine()
    if told.kind != "gpu":
        return told.kind
    return str(told.devices[0]) if isinstance(told.devices, tuple) else "0"


def found_in(folder: Path, cohort: Iterable[Entry], name: str) -> Predictions:
    """The predictions in a folder; none where no case could be done, which is a row for each."""
    try:
        return find_predictions(folder, cohort, name=name)
    except CohortError:
        return Predictions(name, folder, {})


@dataclass(frozen=True, eq=False)
class _Job:
    """A case, the rules that judge it, each with the key of what it makes of the case, and where."""

    entry: Entry
    rules: tuple[tuple[Rule, str], ...]
    out: Path


def _by_rules(comparison: Comparison, entries: Sequence[Entry], told: Callable[[str], None]) -> dict[str, Path]:
    """What thresholds find in the same maps: each rule's folder by its name; rules without any case are left out."""
    out, failures = comparison.out / "rules", defaultdict[str, list[str]](list)
    jobs = [_Job(entry, lacking, out) for entry in entries if (lacking := _lacking(comparison.rules, entry, out))]
    with closing(in_order(_judged, jobs, workers=how_many(comparison.workers, len(jobs)))) as done:
        for number, (_, judged) in enumerate(done, start=1):
            for rule, failure in judged.result().items():
                failures[rule].append(failure)
            told(f"rules: {number} of {len(jobs)} cases judged")
    for rule, each in failures.items():
        what = f"{len(each)} of {len(entries)} cases not judged" if (out / rule).is_dir() else "left out"
        logger.warning("rule %s: %s: %s", rule, what, each[0])
    folders = {f"rule {rule.name}": out / rule.name for rule in comparison.rules}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def _lacking(rules: Iterable[Rule], entry: Entry, out: Path) -> tuple[tuple[Rule, str], ...]:
    """The rules that have not judged the case as it is now, nor by limits as they are now, each with its key."""
    keyed = [(rule, _key_of(rule, entry)) for rule in rules]
    return tuple((rule, key) for rule, key in keyed if not key or _kept(out / rule.name / entry.id) != key)


def _key_of(rule: Rule, entry: Entry) -> str:
    """What decides what a rule makes of a case; empty where a file cannot be read."""
    try:
        return digest_of(replace(entry, truth=None), entry.channels, rule, __version__)
    except OSError:
        return ""


def _kept(folder: Path) -> str:
    """The key of what is there; empty where nothing is, or it is damaged."""
    if not (folder / _MASK).is_file():
        return ""
    try:
        told = json.loads((folder / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    return str(told.get("Key", "")) if isinstance(told, dict) else ""


def _judged(job: _Job) -> Mapping[str, str]:
    """Write what each rule finds in a case, the maps of which are read once; why some found nothing, by rule.

    What was there is of the case as it was, and goes first.
    """
    for rule, _ in job.rules:
        place = job.out / rule.name / job.entry.id
        if (place / _MARK).is_file():
            shutil.rmtree(place, ignore_errors=True)
    try:
        case = job.entry.read()
    except (StrokelensError, OSError) as error:
        return {rule.name: str(error) for rule, _ in job.rules}
    failures = {}
    for rule, key in job.rules:
        try:
            found = segment(case, SegmentSettings(rule=rule)).segmentation
        except StrokelensError as error:
            failures[rule.name] = str(error)
            continue
        with new_folder(job.out / rule.name / job.entry.id, marker=_MARK, overwrite=True) as folder:
            write_segmentation(folder / _MASK, found, facts={"Software": "strokelens", "Rule": rule.name, "Key": key})
    return failures


def scored(
    found: Sequence[Predictions],
    entries: Sequence[Entry],
    workers: int | None,
    part: str,
    told: Callable[[str], None],
    notes: Sequence[str] = (),
) -> Evaluation:
    """Score what was found in some cases; `part` tells which they are."""
    plan, rows = Scoring(tuple(found)), []
    with closing(scores(plan, entries, workers=how_many(workers, len(entries)))) as each:
        for row in each:
            rows.append(row)
            told(f"{len(rows)} of {len(entries)} cases scored")
    return replace(collected(plan, rows, part=part), notes=tuple(each for each in notes if each))
