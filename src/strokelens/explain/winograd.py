"""What flows back through a convolution of 3×3×3, by fewer multiplications than it is defined by.

The algorithm of Winograd, F(4×4, 3×3) of Lavin and Gray (arXiv 1509.09308) in the plane and plain from slice to slice:
of each tile of 6×6 come 4×4 values by 36 products, where the definition takes 144. Its rounding is coarser: in float32
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

_TILE, _SIDE = 4, 6
_AT_ONCE: Final = 2**22
"""Values of transformed tiles at a time: some megabytes, which a processor keeps near itself."""

_OF_KERNEL: Final = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)


@dataclass(frozen=True, eq=False)
class Flow:
    """Back through one convolution with weights W and a border of zeros: x · Wᵀ (q · R); made by `Flow.of`.

    `share` is q, what a unit of relevance of each output is worth; `inputs` is x.
    """

    kernels: tuple[Float[Tensor, "c n 3 1"], ...]
    """Of each of a tile's 36 values the convolution from slice to slice."""
    share: Float[Tensor, "k i j n"]
    inputs: Float[Tensor, "k rows 4 columns 4 c"]
    """In tiles, with zeros at the ends of a plane that is no multiple of them."""

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
        turned = weight.flip(2, 3, 4).permute(3, 4, 1, 0, 2)  # (3, 3, c, n, 3)
        each = _in_plane(_OF_KERNEL, turned).flatten(0, 1)[..., None]
        kernels = tuple(kernel.contiguous(memory_format=torch.channels_last) for kernel in each)
        k, i, j, c = inputs.shape
        whole = inputs.new_zeros(k, *_whole(i, j), c)
        whole[:, :i, :j] = inputs
        return cls(kernels, share.contiguous(), whole.reshape(k, -(-i // _TILE), _TILE, -1, _TILE, c))

    def __call__(self, relevance: Float[Tensor, "t k i j n"]) -> Float[Tensor, "t k i j c"]:
        """The relevance of what came in."""
        t, k, i, j, _ = relevance.shape
        whole = relevance.new_empty(t, *self.inputs.shape)
        for maps, rows in _parts(relevance.shape, max(self.share.shape[-1], self.inputs.shape[-1])):
            found = self._products(self._tiles(relevance[maps], rows)).permute(2, 3, 4, 0, 5, 1, 6)
            torch.mul(found, self.inputs[:, rows], out=whole[maps, :, rows])
        return whole.reshape(t, k, *_whole(i, j), -1)[:, :, :i, :j]

    def _tiles(self, relevance: Float[Tensor, "t k i j n"], rows: slice) -> Float[Tensor, "6 6 t k rows columns n"]:
        """Transformed tiles of these rows, which begin a voxel before what is made of them."""
        t, k, i, j, n = relevance.shape
        first = _TILE * rows.start - 1
        begin, end = max(first, 0), min(_TILE * rows.stop + 1, i)
        columns = -(-j // _TILE)
        wide = relevance.new_zeros(t, k, _TILE * (rows.stop - rows.start) + 2, _TILE * columns + 2, n)
        inside = wide[:, :, begin - first : end - first, 1 : j + 1]
        torch.mul(relevance[:, :, begin:end], self.share[:, begin:end], out=inside)
        down = _six([wide[:, :, row : row + wide.shape[2] - 5 : _TILE] for row in range(_SIDE)])
        whole = wide.new_empty(_SIDE, _SIDE, *down[0].shape[:3], columns, n)
        for row, across in zip(whole, down, strict=True):
            _six([across[:, :, :, column : column + _TILE * columns - 3 : _TILE] for column in range(_SIDE)], list(row))
        return whole

    def _products(self, tiles: Float[Tensor, "6 6 t k rows columns n"]) -> Float[Tensor, "4 4 t k rows columns c"]:
        t, k, rows, columns, n = tiles.shape[2:]
        flat = tiles.reshape(_SIDE**2, t, k, rows * columns, n).permute(0, 1, 4, 2, 3)
        found = [conv2d(each, kernel, padding=(1, 0)) for each, kernel in zip(flat, self.kernels, strict=True)]
        values = [each.permute(0, 2, 3, 1) for each in found]  # (t, k, tiles, c), as they lie in memory
        whole = values[0].new_empty(_TILE, _TILE, *values[0].shape)
        down = [_four(values[column::_SIDE]) for column in range(_SIDE)]
        for row, across in enumerate(whole):
            _four([column[row] for column in down], list(across))
        return whole.reshape(_TILE, _TILE, t, k, rows, columns, -1)


def _six(v: Sequence[Tensor], out: Sequence[Tensor] | None = None) -> Sequence[Tensor]:
    """The six values of a line of six, times (4 0 −5 0 1 0, 0 ∓4 −4 ±1 1 0, 0 ∓2 −1 ±2 1 0, 0 4 0 −5 0 1)."""
    y = [torch.empty_like(v[0], memory_format=torch.contiguous_format) for _ in v] if out is None else out
    near, far = v[3] - v[1], v[4] - v[2]
    torch.add(far, torch.sub(v[0], v[2], out=y[0]), alpha=4, out=y[0])
    torch.add(far, near, alpha=2, out=y[3])
    torch.sub(far, near, alpha=2, out=y[4])
    torch.sub(torch.sub(v[5], v[3], out=y[5]), near, alpha=4, out=y[5])
    torch.sub(v[3], v[1], alpha=4, out=near)
    torch.sub(v[4], v[2], alpha=4, out=far)
    torch.add(far, near, out=y[1])
    torch.sub(far, near, out=y[2])
    return y


def _four(v: Sequence[Tensor], out: Sequence[Tensor] | None = None) -> Sequence[Tensor]:
    """The four values of a line of six products, times (1 1 1 1 1 0, 0 1 −1 2 −2 0, 0 1 1 4 4 0, 0 1 −1 8 −8 1).

    By hand it is faster than as a matrix.
    """
    y = [torch.empty_like(v[0]) for _ in range(_TILE)] if out is None else out
    near, far = v[1] - v[2], v[3] - v[4]
    torch.add(near, far, alpha=2, out=y[1])
    torch.add(near, far, alpha=8, out=y[3]).add_(v[5])
    torch.add(v[1], v[2], out=near)
    torch.add(v[3], v[4], out=far)
    torch.add(near, far, out=y[0]).add_(v[0])
    torch.add(near, far, alpha=4, out=y[2])
    return y


def _in_plane(matrix: tuple[tuple[float, ...], ...], values: Float[Tensor, "a a *rest"]) -> Float[Tensor, "b b *rest"]:
    """M V Mᵀ, of all that lies behind."""
    by, side, rest = values.new_tensor(matrix), values.shape[0], values.shape[2:]
    once = (by @ values.reshape(side, -1)).reshape(len(by), side, -1)
    return (by @ once).reshape(len(by), len(by), *rest)


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
