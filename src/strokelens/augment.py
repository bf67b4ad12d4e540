"""Chance changes of samples: decided first, then applied, so that what was decided can be told and done again.

Images are (b, c, i, j) with values from 0 to about 1, map after map, where 0 is no value; i runs from the patient's one
side to the other. Labels are (b, i, j). Geometry is one affine map of the slice, applied to both: images between their
pixels, labels at the nearest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from strokelens.settings.schema import Augmentation

Images = Float[Tensor, "b c i j"]
Labels = UInt8[Tensor, "b i j"]


@dataclass(frozen=True)
class Change:
    """What happens to one sample: mirrored along i, then turned, grown, moved (parts of the side), made brighter.

    `noise` is the standard deviation of what is added where there is a value, drawn from `seed` where the image is: a
    GPU draws other numbers than a CPU. `dropped` are the places of maps that are taken away.

    >>> Change() == decide(np.random.default_rng(1), Augmentation(**dict.fromkeys(Augmentation.model_fields, 0.0)), 4)
    True
    """

    flip: bool = False
    turn_deg: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    gain: float = 1.0
    noise: float = 0.0
    seed: int = 0
    dropped: tuple[int, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether pixels change their places."""
        return self.flip or bool(self.turn_deg) or self.scale != 1 or any(self.shift)


def decide(rng: np.random.Generator, settings: Augmentation, maps: int) -> Change:
    """A change of a sample of so many maps, one of which is always left."""
    spread = rng.uniform(-1, 1, 5).tolist()
    lots = rng.random(maps + 1)
    dropped = np.flatnonzero(lots[1:] < settings.drop_map)
    if len(dropped) == maps:
        dropped = np.delete(dropped, rng.integers(maps))
    seed = int(rng.integers(2**32))
    return Change(
        flip=bool(lots[0] < settings.flip),
        turn_deg=settings.turn_deg * spread[0],
        scale=1 + settings.scale * spread[1],
        shift=(settings.shift * spread[2], settings.shift * spread[3]),
        gain=1 + settings.brightness * spread[4],
        noise=settings.noise,
        seed=seed if settings.noise else 0,
        dropped=tuple(dropped.tolist()),
    )


def apply(images: Images, labels: Labels, changes: Sequence[Change], *, maps: int) -> tuple[Images, Labels]:
    """Each sample with its change; the same changes give the same results."""
    if any(change.moves for change in changes):
        theta = torch.stack([_backwards(change, images.shape[-2:]) for change in changes]).to(images)
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid, align_corners=False)
        nearest = functional.grid_sample(labels[:, None].to(images), grid, mode="nearest", align_corners=False)
        labels = nearest[:, 0].to(labels)
    return torch.stack([_values(image, change, maps) for image, change in zip(images, changes, strict=True)]), labels


def _backwards(change: Change, size: torch.Size) -> Float[Tensor, "2 3"]:
    """Where a place of the changed slice comes from, in torch's coordinates: (j, i), each from −1 to 1."""
    angle = np.radians(change.turn_deg)
    side = np.array([size[1], size[0]]) / 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / change.scale
    mirror = np.diag([1.0, -1.0 if change.flip else 1.0])
    linear = np.diag(1 / side) @ mirror @ turn @ np.diag(side)
    shift = 2 * np.array(change.shift[::-1])
    return torch.from_numpy(np.column_stack([linear, -linear @ shift]))


def _values(image: Float[Tensor, "c i j"], change: Change, maps: int) -> Float[Tensor, "c i j"]:
    changed = image * change.gain
    if change.noise:
        draw = torch.Generator(image.device).manual_seed(change.seed)
        noise = torch.randn(image.shape, generator=draw, device=image.device, dtype=image.dtype) * change.noise
        changed = changed + torch.where(image != 0, noise, 0)
    kept = torch.ones(maps, 1, 1, 1, dtype=image.dtype, device=image.device)
    kept[list(change.dropped)] = 0
    return (changed.view(maps, -1, *image.shape[1:]) * kept).view(image.shape)
