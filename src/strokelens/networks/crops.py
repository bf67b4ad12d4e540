"""The part of slices that shows anything, on the network's own lattice: what is outside need not be computed."""

from jaxtyping import Shaped
from torch import Tensor

from strokelens.networks.fusion import STRIDE


def shown(images: Shaped[Tensor, "b c i j"], *, margin: int = 0) -> tuple[slice, slice]:
    """The least rows and columns, in whole multiples of 32, in which any of the images is not 0, and a margin.

    All of them where nothing is shown.

    >>> images = torch.zeros(2, 3, 128, 128)
    >>> images[1, 0, 40, 10:70] = 1
    >>> shown(images)
    (slice(32, 64, None), slice(0, 96, None))
    """
    marked = (images != 0).any(1).any(0)
    return _span(marked.any(1), margin), _span(marked.any(0), margin)


def _span(marked: Shaped[Tensor, "n"], margin: int) -> slice:
    places = marked.nonzero()
    side = len(marked)
    if not len(places):
        return slice(0, side)
    first, last = max(0, int(places[0]) - margin), min(side, int(places[-1]) + 1 + margin)
    return slice(first // STRIDE * STRIDE, min(side, -(-last // STRIDE) * STRIDE))
