"""Which rule where: named composites, and those that a setting tells, by a layer's place, kind or name."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import inf
from types import MappingProxyType
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from strokelens.errors import RelevanceError, hint
from strokelens.explain.nodes import Linear
from strokelens.explain.operators import Convolution
from strokelens.explain.rules import AlphaBeta, Box, Epsilon, Flat, Gamma, Reference, Rule, WSquare

PLACES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "first": "sees the input itself",
        "last": "gives the answer",
        "coarse": "gives fewer voxels than the input has",
        "fine": "gives as many voxels as the input has",
        "dense": "is a dense layer",
        "transposed": "is a transposed convolution",
        "convolution": "is a convolution",
        "any": "is any layer",
    }
)
"""Where a rule of a composite holds: at what."""

RULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "lrp-0": "all terms as they are",
        "epsilon:E": "as they are, with E added to the denominator's magnitude; :dropped gives biases nothing",
        "gamma:G": "those of the output's own sign count 1 + G times",
        "z+": "positive ones only",
        "alpha-beta:A:B": "positive ones A times, negative ones B times",
        "box": "between the lowest and the highest value that each channel can have",
        "flat": "all alike",
        "w2": "as their weights squared",
        "reference:E": "as they lie off a reference, that of healthy tissue",
    }
)
"""The words of rules: what each shares relevance by."""

_NUMBERS: Final = {
    **dict.fromkeys(("lrp-0", "z+", "box", "flat", "w2"), (0,)),
    **dict.fromkeys(("epsilon", "gamma", "reference"), (0, 1)),
    "alpha-beta": (2,),
}
"""How many numbers may follow the word of a rule."""

_WITHOUT_BIAS: Final = ("box", "flat", "w2", "reference")
"""Rules that have no bias to drop, or say themselves what becomes of it."""

_OF_INPUT: Final = ("reference", "box")
"""Rules that are about the input itself."""

_LRP_0: Final = 1e-14


@dataclass(frozen=True)
class Composite:
    """Rules by place: the first that a layer is at counts. A place is one of `PLACES`, or a pattern of module names.

    `ancestor` are the ancestor's own rules, `strokelens.explain.ancestor`, as it published them or as it left them,
    with `factors` for the shares of its skips, the coarsest first.

    >>> Composite("mine", (("first", "reference"), ("decoders.*", "gamma:0.1"), ("any", "epsilon:1e-6"))).name
    'mine'
    """

    name: str
    rules: tuple[tuple[str, str], ...]
    ancestor: Literal["head", "published"] | None = None
    factors: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        untold = Tensor()
        for _, word in self.rules:
            rule_of(word, Bounds(untold, untold, untold))

    @classmethod
    def of(cls, told: str | Mapping[str, str]) -> "Composite":
        """A composite by its name, or from a setting's places and rules; of the ancestor's with its factors behind.

        >>> Composite.of("legacy-head:0.2:0.5:0.5").factors
        (0.2, 0.5, 0.5)

        Raises `RelevanceError` for a name or a rule that there is not, with the nearest.
        """
        if not isinstance(told, str):
            return cls("told", tuple(told.items()))
        name, *rest = told.split(":")
        found = COMPOSITES.get(name)
        if found is None or (rest and found.ancestor is None):
            raise RelevanceError(f"no composite is called {told!r}; {hint(told, COMPOSITES)}")
        return replace(found, name=told, factors=_shares(rest, told)) if rest else found

    def check(self, names: Collection[str]) -> None:
        """Raise `RelevanceError` for a pattern that no module has, which may be a place misspelt."""
        patterns = [where for where, _ in self.rules if where not in PLACES]
        strange = next((each for each in patterns if not any(fnmatchcase(name, each) for name in names)), None)
        if strange is not None:
            told = f"the composite {self.name} is about {strange!r}, no place, nor the name of any module"
            raise RelevanceError(f"{told}; {hint(strange, PLACES)}")

    def word_of(self, layer: Linear, place: "Place") -> str:
        """The rule of a layer, as a word."""
        for where, word in self.rules:
            if place.is_at(where, layer) if where in PLACES else fnmatchcase(layer.name, where):
                if word.startswith(_OF_INPUT) and not layer.near:
                    raise RelevanceError(
                        f"{layer.name} does not see the input, which {word!r} is about; give it to `first` alone"
                    )
                return word
        raise RelevanceError(f"the composite {self.name} has no rule for {layer.name}; give one for `any`")

    @property
    def needs(self) -> frozenset[str]:
        """What has to be told with it: `reference`, `low` and `high` of the input."""
        words = {word.partition(":")[0] for _, word in self.rules}
        return frozenset({"reference"} & words | ({"low", "high"} if "box" in words else set()))


@dataclass(frozen=True)
class Place:
    """Where a layer is: how many voxels the input has, and whether it gives the answer."""

    voxels: int
    last: bool

    def is_at(self, where: str, layer: Linear) -> bool:
        """Whether it is at one of `PLACES`."""
        fine = layer.y.tensor[0, 0].numel() >= self.voxels
        found = {
            "first": layer.near,
            "last": self.last,
            "coarse": not layer.dense and not fine,
            "fine": not layer.dense and fine,
            "dense": layer.dense,
            "transposed": isinstance(layer.operator, Convolution) and layer.operator.transposed,
            "convolution": isinstance(layer.operator, Convolution) and not layer.operator.transposed,
            "any": True,
        }
        return found[where]


@dataclass(frozen=True, eq=False)
class Bounds:
    """What rules of the first layer are told of the first input, of each channel (c,) or of each voxel (c, *space)."""

    reference: Float[Tensor, "..."] | None = None
    low: Float[Tensor, "..."] | None = None
    high: Float[Tensor, "..."] | None = None

    def of(self, x: Float[Tensor, "b c ..."], *, first: bool) -> dict[str, Tensor]:
        """Those that are told, by name, of the shape of an input; of others than the first they hold it and 0.

        Raises `RelevanceError` for those of other channels.
        """
        told = {name: each for name, each in vars(self).items() if each is not None}
        if first:
            return {name: _like(each, x, name) for name, each in told.items()}
        zero = torch.zeros_like(x)
        around = {"reference": zero, "low": torch.minimum(x, zero), "high": torch.maximum(x, zero)}
        return {name: around[name] for name in told}


UNTOLD: Final = Bounds()
"""Nothing is told."""


def rule_of(word: str, bounds: Bounds) -> Rule:
    """The rule of a word.

    Raises `RelevanceError` for one that there is not, and where the bounds that it needs are not told.
    """
    name, numbers, dropped = _read(word)
    if name == "reference":
        return Reference(_told(bounds.reference, "reference"), *numbers)
    if name == "box":
        return Box(_told(bounds.low, "low"), _told(bounds.high, "high"))
    try:
        return _plain(name, numbers, dropped=dropped)
    except ValueError as error:
        raise RelevanceError(f"no rule {word!r}: {error}") from None


def _plain(name: str, numbers: Sequence[float], *, dropped: bool) -> Rule:
    if name == "lrp-0":
        return Epsilon(_LRP_0, dropped)
    if name == "z+":
        return AlphaBeta(1.0, 0.0, dropped)
    if name == "epsilon":
        return Epsilon(numbers[0] if numbers else 1e-6, dropped)
    if name == "gamma":
        return Gamma(numbers[0] if numbers else 0.25, dropped=dropped)
    if name == "alpha-beta":
        return AlphaBeta(numbers[0], numbers[1], dropped)
    return Flat() if name == "flat" else WSquare()


def _read(word: str) -> tuple[str, list[float], bool]:
    """A rule's name, its numbers, and whether biases are dropped."""
    name, *rest = word.split(":")
    dropped = rest[-1:] == ["dropped"]
    numbers = [_number(each, word) for each in (rest[:-1] if dropped else rest)]
    if len(numbers) not in _NUMBERS.get(name, ()) or (dropped and name in _WITHOUT_BIAS):
        raise RelevanceError(f"no rule {word!r}; {hint(word, RULES)}")
    if name == "epsilon" and 0 in numbers:
        raise RelevanceError(f"no rule {word!r}: an ε of 0 divides by 0; take lrp-0")
    return name, numbers, dropped


def _shares(texts: Sequence[str], word: str) -> tuple[float, ...]:
    """The factors of the ancestor's skips."""
    try:
        shares = tuple(float(each) for each in texts)
    except ValueError:
        shares = (inf,)
    if not all(0 <= share <= 1 for share in shares):
        raise RelevanceError(f"the factors of {word} are shares of skips; give numbers from 0 to 1")
    return shares


def _number(text: str, word: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise RelevanceError(f"no rule {word!r}: {text!r} is no number; {hint(word, RULES)}") from None
    if not 0 <= number < inf:
        raise RelevanceError(f"no rule {word!r}: {text} is not a number from 0 on")
    return number


def _like(values: Tensor, x: Tensor, name: str) -> Tensor:
    ones = [1] * (x.ndim - 2)
    placed = values.to(x).view(-1, *ones) if values.ndim == 1 and len(values) == x.shape[1] else values.to(x)
    try:
        return placed.expand(x.shape)
    except RuntimeError:
        told, size = (tuple(each) for each in (values.shape, x.shape[1:]))
        raise RelevanceError(
            f"{name} is of shape {told} but the input of {size}; tell one value a channel, or a voxel"
        ) from None


def _told(values: Tensor | None, what: str) -> Tensor:
    if values is None:
        raise RelevanceError(f"this composite needs the {what} of each channel; tell it, or take another composite")
    return values


def _named(*composites: Composite) -> Mapping[str, Composite]:
    return MappingProxyType({each.name: each for each in composites})


_DENSE: Final = ("dense", "epsilon:1e-6")
_LAST: Final = ("last", "epsilon:1e-6")

COMPOSITES: Final = _named(
    Composite(
        "stroke", (_DENSE, _LAST, ("first", "reference:0.25"), ("coarse", "gamma:0.25"), ("any", "epsilon:0.25"))
    ),
    Composite("lrp-0", (("any", "lrp-0"),)),
    Composite("epsilon", (("any", "epsilon:1e-6"),)),
    Composite("epsilon-plus", (_DENSE, ("any", "z+"))),
    Composite("epsilon-plus-flat", (_DENSE, ("first", "flat"), ("any", "z+"))),
    Composite("epsilon-gamma-box", (_DENSE, ("first", "box"), ("any", "gamma:0.25"))),
    Composite("gamma", (_DENSE, ("any", "gamma:0.25"))),
    Composite("gamma-reference", (_DENSE, _LAST, ("first", "reference:0.25"), ("any", "gamma:0.25"))),
    Composite("epsilon-reference", (_DENSE, _LAST, ("first", "reference:0.25"), ("any", "epsilon:0.25"))),
    Composite("gamma-w2", (_DENSE, _LAST, ("first", "w2"), ("any", "gamma:0.25"))),
    Composite("alpha2-beta1", (_DENSE, ("any", "alpha-beta:2:1"))),
    Composite("z+", (("any", "z+:dropped"),)),
    Composite("legacy-head", (), "head"),
    Composite("legacy-published", (), "published"),
)
"""The named composites; all but those of one rule tell it by ε where it is dense, as of clinical values."""
