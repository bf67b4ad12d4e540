"""Slices of prepared cases as training sees them: which, in which order, and changed by which chances.

All chance comes from the seed and the epoch, and for a change from the slice as well: so neither the number of workers
nor an interruption matters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from strokelens.training.store import Prepared

_ORDER, _CHANGE = 1, 2
"""The streams of chance."""


@dataclass(frozen=True)
class Slice:
    """A slice: of which case in the list, and which."""

    case: int
    z: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Slices together: `x` as stored, labels `y`, clinical values and which are known, and the slices' numbers."""

    x: Shaped[Tensor, "b c s s"]
    y: UInt8[Tensor, "b s s"]
    values: Float32[Tensor, "b v"]
    known: Bool[Tensor, "b v"]
    index: Int64[Tensor, "b"]


class Slices(Dataset[int]):
    """Every slice of some cases that shows anything; cases without truth have none.

    `lesion` is the lowest class of a lesion: brain, where it is a class, is below.
    """

    def __init__(self, cases: Sequence[Prepared], *, lesion: int = 1) -> None:
        self._lesion = lesion
        self.cases = tuple(cases)
        self.slices = tuple(
            Slice(at, z)
            for at, case in enumerate(self.cases)
            if case.y is not None
            for z in range(len(case.x))
            if case.x[z].any()
        )
        self.lesions: Bool[np.ndarray, "n"] = np.array([self._marked(each) for each in self.slices], bool)

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> int:
        return index

    def collate(self, indices: Sequence[int]) -> Batch:
        """The slices of these numbers as one batch; each is copied once, from the mapped file."""
        chosen = [self.slices[index] for index in indices]
        cases = [self.cases[each.case] for each in chosen]
        return Batch(
            torch.from_numpy(np.stack([case.x[each.z] for case, each in zip(cases, chosen, strict=True)])),
            torch.from_numpy(np.stack([_truth(case)[each.z] for case, each in zip(cases, chosen, strict=True)])),
            torch.from_numpy(np.stack([case.values for case in cases])),
            torch.from_numpy(np.stack([case.known for case in cases])),
            torch.tensor(indices),
        )

    def _marked(self, each: Slice) -> bool:
        return bool((_truth(self.cases[each.case])[each.z] >= self._lesion).any())


class Balanced(Sampler[int]):
    """As many slices as there are, `share` of them with a lesion, in an order of chance, none twice before all were.

    Where there are no lesions, or nothing else, all slices come once.
    """

    def __init__(self, lesions: Bool[np.ndarray, "n"], *, share: float, seed: int) -> None:
        self._with, self._without = np.flatnonzero(lesions), np.flatnonzero(~lesions)
        self._share, self._seed = share, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._with) + len(self._without)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self._seed, _ORDER, self.epoch])
        wanted = round(self._share * len(self))
        if not (len(self._with) and len(self._without)):
            wanted = len(self._with)
        drawn = np.concatenate([_rounds(self._with, wanted, rng), _rounds(self._without, len(self) - wanted, rng)])
        yield from rng.permutation(drawn).tolist()


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
