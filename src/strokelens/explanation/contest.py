"""Methods of explaining compared over a cohort: each explains the same answers from the same reference.

Measures that need the truth are not known of cases without one; all others are of what the network says.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from time import process_time
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool
from scipy import ndimage
from torch import Tensor

from strokelens.cohorts.cohort import Entry
from strokelens.errors import RelevanceError
from strokelens.explain.faithful import ablation, agreement, infidelity, max_sensitivity, perturbation
from strokelens.explain.places import mass_accuracy, pointing_hit, rank_accuracy, shares
from strokelens.explain.randomised import cascade, outermost
from strokelens.explain.rivals import gradient
from strokelens.explain.spikes import gini, spikes
from strokelens.explanation.case import explain_case
from strokelens.explanation.cohort import Done, Numbers
from strokelens.explanation.methods import COSTLY, METHODS, Image, Method, Scene
from strokelens.explanation.question import Question
from strokelens.explanation.sweep import by_person
from strokelens.metrics.agreement import Interval, bootstrap_means
from strokelens.model import Model
from strokelens.prediction.samples import sample_of

MARKER: Final = "methods.json"
"""The file that marks a folder as a comparison of methods."""

MEASURES: Final[Mapping[str, str]] = {
    "in_truth": "of what speaks for the class, the share in the truth",
    "rank": "of the highest voxels, as many as the truth has, the share in the truth",
    "pointing": "whether the highest voxel is in the truth",
    "gap": "by how much longer the answer lasts when the least relevant blocks go first than when the most do",
    "infidelity": "what relevance does not tell of the answer's drops when random blocks are removed: 0 nothing, 1 all",
    "sensitivity": "by how much the map changes, of its length, with noise of a tenth of each map's standard deviation",
    "ablation": "how alike the channels' shares and what the answer loses without each are: the cosine",
    "randomised": "rank correlation about the target with the map of a network whose last four layers are random",
    "top_share": "of all amplitudes, the share in the highest 0.1 % of voxels",
    "gini": "how few voxels hold it: 0 all alike, 1 one alone",
    "cost": "time, in forward and backward passes to the input",
}
"""What each method is measured by."""

_log = logging.getLogger(__name__)

_STEPS: Final = 10
_BLOCK: Final = (2, 4, 4)
_LAYERS: Final = 4
_DRAWS, _NOISES = 20, 2


@dataclass(frozen=True, eq=False)
class Contest:
    """What is compared: methods that answer one question."""

    models: tuple[Model, ...]
    question: Question
    methods: Mapping[str, Method]
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.models) > 1:
            raise RelevanceError(f"methods are compared on one network, not on {len(self.models)}; give one fold's run")

    @property
    def recipe(self) -> dict[str, object]:
        """What must be the same for a comparison to be gone on with."""
        asked = self.question
        told = [asked.name, asked.against, asked.target, asked.reference]
        return {"compare": list(self.methods), "asked": told, "seed": self.seed}

    def of(self, entry: Entry) -> Numbers:
        """The numbers of a case: of each method its measures."""
        explained = explain_case(self.models, sample_of(entry, self.models[0].recipe), self.question)
        scene = Scene(explained, next(iter(explained.targets.values())))
        unit = _seconds(lambda: gradient(scene.answer, scene.view.image))
        drops = ablation(scene.answer, scene.view.image, scene.base)
        found = {}
        for name in self.methods:
            rng = np.random.default_rng([self.seed, *entry.id.encode(), *name.encode()])
            try:
                found[name] = _measures(scene, name, rng, unit, drops)
            except RelevanceError as error:  # this network has no rules for it; the others are measured
                _log.warning("%s: %s", entry.id, error)
                unknown = dict.fromkeys(self.models[0].recipe.maps, nan)
                found[name] = {**dict.fromkeys(MEASURES, nan), "shares": unknown}
        return {"simulated": explained.case.simulated, "methods": found}

    def lacks(self, entry: Entry) -> bool:
        """Whether a case whose numbers are there has to be done again: never, as nothing else is kept of it."""
        return False


def _measures(scene: Scene, name: str, rng: np.random.Generator, unit: float, drops: Tensor) -> Numbers:
    """The measures of a method on a case."""
    method = METHODS[name]
    made: list[Image] = []
    cost = _seconds(lambda: made.append(method(scene, rng))) / unit
    relevance = made[0]
    image, maps = scene.view.image, scene.placed(relevance)
    truth = scene.explained.truth
    known = truth is not None and bool(truth.any())
    block = tuple(min(edge, size) for edge, size in zip(_BLOCK, image.shape[1:], strict=True))
    told = perturbation(scene.answer, image, relevance, scene.base, block=block, steps=_STEPS)
    share = shares(relevance.cpu().numpy()).positive

    def again(other: Image) -> Image:
        return method(scene.seeing(other), rng)

    return {
        "in_truth": mass_accuracy(maps, truth) if known and truth is not None else nan,
        "rank": rank_accuracy(maps, truth) if known and truth is not None else nan,
        "pointing": pointing_hit(maps, truth) if known and truth is not None else nan,
        "gap": told.gap,
        "infidelity": infidelity(scene.answer, image, relevance, scene.base, rng, block=block, samples=_DRAWS).scaled,
        "sensitivity": nan if name in COSTLY else max_sensitivity(again, image, relevance, rng, samples=_NOISES),
        "ablation": agreement(drops, share).cosine,
        "randomised": _randomised(scene, method, rng) if name not in COSTLY else nan,
        "top_share": spikes(relevance).top_share,
        "gini": gini(relevance),
        "cost": cost,
        "shares": dict(zip(scene.explained.models[0].recipe.maps, shares(maps).positive.tolist(), strict=True)),
    }


def _randomised(scene: Scene, method: Method, rng: np.random.Generator) -> float:
    """Spearman's ρ with the map of the network when its outermost layers are random; NaN of a constant map."""
    view = scene.view
    mask = ndimage.binary_dilation(view.masked(scene.target).cpu().numpy(), iterations=2)
    net = view.model.net

    def run() -> object:
        with torch.no_grad():
            return scene.answer(view.image[None])

    weighty = [name for name in outermost(net, run) if net.get_submodule(name).get_parameter("weight").ndim > 1]
    around: Bool[Tensor, "z i j"] = torch.from_numpy(mask).to(view.image.device)
    found = cascade(net, lambda: method(scene, rng), around, layers=weighty[:_LAYERS], rng=rng)
    return found[-1].signed


def _seconds(work: Callable[[], object]) -> float:
    """Processor time; of a GPU's work only what it takes to begin it."""
    started = process_time()
    work()
    return process_time() - started


@dataclass(frozen=True)
class Compared:
    """What a comparison found: of each method, measure by measure, the mean over patients and its interval."""

    done: tuple[Done, ...]
    summary: Mapping[str, Mapping[str, Interval]]
    shares: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, done: Sequence[Done], methods: Sequence[str], *, seed: int) -> "Compared":
        """The means over patients; cases of one patient are one."""
        told = [each for each in done if each.numbers is not None]
        pairs = [(method, measure) for method in methods for measure in MEASURES]
        values = [by_person(told, lambda each, m=method, w=measure: _of(each, m, w)) for method, measure in pairs]  # type: ignore[misc]
        by = dict(zip(pairs, bootstrap_means(values, np.random.default_rng(seed)), strict=True))
        summary = {method: {measure: by[method, measure] for measure in MEASURES} for method in methods}
        return cls(tuple(done), summary, {method: _mean_shares(told, method) for method in methods})


def _of(done: Done, method: str, measure: str) -> float:
    assert done.numbers is not None
    value = done.numbers["methods"][method][measure]
    return nan if value is None else float(value)


def _mean_shares(done: Sequence[Done], method: str) -> dict[str, float]:
    """Each channel's share of what speaks for the class, the mean over cases."""
    told = [each.numbers["methods"][method]["shares"] for each in done if each.numbers is not None]
    names = list(told[0]) if told else []
    known = {name: [float(each[name]) for each in told if each[name] is not None] for name in names}
    return {name: float(np.mean(values)) if values else nan for name, values in known.items()}
