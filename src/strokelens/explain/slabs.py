"""A rule's way through a convolution slab by slab, so that what it needs on the way is of one slab at a time."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from strokelens.explain.operators import Convolution, Operator
from strokelens.explain.rules import Absorbed, Back, Rule, Seen

Ends = tuple[int, int]
"""From where to where along an axis."""


@dataclass(frozen=True)
class Slabs(Rule):
    """The same relevance as by `rule`: each output shares its own, and is in one slab of `rows` along the longest axis.

    Cut are convolutions that keep the size, whose slabs' inputs reach as far beyond as the kernel does, and transposed
    ones whose kernel is as large as their step. Others are computed whole.
    """

    rule: Rule
    rows: int

    def through(self, seen: Seen) -> Back:
        """Slab after slab, for each relevance anew."""
        axis = max(range(2, seen.x.ndim), key=lambda each: seen.x.shape[each], default=-1)
        cut = _cutter(seen.operator, axis)
        if cut is None or seen.x.shape[axis] <= self.rows:
            return self.rule.through(seen)
        size = seen.x.shape[axis]

        def back(relevance: Tensor) -> tuple[Tensor, Absorbed]:
            found, absorbed = torch.zeros_like(seen.x), defaultdict[str, Tensor](lambda: relevance.new_zeros(()))
            for begin in range(0, size, self.rows):
                inputs, outputs, own = cut((begin, min(begin + self.rows, size)), size)
                coming = _alone(relevance.narrow(axis, outputs[0], outputs[1] - outputs[0]), axis, own)
                rule = self.rule.cut(axis, *inputs)
                given, stayed = rule.through(seen.cut(axis, inputs, outputs))(coming)
                found.narrow(axis, inputs[0], inputs[1] - inputs[0]).add_(given)
                for name, each in stayed.items():
                    absorbed[name] = absorbed[name] + each
            return found, absorbed

        return back

    def __str__(self) -> str:
        return str(self.rule)


def _cutter(operator: Operator, axis: int) -> Callable[[Ends, int], tuple[Ends, Ends, Ends]] | None:
    """From a slab's ends, and the size, to those of its inputs, its outputs, and of these of the ones that are its own.

    None for what is not cut.
    """
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
