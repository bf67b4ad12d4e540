"""What a network did, step by step, as the steps that take relevance back.

A `Value` is a tensor of the forward pass; its numbers are kept only where a step asks for them. A `Node` is a step:
from the relevance of each of its outputs to that of each of its inputs, for any number of targets, one after the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from strokelens.explain.operators import Diagonal, Operator
from strokelens.explain.rules import Absorbed, Back, Epsilon, Rule, Seen

_EXACT = 1e-12
"""ε where there is no bias that could make an output 0: it only keeps 0 / 0 from being NaN."""

Relevances = Sequence[Tensor | None]
"""That of each output or input, in order; None where there is none."""

Made = Tensor | Sequence[Tensor]
"""What a function gave."""

_ENDS: Final = frozenset(("low", "high"))
"""The bounds that the input lies between."""

_BENT: Final = frozenset(("silu", "gelu", "mish", "hardswish"))
"""Activations that fall and rise: what lies between ends does not lie between what becomes of them."""


class Value:
    """A tensor of the forward pass, which other steps may `want`, and how often it was used.

    `near` is one that the input reached by no linear step yet, where `bounds` of the input, by name, have become these;
    and a `gate` is one that a sigmoid gave. `maker` is the linear step whose output it is, and `norm` the one that
    folded itself into that. `stale` names what overwrote it.
    """

    def __init__(self, *, near: bool = False, bounds: Mapping[str, Tensor] | None = None) -> None:
        self.near, self.bounds = near, bounds or {}
        self.gate = False
        self.used, self.stale = 0, ""
        self.maker: Linear | None = None
        self.norm: Norm | None = None
        self._kept: Tensor | None = None

    def want(self, tensor: Tensor) -> None:
        """Keep its numbers, those that it had when they were first wanted."""
        if self._kept is None:
            self._kept = tensor

    def rescue(self, doomed: Tensor, copy: Tensor) -> None:
        """Take the copy of numbers that are about to be overwritten, if it keeps them; also under another shape."""
        if self._kept is not None and memory(self._kept) == memory(doomed):
            self._kept = copy.as_strided(self._kept.shape, self._kept.stride(), self._kept.storage_offset())

    def drop(self) -> None:
        """No step wants it any longer."""
        self._kept = None

    @property
    def tensor(self) -> Tensor:
        """Its numbers."""
        assert self._kept is not None, "a step asks for numbers that it did not want"
        return self._kept


@dataclass(eq=False)
class Node(ABC):
    """A step from some values to others, in the module `name`, by the function `called`."""

    name: str
    called: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @abstractmethod
    def through(self, rule: Rule) -> Callable[[Relevances], tuple[Relevances, Absorbed]]:
        """What takes relevance back; `rule` is for those that rules are for."""

    def shared(self, rule: Rule, maps: Sequence[Relevances]) -> list[tuple[Relevances, Absorbed]]:
        """What becomes of the relevance of each of some maps."""
        back = self.through(rule)
        return [back(relevances) for relevances in maps]

    @property
    def ruled(self) -> bool:
        """Whether a composite says how relevance passes."""
        return False

    @property
    def near(self) -> bool:
        """Whether all that it sees is near the input."""
        return all(value.near for value in self.inputs)

    def bounded(self, again: Callable[..., Made]) -> dict[str, list[Tensor]]:
        """What becomes of bounds of the input, by name, in each output: as becomes of the input, by `again`.

        Of the lower and the upper one, which go together, the lower is what is lower afterwards.
        """
        known = frozenset[str].intersection(*(frozenset(value.bounds) for value in self.inputs))
        between = known >= _ENDS
        made = {name: self.become(again, name) for name in (known if between else known - _ENDS)}
        if between:
            ends = list(zip(made["low"], made["high"], strict=True))
            made |= {"low": [torch.minimum(*two) for two in ends], "high": [torch.maximum(*two) for two in ends]}
        return made

    def become(self, again: Callable[..., Made], name: str) -> list[Tensor]:
        """What becomes of a bound."""
        return listed(again(*(value.bounds[name].clone() for value in self.inputs)))


@dataclass(eq=False)
class Linear(Node):
    """A layer y = W x + b; where a norm follows that nothing else hears, with it: y = a (W x + b) + s."""

    operator: Operator
    bias: Tensor | None
    dense: bool = False
    scale: Tensor | None = field(default=None, init=False)
    shift: Tensor | None = field(default=None, init=False)
    y: Value = field(init=False)

    def __post_init__(self) -> None:
        self.y = self.outputs[0]

    @property
    def ruled(self) -> bool:
        """Yes."""
        return True

    def fold(self, scale: Tensor, shift: Tensor, output: Value) -> None:
        """Take in a norm, which gives `output`; what it was given is not kept."""
        self.outputs[0].drop()
        self.scale, self.shift, self.y = scale, shift, output

    def unfold(self, tensor: Tensor) -> None:
        """Let the norm go: somebody else hears `tensor`, what it was given."""
        self.scale, self.shift, self.y = None, None, self.outputs[0]
        self.outputs[0].want(tensor)

    def through(self, rule: Rule) -> Callable[[Relevances], tuple[Relevances, Absorbed]]:
        """By the rule."""
        return lambda relevances: self.shared(rule, [relevances])[0]

    def shared(self, rule: Rule, maps: Sequence[Relevances]) -> list[tuple[Relevances, Absorbed]]:
        """By the rule, all together."""
        return [([found], absorbed) for found, absorbed in rule.shared(self._seen(), [_only(each) for each in maps])]

    def _seen(self) -> Seen:
        bias = None if self.bias is None else self.operator.spread(self.bias)
        if self.scale is not None and self.shift is not None:
            bias = self.shift if bias is None else bias * self.scale + self.shift
        absorber = "bias" if self.scale is None else "norm"
        x, y = self.inputs[0].tensor, self.y.tensor
        return Seen(self.operator, x, y, self.scale, bias, absorber)


@dataclass(eq=False)
class Norm(Node):
    """y = a x + s: a norm at this point, or what is multiplied by numbers that may be 0.

    Folded, it is the step before that shares relevance.
    """

    scale: Tensor
    shift: Tensor | None
    folded: Linear | None = None

    def unfold(self, tensor: Tensor) -> None:
        """Share relevance itself: somebody else hears `tensor`, what it was given."""
        if self.folded is not None:
            self.folded.unfold(tensor)
            self.folded = None

    def become(self, again: Callable[..., Made], name: str) -> list[Tensor]:
        """By the numbers of this input: those of a bound are not its own."""
        scaled = self.inputs[0].bounds[name] * self.scale
        return [scaled if self.shift is None else scaled + self.shift]

    def through(self, rule: Rule) -> Callable[[Relevances], tuple[Relevances, Absorbed]]:
        """By ε: the mean that it takes away, and its shift, are its bias."""
        if self.folded is not None:
            return lambda relevances: (relevances, {})
        seen = Seen(Diagonal(self.scale), self.inputs[0].tensor, self.outputs[0].tensor, None, self.shift, "norm")
        shifts = self.shift is not None and bool((self.shift != 0).any())
        back = (Epsilon() if shifts else Epsilon(_EXACT)).through(seen)
        return lambda relevances: _single(back, relevances)


@dataclass(eq=False)
class Passing(Node):
    """What passes relevance on as it is: activations, dropout that rests, scaling by a number that is not 0."""

    def bounded(self, again: Callable[..., Made]) -> dict[str, list[Tensor]]:
        """Where it falls and rises, no lower and upper one are known."""
        left_out = _ENDS if self.called in _BENT else frozenset()
        return {name: each for name, each in super().bounded(again).items() if name not in left_out}

    def through(self, rule: Rule) -> Callable[[Relevances], tuple[Relevances, Absorbed]]:
        """As it is."""
        return lambda relevances: (relevances, {})


@dataclass(eq=False)
class Routing(Node):
    """What moves values, doubles or leaves out, or chooses the highest: relevance goes back to where values came from.

    `again` does it to other tensors of the same shapes; where values `decide`, to the same ones.
    """

    again: Callable[..., Made]
    shapes: tuple[torch.Size, ...]
    decide: bool = False

    def through(self, rule: Rule) -> Callable[[Relevances], tuple[Relevances, Absorbed]]:
        """The vector-Jacobian product, as all its factors are 0 or 1."""

        def back(relevances: Relevances) -> tuple[Relevances, Absorbed]:
            some = next(each for each in relevances if each is not None)
            with torch.enable_grad():
                if self.decide:
                    leaves = [value.tensor.detach().requires_grad_() for value in self.inputs]
                else:
                    leaves = [some.new_zeros(()).expand(shape).requires_grad_() for shape in self.shapes]
                made = self.again(*leaves)
            pairs = [(one, r) for one, r in zip(listed(made), relevances, strict=True) if r is not None]
            found = torch.autograd.grad(
                [one for one, _ in pairs],
                leaves,
                [r for _, r in pairs],
                allow_unused=True,
                create_graph=torch.is_grad_enabled(),
            )
            given = torch.stack([r.sum() for _, r in pairs]).sum()
            kept = torch.stack([each.sum() for each in found if each is not None]).sum()
            return found, {"cropped": given - kept}

        return back


@dataclass(eq=False)
class Averaging(Node):
    """A mean of values, or what lies between them: each gets as it contributed, x·Uᵀ (R / U x)."""

    again: Callable[..., Tensor]
    epsilon: float = _EXACT

    def through(self, rule: Rule) -> Callable[[Relevances], tuple[Relevances, Absorbed]]:
        """By ε."""
        x, y = self.inputs[0].tensor, self.outputs[0].tensor
        small = torch.copysign(torch.full_like(y, self.epsilon), y)

        def back(relevances: Relevances) -> tuple[Relevances, Absorbed]:
            relevance = _only(relevances)
            s = relevance / (y + small)
            with torch.enable_grad():
                leaf = x.detach().requires_grad_()
                made = self.again(leaf)
            (slope,) = torch.autograd.grad(made, leaf, s, create_graph=torch.is_grad_enabled())
            return [x * slope], {"epsilon": (small * s).sum()}

        return back


@dataclass(eq=False)
class Adding(Node):
    """a ± b, of which the relevance is shared as they contributed; what is added and is no value is a bias."""

    terms: tuple[Tensor | None, ...]
    signs: tuple[float, ...]
    epsilon: float = _EXACT

    def become(self, again: Callable[..., Made], name: str) -> list[Tensor]:
        """Of what is subtracted the other end."""
        other = {"low": "high", "high": "low"}.get(name, name)
        signs = [sign for term, sign in zip(self.terms, self.signs, strict=True) if term is None]
        ends = [name if sign > 0 else other for sign in signs]
        return listed(again(*(value.bounds[end].clone() for value, end in zip(self.inputs, ends, strict=True))))

    def through(self, rule: Rule) -> Callable[[Relevances], tuple[Relevances, Absorbed]]:
        """By ε; what was broadcast is summed."""
        y = self.outputs[0].tensor
        small = torch.copysign(torch.full_like(y, self.epsilon), y)

        def back(relevances: Relevances) -> tuple[Relevances, Absorbed]:
            relevance = _only(relevances)
            s, found = relevance / (y + small), list[Tensor]()
            absorbed = {"epsilon": (small * s).sum()}
            values = iter(self.inputs)
            for constant, sign in zip(self.terms, self.signs, strict=True):
                if constant is None:
                    x = next(values).tensor
                    found.append((sign * x * s).sum_to_size(x.shape))
                else:
                    absorbed["bias"] = (sign * constant * s).sum()
            return found, absorbed

        return back


@dataclass(eq=False)
class Gating(Node):
    """A signal times a gate, what a sigmoid gave: the signal takes all (Arras et al. 2017)."""

    signal: int

    @property
    def near(self) -> bool:
        """Whether the signal is."""
        return self.inputs[self.signal].near

    def bounded(self, again: Callable[..., Made]) -> dict[str, list[Tensor]]:
        """Of the signal, by the same gate, which is not below 0."""
        return {name: self.become(again, name) for name in self.inputs[self.signal].bounds}

    def become(self, again: Callable[..., Made], name: str) -> list[Tensor]:
        """Times the gate."""
        return [self.inputs[self.signal].bounds[name] * self.inputs[1 - self.signal].tensor]

    def through(self, rule: Rule) -> Callable[[Relevances], tuple[Relevances, Absorbed]]:
        """To the signal, summed where it was broadcast."""
        shape = self.inputs[self.signal].tensor.shape

        def back(relevances: Relevances) -> tuple[Relevances, Absorbed]:
            relevance = _only(relevances)
            found: list[Tensor | None] = [None] * len(self.inputs)
            found[self.signal] = relevance.sum_to_size(shape)
            return found, {}

        return back


def listed(made: Made) -> list[Tensor]:
    """The tensors of floating point that a function gave."""
    return [each for each in ([made] if isinstance(made, Tensor) else made) if each.is_floating_point()]


def memory(tensor: Tensor) -> int:
    """Where a tensor's numbers are."""
    return tensor.untyped_storage().data_ptr()


def _single(back: Back, relevances: Relevances) -> tuple[Relevances, Absorbed]:
    found, absorbed = back(_only(relevances))
    return [found], absorbed


def _only(relevances: Relevances) -> Tensor:
    """That of a single output."""
    (relevance,) = relevances
    assert relevance is not None
    return relevance
