"""A rule's way through a convolution slab by slab, so that what it needs on the way is of one slab at a time."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from strokelens.explain.operators import Convolution, Operator
from strokelens.explain.rules import Absorbed, Back, Rule, Seen

Ends = tuple[int, int]
"""From where to where along an axis."""

Cut = Callable[[Ends, int], tuple[Ends, Ends, Ends]]
"""From a slab's ends, and the size, to those of its inputs, its outputs, and of these of the ones that are its own."""


_AT_ONCE: Final = 2**21
"""Values of an input at a time, where nobody tells: some megabytes, which a processor keeps near itself."""


@dataclass(frozen=True)
class Slabs(Rule):
    """The same relevance as by `rule`: each output shares its own, and is in one slab of `rows` along the longest axis.

    Cut are convolutions that keep the size, whose slabs' inputs reach as far beyond as the kernel does, and transposed
    ones whose kernel is as large as their step. Others are computed whole. Where `rows` are not told they are as many
    as is fast.
    """

    rule: Rule
    rows: int | None = None

    def __post_init__(self) -> None:
        if self.rows is not None and self.rows < 1:
            raise ValueError(f"a slab of {self.rows} rows is none; give 1 or more")

    def through(self, seen: Seen) -> Back:
        """Of one relevance alone."""
        return lambda relevance: self.shared(seen, [relevance])[0]

    def shared(self, seen: Seen, relevances: Sequence[Tensor]) -> list[tuple[Tensor, Absorbed]]:
        """Slab after slab, each for all relevances."""
        axis = max(range(2, seen.x.ndim), key=lambda each: seen.x.shape[each], default=-1)
        cut, size = _cutter(seen.operator, axis), seen.x.shape[axis]
        rows = max(1, _AT_ONCE * size // max(1, seen.x.numel())) if self.rows is None else self.rows
        if cut is None or size <= rows:
            return self.rule.shared(seen, relevances)
        found = [torch.zeros_like(seen.x) for _ in relevances]
        absorbed = [defaultdict[str, Tensor](lambda: seen.x.new_zeros(())) for _ in relevances]
        for begin in range(0, size, rows):
            inputs, outputs, own = cut((begin, min(begin + rows, size)), size)
            parts = [_alone(each.narrow(axis, outputs[0], outputs[1] - outputs[0]), axis, own) for each in relevances]
            slab = self.rule.cut(axis, *inputs).shared(seen.cut(axis, inputs, outputs), parts)
            for whole, stayed, (given, more) in zip(found, absorbed, slab, strict=True):
                whole.narrow(axis, inputs[0], inputs[1] - inputs[0]).add_(given)
                for name, each in more.items():
                    stayed[name] = stayed[name] + each
        return list(zip(found, absorbed, strict=True))

    def __str__(self) -> str:
        return str(self.rule)


def _cutter(operator: Operator, axis: int) -> Cut | None:
    """How a layer is cut; None for one that is not."""
    if not isinstance(operator, Convolution):
        return None
    step, border, reach = (each[axis - 2] for each in (operator.stride, operator.padding, operator.dilation))
    reach *= operator.weight.shape[axis] - 1
    if operator.transposed and border == 0 and reach == step - 1 and not any(operator.output_padding):
        return lambda slab, size: (slab, (slab[0] * step, slab[1] * step), (0, (slab[1] - slab[0]) * step))
    if operator.transposed or step != 1 or 2 * border != reach:
        return None

    def kept(slab: Ends, size: int) -> tuple[Ends, Ends, Ends]:
        wide = max(0, slab[0] - border), min(size, slab[1] + border)
        return wide, wide, (slab[0] - wide[0], slab[1] - wide[0])

    return kept


def _alone(relevance: Tensor, axis: int, own: Ends) -> Tensor:
    """Relevance of the own outputs, 0 at those beside."""
    if own == (0, relevance.shape[axis]):
        return relevance
    alone = relevance.clone()
    alone.narrow(axis, 0, own[0]).zero_()
    alone.narrow(axis, own[1], relevance.shape[axis] - own[1]).zero_()
    return alone
