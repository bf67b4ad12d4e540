"""Slices of prepared cases, or their tiles, as training sees them: which, in which order, changed by which chances.

All chance comes from the seed and the epoch, and for a change from the slice and how often it came before in the epoch
as well: so neither the number of workers nor an interruption matters.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from strokelens.augment import Change, decide
from strokelens.networks.surround import surrounded
from strokelens.networks.tiles import windows
from strokelens.settings.schema import Augmentation
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


class Draw(NamedTuple):
    """A slice's number, in which epoch it is drawn, and how often it was drawn there before."""

    number: int
    epoch: int
    again: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Slices together: `x` as stored, labels `y`, clinical values and which are known, and the slices' numbers.

    `sixfold` is where the ancestor counted lesions six times: patients of Non-LVO. `changes` are what shall happen to
    the slices, each to one; none of those who validate.
    """

    x: Shaped[Tensor, "b c s s"]
    y: UInt8[Tensor, "b s s"]
    values: Float32[Tensor, "b v"]
    known: Bool[Tensor, "b v"]
    sixfold: Bool[Tensor, "b"]
    index: tuple[int, ...]
    changes: tuple[Change, ...] = ()

    def to(self, device: torch.device | str, *, non_blocking: bool = True) -> "Batch":
        """The batch on a device; Lightning calls this."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The batch where a GPU reads it while it computes; the loader calls this."""
        return self._each(Tensor.pin_memory)

    def _each(self, done: Callable[[Tensor], Tensor]) -> "Batch":
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        done_to: dict[str, Any] = {name: done(value) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **done_to)


class Slices(Dataset[Draw]):
    """Every slice of some cases that shows anything, or its tiles that do; cases without truth have none.

    `lesion` is the lowest class of a lesion: brain, where it is a class, is below. Tiles have `tile` pixels a side and
    begin every `step`. Each is seen with those around it, `around` slices in all, of so many `maps`.
    """

    def __init__(
        self,
        cases: Sequence[Prepared],
        *,
        lesion: int = 1,
        tile: int | None = None,
        step: int | None = None,
        around: int = 1,
        maps: int = 1,
    ) -> None:
        self.cases = tuple(cases)
        self._tile, self._around, self._maps = tile, around, maps
        drawn: list[Slice] = []
        lesions: list[bool] = []
        for at, case in enumerate(self.cases):
            if case.y is None:
                continue
            side = case.x.shape[-1]
            corners = (0,) if tile is None else windows(side, tile, step or tile)
            shown, ill = np.any(case.x, axis=1), np.asarray(case.y >= lesion)  # (z, s, s) each
            some, sick = (_in_windows(each, corners, tile or side) for each in (shown, ill))
            for z, row, column in np.argwhere(some).tolist():
                drawn.append(Slice(at, z, corners[row], corners[column]))
            lesions += sick[some].tolist()
        self.slices = tuple(drawn)
        self.lesions: Bool[np.ndarray, "n"] = np.array(lesions, bool)

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, draw: Draw) -> Draw:
        return draw

    def collate(self, indices: Sequence[int]) -> Batch:
        """The slices of these numbers as one batch; each is copied once, from the mapped file."""
        chosen = [self.slices[index] for index in indices]
        cases = [self.cases[each.case] for each in chosen]
        placed = list(zip(cases, chosen, strict=True))
        return Batch(
            torch.from_numpy(np.concatenate([self._seen(case, each) for case, each in placed])),
            torch.from_numpy(np.stack([self._cut(_truth(case), each) for case, each in placed])),
            torch.from_numpy(np.stack([case.values for case in cases])),
            torch.from_numpy(np.stack([case.known for case in cases])),
            torch.tensor([case.group == "Non-LVO" for case in cases]),
            tuple(indices),
        )

    def _seen(self, case: Prepared, each: Slice) -> Shaped[np.ndarray, "1 c _ _"]:
        """What the network is shown of a case's maps."""
        tile = self._tile or case.x.shape[-1]
        part = (slice(each.i, each.i + tile), slice(each.j, each.j + tile))
        return surrounded(case.x, np.array([each.z]), part, slices=self._around, maps=self._maps)

    def _cut(self, volume: Shaped[np.ndarray, "z *c s s"], each: Slice) -> Shaped[np.ndarray, "*c _ _"]:
        tile = self._tile or volume.shape[-1]
        cut: Shaped[np.ndarray, "*c _ _"] = volume[each.z][..., each.i : each.i + tile, each.j : each.j + tile]
        return cut


@dataclass(frozen=True, eq=False)
class Collated:
    """Makes a batch of what was drawn, and decides what happens to each slice where there are `changes`; in a worker.

    `maps` is how many maps a slice has.
    """

    slices: Slices
    seed: int
    maps: int
    changes: Augmentation | None = None

    def __call__(self, draws: Sequence[Draw]) -> Batch:
        """The batch."""
        batch = self.slices.collate([draw.number for draw in draws])
        if self.changes is None:
            return batch
        decided = [
            decide(chances(self.seed, draw.epoch, draw.number, draw.again), self.changes, self.maps) for draw in draws
        ]
        return replace(batch, changes=tuple(decided))


def in_order(count: int, *, rank: int = 0, world: int = 1) -> list[Draw]:
    """All slices of so many once, in order; of several processes, `world`, each takes every so many-th."""
    return [Draw(index, 0, 0) for index in range(rank, count, world)]


class Balanced(Sampler[Draw]):
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

    def __iter__(self) -> Iterator[Draw]:
        epoch, times = self._first + self.epoch, Counter[int]()
        for at, index in enumerate(self._order(epoch)):
            if at % self._world == self._rank:
                yield Draw(index, epoch, times[index])
            times[index] += 1

    def _order(self, epoch: int) -> list[int]:
        """The epoch of all processes together."""
        rng = np.random.default_rng([self._seed, _ORDER, epoch])
        total = len(self._with) + len(self._without)
        wanted = len(self._with) if self._share is None else round(self._share * total)
        if self._share:
            wanted = max(1, wanted)
        if not (len(self._with) and len(self._without)):
            wanted = len(self._with)
        drawn = np.concatenate([_rounds(self._with, wanted, rng), _rounds(self._without, total - wanted, rng)])
        found: list[int] = np.resize(rng.permutation(drawn), len(self) * self._world).tolist()
        return found

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next; Lightning calls this."""
        self.epoch = epoch


def chances(seed: int, epoch: int, index: int, again: int = 0) -> np.random.Generator:
    """The chance of one slice in one epoch, in which it was `again` times before."""
    return np.random.default_rng([seed, _CHANGE, epoch, index, again])


def _rounds(items: Int64[np.ndarray, "n"], count: int, rng: np.random.Generator) -> Int64[np.ndarray, "m"]:
    """So many items: permutations of all, one after the other."""
    if not count:
        return items[:0]
    whole = [rng.permutation(items) for _ in range(-(-count // len(items)))]
    return np.concatenate(whole)[:count]


def _in_windows(shown: Bool[np.ndarray, "z s s"], corners: Sequence[int], side: int) -> Bool[np.ndarray, "z r r"]:
    """Whether anything is shown in each window, row by row: by sums over all that is before a place along i and j."""
    sums = np.pad(shown.cumsum(1, dtype=np.int32).cumsum(2, dtype=np.int32), ((0, 0), (1, 0), (1, 0)))
    low = np.array(corners)
    high = low + side
    part: Bool[np.ndarray, "z r r"] = (
        sums[:, high[:, None], high] - sums[:, low[:, None], high] - sums[:, high[:, None], low]
        + sums[:, low[:, None], low]
    ) > 0  # fmt: skip
    return part


def _truth(case: Prepared) -> UInt8[np.ndarray, "z s s"]:
    assert case.y is not None
    return case.y
