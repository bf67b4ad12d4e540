"""What is asked of a model about a case: which class, where, against which, by which rules and from which reference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from strokelens.errors import RelevanceError, hint
from strokelens.explain.composites import COMPOSITES, Composite
from strokelens.explain.filters import Filter
from strokelens.explain.targets import Output, Target, Volume
from strokelens.labels import BACKGROUND, BRAIN, LabelScheme
from strokelens.prepare import Sample

Reference = Literal["healthy", "opposite", "zero"]
Region = Bool[np.ndarray, "z s s"]

TARGETS: Final[Mapping[str, str]] = {
    "prediction": "where the model found the class",
    "truth": "where the truth has it",
    "missed": "where the truth has it, and the model did not find it",
    "false": "where the model found it, and the truth does not have it",
    "components": "each connected part of what the model found, the largest first",
    "volume": "how large the class is, over all voxels",
    "output": "all that the network says, of every class and voxel, as the ancestor had it",
}
"""What can be explained without telling a place."""

_MOST_COMPONENTS: Final = 8

_NOWHERE: Final = "no map shows anything at {}, so the model computes nothing there; take another"

PLACE: Final = "place"
"""The target that is no name, but voxels that a user points at."""


@dataclass(frozen=True)
class Question:
    """What is asked: `name` is a class, the gravest where it is None; `target` one of `TARGETS`, or a `place` in words.

    `filters` are of the final map, or with `everywhere` of each layer's relevance. `tile` is how many rows of a layer
    are computed at a time, as many as is fast if None: the answer is the same.
    """

    name: str | None = None
    against: str | None = None
    target: str = "prediction"
    composite: Composite = COMPOSITES["stroke"]
    reference: Reference = "healthy"
    filters: tuple[Filter, ...] = ()
    everywhere: bool = False
    place: str = ""
    tile: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The filters' words; `raw` where there are none."""
        return tuple(str(each) for each in self.filters) or ("raw",)

    def class_in(self, scheme: LabelScheme) -> str:
        """The class that is explained.

        Raises `RelevanceError` where the model does not tell it, or the one that it is told against.
        """
        known = [label.name for label in scheme if label not in (BACKGROUND, BRAIN)]
        for told in (self.name, self.against):
            if told is not None and told not in scheme.names:
                raise RelevanceError(f"the model tells no {told!r}; {hint(told, scheme.names)}")
        name = known[-1] if self.name is None else self.name
        if self.against is not None and self.target in ("volume", "output"):
            raise RelevanceError(f"--target {self.target} is of one class or of all; leave --against out")
        if name == self.against:
            raise RelevanceError(f"{name} against itself is nothing; give another class to --against")
        return name

    def beside(self, scheme: LabelScheme) -> str | None:
        """The class that it is told against: of what was missed the background, which the network took it for."""
        return scheme.names[0] if self.against is None and self.target == "missed" else self.against

    def logits_of(self, scheme: LabelScheme) -> Target | Volume | Output:
        """Which logits are explained."""
        value = scheme.value(self.class_in(scheme))
        if self.target == "output":
            return Output()
        if self.target == "volume":
            return Volume(value)
        beside = self.beside(scheme)
        return Target(value, None if beside is None else scheme.value(beside))

    def in_words(self, scheme: LabelScheme) -> str:
        """For people."""
        beside = self.beside(scheme)
        rather = "" if beside is None else f" rather than {beside}"
        where = {"prediction": "in the prediction", "truth": "in the truth", "volume": "by volume"}.get(self.target)
        how = f"by the composite {self.composite.name}{self._against_what}"
        if self.target == "output":
            return f"all that it says of every class, {how}"
        told = where or {"missed": "that was missed", "false": "found wrongly", PLACE: f"at {self.place or PLACE}"}.get(
            self.target, f"({self.target})"
        )
        filtered = ", filtered at every layer" if self.everywhere and self.filters else ""
        return f"{self.class_in(scheme)}{rather} {told}, {how}{filtered}"

    @property
    def _against_what(self) -> str:
        """What values are seen against, where a rule has a reference."""
        seen = {"healthy": "healthy tissue", "opposite": "the opposite side", "zero": "0"}[self.reference]
        return f", against {seen}" if self.refers else ""

    @property
    def refers(self) -> bool:
        """Whether a rule of the composite sees values against the reference."""
        return any(rule.startswith("reference") for _, rule in self.composite.rules)


def regions(
    question: Question,
    scheme: LabelScheme,
    sample: Sample,
    found: UInt8[np.ndarray, "z s s"],
    place: Bool[np.ndarray, "i j k"] | None = None,
) -> dict[str, Region]:
    """The voxels of each target in the sample's pixels, by name; `place` are voxels of the case's grid.

    Raises `RelevanceError` where there are none, or no truth is known, with the cure.
    """
    name = question.class_in(scheme)
    prediction: Region = found == scheme.value(name)
    if place is not None:
        called = question.place or PLACE
        return _there({PLACE: _marked(sample, place, called)}, _NOWHERE.format(called))
    if question.target == "output":
        return {"output": np.ones_like(prediction)}
    if question.target == "volume":
        return _there({"volume": (sample.x != 0).any(axis=1)}, "no map of the case has a value; look at its files")
    if question.target in ("prediction", "components"):
        parts = {"prediction": prediction} if question.target == "prediction" else _components(prediction)
        return _there(parts, f"the model found no {name}; ask for another --class, or for --target truth")
    if question.target not in TARGETS:
        raise RelevanceError(
            f"no target is called {question.target!r}, and it is no file or voxel i,j,k; "
            f"{hint(question.target, TARGETS)}"
        )
    if sample.y is None:
        raise RelevanceError(f"--target {question.target} needs a truth, and the case has none; ask for prediction")
    truth: Region = sample.y == scheme.value(name)
    chosen = {"truth": truth, "missed": truth & ~prediction, "false": prediction & ~truth}[question.target]
    nowhere = (
        f"the model missed no {name}"
        if question.target == "missed"
        else f"there is no {name} {TARGETS[question.target]}"
    )
    return _there({question.target: chosen}, f"{nowhere}; take another --target")


def _marked(sample: Sample, place: Bool[np.ndarray, "i j k"], called: str) -> Region:
    """The pixels of a place where a map shows something."""
    if not place.any():
        raise RelevanceError(f"{called} marks no voxel; give a mask with some that are not 0")
    there: Region = sample.frame.reduced_labels(place.astype(np.uint8), 2) == 1
    there &= (sample.x != 0).any(axis=1)
    return there


def _there(parts: Mapping[str, Region], otherwise: str) -> dict[str, Region]:
    if not any(part.any() for part in parts.values()):
        raise RelevanceError(otherwise)
    return dict(parts)


def _components(region: Region) -> dict[str, Region]:
    """Connected parts, also over edges and corners, the largest first; the smallest beyond eight are left out."""
    labels, count = ndimage.label(region, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")[:_MOST_COMPONENTS]
    return {f"component_{number}": labels == label + 1 for number, label in enumerate(order, start=1)}
