"""Relevance of each voxel of each input of any network of torch, for any number of targets, from one forward pass.

Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation".
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from strokelens.errors import RelevanceError
from strokelens.explain.composites import UNTOLD, Bounds, Composite, Place, rule_of
from strokelens.explain.functions import FUNCTIONS
from strokelens.explain.nodes import Linear, Node, Relevances, Value
from strokelens.explain.recording import Recorded, Tape
from strokelens.explain.rules import Epsilon, Rule
from strokelens.explain.slabs import Slabs
from strokelens.explain.spikes import Spikes, spikes

Seeds = Callable[[Tensor], Sequence[Tensor]]
"""From the answer (b, n, *space) to the relevance of each target that begins there, of the same shape."""


Filter = Callable[[Float[Tensor, "t *rest"]], Float[Tensor, "t *rest"]]
"""What changes each of t maps of relevance by itself."""


@dataclass(frozen=True, eq=False)
class Asked:
    """How relevance is asked for.

    `filters` give a map each of every target: of the final map, or with `everywhere` of the relevance at each layer, as
    it is complete there. `spread` measures how the amplitudes are spread at each layer. `differentiable` keeps what
    gradients of the relevance need. `known` tells of functions that are not in `FUNCTIONS`. With `tile` convolutions
    are taken in slabs of so many rows, in place of as many as is fast: the relevance is the same.
    """

    composite: Composite
    bounds: Bounds = UNTOLD
    filters: tuple[Filter, ...] = ()
    everywhere: bool = False
    spread: bool = False
    differentiable: bool = False
    known: Mapping[str, Recorded] | None = None
    tile: int | None = None


@dataclass(frozen=True)
class Layer:
    """What became of relevance in a step: for each map what went on, and what stayed, by name; both are what came."""

    name: str
    called: str
    rule: str
    went: tuple[float, ...]
    absorbed: Mapping[str, tuple[float, ...]]
    spikes: tuple[Spikes, ...] = ()

    def repeated(self, times: int) -> "Layer":
        """Each map's numbers so many times, one after the other."""
        absorbed = {name: _repeated(each, times) for name, each in self.absorbed.items()}
        spread = _repeated(self.spikes, times)
        return Layer(self.name, self.called, self.rule, _repeated(self.went, times), absorbed, spread)


def absorbed_in(layers: Sequence[Layer], maps: int) -> dict[str, tuple[float, ...]]:
    """What stayed in layers together, by name, of each of so many maps."""
    total: dict[str, list[float]] = defaultdict(lambda: [0.0] * maps)
    for layer in layers:
        for name, each in layer.absorbed.items():
            total[name] = [a + b for a, b in zip(total[name], each, strict=True)]
    return {name: tuple(each) for name, each in total.items()}


@dataclass(frozen=True, eq=False)
class Relevance:
    """For each of t maps the relevance of each input; maps are target after target, of each filter after filter.

    `answer` is what the network said, `start` the relevance that began. `layers` are from the answer to the input.
    """

    inputs: tuple[Float[Tensor, "t b ..."], ...]
    answer: Float[Tensor, "b n *space"]
    start: tuple[float, ...]
    layers: tuple[Layer, ...]

    def repeated(self, times: int) -> "Relevance":
        """Each map so many times, one after the other."""
        layers = tuple(each.repeated(times) for each in self.layers)
        inputs = tuple(each.repeat_interleave(times, 0) for each in self.inputs)
        return Relevance(inputs, self.answer, _repeated(self.start, times), layers)

    def with_last(self, inputs: tuple[Float[Tensor, "t b ..."], ...], layer: Layer) -> "Relevance":
        """With other final maps, and what was done to them."""
        return Relevance(inputs, self.answer, self.start, (*self.layers, layer))

    @property
    def absorbed(self) -> dict[str, tuple[float, ...]]:
        """What stayed in all layers together, by name: start = Σ inputs + Σ absorbed, but for rounding."""
        return absorbed_in(self.layers, len(self.start))


def relevance(
    net: nn.Module,
    inputs: Sequence[Tensor],
    seeds: Seeds,
    asked: Asked,
    *,
    run: Callable[..., Tensor] | None = None,
    **more: Any,
) -> Relevance:
    """The relevance of `net(*inputs, **more)`, or of what `run` makes with it in its place.

    The network is as it was afterwards, to the bit, whatever happens. It computes as precisely as its weights are,
    without autocast. Raises `RelevanceError` where it does something that no rule is known for, by its name, and for
    inputs and networks that cannot be explained: empty, of 16 bits, scripted.

    >>> from strokelens.explain.composites import Composite
    >>> net = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.ReLU(), nn.Conv2d(3, 1, 1, bias=False))
    >>> asked = Asked(Composite.of("epsilon"))
    >>> found = relevance(net, [torch.rand(1, 2, 5, 5)], lambda answer: [answer], asked)
    >>> tuple(found.inputs[0].shape), bool(abs(sum(found.start) - found.inputs[0].sum()) < 1e-3)
    ((1, 1, 2, 5, 5), True)
    """
    if asked.composite.ancestor is not None:
        raise RelevanceError(f"{asked.composite.name} are the ancestor's rules, for its network only; take another")
    asked.composite.check([name for name, _ in net.named_modules()])
    _check(net, inputs)
    with plainly(inputs[0].device.type), torch.set_grad_enabled(asked.differentiable), at_rest(net):
        tape = Tape({**FUNCTIONS, **(asked.known or {})}, net)
        own = [each.clone() for each in inputs]  # a network may overwrite what it is given
        starts = [tape.begin(each, asked.bounds.of(each, first=at == 0)) for at, each in enumerate(own)]
        with tape.named(), tape:
            answer = (run or net)(*own, **more)
        end, begun = tape.end(answer), list(seeds(answer))
        way = _Way(asked, tape.nodes, own[0][0, 0].numel(), targets=len(begun))
        del tape
        made = way.answered(answer, (end, begun), list(zip(starts, own, strict=True)))
        if not asked.filters:
            return made
        inner, layer = filtered_at_last(made.inputs, asked.filters, each_its_own=asked.everywhere)
        return made.repeated(1 if asked.everywhere else len(asked.filters)).with_last(inner, layer)


def filtered_at_last(
    inputs: Sequence[Float[Tensor, "t ..."]], filters: Sequence[Filter], *, each_its_own: bool
) -> tuple[tuple[Float[Tensor, "_ ..."], ...], Layer]:
    """Final maps filtered, and what the filters kept back: each map by each filter, target after target.

    With `each_its_own` maps are those of target after target, of each its filter after filter, and stay so many.
    """
    count, times = len(filters), 1 if each_its_own else len(filters)
    after = tuple(
        torch.cat([filters[at % count](each[at // times][None]) for at in range(len(each) * times)]) for each in inputs
    )
    repeated = [each if each_its_own else each.repeat_interleave(count, 0) for each in inputs]
    before, went = (_sums([list(each) for each in some]) for some in (repeated, after))
    cut = {"filter": tuple(a - b for a, b in zip(before, went, strict=True))}
    return after, Layer("", "filter", "", went, cut)


def _check(net: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Refuse what cannot be explained."""
    scripted = next((name for name, each in net.named_modules() if isinstance(each, torch.jit.ScriptModule)), None)
    if scripted is not None:
        raise RelevanceError(f"{scripted or 'the network'} is scripted, and nothing of it is seen; give it as it was")
    for at, each in enumerate(inputs):
        if each.ndim < 2 or each.numel() == 0:
            raise RelevanceError(f"input {at} is of shape {tuple(each.shape)}; give a batch of cases with channels")
        if each.dtype not in (torch.float32, torch.float64):
            raise RelevanceError(
                f"input {at} is of {each.dtype}, too coarse for relevance; give x.float(), net.float()"
            )


@contextmanager
def plainly(device: str) -> Iterator[None]:
    """Without what a caller may have asked of torch: autocast, or tensors that no gradient can be taken of."""
    with torch.inference_mode(mode=False), torch.autocast(device, enabled=False):
        yield


@contextmanager
def at_rest(net: nn.Module) -> Iterator[None]:
    """A network as it is asked, nothing in it by chance; afterwards as before."""
    before = {module: module.training for module in net.modules()}
    try:
        for module in before:
            module.training = False
        yield
    finally:
        for module, training in before.items():
            module.training = training


class _Way:
    """The way back, step after step; what a step kept is let go of when it is done."""

    def __init__(self, asked: Asked, nodes: list[Node], voxels: int, *, targets: int) -> None:
        self.asked, self.nodes, self.voxels = asked, nodes, voxels
        self.filters = [each for _ in range(targets) for each in asked.filters] if asked.everywhere else []
        self.waiting: dict[Value, list[Tensor]] = {}

    def answered(
        self, answer: Tensor, end: tuple[Value, list[Tensor]], starts: list[tuple[Value, Tensor]]
    ) -> Relevance:
        """The relevance of each start from each seed, so many times as relevance is filtered on the way."""
        copies = len(self.asked.filters) if self.filters else 1
        seeded = [seed for seed in end[1] for _ in range(copies)]
        found, layers = self.back(end[0], seeded, [value for value, _ in starts])
        shaped = [_stacked(each, x, len(seeded)) for each, (_, x) in zip(found, starts, strict=True)]
        return Relevance(tuple(shaped), answer, tuple(float(seed.detach().sum()) for seed in seeded), tuple(layers))

    def back(
        self, end: Value, seeds: list[Tensor], starts: Sequence[Value]
    ) -> tuple[list[list[Tensor] | None], list[Layer]]:
        """The relevance of each start, for each seed, and what became of it on the way."""
        self.waiting[end] = seeds
        last = _last(self.nodes, end)
        layers = []
        while self.nodes:
            node = self.nodes.pop()
            if any(output in self.waiting for output in node.outputs):
                layers += self._step(node, last=node in last)
        return [self.waiting.get(start) for start in starts], layers

    def _step(self, node: Node, *, last: bool) -> list[Layer]:
        coming = [self.waiting.pop(output, None) for output in node.outputs]
        cut: Mapping[str, tuple[float, ...]] = {}
        if node.ruled and self.filters:
            before = _sums(coming)
            coming = [each if each is None else self._filtered(each) for each in coming]
            cut = {"filter": tuple(a - b for a, b in zip(before, _sums(coming), strict=True))}
        rule: Rule = Epsilon()
        if isinstance(node, Linear):
            word = self.asked.composite.word_of(node, Place(self.voxels, last))
            rule = rule_of(word, Bounds(**node.inputs[0].bounds))
            rule = Slabs(rule, self.asked.tile)
        maps = [[each if each is None else each[at] for each in coming] for at in range(_count(coming))]
        done = node.shared(rule, maps)
        for place, value in enumerate(node.inputs):
            self._give(value, [found[place] for found, _ in done])
        if not node.ruled and not any(stayed for _, stayed in done):
            return []
        return [self._told(node, str(rule) if node.ruled else "", done, cut)]

    def _give(self, value: Value, found: list[Tensor | None]) -> None:
        """Add up what each use of a value gives it."""
        if found[0] is None:
            return
        given = [each for each in found if each is not None]
        if value in self.waiting:
            given = [a + b for a, b in zip(self.waiting[value], given, strict=True)]
        self.waiting[value] = given

    def _filtered(self, maps: list[Tensor]) -> list[Tensor]:
        return [one(each[None])[0] for each, one in zip(maps, self.filters, strict=True)]

    def _told(
        self,
        node: Node,
        rule: str,
        done: Sequence[tuple[Relevances, Mapping[str, Tensor]]],
        cut: Mapping[str, tuple[float, ...]],
    ) -> Layer:
        """What became of relevance in a step."""
        went = _sums([list(each) for each in zip(*(found for found, _ in done), strict=True)])
        names = sorted({name for _, stayed in done for name in stayed})
        absorbed = {name: tuple(_number(stayed.get(name)) for _, stayed in done) for name in names}
        spread = tuple(spikes(found[0]) for found, _ in done if found[0] is not None) if self.asked.spread else ()
        return Layer(node.name, node.called, rule, went, {**absorbed, **cut}, spread)


Item = TypeVar("Item")


def _repeated(items: Sequence[Item], times: int) -> tuple[Item, ...]:
    return tuple(each for each in items for _ in range(times))


def _count(coming: Sequence[Sequence[Tensor] | None]) -> int:
    """How many maps there are."""
    return next(len(each) for each in coming if each is not None)


def _sums(maps: Sequence[Sequence[Tensor | None] | None]) -> tuple[float, ...]:
    """The sum of each map over several tensors."""
    there = [[_number(one if one is None else one.sum()) for one in each] for each in maps if each is not None]
    return tuple(sum(each) for each in zip(*there, strict=True))


def _number(value: Tensor | None) -> float:
    return 0.0 if value is None else float(value.detach())


def _last(nodes: Sequence[Node], end: Value) -> set[Node]:
    """The linear steps after which there is none on the way to the answer."""
    reached, last = {end}, set[Node]()
    for node in reversed(nodes):
        if any(output in reached for output in node.outputs):
            if isinstance(node, Linear):
                last.add(node)
            else:
                reached.update(node.inputs)
    return last


def _stacked(found: list[Tensor] | None, x: Tensor, maps: int) -> Tensor:
    return x.new_zeros(maps, *x.shape) if found is None else torch.stack(found)
