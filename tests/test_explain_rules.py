"""Each rule at each kind of layer against its definition, row by row of the layer's matrix; limits; words."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor, nn

from strokelens.errors import RelevanceError
from strokelens.explain import slabs
from strokelens.explain.composites import UNTOLD, Bounds, Composite, rule_of
from strokelens.explain.operators import Dense, Diagonal, Operator, convolved
from strokelens.explain.propagate import Asked, Relevance, relevance
from strokelens.explain.rules import AlphaBeta, Box, Epsilon, Flat, Gamma, Reference, Rule, Seen, WSquare
from strokelens.explain.slabs import Slabs
from tests.oracles import relevance as slow

CLOSE = 1e-10


@dataclass(frozen=True)
class Sort:
    """A kind of layer, and the shape of one instance of its input."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]

    def drawn(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.make().double()

    def input(self, *, signed: bool, seed: int = 1) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(2, *self.shape, dtype=torch.float64, generator=generator)
        return x if signed else x.clamp(min=0)


LAYERS = {
    "conv1d": Sort(lambda: nn.Conv1d(2, 3, 3, padding=1), (2, 6)),
    "conv1d, strided and dilated": Sort(lambda: nn.Conv1d(2, 2, 2, stride=2, dilation=3, bias=False), (2, 9)),
    "conv2d of groups": Sort(lambda: nn.Conv2d(4, 6, (3, 2), stride=(1, 2), groups=2), (4, 4, 5)),
    "conv2d, same": Sort(lambda: nn.Conv2d(2, 2, 3, padding="same", dilation=2), (2, 5, 4)),
    "conv2d, valid, no bias": Sort(lambda: nn.Conv2d(2, 3, 2, padding="valid", bias=False), (2, 3, 4)),
    "conv3d": Sort(lambda: nn.Conv3d(2, 2, 3, padding=1), (2, 3, 3, 3)),
    "conv3d, strided and dilated": Sort(
        lambda: nn.Conv3d(1, 2, (2, 1, 3), stride=(2, 1, 1), padding=(1, 0, 2), dilation=(1, 1, 2)), (1, 4, 2, 5)
    ),
    "conv3d of each channel": Sort(lambda: nn.Conv3d(3, 3, 2, groups=3, bias=False), (3, 3, 2, 3)),
    "conv_transpose1d": Sort(lambda: nn.ConvTranspose1d(3, 2, 3, stride=2, output_padding=1), (3, 4)),
    "conv_transpose2d of groups": Sort(lambda: nn.ConvTranspose2d(4, 6, 2, groups=2, dilation=2), (4, 3, 2)),
    "conv_transpose3d": Sort(lambda: nn.ConvTranspose3d(3, 2, 2, stride=2, bias=False), (3, 2, 1, 2)),
    "conv_transpose3d, padded": Sort(
        lambda: nn.ConvTranspose3d(2, 2, 3, stride=(1, 2, 3), padding=1, output_padding=(0, 1, 2)), (2, 2, 2, 2)
    ),
    "linear": Sort(lambda: nn.Linear(7, 5), (7,)),
    "linear, no bias": Sort(lambda: nn.Linear(6, 4, bias=False), (6,)),
    "linear of a sequence": Sort(lambda: nn.Linear(3, 4), (5, 3)),
}
"""Layers of every kind, small enough for a matrix."""

NORMED = {
    "batch norm after conv3d": Sort(lambda: nn.Sequential(nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3)), (2, 3, 2, 3)),
    "batch norm after conv2d without bias": Sort(
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, groups=2, bias=False), nn.BatchNorm2d(4, eps=0.1)),
        (2, 4, 3),
    ),
    "batch norm after conv_transpose2d of groups": Sort(
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), nn.BatchNorm2d(6, eps=1e-3)), (4, 2, 2)
    ),
    "batch norm after linear": Sort(lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)), (5,)),
    "batch norm without weights": Sort(
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3, affine=False)), (2, 6)
    ),
    "batch norm that keeps no statistics": Sort(
        lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3, track_running_stats=False)), (2, 3, 3)
    ),
    "instance norm": Sort(lambda: nn.Sequential(nn.Conv3d(2, 3, 2), nn.InstanceNorm3d(3, affine=True)), (2, 3, 3, 3)),
    "instance norm without weights": Sort(
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.InstanceNorm2d(3)), (2, 3, 4)
    ),
    "instance norm that keeps statistics": Sort(
        lambda: nn.Sequential(nn.Conv2d(2, 2, 2), nn.InstanceNorm2d(2, affine=True, track_running_stats=True)),
        (2, 3, 4),
    ),
    "group norm": Sort(lambda: nn.Sequential(nn.Conv3d(2, 4, 2), nn.GroupNorm(2, 4, eps=1e-2)), (2, 2, 3, 3)),
    "group norm without weights": Sort(
        lambda: nn.Sequential(nn.Conv2d(2, 4, 2), nn.GroupNorm(2, 4, affine=False)), (2, 3, 3)
    ),
}
"""A layer and a norm that is folded into it."""

WORDS = (
    *("lrp-0", "epsilon:1e-6", "epsilon:0.25", "epsilon:0.25:dropped", "gamma:0.05", "gamma:0.25", "gamma:0.5:dropped"),
    *("z+", "z+:dropped", "alpha-beta:2:1", "alpha-beta:1.5:0.5:dropped", "box", "flat", "w2", "reference:0.1"),
)


def per_voxel(channels: Tensor, shape: tuple[int, ...]) -> Float[np.ndarray, "i"]:
    """The values of each channel at each voxel, flattened; of a dense layer the channels are last."""
    if len(shape) == 2 and shape[-1] == len(channels) and shape[0] != len(channels):
        return np.broadcast_to(channels.numpy(), shape).ravel()
    return np.broadcast_to(channels.numpy().reshape(-1, *[1] * (len(shape) - 1)), shape).ravel()


def bounds_of(layer: nn.Module, x: Tensor) -> Bounds:
    """Bounds of each channel that hold all inputs, and a reference between."""
    first = next(layer.modules()) if not isinstance(layer, nn.Sequential) else layer[0]
    axis = x.ndim - 1 if isinstance(first, nn.Linear) else 1
    rest = [each for each in range(x.ndim) if each != axis]
    low, high = x.amin(rest) - 0.3, x.amax(rest) + 0.7
    return Bounds(reference=0.3 * low + 0.7 * high, low=low, high=high)


def shares_of(word: str, bounds: Bounds, shape: tuple[int, ...]) -> slow.Shares:
    """The definition of a rule's word."""
    assert bounds.reference is not None
    assert bounds.low is not None
    assert bounds.high is not None
    dropped = word.endswith(":dropped")
    name, *rest = word.removesuffix(":dropped").split(":")
    numbers = [float(each) for each in rest]
    if name == "box":
        return slow.box(per_voxel(bounds.low, shape), per_voxel(bounds.high, shape))
    if name == "reference":
        return slow.reference(per_voxel(bounds.reference, shape), numbers[0])
    if name in ("flat", "w2"):
        return slow.flat if name == "flat" else slow.w_square
    if name in ("lrp-0", "epsilon"):
        return slow.epsilon(numbers[0] if numbers else 1e-14, dropped=dropped)
    if name == "gamma":
        return slow.gamma(numbers[0], dropped=dropped)
    return slow.alpha_beta(*(numbers or (1.0, 0.0)), dropped=dropped)


def by_word(net: nn.Module, x: Tensor, seed: Tensor, word: str, bounds: Bounds = UNTOLD) -> Relevance:
    return relevance(net, [x], lambda _: [seed], Asked(Composite("one", (("any", word),)), bounds))


def check(word: str, net: nn.Module, x: Tensor, affines: list[slow.Affine]) -> None:
    """Ours is the oracle's for each instance, and what did not arrive is told."""
    bounds, shape = bounds_of(net, x), tuple(x.shape[1:])
    with torch.no_grad():
        seed = torch.randn(net(x).shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = by_word(net, x, seed, word, bounds)
    shares = shares_of(word, bounds, shape)
    wanted = [
        affine.shared(shares, one.flatten().numpy(), r.flatten().numpy())
        for affine, one, r in zip(affines, x, seed, strict=True)
    ]
    ours = found.inputs[0][0].flatten(1).numpy()
    assert abs(ours - wanted).sum() <= CLOSE * abs(np.array(wanted)).sum()
    told = sum(each[0] for each in found.absorbed.values())
    assert told == pytest.approx(float(seed.sum()) - np.sum(wanted), abs=CLOSE * abs(np.array(wanted)).sum())


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "not below 0"])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("word", WORDS)
def test_a_rule_is_its_definition_at_every_layer(word: str, layer: str, signed: bool) -> None:
    sort = LAYERS[layer]
    net = sort.drawn()
    check(word, net, sort.input(signed=signed), [slow.affine_of(net, sort.shape)] * 2)


CUT = {
    **{f"{name}, long": Sort(LAYERS[name].make, shape) for name, shape in (
        ("conv1d", (2, 11)), ("conv2d, same", (2, 5, 9)), ("conv3d", (2, 3, 8, 4)),
        ("conv_transpose3d", (3, 2, 7, 2)), ("conv2d of groups", (4, 4, 9)), ("conv_transpose3d, padded", (2, 2, 2, 6)),
        ("linear of a sequence", (5, 3)),
    )},
    **{name: NORMED[name] for name in ("batch norm after conv_transpose2d of groups", "instance norm without weights")},
}  # fmt: skip
"""Layers that slabs cut, and some that they leave whole."""


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("layer", CUT)
@pytest.mark.parametrize("word", WORDS)
def test_slab_by_slab_relevance_is_the_same(word: str, layer: str, rows: int) -> None:
    sort = CUT[layer]
    net, x = unsettled(sort.drawn().eval()), sort.input(signed=True)
    bounds = bounds_of(net, x)
    with torch.no_grad():
        seeds = torch.randn((2, *net(x).shape), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    asked = Asked(Composite("one", (("any", word),)), bounds)
    whole, cut = (relevance(net, [x], lambda _: list(seeds), replace(asked, tile=tile)) for tile in (None, rows))
    assert torch.allclose(cut.inputs[0], whole.inputs[0], rtol=CLOSE, atol=CLOSE * float(whole.inputs[0].abs().max()))
    assert [layer.rule for layer in cut.layers] == [layer.rule for layer in whole.layers]
    for name, stayed in whole.absorbed.items():
        assert cut.absorbed[name] == pytest.approx(stayed, abs=1e-9 * float(seeds.abs().sum()))


@pytest.mark.parametrize("composite", ["stroke", "alpha2-beta1", "z+"])
def test_large_layers_are_cut_unasked_and_in_single_precision(composite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.Conv3d(4, 2, 3, padding=1))
    x, bounds = torch.randn(1, 2, 5, 16, 12), Bounds(torch.zeros(2), torch.full((2,), -9.0), torch.full((2,), 9.0))
    met: list[int] = []
    cut = Seen.cut

    def counted(seen: Seen, *place: Any) -> Seen:
        met.append(seen.x.numel())
        return cut(seen, *place)

    monkeypatch.setattr(Seen, "cut", counted)
    found = []
    for values in (2**21, 700):
        monkeypatch.setattr(slabs, "_AT_ONCE", values)
        asked = Asked(Composite.of(composite), bounds)
        found.append(relevance(net.eval(), [x], lambda y: [y, y[:, :1] - y], asked).inputs[0])
    assert len(met) == 4 + 8  # of 5 rows, and of 2
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5 * float(found[0].abs().max()))


def test_a_slab_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="a slab of 0 rows is none; give 1 or more"):
        Slabs(Epsilon(), 0)


@pytest.mark.parametrize("layer", ["conv2d of groups", "conv2d, same", "conv3d", "conv3d, strided and dilated"])
def test_small_convolutions_of_single_precision_are_those_of_torch(layer: str) -> None:
    sort = LAYERS[layer]
    net, x = sort.drawn().float(), sort.input(signed=True).float().requires_grad_()
    weight = net.get_parameter("weight")
    assert isinstance(net, nn.Conv2d | nn.Conv3d)
    border = net.padding if isinstance(net.padding, tuple) else net.dilation  # "same" of a kernel of 3
    ours = convolved(x, weight, net.stride, border, net.dilation, net.groups)
    bias = 0 if net.bias is None else net.bias.view(-1, *[1] * (x.ndim - 2))
    theirs = net(x) - bias
    assert torch.allclose(ours, theirs, atol=1e-5)
    for of in (x, weight):
        slope, wanted = (torch.autograd.grad(y.square().sum(), of, retain_graph=True)[0] for y in (ours, theirs))
        assert torch.allclose(slope, wanted, rtol=1e-3, atol=1e-4)


def scales_of(norm: nn.Module, y: Tensor) -> tuple[Tensor, Tensor]:
    """What a norm multiplies each value by and adds to it, (b, c, *space), by the formulas of its documentation."""
    if isinstance(norm, nn.GroupNorm):
        per = y.view(len(y), norm.num_groups, -1, *y.shape[2:])
        axes = list(range(2, per.ndim))
        mean, var = (
            each.expand(per.shape).flatten(1, 2) for each in (per.mean(axes, True), per.var(axes, False, keepdim=True))
        )
    else:
        assert isinstance(norm, nn.modules.batchnorm._NormBase)
        shape = (1, -1, *[1] * (y.ndim - 2))
        if norm.running_mean is not None and norm.running_var is not None:
            mean, var = norm.running_mean.view(shape), norm.running_var.view(shape)
        else:
            axes = list(range(2, y.ndim))
            axes = axes if isinstance(norm, nn.modules.instancenorm._InstanceNorm) else [0, *axes]
            mean, var = y.mean(axes, True), y.var(axes, False, keepdim=True)
    shape = (1, -1, *[1] * (y.ndim - 2))
    weight = torch.ones(()) if norm.weight is None else norm.weight.detach().view(shape)
    bias = torch.zeros(()) if norm.bias is None else norm.bias.detach().view(shape)
    scale = weight / torch.sqrt(var + norm.eps)
    return scale.expand(y.shape), (bias - scale * mean).expand(y.shape)


def unsettled(net: nn.Module) -> nn.Module:
    """A network whose norms have weights of either sign, shifts and statistics of their own."""
    generator = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, (nn.GroupNorm, nn.modules.batchnorm._NormBase)):
            for name, each in (*module.named_parameters(), *module.named_buffers()):
                if each.is_floating_point():
                    drawn = torch.randn(each.shape, dtype=torch.float64, generator=generator)
                    each.data.copy_(0.5 + drawn.abs() if name == "running_var" else drawn)
    return net


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "not below 0"])
@pytest.mark.parametrize("layer", NORMED)
@pytest.mark.parametrize("word", WORDS)
def test_a_rule_is_its_definition_where_a_norm_is_folded_in(word: str, layer: str, signed: bool) -> None:
    sort = NORMED[layer]
    net = unsettled(sort.drawn()).eval()
    assert isinstance(net, nn.Sequential)
    x = sort.input(signed=signed)
    with torch.no_grad():
        y = net[0](x)
        scale, shift = scales_of(net[1], y)
        torch.testing.assert_close(scale * y + shift, net(x))
    plain = slow.affine_of(net[0], sort.shape)
    affines = [plain.scaled(a.flatten().numpy(), s.flatten().numpy()) for a, s in zip(scale, shift, strict=True)]
    check(word, net, x, affines)


SIMPLE = LAYERS["conv2d of groups"]


def map_by(word: str, *, bounds: Bounds = UNTOLD, signed: bool = True, bias: bool = True) -> Tensor:
    """The map of one rule at a simple layer, of relevance 1 at each output."""
    net, x = SIMPLE.drawn(), SIMPLE.input(signed=signed)
    assert isinstance(net, nn.Conv2d)
    net.bias = net.bias if bias else None
    return by_word(net, x, torch.ones_like(net(x)).detach(), word, bounds).inputs[0][0]


def test_epsilon_towards_0_is_lrp_0() -> None:
    torch.testing.assert_close(map_by("epsilon:1e-12"), map_by("lrp-0"), rtol=1e-8, atol=1e-8)


def test_gamma_without_limit_is_z_plus_where_the_output_is_positive() -> None:
    net, x = SIMPLE.drawn(), SIMPLE.input(signed=True)
    positive = (net(x) > 0).double().detach()
    ours, limit = (by_word(net, x, positive, word).inputs[0][0] for word in ("gamma:1e12", "z+"))
    torch.testing.assert_close(ours, limit, rtol=1e-8, atol=1e-8)


def test_gamma_of_0_is_epsilon() -> None:
    torch.testing.assert_close(map_by("gamma:0"), map_by("epsilon:1e-6"), rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("signed", [True, False])
def test_alpha_1_beta_0_is_z_plus(signed: bool) -> None:
    torch.testing.assert_close(map_by("alpha-beta:1:0", signed=signed), map_by("z+", signed=signed), rtol=0, atol=0)


def test_z_plus_has_one_answer_for_inputs_of_either_sign_and_for_those_not_below_0() -> None:
    """A tiny input below 0 takes the way of signed inputs; it moves nothing else."""
    net, x = SIMPLE.drawn(), SIMPLE.input(signed=False)
    below = x.clone()
    below[0, 0, 0, 0] = -1e-14
    seed = torch.ones_like(net(x)).detach()
    fast, signed = (by_word(net, each, seed, "z+").inputs[0] for each in (x, below))
    torch.testing.assert_close(fast, signed, rtol=1e-10, atol=1e-10)


def test_a_box_around_0_is_lrp_0_of_the_layer_without_its_bias() -> None:
    nothing = torch.zeros(4, dtype=torch.float64)
    found = map_by("box", bounds=Bounds(low=nothing, high=nothing))
    torch.testing.assert_close(found, map_by("lrp-0", bias=False), rtol=1e-8, atol=1e-8)


def test_bounds_of_each_voxel_that_are_equal_are_those_of_the_channel() -> None:
    low, high = (torch.tensor(each, dtype=torch.float64) for each in ([-3.0, -4, -5, -6], [3.0, 4, 5, 6]))
    wide = (each[:, None, None].expand(SIMPLE.shape) for each in (low, high))
    found = map_by("box", bounds=Bounds(low=low, high=high))
    torch.testing.assert_close(map_by("box", bounds=Bounds(None, *wide)), found, rtol=0, atol=0)


def test_a_reference_of_0_is_epsilon() -> None:
    bounds = Bounds(reference=torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(map_by("reference:0.25", bounds=bounds), map_by("epsilon:0.25"), rtol=0, atol=0)


def test_flat_is_w2_for_weights_that_are_equal() -> None:
    net, x = SIMPLE.drawn(), SIMPLE.input(signed=True)
    assert isinstance(net, nn.Conv2d)
    net.weight.data.fill_(-0.3)
    seed = net(x).detach()
    flat, squared = (by_word(net, x, seed, word).inputs[0] for word in ("flat", "w2"))
    torch.testing.assert_close(flat, squared, rtol=1e-12, atol=1e-12)


def test_flat_counts_weights_of_0_as_well() -> None:
    net = nn.Linear(4, 1).double()
    net.weight.data[:] = torch.tensor([[0.0, 1.0, -1.0, 2.0]])
    found = by_word(net, torch.randn(1, 4).double(), torch.ones(1, 1).double(), "flat").inputs[0]
    assert found.tolist() == [[[0.25, 0.25, 0.25, 0.25]]]


@pytest.mark.parametrize("word", ["lrp-0", "gamma:0.25", "z+", "alpha-beta:2:1", "box", "w2"])
def test_an_output_that_nothing_reaches_keeps_its_relevance(word: str) -> None:
    net = nn.Conv2d(1, 1, 1, bias=False).double()
    net.weight.data.zero_()
    bounds = Bounds(low=-torch.ones(1).double(), high=torch.ones(1).double())
    found = by_word(net, torch.rand(1, 1, 2, 2).double(), torch.ones(1, 1, 2, 2).double(), word, bounds)
    assert found.inputs[0].abs().sum() == 0
    assert sum(each[0] for each in found.absorbed.values()) == 4


def test_alpha_beta_gives_what_nothing_negative_made_to_the_dead() -> None:
    net = nn.Conv1d(2, 1, 1, bias=False).double()
    net.weight.data.fill_(1)
    found = by_word(net, torch.ones(1, 2, 3).double(), torch.ones(1, 1, 3).double(), "alpha-beta:2:1")
    assert found.inputs[0].sum() == 6
    assert found.absorbed == {"dead": (-3.0,)}


def test_what_the_reference_would_have_got_is_told() -> None:
    net = nn.Linear(2, 1, bias=False).double()
    net.weight.data[:] = torch.tensor([[1.0, 2.0]])
    x, bounds = torch.tensor([[3.0, 1.0]]).double(), Bounds(reference=torch.tensor([1.0, 2.0]).double())
    found = by_word(net, x, torch.ones(1, 1).double(), "reference:0", bounds)
    assert found.inputs[0].flatten().tolist() == pytest.approx([0.4, -0.4])
    assert found.absorbed["reference"][0] == pytest.approx(1.0)


def test_a_folded_norm_is_named_in_the_ledger() -> None:
    net = nn.Sequential(nn.Conv1d(1, 1, 1, bias=False), nn.BatchNorm1d(1))
    found = by_word(net, torch.rand(1, 1, 3), torch.ones(1, 1, 3), "epsilon:0.1")
    assert set(found.absorbed) == {"norm", "epsilon"}


@settings(max_examples=25)
@given(
    word=st.sampled_from([each for each in WORDS if each != "box" and "reference" not in each]),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2)),
    seed=st.integers(0, 99),
)
def test_relevance_that_starts_arrives_or_is_absorbed(
    word: str, sizes: tuple[int, int, int, int, int], seed: int
) -> None:
    before, after, kernel, stride, padding = sizes
    torch.manual_seed(seed)
    net = nn.Conv2d(before, after, kernel, stride=stride, padding=padding).double()
    x = torch.randn(1, before, 4, 3).double()
    found = by_word(net, x, torch.randn_like(net(x)).detach(), word)
    arrived = float(found.inputs[0].sum()) + sum(each[0] for each in found.absorbed.values())
    assert arrived == pytest.approx(found.start[0], rel=1e-10, abs=1e-10 * float(found.inputs[0].abs().sum()))


@pytest.mark.parametrize("make", [Dense, lambda w: Diagonal(w[0])])
def test_operators_weigh_features_by_their_sign(make: Callable[[Tensor], Operator]) -> None:
    weight = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    operator, sign = make(weight), torch.tensor([1.0, -1.0])
    x = torch.tensor([[0.5, 2.0]])
    torch.testing.assert_close(
        operator.applied(x, operator.by_feature(sign)), operator.applied(x, operator.weight) * sign
    )
    torch.testing.assert_close(operator.spread(sign), sign)


@pytest.mark.parametrize(
    ("word", "rule"),
    [
        ("lrp-0", Epsilon(1e-14)),
        ("epsilon", Epsilon(1e-6)),
        ("epsilon:0.1:dropped", Epsilon(0.1, dropped=True)),
        ("gamma", Gamma(0.25)),
        ("gamma:0.05", Gamma(0.05)),
        ("z+", AlphaBeta(1, 0)),
        ("z+:dropped", AlphaBeta(1, 0, dropped=True)),
        ("alpha-beta:2:1", AlphaBeta(2, 1)),
        ("flat", Flat()),
        ("w2", WSquare()),
    ],
)
def test_a_word_is_a_rule(word: str, rule: Rule) -> None:
    assert rule_of(word, UNTOLD) == rule


@pytest.mark.parametrize(
    "word",
    [
        *("epsilon:0.25", "epsilon:0.1:dropped", "gamma:0.05", "gamma:1:dropped", "z+", "z+:dropped"),
        *("alpha-beta:2:1", "alpha-beta:1.5:0.5:dropped", "flat", "w2"),
    ],
)
def test_a_rule_says_its_word(word: str) -> None:
    assert str(rule_of(word, UNTOLD)) == word


def test_rules_that_are_told_bounds_say_their_name() -> None:
    one = torch.ones(1)
    assert (str(Box(one, one)), str(Reference(one))) == ("box", "reference")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("epsilonn", r"no rule 'epsilonn'; did you mean 'epsilon:E'\?"),
        ("alpha-beta:2", "no rule 'alpha-beta:2'; did you mean 'alpha-beta:A:B'"),
        ("gamma:much", r"no rule 'gamma:much': 'much' is no number; did you mean 'gamma:G'\?"),
        ("xyz", "no rule 'xyz'; known: alpha-beta:A:B, box, epsilon:E, flat, "),
        ("alpha-beta:2:2", "no rule 'alpha-beta:2:2': alpha − beta must be 1 and beta not below 0, not 2 and 2"),
        ("flat:1", "no rule 'flat:1'; "),
        ("epsilon:1:2", "no rule 'epsilon:1:2'; "),
        ("box:dropped", "no rule 'box:dropped'; "),
        ("reference:much", "no rule 'reference:much': 'much' is no number"),
        ("epsilon:-1", "no rule 'epsilon:-1': -1 is not a number from 0 on"),
        ("gamma:inf", "no rule 'gamma:inf': inf is not a number from 0 on"),
    ],
)
def test_a_word_that_is_no_rule_is_told_with_the_nearest(word: str, message: str) -> None:
    with pytest.raises(RelevanceError, match=message):
        rule_of(word, UNTOLD)


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 2.0), (0.5, -0.5)])
def test_alpha_and_beta_that_do_not_conserve_are_refused(alpha: float, beta: float) -> None:
    with pytest.raises(ValueError, match=rf"alpha − beta must be 1 and beta not below 0, not {alpha:g} and {beta:g}"):
        AlphaBeta(alpha, beta)


@pytest.mark.parametrize(
    ("word", "bounds", "missing"),
    [
        ("reference", Bounds(), "reference"),
        ("box", Bounds(), "low"),
        ("box", Bounds(low=torch.zeros(1)), "high"),
    ],
)
def test_bounds_that_a_rule_lacks_are_named(word: str, bounds: Bounds, missing: str) -> None:
    with pytest.raises(RelevanceError, match=f"needs the {missing} of each channel; tell it, or take another"):
        rule_of(word, bounds)


def test_a_composite_is_found_by_its_name() -> None:
    assert Composite.of("stroke").name == "stroke"


def test_a_composite_that_there_is_not_is_told_with_the_nearest() -> None:
    with pytest.raises(RelevanceError, match=r"no composite is called 'strok'; did you mean 'stroke'\?"):
        Composite.of("strok")


@pytest.mark.parametrize("word", ["gama", "reference:0:1", "alpha-beta:2:2"])
def test_a_composite_of_wrong_rules_is_refused_when_it_is_told(word: str) -> None:
    with pytest.raises(RelevanceError, match=f"no rule '{word}'"):
        Composite.of({"any": word})


def test_a_composite_without_a_rule_for_a_layer_names_it() -> None:
    net, asked = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), Asked(Composite.of({"1": "z+"}))
    with pytest.raises(RelevanceError, match="the composite told has no rule for 0; give one for `any`"):
        relevance(net, [torch.rand(1, 2)], lambda y: [y], asked)


def test_a_pattern_that_no_module_has_is_refused() -> None:
    net, asked = nn.Sequential(nn.Linear(2, 2)), Asked(Composite.of({"firts": "w2", "any": "z+"}))
    with pytest.raises(RelevanceError, match="is about 'firts', no place, nor the name of any module; did you mean"):
        relevance(net, [torch.rand(1, 2)], lambda y: [y], asked)


@pytest.mark.parametrize("word", ["reference:0.1", "box"])
def test_a_rule_about_the_input_is_refused_where_a_layer_does_not_see_it(word: str) -> None:
    asked = Asked(Composite.of({"any": word}), Bounds(*[torch.zeros(1)] * 3))
    with pytest.raises(RelevanceError, match=f"last does not see the input, which '{word}' is about; give it to `firs"):
        relevance(Everywhere(), [torch.rand(1, 1, 4, 4)], lambda y: [y], asked)


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("stroke", {"reference"}),
        ("epsilon-gamma-box", {"low", "high"}),
        ("epsilon-plus-flat", set()),
    ],
)
def test_a_composite_says_what_it_needs(name: str, needs: set[str]) -> None:
    assert Composite.of(name).needs == needs


def rules_by_layer(net: nn.Module, x: Tensor, told: dict[str, str]) -> dict[str, str]:
    found = relevance(net, [x], lambda y: [y], Asked(Composite.of(told)))
    return {layer.name: layer.rule for layer in found.layers if layer.rule}


class Everywhere(nn.Module):
    """A layer at each place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.coarse = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 2, stride=2)
        self.up, self.fine = nn.ConvTranspose2d(2, 2, 2, stride=2), nn.Conv2d(2, 2, 1)
        self.dense, self.last = nn.Linear(32, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fine(self.up(self.coarse(self.first(x))))
        y: Tensor = self.last(self.dense(x.flatten(1)))
        return y


@pytest.mark.parametrize(
    ("where", "layers"),
    [
        ("first", {"first"}),
        ("last", {"last"}),
        ("coarse", {"coarse"}),
        ("fine", {"first", "up", "fine"}),
        ("dense", {"dense", "last"}),
        ("transposed", {"up"}),
        ("convolution", {"first", "coarse", "fine"}),
        ("any", {"first", "coarse", "up", "fine", "dense", "last"}),
        ("f*", {"first", "fine"}),
    ],
)
def test_a_place_is_where_it_says(where: str, layers: set[str]) -> None:
    found = rules_by_layer(Everywhere(), torch.rand(1, 1, 4, 4), {where: "flat", "*": "z+"})
    assert {name for name, rule in found.items() if rule == "flat"} == layers


def test_the_first_place_that_a_layer_is_at_counts() -> None:
    told = {"first": "w2", "convolution": "flat", "any": "z+"}
    found = rules_by_layer(Everywhere(), torch.rand(1, 1, 4, 4), told)
    assert found == {"first": "w2", "coarse": "flat", "fine": "flat", "up": "z+", "dense": "z+", "last": "z+"}
