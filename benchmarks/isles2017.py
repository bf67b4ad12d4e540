"""What each corrected defect of the ISLES 2017 ancestor is worth: ours cross-validated, and ours with one of them back.

Every setting is trained in five folds on the patients of COHORT, which are the same for all; each patient is predicted
by the fold that did not see it, and the patients of TEST by all five together. The table has Dice with its interval and
the difference from ours, patient by patient, with Wilcoxon's p after Holm. Networks have a quarter of the published
filters on 48×48 pixels, so that a processor trains all of them in some hours; OUT may be gone on with.

Run: .venv/bin/python benchmarks/isles2017.py COHORT TEST OUT [--epochs 25] [--no-write]
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.results import FOLDER, environment, write_results

from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.predictions import Predictions, find_predictions
from strokelens.comparison import scored
from strokelens.crossvalidation import OUT_OF_FOLD, CrossValidation, cross_validate
from strokelens.evaluation.cells import interval, number, p_value
from strokelens.evaluation.overview import Overview
from strokelens.evaluation.results import Evaluation
from strokelens.report.tabular import Table, markdown
from strokelens.settings.changing import changed
from strokelens.settings.reading import read_settings
from strokelens.settings.schema import Settings

SMALL: Final = (
    *("input.size=48", "network.filters=[[32,64],[64,128],[128,256],[256,512]]", "network.steps=null"),
    *("network.width=0.25", "optimizer.learning_rate=0.001", "training.precision=bfloat16"),
)
LEGACY: Final = ("network.width=0.25", "training.precision=bfloat16")
OURS: Final = "ours"
DEFECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "detached": ("network.detached_skips=true",),
    "head": ("network.rectified_head=true",),
    "nearest": ("input.resampling=nearest", "input.depth=19"),
    "minmax": ("input.form=minmax",),
    "ce": ("loss.name=cross_entropy",),
}
SAYS: Final = {
    OURS: "everything put right",
    "legacy": "the ancestor's network and training, all defects together",
    "detached": "ours without gradient through the skips (6.1 no. 9)",
    "head": "ours with normalised logits that are never negative (no. 10)",
    "nearest": "ours with nearest voxels on 48×48×19 (no. 13)",
    "minmax": "ours with values from the lowest to the highest voxel (no. 13)",
    "ce": "ours with cross-entropy alone (no. 14)",
}


def settings_of(name: str, epochs: int) -> Settings:
    """The setting of a row."""
    source, changes = ("Isles2017_legacy", LEGACY) if name == "legacy" else ("Isles2017", SMALL + DEFECTS.get(name, ()))
    course = (f"name={name}", f"stages.all.epochs={epochs}", f"stages.all.patience={epochs}")
    return changed(read_settings(source), (*changes, *course))


def out_of_fold(name: str, out: Path, cohort: Cohort) -> Predictions:
    """What the folds of a row found in those that they did not see."""
    found: dict[str, Entry] = {}
    for place in sorted((out / name / OUT_OF_FOLD).iterdir()):
        found |= find_predictions(place, cohort).entries
    return Predictions(name, out / name, found)


def table_of(evaluation: Evaluation, title: str) -> Table:
    """Dice of each row, and its difference from ours."""
    overview = Overview(evaluation)
    gains = {each.second: each for each in overview.comparisons if each.first == OURS and each.group == "all"}
    rows = []
    for cell in (each for each in overview.cells if each.group == "all"):
        gain = gains.get(cell.model)
        beside = ("", "") if gain is None else (interval(gain.interval, 3), p_value(gain.p_holm))
        dice = f"{interval(cell.intervals['dice'], 3)}"
        rows.append((cell.model, SAYS[cell.model], dice, number(cell.f1_pooled), *beside))
    header = ("setting", "what", "mean Dice [95 %]", "pooled F1", "Dice − ours [95 %]", "p (Holm)")
    return Table(title, "", header, tuple(rows), keys=2)


def main(words: Sequence[str]) -> None:
    """Train what is not trained, score all, and keep the tables."""
    cohort, test, out = open_cohort(Path(words[0])), open_cohort(Path(words[1])), Path(words[2])
    epochs = int(words[words.index("--epochs") + 1]) if "--epochs" in words else 25
    names = [OURS, "legacy", *DEFECTS]
    for name in names:
        settings = settings_of(name, epochs)
        cross_validate(CrossValidation(settings, cohort, out / name, test=test, workers=1), print)
    folds = scored([out_of_fold(name, out, cohort) for name in names], list(cohort), 1, "out of fold", print)
    tested = [find_predictions(out / name / "test", test, name=name) for name in names]
    ensembles = scored(tested, list(test), 1, "test", print)
    tables = [
        table_of(folds, f"{len(cohort)} patients, each predicted by the fold that did not learn from it"),
        table_of(ensembles, f"{len(test)} test patients, predicted by all five folds together"),
    ]
    lead = f"Simulated patients: no evidence about real ones. {epochs} epochs. {environment()}."
    print(markdown(lead, tables, title="The ancestor's defects, one at a time"))
    if "--no-write" not in words:
        path = FOLDER / "isles2017.md"
        path.write_text(markdown(lead, tables, title="The ancestor's defects, one at a time"), encoding="utf-8")
        write_results("isles2017", {"epochs": epochs, **{table.title: list(map(list, table.rows)) for table in tables}})


if __name__ == "__main__":
    main(sys.argv[1:])
