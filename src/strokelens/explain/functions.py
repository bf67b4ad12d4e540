"""How relevance passes each function of torch: which step a call of it becomes."""

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor

from strokelens.errors import RelevanceError
from strokelens.explain.nodes import Adding, Averaging, Gating, Linear, Node, Norm, Passing, Routing
from strokelens.explain.operators import Convolution, Dense
from strokelens.explain.recording import Call, Recorded, place, unknown


def passing(call: Call) -> list[Node]:
    """An activation, or what leaves values as they are."""
    if len(call.inputs) != 1:
        raise unknown(call)
    return [Passing(call.name, call.called, call.inputs, call.outputs)]


def gate(call: Call) -> list[Node]:
    """An activation that gives from 0 to 1: what is multiplied by it keeps its relevance."""
    call.outputs[0].gate = True
    return passing(call)


def routing(call: Call) -> list[Node]:
    """What moves values, doubles or leaves them out."""
    shapes = tuple(tensor.shape for tensor in call.numbers)
    _still_gates(call)
    return [Routing(call.name, call.called, call.inputs, call.outputs, call.again, shapes)]


def _still_gates(call: Call) -> None:
    """What is made of gates alone is one."""
    for output in call.outputs:
        output.gate = all(value.gate for value in call.inputs)


def highest(call: Call) -> list[Node]:
    """What lets the highest of some values through: the winner takes all, of equals as torch chooses."""
    call.inputs[0].want(call.numbers[0])
    return [Routing(call.name, call.called, call.inputs, call.outputs, call.again, (call.numbers[0].shape,), True)]


def converting(call: Call) -> list[Node]:
    """Another precision, or another device: relevance goes back to that which values had."""
    return highest(call)


def averaging(call: Call) -> list[Node]:
    """A weighted sum of values, with weights of no sign: means, sums, interpolation."""
    call.inputs[0].want(call.numbers[0])
    call.outputs[0].want(call.made[0])
    _still_gates(call)
    return [Averaging(call.name, call.called, call.inputs, call.outputs, call.again)]


def _convolution(call: Call, axes: int, *, transposed: bool) -> list[Node]:
    if transposed:
        x, weight, bias, stride, padding, spare, groups, dilation = call.bound(
            "input", "weight", bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
        )
    else:
        x, weight, bias, stride, padding, dilation, groups = call.bound(
            "input", "weight", bias=None, stride=1, padding=0, dilation=1, groups=1
        )
        spare = 0
    if x.ndim != axes + 2:
        raise RelevanceError(f"{place(call)} sees a tensor of {x.ndim} axes; give it a batch, x[None]")
    each = partial(_each, axes=axes)
    far = _padded(call, weight, padding, each(dilation))
    operator = Convolution(weight, each(stride), far, each(dilation), transposed, each(spare), groups)
    return [_linear(call, x, operator, bias, dense=False)]


def _dense(call: Call) -> list[Node]:
    x, weight, bias = call.bound("input", "weight", bias=None)
    return [_linear(call, x, Dense(weight), bias, dense=True)]


def _linear(call: Call, x: Tensor, operator: Convolution | Dense, bias: Tensor | None, *, dense: bool) -> Linear:
    if len(call.tracked) != 1 or call.tracked[0] is not x or any(each is x for each in (operator.weight, bias)):
        raise RelevanceError(f"{place(call)} has weights that depend on the input; relevance cannot pass it")
    call.inputs[0].want(x)
    call.outputs[0].want(call.made[0])
    node = Linear(call.name, call.called, call.inputs, call.outputs, operator, bias, dense)
    call.outputs[0].maker = node
    return node


def _each(number: int | Iterable[int], axes: int) -> tuple[int, ...]:
    numbers = (number,) if isinstance(number, int) else tuple(number)
    return numbers * axes if len(numbers) == 1 else numbers


def _padded(call: Call, weight: Tensor, padding: Any, dilation: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(padding, str):
        return _each(padding, len(dilation))
    if padding == "valid":
        return (0,) * len(dilation)
    totals = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
    if any(total % 2 for total in totals):
        raise RelevanceError(f"{place(call)} pads by different numbers on both sides; pad by hand before it")
    return tuple(total // 2 for total in totals)


def _batch_norm(call: Call) -> list[Node]:
    x, mean, variance, weight, bias, training, _, epsilon = call.bound(
        "input", "running_mean", "running_var", weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
    )
    if training:
        variance, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
    return _norm(call, x, mean, variance, weight, bias, epsilon)


def _instance_norm(call: Call) -> list[Node]:
    x, mean, variance, weight, bias, own, _, epsilon = call.bound(
        "input",
        running_mean=None,
        running_var=None,
        weight=None,
        bias=None,
        use_input_stats=True,
        momentum=0.1,
        eps=1e-5,
    )
    if own:
        variance, mean = torch.var_mean(x, [*range(2, x.ndim)], correction=0)
    return _norm(call, x, mean, variance, weight, bias, epsilon)


def _group_norm(call: Call) -> list[Node]:
    x, groups, weight, bias, epsilon = call.bound("input", "num_groups", weight=None, bias=None, eps=1e-5)
    grouped = x.unflatten(1, (groups, -1))
    each = grouped.shape[2]
    variance, mean = torch.var_mean(grouped, [*range(2, grouped.ndim)], correction=0)
    return _norm(call, x, mean.repeat_interleave(each, 1), variance.repeat_interleave(each, 1), weight, bias, epsilon)


def _norm(
    call: Call,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    epsilon: float,
) -> list[Node]:
    """A norm y = a x + s with a = w / √(variance + ε), s = b − a mean: into the layer before, if it alone hears it."""
    scale = (variance + epsilon).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - scale * mean
    ones = [1] * (x.ndim - 2)
    scale, shift = (each.view(-1, x.shape[1], *ones) for each in (scale, shift))
    (value,), (output,) = call.inputs, call.outputs
    output.want(call.made[0])
    norm = Norm(call.name, call.called, call.inputs, call.outputs, scale, shift)
    before = value.maker
    if before is not None and before.scale is None and value.used == 1:
        before.fold(scale, shift, output)
        norm.folded, value.norm = before, norm
    else:
        value.want(x)
    return [norm]


def _adding(call: Call, sign: float) -> list[Node]:
    """A sum a + α b, or a − α b; what is no tensor that depends on the input is a constant."""
    first, second = call.bound("input", "other")[:2] if len(call.args) < 2 else call.args[:2]
    alpha = float(call.kwargs.get("alpha", 1))
    terms, signs = [], [1.0, sign * alpha]
    if call.called in ("rsub", "__rsub__"):  # the other less this one
        signs = signs[::-1]
    for term in (first, second):
        mine = any(term is tensor for tensor in call.tracked)
        terms.append(None if mine else torch.as_tensor(term, dtype=call.made[0].dtype, device=call.made[0].device))
    if first is second:
        if sum(signs) == 0:
            raise unknown(call)
        return [Passing(call.name, call.called, call.inputs, call.outputs)]
    for value, tensor in zip(call.inputs, call.numbers, strict=True):
        value.want(tensor)
    call.outputs[0].want(call.made[0])
    return [Adding(call.name, call.called, call.inputs, call.outputs, tuple(terms), tuple(signs))]


def _scaling(call: Call) -> list[Node]:
    """A tensor times, or by, what does not depend on the input; a signal times a gate."""
    if len(call.tracked) == 2:
        gates = [at for at, value in enumerate(call.inputs) if value.gate]
        if call.called.endswith("div") or len(gates) != 1:
            raise unknown(call)
        for value, tensor in zip(call.inputs, call.numbers, strict=True):
            value.want(tensor)
        return [Gating(call.name, call.called, call.inputs, call.outputs, 1 - gates[0])]
    x = call.tracked[0]
    others = [each for each in (*call.args, *call.kwargs.values()) if each is not x]
    divisor = call.called.endswith("div") and call.bound("input", "other")[0] is not x
    if len(others) != 1 or divisor:
        raise unknown(call)
    if not isinstance(others[0], Tensor) and others[0] != 0:
        return passing(call)
    factor = torch.as_tensor(others[0]).to(x)
    scale = 1 / factor if call.called.endswith("div") else factor
    call.inputs[0].want(call.numbers[0])
    call.outputs[0].want(call.made[0])
    return [Norm(call.name, call.called, call.inputs, call.outputs, scale, None)]


def _table() -> dict[str, Recorded]:
    table: dict[str, Recorded] = {}
    for axes in (1, 2, 3):
        table[f"conv{axes}d"] = partial(_convolution, axes=axes, transposed=False)
        table[f"conv_transpose{axes}d"] = partial(_convolution, axes=axes, transposed=True)
        table |= {f"{kind}max_pool{axes}d{and_where}": highest for kind, and_where in product(*_POOLS)}
        table |= {f"{kind}avg_pool{axes}d": averaging for kind in ("", "adaptive_")}
    table |= dict.fromkeys(_CONVERTING, converting) | dict.fromkeys(_PASSING, passing)
    table |= dict.fromkeys(_ROUTING, routing) | dict.fromkeys(_AVERAGING, averaging)
    table |= dict.fromkeys(("add", "__add__", "__radd__", "__iadd__"), partial(_adding, sign=1.0))
    table |= dict.fromkeys(("sub", "__sub__", "__rsub__", "__isub__", "rsub"), partial(_adding, sign=-1.0))
    table |= dict.fromkeys(("mul", "__mul__", "__rmul__", "__imul__", "multiply", "div", "__truediv__"), _scaling)
    norms = {"batch_norm": _batch_norm, "instance_norm": _instance_norm, "group_norm": _group_norm}
    return {**table, **norms, "linear": _dense, "sigmoid": gate, "hardsigmoid": gate}


_POOLS: Final = (("", "adaptive_"), ("", "_with_indices"))
_PASSING: Final = (
    *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus"),
    *("hardswish", "hardtanh", "tanh", "softsign", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"),
    *("feature_alpha_dropout", "feature_dropout", "clone", "contiguous", "detach", "alias", "requires_grad", "data"),
    *("neg", "__neg__", "negative", "identity", "clamp", "clamp_min", "clip", "threshold"),
)
_CONVERTING: Final = ("to", "float", "double", "half", "bfloat16", "type_as", "cpu", "cuda")
_ROUTING: Final = (
    *("cat", "concat", "concatenate", "stack", "hstack", "vstack", "__getitem__", "chunk", "split", "tensor_split"),
    *("narrow", "select", "index_select", "unbind", "reshape", "view", "view_as", "flatten", "unflatten", "ravel"),
    *("permute", "transpose", "movedim", "moveaxis", "swapaxes", "squeeze", "unsqueeze", "expand", "expand_as"),
    *(
        "repeat",
        "repeat_interleave",
        "tile",
        "broadcast_to",
        "pad",
        "constant_pad_nd",
        "flip",
        "roll",
        "t",
        "where",
        "T",
        "mT",
    ),
    *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "masked_fill"),
)
_AVERAGING: Final = ("interpolate", "upsample", "upsample_bilinear", "upsample_nearest", "mean", "sum")

PASS: Final = passing
"""An activation: relevance passes as it is."""

ROUTE: Final = routing
"""What moves values: relevance goes back to where they came from."""

AVERAGE: Final = averaging
"""A mean: relevance is shared as values contributed."""

FUNCTIONS: Final[Mapping[str, Recorded]] = MappingProxyType(_table())
"""What is known of torch's functions, by name."""
