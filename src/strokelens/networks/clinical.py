"""Clinical values in a network: whether they are there, and what the known ones add."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def check_clinical(names: Sequence[str], values: Tensor | None, known: Tensor | None) -> None:
    """Raise `ValueError` unless there is a value (b, s) of each name, and whether it is known."""
    if names and (values is None or known is None):
        raise ValueError(f"the network needs {', '.join(names)}, and which of them are known")
    for scalars in (values, known):
        if scalars is not None and scalars.shape[1] != len(names):
            raise ValueError(f"{scalars.shape[1]} clinical values, where the network has {len(names)}")


def known_sum(
    layers: Iterable[nn.Module], values: Float[Tensor, "b s"], known: Bool[Tensor, "b s"]
) -> Float[Tensor, "b f"]:
    """The sum over the known values of their own layer's W x + b; an unknown one adds nothing, whatever it holds."""
    safe = torch.where(known, values, 0)
    terms = [layer(safe[:, s : s + 1]) * known[:, s : s + 1] for s, layer in enumerate(layers)]
    return torch.stack(terms).sum(0)
