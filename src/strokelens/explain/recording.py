"""What a network does to its inputs, recorded function by function as it answers.

Every function of torch that meets a tensor that depends on an input is seen, also those that no module stands for: `+`,
`torch.cat`, `functional.interpolate`, slices. One that nobody has told how relevance passes is refused by its name.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten
from torch.utils.weak import WeakIdKeyDictionary

from strokelens.errors import RelevanceError
from strokelens.explain.nodes import Linear, Node, Passing, Value, memory

Recorded = Callable[["Call"], Iterable[Node]]
"""How a call becomes steps."""

_INPLACE: Final = "inplace"

_FILLED: Final = frozenset(
    f"{kind}{what}{like}"
    for what in ("zeros", "ones", "full", "empty", "rand", "randn", "tensor")
    for kind, like in (("", "_like"), ("new_", ""))
)
"""Functions that take no more of a tensor than its shape: what they give does not depend on the input."""

_AWAY: Final = frozenset(("numpy", "__array__", "tolist", "item", "__float__", "__complex__", "data="))
"""Functions by which numbers leave torch, or come into a tensor unseen."""


class Call:
    """A function that was called on tensors that depend on the input: its words, what it gave, and where it was.

    `tracked` are these tensors, `numbers` what they held before, as the function may have overwritten the first.
    """

    def __init__(self, where: str, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.name, self.called = where, called(func)
        self.func, self.args, self.kwargs = func, tuple(args), dict(kwargs)
        self.tracked: list[Tensor] = []
        self.numbers: list[Tensor] = []
        self.made: list[Tensor] = []
        self.inputs: tuple[Value, ...] = ()
        self.outputs: tuple[Value, ...] = ()

    def bound(self, *names: str, **defaults: Any) -> list[Any]:
        """The arguments of these names, in the order in which the function takes them; then those with defaults."""
        order = [*names, *defaults]
        given = {**defaults, **dict(zip(order, self.args, strict=False)), **self.kwargs}
        return [given[name] for name in order]

    @property
    def again(self) -> Callable[..., Any]:
        """The same on other tensors in place of the tracked ones, whose numbers it does not keep."""
        places = [_Place() for _ in self.tracked]
        tree = _swapped((self.args, self.kwargs), {id(t): p for t, p in zip(self.tracked, places, strict=True)})
        func, overwrites = self.func, _overwrites(self)

        def replayed(*others: Tensor) -> Any:
            others = tuple(each.clone() for each in others) if overwrites else others
            args, kwargs = _swapped(tree, {id(p): t for p, t in zip(places, others, strict=True)})
            return func(*args, **kwargs)

        return replayed


class _Place:
    """Where a tensor was among arguments."""


class Tape(TorchFunctionMode):
    """The steps of a forward pass, in order."""

    def __init__(self, functions: Mapping[str, Recorded], net: nn.Module) -> None:
        super().__init__()
        self.functions = functions
        self.nodes: list[Node] = []
        self.values: Any = WeakIdKeyDictionary()
        self._names = {module: name for name, module in net.named_modules()}
        self._stack: list[str] = []

    @property
    def where(self) -> str:
        """The module that is at work."""
        return self._stack[-1] if self._stack else ""

    def begin(self, tensor: Tensor, bounds: Mapping[str, Tensor]) -> Value:
        """An input, and bounds of it of its shape, by name."""
        self.values[tensor] = value = Value(near=True, bounds=bounds)
        return value

    def end(self, answer: object) -> Value:
        """What is heard last: the network's answer."""
        if not isinstance(answer, Tensor):
            raise RelevanceError(
                f"the network answers with a {type(answer).__name__}, not a tensor; wrap it, to give the one to explain"
            )
        value: Value | None = self.values.get(answer)
        if value is None:
            raise RelevanceError("the network's answer does not depend on its input")
        _hear(value, answer)
        return value

    @contextmanager
    def named(self) -> Iterator[None]:
        """Modules tell when they are at work; afterwards they do so no longer."""
        handles = []
        try:
            for module, name in self._names.items():
                handles.append(module.register_forward_pre_hook(lambda *_, name=name: self._stack.append(name)))
                handles.append(module.register_forward_hook(lambda *_: self._left(), always_call=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _left(self) -> None:
        self._stack.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not any(tensor in self.values for tensor in tensors((args, kwargs))):
            return func(*args, **kwargs)
        return self._recorded(Call(self.where, func, args, kwargs))

    def _recorded(self, call: Call) -> Any:
        if call.called in _AWAY:
            raise RelevanceError(
                f"{place(call)} takes numbers that depend on the input out of torch's sight, so that their relevance "
                f"would be lost; do it by functions of torch"
            )
        known = {id(t): t for t in tensors((call.args, call.kwargs)) if t in self.values}
        call.tracked = list(known.values())
        call.inputs = tuple(self.values[t] for t in call.tracked)
        doomed = _overwritten(call)
        call.numbers = [self._rescued(t, call) if t is doomed else t for t in call.tracked]
        out = call.func(*call.args, **call.kwargs)
        call.made = [each for each in tensors(out) if each.is_floating_point() or each.is_complex()]
        if not call.made or call.called in _FILLED:
            return out
        record = self.functions.get(call.called)
        if record is None:
            raise unknown(call)
        for tensor, value in zip(call.numbers, call.inputs, strict=True):
            _hear(value, tensor)
        call.outputs = tuple(Value() for _ in call.made)
        for node in record(call):
            self.nodes.append(node)
            _approach(node, call)
        for tensor, value in zip(call.made, call.outputs, strict=True):
            self.values[tensor] = value
        if doomed is not None:
            self._follow(doomed, call)
        return out

    def _rescued(self, tensor: Tensor, call: Call) -> Tensor:
        """What a tensor was before the function overwrites it."""
        copy = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)
        copy.copy_(tensor)
        for node in self.nodes:
            for value in (*node.inputs, *node.outputs):
                value.rescue(tensor, copy)
        return copy

    def _follow(self, tensor: Tensor, call: Call) -> None:
        """Other names of memory that was overwritten: the same tensor is now the same value, a part is stale."""
        changed = not all(isinstance(node, Passing) for node in self.nodes[-1:])
        for other, value in list(self.values.items()):
            if other is tensor or memory(other) != memory(tensor):
                continue
            if _lie(other) == _lie(tensor):
                self.values[other] = call.outputs[0]
            elif changed:
                value.stale = place(call)


def _approach(node: Node, call: Call) -> None:
    """What is made of values near the input is near it, too, and knows its bounds; but not what a layer makes."""
    if isinstance(node, Linear) or not node.near:
        return
    named = node.bounded(call.again)
    for at, output in enumerate(node.outputs):
        output.near, output.bounds = True, {name: made[at] for name, made in named.items()}


def _partly(call: Call) -> RelevanceError:
    """That a part of a tensor is written to."""
    return RelevanceError(
        f"{place(call)} overwrites a part of a tensor; let it make a new one, `x = torch.cat([y, x[:, 1:]], 1)`"
    )


def _lie(tensor: Tensor) -> tuple[object, ...]:
    """How a tensor lies in its memory."""
    return tensor.shape, tensor.stride(), tensor.storage_offset()


def _hear(value: Value, tensor: Tensor) -> None:
    """A value is used; a norm that took it for itself alone lets it go at the second time."""
    if value.stale:
        raise RelevanceError(
            f"{value.stale} overwrites a tensor that is used under another shape later; let it make a new one"
        )
    value.used += 1
    if value.used > 1 and value.norm is not None:
        value.norm.unfold(tensor)


def tensors(tree: Any) -> list[Tensor]:
    """All tensors in nested arguments."""
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def called(func: Callable[..., Any]) -> str:
    """What a function is called, whether or not it overwrites: `relu` of `relu_`, `T` and `data=` of properties."""
    name = getattr(func, "__name__", str(func))
    if name in ("__get__", "__set__"):
        return getattr(getattr(func, "__self__", None), "__name__", name) + ("=" if name == "__set__" else "")
    return name if name.startswith("__") else name.strip("_")


def unknown(call: Call) -> RelevanceError:
    """That nobody told how relevance passes a function."""
    return RelevanceError(
        f"no rule for {place(call)}: how relevance passes it is not known; explain a network without it, or tell by "
        f"`known={{{call.called!r}: PASS}}` (or ROUTE, AVERAGE) that it is an activation (moves values, is a mean)"
    )


def place(call: Call) -> str:
    """A function and its module, in words."""
    return f"{call.called} in {call.name or 'the network'}"


def _overwritten(call: Call) -> Tensor | None:
    """The tensor where the result goes; refuses a part of one."""
    written = call.called == "__setitem__" or _overwrites(call)
    first = next(iter((*call.args, *call.kwargs.values())))
    if not written or not isinstance(first, Tensor):
        return None
    part = first._base is not None and first._base.numel() != first.numel()
    if part or call.called == "__setitem__":
        raise _partly(call)
    return first


def _overwrites(call: Call) -> bool:
    """Whether the first tensor is also where the result goes."""
    name = getattr(call.func, "__name__", "")
    if name.endswith("_") and not name.endswith("__"):
        return True
    if call.kwargs.get(_INPLACE) is True:
        return True
    code = getattr(call.func, "__code__", None)
    if code is None or _INPLACE not in code.co_varnames[: code.co_argcount]:
        return False
    at = code.co_varnames.index(_INPLACE)
    return len(call.args) > at and call.args[at] is True


def _swapped(tree: Any, fresh: Mapping[int, Any]) -> Any:
    """Nested arguments with some objects exchanged."""
    if id(tree) in fresh:
        return fresh[id(tree)]
    if isinstance(tree, (list, tuple)) and type(tree) in (list, tuple):
        return type(tree)(_swapped(each, fresh) for each in tree)
    if type(tree) is dict:
        return {key: _swapped(each, fresh) for key, each in tree.items()}
    return tree
