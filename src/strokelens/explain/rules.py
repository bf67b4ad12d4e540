"""How relevance passes through a linear layer y = a·(W x + b) + s, whose norm, if there is one, is folded into a and s.

A rule shares the relevance R of each output among what made it, the terms x·w and what is not of the input, the bias
B = a·b + s. Of any signs a term's positive part is (|x||w| + x·w) / 2; with z = Σ x·w and q = Σ |x||w| all rules that
part signs need one more pass forward, and a second back (Bach et al. 2015; Montavon et al. 2019).

What does not reach the input is told by name: `bias` (or `norm`), `epsilon`, `dead`, `reference`; each rule says how
R = R_in + Σ absorbed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from strokelens.explain.operators import Dense, Operator

Absorbed = Mapping[str, Float[Tensor, ""]]
"""How much of the relevance stayed behind, by name."""

Back = Callable[[Tensor], tuple[Tensor, Absorbed]]
"""From the relevance of a layer's output to that of its input."""

_TINY: Final = {torch.float64: 1e-13, torch.float32: 1e-6}
"""A sum of parts of one sign below this share of all parts is rounding of 0."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A layer as it was met: y = scale·(W x) + bias, of which `bias` is all that is not of the input."""

    operator: Operator
    x: Tensor
    y: Tensor
    scale: Tensor | None = None
    bias: Tensor | None = None
    absorber: str = "bias"

    @property
    def z(self) -> Tensor:
        """What the input alone makes of the output, less the rounding of y: 0 where it makes nothing."""
        if self.bias is None:
            return self.y
        return self.scaled(self.operator.applied(self.x, self.operator.weight))

    def scaled(self, s: Tensor) -> Tensor:
        """A s."""
        return s if self.scale is None else s * self.scale

    def adjoint(self, s: Tensor, weight: Tensor | None = None) -> Tensor:
        """(a W)ᵀ s; with |W| for weights, that of its magnitudes."""
        if self.scale is not None:
            s = s * (self.scale if weight is None else self.scale.abs())
        return self.operator.adjoint(s, self.operator.weight if weight is None else weight, self.x)

    def stayed(self, s: Tensor) -> dict[str, Tensor]:
        """What the bias takes, Σ B·s."""
        return {} if self.bias is None else {self.absorber: _dot(self.bias, s)}

    def cut(self, axis: int, inputs: tuple[int, int], outputs: tuple[int, int]) -> "Seen":
        """The layer as it was met at some inputs and outputs along an axis of space, each from here to there."""
        x, y = _cut(self.x, axis, *inputs), _cut(self.y, axis, *outputs)
        scale, bias = (
            None if each is None else _cut(each, axis - y.ndim, *outputs) for each in (self.scale, self.bias)
        )
        return replace(self, x=x, y=y, scale=scale, bias=bias)


class Rule(ABC):
    """A way to share the relevance of outputs among inputs; `str` gives its word."""

    @abstractmethod
    def through(self, seen: Seen) -> Back:
        """What takes relevance through a layer, once for each that there is: what all have in common is done here."""

    def shared(self, seen: Seen, relevances: Sequence[Tensor]) -> list[tuple[Tensor, Absorbed]]:
        """What becomes of each of some relevances in a layer."""
        back = self.through(seen)
        return [back(each) for each in relevances]

    def cut(self, axis: int, low: int, high: int) -> "Rule":
        """The rule for what is from `low` to `high` of an axis of space: where it knows no places, itself."""
        return self

    @abstractmethod
    def __str__(self) -> str:
        """As settings name it."""


@dataclass(frozen=True)
class Epsilon(Rule):
    """R_i = Σ x_i w_i R / (z + B + ε·sign); with `dropped` the bias gets nothing, and the denominator is without it.

    LRP-0 is ε → 0. Without its bias a denominator can be about 0 where the output is not: relevance explodes.
    """

    epsilon: float = 1e-6
    dropped: bool = False

    def through(self, seen: Seen) -> Back:
        """One pass back."""
        y = seen.z if self.dropped else seen.y

        def back(relevance: Tensor) -> tuple[Tensor, Absorbed]:
            s, epsilon = _stabilised(relevance, y, self.epsilon)
            stayed = {} if self.dropped else seen.stayed(s)
            s = seen.scaled(s)  # what it was is let go of
            found = seen.operator.adjoint(s, seen.operator.weight, seen.x)
            return _times(found, seen.x), {**stayed, "epsilon": epsilon}

        return back

    def __str__(self) -> str:
        return f"epsilon:{self.epsilon:g}{':dropped' if self.dropped else ''}"


@dataclass(frozen=True)
class Gamma(Rule):
    """Terms of the output's own sign count 1 + γ times: for inputs of any sign.

    With σ = sign(y): R_i = Σ (x_i w_i + γ (x_i w_i)^σ) R / (y + γ y^σ + ε σ). γ → ∞ is z⁺ where y > 0.
    """

    gamma: float = 0.25
    epsilon: float = 1e-6
    dropped: bool = False

    def through(self, seen: Seen) -> Back:
        """One more pass forward, two back."""
        y, half = (seen.z if self.dropped else seen.y), self.gamma / 2
        parts = _Parts.of(seen)
        bias = None if self.dropped or seen.bias is None else seen.bias
        total = parts.total if bias is None else parts.total + bias.abs()
        below = torch.add(y.abs() * (1 + half), total, alpha=half).add_(self.epsilon)
        sign = torch.sign(y)

        def back(relevance: Tensor) -> tuple[Tensor, Absorbed]:
            s = relevance / below
            u, v = (sign * s).mul_(1 + half), half * s
            found = parts.shared(u, v)
            absorbed: dict[str, Tensor] = {"epsilon": self.epsilon * s.sum()}
            if bias is not None:
                absorbed[seen.absorber] = _dot(bias, u) + _dot(bias.abs(), v)
            return found, absorbed

        return back

    def __str__(self) -> str:
        return f"gamma:{self.gamma:g}{':dropped' if self.dropped else ''}"


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """R_i = Σ (α (x_i w_i)⁺ / z⁺ − β (x_i w_i)⁻ / z⁻) R with α − β = 1; of α = 1 it is z⁺.

    An output that nothing positive (or negative) made keeps the relevance of that part: it is `dead`.
    """

    alpha: float = 2.0
    beta: float = 1.0
    dropped: bool = False

    def __post_init__(self) -> None:
        if abs(self.alpha - self.beta - 1) > 1e-9 or self.beta < 0:
            raise ValueError(f"alpha − beta must be 1 and beta not below 0, not {self.alpha:g} and {self.beta:g}")

    def through(self, seen: Seen) -> Back:
        """One more pass forward, two back; z⁺ of inputs that are not below 0 needs one."""
        if self.beta == 0 and (fast := _positive(seen, dropped=self.dropped)) is not None:
            return fast
        parts, bias = _Parts.of(seen), None if self.dropped else seen.bias
        z = seen.z if bias is None else seen.y - bias  # its rounding is small beside that bias
        high, low = (parts.total + z).div_(2), (z - parts.total).div_(2)
        if bias is not None:
            high, low = high.add_(bias.clamp(min=0)), low.add_(bias.clamp(max=0))
        tiny = _TINY.get(z.dtype, _TINY[torch.float32])
        none_up, none_down = high <= -tiny * low, low >= -tiny * high

        def back(relevance: Tensor) -> tuple[Tensor, Absorbed]:
            up, dead = _divided(self.alpha / 2 * relevance, high, none_up)
            down, less = _divided(-self.beta / 2 * relevance, low, none_down) if self.beta else (None, 0)
            u, v = (up, up) if down is None else (up + down, up - down)
            absorbed: dict[str, Tensor] = {"dead": 2 * (dead + less)}
            if bias is not None:
                absorbed[seen.absorber] = _dot(bias, u) + _dot(bias.abs(), v)
            return parts.shared(u, v), absorbed

        return back

    def __str__(self) -> str:
        word = "z+" if self.beta == 0 else f"alpha-beta:{self.alpha:g}:{self.beta:g}"
        return f"{word}{':dropped' if self.dropped else ''}"


@dataclass(frozen=True, eq=False)
class Box(Rule):
    """z^B for an input between `low` and `high`: Σ (x_i w_i − l_i w_i⁺ − h_i w_i⁻) R / z^B.

    After Montavon et al. 2017. Both are of its shape. The bias has no part in it; where z^B is 0 relevance is `dead`.
    """

    low: Tensor
    high: Tensor

    def through(self, seen: Seen) -> Back:
        """With the middle m and the half width h: z^B = a W (x − m) + |a| |W| h."""
        middle, half = seen.x - (self.low + self.high) / 2, (self.high - self.low) / 2
        size = seen.operator.weight.abs()
        inner, outer = seen.operator.applied(middle, seen.operator.weight), seen.operator.applied(half, size)
        if seen.scale is not None:
            inner, outer = inner * seen.scale, outer * seen.scale.abs()
        below = inner + outer
        none = below.abs() <= _TINY.get(below.dtype, _TINY[torch.float32]) * outer

        def back(relevance: Tensor) -> tuple[Tensor, Absorbed]:
            s, dead = _divided(relevance, below, none)
            return _times(seen.adjoint(s), middle) + _times(seen.adjoint(s, size), half), {"dead": dead}

        return back

    def cut(self, axis: int, low: int, high: int) -> "Box":
        """The bounds there."""
        return Box(*(each.narrow(axis, low, high - low) for each in (self.low, self.high)))

    def __str__(self) -> str:
        return "box"


@dataclass(frozen=True)
class Flat(Rule):
    """Each input of an output gets the same share, whatever it is."""

    def through(self, seen: Seen) -> Back:
        """With weights and inputs of 1."""
        return _weighed(seen, torch.ones_like(seen.operator.weight))

    def __str__(self) -> str:
        return "flat"


@dataclass(frozen=True)
class WSquare(Rule):
    """Each input gets a share as its weight squared, whatever it is: w²."""

    def through(self, seen: Seen) -> Back:
        """With weights squared and inputs of 1."""
        return _weighed(seen, seen.operator.weight**2)

    def __str__(self) -> str:
        return "w2"


@dataclass(frozen=True, eq=False)
class Reference(Rule):
    """R_i = Σ (x_i − ref_i) w_i R / (y + ε·sign): what lies off a reference, such as healthy tissue, is what counts.

    Dark tissue, as in ADC and CBF, gets relevance, which any rule with a reference of 0 denies it. What the reference
    itself would have got is told as `reference`. `reference` is of the input's shape.
    """

    reference: Tensor
    epsilon: float = 1e-6

    def through(self, seen: Seen) -> Back:
        """One pass back."""

        def back(relevance: Tensor) -> tuple[Tensor, Absorbed]:
            s, epsilon = _stabilised(relevance, seen.y, self.epsilon)
            slope = seen.adjoint(s)
            stayed = {**seen.stayed(s), "epsilon": epsilon, "reference": _dot(self.reference, slope)}
            return (seen.x - self.reference) * slope, stayed

        return back

    def cut(self, axis: int, low: int, high: int) -> "Reference":
        """The reference there."""
        return Reference(self.reference.narrow(axis, low, high - low), self.epsilon)

    def __str__(self) -> str:
        return "reference"


@dataclass(frozen=True, eq=False)
class _Parts:
    """A layer whose terms are parted by their signs: `total` is q = |a| Σ |x||w|."""

    seen: Seen
    size: Tensor
    weights: Tensor
    total: Tensor

    @classmethod
    def of(cls, seen: Seen) -> "_Parts":
        size, weights = seen.x.abs(), seen.operator.weight.abs()
        total = seen.operator.applied(size, weights)
        return cls(seen, size, weights, total if seen.scale is None else total * seen.scale.abs())

    def shared(self, u: Tensor, v: Tensor) -> Tensor:
        """Σ x w u + |x||w| v: what positive terms get, u + v, and negative ones, u − v."""
        signed = _times(self.seen.adjoint(u), self.seen.x)
        return signed.add_(_times(self.seen.adjoint(v, self.weights), self.size))


def _positive(seen: Seen, *, dropped: bool) -> Back | None:
    """z⁺ where no input is below 0: then only weights of the right sign count. None where that is not so.

    The signs of a norm's scale are those of its weights, the same in each instance.
    """
    if bool((seen.x < 0).any()):
        return None
    weight = seen.operator.weight
    if seen.scale is not None:
        sign = seen.scale.sign()
        if isinstance(seen.operator, Dense):
            return None
        weight = seen.operator.by_feature(sign[0].flatten())
    weight = weight.clamp(min=0)
    high = seen.operator.applied(seen.x, weight)
    if seen.scale is not None:
        high = high * seen.scale.abs()
    bias = None if dropped or seen.bias is None else seen.bias.clamp(min=0)
    high = high if bias is None else high + bias
    none = high == 0

    def back(relevance: Tensor) -> tuple[Tensor, Absorbed]:
        s, dead = _divided(relevance, high, none)
        absorbed: dict[str, Tensor] = {"dead": dead}
        if bias is not None:
            absorbed[seen.absorber] = _dot(bias, s)
        return _times(seen.adjoint(s, weight), seen.x), absorbed

    return back


def _weighed(seen: Seen, weight: Tensor) -> Back:
    """Shares that do not depend on the input: Wᵀ (R / W 1)."""
    below = seen.operator.applied(torch.ones_like(seen.x), weight)
    none = below == 0

    def back(relevance: Tensor) -> tuple[Tensor, Absorbed]:
        s, dead = _divided(relevance, below, none)
        return seen.operator.adjoint(s, weight, seen.x), {"dead": dead}

    return back


def _divided(relevance: Tensor, below: Tensor, none: Tensor) -> tuple[Tensor, Tensor]:
    """R / below, 0 where there is `none`; and the sum of the R that are lost so."""
    if not bool(none.any()):  # what is masked takes longer than all else
        return relevance / below, relevance.new_zeros(())
    return torch.where(none, 0, relevance / torch.where(none, 1, below)), relevance[none].sum()


def _stabilised(relevance: Tensor, y: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """R / (y + ε sign y), and Σ of what ε takes of it."""
    small = torch.copysign(y.new_tensor(epsilon), y)
    s = relevance / (y + small)
    return s, _dot(small, s)


def _times(found: Tensor, x: Tensor) -> Tensor:
    """What an adjoint gave, times the input: in its place, unless gradients need it."""
    return found * x if torch.is_grad_enabled() or found.shape != x.shape else found.mul_(x)


def _cut(values: Tensor, axis: int, low: int, high: int) -> Tensor:
    """From `low` to `high` of an axis; values that are broadcast along it as they are."""
    along = (axis if axis >= 0 else -axis - 1) < values.ndim and values.shape[axis] != 1
    return values.narrow(axis, low, high - low) if along else values


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ a·b, where a may be broadcast."""
    if a.shape == b.shape:
        return torch.dot(a.flatten(), b.flatten())
    narrow = [axis for axis in range(b.ndim) if axis < b.ndim - a.ndim or a.shape[axis - b.ndim + a.ndim] == 1]
    return (a * b.sum(narrow, keepdim=True)).sum()
