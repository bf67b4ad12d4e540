"""The folder of a robustness, whole or not at all: points.csv, robustness.json, robustness.png and tables.md."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from math import isfinite, isnan
from pathlib import Path
from typing import Final

import numpy as np

from strokelens import __version__
from strokelens.cohorts.encode import write_json
from strokelens.cohorts.folder import new_folder
from strokelens.cohorts.splits import TRAIN
from strokelens.evaluation.cells import interval, number
from strokelens.flags import RESEARCH_USE
from strokelens.metrics.agreement import Interval
from strokelens.prediction.batch import Plan
from strokelens.report.bands import Band, bands
from strokelens.report.figures import figure_png
from strokelens.report.scatter import Axis
from strokelens.report.tabular import Table, markdown
from strokelens.robustness.disturbances import KINDS, MISSING
from strokelens.robustness.measuring import Asking, Measured
from strokelens.robustness.summaries import OWN, Knot, Robustness, dice_of

MARKER: Final = "robustness.json"
"""The file that marks a folder as ours."""

_FORMAT: Final = "strokelens robustness 1"
_HEAD: Final = ("case", "person", "kind", "parameter", "repeat", "difference")


@dataclass(frozen=True, eq=False)
class Told:
    """What is told besides the numbers: by which models, what was asked, of whom."""

    plan: Plan
    asking: Asking
    cohort: str
    part: str = ""

    @property
    def called(self) -> str:
        """The models in words."""
        return ", ".join(dict.fromkeys(model.name for model in self.plan.models))


def deliver(found: Robustness, told: Told, out: Path, *, overwrite: bool = False) -> None:
    """Write what was found into a new folder.

    Raises `OutputError` when `out` exists (without `overwrite`) or cannot be written.
    """
    with new_folder(out, marker=MARKER, overwrite=overwrite) as folder:
        write_json(folder / MARKER, record(found, told))
        (folder / "points.csv").write_text(points_csv(found), encoding="utf-8", newline="")
        title = f"Robustness of {told.called}"
        (folder / "tables.md").write_text(markdown(headline(found), tables(found), title=title), encoding="utf-8")
        if found.done:
            (folder / "robustness.png").write_bytes(picture(found, told))


def headline(found: Robustness) -> str:
    """How many cases of how many patients, how many failed, and how many are simulated."""
    count, persons = len(found.done), len(found.persons)
    points = sum(len(case.points) for case in found.done)
    of = f" of {persons} {'patient' if persons == 1 else 'patients'}" if persons else ""
    told = f"{count} of {len(found.cases)} cases{of} disturbed, {points} points."
    simulated = sum(case.simulated for case in found.done)
    if simulated:
        told += f" {simulated} of {count} cases are simulated: no evidence about real patients."
    seen = sum(case.part_in_training == TRAIN for case in found.done)
    if seen:
        told += f" {seen} {'has' if seen == 1 else 'have'} the name of a case that trained the network: it flatters it."
    return told


def points_csv(found: Robustness) -> str:
    """One line a point, the clean one of each case first; a case that failed has one line, with its failure.

    An empty cell where there is no truth.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    truths = [f"dice_truth_{name}" for name in found.classes]
    writer.writerow([*_HEAD, *truths, "dice_own", "failure"])
    for case in found.cases:
        writer.writerows(_lines(case, found.classes))
    return text.getvalue()


def _lines(case: Measured, classes: tuple[str, ...]) -> Iterator[list[str]]:
    known = [case.case_id, case.person]
    for point in case.points:
        parameter = point.parameter if isinstance(point.parameter, str) else f"{point.parameter:.6g}"
        dices = [_cell(dice_of(point, measure)) for measure in (*classes, OWN)]
        yield [*known, point.kind, parameter, str(point.repeat), f"{point.difference:.6g}", *dices, ""]
    if case.failure is not None:
        yield [*known, *[""] * (len(_HEAD) - len(known) + len(classes) + 1), case.failure]


def _cell(value: float) -> str:
    return "" if isnan(value) else f"{value:.6g}"


def record(found: Robustness, told: Told) -> dict[str, object]:
    """What robustness.json says; null stands for what is not defined."""
    return {
        "format": _FORMAT,
        "disclaimer": RESEARCH_USE,
        "software": f"strokelens {__version__}",
        "simulated": sum(case.simulated for case in found.done),
        "cohort": told.cohort,
        "part": told.part,
        "models": told.plan.cards,
        "device": told.plan.device,
        "seed": told.asking.seed,
        "repeats": told.asking.repeats,
        "kinds": {kind: KINDS[kind] for kind in told.asking.kinds},
        "classes": list(found.classes),
        "persons": len(found.persons),
        "difference": "mean |change| in standard deviations of each map, over voxels with a value",
        "common_range": _plain(found.common),
        "clean": None if found.clean is None else _intervals(found.clean.dice),
        "curves": {
            kind: {
                "area": _intervals(curve.area),
                "lost": _intervals(curve.lost),
                "knots": [_knot(knot) for knot in curve.knots],
            }
            for kind, curve in found.curves.items()
        },
        "missing": {name: _knot(knot) for name, knot in found.missing.items()},
        "cases": [_case(case) for case in found.done],
        "failures": [{"id": case.case_id, "person": case.person, "message": case.failure} for case in found.failed],
    }


def _case(case: Measured) -> dict[str, object]:
    return {
        "id": case.case_id,
        "person": case.person,
        "simulated": case.simulated,
        "part_in_training": case.part_in_training,
        "points": len(case.points),
    }


def _knot(knot: Knot) -> dict[str, object]:
    return {"difference": knot.difference, "dice": _intervals(knot.dice)}


def _intervals(by: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            "mean": _plain(each.mean),
            "low": _plain(each.low),
            "high": _plain(each.high),
            "used": each.used,
            "total": each.total,
        }
        for name, each in by.items()
    }


def _plain(value: float) -> float | None:
    return value if isfinite(value) else None


def tables(found: Robustness) -> list[Table]:
    """How robust the network is to each kind, and to the absence of each map; and what failed."""
    made = []
    if found.clean is not None and found.curves:
        truths = [measure for measure in found.measures if measure != OWN]
        heads = [*map(_named, found.measures), *(f"lost: {measure}" for measure in truths)]
        nothing = ("nothing", "0.000", *(interval(found.clean.dice[each], 3) for each in found.measures))
        rows = [(*nothing, *(number(0.0) for _ in truths))]
        rows += [
            (
                kind,
                f"0 to {number(found.common)}",
                *(interval(curve.area[each], 3) for each in found.measures),
                *(interval(curve.lost[each], 3) for each in truths),
            )
            for kind, curve in found.curves.items()
        ]
        made.append(
            Table("Mean Dice over the same changes", _AREA_NOTE, ("disturbed by", "change (SD)", *heads), tuple(rows))
        )
        strongest = [(kind, curve.knots[-1]) for kind, curve in found.curves.items()]
        made.append(_knots("The strongest eighth", _STRONG_NOTE, "disturbed by", strongest, found))
    if found.missing:
        made.append(_knots("A map is missing", _MISSING_NOTE, "without", list(found.missing.items()), found))
    if found.failed:
        rows = [(case.case_id, str(case.failure)) for case in found.failed]
        made.append(Table("Failures", "Cases without points.", ("case", "failure"), tuple(rows), words=True))
    return made


_AREA_NOTE: Final = (
    "The area below each patient's curve from no change to the largest that every kind reaches in every case, divided "
    "by that range; in brackets the 95 % interval by bootstrap over patients: none below 6, too narrow below 20. The "
    "change is the mean |difference| of voxels with a value, in standard deviations of their map. Lost: Dice of "
    "the clean output less this, patient by patient."
)
_STRONG_NOTE: Final = "Of each kind and case the eighth of points that changed the input most, with their mean change."
_MISSING_NOTE: Final = "Each map in turn has no value anywhere."


def _knots(title: str, note: str, head: str, rows: list[tuple[str, Knot]], found: Robustness) -> Table:
    cells = tuple(
        (name, number(knot.difference), *(interval(knot.dice[each], 3) for each in found.measures))
        for name, knot in rows
    )
    return Table(title, note, (head, "change (SD)", *map(_named, found.measures)), cells)


def _named(measure: str) -> str:
    return "with its own clean output" if measure == OWN else f"with the truth: {measure}"


def picture(found: Robustness, told: Told) -> bytes:
    """Every point and the curves, one panel for each measure."""
    simulated = sum(case.simulated for case in found.done)
    who = "all simulated" if simulated == len(found.done) else f"{simulated} cases simulated"
    patients = f"{len(found.persons)} patient{'' if len(found.persons) == 1 else 's'}"
    note = f"{patients}{f', {who}' if simulated else ''}; bands: 95 % by bootstrap over patients. {RESEARCH_USE}"
    figure = bands(
        [_band(found, kind, measure) for measure in found.measures for kind in found.kinds],
        Axis("change of the input (SD), scale of square roots", (0.0, _widest(found))),
        Axis("Dice", (-0.03, 1.03)),
        f"How the segmentation by {told.called} changes as its input is disturbed",
        note,
    )
    return figure_png(figure)


def _widest(found: Robustness) -> float:
    """A little beyond the largest difference: no point is out of sight."""
    return 1.03 * max(point.difference for case in found.done for point in case.points) or 1.0


def _band(found: Robustness, kind: str, measure: str) -> Band:
    """The points of a kind, and its curve from the clean output on; the absence of maps has none."""
    points = [point for case in found.done for point in case.points if point.kind == kind]
    x, y = (
        np.array(each, float)
        for each in ([point.difference for point in points], [dice_of(point, measure) for point in points])
    )
    curve = None if kind == MISSING else found.curves.get(kind)
    knots = [] if curve is None or found.clean is None else [found.clean, *curve.knots]
    along = np.array([knot.difference for knot in knots], float)
    mean, low, high = (
        np.array([getattr(knot.dice[measure], end) for knot in knots], float) for end in ("mean", "low", "high")
    )
    name = "Dice with its own clean output" if measure == OWN else f"Dice with the truth: {measure}"
    return Band(kind, name, x, y, along, mean, low, high, _label(found, measure) if kind == MISSING else None)


def _label(found: Robustness, measure: str) -> tuple[str, float, float] | None:
    """The map whose absence costs most, where the mean of its points is."""
    known = {name: knot for name, knot in found.missing.items() if not isnan(knot.dice[measure].mean)}
    if not known:
        return None
    worst = min(known, key=lambda name: known[name].dice[measure].mean)
    return f"without {worst}", known[worst].difference, known[worst].dice[measure].mean
