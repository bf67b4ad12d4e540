"""Filters of relevance by its amplitude, after Tjoa et al. (arXiv 1911.08136): what is too large, or too small, goes.

Bounds are shares of a map's largest amplitude m = max |R|, taken over everything of that map.

Axes: maps t; whatever follows is of one map.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from typing import ClassVar, Final, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

Interval = tuple[float, float]

_PARTS: Final = (0.05, 0.1, 0.2, 0.4, 0.6)
_FORMS: Final = "raw, standard, pass:LOW:HIGH or clamp:LOW:HIGH with 0 ≤ LOW ≤ HIGH ≤ 1, as in pass:0:0.4"


@runtime_checkable
class Filter(Protocol):
    """What is done to each of some maps by itself; its `str` is the word that `filter_named` knows it by."""

    def __call__(self, relevance: Float[Tensor, "t *rest"]) -> Float[Tensor, "t *rest"]:
        """The filtered maps."""


@dataclass(frozen=True)
class Raw:
    """The relevance as it is.

    >>> str(Raw()), Raw()(torch.tensor([[1.0, -2.0]])).tolist()
    ('raw', [[1.0, -2.0]])
    """

    def __call__(self, relevance: Float[Tensor, "t *rest"]) -> Float[Tensor, "t *rest"]:
        """The same maps."""
        return relevance

    def __str__(self) -> str:
        return "raw"


@dataclass(frozen=True)
class Standard:
    """R / ‖R‖₂; a map of zeros stays one.

    >>> Standard()(torch.tensor([[4.0, -3.0, 0.0, 0.0], [0.0] * 4])).mul(5).tolist()
    [[4.0, -3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """

    def __call__(self, relevance: Float[Tensor, "t *rest"]) -> Float[Tensor, "t *rest"]:
        """The maps, each with a norm of 1."""
        squares = relevance.square().flatten(1).sum(1)
        norm = torch.where(squares > 0, squares, 1).sqrt()  # the root of 0 would have no gradient
        return relevance / _of_each(norm, relevance)

    def __str__(self) -> str:
        return "standard"


@dataclass(frozen=True)
class _Bounded(ABC):
    """An interval of the positive R / m and one of the negative."""

    positive: Interval
    negative: Interval
    legacy: bool = False
    word: ClassVar[str]

    def __post_init__(self) -> None:
        ends = (self.negative[0], self.negative[1], 0.0, self.positive[0], self.positive[1])
        if not (list(ends) == sorted(ends) and ends[0] >= -1 and ends[-1] <= 1 and all(isfinite(end) for end in ends)):
            raise ValueError(
                f"a filter's intervals are parts of [0, 1] and of [-1, 0], their lower end first, "
                f"not {self.positive} and {self.negative}"
            )

    @classmethod
    def mirrored(cls, low: float, high: float, *, legacy: bool = False) -> Self:
        """The filter that treats negative relevance as it does positive."""
        return cls((low, high), (-high, -low), legacy)

    @property
    def even(self) -> bool:
        """Whether negative relevance is treated as positive is."""
        return self.negative == (-self.positive[1], -self.positive[0])

    @property
    def gap(self) -> bool:
        """Whether the intervals leave out what is near 0."""
        return self.positive[0] != 0 or self.negative[1] != 0

    @property
    def endless(self) -> bool:
        """Whether nothing is too large."""
        return self.positive[1] == 1 and self.negative[0] == -1

    @classmethod
    @abstractmethod
    def of_all(cls, relevance: Float[Tensor, "t *rest"], filters: Sequence[Self]) -> Float[Tensor, "t *rest"]:
        """Each map filtered by its own one of filters that are alike in `legacy`."""

    def __call__(self, relevance: Float[Tensor, "t *rest"]) -> Float[Tensor, "t *rest"]:
        """The filtered maps."""
        return self.of_all(relevance, [self] * len(relevance))

    def __str__(self) -> str:
        bounds: tuple[float, ...] = self.positive
        if not self.even:
            bounds = (*bounds, *self.negative)
        return ":".join([self.word, *(repr(float(each)).removesuffix(".0") for each in bounds)])


@dataclass(frozen=True)
class Pass(_Bounded):
    """R where R / m is within one of two intervals, ends included, else 0; a map of zeros stays one.

    Under `legacy` a map of zeros becomes NaN, as the ancestor's did.

    >>> str(Pass.mirrored(0, 0.6)), Pass.mirrored(0, 0.6)(torch.tensor([[0.5, 1.0, -0.5]])).tolist()
    ('pass:0:0.6', [[0.5, 0.0, -0.5]])
    """

    word = "pass"

    @classmethod
    def of_all(cls, relevance: Float[Tensor, "t *rest"], filters: Sequence[Self]) -> Float[Tensor, "t *rest"]:
        """Each map filtered by its own one of filters that are alike in `legacy`."""
        bounds, values = _Bounds.of(relevance, filters), relevance.detach()
        low, high, size = bounds.above, bounds.highest, values.abs()
        if not all(one.even for one in filters):
            below = values < 0
            low, high = torch.where(below, -bounds.below, low), torch.where(below, -bounds.lowest, high)
        if all(one.endless for one in filters):
            kept = torch.ge(size, low, out=size)  # 1 or 0: torch multiplies faster than it chooses
        else:
            large = size >= low if bounds.gap else None
            kept = torch.le(size, high, out=size)
            kept = kept if large is None else kept.mul_(large)
        if filters[0].legacy:
            kept += 0 * bounds.highest  # 0 · NaN is NaN
        return kept.mul_(relevance)


@dataclass(frozen=True)
class Clamp(_Bounded):
    """R, moved to the nearer end where R / m is outside of the interval of its sign; zeros stay zeros.

    Under `legacy` zeros are taken for positive, and a map of zeros becomes NaN, as with the ancestor.

    >>> Clamp.mirrored(0.25, 0.5)(torch.tensor([[0.0, 0.1, 1.0, -0.1, -1.0]])).tolist()
    [[0.0, 0.25, 0.5, -0.25, -0.5]]
    """

    word = "clamp"

    @classmethod
    def of_all(cls, relevance: Float[Tensor, "t *rest"], filters: Sequence[Self]) -> Float[Tensor, "t *rest"]:
        """Each map filtered by its own one of filters that are alike in `legacy`."""
        bounds = _Bounds.of(relevance, filters)
        inside = torch.clamp(relevance, bounds.lowest, bounds.highest)
        if not bounds.gap:
            return inside
        positive = relevance >= 0 if filters[0].legacy else relevance > 0
        inside = torch.where(positive, torch.maximum(inside, bounds.above), inside)
        return torch.where(relevance < 0, torch.minimum(inside, bounds.below), inside)


@dataclass(frozen=True, eq=False)
class _Bounds:
    """The intervals [lowest, below] and [above, highest] of each map's R; is there a gap between them?"""

    lowest: Float[Tensor, "t *ones"]
    below: Float[Tensor, "t *ones"]
    above: Float[Tensor, "t *ones"]
    highest: Float[Tensor, "t *ones"]
    gap: bool

    @classmethod
    def of(cls, relevance: Float[Tensor, "t *rest"], filters: Sequence[_Bounded]) -> "_Bounds":
        """The bounds of each map; NaN under `legacy` where it has none."""
        axes = tuple(range(1, relevance.ndim))
        largest = torch.maximum(relevance.amax(axes), -relevance.amin(axes))
        if filters[0].legacy:
            largest = torch.where(largest > 0, largest, torch.nan)
        shares = relevance.new_tensor([(*each.negative, *each.positive) for each in filters])
        lowest, below, above, highest = (_of_each(share * largest, relevance) for share in shares.unbind(1))
        return cls(lowest, below, above, highest, any(one.gap for one in filters))


def _of_each(values: Float[Tensor, "t"], relevance: Float[Tensor, "t *rest"]) -> Float[Tensor, "t *ones"]:
    """One value a map, to be computed with all of it."""
    return values.reshape(-1, *[1] * (relevance.ndim - 1))


def filtered(relevance: Float[Tensor, "t *rest"], filters: Sequence[Filter]) -> Float[Tensor, "t *rest"]:
    """The maps, the t-th filtered by the t-th filter; neighbours of a kind are computed together.

    >>> filtered(torch.tensor([[1.0, 5.0], [1.0, 5.0]]), [Raw(), filter_named("pass:0:0.4")]).tolist()
    [[1.0, 5.0], [1.0, 0.0]]
    """
    parts: list[Tensor] = []
    rest = relevance
    for _, group in groupby(filters, _kind):
        alike = list(group)
        part, rest = rest[: len(alike)], rest[len(alike) :]
        first = alike[0]
        parts.append(first.of_all(part, alike) if isinstance(first, _Bounded) else first(part))  # type: ignore[arg-type]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _kind(one: Filter) -> tuple[object, ...]:
    """The same for filters that are computed together."""
    return (type(one), one.legacy, one.gap) if isinstance(one, _Bounded) else (one,)


def filter_named(word: str, *, legacy: bool = False) -> Filter:
    """The filter that a word of the command line means; a negative interval mirrors the positive one.

    Two more numbers are the negative interval itself. `ValueError` tells the forms where it is none of them.

    >>> filter_named("clamp:0:0.2") == Clamp((0, 0.2), (-0.2, 0)), str(filter_named("raw"))
    (True, 'raw')
    """
    plain: dict[str, Filter] = {"raw": Raw(), "standard": Standard()}
    if word in plain:
        return plain[word]
    name, *told = word.split(":")
    kinds: dict[str, type[Pass | Clamp]] = {"pass": Pass, "clamp": Clamp}
    try:
        kind, bounds = kinds[name], [float(each) for each in told]
        if len(bounds) == 2:
            return kind.mirrored(*bounds, legacy=legacy)
        low, high, lowest, below = bounds
        return kind((low, high), (lowest, below), legacy)
    except (KeyError, ValueError):
        raise ValueError(f"no filter is called {word!r}; there are {_FORMS}") from None


GRID: Final[tuple[Filter, ...]] = (
    Raw(),
    *(Pass.mirrored(0, part) for part in _PARTS),
    *(Pass.mirrored(part, 1) for part in _PARTS),
    *(Clamp.mirrored(0, part) for part in _PARTS),
)
"""The sixteen filters of the ancestor's sweep."""
