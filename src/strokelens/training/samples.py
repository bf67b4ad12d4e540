"""Slices of prepared cases, or their tiles, as training sees them: which, in which order, changed by which chances.

All chance comes from the seed and the epoch, and for a change from the slice as well: so neither the number of workers
nor an interruption matters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import product
from math import ceil

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from strokelens.networks.tiles import windows
from strokelens.training.store import Prepared

_ORDER, _CHANGE = 1, 2
"""The streams of chance."""


@dataclass(frozen=True)
class Slice:
    """A slice or a tile of it: of which case in the list, which slice, and where its tile begins."""

    case: int
    z: int
    i: int = 0
    j: int = 0


@dataclass(frozen=True, eq=False)
class Batch:
    """Slices together: `x` as stored, labels `y`, clinical values and which are known, and the slices' numbers.

    `sixfold` is where the ancestor counted lesions six times: patients of Non-LVO.
    """

    x: Shaped[Tensor, "b c s s"]
    y: UInt8[Tensor, "b s s"]
    values: Float32[Tensor, "b v"]
    known: Bool[Tensor, "b v"]
    index: Int64[Tensor, "b"]
    sixfold: Bool[Tensor, "b"]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """The batch on a device; Lightning calls this."""
        moved = {each.name: getattr(self, each.name).to(device, non_blocking=non_blocking) for each in fields(self)}
        return Batch(**moved)


class Slices(Dataset[int]):
    """Every slice of some cases that shows anything, or its tiles that do; cases without truth have none.

    `lesion` is the lowest class of a lesion: brain, where it is a class, is below. Tiles have `tile` pixels a side and
    begin every `step`.
    """

    def __init__(
        self, cases: Sequence[Prepared], *, lesion: int = 1, tile: int | None = None, step: int | None = None
    ) -> None:
        self.cases = tuple(cases)
        self._tile = tile
        drawn, lesions = [], []
        for at, case in enumerate(self.cases):
            if case.y is None:
                continue
            side = case.x.shape[-1]
            corners = (0,) if tile is None else windows(side, tile, step or tile)
            shown, ill = np.any(case.x, axis=1), np.asarray(case.y >= lesion)  # (z, s, s) each
            for z, i, j in product(range(len(case.x)), corners, corners):
                place = (z, slice(i, i + (tile or side)), slice(j, j + (tile or side)))
                if shown[place].any():
                    drawn.append(Slice(at, z, i, j))
                    lesions.append(bool(ill[place].any()))
        self.slices = tuple(drawn)
        self.lesions: Bool[np.ndarray, "n"] = np.array(lesions, bool)

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> int:
        return index

    def collate(self, indices: Sequence[int]) -> Batch:
        """The slices of these numbers as one batch; each is copied once, from the mapped file."""
        chosen = [self.slices[index] for index in indices]
        cases = [self.cases[each.case] for each in chosen]
        return Batch(
            torch.from_numpy(np.stack([self._cut(case.x, each) for case, each in zip(cases, chosen, strict=True)])),
            torch.from_numpy(
                np.stack([self._cut(_truth(case), each) for case, each in zip(cases, chosen, strict=True)])
            ),
            torch.from_numpy(np.stack([case.values for case in cases])),
            torch.from_numpy(np.stack([case.known for case in cases])),
            torch.tensor(indices),
            torch.tensor([case.group == "Non-LVO" for case in cases]),
        )

    def _cut(self, volume: Shaped[np.ndarray, "z *c s s"], each: Slice) -> Shaped[np.ndarray, "*c _ _"]:
        tile = self._tile or volume.shape[-1]
        cut: Shaped[np.ndarray, "*c _ _"] = volume[each.z][..., each.i : each.i + tile, each.j : each.j + tile]
        return cut


class Balanced(Sampler[int]):
    """As many slices as there are, `share` of them with a lesion, in an order of chance, none twice before all were.

    Where there are no lesions, or nothing else, or no share is told, all slices come once. Of several processes,
    `world`, each takes every so many-th from its `rank` on; the first slices come again where that does not come out
    even. Epochs are counted from `first` on.
    """

    def __init__(
        self,
        lesions: Bool[np.ndarray, "n"],
        *,
        share: float | None,
        seed: int,
        first: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._with, self._without = np.flatnonzero(lesions), np.flatnonzero(~lesions)
        self._share, self._seed = share, seed
        self._first, self._rank, self._world = first, rank, world
        self.epoch = 0

    def __len__(self) -> int:
        return ceil((len(self._with) + len(self._without)) / self._world)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self._seed, _ORDER, self._first + self.epoch])
        total = len(self._with) + len(self._without)
        wanted = len(self._with) if self._share is None else round(self._share * total)
        if not (len(self._with) and len(self._without)):
            wanted = len(self._with)
        drawn = np.concatenate([_rounds(self._with, wanted, rng), _rounds(self._without, total - wanted, rng)])
        order = np.resize(rng.permutation(drawn), len(self) * self._world)
        yield from order[self._rank :: self._world].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next; Lightning calls this."""
        self.epoch = epoch


def chances(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The chance of one slice in one epoch."""
    return np.random.default_rng([seed, _CHANGE, epoch, index])


def _rounds(items: Int64[np.ndarray, "n"], count: int, rng: np.random.Generator) -> Int64[np.ndarray, "m"]:
    """So many items: permutations of all, one after the other."""
    if not count:
        return items[:0]
    whole = [rng.permutation(items) for _ in range(-(-count // len(items)))]
    return np.concatenate(whole)[:count]


def _truth(case: Prepared) -> UInt8[np.ndarray, "z s s"]:
    assert case.y is not None
    return case.y
