"""Penalty and largest norm against loops over filters, and against Keras's rule written out."""

import numpy as np
import pytest
import torch
from torch import nn

from strokelens.networks.fusion import Fusion, FusionDesign
from strokelens.networks.regular import limit_norms, penalty


@pytest.fixture
def net() -> Fusion:
    torch.manual_seed(0)
    net = Fusion(FusionDesign(maps=("CBF", "Tmax"), clinical=("nihss",), width=1 / 16, grid=2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3).add_(0.1)
    return net


def _added(net: Fusion) -> list[tuple[str, nn.Module]]:
    """Convolutions outside of the encoders, found by name."""
    return [
        (name, module)
        for name, module in net.named_modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and "encoders" not in name
    ]


def test_the_penalty_is_a_sum_over_kernels(net: Fusion) -> None:
    expected = 0.0
    for _, module in _added(net):
        kernel = module.weight.detach().double().numpy()  # type: ignore[operator]
        expected += 1e-3 * np.abs(kernel).sum() + 1e-2 * (kernel**2).sum()
    assert penalty(net, l1=1e-3, l2=1e-2).item() == pytest.approx(expected, rel=1e-5)


def test_no_filter_is_above_the_norm_and_small_ones_stay(net: Fusion) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    limit_norms(net, 2.0)
    acted = 0
    for name, module in _added(net):
        was = before[f"{name}.weight"].numpy()
        now = module.weight.detach().numpy()  # type: ignore[operator]
        if isinstance(module, nn.ConvTranspose2d):
            was, now = was.swapaxes(0, 1), now.swapaxes(0, 1)
        for old, new in zip(was, now, strict=True):
            norm = np.sqrt((old.astype(float) ** 2).sum())
            np.testing.assert_allclose(new, old * min(1, 2 / norm), rtol=1e-5)
            acted += norm > 2
    assert acted > 0
    untouched = [name for name in before if name.startswith(("encoders", "clinical")) or name.endswith("bias")]
    assert all(torch.equal(before[name], net.state_dict()[name]) for name in untouched)


def test_the_legacy_norm_is_kerass_over_rows(net: Fusion) -> None:
    """Keras: kernels are (rows, columns, …), axis 0; w · clip(norm, 0, m) / (1e-7 + norm)."""
    before = {name: value.clone() for name, value in net.state_dict().items()}
    limit_norms(net, 0.3, legacy=True)
    for name, module in _added(net):
        keras = np.moveaxis(before[f"{name}.weight"].numpy(), (2, 3), (0, 1))
        norm = np.sqrt((keras**2).sum(axis=0, keepdims=True))
        expected = np.moveaxis(keras * np.clip(norm, 0, 0.3) / (1e-7 + norm), (0, 1), (2, 3))
        np.testing.assert_allclose(module.weight.detach().numpy(), expected, rtol=1e-4)  # type: ignore[operator]
        bias = before[f"{name}.bias"].numpy()
        length = np.sqrt((bias**2).sum())
        np.testing.assert_allclose(
            module.bias.detach().numpy(),  # type: ignore[operator]
            bias * min(length, 0.3) / (1e-7 + length),
            rtol=1e-4,
        )


def test_a_filter_of_zeros_stays(net: Fusion) -> None:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    limit_norms(net, 2.0)
    assert all(torch.equal(parameter, torch.zeros_like(parameter)) for parameter in net.parameters())
