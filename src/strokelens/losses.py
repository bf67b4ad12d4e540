"""Losses of a segmentation: one number a sample, from logits (b, n, *space) and labels (b, *space).

Conventions: g is the truth one-hot, p the softmax of the logits, w the weight of a class; Σ is over the voxels and
classes of one sample. Ratios are pooled over classes, as the ancestor's were, unless a name says *mean*. The empty
case: a ratio 0/0 counts as perfect, for there was nothing to find and nothing was found.

- `tversky`: 1 − T, T = Σ w g p / Σ w (g p + α g (1−p) + (1−α) (1−g) p); Salehi et al. 2017. α weighs what is missed.
- `focal_tversky`: (1 − T)^(1/γ); Abraham and Khan 2019.
- `dice`: 1 − 2 Σ w g p / Σ w (g + p); `squared_dice`: with p² and g² below; Milletari et al. 2016.
- `jaccard`: 1 − Σ w g p / Σ w (g + p − g p); `tanimoto`: with p² and g²; `dual_tanimoto`: the mean of it and of that
  of 1−g and 1−p; Diakogiannis et al. 2020.
- `focal`: mean of w α (1−p)^γ (−g log p) over voxels and classes; Lin et al. 2017.
- `cross_entropy`: Σ w g (−log p) / Σ w g.
- `dice_cross_entropy`: half of the mean over the classes but the background of 1 − Dice, and half of cross-entropy.

`guidance` is of a network's relevance, in place of its logits: where its reasons lie.

All sums are in float32, or float64 where the logits are, whatever a network's own arithmetic is: those of a slice are
larger than float16 can hold, and bfloat16 has three digits.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from strokelens.errors import SettingsError, hint

Logits = Float[Tensor, "b n *space"]
Labels = Int[Tensor, "b *space"]
Weights = Float[Tensor, "n"]
PerSample = Float[Tensor, "b"]
Loss = Callable[[Logits, Labels], PerSample]
"""What training calls."""

ALPHA: Final = 0.7
GAMMA: Final = 1.33
FOCAL_ALPHA: Final = 0.25
FOCAL_GAMMA: Final = 2.0
_LEAST = 1e-7


def tversky(logits: Logits, labels: Labels, weights: Weights, *, alpha: float = ALPHA) -> PerSample:
    """1 − T."""
    p, g = _pair(logits, labels)
    missed, wrong = alpha * g * (1 - p), (1 - alpha) * (1 - g) * p
    return 1 - _ratio(g * p, g * p + missed + wrong, weights)


def focal_tversky(
    logits: Logits, labels: Labels, weights: Weights, *, alpha: float = ALPHA, gamma: float = GAMMA
) -> PerSample:
    """(1 − T)^(1/γ); flat below 1 − T = 1e-7, where its slope would be infinite.

    >>> p = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    >>> loss = focal_tversky(p.log().T[None], torch.tensor([[0, 0, 1, 2]]), torch.tensor([0.1, 50, 440]))
    >>> round(loss.item(), 5)
    0.46276
    """
    return tversky(logits, labels, weights, alpha=alpha).clamp_min(_LEAST) ** (1 / gamma)


def dice(logits: Logits, labels: Labels, weights: Weights) -> PerSample:
    """1 − 2 Σ w g p / Σ w (g + p)."""
    p, g = _pair(logits, labels)
    return 1 - _ratio(2 * g * p, g + p, weights)


def squared_dice(logits: Logits, labels: Labels, weights: Weights) -> PerSample:
    """1 − 2 Σ w g p / Σ w (g² + p²)."""
    p, g = _pair(logits, labels)
    return 1 - _ratio(2 * g * p, g + p.square(), weights)


def jaccard(logits: Logits, labels: Labels, weights: Weights) -> PerSample:
    """1 − Σ w g p / Σ w (g + p − g p)."""
    p, g = _pair(logits, labels)
    return 1 - _ratio(g * p, g + p - g * p, weights)


def tanimoto(logits: Logits, labels: Labels, weights: Weights) -> PerSample:
    """1 − Σ w g p / Σ w (g² + p² − g p)."""
    p, g = _pair(logits, labels)
    return 1 - _tanimoto(p, g, weights)


def dual_tanimoto(logits: Logits, labels: Labels, weights: Weights) -> PerSample:
    """1 − ½ (T(g, p) + T(1 − g, 1 − p)), where T is Tanimoto's ratio."""
    p, g = _pair(logits, labels)
    return 1 - (_tanimoto(p, g, weights) + _tanimoto(1 - p, 1 - g, weights)) / 2


def focal(
    logits: Logits, labels: Labels, weights: Weights, *, alpha: float = FOCAL_ALPHA, gamma: float = FOCAL_GAMMA
) -> PerSample:
    """The mean of w α (1 − p)^γ (−g log p) over voxels and classes; the ancestor's has w = 1."""
    log_p = functional.log_softmax(logits, 1)
    g = _one_hot(logits, labels)
    terms = alpha * (1 - log_p.exp()).clamp_min(_LEAST) ** gamma * -g * log_p  # a slope that is finite for γ < 1, too
    return _weighted(terms, weights) / terms[0].numel()


def cross_entropy(logits: Logits, labels: Labels, weights: Weights) -> PerSample:
    """Σ w g (−log p) / Σ w g: the mean over voxels, each with its class's weight; 0 where all weights are."""
    g = _one_hot(logits, labels)
    return 1 - _ratio(g * (1 + functional.log_softmax(logits, 1)), g, weights)


def dice_cross_entropy(logits: Logits, labels: Labels, weights: Weights) -> PerSample:
    """½ (1 − mean over the classes but the background of Dice) + ½ cross-entropy; a class's weight counts in both.

    Each class's Dice has squares in neither term, and is 1 where the class is absent from the truth and 0 everywhere
    in the prediction.
    """
    p, g = _pair(logits, labels)
    inter, both = (2 * g * p).flatten(2).sum(2), (g + p).flatten(2).sum(2)  # (b, n)
    each = torch.where(both > 0, inter / both.clamp_min(_LEAST), 1)
    share = weights[1:] / weights[1:].sum().clamp_min(_LEAST)
    return (1 - (each[:, 1:] * share).sum(1)) / 2 + cross_entropy(logits, labels, weights) / 2


LOSSES: Final[Mapping[str, Callable[..., PerSample]]] = MappingProxyType(
    {
        loss.__name__: loss
        for loss in (
            focal_tversky,
            tversky,
            squared_dice,
            dice,
            tanimoto,
            dual_tanimoto,
            jaccard,
            focal,
            cross_entropy,
            dice_cross_entropy,
        )
    }
)
"""Every loss by its name."""


def loss_named(name: str, weights: Sequence[float], **options: float) -> Loss:
    """The loss of this name, with a weight for each class; `SettingsError` names the nearest.

    >>> loss = loss_named("tversky", (0.1, 50, 440), alpha=0.5)
    >>> tuple(loss(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)).shape)
    (2,)
    """
    if name not in LOSSES:
        raise SettingsError(f"no loss {name!r}; {hint(name, LOSSES)}")

    def loss(logits: Logits, labels: Labels) -> PerSample:
        with torch.autocast(logits.device.type, enabled=False):
            exact = logits if logits.dtype == torch.float64 else logits.float()
            return LOSSES[name](exact, labels, exact.new_tensor(weights), **options)

    return loss


def guidance(relevance: Float[Tensor, "b c *space"], lesion: Bool[Tensor, "b *space"]) -> PerSample:
    """Cross-entropy of each channel's relevance R, as the logit of a lesion beside one of 0: the mean over all of them.

    log(1 + exp(−R)) where the lesion is, log(1 + exp(R)) elsewhere, R in standard deviations over a sample, whose slope
    is not followed. After Tjoa et al. (arXiv 1911.08136), who summed over channels as it was. log 2 for a map of zeros.

    >>> torch.round(guidance(torch.tensor([[[30.0, -30.0]]]), torch.tensor([[True, False]])), decimals=3)
    tensor([0.3130])
    """
    axes = tuple(range(1, relevance.ndim))
    spread = relevance.detach().std(axes, correction=0, keepdim=True)
    scaled = relevance / torch.where(spread > 0, spread, 1)
    sign = torch.where(lesion, -1.0, 1.0).unsqueeze(1)
    return functional.softplus(sign * scaled).mean(axes)


def severity(labels: Labels, weights: Sequence[float], sixfold: Bool[Tensor, "b"]) -> PerSample:
    """The ancestor's weight of each sample: the mean over its voxels of their class's, where `sixfold` of lesions × 6.

    Lesions are the two last classes, or of two the last; all others have the first one's weight. A slice without a
    lesion has hardly any weight.

    >>> severity(torch.tensor([[0, 0, 1, 2]]), (0.1, 50, 440), torch.tensor([True])).item()
    735.049...
    """
    table = torch.tensor(weights, device=labels.device)
    table[: max(1, len(weights) - 2)] = weights[0]
    lesion = torch.arange(len(weights), device=labels.device) >= max(1, len(weights) - 2)
    tables = torch.stack([table, torch.where(lesion, 6 * table, table)])
    found: PerSample = tables[sixfold.long().view(-1, *[1] * (labels.ndim - 1)), labels.long()].flatten(1).mean(1)
    return found


def _pair(logits: Logits, labels: Labels) -> tuple[Logits, Logits]:
    return functional.softmax(logits, 1), _one_hot(logits, labels)


def _one_hot(logits: Logits, labels: Labels) -> Logits:
    classes = torch.arange(logits.shape[1], device=labels.device).view(1, -1, *[1] * (labels.ndim - 1))
    return (labels.unsqueeze(1) == classes).to(logits.dtype)


def _tanimoto(p: Logits, g: Logits, weights: Weights) -> PerSample:
    return _ratio(g * p, g.square() + p.square() - g * p, weights)


def _ratio(over: Logits, under: Logits, weights: Weights) -> PerSample:
    """Σ w over / Σ w under for each sample; 1 for 0/0."""
    above, below = _weighted(over, weights), _weighted(under, weights)
    return torch.where(below > 0, above / below.clamp_min(torch.finfo(below.dtype).tiny), 1)


def _weighted(terms: Logits, weights: Weights) -> PerSample:
    """Σ over classes and voxels of w times the terms."""
    return (terms.flatten(2).sum(2) * weights).sum(1)
