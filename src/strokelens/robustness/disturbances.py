"""Ways to disturb what a network sees of a case; all are of values only: where there is none, there is none after.

Axes: slices z, maps m, the colours k of a map (one where it is of values), pixels i j. Strengths of noise and textures
are shares of a map's span, from the 0.5th to the 99.5th percentile of its values: with the ancestor, whose maps reached
from 0 to 1, that was 1.

The ancestor's blur darkened the border and the brain's rim, its "Gaussian" noise was uniform and never below 0, and its
zeroing named the share that was kept.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Shaped
from scipy import ndimage, stats

from strokelens.phantom.diffgen import Recipe as Textures
from strokelens.phantom.diffgen import generate
from strokelens.prepare import Recipe, Sample

BLUR: Final = "blur"
MISSING: Final = "missing"

BLURS: Final = 24
"""How often a case is blurred, at most: the ancestor's number."""

_TAILS_PERCENT: Final = (0.5, 99.5)
_NOISE: Final = 0.15
_FRACTIONS: Final = (0.5, 2.4)
_MOST_ZEROED: Final = 0.5
_FARTHEST: Final = 6.0
"""The largest shift in mm, and turn in degrees, of a slice; what scans move by is mostly less."""

Values = Float32[np.ndarray, "z m k i j"]
There = Bool[np.ndarray, "z m i j"]


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps of a sample as numbers, 0 where there is none, as `there` tells; `dtype` is what they are stored as.

    `voxel_mm` is from slice to slice, and along both axes of a slice.
    """

    values: Values
    there: There
    dtype: np.dtype[np.generic]
    voxel_mm: tuple[float, float, float]

    @classmethod
    def of(cls, sample: Sample, recipe: Recipe) -> "Maps":
        """The maps that a recipe made the sample of; what is 0 in all colours of a map is no value of it."""
        z, _, i, j = sample.x.shape
        values = sample.x.reshape(z, len(recipe.maps), recipe.colours, i, j).astype(np.float32)
        return cls(values, (values != 0).any(axis=2), sample.x.dtype, sample.frame.voxel_mm)

    @cached_property
    def deviation(self) -> Float32[np.ndarray, "m"]:
        """The standard deviation of each map's values; 0 where it has none."""
        return np.array([each.std(dtype=np.float64) if each.size else 0 for each in self._known], np.float32)

    @cached_property
    def span(self) -> Float32[np.ndarray, "m"]:
        """From the lowest of each map's values to the highest, without its tails; 0 where it has none."""
        ends = (np.percentile(each, _TAILS_PERCENT) if each.size else np.zeros(2) for each in self._known)
        return np.array([high - low for low, high in ends], np.float32)

    @property
    def _known(self) -> list[Float32[np.ndarray, "n"]]:
        shown = np.moveaxis(self.values, 2, 1)  # (z, k, m, i, j)
        return [shown[:, :, at][np.broadcast_to(self.there[:, None, at], shown[:, :, at].shape)] for at in self._each]

    @property
    def _each(self) -> range:
        return range(self.there.shape[1])

    def added(self, some: Float32[np.ndarray, "z m _ i j"]) -> Values:
        """The values with something added, in shares of each map's span; nothing where there is no value."""
        return np.where(self.there[:, :, None], self.values + self.span[:, None, None, None] * some, 0)

    def stored(self, values: Values, there: There | None = None) -> Shaped[np.ndarray, "z c i j"]:
        """Values as they are stored; what is a value stays one: black or 0 becomes the least above it."""
        there = self.there if there is None else there
        z, m, k, i, j = values.shape
        if self.dtype == np.uint8:
            small: Shaped[np.ndarray, "z m k i j"] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
            least = 1.0
        else:
            most, least = float(np.finfo(np.float16).max), float(np.finfo(np.float16).smallest_normal)
            small = np.clip(values, -most, most).astype(self.dtype)
        lost = there & (small == 0).all(axis=2)
        whole = np.where(lost[:, :, None], least, np.where(there[:, :, None], small, 0)).astype(self.dtype)
        return whole.reshape(z, m * k, i, j)

    def difference(self, x: Shaped[np.ndarray, "z c i j"]) -> float:
        """The mean of |x₁ − x| in standard deviations of each map, over all voxels with a value before or after.

        A map that is one value everywhere has no such unit, and is left out; 0 where nothing is left.
        """
        after = x.reshape(self.values.shape).astype(np.float32)
        some = self.there | (after != 0).any(axis=2)
        some[:, self.deviation == 0] = False
        unit = np.where(self.deviation > 0, self.deviation, 1)[:, None, None, None]
        apart = (np.abs(after - self.values) / unit).mean(axis=2)
        return float(apart[some].mean(dtype=np.float64)) if some.any() else 0.0


@dataclass(frozen=True, eq=False)
class Disturbed:
    """What a network sees after a disturbance of this strength, or without the map of this name."""

    parameter: float | str
    repeat: int
    x: Shaped[np.ndarray, "z c i j"]


def blurred(values: Values, there: There) -> Values:
    """The mean of the 3×3×3 voxels around each, of those with a value; the ancestor took 0 where there is none.

    >>> there = np.array([True, True, False]).reshape(1, 1, 1, 3)
    >>> blurred(np.array([1.0, 3.0, 0.0], np.float32).reshape(1, 1, 1, 1, 3), there).ravel().tolist()
    [2.0, 2.0, 0.0]
    """
    size, some = (3, 1, 1, 3, 3), there[:, :, None]
    weight = ndimage.uniform_filter(some.astype(np.float32), size, mode="constant")
    total = ndimage.uniform_filter(np.where(some, values, 0), size, mode="constant")
    mean: Values = np.where(some, total / np.where(some, weight, 1), 0).astype(np.float32)
    return mean


def gaussian(maps: Maps, deviation: float, rng: np.random.Generator) -> Shaped[np.ndarray, "z c i j"]:
    """With Gaussian noise of mean 0 and this standard deviation."""
    noise = rng.standard_normal(maps.values.shape, dtype=np.float32)
    return maps.stored(maps.added(np.float32(deviation) * noise))


def uniform(maps: Maps, deviation: float, rng: np.random.Generator) -> Shaped[np.ndarray, "z c i j"]:
    """With uniform noise of mean 0 and this standard deviation, within ± √3 of it."""
    noise = 2 * rng.random(maps.values.shape, dtype=np.float32) - 1
    return maps.stored(maps.added(np.float32(deviation * np.sqrt(3)) * noise))


def textured(maps: Maps, fraction: float, rng: np.random.Generator) -> Shaped[np.ndarray, "z c i j"]:
    """With a texture of random walks and a lesion (`phantom.diffgen`), of which a fraction is added."""
    z, m, i, j = maps.there.shape
    deep = 3 if z == 2 else z  # of 2 slices none is in the middle
    texture = generate(rng, Textures(channels=m), shape=(i, j, deep)).unhealthy[..., :z]
    return maps.stored(maps.added(np.float32(fraction) * texture.transpose(3, 0, 1, 2)[:, :, None]))


def zeroed(maps: Maps, share: float, rng: np.random.Generator) -> Shaped[np.ndarray, "z c i j"]:
    """Without this share of each map's values, each map's own ones."""
    there = maps.there.copy()
    for at in range(there.shape[1]):
        known = np.flatnonzero(there[:, at])
        gone = rng.choice(known, round(share * known.size), replace=False, shuffle=False)
        each = there[:, at].copy()
        each.ravel()[gone] = False
        there[:, at] = each
    return maps.stored(maps.values, there)


def moved(maps: Maps, farthest: float, rng: np.random.Generator) -> Shaped[np.ndarray, "z c i j"]:
    """Half of the slices moved, each by itself and all of its maps alike.

    Each is shifted by up to `farthest` mm along each of the three axes, and turned by up to as many degrees around its
    middle: at the rim of a head these are somewhat more than as many mm. Between voxels values are weighed by distance,
    those with a value alone; beyond the lowest and the highest slice these go on.
    """
    z, m, k = maps.values.shape[:3]
    chosen = np.sort(rng.choice(z, max(1, z // 2), replace=False))
    shift, turn = rng.uniform(-farthest, farthest, (chosen.size, 3)), rng.uniform(-farthest, farthest, chosen.size)
    at = np.stack([_places(maps, *each) for each in zip(chosen.tolist(), shift, turn.tolist(), strict=True)])
    at = np.moveaxis(at, 1, 0)  # (3, moved, i, j)
    values, there = maps.values.copy(), maps.there.copy()
    for each in range(m):
        known = maps.there[:, each].astype(np.float32)
        weight = ndimage.map_coordinates(known, at, order=1)
        there[chosen, each] = weight > 0.5
        for colour in range(k):
            total = ndimage.map_coordinates(maps.values[:, each, colour], at, order=1)
            values[chosen, each, colour] = total / np.maximum(weight, 0.5)
    return maps.stored(values, there)


def _places(maps: Maps, slice_: int, shift: Shaped[np.ndarray, "3"], turn_deg: float) -> Shaped[np.ndarray, "3 i j"]:
    """Where each pixel of a slice is seen, in voxels; the turn is in mm, as pixels may be no squares."""
    z, _, _, i, j = maps.values.shape
    step = np.array(maps.voxel_mm)
    x, y = np.meshgrid((np.arange(i) - (i - 1) / 2) * step[1], (np.arange(j) - (j - 1) / 2) * step[2], indexing="ij")
    cosine, sine = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    there = [cosine * x - sine * y + shift[1], sine * x + cosine * y + shift[2]]
    inner = [each / step[1 + axis] + ((i, j)[axis] - 1) / 2 for axis, each in enumerate(there)]
    height = np.clip(slice_ + shift[0] / step[0], 0, z - 1)
    return np.stack([np.full((i, j), height), *inner])


@dataclass(frozen=True)
class Kind:
    """A disturbance whose strength is drawn: how strong at each share of its distribution, and how it is done."""

    strength: Callable[[float], float]
    done: Callable[[Maps, float, np.random.Generator], Shaped[np.ndarray, "z c i j"]]


def _half_normal(share: float) -> float:
    """|N(0, 0.15)| at this share of its distribution."""
    return float(_NOISE * stats.norm.ppf((1 + share) / 2))


_DRAWN: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "diffgen": Kind(lambda share: _FRACTIONS[0] + share * (_FRACTIONS[1] - _FRACTIONS[0]), textured),
        "gaussian": Kind(_half_normal, gaussian),
        "uniform": Kind(_half_normal, uniform),
        "zeroing": Kind(lambda share: _MOST_ZEROED * share, zeroed),
        "motion": Kind(lambda share: _FARTHEST * share, moved),
    }
)

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        BLUR: f"1 to {BLURS} times the mean of 3×3×3 voxels; the parameter is how often",
        "diffgen": "a random texture with a lesion, times a fraction of 0.5 to 2.4 of the map's span",
        "gaussian": "noise of mean 0 and a standard deviation of |N(0, 0.15)| of the map's span",
        "uniform": "the same, uniform",
        "zeroing": "a share of 0 to 0.5 of each map's values set to no value",
        "motion": "half of the slices shifted by up to 0 to 6 mm along each axis, and turned by up to as many degrees",
        MISSING: "each map in turn absent; the parameter is its name",
    }
)
"""What each kind does to the input, and what its parameter is."""


def disturbances(maps: Maps, names: tuple[str, ...], kind: str, *, repeats: int, seed: str) -> Iterator[Disturbed]:
    """Every disturbance of a kind, one after the other; `names` are those of the maps.

    Of `repeats` strengths each is drawn from its own part of the distribution, so that every case meets weak and strong
    ones. The same `seed`, which should tell the case, gives the same, whatever else is asked for.
    """
    if kind == BLUR:
        values = maps.values
        for times in range(1, BLURS + 1):
            values = blurred(values, maps.there)
            yield Disturbed(float(times), 0, maps.stored(values))
    elif kind == MISSING:
        for at in np.flatnonzero(maps.there.any(axis=(0, 2, 3))):
            there = maps.there.copy()
            there[:, at] = False
            yield Disturbed(names[at], 0, maps.stored(maps.values, there))
    else:
        for repeat in range(repeats):
            rng = _rng(seed, kind, repeat)
            strength = _DRAWN[kind].strength((repeat + rng.random()) / repeats)
            yield Disturbed(strength, repeat, _DRAWN[kind].done(maps, strength, rng))


def _rng(seed: str, kind: str, repeat: int) -> np.random.Generator:
    """Chance that depends on all of these and on nothing else."""
    told = sha256(f"{seed}\n{kind}\n{repeat}".encode()).digest()
    return np.random.default_rng(np.frombuffer(told, np.uint32).tolist())
