"""What training sees of prepared cases, piece by piece: slices or volumes, or tiles of them; and in which order.

All chance comes from the seed and the epoch, and for a change from the slice and how often it came before in the epoch
as well: so neither the number of workers nor an interruption matters.
"""

from abc import ABC, abstractmethod
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
from strokelens.settings.chances import Augmentation, Diffgen
from strokelens.training.store import Prepared
from strokelens.training.textures import mixed_in

_ORDER, _CHANGE, _TEXTURE = 1, 2, 4
"""The streams of chance."""


@dataclass(frozen=True)
class Piece:
    """A slice or a volume, or a tile of it: of which case in the list, which slice, and where its tile begins.

    A volume is all slices, and its `z` 0.
    """

    case: int
    z: int
    i: int = 0
    j: int = 0


class Draw(NamedTuple):
    """A piece's number, in which epoch it is drawn, and how often it was drawn there before."""

    number: int
    epoch: int
    again: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Pieces together: `x` as stored, labels `y`, clinical values and which are known, and the pieces' numbers.

    `sixfold` is where the ancestor counted lesions six times: patients of Non-LVO. `changes` are what shall happen to
    the pieces, each to one; none of those who validate.
    """

    x: Shaped[Tensor, "b c *space"]
    y: UInt8[Tensor, "b *space"]
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


class Pieces(Dataset[Draw], ABC):
    """Every piece of some cases that shows anything; cases without truth have none.

    `lesion` is the lowest class of a lesion: brain, where it is a class, is below. Tiles have `tile` pixels a side and
    begin every `step`.
    """

    def __init__(
        self, cases: Sequence[Prepared], *, lesion: int = 1, tile: int | None = None, step: int | None = None
    ) -> None:
        self.cases = tuple(cases)
        self._tile = tile
        drawn: list[Piece] = []
        lesions: list[bool] = []
        for at, case in enumerate(self.cases):
            if case.y is None:
                continue
            side = case.x.shape[-1]
            corners = (0,) if tile is None else windows(side, tile, step or tile)
            shown, ill = self._layers(np.any(case.x, axis=1)), self._layers(np.asarray(case.y >= lesion))
            some, sick = (_in_windows(each, corners, tile or side) for each in (shown, ill))
            for z, row, column in np.argwhere(some).tolist():
                drawn.append(Piece(at, z, corners[row], corners[column]))
            lesions += sick[some].tolist()
        self.pieces = tuple(drawn)
        self.lesions: Bool[np.ndarray, "n"] = np.array(lesions, bool)

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, draw: Draw) -> Draw:
        return draw

    def collate(self, indices: Sequence[int]) -> Batch:
        """The pieces of these numbers as one batch; each is copied once, from the mapped file."""
        chosen = [self.pieces[index] for index in indices]
        cases = [self.cases[each.case] for each in chosen]
        placed = list(zip(cases, chosen, strict=True))
        return Batch(
            torch.from_numpy(_together([self._seen(case, each) for case, each in placed])),
            torch.from_numpy(_together([self._true(_truth(case), each) for case, each in placed])),
            torch.from_numpy(np.stack([case.values for case in cases])),
            torch.from_numpy(np.stack([case.known for case in cases])),
            torch.tensor([case.group == "Non-LVO" for case in cases]),
            tuple(indices),
        )

    def named(self, index: int) -> str:
        """What a piece is called."""
        piece = self.pieces[index]
        return f"{self.cases[piece.case].case_id}{self._place(piece)}"

    def shape_of(self, index: int) -> tuple[int, ...]:
        """How many voxels a piece has along its axes, by itself: in a batch it may be among larger ones."""
        piece = self.pieces[index]
        truth = _truth(self.cases[piece.case])
        return self._true(truth, piece).shape

    def _part(self, piece: Piece, side: int) -> tuple[slice, slice]:
        tile = self._tile or side
        return slice(piece.i, piece.i + tile), slice(piece.j, piece.j + tile)

    @abstractmethod
    def _layers(self, shown: Bool[np.ndarray, "z s s"]) -> Bool[np.ndarray, "_ s s"]:
        """What shows anything, once for each piece or row of tiles."""

    @abstractmethod
    def _seen(self, case: Prepared, piece: Piece) -> Shaped[np.ndarray, "c *space"]:
        """What the network is shown of a case's maps."""

    @abstractmethod
    def _true(self, truth: UInt8[np.ndarray, "z s s"], piece: Piece) -> UInt8[np.ndarray, "*space"]:
        """The truth of that."""

    @abstractmethod
    def _place(self, piece: Piece) -> str:
        """Where in its case a piece is, for people."""


class Slices(Pieces):
    """Slices, each seen with those around it: `around` slices in all, of so many `maps`."""

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
        super().__init__(cases, lesion=lesion, tile=tile, step=step)
        self._around, self._maps = around, maps

    def _layers(self, shown: Bool[np.ndarray, "z s s"]) -> Bool[np.ndarray, "_ s s"]:
        return shown

    def _seen(self, case: Prepared, piece: Piece) -> Shaped[np.ndarray, "c *space"]:
        part = self._part(piece, case.x.shape[-1])
        seen: Shaped[np.ndarray, "c *space"] = surrounded(
            case.x, np.array([piece.z]), part, slices=self._around, maps=self._maps
        )[0]
        return seen

    def _true(self, truth: UInt8[np.ndarray, "z s s"], piece: Piece) -> UInt8[np.ndarray, "*space"]:
        i, j = self._part(piece, truth.shape[-1])
        true: UInt8[np.ndarray, "*space"] = truth[piece.z, i, j]
        return true

    def _place(self, piece: Piece) -> str:
        return f" slice {piece.z}"


class Volumes(Pieces):
    """Whole volumes, or their tiles of all slices; where cases of a batch have fewer slices, the others are empty."""

    def _layers(self, shown: Bool[np.ndarray, "z s s"]) -> Bool[np.ndarray, "_ s s"]:
        layer: Bool[np.ndarray, "_ s s"] = np.any(shown, axis=0)[None]
        return layer

    def _seen(self, case: Prepared, piece: Piece) -> Shaped[np.ndarray, "c *space"]:
        i, j = self._part(piece, case.x.shape[-1])
        return np.moveaxis(case.x[:, :, i, j], 1, 0)

    def _true(self, truth: UInt8[np.ndarray, "z s s"], piece: Piece) -> UInt8[np.ndarray, "*space"]:
        i, j = self._part(piece, truth.shape[-1])
        return truth[:, i, j]

    def _place(self, piece: Piece) -> str:
        return f" tile {piece.i}, {piece.j}" if self._tile else ""


@dataclass(frozen=True, eq=False)
class Collated:
    """Makes a batch of what was drawn, and decides what happens to each piece where there are `changes`; in a worker.

    `maps` is how many maps a piece has. Where textures are to be mixed in, `textures` tells how.
    """

    pieces: Pieces
    seed: int
    maps: int
    changes: Augmentation | None = None
    textures: Diffgen | None = None

    def __call__(self, draws: Sequence[Draw]) -> Batch:
        """The batch."""
        batch = self.pieces.collate([draw.number for draw in draws])
        if self.textures is not None and self.textures.fraction:
            rngs = [chances(self.seed, draw.epoch, draw.number, draw.again, stream=_TEXTURE) for draw in draws]
            depths = [self.pieces.shape_of(draw.number)[0] for draw in draws]
            x, y = mixed_in(batch.x.numpy(), batch.y.numpy(), self.textures, rngs, depths)
            batch = replace(batch, x=torch.from_numpy(x), y=torch.from_numpy(y))
        if self.changes is None:
            return batch
        decided = []
        for draw in draws:
            rng, shape = chances(self.seed, draw.epoch, draw.number, draw.again), self.pieces.shape_of(draw.number)
            decided.append(decide(rng, self.changes, self.maps, shape))
        return replace(batch, changes=tuple(decided))


def in_order(count: int, *, rank: int = 0, world: int = 1) -> list[Draw]:
    """All of so many once, in order; of several processes, `world`, each takes every so many-th."""
    return [Draw(index, 0, 0) for index in range(rank, count, world)]


class Balanced(Sampler[Draw]):
    """As many pieces as there are, or `draws`, `share` of them with a lesion, in an order of chance.

    None comes twice before all did. Where there are no lesions, or nothing else, or no share is told, all come alike.
    Of several processes, `world`, each takes every so many-th from its `rank` on; the first ones come again where that
    does not come out even. Epochs are counted from `first` on.
    """

    def __init__(
        self,
        lesions: Bool[np.ndarray, "n"],
        *,
        share: float | None,
        seed: int,
        draws: int | None = None,
        first: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._with, self._without = np.flatnonzero(lesions), np.flatnonzero(~lesions)
        self._share, self._seed = share, seed
        self._total = len(lesions) if draws is None else draws
        self._first, self._rank, self._world = first, rank, world
        self.epoch = 0

    def __len__(self) -> int:
        return ceil(self._total / self._world)

    def __iter__(self) -> Iterator[Draw]:
        epoch, times = self._first + self.epoch, Counter[int]()
        for at, index in enumerate(self._order(epoch)):
            if at % self._world == self._rank:
                yield Draw(index, epoch, times[index])
            times[index] += 1

    def _order(self, epoch: int) -> list[int]:
        """The epoch of all processes together."""
        rng = np.random.default_rng([self._seed, _ORDER, epoch])
        total = self._total
        there = len(self._with) + len(self._without)
        wanted = round(len(self._with) / there * total if self._share is None else self._share * total)
        if self._share:
            wanted = max(1, wanted)
        if not (len(self._with) and len(self._without)):
            wanted = total if len(self._with) else 0
        drawn = np.concatenate([_rounds(self._with, wanted, rng), _rounds(self._without, total - wanted, rng)])
        found: list[int] = np.resize(rng.permutation(drawn), len(self) * self._world).tolist()
        return found

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next; Lightning calls this."""
        self.epoch = epoch


def chances(seed: int, epoch: int, index: int, again: int = 0, *, stream: int = _CHANGE) -> np.random.Generator:
    """The chance of one piece in one epoch, in which it was `again` times before."""
    return np.random.default_rng([seed, stream, epoch, index, again])


def _together(arrays: Sequence[Shaped[np.ndarray, "..."]]) -> Shaped[np.ndarray, "b *space"]:
    """Arrays as one, those of fewer slices with empty ones above."""
    shape = np.max([each.shape for each in arrays], axis=0)
    whole = [np.pad(each, [(0, size - has) for size, has in zip(shape, each.shape, strict=True)]) for each in arrays]
    return np.stack(whole)


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
