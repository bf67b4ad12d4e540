"""What is explained: the logits of a class at some voxels, how far it is above another, or the volume it takes.

Each target is a relevance R of the answer that begins there, linear in the logits; Σ R is what it explains.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Logits = Float[Tensor, "b n *space"]


@dataclass(frozen=True)
class Target:
    """The logit of the class `value`; with `against` less that class's: what makes it the one rather than the other.

    >>> Target(2, 1).seed(torch.tensor([[[5.0], [1.0], [3.0]]]), torch.tensor([True]))[0, :, 0].tolist()
    [0.0, -1.0, 3.0]
    """

    value: int
    against: int | None = None

    def seed(self, logits: Logits, where: Bool[Tensor, "*space"] | Float[Tensor, "*space"]) -> Logits:
        """The logits where it is, times a share where `where` is of numbers; 0 elsewhere."""
        weight = torch.zeros(logits.shape[1], dtype=logits.dtype, device=logits.device)
        weight[self.value] = 1
        if self.against is not None:
            weight[self.against] -= 1
        return logits * weight.view(-1, *[1] * (logits.ndim - 2)) * where


@dataclass(frozen=True)
class Volume:
    """The volume of the class `value`, Σ p over all voxels, to the first order: R = z ∂(Σ p)/∂z of each logit z.

    >>> float(Volume(1).seed(torch.zeros(1, 2, 4), torch.ones(4)).sum())
    0.0
    """

    value: int

    def seed(self, logits: Logits, where: Bool[Tensor, "*space"] | Float[Tensor, "*space"]) -> Logits:
        """The logits, times how the probability of the class changes with each of them."""
        likely = torch.softmax(logits, 1)
        mine = likely[:, self.value : self.value + 1]
        one = torch.zeros_like(likely)
        one[:, self.value] = 1
        return logits * mine * (one - likely) * where


@dataclass(frozen=True)
class Output:
    """All logits of all classes, as the ancestor had it: mostly what the background has of it.

    >>> float(Output().seed(torch.ones(1, 2, 4), torch.ones(4)).sum())
    8.0
    """

    def seed(self, logits: Logits, where: Bool[Tensor, "*space"] | Float[Tensor, "*space"]) -> Logits:
        """The logits where it is."""
        return logits * where
