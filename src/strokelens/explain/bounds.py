"""What rules of a first layer are told of the input, and what becomes of that on the way to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Bounds:
    """The reference of each channel (c,) or voxel (c, *space), and the lowest and highest values that it can have.

    What is not told is None: rules that need it are refused.
    """

    reference: Float[Tensor, "..."] | None = None
    low: Float[Tensor, "..."] | None = None
    high: Float[Tensor, "..."] | None = None

    def like(self, x: Float[Tensor, "b c *space"]) -> "Bounds":
        """Of each voxel of an input.

        Raises `ValueError` where they do not fit it.
        """
        return self.each(lambda values: _spread(values, x))

    def each(self, changed: Callable[[Tensor], Tensor]) -> "Bounds":
        """With what is told changed."""
        return Bounds(*(None if told is None else changed(told) for told in (self.reference, self.low, self.high)))

    @classmethod
    def together(cls, made: Callable[..., Tensor], parts: "list[Bounds]") -> "Bounds":
        """Made of several, field by field; what one of them is not told is not told."""
        fields = zip(*((each.reference, each.low, each.high) for each in parts), strict=True)
        return cls(*(None if any(part is None for part in field) else made(*field) for field in fields))


UNTOLD: Final = Bounds()
"""Nothing is told."""


def _spread(values: Tensor, x: Tensor) -> Tensor:
    values = values.to(x)
    if values.ndim == 1:
        values = values.view(-1, *[1] * (x.ndim - 2))
    try:
        return values.expand_as(x)
    except RuntimeError:
        raise ValueError(f"bounds of shape {tuple(values.shape)} do not fit an input of {tuple(x.shape)}") from None
