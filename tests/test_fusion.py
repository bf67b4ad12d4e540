"""The multi-input network against the published parameter counts and shapes."""

import pytest
import torch
from torch import nn

from strokelens.networks.fusion import Clinical, Fusion, FusionDesign
from strokelens.networks.stages import Stage, set_stage, trainable_parameters

FOUR = ("CBF", "CBV", "TTP", "Tmax")
FIVE = (*FOUR, "MIP")


def _meta(design: FusionDesign) -> Fusion:
    """A network without memory for its weights."""
    with torch.device("meta"):
        return Fusion(design)


def _small(**changes: object) -> FusionDesign:
    return FusionDesign(**{"width": 1 / 16, "grid": 2, **changes})  # type: ignore[arg-type]


# Spec 3.7: all parameters for three and for four classes; those that learn with frozen encoders.
@pytest.mark.parametrize(
    ("maps", "clinical", "three", "frozen", "four"),
    [
        (FOUR, (), 85_269_139, 26_410_387, 85_269_156),
        (FOUR, ("nihss",), 85_296_219, 26_437_467, 85_296_236),
        (FIVE, (), 113_368_483, 39_795_043, 113_368_500),
        (FIVE, ("nihss",), 113_395_563, 39_822_123, 113_395_580),
    ],
)
def test_the_published_numbers_of_parameters(
    maps: tuple[str, ...], clinical: tuple[str, ...], three: int, frozen: int, four: int
) -> None:
    net = _meta(FusionDesign(maps, clinical))
    assert trainable_parameters(net) == three
    set_stage(net, "frozen")
    assert trainable_parameters(net) == frozen
    assert trainable_parameters(_meta(FusionDesign(maps, clinical, classes=4))) == four


def test_batch_normalisation_adds_the_published_parameters() -> None:
    assert trainable_parameters(_meta(FusionDesign(norm="batch"))) - 85_269_139 == 1_088


# Spec 3.9.
@pytest.mark.parametrize(
    ("maps", "clinical", "half"),
    [(FOUR, (), 79_507_347), (FIVE, (), 106_461_283), (FIVE, ("nihss",), 106_488_363)],
)
def test_the_published_numbers_of_parameters_that_learn_at_half(
    maps: tuple[str, ...], clinical: tuple[str, ...], half: int
) -> None:
    net = _meta(FusionDesign(maps, clinical))
    set_stage(net, "half")
    assert trainable_parameters(net) == half


@pytest.mark.parametrize(("stage", "share"), [("frozen", 0.0), ("full", 1.0)])
def test_a_stage_can_follow_any_other(stage: Stage, share: float) -> None:
    net = Fusion(_small())
    set_stage(net, "half")
    set_stage(net, stage)
    assert trainable_parameters(net.encoders) == share * sum(p.numel() for p in net.encoders.parameters())


# Spec 3.5, four maps: what enters each of the decoder's steps, and what it gives.
def test_the_published_shapes_of_the_decoder() -> None:
    net = _meta(FusionDesign())
    seen: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for up in net.ups:
        up.register_forward_hook(lambda _, given, gives: seen.append((tuple(given[0].shape), tuple(gives.shape))))
    net.head.register_forward_hook(lambda _, given, gives: seen.append((tuple(given[0].shape), tuple(gives.shape))))
    net(torch.empty(1, 12, 512, 512, device="meta"))
    assert seen == [
        ((1, 512, 16, 16), (1, 256, 32, 32)),
        ((1, 2304, 32, 32), (1, 512, 64, 64)),
        ((1, 2560, 64, 64), (1, 256, 128, 128)),
        ((1, 1280, 128, 128), (1, 128, 256, 256)),
        ((1, 640, 256, 256), (1, 64, 512, 512)),
        ((1, 320, 512, 512), (1, 3, 512, 512)),
    ]


@pytest.mark.parametrize("fusion", ["early", "late", "slow"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_logits_have_the_images_size_whatever_it_is(fusion: str, shared: bool, colours: int, norm: str) -> None:
    maps = ("Tmax", "CBF", "MTT")
    net = Fusion(_small(maps=maps, fusion=fusion, shared=shared, colours=colours, norm=norm, classes=2))
    assert net(torch.rand(2, 3 * colours, 33, 70)).shape == (2, 2, 33, 70)


def test_skips_make_slow_fusion_and_their_lack_late() -> None:
    """What the decoder's last step gets: the branches' first blocks besides its own channels, or not."""
    slow, late = (_meta(FusionDesign(fusion=fusion)) for fusion in ("slow", "late"))
    assert [net.head[0][0].in_channels for net in (slow, late)] == [320, 64]  # type: ignore[index]


def test_a_shared_encoder_sees_each_map() -> None:
    net = Fusion(_small(maps=("CBF", "Tmax"), shared=True, colours=1)).eval()
    images = torch.rand(1, 2, 32, 32)
    first, second = net._encode(images)
    torch.testing.assert_close(first[1], net.encoders[0](images[:, :1])[1])
    torch.testing.assert_close(second[1], net.encoders[0](images[:, 1:])[1])


def test_padding_is_the_images_own_with_zeros() -> None:
    net = Fusion(_small(colours=1)).eval()
    images = torch.rand(1, 4, 32, 40)
    padded = torch.nn.functional.pad(images, (0, 24))
    torch.testing.assert_close(net(images), net(padded)[..., :40])


def test_every_parameter_of_each_fusion_learns() -> None:
    for fusion in ("early", "late", "slow"):
        net = Fusion(_small(fusion=fusion, clinical=("nihss", "age_years"), colours=1, dropout=0.0))
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.abs_().mul_(0.5).add_(1e-4)
        net(torch.rand(1, 4, 64, 64), torch.rand(1, 2), torch.ones(1, 2, dtype=torch.bool)).square().sum().backward()
        silent = [name for name, each in net.named_parameters() if each.grad is None or not each.grad.abs().sum() > 0]
        assert silent == []


def test_an_unknown_value_changes_nothing_and_is_not_zero() -> None:
    torch.manual_seed(3)
    clinical = Clinical(2, 4)
    nn.init.normal_(clinical.each[1].bias)  # type: ignore[arg-type]
    known = torch.tensor([[True, False]])
    size = torch.Size((4, 4))
    maps = [clinical(torch.tensor([[0.4, second]]), known, size) for second in (0.0, 9.0, torch.nan)]
    torch.testing.assert_close(maps[0], maps[1])
    torch.testing.assert_close(maps[0], maps[2])
    zero = clinical(torch.tensor([[0.4, 0.0]]), torch.tensor([[True, True]]), size)
    assert not torch.allclose(maps[0], zero)


def test_a_map_of_clinical_values_fits_other_sizes() -> None:
    net = Fusion(_small(clinical=("nihss",), colours=1))
    known = torch.ones(1, 1, dtype=torch.bool)
    assert net(torch.rand(1, 4, 96, 160), torch.rand(1, 1), known).shape == (1, 3, 96, 160)


def test_what_is_regularised_is_all_but_encoders_and_dense_layers() -> None:
    net = _meta(FusionDesign(clinical=("nihss",)))
    dense = 200 + 25_856
    assert sum(p.numel() for layer in net.added() for p in layer.parameters()) == 26_437_467 - dense


def test_the_same_seed_gives_the_same_network() -> None:
    torch.manual_seed(5)
    one = Fusion(_small())
    torch.manual_seed(5)
    two = Fusion(_small())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize(
    ("images", "values", "message"),
    [
        (torch.zeros(1, 3, 32, 32), torch.zeros(1, 1), "3 channels, where 4 maps of 1 make 4"),
        (torch.zeros(1, 4, 32, 32), None, "the network needs nihss, and which of them are known"),
        (torch.zeros(1, 4, 32, 32), torch.zeros(1, 2), "2 clinical values, where the network has 1"),
    ],
)
def test_what_does_not_fit_is_told(images: torch.Tensor, values: torch.Tensor | None, message: str) -> None:
    net = Fusion(_small(clinical=("nihss",), colours=1))
    known = None if values is None else torch.ones(values.shape, dtype=torch.bool)
    with pytest.raises(ValueError, match=message):
        net(images, values, known)


@pytest.mark.parametrize(
    ("fusion", "names"),
    [
        ("early", {"mix", "encoders.0.features.0", "encoders.0.features.2", "head"}),
        ("slow", {f"encoders.{at}.features.{layer}" for at in range(4) for layer in (0, 2)} | {"head"}),
    ],
)
def test_what_sees_single_pixels_is_exact(fusion: str, names: set[str]) -> None:
    net = _meta(FusionDesign(fusion=fusion))  # type: ignore[arg-type]
    called = {module: name for name, module in net.named_modules()}
    assert {called[module] for module in net.finest()} == names
