"""The ancestor's relevance: its rules by its own vectors, and all sixteen maps as sixteen plain passes give them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from strokelens.explain.ancestor import (
    First,
    FirstConvolution,
    Plain,
    Winners,
    ancestors_relevance,
    cropped,
    positive_convolution,
)
from strokelens.explain.filters import GRID, Filter, Pass, Raw
from strokelens.networks.unet3d import SMALLEST, Unet3d, Unet3dDesign
from tests.oracles import ancestor_relevance as plain

LEGACY = Unet3dDesign(legacy=True, scales=SMALLEST)
KERNEL = ((torch.arange(27, dtype=torch.float64) - 13) / 13).reshape(1, 1, 3, 3, 3)


def drawn(design: Unet3dDesign, seed: int = 0) -> Unet3d:
    """A network whose norms have seen something."""
    torch.manual_seed(seed)
    net = Unet3d(design).double()
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            nn.init.uniform_(buffer, -0.5, 0.5)
        elif name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 1.5)
    return net.eval()


def line(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, 1, -1)


def last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def test_the_rule_of_a_convolution_gives_the_ancestors_vector() -> None:
    """Of the third voxel z is 0: its relevance of 3 is lost, and the negative input gets 2."""
    found = positive_convolution(line(1, 2, -1), KERNEL)(last(line(1, 2, 3)))
    assert found.flatten().tolist() == pytest.approx([0, 1, 2], abs=1e-6)


def test_the_first_rule_of_the_last_code_gives_the_ancestors_vector() -> None:
    found = FirstConvolution.of(line(0.2, 0.5, 1), KERNEL, "head")(last(line(1, 2, 3)))
    assert found.flatten().tolist() == pytest.approx([1, 4, 1])


def test_the_published_first_rule_is_that_of_a_convolution_of_x_less_1() -> None:
    x, r, weight = line(0.2, 0.5, 0.9), last(line(1, 2, 3)), KERNEL.abs() + 0.1
    found, inverted = FirstConvolution.of(x, weight, "published")(r), positive_convolution(x - 1, weight)(r)
    assert torch.allclose(found, inverted)


def test_the_rule_of_pooling_gives_the_ancestors_vector() -> None:
    x = torch.arange(12, dtype=torch.float64).reshape(1, 1, 3, 2, 2)
    found = Winners.of(x, (2, 2, 2))(torch.tensor([1.0, 2.0], dtype=torch.float64).reshape(1, 2, 1, 1, 1))
    assert found.shape == (1, 4, 2, 2, 1)
    assert {at: pytest.approx(value) for at, value in enumerate(found.flatten().tolist()) if value} == {7: 1, 11: 2}


def test_the_rule_of_an_upward_convolution_gives_the_ancestors_vector() -> None:
    weight = torch.full((1, 1, 2, 2, 2), 0.5, dtype=torch.float64)
    weight[0, 0, 0, 0, 0] = -1
    x = torch.tensor([2.0, 4.0], dtype=torch.float64).reshape(1, 1, 2, 1, 1)
    found = Plain.upward(x, weight)(torch.ones(1, 3, 2, 2, 1, dtype=torch.float64))
    assert found.flatten().tolist() == pytest.approx([7, 3])


def test_what_is_too_much_is_cut_off_around_the_middle() -> None:
    found = cropped(torch.arange(5.0).reshape(1, 5, 1, 1, 1), (1, 2, 1, 1))
    assert found.flatten().tolist() == [1, 2]


@pytest.mark.parametrize("size", [(5, 6, 7), (1, 3, 9), (4, 8, 4), (2, 13, 12), (3, 6, 6), (2, 1, 5)])
@pytest.mark.parametrize("maps", [1, 3])
def test_relevance_flows_through_convolutions_of_any_size_as_it_is_defined(
    size: tuple[int, int, int], maps: int
) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 3, *size).double(), torch.randn(5, 3, 3, 3, 3).double()
    r = torch.randn(maps, 5, *size).double()
    found = positive_convolution(x, weight, slice(1, None))(last(r))
    expected = torch.cat([plain.convolution(x, weight, each[None])[:, 1:] for each in r])
    torch.testing.assert_close(found, last(expected), rtol=1e-9, atol=1e-9)


@cache
def volume(channels: int, *size: int) -> Tensor:
    return torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(1)).double()


def assert_as_passes(
    net: Unet3d, x: Tensor, filters: Sequence[Filter], first: First, starting: Tensor | None = None, at_once: int = 1
) -> None:
    factors = (0.5, 0.3, 0.8)
    found = ancestors_relevance(net, x, filters, first=first, factors=factors, starting=starting, at_once=at_once)
    for each, ours in zip(filters, found, strict=True):
        theirs = plain.relevance_of(net, x, each, first=first, factors=factors, starting=starting)[0]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10 * float(theirs.abs().max()), msg=str(each))


@pytest.mark.parametrize("first", ["head", "published"])
def test_sixteen_maps_at_once_are_sixteen_plain_passes(first: First) -> None:
    assert_as_passes(drawn(LEGACY), volume(6, 11, 24, 24), GRID, first)


def test_maps_that_go_together_are_those_that_go_alone() -> None:
    assert_as_passes(drawn(LEGACY, 2), volume(6, 11, 16, 24), GRID[:7], "head", at_once=4)


def test_any_size_steps_and_logits_are_explained_by_the_same_rules() -> None:
    design = replace(LEGACY, legacy=False, norm="none", steps=((1, 3, 3), (1, 2, 2), (2, 2, 2)), channels=("a", "b"))
    assert_as_passes(drawn(design), volume(2, 7, 23, 25), GRID[:2], "head")


def test_it_begins_where_it_is_told() -> None:
    starting = torch.zeros(1, 2, 11, 16, 24).double()
    starting[:, 1, 4:6] = 1
    assert_as_passes(drawn(LEGACY), volume(6, 11, 16, 24), [Raw()], "head", starting)


def test_without_relevance_the_ancestor_has_nan() -> None:
    net, x = drawn(LEGACY), volume(6, 11, 16, 24)
    nothing = torch.zeros(1, 2, 11, 16, 24).double()
    filters = [Pass.mirrored(0, 0.4, legacy=True), Pass.mirrored(0, 0.4)]
    legacy, ours = ancestors_relevance(net, x, filters, first="head", starting=nothing)
    assert legacy.isnan().all()
    assert not ours.any()


def assert_untouched(net: Unet3d, before: dict[str, Tensor], modes: list[bool]) -> None:
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [each.training for each in net.modules()] == modes
    assert not any(each._forward_pre_hooks for each in net.modules())


def test_the_network_is_left_as_it_was_whatever_happens() -> None:
    net = drawn(LEGACY).train()
    net.encoders[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [each.training for each in net.modules()]
    ancestors_relevance(net, volume(6, 11, 16, 24), [Raw()], first="head")
    assert_untouched(net, before, modes)
    with pytest.raises(ValueError, match="legacy computes depths of"):
        ancestors_relevance(net, volume(6, 12, 16, 24), [Raw()], first="head")
    assert_untouched(net, before, modes)


@pytest.mark.parametrize(
    ("design", "told"),
    [
        (replace(LEGACY, legacy=False, norm="instance"), "no rules of relevance for norm 'instance'; explain"),
        (replace(LEGACY, legacy=False, residual=True, deep=True), "residual blocks and logits of all scales"),
        (replace(LEGACY, legacy=False, clinical=("tss",)), "for clinical values"),
        (replace(LEGACY, lens=True), "for a lens"),
        (replace(LEGACY, scales=((3, 4), (4, 6), (6, 8), (8, 7))), "here has less of it"),
    ],
)
def test_networks_without_rules_are_refused(design: Unet3dDesign, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ancestors_relevance(drawn(design), volume(6, 11, 16, 24), [Raw()], first="head")


def test_what_does_not_fit_is_told() -> None:
    net, x = drawn(LEGACY), volume(6, 11, 16, 24)
    with pytest.raises(ValueError, match="one case at a time, not 2"):
        ancestors_relevance(net, x.expand(2, -1, -1, -1, -1), [Raw()], first="head")
    with pytest.raises(ValueError, match="2 factors for 3 skips"):
        ancestors_relevance(net, x, [Raw()], first="head", factors=(0.5, 0.5))
