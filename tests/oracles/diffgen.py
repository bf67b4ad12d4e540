"""Diffgen as it was described: walk by walk, step by step, neighbour by neighbour, pixel by pixel.

It takes its random numbers in the order in which `strokelens.phantom.diffgen` draws them, so that both can be compared.
"""

import numpy as np
from jaxtyping import Float, Int

from strokelens.phantom.diffgen import (
    LESION,
    TEXTURE,
    Draws,
    Growth,
    Recipe,
    Walks,
    draw,
    random_lesion,
    random_texture,
)

Map = list[list[int]]


def extension(tries: list[float], most: int, growth: Growth) -> int:
    """How far it grows: a success makes all entries so far 1 and appends one more, a failure appends a 0."""
    entries: list[int] = []
    for j in range(1, most + 1):
        p = 1 / (growth.q + j * growth.block)
        if p < growth.threshold:
            continue
        if tries[j - 1] < p:
            entries = [1] * len(entries)
            entries.append(1)
        else:
            entries.append(0)
    return sum(entries)


def way(draws: Draws, walk: int) -> list[list[int]]:
    """The places of a walk, from the centre."""
    place = draws.start[walk].tolist()
    places = [list(place)]
    for step in range(int(draws.count[walk])):
        axis = int(draws.axis[walk, step])
        direction = int(draws.direction[walk, axis])
        u = float(draws.fraction[walk, step])
        choices = list(range(direction + 1)) if direction >= 0 else list(range(-1, direction - 1, -1))
        place[axis] += choices[int(u * len(choices))]
        places.append(list(place))
    return places


def binary_map(draws: Draws, walk: int, growth: Growth, plane: tuple[int, int], moved: tuple[int, int]) -> Map:
    """1 wherever the walk or what grows from it comes."""
    rows, columns = plane
    found = [[0] * columns for _ in range(rows)]
    for number, (row, column) in enumerate(way(draws, walk)):
        here = (rows // 2 + moved[0] + row, columns // 2 + moved[1] + column)
        cells = [here]
        for axis in range(2):
            for direction, (sign, most) in enumerate(((1, growth.forward), (-1, growth.backward))):
                tries = draws.tries[walk, number, axis, direction].tolist()
                for step in range(1, extension(tries, most, growth) + 1):
                    cell = list(here)
                    cell[axis] += sign * step
                    cells.append((cell[0], cell[1]))
        for i, j in cells:
            if 0 <= i < rows and 0 <= j < columns:
                found[i][j] = 1
    return found


def texture(draws: Draws, walks: Walks, plane: tuple[int, int]) -> Float[np.ndarray, "i j"]:
    """The sum of the maps, stretched to 0 … 1."""
    total = [[0] * plane[1] for _ in range(plane[0])]
    for walk in range(walks.count):
        one = binary_map(draws, walk, walks.growth, plane, (0, 0))
        for i in range(plane[0]):
            for j in range(plane[1]):
                total[i][j] += one[i][j]
    values = np.array(total, float)
    stretched: np.ndarray = (values - values.min()) / (values.max() - values.min())
    return stretched


def lesion(draws: Draws, walks: Walks, plane: tuple[int, int], moved: tuple[int, int]) -> Int[np.ndarray, "i j"]:
    """The union of the maps."""
    union = np.zeros(plane, int)
    for walk in range(walks.count):
        union |= np.array(binary_map(draws, walk, walks.growth, plane, moved))
    return union


def interpolated(
    first: Float[np.ndarray, "i j"], middle: Float[np.ndarray, "i j"], last: Float[np.ndarray, "i j"], depth: int
) -> Float[np.ndarray, "i j k"]:
    """Three slices stretched to `depth`, linearly, the ends on the ends."""
    stack = [first, middle, last]
    slices = []
    for k in range(depth):
        position = 2 * k / (depth - 1)
        below = min(int(position), 1)
        share = position - below
        slices.append((1 - share) * stack[below] + share * stack[below + 1])
    return np.stack(slices, axis=2)


def sample(
    rng: np.random.Generator, recipe: Recipe, shape: tuple[int, int, int]
) -> tuple[Float[np.ndarray, "c i j k"], Float[np.ndarray, "c i j k"], Int[np.ndarray, "i j k"]]:
    """Healthy and unhealthy volumes, and the label."""
    plane, depth, side = (shape[0], shape[1]), shape[2], min(shape[:2])

    def one_lesion() -> Int[np.ndarray, "i j"]:
        count = None if recipe.mode == "random" else int(rng.integers(8, 10))
        blobs = random_lesion(rng) if count is None else Walks(count, LESION.steps, LESION.directions, 4, LESION.growth)
        reach = recipe.pixels(30, side)
        row, column = rng.integers(-reach, reach + 1, 2).tolist()
        return lesion(draw(rng, blobs, recipe.pixels(blobs.jitter, side)), blobs, plane, (row, column))

    shared = one_lesion() if recipe.labels == "shared" else None
    healthy, unhealthy, marked = [], [], []
    for _ in range(recipe.channels):
        walks = random_texture(rng) if recipe.mode == "random" else TEXTURE
        x = texture(draw(rng, walks, recipe.pixels(walks.jitter, side)), walks, plane)
        y = one_lesion() if shared is None else shared
        x = x.copy()
        x[x > 0.8] = 1
        s = 1 if rng.random() < 0.5 else -1
        healthy.append(x)
        unhealthy.append(np.clip(x + s * x * y * rng.uniform(0.2, 0.8, plane), 0, 1))
        marked.append(y * (1 - (x > 0.9)))
    ends = 0.1 + rng.uniform(0, 0.2, (recipe.channels, 2))
    patch = recipe.pixels(12, side)
    volumes: list[list[np.ndarray]] = [[], []]
    for channel in range(recipe.channels):
        squares = []
        for value in ends[channel]:
            square = np.zeros(plane)
            top, left = (plane[0] - patch) // 2, (plane[1] - patch) // 2
            square[top : top + patch, left : left + patch] = value
            squares.append(square)
        for where, slices in zip(volumes, (healthy, unhealthy), strict=True):
            where.append(interpolated(squares[0], slices[channel], squares[1], depth))
    labels = [interpolated(np.zeros(plane), y.astype(float), np.zeros(plane), depth) > 0.7 for y in marked]
    label = labels[0] if recipe.labels == "first" else np.any(labels, axis=0)
    return np.stack(volumes[0]), np.stack(volumes[1]), label.astype(int)
