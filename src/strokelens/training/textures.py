"""The second ancestor's textures mixed into volumes that are trained on; none of those who validate has any."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from strokelens.phantom.diffgen import Recipe, generate
from strokelens.settings.chances import Diffgen

_LEAST_SIDE, _NO_MIDDLE = 16, 2


def mixed_in(
    x: Shaped[np.ndarray, "b c k i j"],
    y: UInt8[np.ndarray, "b k i j"],
    settings: Diffgen,
    rngs: Sequence[np.random.Generator],
    depths: Sequence[int],
) -> tuple[Float32[np.ndarray, "b c k i j"], UInt8[np.ndarray, "b k i j"]]:
    """Volumes with a texture's `fraction` added, and the lesions of both as class 1; each by its own chance.

    `depths` are the slices that each has by itself; those above only fill the batch.

    With the labels `first` textures lie on air as well, as the ancestor's did, else only where there is a value.
    Volumes that are too small for a texture stay as they are.

    >>> settings = Diffgen(fraction=1.0)
    >>> x, y = np.ones((1, 2, 5, 32, 32), np.float16), np.zeros((1, 5, 32, 32), np.uint8)
    >>> images, labels = mixed_in(x, y, settings, [np.random.default_rng(0)], [5])
    >>> images.shape, bool(1 < images.max() <= 2), bool(labels.any())
    ((1, 2, 5, 32, 32), True, True)
    """
    images, labels = x.astype(np.float32), y.copy()
    channels, _, *plane = x.shape[1:]
    recipe = Recipe(settings.mode, settings.labels, channels)
    for at, (rng, depth) in enumerate(zip(rngs, depths, strict=True)):
        if rng.random() >= settings.share or depth == _NO_MIDDLE or min(plane) < _LEAST_SIDE:
            continue
        sample = generate(rng, recipe, shape=(plane[0], plane[1], depth))
        texture, lesion = np.moveaxis(sample.unhealthy, 3, 1), np.moveaxis(sample.label, 2, 0) > 0
        if settings.labels != "first":
            texture = np.where(images[at, :, :depth] != 0, texture, 0)
            lesion &= (images[at, :, :depth] != 0).any(axis=0)
        images[at, :, :depth] += np.float32(settings.fraction) * texture
        labels[at, :depth][lesion] = 1
    return images, labels
