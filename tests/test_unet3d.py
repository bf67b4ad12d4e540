"""The 3D U-Net: the published counts and shapes, the same written out by hand, and what each part is there for."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from strokelens.networks.unet3d import SMALLEST, Activation, Norm, Unet3d, Unet3dDesign

LEGACY = Unet3dDesign(legacy=True)
SMALL = Unet3dDesign(channels=("ADC", "Tmax"), scales=SMALLEST)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def drawn(design: Unet3dDesign, seed: int = 0) -> Unet3d:
    torch.manual_seed(seed)
    return Unet3d(design).eval()


@pytest.fixture(scope="module")
def published() -> Unet3d:
    with torch.device("meta"):
        return Unet3d(LEGACY)


def test_the_published_network_has_its_parameters_stage_by_stage(published: Unet3d) -> None:
    assert count(published) == 19_077_158
    assert [count(each) for each in published.encoders] == [60_768, 332_352, 1_328_256, 5_310_720]
    assert [count(each) for each in published.ups] == [2_097_152, 524_288, 131_072]
    assert [count(each) for each in published.decoders] == [7_079_424, 1_770_240, 442_752]
    assert [count(each) for each in published.heads] == [134]


def test_the_network_for_debugging_and_the_lens_have_theirs() -> None:
    assert count(Unet3d(replace(LEGACY, scales=SMALLEST))) == 24_141
    lens = Unet3d(replace(LEGACY, scales=SMALLEST, lens=True)).lens
    assert lens is not None
    assert count(lens) == 93_654


def test_every_stage_has_the_published_shape(published: Unet3d) -> None:
    shapes: list[tuple[int, ...]] = []
    stages = [*published.encoders, *published.ups, *published.decoders]
    hooks = [each.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:]))) for each in stages]
    assert published(torch.zeros(1, 6, 19, 48, 48, device="meta")).shape == (1, 2, 19, 48, 48)
    for hook in hooks:
        hook.remove()
    assert shapes == [
        (64, 19, 48, 48), (128, 10, 24, 24), (256, 5, 12, 12), (512, 3, 6, 6),
        (512, 6, 12, 12), (256, 5, 12, 12), (256, 10, 24, 24), (128, 10, 24, 24), (128, 20, 48, 48), (64, 19, 48, 48),
    ]  # fmt: skip


def by_hand(net: Unet3d, x: Tensor) -> Tensor:
    """The published forward pass in evaluation, written out: always the last slice is dropped at the ends."""
    weights = net.state_dict()

    def normed(x: Tensor, name: str) -> Tensor:
        mean, var, gamma, beta = (
            weights[f"{name}.{part}"][None, :, None, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        scaled: Tensor = (x - mean) / torch.sqrt(var + 1e-5) * gamma + beta
        return scaled

    def block(x: Tensor, name: str) -> Tensor:
        for part in ("first", "second"):
            x = functional.conv3d(x, weights[f"{name}.{part}.0.weight"], weights[f"{name}.{part}.0.bias"], padding=1)
            x = normed(x, f"{name}.{part}.1")
            x = torch.where(x > 0, x, 0.2 * x)
        return x

    h1 = block(x, "encoders.0")
    h2 = block(functional.max_pool3d(h1, 2, ceil_mode=True), "encoders.1")
    h3 = block(functional.max_pool3d(h2, 2, ceil_mode=True), "encoders.2")
    x = block(functional.max_pool3d(h3, 2, ceil_mode=True), "encoders.3")
    x = functional.conv_transpose3d(x, weights["ups.0.weight"], stride=2)[:, :, :-1]
    x = block(torch.cat([h3, x], 1), "decoders.0")
    x = functional.conv_transpose3d(x, weights["ups.1.weight"], stride=2)
    x = block(torch.cat([h2, x], 1), "decoders.1")
    x = functional.conv_transpose3d(x, weights["ups.2.weight"], stride=2)[:, :, :-1]
    x = block(torch.cat([h1, x], 1), "decoders.2")
    x = functional.conv3d(x, weights["heads.0.0.weight"], weights["heads.0.0.bias"])
    return normed(x, "heads.0.1").clamp(min=0)


@pytest.mark.parametrize("depth", [11, 19, 27])
def test_legacy_is_the_published_forward_pass(depth: int) -> None:
    net = drawn(replace(LEGACY, scales=SMALLEST))
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            nn.init.uniform_(buffer, -0.5, 0.5)
        elif name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 1.5)
    x = torch.randn(2, 6, depth, 16, 24)
    with torch.no_grad():
        found = net(x)
        torch.testing.assert_close(found, by_hand(net, x), atol=1e-5, rtol=1e-5)
    assert (found >= 0).all()
    assert found.std() > 0


@pytest.mark.parametrize("size", [(18, 16, 16), (19, 20, 16), (19, 16, 12)])
def test_legacy_refuses_what_the_ancestor_failed_at(size: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=rf"not {size[0]}×{size[1]}×{size[2]}; resample the volume"):
        drawn(replace(LEGACY, scales=SMALLEST))(torch.zeros(1, 6, *size))


@settings(max_examples=15)
@given(size=st.tuples(*[st.integers(1, 21)] * 3), flat=st.booleans())
def test_ours_computes_any_size(size: tuple[int, int, int], flat: bool) -> None:
    steps = ((1, 2, 2), (1, 2, 2), (2, 2, 2)) if flat else SMALL.steps
    with torch.no_grad():
        found = drawn(replace(SMALL, steps=steps))(torch.randn(1, 2, *size))
    assert found.shape == (1, 2, *size)
    assert found.isfinite().all()


def first_gradient(design: Unet3dDesign) -> float:
    """How much the finest encoder learns when only its skip leads to the head."""
    net = drawn(design)
    for up in net.ups:
        nn.init.zeros_(up.get_parameter("weight"))
    net(torch.randn(1, len(design.channels), 11, 16, 16)).square().sum().backward()
    weight = net.encoders[0].first[0].weight  # type: ignore[index,union-attr]
    return 0.0 if weight.grad is None else float(weight.grad.abs().sum())


def test_gradients_flow_through_skips_but_for_legacy() -> None:
    assert first_gradient(replace(LEGACY, scales=SMALLEST)) == 0
    assert first_gradient(replace(LEGACY, scales=SMALLEST, legacy=False)) > 0


def test_logits_are_plain_but_for_legacy() -> None:
    x = torch.randn(1, 6, 11, 16, 16)
    with torch.no_grad():
        assert drawn(replace(LEGACY, scales=SMALLEST))(x).min() == 0
        assert drawn(replace(LEGACY, scales=SMALLEST, legacy=False))(x).min() < 0


@pytest.mark.parametrize("norm", ["none", "batch", "instance", "group"])
@pytest.mark.parametrize("activation", ["leaky_relu", "relu", "silu"])
def test_every_parameter_learns_whatever_norm_and_activation(norm: Norm, activation: Activation) -> None:
    design = replace(
        SMALL,
        norm=norm,
        activation=activation,
        residual=True,
        deep=True,
        lens=True,
        clinical=("tss",),
    )
    net = drawn(design).train()
    scales = net.at_scales(torch.randn(2, 2, 9, 17, 16), torch.rand(2, 1), torch.ones(2, 1, dtype=torch.bool))
    torch.stack([each.square().mean() for each in scales]).sum().backward()  # type: ignore[no-untyped-call]
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []


def test_deep_supervision_has_logits_of_every_scale_of_the_decoder() -> None:
    net, x = drawn(replace(SMALL, deep=True)), torch.randn(1, 2, 10, 16, 12)
    with torch.no_grad():
        scales = net.at_scales(x)
        assert [tuple(each.shape) for each in scales] == [(1, 2, 3, 4, 3), (1, 2, 5, 8, 6), (1, 2, 10, 16, 12)]
        assert torch.equal(net(x), scales[-1])


def test_a_residual_block_without_weights_is_what_came_in() -> None:
    block = drawn(
        replace(SMALL, scales=((4, 4), *SMALLEST[1:]), channels=("a", "b", "c", "d"), residual=True)
    ).encoders[0]
    nn.init.zeros_(block.second[0].weight)  # type: ignore[index,union-attr]
    nn.init.zeros_(block.second[0].bias)  # type: ignore[index,union-attr]
    x = torch.rand(1, 4, 3, 4, 5)
    assert torch.equal(block(x), x)


def test_an_unknown_clinical_value_adds_nothing_whatever_it_holds() -> None:
    net, x = drawn(replace(SMALL, clinical=("tss", "ttt"))), torch.randn(2, 2, 8, 16, 16)
    known = torch.tensor([[True, False], [True, False]])
    with torch.no_grad():
        one, other = (net(x, torch.tensor([[0.3, unknown]] * 2), known) for unknown in (torch.nan, 7.0))
        assert torch.equal(one, other)
        assert not torch.equal(one, net(x, torch.tensor([[0.9, 0.0]] * 2), known))
        assert not torch.equal(one, net(x, torch.tensor([[0.3, 0.0]] * 2), torch.ones_like(known)))


@pytest.mark.parametrize(
    ("volumes", "scalars", "told"),
    [
        ((1, 3, 4, 4, 4), 1, "3 channels, where the network has ADC, Tmax"),
        ((1, 2, 4, 4, 4), None, "the network needs tss, and which of them are known"),
        ((1, 2, 4, 4, 4), 2, "2 clinical values, where the network has 1"),
    ],
)
def test_what_does_not_fit_is_told(volumes: tuple[int, ...], scalars: int | None, told: str) -> None:
    net = drawn(replace(SMALL, clinical=("tss",)))
    values = () if scalars is None else (torch.zeros(1, scalars), torch.ones(1, scalars, dtype=torch.bool))
    with pytest.raises(ValueError, match=told):
        net(torch.zeros(volumes), *values)


def test_a_design_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="2 steps between 4 scales"):
        replace(SMALL, steps=((2, 2, 2), (2, 2, 2)))
    with pytest.raises(ValueError, match="legacy has no residual blocks"):
        replace(SMALL, legacy=True, deep=True)


def finest_gradient(net: Unet3d) -> float:
    """How much the finest encoder learns when only its skip leads to the head: the decoder's path is cut."""
    for up in net.ups:
        nn.init.zeros_(up.get_parameter("weight"))
    net(torch.randn(1, 2, 11, 16, 16)).square().sum().backward()
    weight = next(net.encoders[0].parameters())
    return 0.0 if weight.grad is None else float(weight.grad.abs().sum())


@pytest.mark.parametrize(("detached", "learns"), [(True, False), (False, True)])
def test_a_detached_skip_teaches_the_encoder_nothing(detached: bool, learns: bool) -> None:
    gradient = finest_gradient(drawn(replace(SMALL, norm="instance", detached_skips=detached)))
    assert (gradient != 0) == learns


@pytest.mark.parametrize("rectified", [True, False])
def test_a_rectified_head_has_voxels_that_teach_nothing(rectified: bool) -> None:
    """Both classes at 0: an even chance, which no loss can change."""
    net, heads = drawn(replace(SMALL, norm="instance", rectified_head=rectified)), list[Tensor]()

    def remember(_: nn.Module, __: object, out: Tensor) -> None:
        out.retain_grad()
        heads.append(out)

    next(module for module in net.heads.modules() if isinstance(module, nn.Conv3d)).register_forward_hook(remember)
    logits = net(torch.randn(1, 2, 8, 16, 16))
    loss = functional.cross_entropy(logits, torch.ones(1, 8, 16, 16, dtype=torch.int64))
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = heads[0].grad
    assert gradient is not None
    mute = (gradient == 0).all(1)
    assert bool((logits >= 0).all()) == bool(mute.any()) == rectified
    if rectified:
        assert torch.equal(mute, (logits == 0).all(1))


@pytest.mark.parametrize(("norm", "alike"), [("batch", False), ("instance", True), ("group", True)])
def test_norms_over_a_batch_answer_otherwise_when_asked_than_when_trained(norm: Norm, alike: bool) -> None:
    net, x = drawn(replace(SMALL, norm=norm)), torch.rand(2, 2, 8, 16, 16)
    with torch.no_grad():
        asked = net(x)
        trained = net.train()(x)
        alone = net(x[:1])
    assert torch.allclose(asked, trained, atol=1e-5) == alike
    assert torch.allclose(trained[:1], alone, atol=1e-5) == alike
