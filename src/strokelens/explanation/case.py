"""One case and one question in, its explanation out: relevance on the case's grid, and what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from strokelens.arrays import Mask, Volume
from strokelens.case import Case, Segmentation
from strokelens.explanation.answering import Answer, answered
from strokelens.explanation.question import Question, Region, regions
from strokelens.flags import Flag
from strokelens.labels import BACKGROUND, BRAIN
from strokelens.model import Model
from strokelens.prediction.doubts import model_flags
from strokelens.prediction.networks import predicted
from strokelens.prediction.samples import Seen
from strokelens.prepare import Sample, scaled, segmentation

_SMALL_SHARE = 0.05

LOST = Flag(
    "relevance-lost",
    "less than a twentieth of the relevance reached the maps, or it turned its sign: biases and norms kept the rest, "
    "so shares say little",
)
UNSAID = Flag(
    "not-said",
    "the network spoke against what is explained, its logits add up to less than 0: red spoke for it all the same",
)
EMPTY = Flag("no-relevance", "no relevance reached any map: the network would say the same of any input", grave=True)


@dataclass(frozen=True, eq=False)
class Explained:
    """An answer with all that it was asked about; `targets` are in the sample's pixels, by name.

    `found` are the classes that the models found there, `segmentation` the same on the case's grid.
    """

    case: Case
    sample: Sample
    models: tuple[Model, ...]
    question: Question
    targets: dict[str, Region]
    found: UInt8[np.ndarray, "z s s"]
    segmentation: Segmentation
    answer: Answer
    flags: tuple[Flag, ...]
    seconds: float

    @property
    def name(self) -> str:
        """The class that is explained."""
        return self.question.class_in(self.models[0].scheme)

    @property
    def truth(self) -> Region | None:
        """Where the truth has that class, in the sample's pixels; None where none is known."""
        return None if self.sample.y is None else self.sample.y == self.models[0].scheme.value(self.name)

    def maps(self, number: int) -> dict[str, Volume]:
        """The `number`-th map of relevance on the case's grid, by channel."""
        restored = self.sample.frame.restored(np.moveaxis(self.answer.maps[number], 0, 1))
        return dict(zip(self.models[0].recipe.maps, restored, strict=True))

    def backdrop(self) -> dict[str, Volume]:
        """Each map as the case has it; where it has pictures only, how bright these are."""
        recipe, case = self.models[0].recipe, self.case
        if all(name in case.channels for name in recipe.maps):
            return {name: case[name] for name in recipe.maps}
        z, _, i, j = self.sample.x.shape
        bright = scaled(self.sample.x).reshape(z, len(recipe.maps), recipe.colours, i, j).mean(axis=2)
        return dict(zip(recipe.maps, self.sample.frame.restored(bright), strict=True))

    def placed(self, region: Region) -> Mask:
        """A region of the sample's pixels on the case's grid."""
        values: Float32[np.ndarray, "z n s s"] = region[:, None].astype(np.float32)
        mask: Mask = self.sample.frame.restored(values)[0] > 0.5
        return mask


def explain_case(
    models: Sequence[Model], seen: Seen, question: Question, *, place: Bool[np.ndarray, "i j k"] | None = None
) -> Explained:
    """Ask models of one recipe why they found what they found in a case.

    `place` are voxels of the case's grid to explain, in place of a target by name. Raises `RelevanceError` when there
    is nothing to explain, and what `predicted` raises.
    """
    started = perf_counter()
    scheme = models[0].scheme
    question.class_in(scheme)
    probabilities = predicted(models, seen.sample).probabilities
    found: UInt8[np.ndarray, "z s s"] = probabilities.argmax(axis=1).astype(np.uint8)
    where = regions(question, scheme, seen.sample, found, place)
    answer = answered(models, seen.sample, question, where, healthy(seen.sample, found, models[0]))
    return Explained(
        replace(seen.case, truth=None),
        seen.sample,
        tuple(models),
        question,
        where,
        found,
        segmentation(probabilities, seen.sample.frame, scheme),
        answer,
        (*model_flags(models, seen), *_flags(answer)),
        perf_counter() - started,
    )


def healthy(sample: Sample, found: UInt8[np.ndarray, "z s s"], model: Model) -> Region:
    """Where all maps have a value and the model found nothing; the truth is not looked at."""
    sick = [at for at, label in enumerate(model.scheme) if label not in (BACKGROUND, BRAIN)]
    z, _, i, j = sample.x.shape
    each = (sample.x != 0).reshape(z, len(model.recipe.maps), model.recipe.colours, i, j).any(axis=2)
    there = each[:, each.any(axis=(0, 2, 3))].all(axis=1)  # a map that the case lacks has no value anywhere
    region: Region = there & ~np.isin(found, sick)
    return region


def _flags(answer: Answer) -> tuple[Flag, ...]:
    """What is doubtful about any of the maps."""
    reached = answer.maps.sum(axis=(1, 2, 3, 4), dtype=np.float64) + answer.clinical.sum(axis=1)
    start = np.array(answer.start)
    if not answer.maps.any():
        return (EMPTY,)
    unsaid = (UNSAID,) if (start < 0).any() else ()
    return (*unsaid, LOST) if (reached * start < _SMALL_SHARE * start**2).any() else unsaid
