"""What is written of an explanation: relevance of each channel as NIfTI, figures, a page, and all numbers as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import Final

import numpy as np

from strokelens import __version__
from strokelens.cohorts.encode import write_image, write_json
from strokelens.cohorts.folder import new_folder
from strokelens.explain.propagate import Layer
from strokelens.explanation.case import Explained
from strokelens.explanation.cohort import plain
from strokelens.explanation.measures import Worth, mass_on_grid, worth
from strokelens.explanation.question import Question
from strokelens.flags import RESEARCH_USE
from strokelens.report.figures import figure_png
from strokelens.report.relevance import Reasons, sheet, six_panels
from strokelens.report.tabular import Picture, Table, html

MARKER: Final = "explanation.json"
"""The file that marks a folder as ours."""

FORMAT: Final = "strokelens explanation 1"


def deliver(explained: Explained, out: Path, *, sha256: tuple[str, ...] = (), overwrite: bool = False) -> None:
    """Write an explanation into a new folder.

    Raises `OutputError` when `out` exists (without `overwrite`) or cannot be written.
    """
    with new_folder(out, marker=MARKER, overwrite=overwrite) as folder:
        write_explanation(explained, folder, sha256=sha256)


def write_explanation(explained: Explained, folder: Path, *, sha256: tuple[str, ...] = ()) -> None:
    """Write it into a folder that is there."""
    worths = {
        key: worth(explained, explained.answer.maps[at], explained.targets[key[0]]) for at, key in _keys(explained)
    }
    worths = {key: replace(worths[key], mass=mass_on_grid(explained, at)) for at, key in _keys(explained)}
    pictures = []
    for target in explained.targets:
        first = next(at for at, key in _keys(explained) if key[0] == target)
        reasons = reasons_of(explained, target, first, worths)
        stem = "" if len(explained.targets) == 1 else f"{target}_"
        best = max(reasons.shares, key=lambda name: reasons.shares[name])
        drawn = {f"{stem}explanation.png": sheet(reasons)}
        if reasons.filtered:
            drawn[f"{stem}panels_{best}.png"] = six_panels(reasons, best)
        for name, figure in drawn.items():
            png = figure_png(figure)
            (folder / name).write_bytes(png)
            pictures.append(Picture(_PICTURES["panels" in name].format(best), reasons.asked, png))
    for at, key in _keys(explained):
        _write_maps(explained, at, folder / _folder_of(explained, key))
    for name, region in explained.targets.items():
        mask = explained.placed(region).astype(np.uint8)
        described = f"what was explained: {name}"
        write_image(folder / f"target_{name}.nii.gz", mask, explained.case.grid, description=described)
    lead = _lead(explained)
    tables = [*_tables(explained, worths)]
    (folder / "report.html").write_text(html(lead, tables, pictures, title="Explanation"), encoding="utf-8")
    write_json(folder / MARKER, record(explained, worths, sha256))


_PICTURES: Final = ("Which voxels of which map", "{} raw and filtered")

Key = tuple[str, str]
"""A target and the word of a filter, `raw` for none."""


def _keys(explained: Explained) -> list[tuple[int, Key]]:
    return list(enumerate((target, word) for target in explained.targets for word in explained.question.words))


def _folder_of(explained: Explained, key: Key) -> str:
    """Where the maps of a target and filter are: at the top where there is one of both."""
    target = [] if len(explained.targets) == 1 else [key[0]]
    word = [] if len(explained.question.filters) <= 1 else [key[1].replace(":", "_")]
    return "/".join([*target, *word])


def _write_maps(explained: Explained, number: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in explained.maps(number).items():
        described = f"relevance of {name} for {explained.name}"
        write_image(folder / f"relevance_{name}.nii.gz", values, explained.case.grid, description=described[:79])


def reasons_of(explained: Explained, target: str, number: int, worths: Mapping[Key, Worth]) -> Reasons:
    """What the figures of a target show; its first map, and the others as filtered."""
    keys = _keys(explained)
    positive = worths[keys[number][1]].shares.positive
    names = explained.models[0].recipe.maps
    others = {key[1]: explained.maps(at) for at, key in keys if key[0] == target and at != number}
    case = explained.case
    truth = None if explained.truth is None else explained.placed(explained.truth)
    many = f": {target.replace('_', ' ')}" if len(explained.targets) > 1 else ""
    shown = type(case)(case.id, case.grid, explained.backdrop(), simulated=case.simulated)
    return Reasons(
        shown,
        explained.maps(number),
        others,
        truth,
        explained.segmentation.mask(explained.name),
        explained.placed(explained.targets[target]),
        f"{explained.question.in_words(explained.models[0].scheme)}{many}",
        ", ".join(dict.fromkeys(model.name for model in explained.models)),
        {name: float(np.nan_to_num(share)) for name, share in zip(names, positive, strict=True)},
        _doubts(explained),
    )


def _doubts(explained: Explained) -> tuple[str, ...]:
    """What is doubtful, a sentence each."""
    return tuple(f"{'WARNING: ' if each.grave else ''}{each.message}." for each in explained.flags)


def _lead(explained: Explained) -> str:
    told = explained.question.in_words(explained.models[0].scheme)
    names = ", ".join(dict.fromkeys(model.name for model in explained.models))
    trained = "; ".join(dict.fromkeys(model.card.trained_on for model in explained.models))
    simulated = " The patient is simulated." if explained.case.simulated else ""
    doubts = " ".join(_doubts(explained))
    return f"{explained.case.id}: what spoke, to {names} ({trained}), for {told}.{simulated} {doubts}".rstrip()


def record(explained: Explained, worths: Mapping[Key, Worth], sha256: tuple[str, ...]) -> dict[str, object]:
    """What explanation.json says; null stands for what is not defined."""
    question, answer = explained.question, explained.answer
    names = explained.models[0].recipe.maps
    return {
        "format": FORMAT,
        "disclaimer": RESEARCH_USE,
        "software": f"strokelens {__version__}",
        "case": explained.case.id,
        "simulated": explained.case.simulated,
        "models": [model.name for model in explained.models],
        "trained_on": list(dict.fromkeys(model.card.trained_on for model in explained.models)),
        "weights_sha256": list(sha256),
        "asked": _asked_record(question, explained.name),
        "predicted_volume_ml": explained.segmentation.volume_ml(explained.name),
        "channels": list(names),
        "flags": [asdict(flag) for flag in explained.flags],
        "seconds": round(explained.seconds, 3),
        "maps": [_map_record(explained, at, key, worths[key]) for at, key in _keys(explained)],
        "layers": [_layer_record(layer) for layer in answer.layers],
    }


def _map_record(explained: Explained, at: int, key: Key, found: Worth) -> dict[str, object]:
    """What a map is of, how much of the relevance reached it, and what it is worth."""
    answer, recipe = explained.answer, explained.models[0].recipe
    return {
        "target": key[0],
        "filter": key[1],
        "voxels": int(explained.targets[key[0]].sum()),
        "start": answer.start[at],
        "reached": float(answer.maps[at].sum(dtype=np.float64)),
        "clinical": dict(zip(recipe.clinical, answer.clinical[at].tolist(), strict=True)),
        "absorbed": {name: each[at] for name, each in answer.absorbed.items()},
        "worth": worth_record(found, recipe.maps),
    }


def _asked_record(question: Question, name: str) -> dict[str, object]:
    """What was asked of the class `name`, as plain values."""
    return {
        "class": name,
        "against": question.against,
        "target": question.place or question.target,
        "composite": {"name": question.composite.name, "rules": dict(question.composite.rules)},
        "reference": question.reference,
        "filters": [str(each) for each in question.filters],
        "everywhere": question.everywhere,
    }


def _layer_record(layer: Layer) -> dict[str, object]:
    """What became of each map's relevance in a layer."""
    return {
        "name": layer.name,
        "function": layer.called,
        "rule": layer.rule,
        "went": list(layer.went),
        "absorbed": {name: list(each) for name, each in layer.absorbed.items()},
        "spikes": [plain(asdict(each)) for each in layer.spikes],
    }


def worth_record(found: Worth, names: tuple[str, ...]) -> dict[str, object]:
    """The measures of a map as plain values, by channel where they are of one."""
    each = {kind: dict(zip(names, values.tolist(), strict=True)) for kind, values in vars(found.shares).items()}
    told = {
        "shares": each,
        "mass": {name: asdict(mass) for name, mass in found.mass.items()},
        "sparseness": found.sparseness,
        "mass_accuracy": found.accuracy,
        "mass_accuracy_truth": found.in_truth,
        "rank_accuracy_truth": found.rank,
        "pointing_truth": found.pointing,
        "inclusivity_truth": {name: asdict(one) for name, one in zip(names, found.with_truth, strict=False)},
        "inclusivity_input": {name: asdict(one) for name, one in zip(names, found.with_input, strict=True)},
    }
    numbers: dict[str, object] = plain(told)
    return numbers


def _tables(explained: Explained, worths: Mapping[Key, Worth]) -> list[Table]:
    """Which map, where, and where relevance stayed."""
    names = explained.models[0].recipe.maps
    rows = [
        (*key, *(_share(value) for value in found.shares.positive), _share(found.accuracy), _share(found.in_truth))
        for key, found in worths.items()
    ]
    header = ("target", "filter", *names, "in the target", "in the truth")
    channels = Table("Which map", _CHANNELS, header, tuple(rows), keys=2)
    regions = list(next(iter(worths.values())).mass)
    where = [(*key, *(_share(found.mass[name].positive) for name in regions)) for key, found in worths.items()]
    placed = Table("Where", _WHERE, ("target", "filter", *regions), tuple(where), keys=2)
    return [channels, placed, _ledger(explained)]


def _ledger(explained: Explained) -> Table:
    answer = explained.answer
    kinds = sorted(answer.absorbed)
    rows = []
    for at, key in _keys(explained):
        start = answer.start[at]
        told = [float(answer.maps[at].sum(dtype=np.float64)), float(answer.clinical[at].sum())]
        stayed = [answer.absorbed[kind][at] for kind in kinds]
        rows.append((*key, f"{start:.4g}", *(_share(each / start if start else 0) for each in (*told, *stayed))))
    header = ("target", "filter", "began", "maps", "clinical values", *kinds)
    return Table("Where relevance stayed", _LEDGER, header, tuple(rows), keys=2, folded=True)


def _share(value: float) -> str:
    return f"{100 * value:.1f} %" if isfinite(value) else "–"


_CHANNELS: Final = (
    "The share of each map in what speaks for the class. In the target, in the truth: how much of what speaks for it "
    "lies there."
)
_WHERE: Final = (
    "The share of what speaks for the class that lies in what was found, in the rest of each half, and in air."
)
_LEDGER: Final = (
    "Of the relevance that began, the share that reached the maps and clinical values, and what stayed in biases, "
    "norms, the rules' ε, the reference, and what was cut. All together are 100 %, but for rounding."
)
