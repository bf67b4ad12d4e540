"""Every patient predicted by networks that never saw that patient: one setting trained as often as there are folds.

In the folder: `splits/fold-N.json`, the runs `folds/N`, which are together an ensemble that `predict` and `segment`
take, what each finds in those that it did not see (`out_of_fold/N`), and the `tables` of all of these. Another cohort,
whose patients no fold saw, is predicted by the mean of all (`test`, `test_tables`).
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import Final

from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.digest import digest_of
from strokelens.cohorts.folder import check_apart, make_folder, refusals
from strokelens.cohorts.predictions import Predictions
from strokelens.cohorts.splits import VALIDATION, Split, cases_of, folds, read_split, write_split
from strokelens.comparison import TABLES, found_in, place_of, predict_all, scored
from strokelens.errors import CohortError, OutputError, SettingsError, StrokelensError
from strokelens.evaluation.delivery import MARKER, deliver
from strokelens.evaluation.results import Evaluation, Row
from strokelens.metrics.scores import Summary
from strokelens.model import FOLDS, load_model, recipe_of
from strokelens.prediction.batch import Plan
from strokelens.prediction.networks import PLAIN, How
from strokelens.prediction.plates import plate_of
from strokelens.prediction.samples import channels_of
from strokelens.prepare import Recipe
from strokelens.report.atlas import atlas
from strokelens.report.figures import figure_png
from strokelens.report.tabular import Picture
from strokelens.settings.schema import Settings
from strokelens.training.course import train
from strokelens.training.machine import Machine
from strokelens.training.parts import check_maps, with_truth
from strokelens.training.run import is_leader

SPLITS: Final = "splits"
OUT_OF_FOLD: Final = "out_of_fold"
TEST_TABLES: Final = "test_tables"

_TEST = "test"
_EXAMPLES: Final = ("Best", "Middle", "Worst")
_OURS = (SPLITS, FOLDS, OUT_OF_FOLD, TABLES, _TEST, TEST_TABLES, "prepared")
"""What a cross-validation writes; a name with a dot first is left of a killed one."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What is trained on which cohort, in how many folds, in the folder `out`; `test` has patients that no fold sees.

    At birth raises `SettingsError` when the settings tell a split of their own, lack a map or cannot be computed, and
    `OutputError` when `out` is somebody else's.
    """

    settings: Settings
    cohort: Cohort
    out: Path
    count: int = 5
    test: Cohort | None = None
    how: How = PLAIN
    machine: Machine | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.settings.split.file is not None:
            raise SettingsError("folds are drawn here, and the settings tell a split; set split.file to null")
        (self.machine or Machine()).check(self.settings)
        check_maps(self.settings, self.cohort)
        for cohort in (self.cohort, *([self.test] if self.test is not None else [])):
            check_apart(self.out, cohort.folder)
        with refusals(self.out, self.out):
            there = sorted(each.name for each in self.out.iterdir()) if self.out.is_dir() else []
        strange = next((name for name in there if name not in _OURS and not name.startswith(".")), None)
        if strange is not None:
            raise OutputError(f"{self.out} holds {strange}, which is of no cross-validation; give a new folder")

    def split_of(self, number: int) -> Path:
        """The file that tells who trains and who validates in a fold; folds count from 1."""
        return self.out / SPLITS / f"fold-{number}.json"

    def run_of(self, number: int) -> Path:
        """The folder of a fold's run; folds count from 1."""
        return self.out / FOLDS / str(number)


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """What the folds found in those that they did not see, and all together in the test cohort, where there is one."""

    out_of_fold: Evaluation
    test: Evaluation | None = None


def cross_validate(what: CrossValidation, told: Callable[[str], None] = lambda _: None) -> CrossValidated | None:
    """Train every fold, predict those that it did not see, and score all; what was done before is kept.

    None in a process that only helps to train. Raises what training raises; a case that cannot be done is a row that
    says so.
    """
    _check_test(what)
    drawn = folds(with_truth(what.cohort), what.count, seed=what.settings.training.seed)
    for number, each in enumerate(drawn, start=1):
        _keep_split(what, number, each)
    _check_folds(what)
    for number in range(1, what.count + 1):
        _train(what, number, told)
    if not is_leader():
        return None
    entries, found, name = list[Entry](), dict[str, Entry](), load_model(what.run_of(1)).name
    for number, each in enumerate(drawn, start=1):
        some = [entry for entry in cases_of(each, VALIDATION, what.cohort) if not entry.mirrored]
        place = _predicted(what, some, [number], what.out / OUT_OF_FOLD / str(number), f"fold {number}", told)
        found |= found_in(place, some, name).entries
        entries += some
    predictions = Predictions(name, what.out / OUT_OF_FOLD, found)
    note = (
        f"Each patient was predicted by the fold of {what.count} that did not learn from it, but chose its epoch by it."
    )
    evaluation = _told(predictions, entries, what, note, what.out / TABLES, told, courses=True)
    return CrossValidated(evaluation, _tested(what, told))


def _keep_split(what: CrossValidation, number: int, drawn: Split) -> None:
    """Write who trains and who validates in a fold; raise `OutputError` where others did in it before."""
    path = what.split_of(number)
    if path.is_file():
        if read_split(path).sha256 != drawn.sha256:
            raise OutputError(
                f"{what.out} was begun with other patients, another seed or another number of folds; give these, or "
                "another folder"
            )
        return
    if is_leader():
        make_folder(path.parent)
        with refusals(path, path):
            unfinished = path.with_name(f".{path.name}")
            write_split(unfinished, drawn)
            unfinished.replace(path)


def _check_folds(what: CrossValidation) -> None:
    """Raise `OutputError` where there are more folds than are asked for, which the ensemble would have in it."""
    more = [each.name for each in (what.out / FOLDS).glob("*") if each.name.isdigit() and int(each.name) > what.count]
    if more:
        raise OutputError(f"{what.out} has fold {more[0]}, and {what.count} folds were asked for; give another folder")


def _check_test(what: CrossValidation) -> None:
    """Raise `CohortError` where a test case is one of the cohort, byte for byte: some fold would have seen it."""
    if what.test is None:
        return
    recipe = recipe_of(what.settings)
    known = {_images_of(entry, recipe): entry.id for entry in what.cohort if entry.usable}
    for entry in (each for each in what.test if each.usable):
        twin = known.get(_images_of(entry, recipe))
        if twin is not None:
            raise CohortError(
                f"{entry.id} of {what.test.folder} is {twin} of {what.cohort.folder}, byte for byte, so some fold saw "
                "it; give other patients to --test"
            )


def _images_of(entry: Entry, recipe: Recipe) -> str:
    """What tells two cases' images apart; of those that cannot be read each is by itself."""
    try:
        return digest_of(replace(entry, truth=None), channels_of(entry, recipe))
    except OSError:
        return str(entry.folder)


def _train(what: CrossValidation, number: int, told: Callable[[str], None]) -> None:
    """Train a fold, or go on with it."""
    path = what.split_of(number)
    told_split = what.settings.split.model_copy(update={"file": str(path)})
    make_folder(what.out / FOLDS)
    trained = train(
        what.settings.model_copy(update={"split": told_split}),
        what.cohort,
        what.run_of(number),
        machine=what.machine,
        cache=what.out / "prepared",
        workers=what.workers,
        resume=True,
        told=lambda line: told(f"fold {number} of {what.count}: {line}"),
    )
    for case in trained.refused:
        logger.warning("fold %d: %s is not used: %s", number, case.case_id, case.message)


def _predicted(
    what: CrossValidation,
    entries: Sequence[Entry],
    numbers: Iterable[int],
    out: Path,
    called: str,
    told: Callable[[str], None],
) -> Path:
    """What some folds find in some cases, on the mean; cases that cannot be predicted are warned of."""
    make_folder(out.parent)
    plan = Plan.of([what.run_of(number) for number in numbers], what.how, device=place_of(what.machine))
    predict_all(entries, plan, out, name=called, told=told)
    return out


def _tested(what: CrossValidation, told: Callable[[str], None]) -> Evaluation | None:
    """What the ensemble finds in the test cohort; scored where its truth is there."""
    if what.test is None:
        return None
    entries = [entry for entry in what.test if not entry.mirrored]
    place = _predicted(what, entries, range(1, what.count + 1), what.out / _TEST, "ensemble", told)
    known = [entry for entry in entries if entry.truth is not None]
    if not known:
        return None
    predictions = found_in(place, known, f"{load_model(what.run_of(1)).name}, {what.count} together")
    note = f"No fold saw anybody of {what.test.folder.name}."
    return _told(predictions, known, what, note, what.out / TEST_TABLES, told)


def _told(
    predictions: Predictions,
    entries: Sequence[Entry],
    what: CrossValidation,
    note: str,
    out: Path,
    told: Callable[[str], None],
    *,
    courses: bool = False,
) -> Evaluation:
    """Score predictions, and write tables with pictures of some cases and, where wanted, of each fold's course."""
    evaluation = scored([predictions], entries, what.workers, "", told, [note])
    more = [*examples(evaluation, predictions, entries), *(_courses(what) if courses else ())]
    deliver(evaluation, out, overwrite=(out / MARKER).is_file(), more=more)
    return evaluation


def examples(evaluation: Evaluation, predictions: Predictions, entries: Sequence[Entry]) -> Iterator[Picture]:
    """Pictures of the cases with the best, the middle and the worst Dice; of those that can be read."""
    ranked = sorted((mean, row.case_id) for row in evaluation.rows if not isnan(mean := _mean_dice(row)))
    if not ranked:
        return
    known = {entry.id: entry for entry in entries}
    for called, (mean, case_id) in zip(_EXAMPLES, (ranked[-1], ranked[len(ranked) // 2], ranked[0]), strict=True):
        try:
            png = figure_png(atlas(plate_of(known[case_id], predictions.entries.get(case_id))))
        except (StrokelensError, OSError) as error:
            logger.warning("%s is not drawn: %s", case_id, error)
            continue
        note = f"{case_id}, Dice {mean:.2f}. Outlines of truth and prediction; colours are each map's own."
        yield Picture(f"{called} case", note, png)


def _mean_dice(row: Row) -> float:
    """The mean over the classes that have a Dice; NaN where none has."""
    return Summary.of([scores["dice"] for scores in row.scores.values()]).mean


def _courses(what: CrossValidation) -> Iterator[Picture]:
    for number in range(1, what.count + 1):
        path = what.run_of(number) / "history.png"
        if path.is_file():
            note = "Losses with the SD of batches, and Dice by epoch."
            yield Picture(f"Course of fold {number}", note, path.read_bytes())
