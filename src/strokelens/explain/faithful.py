"""Whether relevance tells what the network does: take away what it points at, and ask the network again.

An `Answer` is the number that was explained, such as the lesion's logits summed over a mask, of each image of a batch
(b, c, *space); a network in evaluation gives each image its own. What is taken away gets the `base` value of its
channel.
Images are asked about `batch` at a time.

References:
    Samek et al. 2017, IEEE TNNLS 28:2660 (region perturbation); Petsiuk et al. 2018, BMVC (insertion); Yeh et al. 2019,
    NeurIPS (sensitivity, infidelity).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

Image = Float[Tensor, "c *space"]
Base = Float[Tensor, "c *_"]
"""Of each channel, or of each voxel of the image."""

Answer = Callable[[Float[Tensor, "b c *space"]], Float[Tensor, "b"]]
Explain = Callable[[Float[Tensor, "c *space"]], Float[Tensor, "c *space"]]
Block = tuple[int, ...]
"""A block's size in voxels along each axis of space."""

_EDGE = 4


@dataclass(frozen=True, eq=False)
class Perturbation:
    """The answer as more and more is `removed`, from 0 to 1 of all blocks: the most relevant first, and the least.

    Each answer f is (f − f(all removed)) / (f(image) − f(all removed)), so that curves begin at 1; they may leave the
    range from 0 to 1. NaN where removing all changes nothing.
    """

    removed: Float[np.ndarray, "p"]
    morf: Float[np.ndarray, "p"]
    lerf: Float[np.ndarray, "p"]

    @property
    def area_morf(self) -> float:
        """The mean height of the curve that removes the most relevant first; lower is better."""
        return _height(self.removed, self.morf)

    @property
    def area_lerf(self) -> float:
        """The mean height of the curve that removes the least relevant first; higher is better."""
        return _height(self.removed, self.lerf)

    @property
    def gap(self) -> float:
        """Between the two, higher is better: about 0 for a random map, and above 1 where curves leave 0 to 1."""
        return self.area_lerf - self.area_morf


@dataclass(frozen=True)
class Agreement:
    """How alike two arrays of a number per channel are: their ranks, and their directions."""

    spearman: float
    cosine: float


@dataclass(frozen=True)
class Infidelity:
    """The mean (Σ relevance of what was removed − the answer's drop)² over the mean of drops².

    `plain` is 0 where relevance adds up to the drops; `scaled` where it does times any factor ≥ 0, and never above 1,
    which a map that tells nothing has.
    """

    plain: float
    scaled: float


def perturbation(
    answer: Answer,
    image: Image,
    relevance: Image,
    base: Base,
    *,
    block: Block | None = None,
    steps: int = 20,
    most: float = 1.0,
    batch: int = 1,
) -> Perturbation:
    """Region perturbation: blocks of each channel are removed by their summed relevance, in equal steps up to `most`.

    Blocks are of 4 voxels along each axis unless told. At most 2·`steps` images are asked about, and 2 more when `most`
    is below 1. Blocks that tie go in the order of channels and voxels, and so a map without channels that is repeated
    for each removes all channels of a block together.

    >>> image, base = torch.tensor([[1.0, 2.0, 3.0]]), torch.zeros(1)
    >>> found = perturbation(lambda x: x.sum((1, 2)), image, image, base, block=(1,), steps=3)
    >>> found.morf.round(3).tolist(), found.lerf.round(3).tolist(), round(found.gap, 3)
    ([1.0, 0.5, 0.167, 0.0], [1.0, 0.833, 0.5, 0.0], 0.222)
    """
    if steps < 1 or not 0 < most <= 1:
        raise ValueError(f"{steps} steps up to {most} of the blocks; give at least 1, up to a share above 0 and of 1")
    first = _removed_at(image, relevance, block)
    number = int(first.max()) + 1
    counts = _counts(max(1.0, most * number), steps)
    asked = [*((0, k) for k in counts), *((1, k) for k in counts), (0, number)]
    answers = _removals(answer, image, base, torch.stack([first, number - 1 - first]), asked, batch)
    curves = _normalised(answers, start=answers[0], end=answers[-1])
    return Perturbation(np.array(counts) / number, curves[: steps + 1], curves[steps + 1 : -1])


def insertion(
    answer: Answer,
    image: Image,
    relevance: Image,
    base: Base,
    *,
    block: Block | None = None,
    steps: int = 20,
    batch: int = 1,
) -> float:
    """The mean height of the answer as blocks of the image are put in place of `base`, the most relevant first.

    The answer is 0 where all is base and 1 at the image, as in `perturbation`, of which this is the `area_lerf` where
    that removes all. Higher is better; NaN where the two ends are equal.

    >>> image, base = torch.tensor([[1.0, 2.0, 3.0]]), torch.zeros(1)
    >>> round(insertion(lambda x: x.sum((1, 2)), image, image, base, block=(1,), steps=3), 3)
    0.611
    """
    if steps < 1:
        raise ValueError(f"{steps} steps; give at least 1")
    first = _removed_at(image, relevance, block)
    number = int(first.max()) + 1
    counts = _counts(number, steps)
    answers = _removals(answer, image, base, number - 1 - first[None], [(0, k) for k in counts], batch)
    return _height(np.array(counts) / number, _normalised(answers, start=answers[0], end=answers[-1]))


def ablation(answer: Answer, image: Image, base: Base, *, batch: int = 1) -> Float[Tensor, "c"]:
    """By how much the answer drops when each channel, alone, is its base everywhere; float64.

    >>> image, base = torch.tensor([[1.0, 2.0], [5.0, 5.0]]), torch.zeros(2)
    >>> ablation(lambda x: x[:, 0].sum(1), image, base).tolist()
    [3.0, 0.0]
    """
    empty, channels = emptied(image, base), torch.arange(-1, len(image), device=image.device)

    def images(these: Int[Tensor, "b"]) -> Float[Tensor, "b c *space"]:
        gone = these[:, None] == channels[1:]
        return torch.where(gone.reshape(*gone.shape, *[1] * (image.ndim - 1)), empty, image)

    answers = torch.from_numpy(_answers(answer, images, channels, batch))
    return answers[0] - answers[1:]


def agreement(drops: Float[Tensor, "c"], share: Float[np.ndarray, "c"]) -> Agreement:
    """How well shares of relevance agree with what `ablation` found, channel by channel.

    The rank correlation is NaN where one of them is constant, the cosine where one is zero.

    >>> agreement(torch.tensor([4.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]))
    Agreement(spearman=0.866..., cosine=0.970...)
    """
    first, second = drops.detach().cpu().numpy().astype(np.float64), share.astype(np.float64)
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return Agreement(spearman(first, second), float(first @ second) / lengths if lengths else nan)


def max_sensitivity(
    explain: Explain,
    image: Image,
    relevance: Image,
    rng: np.random.Generator,
    *,
    radius: float = 0.1,
    samples: int = 10,
) -> float:
    """How much relevance changes at most when the image hardly does: max ‖R(x′) − R(x)‖₂ / ‖R(x)‖₂.

    x′ is x with uniform noise within ± `radius` of each channel's standard deviation over all its voxels. NaN when the
    relevance is zero.

    >>> image = torch.tensor([[1.0, 2.0, 3.0]])
    >>> max_sensitivity(torch.ones_like, image, torch.ones_like(image), np.random.default_rng(0))
    0.0
    """
    length = float(relevance.double().norm())
    if not length:
        return nan
    span = radius * deviation(image)
    noises = (uniform(image, rng) * span for _ in range(samples))
    return max(float((explain(image + noise) - relevance).double().norm()) for noise in noises) / length


def infidelity(
    answer: Answer,
    image: Image,
    relevance: Image,
    base: Base,
    rng: np.random.Generator,
    *,
    block: Block | None = None,
    chance: float = 0.1,
    samples: int = 50,
    batch: int = 1,
) -> Infidelity:
    """Whether relevance adds up to what the answer drops by, when blocks drawn at random are removed.

    Each block of each channel, of 4 voxels along each axis unless told, is removed with this chance. Relevance is
    already multiplied by x − base, so that its sum over what was removed stands for Yeh's IᵀΦ. NaN when the answer
    never changes.

    >>> image, base = torch.tensor([[1.0, 2.0, 3.0]]), torch.zeros(1)
    >>> infidelity(lambda x: x.sum((1, 2)), image, 2 * image, base, np.random.default_rng(0), block=(1,), chance=0.5)
    Infidelity(plain=1.0, scaled=0.0)
    """
    place = _blocks(image, block)
    each = _by_block(relevance, place)
    gone = rng.random((samples, len(each))) < chance
    sums = gone @ each.numpy()
    empty, place = emptied(image, base), place.to(image.device)
    # The image itself is the last one asked about: nothing of it is removed.
    asked = torch.from_numpy(np.append(gone, np.zeros_like(gone[:1]), axis=0)).to(image.device)
    answers = _answers(answer, lambda these: torch.where(these[:, place], empty, image), asked, batch)
    drops = answers[-1] - answers[:-1]
    power, known = float((drops**2).mean()), float((sums**2).mean())
    if not power:
        return Infidelity(nan, nan)
    factor = max(float((sums * drops).mean()) / known, 0.0) if known else 0.0
    return Infidelity(*(float(((times * sums - drops) ** 2).mean()) / power for times in (1.0, factor)))


def emptied(image: Image, base: Base) -> Image:
    """The image when all is removed: each channel, or voxel, its base.

    >>> emptied(torch.zeros(2, 3), torch.tensor([1.0, 2.0])).tolist()
    [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    """
    if base.shape == image.shape:
        return base.to(image)
    if base.shape != image.shape[:1]:
        told = f"base values of shape {tuple(base.shape)} for an image of {tuple(image.shape)}"
        raise ValueError(f"{told}; give one for each channel, or voxel")
    return base.to(image).reshape(-1, *[1] * (image.ndim - 1)).expand_as(image)


def spearman(first: Float[np.ndarray, "n"], second: Float[np.ndarray, "n"]) -> float:
    """The correlation of ranks, ties sharing their mean rank; NaN when one is constant or there are less than two.

    >>> spearman(np.array([1.0, 2.0, 9.0]), np.array([3.0, 2.0, 1.0]))
    -1.0
    """
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return nan
    return float(np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1])


def deviation(image: Image) -> Float[Tensor, "c *_"]:
    """The standard deviation of each channel over all its voxels, shaped to multiply the image.

    >>> deviation(torch.tensor([[1.0, 3.0], [2.0, 2.0]])).tolist()
    [[1.0], [0.0]]
    """
    return image.std(tuple(range(1, image.ndim)), correction=0, keepdim=True)


def uniform(image: Image, rng: np.random.Generator) -> Image:
    """Noise of the image's shape and kind, even from −1 to 1.

    >>> tuple(uniform(torch.zeros(2, 3, 3), np.random.default_rng(0)).shape)
    (2, 3, 3)
    """
    return torch.from_numpy(rng.uniform(-1, 1, tuple(image.shape))).to(image)


def _answers(answer: Answer, images: Callable[[Tensor], Tensor], asked: Tensor, batch: int) -> Float[np.ndarray, "n"]:
    """The answers about images that are made, a batch at a time, of what identifies them."""
    with torch.no_grad():
        found = [answer(images(asked[at : at + batch])).double() for at in range(0, len(asked), batch)]
    return torch.cat(found).cpu().numpy()


def _removals(
    answer: Answer,
    image: Image,
    base: Base,
    removed_at: Int[Tensor, "r c *space"],
    asked: Sequence[tuple[int, int]],
    batch: int,
) -> Float[np.ndarray, "n"]:
    """The answers after so many blocks were removed in this order, each pair of order and count asked about once."""
    whole = int(removed_at[0].max()) + 1
    # When none or all are removed the order does not matter.
    pairs = torch.tensor([(order if 0 < count < whole else 0, count) for order, count in asked])
    once, place = torch.unique(pairs, dim=0, return_inverse=True)
    empty = emptied(image, base)

    def images(these: Int[Tensor, "b 2"]) -> Float[Tensor, "b c *space"]:
        counts = these[:, 1].reshape(-1, *[1] * image.ndim)
        return torch.where(removed_at[these[:, 0]] < counts, empty, image)

    answers: Float[np.ndarray, "n"] = _answers(answer, images, once.to(image.device), batch)[place.numpy()]
    return answers


def _counts(last: float, steps: int) -> list[int]:
    """How many blocks are removed at each point, from none to the last."""
    return [round(last * step / steps) for step in range(steps + 1)]


def _removed_at(image: Image, relevance: Image, block: Block | None) -> Int[Tensor, "c *space"]:
    """When each voxel is removed: the place of its block, the most relevant first."""
    place = _blocks(image, block)
    order = _by_block(relevance, place).argsort(descending=True, stable=True)
    at = torch.empty_like(order)
    at[order] = torch.arange(len(order))
    return at[place].to(image.device)


def _blocks(image: Image, block: Block | None) -> Int[Tensor, "c *space"]:
    """The number of each voxel's block, channel by channel, on the CPU; the last block of an axis may be smaller."""
    space = tuple(image.shape[1:])
    edges = (_EDGE,) * len(space) if block is None else block
    if len(edges) != len(space) or min(edges) < 1:
        raise ValueError(f"blocks of {edges} in an image of {space}; give at least 1 voxel along each axis")
    place = torch.zeros(tuple(image.shape), dtype=torch.int64)
    for axis, (size, edge) in enumerate(zip(image.shape, (1, *edges), strict=True)):
        along = torch.arange(size) // edge
        place = place * (int(along[-1]) + 1) + along.reshape(-1, *[1] * (image.ndim - 1 - axis))
    return place


def _by_block(relevance: Image, place: Int[Tensor, "c *space"]) -> Float[Tensor, "n"]:
    """The sum of each block, on the CPU, where equal blocks have equal sums to the bit."""
    if relevance.shape != place.shape:
        raise ValueError(f"relevance of {tuple(relevance.shape)} for an image of {tuple(place.shape)}; make them alike")
    sums = torch.bincount(place.flatten(), relevance.detach().cpu().double().flatten())
    if not sums.isfinite().all():
        raise ValueError(
            f"{int((~sums.isfinite()).sum())} of {len(sums)} blocks have no finite relevance; mend the map"
        )
    return sums


def _normalised(answers: Float[np.ndarray, "n"], *, start: float, end: float) -> Float[np.ndarray, "n"]:
    return (answers - end) / (start - end) if start != end else np.full_like(answers, nan)


def _height(removed: Float[np.ndarray, "p"], curve: Float[np.ndarray, "p"]) -> float:
    return float(np.trapezoid(curve, removed) / removed[-1])
