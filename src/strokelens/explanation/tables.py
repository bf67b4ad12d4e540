"""What is written of a sweep, or of a comparison of methods: tables, figures, and all numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Final

import numpy as np

from strokelens import __version__
from strokelens.cohorts.encode import write_json
from strokelens.explanation import contest, sweep
from strokelens.explanation.cohort import Done, plain
from strokelens.explanation.contest import Compared
from strokelens.explanation.sweep import NULLS, Swept
from strokelens.flags import RESEARCH_USE
from strokelens.metrics.agreement import Interval
from strokelens.report.figures import figure_png
from strokelens.report.sweeps import Curve, Group, boxes, curves, scattered
from strokelens.report.tabular import Picture, Table, html, markdown

_BOOTSTRAP: Final = (
    "Means over patients, in brackets their 95 % interval by bootstrap over patients: none below 6, too narrow below "
    "20."
)


def deliver_sweep(
    found: Swept, out: Path, recipe: Mapping[str, object], *, model: str, beside: Sequence[Swept] = ()
) -> str:
    """Write tables.md, sweep.html, figures and the numbers of all into a sweep's folder; the headline is given back.

    Sweeps `beside` it are in the figures and tables, too, in groups of one size of slices.
    """
    lead = headline(found.done, f"{len(found.words)} filters of relevance of {model}")
    failed = _failures(found.done)
    others = [_means(f"Beside it: {each.size} pixels", sweep.MEASURES, each.summary, "map") for each in beside]
    tables = [_means("Filters", sweep.MEASURES, found.summary, "map"), *others, *failed]
    pictures = [] if not any(each.numbers for each in found.done) else _pictures([found, *beside])
    for picture in pictures:
        (out / f"{picture.title}.png").write_bytes(picture.png)
    _write(out, lead, tables, pictures, sweep.MARKER, {"recipe": recipe, "summary": _plain(found.summary)})
    return lead


def deliver_comparison(found: Compared, out: Path, recipe: Mapping[str, object], *, model: str) -> str:
    """Write tables.md, methods.html and the numbers of all into a comparison's folder; the headline is given back."""
    lead = headline(found.done, f"methods that explain {model}")
    channels = list(next(iter(found.shares.values()), {}))
    rows = tuple((name, *(_percent(each[channel]) for channel in channels)) for name, each in found.shares.items())
    shares = Table("Which map", "Each map's mean share of what speaks for the class.", ("method", *channels), rows)
    tables = [_means("Methods", contest.MEASURES, found.summary, "method"), shares, *_failures(found.done)]
    _write(out, lead, tables, [], contest.MARKER, {"recipe": recipe, "summary": _plain(found.summary)})
    return lead


def headline(done: Sequence[Done], what: str) -> str:
    """How many cases of how many patients, and how many are simulated."""
    told = [each for each in done if each.numbers is not None]
    persons = len({each.person for each in told})
    simulated = _simulated(told)
    evidence = f" {simulated} are simulated: no evidence about real patients." if simulated else ""
    return f"{what[0].upper()}{what[1:]}: {len(told)} of {len(done)} cases, {persons} patients.{evidence}"


def _write(
    out: Path,
    lead: str,
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    marker: str,
    content: Mapping[str, object],
) -> None:
    """All of it; each file whole or not at all, the marker last."""
    stem = marker.removesuffix(".json")
    told = {"software": f"strokelens {__version__}", "disclaimer": RESEARCH_USE, "headline": lead, **content}
    writes: dict[str, Callable[[Path], object]] = {
        "tables.md": lambda path: path.write_text(markdown(lead, tables, title=stem.capitalize()), encoding="utf-8"),
        f"{stem}.html": lambda path: path.write_text(
            html(lead, tables, pictures, title=stem.capitalize()), encoding="utf-8"
        ),
        marker: lambda path: write_json(path, told),
    }
    for name, write in writes.items():
        part = out / f".{name}"
        write(part)
        part.replace(out / name)


def _means(title: str, measures: Mapping[str, str], summary: Mapping[str, Mapping[str, Interval]], head: str) -> Table:
    """A row a map or method, a column a measure."""
    rows = tuple((name, *(_interval(by[measure]) for measure in measures)) for name, by in summary.items())
    note = " ".join([*(f"{name.replace('_', ' ')}: {told}." for name, told in measures.items()), _BOOTSTRAP])
    return Table(title, note, (head, *(name.replace("_", " ") for name in measures)), rows)


def _failures(done: Sequence[Done]) -> list[Table]:
    rows = tuple((each.case_id, each.failure) for each in done if each.failure is not None)
    return [Table("Failures", "Cases without numbers.", ("case", "failure"), rows, words=True)] if rows else []


def _simulated(done: Sequence[Done]) -> int:
    """How many cases are: pictures say so, too, for they go without their page."""
    return sum(bool(each.numbers["simulated"]) for each in done if each.numbers is not None)


def _interval(found: Interval) -> str:
    if not isfinite(found.mean):
        return "–"
    bounds = f" [{found.low:.3f}, {found.high:.3f}]" if isfinite(found.low) else ""
    return f"{found.mean:.3f}{bounds}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if isfinite(value) else "–"


def _pictures(sweeps: Sequence[Swept]) -> list[Picture]:
    """The ancestor's statistics, and what each filter is worth beside maps that know nothing."""
    found = sweeps[0]
    words = found.words
    sizes = sorted({each.size for each in sweeps})
    groups = [_group([each for each in sweeps if each.size == size], words) for size in sizes]
    count, simulated = sum(each.numbers is not None for each in found.done), _simulated(found.done)
    cases = f"{count} cases, {simulated} of them simulated" if simulated else f"{count} cases"
    note = f"{cases}; all channels."
    axis = "mean of the map, of its largest amplitude"
    shown = ("inclusivity", "precision", "iou", "in_truth")
    measured = [_curve(found, measure, words) for measure in shown]
    figures = {
        "scatter": (scattered(groups, "The mean of each map", axis, note), "Each map of each case and channel."),
        "boxes": (boxes(groups, "The mean of each map", axis, note), "The same by quartiles."),
        "worth": (curves(measured, "What filters are worth", f"{cases}."), "Beside null maps."),
    }
    return [Picture(name, told, figure_png(figure)) for name, (figure, told) in figures.items()]


def _group(sweeps: Sequence[Swept], words: Sequence[str]) -> Group:
    """What sweeps of one size have pooled, of each filter that any has."""
    values = {word: [value for each in sweeps if word in each.words for value in each.pooled(word)] for word in words}
    return Group(f"{sweeps[0].size} pixels", {word: np.array(each, float) for word, each in values.items()})


def _curve(found: Swept, measure: str, words: Sequence[str]) -> Curve:
    each = [found.summary[word][measure] for word in words]
    mean, low, high = (np.array([getattr(one, end) for one in each], float) for end in ("mean", "low", "high"))
    nulls = {name: found.summary[name][measure].mean for name in NULLS}
    return Curve(measure.replace("_", " "), tuple(words), mean, low, high, nulls)


def _plain(summary: Mapping[str, Mapping[str, Interval]]) -> object:
    """For JSON."""
    return plain({name: {each: asdict(found) for each, found in by.items()} for name, by in summary.items()})
