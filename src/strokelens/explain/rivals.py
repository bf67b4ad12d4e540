"""Relevance as others compute it, by gradients and by hiding: what ours is measured against.

Each gives float32 (c, *space), from an `Answer` that can be differentiated, an image, and mostly a `base`, the value of
each channel that stands for nothing. They see the network only through the answer. Gradients are of a network in
evaluation, which gives each image of a batch an answer of its own.

References:
    Shrikumar et al. 2017, ICML (input × gradient); Sundararajan et al. 2017, ICML (integrated gradients); Erion et al.
    2021, Nat Mach Intell 3:620 (expected gradients); Smilkov et al., arXiv 1706.03825 (SmoothGrad); Selvaraju et al.
    2017, ICCV (Grad-CAM); Vinogradova et al. 2020, AAAI 34:13943 (its form for segmentation); Zeiler & Fergus 2014,
    ECCV (occlusion).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor, nn
from torch.nn import functional

from strokelens.explain.faithful import Answer, Base, Block, Image, deviation, emptied

Relevance = Float32[Tensor, "c *space"]

_INTERPOLATION: Final = {1: "linear", 2: "bilinear", 3: "trilinear"}


def gradient(answer: Answer, image: Image) -> Relevance:
    """How the answer changes with each voxel, ∂f/∂x.

    >>> gradient(lambda x: (x**2).sum((1, 2)), torch.tensor([[1.0, 2.0]])).tolist()
    [[2.0, 4.0]]
    """
    return _gradients(answer, image[None])[0].float()


def input_x_gradient(answer: Answer, image: Image, base: Base) -> Relevance:
    """(x − base) ∂f/∂x; for a linear answer this is exactly what each voxel adds to it.

    >>> input_x_gradient(lambda x: (x**2).sum((1, 2)), torch.tensor([[1.0, 2.0]]), torch.ones(1)).tolist()
    [[0.0, 4.0]]
    """
    return ((image - emptied(image, base)) * _gradients(answer, image[None])[0]).float()


def integrated_gradients(answer: Answer, image: Image, base: Base, *, steps: int = 20, batch: int = 1) -> Relevance:
    """(x − base) ∫ ∂f/∂x along the straight way from base to image, by the midpoint rule.

    Complete: it adds up to f(image) − f(base) but for the rule's error, of order 1 / steps² where f is smooth, and none
    where it is at most quadratic.

    >>> integrated_gradients(lambda x: (x**2).sum((1, 2)), torch.tensor([[1.0, 2.0]]), torch.zeros(1), steps=1).tolist()
    [[1.0, 4.0]]
    """
    empty = emptied(image, base)
    away = image - empty
    ways = _like((np.arange(steps) + 0.5) / steps, image)
    return (away * _mean_gradient(answer, (empty + way * away for way in _chunks(ways, batch)))).float()


def expected_gradients(
    answer: Answer,
    image: Image,
    references: Float[Tensor, "r c *space"],
    rng: np.random.Generator,
    *,
    samples: int = 20,
    batch: int = 1,
) -> Relevance:
    """Integrated gradients from references drawn at random, each at a random point of the way: the mean of many.

    Adds up to f(image) − the mean f of the references, but for chance.

    >>> image, references = torch.tensor([[1.0, 2.0]]), torch.zeros(3, 1, 2)
    >>> expected_gradients(lambda x: x.sum((1, 2)), image, references, np.random.default_rng(0)).tolist()
    [[1.0, 2.0]]
    """
    ways = _like(rng.random(samples), image)
    drawn = torch.from_numpy(rng.integers(len(references), size=samples)).to(image.device)
    total = torch.zeros_like(image, dtype=torch.float64)
    for way, which in zip(_chunks(ways, batch), _chunks(drawn, batch), strict=True):
        from_there = references[which]
        away = image - from_there
        total += (away * _gradients(answer, from_there + way * away)).sum(0)
    return (total / samples).float()


def smoothgrad(
    answer: Answer, image: Image, rng: np.random.Generator, *, samples: int = 20, sd: float = 0.1, batch: int = 1
) -> Relevance:
    """The mean gradient at the image with Gaussian noise of `sd` standard deviations of each channel.

    >>> smoothgrad(lambda x: x.sum((1, 2)), torch.tensor([[1.0, 2.0]]), np.random.default_rng(0)).tolist()
    [[1.0, 1.0]]
    """
    span = sd * deviation(image)
    sizes = [min(batch, samples - at) for at in range(0, samples, batch)]
    noises = (torch.from_numpy(rng.standard_normal((size, *image.shape))).to(image) for size in sizes)
    return _mean_gradient(answer, (image + noise * span for noise in noises)).float()


def grad_cam(answer: Answer, image: Image, layer: nn.Module) -> Relevance:
    """Where a layer's features A speak for the answer: Seg-Grad-CAM, max(0, Σₐ wₐ Aₐ), wₐ the mean of ∂f/∂Aₐ in space.

    Interpolated to the image's size. It cannot tell channels apart: each gets 1/c of it, so that they add up to the
    map. Raises `ValueError` when the answer never calls the layer; of several calls the last counts.

    >>> layer = nn.Conv1d(2, 1, 1, bias=False)
    >>> nn.init.ones_(layer.weight).shape
    torch.Size([1, 2, 1])
    >>> grad_cam(lambda x: layer(x).sum((1, 2)), torch.tensor([[1.0, -2.0], [1.0, 1.0]]), layer).tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    with torch.enable_grad(), _features(layer) as seen:
        # The image must ask for a gradient in case that no parameter before the layer does.
        found = answer(image[None].detach().requires_grad_())
        if not seen:
            raise ValueError(f"the answer never calls {type(layer).__name__}; give a layer of the network it asks")
        features = seen[-1]
        slopes = torch.autograd.grad(found.sum(), features, materialize_grads=True)[0]
    weights = slopes.mean(tuple(range(2, slopes.ndim)), keepdim=True)
    cam = (weights * features.detach()).sum(1, keepdim=True).clamp(min=0)
    size = tuple(image.shape[1:])
    whole = functional.interpolate(cam, size, mode=_INTERPOLATION[len(size)], align_corners=False)
    return (whole[0] / len(image)).expand_as(image).float()


def occlusion(
    answer: Answer, image: Image, base: Base, *, block: Block, stride: Block | None = None, batch: int = 1
) -> Relevance:
    """By how much the answer drops when a block of one channel is hidden: for each voxel the mean of its blocks'.

    Blocks begin each `stride` voxels, a block's size unless told, until the end is covered; they are cut there. Raises
    `ValueError` when the stride leaves voxels out.

    >>> occlusion(lambda x: x.sum((1, 2)), torch.tensor([[1.0, 2.0, 4.0]]), torch.zeros(1), block=(2,)).tolist()
    [[3.0, 3.0, 4.0]]
    """
    step, space = block if stride is None else stride, tuple(image.shape[1:])
    if not len(block) == len(step) == len(space) or any(not 1 <= s <= b for s, b in zip(step, block, strict=True)):
        raise ValueError(
            f"blocks of {block} each {step} voxels in {space}; give for each axis a stride of 1 to a block"
        )
    axes = [
        _windows(size, edge, each, image.device)
        for size, edge, each in zip(image.shape, (1, *block), (1, *step), strict=True)
    ]
    empty = emptied(image, base)
    total, times = (torch.zeros_like(image, dtype=torch.float64) for _ in range(2))
    starts = torch.cartesian_prod(*(torch.arange(len(each), device=image.device) for each in axes))
    with torch.no_grad():
        whole = answer(image[None]).double()
        for at in range(0, len(starts), batch):
            hidden = _hidden(axes, starts[at : at + batch])
            drops = whole - answer(torch.where(hidden, empty, image)).double()
            total += torch.einsum("b,b...->...", drops, hidden.double())
            times += hidden.sum(0)
    return (total / times).float()


def _windows(size: int, edge: int, step: int, device: torch.device) -> Bool[Tensor, "w n"]:
    """Which voxels of an axis each window covers."""
    starts = torch.arange(0, max(size - edge, 0) + step, step, device=device)
    away = torch.arange(size, device=device) - starts[:, None]
    return (away >= 0) & (away < edge)


def _hidden(axes: list[Bool[Tensor, "_ _"]], starts: Int[Tensor, "b a"]) -> Bool[Tensor, "b c *space"]:
    """The voxels where the windows of all axes meet."""
    hidden = torch.ones((len(starts), *[1] * len(axes)), dtype=torch.bool, device=starts.device)
    for axis, windows in enumerate(axes):
        shape = [len(starts), *[1] * len(axes)]
        shape[axis + 1] = windows.shape[1]
        hidden = hidden & windows[starts[:, axis]].reshape(shape)
    return hidden


def _gradients(answer: Answer, images: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
    with torch.enable_grad():
        here = images.detach().requires_grad_()
        return torch.autograd.grad(answer(here).sum(), here)[0]


def _mean_gradient(answer: Answer, batches: Iterator[Float[Tensor, "_ c *space"]]) -> Float[Tensor, "c *space"]:
    found = [(_gradients(answer, images).sum(0, dtype=torch.float64), len(images)) for images in batches]
    return torch.stack([total for total, _ in found]).sum(0) / sum(number for _, number in found)


def _like(numbers: Float[np.ndarray, "n"], image: Image) -> Float[Tensor, "n *ones"]:
    """Numbers of the image's kind, shaped to multiply a batch of it."""
    return torch.from_numpy(numbers).to(image).reshape(-1, *[1] * image.ndim)


def _chunks(numbers: Tensor, batch: int) -> Iterator[Tensor]:
    return (numbers[at : at + batch] for at in range(0, len(numbers), batch))


@contextmanager
def _features(layer: nn.Module) -> Iterator[list[Tensor]]:
    """What the layer gives at each call; what comes after gets a copy, because it may change that in place."""
    seen: list[Tensor] = []

    def keep(_: nn.Module, __: object, out: Tensor) -> Tensor:
        seen.append(out)
        return out.clone()

    hook = layer.register_forward_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()
