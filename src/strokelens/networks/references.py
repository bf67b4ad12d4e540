"""MONAI's DynUNet and SegResNet as networks of ours: any size, by padding to what they halve; no clinical values."""

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from strokelens.networks.network import Network
from strokelens.networks.unet3d import Step


class Padded(Network):
    """A network of volumes whose sizes are multiples of `multiple`: volumes are padded by zeros, and logits cropped."""

    def __init__(self, inner: nn.Module, multiple: Step) -> None:
        super().__init__()
        self.inner, self.multiple, self.stride = inner, multiple, max(multiple[1:])

    def forward(
        self,
        images: Float[Tensor, "b c k i j"],
        values: Float[Tensor, "b s"] | None = None,
        known: Bool[Tensor, "b s"] | None = None,
        *,
        corner: tuple[int, int] | None = None,
    ) -> Float[Tensor, "b n k i j"]:
        """The logits."""
        k, i, j = images.shape[2:]
        spare = [
            0 if size % each == 0 else each - size % each for size, each in zip((k, i, j), self.multiple, strict=True)
        ]
        logits: Tensor = self.inner(functional.pad(images, (0, spare[2], 0, spare[1], 0, spare[0])))
        return logits[..., :k, :i, :j]


def dynunet(channels: int, classes: int, filters: Sequence[int], steps: Sequence[Step], *, dropout: float) -> Padded:
    """nnU-Net's network as MONAI has it, without its deep supervision: kernels are flat where steps are.

    >>> import torch
    >>> net = dynunet(2, 2, (4, 8, 16), ((1, 2, 2), (2, 2, 2)), dropout=0)
    >>> tuple(net(torch.zeros(1, 2, 7, 30, 33)).shape)
    (1, 2, 7, 30, 33)
    """
    from monai.networks.nets.dynunet import DynUNet  # noqa: PLC0415  # seconds, and only these networks need it

    kernels = [tuple(1 if each == 1 else 3 for each in step) for step in (*steps, steps[-1])]
    kernels[-1] = (3, 3, 3)
    inner = DynUNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=classes,
        kernel_size=kernels,
        strides=[(1, 1, 1), *steps],
        upsample_kernel_size=list(steps),
        filters=list(filters),
        dropout=dropout or None,
    )
    return Padded(inner, _product(steps))


def segresnet(channels: int, classes: int, filters: Sequence[int], *, dropout: float) -> Padded:
    """MONAI's SegResNet.

    >>> import torch
    >>> tuple(segresnet(2, 2, (8, 16, 32), dropout=0)(torch.zeros(1, 2, 7, 30, 33)).shape)
    (1, 2, 7, 30, 33)
    """
    from monai.networks.nets.segresnet import SegResNet  # noqa: PLC0415

    down, up = (1, *[2] * (len(filters) - 2), 4)[: len(filters)], (1,) * (len(filters) - 1)
    inner = SegResNet(
        spatial_dims=3,
        init_filters=filters[0],
        in_channels=channels,
        out_channels=classes,
        dropout_prob=dropout or None,
        blocks_down=down,
        blocks_up=up,
    )
    return Padded(inner, _product([(2, 2, 2)] * (len(filters) - 1)))


def _product(steps: Sequence[Step]) -> Step:
    """By how much the coarsest scale is coarser than the finest."""
    k = i = j = 1
    for each in steps:
        k, i, j = k * each[0], i * each[1], j * each[2]
    return k, i, j
