"""Chance changes of samples: decided first, then applied, so that what was decided can be told and done again.

Images are (b, c, i, j) of slices or (b, c, k, i, j) of volumes, map after map, where 0 is no value; i runs from the
patient's one side to the other. Labels are (b, i, j) or (b, k, i, j). Geometry is one map of the slice, applied to all
slices of a volume and to its labels alike: images between their pixels, labels at the nearest. Slices of MR are thick:
volumes are not turned out of them, but may be moved by whole ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from strokelens.settings.chances import Augmentation

Images = Float[Tensor, "b c *space"]
Labels = UInt8[Tensor, "b *space"]
Shape = tuple[int, ...]

_KNOTS = 6
"""Bending is smooth between so many places along each axis."""
_RECIPE_TURN_DEG, _RECIPE_SHIFT, _RECIPE_COPIES, _RECIPE_LEAST = 20.0, 0.2, 10, 0.3


@dataclass(frozen=True)
class Change:
    """What happens to one sample: mirrored along i, then turned, grown, moved (parts of the side), made brighter.

    `lift` moves it by slices. `bend` is the standard deviation, in parts of the side, of shifts that are smooth in
    space, `coarse` the factor of pixels that it is averaged to, `offsets` are added to its maps, and what is above the
    `ceiling` is cut. `noise` is the standard deviation of what is added where there is a value. `seed` is what bending
    and noise are drawn from, where the image is: a GPU draws other numbers than a CPU. `dropped` are the places of maps
    that are taken away. With `nearest` images are not interpolated.

    >>> Change() == decide(np.random.default_rng(1), Augmentation(**dict.fromkeys(_NUMBERS, 0)), 4)
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
    offsets: tuple[float, ...] = ()
    bend: float = 0.0
    coarse: float = 1.0
    lift: int = 0
    ceiling: float | None = None
    nearest: bool = False

    @property
    def moves(self) -> bool:
        """Whether pixels change their places within the slice."""
        return self.flip or bool(self.turn_deg) or self.scale != 1 or any(self.shift) or bool(self.bend)


_NUMBERS = [name for name in Augmentation.model_fields if name != "recipe"]


def decide(rng: np.random.Generator, settings: Augmentation, maps: int, shape: Shape = ()) -> Change:
    """A change of a sample of so many maps, one of which is always left, and of this shape."""
    if settings.recipe == "rotate_clip_translate":
        return _recipe(rng, shape)
    spread = rng.uniform(-1, 1, 5).tolist()
    lots = rng.random(maps + 1)
    dropped = np.flatnonzero(lots[1:] < settings.drop_map)
    if len(dropped) == maps:
        dropped = np.delete(dropped, rng.integers(maps))
    seed = int(rng.integers(2**32))
    offsets = settings.offset * rng.uniform(-1, 1, maps)
    coarse = float(1 + rng.random()) if rng.random() < settings.low_resolution else 1.0
    return Change(
        flip=bool(lots[0] < settings.flip),
        turn_deg=settings.turn_deg * spread[0],
        scale=1 + settings.scale * spread[1],
        shift=(settings.shift * spread[2], settings.shift * spread[3]),
        gain=1 + settings.brightness * spread[4],
        noise=settings.noise,
        seed=seed if settings.noise or settings.elastic else 0,
        dropped=tuple(dropped.tolist()),
        offsets=tuple(offsets.tolist()) if settings.offset else (),
        bend=settings.elastic,
        coarse=coarse,
        lift=int(rng.integers(-settings.lift, settings.lift + 1)),
    )


def _recipe(rng: np.random.Generator, shape: Shape) -> Change:
    """The ancestor's copies, one of ten of which was the case itself."""
    if rng.integers(_RECIPE_COPIES) == 0:
        return Change()
    turn = round(float(rng.uniform(-_RECIPE_TURN_DEG, _RECIPE_TURN_DEG)), 1)
    reach = [ceil(_RECIPE_SHIFT * size) for size in shape]
    k, i, j = (floor(rng.uniform(-each, each)) for each in reach)
    ceiling = round(float(rng.uniform(_RECIPE_LEAST, 1.0)), 2)
    return Change(turn_deg=turn, shift=(i / shape[1], j / shape[2]), lift=k, ceiling=ceiling, nearest=True)


def apply(images: Images, labels: Labels, changes: Sequence[Change], *, maps: int) -> tuple[Images, Labels]:
    """Each sample with its change; the same changes give the same results."""
    shape = images.shape
    if images.ndim == 5:
        images, labels = _lifted(images, labels, changes)
        images = images.flatten(1, 2)  # a volume's slices move together, as channels do
    else:
        labels = labels[:, None]
    if any(change.moves for change in changes):
        images, labels = _moved(images, labels, changes)
    changed = torch.stack([_values(image, change, maps) for image, change in zip(images, changes, strict=True)])
    return changed.view(shape), labels.view(shape[0], *shape[2:])


def _lifted(images: Images, labels: Labels, changes: Sequence[Change]) -> tuple[Images, Labels]:
    """Moved along k, by zeros."""
    if not any(change.lift for change in changes):
        return images, labels
    moved = torch.zeros_like(images), torch.zeros_like(labels)
    depth = images.shape[2]
    for at, change in enumerate(changes):
        lift = max(-depth, min(depth, change.lift))
        into, out = slice(max(0, lift), depth + min(0, lift)), slice(max(0, -lift), depth + min(0, -lift))
        moved[0][at, :, into], moved[1][at, into] = images[at, :, out], labels[at, out]
    return moved


def _moved(
    images: Float[Tensor, "b c i j"], labels: UInt8[Tensor, "b k i j"], changes: Sequence[Change]
) -> tuple[Float[Tensor, "b c i j"], UInt8[Tensor, "b k i j"]]:
    theta = torch.stack([_backwards(change, images.shape[-2:]) for change in changes]).to(images)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    if any(change.bend for change in changes):
        grid = grid + torch.stack([_bent(change, images) for change in changes])
    mode = "nearest" if any(change.nearest for change in changes) else "bilinear"
    moved = functional.grid_sample(images, grid, mode=mode, align_corners=False)
    nearest = functional.grid_sample(labels.to(images), grid, mode="nearest", align_corners=False)
    return moved, nearest.to(labels)


def _backwards(change: Change, size: torch.Size) -> Float[Tensor, "2 3"]:
    """Where a place of the changed slice comes from, in torch's coordinates: (j, i), each from −1 to 1."""
    angle = np.radians(change.turn_deg)
    side = np.array([size[1], size[0]]) / 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / change.scale
    mirror = np.diag([1.0, -1.0 if change.flip else 1.0])
    linear = np.diag(1 / side) @ mirror @ turn @ np.diag(side)
    shift = 2 * np.array(change.shift[::-1])
    return torch.from_numpy(np.column_stack([linear, -linear @ shift]))


def _bent(change: Change, images: Float[Tensor, "b c i j"]) -> Float[Tensor, "i j 2"]:
    """Smooth shifts of all pixels, in torch's coordinates."""
    draw = torch.Generator(images.device).manual_seed(change.seed + 1)
    knots = torch.randn((1, 2, _KNOTS, _KNOTS), generator=draw, device=images.device, dtype=images.dtype)
    smooth = functional.interpolate(knots, list(images.shape[-2:]), mode="bicubic", align_corners=True)
    return smooth[0].permute(1, 2, 0) * (2 * change.bend)


def _values(image: Float[Tensor, "c i j"], change: Change, maps: int) -> Float[Tensor, "c i j"]:
    """The values changed where there are any; of a volume c is each map's slices."""
    changed = image * change.gain
    if change.coarse != 1:
        size = [max(1, round(side / change.coarse)) for side in image.shape[1:]]
        coarse = functional.interpolate(changed[None], size, mode="area")
        smooth = functional.interpolate(coarse, list(image.shape[1:]), mode="bilinear", align_corners=False)[0]
        changed = torch.where(image != 0, smooth, changed)
    if change.offsets:
        offsets = image.new_tensor(change.offsets).repeat_interleave(len(image) // maps)
        changed = torch.where(image != 0, changed + offsets[:, None, None], changed)
    if change.noise:
        draw = torch.Generator(image.device).manual_seed(change.seed)
        noise = torch.randn(image.shape, generator=draw, device=image.device, dtype=image.dtype) * change.noise
        changed = changed + torch.where(image != 0, noise, 0)
    if change.ceiling is not None:
        changed = changed.clamp(0, change.ceiling)
    kept = torch.ones(maps, 1, 1, 1, dtype=image.dtype, device=image.device)
    kept[list(change.dropped)] = 0
    return (changed.view(maps, -1, *image.shape[1:]) * kept).view(image.shape)
