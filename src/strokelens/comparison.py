"""Several settings on one cohort, from training to one table: what networks find, and what thresholds find.

Every setting is trained on the same part of the split, predicts the parts that are asked for, and is a row of the
tables; threshold rules on the same maps are rows above. The folder may be gone on with at any time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strokelens.case import Case
from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.encode import write_segmentation
from strokelens.cohorts.folder import new_folder
from strokelens.cohorts.predictions import Predictions, find_predictions
from strokelens.cohorts.splits import TEST, Split, cases_of
from strokelens.errors import SettingsError, StrokelensError
from strokelens.evaluation.delivery import MARKER, deliver
from strokelens.evaluation.results import Evaluation
from strokelens.evaluation.scoring import Plan as Scoring
from strokelens.evaluation.scoring import cases as scores
from strokelens.evaluation.scoring import collected
from strokelens.perfusion.thresholds import Rule
from strokelens.prediction.batch import Plan, predict_cohort
from strokelens.prediction.networks import PLAIN, How
from strokelens.prediction.outputs import NOTHING_ELSE, Outputs
from strokelens.prediction.segmenting import SegmentSettings, segment
from strokelens.processes import how_many, in_order
from strokelens.settings.schema import Settings
from strokelens.training.course import train
from strokelens.training.machine import Machine
from strokelens.training.parts import split_of

TABLES: Final = "tables"
"""The folder of the evaluation; `runs` and `predictions` are beside it, with a folder for each setting."""

_MARK, _MASK = "segmentation.json", "segmentation.nii.gz"


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is compared on which cohort, in the folder `out`.

    `parts` are the parts of the split that are predicted and scored; `cache` keeps prepared cases.
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
                "the settings have different splits or seeds; networks are compared on the same patients"
            )

    @property
    def drawn(self) -> Split:
        """Who trains, validates and is asked at the end: the same for all settings."""
        return split_of(self.settings[0], self.cohort)


def compare(comparison: Comparison, told: Callable[[str], None] = lambda _: None) -> Evaluation:
    """Train, predict and score all that is compared; the tables are in `out/tables`.

    What was trained or predicted before by the same settings is kept. Raises what training and predicting raise;
    a case that a network or rule cannot do is a row that says so.
    """
    drawn = comparison.drawn
    entries = [entry for part in comparison.parts for entry in cases_of(drawn, part, comparison.cohort)]
    entries = [entry for entry in entries if not entry.mirrored]
    by_rules = _by_rules(comparison, entries, told)
    by_networks = [_by_network(comparison, settings, entries, told) for settings in comparison.settings]
    folders = {**by_rules, **dict(by_networks)}
    found = [find_predictions(folder, comparison.cohort, name=name) for name, folder in folders.items()]
    part = f"{' and '.join(comparison.parts)} of a split, {drawn.sha256[:12]}"
    evaluation = _scored(found, entries, comparison.workers, part, told)
    deliver(evaluation, comparison.out / TABLES, overwrite=(comparison.out / TABLES / MARKER).is_file())
    return evaluation


def _by_network(
    comparison: Comparison, settings: Settings, entries: Sequence[Entry], told: Callable[[str], None]
) -> tuple[str, Path]:
    """Train one setting and let it predict; its name and the folder of its predictions."""
    run, out = comparison.out / "runs" / settings.name, comparison.out / "predictions" / settings.name

    def say(line: str) -> None:
        told(f"{settings.name}: {line}")

    trained = train(
        settings,
        comparison.cohort,
        run,
        machine=comparison.machine,
        cache=comparison.out / "prepared",
        workers=comparison.workers,
        resume=True,
        told=say,
    )
    plan = Plan.of([run], comparison.how, comparison.outputs)
    for number, _ in enumerate(predict_cohort(entries, plan, out, part=" and ".join(comparison.parts)), start=1):
        say(f"{number} of {len(entries)} cases predicted")
    return trained.model.name, out


@dataclass(frozen=True, eq=False)
class _Job:
    """A case, the rules that judge it, and where."""

    entry: Entry
    rules: tuple[Rule, ...]
    out: Path


def _by_rules(comparison: Comparison, entries: Sequence[Entry], told: Callable[[str], None]) -> dict[str, Path]:
    """What thresholds find in the same maps: each rule's folder by its name; rules without any case are left out."""
    out = comparison.out / "rules"
    folders = {f"rule {rule.name}": out / rule.name for rule in comparison.rules}
    jobs = [_Job(entry, lacking, out) for entry in entries if (lacking := _lacking(comparison.rules, entry, out))]
    with closing(in_order(_judged, jobs, workers=how_many(comparison.workers, len(jobs)))) as done:
        for number, (_, failures) in enumerate(done, start=1):
            for failure in failures.result():
                told(failure)
            told(f"rules: {number} of {len(jobs)} cases judged")
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def _lacking(rules: Iterable[Rule], entry: Entry, out: Path) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules if not (out / rule.name / entry.id).is_dir())


def _judged(job: _Job) -> list[str]:
    """Write what each rule finds in a case, the maps of which are read once; what could not be done, in words."""
    try:
        case = job.entry.read()
    except (StrokelensError, OSError) as error:
        return [f"{job.entry.id}: {error}"]
    return [failure for rule in job.rules for failure in _by_rule(case, rule, job.out / rule.name / job.entry.id)]


def _by_rule(case: Case, rule: Rule, out: Path) -> Iterator[str]:
    try:
        found = segment(case, SegmentSettings(rule=rule)).segmentation
    except StrokelensError as error:
        yield f"{case.id}, {rule.name}: {error}"
        return
    with new_folder(out, marker=_MARK) as folder:
        write_segmentation(folder / _MASK, found, facts={"Rule": rule.name})


def _scored(
    found: Sequence[Predictions], entries: Sequence[Entry], workers: int | None, part: str, told: Callable[[str], None]
) -> Evaluation:
    plan, rows = Scoring(tuple(found)), []
    with closing(scores(plan, entries, workers=how_many(workers, len(entries)))) as each:
        for row in each:
            rows.append(row)
            told(f"{len(rows)} of {len(entries)} cases scored")
    return collected(plan, rows, part=part)
