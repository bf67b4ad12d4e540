"""Random-walk textures with lesions, the second ancestor's "diffgen": synthetic training volumes without any anatomy.

A texture is the sum of many walks' binary maps, each grown along the axes; a lesion is the union of a few walks, and
makes its texture darker or brighter. The ancestor built it with loops over pixels; here all walks go at once, and a
sample of six channels of 192×192×19 takes tenths of a second. `tests/oracles/diffgen.py` has the loops.

The ancestor drew another lesion for each channel and labelled that of the first only. `Recipe` can do the same, so that
its results can be repeated; by default one lesion lies in all channels, and the label is where any of them shows it.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, UInt8

from strokelens.errors import CaseError

SIDE: Final = 192
"""The rows and columns for which lengths are given."""

CHANNELS: Final = 6

Labels = Literal["shared", "union", "first"]
"""One lesion in all channels; one for each, all labelled; one for each, that of the first channel labelled."""

Mode = Literal["fixed", "random"]
"""The same parameters for each texture and lesion, or new ones drawn for each."""

_SATURATED = 0.8
_HIDDEN = 0.9
_PATCH = 12
_VISIBLE = 0.7
_TRANSLATION = 30


@dataclass(frozen=True)
class Growth:
    """How far a map grows from each place along each axis, `forward` and `backward` at most.

    The j-th neighbour is tried with probability 1 / (q + j · block), and not at all where that is below the threshold;
    when it is reached, so are those before it.
    """

    forward: int
    backward: int
    q: float = 0.01
    threshold: float = 0.1
    block: float = 0.95

    def lengths(self, tries: Float[np.ndarray, "*n most"], most: int) -> Int[np.ndarray, "*n"]:
        """How far it grows, given uniform random numbers for the neighbours 1 ... most."""
        steps = np.arange(1, most + 1)
        chance = 1 / (self.q + steps * self.block)
        reached = (tries[..., :most] < chance) & (chance >= self.threshold)
        longest: Int[np.ndarray, "*n"] = (reached * steps).max(axis=-1, initial=0)
        return longest


@dataclass(frozen=True)
class Walks:
    """Walks from near the centre: how many, of how many steps (the second excluded), how far they step and start off.

    Each walk has a `direction` for each axis from this range (the second excluded): it steps 0 ... d, or d ... -1.
    """

    count: int
    steps: tuple[int, int]
    directions: tuple[int, int]
    jitter: int
    growth: Growth


TEXTURE: Final = Walks(480, (30, 50), (-2, 3), 30, Growth(2, 2))
LESION: Final = Walks(9, (10, 20), (-2, 3), 4, Growth(2, 1, block=1.0))
"""The ancestor's fixed parameters; a lesion has 8 or 9 walks."""


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of some walks: start offsets, and for each step the axis, and how far; then growth.

    `tries` is (walk, place, axis, direction, neighbour): forward is direction 0; a walk has one place more than steps.
    """

    start: Int[np.ndarray, "w 2"]
    count: Int[np.ndarray, "w"]
    direction: Int[np.ndarray, "w 2"]
    axis: Int[np.ndarray, "w s"]
    fraction: Float64[np.ndarray, "w s"]
    tries: Float32[np.ndarray, "w p 2 2 m"]


@dataclass(frozen=True)
class Recipe:
    """What samples are: `fixed` or `random` parameters, and what is labelled.

    With the labels `first` all is as the ancestor had it: lengths in pixels do not follow the size of the grid, and at
    48×48 a third of the lesions are centred outside of it. Else they do.
    """

    mode: Mode = "fixed"
    labels: Labels = "shared"
    channels: int = CHANNELS

    def pixels(self, length: int, side: int) -> int:
        """A length on a grid of this side, given for 192."""
        return length if self.labels == "first" else max(1, round(length * side / SIDE))


DEFAULT: Final = Recipe()
ANCESTOR: Final = Recipe(labels="first")


@dataclass(frozen=True, eq=False)
class Sample:
    """Volumes (channel, i, j, k) from 0 to 1 without and with lesions, and the label (i, j, k), 1 in the lesion."""

    healthy: Float32[np.ndarray, "c i j k"]
    unhealthy: Float32[np.ndarray, "c i j k"]
    label: UInt8[np.ndarray, "i j k"]


def generate(
    rng: np.random.Generator, recipe: Recipe = DEFAULT, *, shape: tuple[int, int, int] = (192, 192, 19)
) -> Sample:
    """One sample of this shape.

    >>> sample = generate(np.random.default_rng(0), shape=(48, 48, 19))
    >>> sample.unhealthy.shape, sorted(set(np.nonzero(sample.label)[2].tolist()))
    ((6, 48, 48, 19), [7, 8, 9, 10, 11])

    Raises `CaseError` when a side is shorter than 16, there is no slice, or there are two: none is in the middle.
    """
    plane, depth = (shape[0], shape[1]), shape[2]
    if min(plane) < 16 or depth < 1:
        raise CaseError(f"diffgen needs at least 16×16×1 voxels, not {'×'.join(map(str, shape))}")
    if depth == 2:
        raise CaseError("of 2 slices none is in the middle, where the lesion lies; take 1, or 3 and more")
    shared = lesion_of(rng, recipe, plane) if recipe.labels == "shared" else None
    slices = []
    for _ in range(recipe.channels):
        texture = texture_of(rng, recipe, plane)
        slices.append(combined(rng, texture, lesion_of(rng, recipe, plane) if shared is None else shared))
    healthy, unhealthy, lesions = (np.stack(parts) for parts in zip(*slices, strict=True))
    ends = 0.1 + rng.uniform(0, 0.2, (recipe.channels, 2))
    middle = middle_weights(depth)
    patch = recipe.pixels(_PATCH, min(plane))
    marked = np.any(lesions[:1] if recipe.labels == "first" else lesions, axis=0)
    label = np.multiply.outer(marked, middle > _VISIBLE).astype(np.uint8)
    return Sample(stacked(healthy, ends, middle, patch), stacked(unhealthy, ends, middle, patch), label)


def mixed(
    images: Float32[np.ndarray, "c i j k"], truth: UInt8[np.ndarray, "i j k"], sample: Sample, *, fraction: float = 1.0
) -> tuple[Float32[np.ndarray, "c i j k"], UInt8[np.ndarray, "i j k"]]:
    """Real images in 0 ... 1 with `fraction` of a sample's added, and both lesions; as in the ancestor, not clipped."""
    return images + np.float32(fraction) * sample.unhealthy, np.maximum(truth, sample.label)


def texture_of(rng: np.random.Generator, recipe: Recipe, plane: tuple[int, int]) -> Float64[np.ndarray, "i j"]:
    """The sum of the walks' binary maps, from 0 to 1; 0 where they all are the same."""
    walks = random_texture(rng) if recipe.mode == "random" else TEXTURE
    jitter = recipe.pixels(walks.jitter, min(plane))
    places = covered(draw(rng, walks, jitter), walks.growth, plane, (0, 0))
    count = np.bincount(places % (plane[0] * plane[1]), minlength=plane[0] * plane[1]).reshape(plane)
    lowest, highest = count.min(), count.max()
    texture: Float64[np.ndarray, "i j"] = (count - lowest) / max(highest - lowest, 1)
    return texture


def lesion_of(rng: np.random.Generator, recipe: Recipe, plane: tuple[int, int]) -> Bool[np.ndarray, "i j"]:
    """The union of a few walks, all moved by the same way from the centre."""
    walks = random_lesion(rng) if recipe.mode == "random" else _with_count(LESION, int(rng.integers(8, 10)))
    reach = recipe.pixels(_TRANSLATION, min(plane))
    row, column = (int(value) for value in rng.integers(-reach, reach + 1, 2))
    jitter = recipe.pixels(walks.jitter, min(plane))
    places = covered(draw(rng, walks, jitter), walks.growth, plane, (row, column))
    lesion = np.zeros(plane[0] * plane[1], bool)
    lesion[places % lesion.size] = True
    return lesion.reshape(plane)


def combined(
    rng: np.random.Generator, texture: Float64[np.ndarray, "i j"], lesion: Bool[np.ndarray, "i j"]
) -> tuple[Float64[np.ndarray, "i j"], Float64[np.ndarray, "i j"], Bool[np.ndarray, "i j"]]:
    """The texture with its brightest parts at 1; the same with the lesion; and where the lesion is to be labelled."""
    healthy = np.where(texture > _SATURATED, 1.0, texture)
    sign = 1.0 if rng.random() < 0.5 else -1.0
    strength = rng.uniform(0.2, 0.8, texture.shape)
    unhealthy = np.clip(healthy + sign * healthy * lesion * strength, 0, 1)
    return healthy, unhealthy, lesion & (healthy <= _HIDDEN)


def draw(rng: np.random.Generator, walks: Walks, jitter: int) -> Draws:
    """The random numbers of the walks."""
    longest = walks.steps[1] - 1
    most = max(walks.growth.forward, walks.growth.backward)
    return Draws(
        start=rng.integers(-jitter, jitter + 1, (walks.count, 2)),
        count=rng.integers(*walks.steps, walks.count),
        direction=rng.integers(*walks.directions, (walks.count, 2)),
        axis=rng.integers(0, 2, (walks.count, longest)),
        fraction=rng.random((walks.count, longest)),
        tries=rng.random((walks.count, longest + 1, 2, 2, most), dtype=np.float32),
    )


def covered(draws: Draws, growth: Growth, plane: tuple[int, int], moved: tuple[int, int]) -> Int[np.ndarray, "n"]:
    """The pixels that each walk covers, once each, as walk · (rows · columns) + row · columns + column."""
    rows, columns = plane
    walk, place = np.nonzero(np.arange(draws.axis.shape[1] + 1) <= draws.count[:, None])
    here = _ways(draws)[walk, place] + (np.array(plane) // 2 + moved)
    tries = draws.tries[walk, place]
    found = [(walk, here)]
    for axis in range(2):
        for direction, (sign, most) in enumerate(((1, growth.forward), (-1, growth.backward))):
            length = growth.lengths(tries[:, axis, direction], most)
            for step in range(1, most + 1):
                some = np.flatnonzero(length >= step)
                there = here[some]
                there[:, axis] += sign * step
                found.append((walk[some], there))
    which, where = (np.concatenate(parts) for parts in zip(*found, strict=True))
    inside = ((where >= 0) & (where < plane)).all(axis=1)
    codes = np.sort((which * rows + where[:, 0])[inside] * columns + where[inside, 1])
    first = np.ones(codes.size, bool)
    first[1:] = codes[1:] != codes[:-1]
    once: Int[np.ndarray, "n"] = codes[first]
    return once


def _ways(draws: Draws) -> Int[np.ndarray, "w p 2"]:
    """Where each walk is after each of its steps, from the centre."""
    chosen = np.take_along_axis(draws.direction, draws.axis, axis=1)
    ahead = np.floor(draws.fraction * (chosen + 1))
    back = -1 - np.floor(draws.fraction * -chosen)
    size = np.where(chosen >= 0, ahead, back).astype(np.int64)
    steps = np.zeros((*draws.axis.shape, 2), np.int64)
    np.put_along_axis(steps, draws.axis[..., None], size[..., None], axis=2)
    way = np.cumsum(np.concatenate([draws.start[:, None], steps], axis=1), axis=1)
    return way


def middle_weights(depth: int) -> Float64[np.ndarray, "k"]:
    """How much of the drawn slice each slice has: 1 in the middle, 0 at both ends; between, linear."""
    if depth == 1:
        return np.ones(1)
    weights: Float64[np.ndarray, "k"] = 1 - np.abs(np.linspace(-1, 1, depth))
    return weights


def stacked(
    slices: Float64[np.ndarray, "c i j"], ends: Float64[np.ndarray, "c 2"], middle: Float64[np.ndarray, "k"], patch: int
) -> Float32[np.ndarray, "c i j k"]:
    """The slices as volumes that fade to both ends, where only a square in the centre has a value."""
    volume = slices.astype(np.float32)[..., None] * middle.astype(np.float32)
    rows, columns = slices.shape[1:]
    top, left = (rows - patch) // 2, (columns - patch) // 2
    lower = np.arange(middle.size) < middle.size / 2
    end = np.where(lower, ends[:, :1], ends[:, 1:]) * (1 - middle)  # (c, k)
    volume[:, top : top + patch, left : left + patch] += end.astype(np.float32)[:, None, None]
    return volume


def random_texture(rng: np.random.Generator) -> Walks:
    """The walks of a texture in the random mode."""
    count = 480 + int(rng.integers(-120, 121))
    steps = int(rng.integers(11, 31)), int(rng.integers(50, 70))
    directions = -int(rng.integers(2, 5)), int(rng.integers(3, 6))
    return Walks(count, steps, directions, int(rng.integers(20, 60)), _random_growth(rng))


def random_lesion(rng: np.random.Generator) -> Walks:
    """The walks of a lesion in the random mode."""
    growth = _random_growth(rng)
    return Walks(int(rng.integers(6, 24)), LESION.steps, LESION.directions, int(rng.integers(1, 6)), growth)


def _random_growth(rng: np.random.Generator) -> Growth:
    forward, backward = (int(value) for value in rng.integers(2, 7, 2))
    q, threshold, block = (float(rng.uniform(*limits)) for limits in ((0.005, 0.2), (0.1, 0.4), (0.5, 1.0)))
    return Growth(forward, backward, q, threshold, block)


def _with_count(walks: Walks, count: int) -> Walks:
    return Walks(count, walks.steps, walks.directions, walks.jitter, walks.growth)
