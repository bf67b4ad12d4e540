"""What flows back through a convolution of 3×3×3, by fewer multiplications than it is defined by.

The algorithm of Winograd, F(6×6, 3×3) of Lavin and Gray (arXiv 1509.09308) in the plane and plain from slice to slice:
of each tile of 8×8 come 6×6 values by 64 products, where the definition takes 324. Its rounding is coarser: in float32
about 1e-5 of the largest value.

Axes: maps t, voxels k i j, channels last: n of the convolution's output, c of its input.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d

_TILE, _SIDE = 6, 8
_AT_ONCE: Final = 2**23
"""Values of transformed tiles at a time."""

_POINTS: Final = ((1.0, 17 / 4, 1.0), (2.0, 5 / 4, 1 / 4), (1 / 2, 5.0, 4.0))
"""The points ±p where products are taken, beside 0 and ∞; and of the other two's squares the sum and the product."""

_OF_KERNEL: Final = (
    (1.0, 0.0, 0.0),
    (-2 / 9, -2 / 9, -2 / 9),
    (-2 / 9, 2 / 9, -2 / 9),
    (1 / 90, 1 / 45, 2 / 45),
    (1 / 90, -1 / 45, 2 / 45),
    (32 / 45, 16 / 45, 8 / 45),
    (32 / 45, -16 / 45, 8 / 45),
    (0.0, 0.0, 1.0),
)


@dataclass(frozen=True, eq=False)
class Flow:
    """Back through one convolution with weights W and a border of zeros: x · Wᵀ (q · R); made by `Flow.of`.

    `share` is q, what a unit of relevance of each output is worth; `inputs` is x.
    """

    kernels: tuple[Float[Tensor, "c n 3 1"], ...]
    """Of each of a tile's 64 values the convolution from slice to slice."""
    share: Float[Tensor, "k i j n"]
    inputs: Float[Tensor, "6 6 k rows columns c"]
    """In tiles, each of their 36 voxels together, with zeros at the ends of a plane that is no multiple of them."""

    @classmethod
    def of(
        cls, weight: Float[Tensor, "n c 3 3 3"], share: Float[Tensor, "k i j n"], inputs: Float[Tensor, "k i j c"]
    ) -> Self:
        """Of these weights, their kernels made ready.

        >>> x = torch.tensor([1.0, 2.0]).reshape(1, 1, 2, 1)
        >>> flow = Flow.of(torch.ones(1, 1, 3, 3, 3), torch.ones(1, 1, 2, 1), x)
        >>> flow(torch.tensor([3.0, 4.0]).reshape(1, 1, 1, 2, 1)).round(decimals=3).flatten().tolist()
        [7.0, 14.0]
        """
        in_line = weight.new_tensor(_OF_KERNEL).flip(1)  # backwards the kernel is turned
        last = weight.flip(2).permute(3, 4, 1, 2, 0).reshape(9, -1)  # (3, 3, c, 3, n)
        each = (torch.kron(in_line, in_line) @ last).reshape(_SIDE**2, weight.shape[1], 3, 1, -1)
        kernels = each.permute(0, 1, 4, 2, 3).unbind()  # channels last, as they lie in memory
        k, i, j, c = inputs.shape
        whole = inputs.new_zeros(k, *_whole(i, j), c)
        whole[:, :i, :j] = inputs
        tiles = whole.reshape(k, -(-i // _TILE), _TILE, -1, _TILE, c).permute(2, 4, 0, 1, 3, 5)
        return cls(kernels, share.contiguous(), tiles.contiguous())

    def __call__(self, relevance: Float[Tensor, "t k i j n"]) -> Float[Tensor, "t k i j c"]:
        """The relevance of what came in."""
        t, k, i, j, _ = relevance.shape
        high, wide, channels = self.inputs.shape[3:]
        found = relevance.new_empty(t, k, high, _TILE, wide, _TILE, channels)
        for maps, rows in _parts(relevance.shape, max(self.share.shape[-1], channels)):
            down = [self._across(line, at) for at, line in enumerate(_forth(self._lines(relevance[maps], rows)))]
            for column, products in enumerate(zip(*down, strict=True)):
                for row, back in enumerate(_back(products)):
                    inputs = self.inputs[row, column, :, rows]
                    torch.mul(back.view(-1, *inputs.shape), inputs, out=found[maps, :, rows, row, :, column])
        return found.reshape(t, k, *_whole(i, j), -1)[:, :, :i, :j]

    def _lines(self, relevance: Float[Tensor, "t k i j n"], rows: slice) -> list[Float[Tensor, "t k rows wide n"]]:
        """The eight lines of each of these rows of tiles, which begin a voxel before what is made of them."""
        t, k, i, j, n = relevance.shape
        first, height = _TILE * rows.start - 1, _TILE * (rows.stop - rows.start) + 2
        begin, end = max(first, 0), min(first + height, i)
        wide = relevance.new_empty(t, k, height, -(-j // _TILE) * _TILE + 2, n)
        inside = wide[:, :, begin - first : end - first]
        above, below = wide[:, :, : begin - first], wide[:, :, end - first :]
        for border in (above, below, inside[:, :, :, :1], inside[:, :, :, j + 1 :]):
            border.zero_()
        torch.mul(relevance[:, :, begin:end], self.share[:, begin:end], out=inside[:, :, :, 1 : j + 1])
        return [wide[:, :, line : line + height - _TILE - 1 : _TILE] for line in range(_SIDE)]

    def _across(self, line: Float[Tensor, "t k rows wide n"], at: int) -> list[Float[Tensor, "t k tiles c"]]:
        """Of a line of tiles the six values of its products with the kernels."""
        width = line.shape[3]
        tiles = _forth([line[:, :, :, column : column + width - _TILE - 1 : _TILE] for column in range(_SIDE)])
        each = zip(tiles, self.kernels[_SIDE * at :], strict=False)
        found = [conv2d(tile.flatten(2, 3).permute(0, 3, 1, 2), kernel, padding=(1, 0)) for tile, kernel in each]
        return _back([products.permute(0, 2, 3, 1) for products in found])  # as they lie in memory


def _forth(v: Sequence[Tensor]) -> list[Tensor]:
    """The eight values of a line of eight, as of the coefficients of a polynomial.

    At ±p they are x² (x² − q²) (x² − r²) (1 ± p / x) with the other points q and r, for xⁿ the n-th of the line; at 0
    and ∞ they are those of ∓(1 − x²) (x² − 4) (x² − 1/4). By hand it is faster than as a matrix.
    """
    y = [torch.empty_like(v[0], memory_format=torch.contiguous_format) for _ in v]
    even, odd = v[4] - v[2], v[3] - v[5]
    torch.sub(v[0], v[6], out=y[0]).add_(even, alpha=21 / 4)
    torch.sub(v[7], v[1], out=y[7]).add_(odd, alpha=21 / 4)
    for at, (point, both, product) in zip((1, 3, 5), _POINTS, strict=True):
        torch.add(v[6], v[2], alpha=product, out=even).sub_(v[4], alpha=both)
        torch.add(v[5], v[1], alpha=product, out=odd).sub_(v[3], alpha=both)
        torch.add(even, odd, alpha=point, out=y[at])
        torch.sub(even, odd, alpha=point, out=y[at + 1])
    return y


def _back(v: Sequence[Tensor]) -> list[Tensor]:
    """The six values of a line of eight products, written over them: the n-th is Σ pⁿ (v₊ ± v₋), minus where n is odd.

    v₊ and v₋ are the products at ±p. The first has that at 0, too, and the last that at ∞.
    """
    (even, odd), (even_2, odd_2), (even_half, odd_half) = (
        (v[at].add(v[at + 1]), torch.sub(v[at], v[at + 1], out=v[at])) for at in (1, 3, 5)
    )
    return [
        v[0].add_(even).add_(even_2).add_(even_half),
        torch.add(odd, odd_2, alpha=2, out=v[2]).add_(odd_half, alpha=1 / 2),
        torch.add(even, even_2, alpha=4, out=v[4]).add_(even_half, alpha=1 / 4),
        torch.add(odd, odd_2, alpha=8, out=v[6]).add_(odd_half, alpha=1 / 8),
        even.add_(even_2, alpha=16).add_(even_half, alpha=1 / 16),
        v[7].add_(odd).add_(odd_2, alpha=32).add_(odd_half, alpha=1 / 32),
    ]


def _whole(i: int, j: int) -> tuple[int, int]:
    """The plane that tiles cover."""
    return -(-i // _TILE) * _TILE, -(-j // _TILE) * _TILE


def _parts(shape: torch.Size, channels: int) -> Iterator[tuple[slice, slice]]:
    """Maps, and rows of tiles, that are computed together: as many as fit."""
    t, k, i, j = shape[:4]
    rows, of_a_row = -(-i // _TILE), _SIDE**2 * k * -(-j // _TILE) * channels
    height, maps = max(1, min(rows, _AT_ONCE // of_a_row)), max(1, _AT_ONCE // (of_a_row * rows))
    for first in range(0, t, maps):
        for row in range(0, rows, height):
            yield slice(first, first + maps), slice(row, min(row + height, rows))
