"""Relevance through whole networks: LRP-0 is input × gradient, nothing gets lost, and the network stays as it was."""

import copy
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.networks.nets.basic_unet import BasicUNet
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.unet import UNet
from torch import Tensor, nn
from torch.nn import functional

from strokelens.errors import RelevanceError
from strokelens.explain import composites
from strokelens.explain.composites import COMPOSITES, UNTOLD, Bounds, Composite
from strokelens.explain.functions import AVERAGE, PASS, ROUTE
from strokelens.explain.propagate import Asked, Relevance, relevance
from strokelens.explain.rules import Back, Box, Seen
from strokelens.explain.spikes import spikes
from strokelens.networks.fusion import Fusion, FusionDesign
from strokelens.networks.unet3d import SMALLEST, Unet3d, Unet3dDesign

OURS = sorted(name for name, each in COMPOSITES.items() if each.ancestor is None)
"""The composites that any network has rules for."""

LRP_0 = Asked(Composite.of("lrp-0"))
EPSILON = Asked(Composite.of("epsilon"))


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def uneven(net: nn.Module, *, biased: bool) -> nn.Module:
    """The network in float64 and at rest, all its norms with weights and variances of their own; biases, or none."""
    generator = torch.Generator().manual_seed(5)
    for module in net.double().eval().modules():
        normalises = isinstance(module, (nn.modules.batchnorm._NormBase, nn.GroupNorm))
        for name, each in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            if not each.is_floating_point():
                continue
            drawn = torch.randn(each.shape, dtype=torch.float64, generator=generator)
            if name in ("bias", "running_mean"):
                each.data.copy_(0.3 * drawn if biased else torch.zeros_like(drawn))
            elif normalises:
                each.data.copy_(0.5 + drawn.abs() if name == "running_var" else 1 + 0.5 * drawn)
    return net


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, func: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.func = func

    def forward(self, x: Tensor) -> Any:
        return self.func(x)


class Step(nn.Module):
    """A function between two convolutions."""

    def __init__(self, func: Callable[[Tensor], Tensor], *, axes: int = 2, after: int = 3) -> None:
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.before, self.func = conv(2, 3, 3, padding=1, bias=False), func
        self.after = conv(after, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.after(self.func(self.before(x)))
        return y


class Head(nn.Module):
    """A convolution, what makes a vector of it, and a dense layer."""

    def __init__(self, func: Callable[[Tensor], Tensor], features: int) -> None:
        super().__init__()
        self.before, self.func = nn.Conv2d(2, 3, 3, padding=1, bias=False), func
        self.dense = nn.Linear(features, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dense(self.func(self.before(x).relu()))
        return y


def added_in_place(x: Tensor) -> Tensor:
    y = 2 * x.relu()
    y += x
    return y


def interleaved(x: Tensor) -> Tensor:
    a, b, c = x.unbind(1)
    return torch.stack([b, c, a], 1)


def resized(mode: str, **more: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: functional.interpolate(x.relu(), size=[9, 5, 7][: x.ndim - 2], mode=mode, **more)


STEPS: dict[str, nn.Module] = {
    "relu": Step(nn.ReLU()),
    "relu in place": Step(nn.ReLU(inplace=True)),
    "functional relu": Step(functional.relu),
    "leaky relu": Step(nn.LeakyReLU(0.2)),
    "leaky relu in place": Step(nn.LeakyReLU(0.2, inplace=True)),
    "clamp": Step(lambda x: x.clamp(min=0)),
    "masked": Step(lambda x: x.masked_fill(x < 0, 0.0)),
    "prelu": Step(nn.PReLU(3)),
    "dropout, then leaky relu in place": Step(nn.Sequential(nn.Dropout(0.5), nn.LeakyReLU(0.2, inplace=True))),
    "max pool, ceil mode": Step(nn.MaxPool2d(2, ceil_mode=True)),
    "max pool 3d, ceil mode": Step(nn.MaxPool3d(2, ceil_mode=True), axes=3),
    "max pool, overlapping": Step(lambda x: functional.max_pool2d(x, 3, stride=2, padding=1)),
    "max pool 1d": Step(nn.MaxPool1d(2), axes=1),
    "adaptive max pool": Step(nn.AdaptiveMaxPool2d(2)),
    "average pool": Step(nn.Sequential(nn.ReLU(), nn.AvgPool2d(2, ceil_mode=True))),
    "average pool 3d": Step(nn.AvgPool3d(2), axes=3),
    "adaptive average pool": Step(nn.AdaptiveAvgPool2d(3)),
    "upsample trilinear": Step(nn.Upsample(scale_factor=2, mode="trilinear", align_corners=True), axes=3),
    "upsample nearest": Step(nn.Upsample(scale_factor=2), axes=3),
    "interpolate trilinear": Step(resized("trilinear"), axes=3),
    "interpolate bilinear": Step(resized("bilinear", align_corners=True)),
    "interpolate bicubic": Step(resized("bicubic")),
    "interpolate nearest": Step(resized("nearest")),
    "cat with itself": Step(lambda x: torch.cat([x.relu(), x, x.relu()], 1), after=9),
    "cat of one tensor twice": Step(lambda x: torch.cat([x, x], 1), after=6),
    "residual": Step(lambda x: x + x.relu()),
    "torch.add with alpha": Step(lambda x: torch.add(x, x.relu(), alpha=-0.4)),
    "added in place": Step(added_in_place),
    "subtracted": Step(lambda x: x.relu() - 0.3 * x),
    "subtracted from 0": Step(lambda x: 0.0 - x),
    "subtracted from 0 by name": Step(lambda x: torch.rsub(x, 0.0)),
    "a sum that Python begins with 0": Step(lambda x: sum([x, x.relu()], torch.zeros(1))),
    "twice": Step(lambda x: x + x),
    "added along an axis": Step(lambda x: x + x.relu().mean((2, 3), keepdim=True)),
    "slice": Step(lambda x: x[:, :, 1:-1, ::2]),
    "narrow, flip and roll": Step(lambda x: x.narrow(2, 1, 3).flip(3).roll(1, 2)),
    "pad by a constant": Step(lambda x: functional.pad(x, (1, 2, 0, 1))),
    "pad by the border": Step(lambda x: functional.pad(x, (1, 2, 0, 1), mode="replicate")),
    "pad by the mirror": Step(nn.ReflectionPad2d(1)),
    "permute": Step(lambda x: x.permute(0, 1, 3, 2).contiguous()),
    "chunk and cat": Step(lambda x: torch.cat(x.chunk(3, 1)[::-1], 1)),
    "unbind and stack": Step(interleaved),
    "iterate": Step(lambda x: torch.stack(list(x))),
    "expand": Step(lambda x: x[:, :1].expand(-1, 3, -1, -1)),
    "repeat": Step(lambda x: x.repeat(1, 2, 1, 1), after=6),
    "where": Step(lambda x: torch.where(x > 0, x, 0.2 * x)),
    "pixel shuffle": Step(lambda x: functional.pixel_shuffle(x.repeat(1, 4, 1, 1), 2)),
    "scaled": Step(lambda x: 2 * x / 3),
    "scaled in place": Step(lambda x: x.mul_(-2)),
    "scaled by a tensor": Step(lambda x: x * torch.tensor([[[1.0]], [[-2.0]], [[0.0]]]).double()),
    "divided by a tensor": Step(lambda x: x / torch.tensor([[[1.0]], [[-2.0]], [[3.0]]]).double()),
    "scaled and broadcast": Step(lambda x: x[:, :1] * torch.tensor([[[1.0]], [[-2.0]], [[3.0]]]).double()),
    "batch norm": Step(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())),
    "relu, then batch norm": Step(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3))),
    "two batch norms": Step(nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))),
    "conv of groups, strided and dilated": Step(nn.Conv2d(3, 6, 2, 2, 1, 2, groups=3, bias=False), after=6),
    "conv padded by the border": Step(nn.Conv2d(3, 3, 3, padding=1, bias=False, padding_mode="replicate")),
    "conv_transpose of groups": Step(nn.ConvTranspose2d(3, 6, 3, 2, 1, 1, groups=3, bias=False), after=6),
    "conv_transpose 1d": Step(nn.ConvTranspose1d(3, 2, 2, 2, bias=False), axes=1, after=2),
    "conv_transpose 3d": Step(nn.ConvTranspose3d(3, 2, 2, 2, bias=False), axes=3, after=2),
    "flatten and linear": Head(lambda x: x.flatten(1), 90),
    "mean and linear": Head(lambda x: x.mean((2, 3)), 3),
    "sum and linear": Head(lambda x: x.sum(dim=(2, 3)), 3),
    "linear of a sequence": Head(lambda x: x.flatten(2).transpose(1, 2), 3),
}


WEIGHT = torch.tensor([1.0, -2.0, 3.0]).double()
PARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x.relu(),
    "in place": lambda x: functional.leaky_relu(x.clone(), 0.2, inplace=True),
    "pool": lambda x: functional.max_pool2d(x, 2, ceil_mode=True),
    "average": lambda x: functional.avg_pool2d(x, 2, ceil_mode=True),
    "upsample": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "residual": lambda x: x + 0.5 * x.relu(),
    "skip": lambda x: torch.cat([x[:, 1:], x[:, :1].relu()], 1),
    "convolve": lambda x: functional.conv2d(x, normal(3, 3, 3, 3, seed=8), padding=1),
    "transposed": lambda x: functional.conv_transpose2d(x, normal(3, 3, 2, 2, seed=9), stride=2),
    "normalise": lambda x: functional.batch_norm(x, torch.zeros(3).double(), torch.full((3,), 0.5).double(), WEIGHT),
    "pad": lambda x: functional.pad(x, (1, 0, 0, 2), mode="replicate"),
}


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(names=st.lists(st.sampled_from(sorted(PARTS)), min_size=2, max_size=5), seed=st.integers(0, 999))
def test_lrp_0_without_biases_is_input_times_gradient_for_functions_in_any_order(names: list[str], seed: int) -> None:
    net = Step(nn.Sequential(*[Call(PARTS[name]) for name in names])).double()
    check_lrp_0(net, normal(1, 2, 5, 4, seed=seed))


def size_of(net: nn.Module) -> tuple[int, ...]:
    conv = next(each for each in net.modules() if isinstance(each, nn.modules.conv._ConvNd))
    return (2, conv.in_channels, *(5, 6, 4)[: len(conv.kernel_size)])


def gradients(net: nn.Module, inputs: Sequence[Tensor], seed: Tensor, **more: Any) -> list[Tensor]:
    """Input × gradient, by autograd alone."""
    leaves = [each.clone().requires_grad_() for each in inputs]
    answer = net(*[each.clone() for each in leaves], **more)
    slopes = torch.autograd.grad((answer * seed).sum(), leaves)
    return [x * slope for x, slope in zip(inputs, slopes, strict=True)]


def off(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Σ|a − b| / Σ|b| over several tensors."""
    away = sum(float((a - b).abs().sum()) for a, b in zip(found, wanted, strict=True))
    return away / sum(float(each.abs().sum()) for each in wanted)


def answer_shape(net: nn.Module, *inputs: Tensor, **more: Any) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(net(*[each.clone() for each in inputs], **more).shape)


def check_lrp_0(net: nn.Module, *inputs: Tensor, **more: Any) -> None:
    seed = normal(*answer_shape(net, *inputs, **more), seed=2)
    found = relevance(net, inputs, lambda y: [y * seed], LRP_0, **more)
    assert off([each[0] for each in found.inputs], gradients(net, inputs, seed, **more)) <= 1e-8


@pytest.mark.parametrize("name", STEPS)
def test_lrp_0_without_biases_is_input_times_gradient_for_each_function(name: str) -> None:
    net = uneven(STEPS[name], biased=False)
    check_lrp_0(net, normal(*size_of(net)))


def volumes(**changes: Any) -> Unet3d:
    torch.manual_seed(0)
    design = Unet3dDesign(**{"channels": ("ADC", "Tmax"), "scales": SMALLEST[:3], "steps": ((2, 2, 2),) * 2, **changes})
    return Unet3d(design)


def slices(**changes: Any) -> Fusion:
    torch.manual_seed(0)
    net = Fusion(FusionDesign(**{"maps": ("CBF", "Tmax"), "colours": 1, "width": 1 / 32, "grid": 2, **changes}))
    for each in net.parameters():
        each.data *= 2  # of so few filters little is left of the signal after some layers
    return net


@cache
def peer(name: str, norm: str) -> nn.Module:
    """A network of MONAI, small."""
    torch.manual_seed(0)
    told: Any = ("group", {"num_groups": 2}) if norm == "group" else (norm, {"affine": True})
    dyn: dict[str, Any] = {
        "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 6, 8]
    }  # fmt: skip
    basic = (4, 4, 6, 6, 8, 4)
    made: dict[str, Callable[[], nn.Module]] = {
        "UNet": lambda: UNet(3, 2, 2, (4, 6, 8), (2, 2), num_res_units=2, norm=told),
        "BasicUNet": lambda: BasicUNet(3, 2, 2, basic, norm=told),
        "BasicUNet, upsampling": lambda: BasicUNet(3, 2, 2, basic, norm=told, upsample="nontrainable"),
        "DynUNet": lambda: DynUNet(3, 2, 2, **dyn, norm_name=told),
        "DynUNet, residual": lambda: DynUNet(3, 2, 2, **dyn, norm_name=told, res_block=True),
        "SegResNet": lambda: SegResNet(3, 4, 2, 2, norm=told, blocks_down=(1, 1), blocks_up=(1,)),
    }
    return made[name]()


PEERS = ("UNet", "BasicUNet", "BasicUNet, upsampling", "DynUNet", "DynUNet, residual", "SegResNet")


@pytest.mark.parametrize("name", PEERS)
def test_lrp_0_without_biases_is_input_times_gradient_for_networks_of_monai(name: str) -> None:
    size = (1, 2, 16, 16, 16) if name.startswith("Basic") else (1, 2, 8, 12, 8)
    check_lrp_0(uneven(copy.deepcopy(peer(name, "batch")), biased=False), normal(*size))


@pytest.mark.parametrize("size", [(3, 5, 7), (4, 6, 9)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"residual": True},
        {"deep": True},
        {"norm": "none"},
        {"activation": "relu"},
        {"dropout": 0.3, "steps": ((1, 2, 2), (2, 2, 2))},
    ],
)
def test_lrp_0_without_biases_is_input_times_gradient_for_our_3d_network(
    changes: dict[str, Any], size: tuple[int, int, int]
) -> None:
    check_lrp_0(uneven(volumes(**changes), biased=False), normal(2, 2, *size))


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("fusion", ["early", "late", "slow"])
def test_lrp_0_without_biases_is_input_times_gradient_for_our_2d_network(fusion: str, norm: str) -> None:
    check_lrp_0(uneven(slices(fusion=fusion, norm=norm), biased=False), normal(1, 2, 33, 40))


KNOWN = torch.tensor([[True, True]])


@pytest.mark.parametrize(
    "make", [partial(volumes, clinical=("age", "nihss")), partial(slices, clinical=("age", "nihss"))]
)
def test_clinical_values_get_their_input_times_gradient(make: Callable[[], nn.Module]) -> None:
    net = uneven(make(), biased=False)
    images = normal(1, 2, 4, 6, 5) if isinstance(net, Unet3d) else normal(1, 2, 32, 40)
    check_lrp_0(net, images, torch.tensor([[0.7, -1.2]]).double(), known=KNOWN)


def test_a_clinical_value_that_is_not_known_gets_nothing() -> None:
    net = uneven(volumes(clinical=("age", "nihss")), biased=True)
    values = torch.tensor([[0.7, torch.nan]]).double()
    found = relevance(net, [normal(1, 2, 4, 6, 5), values], lambda y: [y], EPSILON, known=~values.isnan())
    age, nihss = found.inputs[1].flatten().tolist()
    assert age != 0
    assert nihss == 0


def test_a_lens_gives_its_relevance_to_what_is_looked_at() -> None:
    """The gate's own part of the gradient is not there: x * gradient with the gate as a constant."""
    net, x = uneven(volumes(lens=True), biased=False), normal(1, 2, 4, 6, 5)
    assert isinstance(net, Unet3d)
    assert net.lens is not None
    seed = normal(*answer_shape(net, x))
    found = relevance(net, [x], lambda y: [y * seed], LRP_0).inputs[0][0]
    gate = net.lens(x).detach()
    rest = copy.deepcopy(net)
    rest.lens = None
    (wanted,) = gradients(rest, [x * gate], seed)
    assert off([found], [wanted]) <= 1e-8


class Gated(nn.Module):
    """A signal times a gate of each channel, as squeeze and excitation."""

    def __init__(self, gate: nn.Module, *, first: bool) -> None:
        super().__init__()
        self.conv, self.gate, self.first = nn.Conv2d(2, 3, 1), gate, first

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        gate = self.gate(y.mean((2, 3), keepdim=True)).view(len(x), 3, 1, 1)
        product: Tensor = gate * y if self.first else y * gate
        return product


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("gate", [nn.Sigmoid(), nn.Hardsigmoid()])
def test_a_gate_gives_its_relevance_to_the_signal(gate: nn.Module, first: bool) -> None:
    net, x = Gated(gate, first=first).double(), normal(1, 2, 3, 3)
    seed = normal(1, 3, 3, 3)
    found = relevance(net, [x], lambda _: [seed], EPSILON).inputs
    alone = relevance(net.conv, [x], lambda _: [seed], EPSILON).inputs
    torch.testing.assert_close(found, alone, rtol=1e-12, atol=1e-12)


def test_a_signal_that_a_gate_broadcasts_gets_the_sum() -> None:
    net, x = Aliased(lambda y: y[:, :1] * y.sigmoid()).double(), normal(1, 2, 3, 3)
    plain = Aliased(lambda y: y[:, :1]).double()
    plain.load_state_dict(net.state_dict())
    seed = normal(1, 3, 3, 3)
    found = relevance(net, [x], lambda _: [seed], EPSILON).inputs
    wanted = relevance(plain, [x], lambda _: [seed.sum(1, keepdim=True)], EPSILON).inputs
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


# The ledger.


class Flat(nn.Module):
    """A network of two axes with all kinds of norm, biases, additions and pools, and a dense end."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.two = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.InstanceNorm2d(4, affine=True), nn.LeakyReLU(0.2))
        self.three = nn.Sequential(nn.ReLU(), nn.GroupNorm(2, 4), nn.Conv2d(4, 3, 1, groups=1), nn.BatchNorm2d(3))
        self.dense = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        y = functional.avg_pool2d(x + self.two(x) - 0.1, 2)
        y = functional.interpolate(self.three(y), scale_factor=2, mode="bilinear")[..., 1:]
        z: Tensor = self.dense(y.mean((2, 3)))
        return z


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "all kinds of norm": (Flat, (2, 2, 6, 5)),
    "ours, 3d, instance norm": (partial(volumes, norm="instance", residual=True), (1, 2, 4, 6, 6)),
    "ours, 3d, group norm and lens": (partial(volumes, norm="group", lens=True), (1, 2, 4, 5, 6)),
    "ours, 3d, legacy": (partial(volumes, scales=SMALLEST, steps=((2, 2, 2),) * 3, legacy=True), (1, 2, 3, 8, 8)),
    "ours, 2d, batch norm": (partial(slices, norm="batch"), (1, 2, 32, 35)),
    "ours, 2d, early": (partial(slices, fusion="early", norm="group"), (1, 2, 40, 32)),
    "SegResNet": (partial(peer, "SegResNet", "group"), (1, 2, 8, 8, 8)),
    "BasicUNet": (partial(peer, "BasicUNet", "instance"), (1, 2, 16, 16, 32)),
    "DynUNet": (partial(peer, "DynUNet", "instance"), (1, 2, 8, 8, 12)),
}
BOUNDS = Bounds(
    reference=torch.tensor([0.2, -0.4]).double(),
    low=torch.tensor([-5.0, -4.0]).double(),
    high=torch.tensor([5.0, 6.0]).double(),
)


@cache
def biased(name: str) -> nn.Module:
    make, _ = NETS[name]
    return uneven(copy.deepcopy(make()), biased=True)


def halved(maps: Tensor) -> Tensor:
    """A filter that takes something away: half of what is negative."""
    return torch.where(maps < 0, maps / 2, maps)


def cut(maps: Tensor) -> Tensor:
    """A filter that takes away what is small."""
    return torch.where(maps.abs() > maps.abs().mean(), maps, 0)


def check_ledger(found: Relevance) -> None:
    for at, start in enumerate(found.start):
        stayed = [each[at] for each in found.absorbed.values()]
        arrived = [float(each[at].sum()) for each in found.inputs]
        size = abs(start) + sum(float(each[at].abs().sum()) for each in found.inputs)
        size += sum(abs(each[at]) for layer in found.layers for each in layer.absorbed.values())
        assert sum(arrived) + sum(stayed) == pytest.approx(start, abs=1e-10 * size)


BOTH = (("all kinds of norm", "ours, 3d, instance norm"), ("stroke", "epsilon-gamma-box"))
"""Every composite on these networks, and these composites on every network, always; all others where it is slow."""

PAIRS = [
    pytest.param(name, composite, marks=[] if name in BOTH[0] or composite in BOTH[1] else [pytest.mark.slow])
    for name in NETS
    for composite in OURS
]


@pytest.mark.parametrize(("name", "composite"), PAIRS)
def test_relevance_arrives_or_is_told_where_it_stayed(name: str, composite: str) -> None:
    asked = Asked(Composite.of(composite), BOUNDS)
    check_ledger(relevance(biased(name), [normal(*NETS[name][1])], lambda y: [y.clamp(min=0)], asked))


@pytest.mark.parametrize("word", ["z+:dropped", "alpha-beta:2:1:dropped", "epsilon:dropped", "gamma:0.25:dropped"])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d(8), nn.InstanceNorm2d(8), nn.GroupNorm(2, 8)])
@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
def test_where_nothing_comes_in_dropped_biases_lose_nothing(word: str, norm: nn.Module, precision: torch.dtype) -> None:
    """In air all inputs are 0, and an output is its bias alone."""
    word = word.replace("epsilon:", "epsilon:0.1:")
    net = uneven(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), copy.deepcopy(norm)), biased=True).to(precision)
    x = normal(2, 3, 8, 8).to(precision)
    x[..., :5] = 0
    found = relevance(net, [x], lambda y: [torch.ones_like(y)], Asked(Composite("one", (("any", word),))))
    told = float(found.inputs[0].sum()) + sum(each[0] for each in found.absorbed.values())
    assert told == pytest.approx(found.start[0], rel=1e-10 if precision == torch.float64 else 1e-4)


@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize("composite", ["stroke", "alpha2-beta1", "epsilon-gamma-box"])
@pytest.mark.parametrize("name", ["all kinds of norm", "ours, 3d, instance norm", "ours, 2d, batch norm"])
def test_what_a_filter_takes_away_is_told(name: str, composite: str, everywhere: bool) -> None:
    asked = Asked(Composite.of(composite), BOUNDS, filters=(halved, cut), everywhere=everywhere)
    found = relevance(biased(name), [normal(*NETS[name][1])], lambda y: [y, y[:, :1] - y], asked)
    assert len(found.start) == 4
    assert all(each != 0 for each in found.absorbed["filter"])
    check_ledger(found)


def test_each_target_has_a_map_of_each_filter() -> None:
    net, x = biased("all kinds of norm"), normal(2, 2, 6, 5)
    asked = Asked(Composite.of("gamma"), filters=(halved, cut), everywhere=True)
    found = relevance(net, [x], lambda y: [y, 2 * y], asked).inputs[0]
    wanted = []
    for one in (halved, cut):
        alone = Asked(Composite.of("gamma"), filters=(one,), everywhere=True)
        wanted += [relevance(net, [x], seeds, alone).inputs[0] for seeds in (lambda y: [y], lambda y: [2 * y])]
    torch.testing.assert_close(found[[0, 2, 1, 3]], torch.cat(wanted), rtol=1e-12, atol=1e-12)


def test_a_filter_that_changes_nothing_changes_nothing() -> None:
    net, x = biased("all kinds of norm"), normal(2, 2, 6, 5)
    same = Asked(EPSILON.composite, filters=(lambda maps: maps,), everywhere=True)
    found, plain = (relevance(net, [x], lambda y: [y], each) for each in (same, EPSILON))
    assert torch.equal(found.inputs[0], plain.inputs[0])
    assert found.absorbed["filter"] == (0.0,)


# Linearity and symmetry.


@settings(max_examples=6)
@given(composite=st.sampled_from(OURS), a=st.floats(-2, 2), b=st.floats(-2, 2))
def test_relevance_is_linear_in_what_starts(composite: str, a: float, b: float) -> None:
    net, x = biased("all kinds of norm"), normal(2, 2, 6, 5)
    one, two = normal(2, 2, seed=3), normal(2, 2, seed=4)
    asked = Asked(Composite.of(composite), BOUNDS)
    first, second, both = relevance(net, [x], lambda _: [one, two, a * one + b * two], asked).inputs[0]
    torch.testing.assert_close(both, a * first + b * second, rtol=1e-9, atol=1e-9 * float(first.abs().max()))


@pytest.mark.parametrize("composite", ["stroke", "gamma", "alpha2-beta1", "epsilon-plus-flat", "epsilon-gamma-box"])
def test_several_targets_are_as_many_single_runs(composite: str) -> None:
    net, x = biased("ours, 3d, instance norm"), normal(1, 2, 4, 6, 6)
    seeds = [normal(1, 2, 4, 6, 6, seed=each) for each in range(3)]
    asked = Asked(Composite.of(composite), BOUNDS)
    together = relevance(net, [x], lambda _: seeds, asked).inputs[0]
    alone = [relevance(net, [x], partial(alone_at, seeds, at), asked).inputs[0] for at in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)


def alone_at(seeds: list[Tensor], at: int, answer: Tensor) -> list[Tensor]:
    """One of the seeds."""
    return seeds[at : at + 1]


@pytest.mark.parametrize("composite", ["stroke", "gamma", "alpha2-beta1"])
def test_a_batch_is_its_instances_one_by_one(composite: str) -> None:
    net, x = biased("ours, 3d, instance norm"), normal(2, 2, 4, 6, 6)
    asked = Asked(Composite.of(composite), BOUNDS)
    together = relevance(net, [x], lambda y: [y], asked).inputs[0][0]
    alone = torch.cat([relevance(net, [each[None]], lambda y: [y], asked).inputs[0][0] for each in x])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("composite", ["stroke", "epsilon-gamma-box", "epsilon-plus-flat"])
def test_other_channels_in_another_order_have_their_relevance_in_that_order(composite: str) -> None:
    net, x = biased("ours, 3d, instance norm"), normal(1, 2, 4, 6, 6)
    turned = copy.deepcopy(net)
    assert isinstance(turned, Unet3d)
    for name, each in turned.named_parameters():
        if name in ("encoders.0.first.0.weight", "encoders.0.around.weight"):
            each.data = each.data.flip(1)
    told = {name: each.flip(0) for name, each in vars(BOUNDS).items()}
    found = relevance(net, [x], lambda y: [y], Asked(Composite.of(composite), BOUNDS)).inputs[0]
    asked = Asked(Composite.of(composite), Bounds(**told))
    swapped = relevance(turned, [x.flip(1)], lambda y: [y], asked).inputs[0]
    torch.testing.assert_close(swapped.flip(2), found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("composite", ["stroke", "gamma", "z+"])
def test_a_mirrored_image_and_network_have_a_mirrored_map(composite: str) -> None:
    net, x = biased("ours, 3d, instance norm"), normal(1, 2, 4, 4, 8)
    mirrored = copy.deepcopy(net)
    for module in mirrored.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            module.weight.data = module.weight.data.flip(-1)
    asked = Asked(Composite.of(composite), BOUNDS)
    found, other = (
        relevance(each, [image], lambda y: [y], asked).inputs[0] for each, image in ((net, x), (mirrored, x.flip(-1)))
    )
    torch.testing.assert_close(other.flip(-1), found, rtol=1e-8, atol=1e-8)


# Bounds go the way of the input.


class Branches(nn.Module):
    """Each channel has an encoder, that pads and scales before it looks; scalars come by the side."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.BatchNorm2d(2)
        self.encoders = nn.ModuleList(nn.Conv2d(1, 2, 2) for _ in range(2))
        self.dense = nn.Linear(2, 4)

    def forward(self, x: Tensor, values: Tensor) -> Tensor:
        parts = functional.pad(self.scale(x), (1, 0, 1, 0)).chunk(2, 1)
        images = [encoder(part) for encoder, part in zip(self.encoders, parts, strict=True)]
        y: Tensor = torch.cat(images, 1) + self.dense(values)[..., None, None]
        return y


def test_each_branch_sees_the_bounds_of_its_own_channels() -> None:
    net = uneven(Branches(), biased=True)
    x, values, seed = normal(1, 2, 3, 4), normal(1, 2), normal(1, 4, 3, 4)
    assert isinstance(net, Branches)
    assert net.scale.running_mean is not None
    assert net.scale.running_var is not None
    assert BOUNDS.reference is not None
    asked = Asked(Composite.of({"first": "reference:0", "any": "epsilon"}), BOUNDS)
    found = relevance(net, [x, values], lambda _: [seed], asked).inputs[0][0]
    with torch.no_grad():
        y, share = net.scale(x), seed / net(x, values)
        scale = net.scale.weight / torch.sqrt(net.scale.running_var + net.scale.eps)
        reference = scale * (BOUNDS.reference - net.scale.running_mean) + net.scale.bias
        slopes = [
            functional.conv_transpose2d(part, encoder.get_parameter("weight"))[..., 1:, 1:]
            for part, encoder in zip(share.chunk(2, 1), net.encoders, strict=True)
        ]
        before = (y - reference.view(2, 1, 1)) * torch.cat(slopes, 1)
        wanted = before * x * scale.view(2, 1, 1) / (y + torch.copysign(torch.full_like(y, 1e-6), y))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_other_inputs_than_the_first_have_a_reference_of_0() -> None:
    net = uneven(Branches(), biased=True)
    x, values, seed = normal(1, 2, 3, 4), normal(1, 2), normal(1, 4, 3, 4)
    asked = [
        Asked(Composite.of({"dense": word, "any": "epsilon"}), BOUNDS) for word in ("reference:0.25", "epsilon:0.25")
    ]
    found, plain = (relevance(net, [x, values], lambda _: [seed], each).inputs[1] for each in asked)
    assert torch.equal(found, plain)


def test_other_inputs_than_the_first_have_a_box_from_0_to_themselves_which_is_z_plus_without_bias() -> None:
    net = uneven(Branches(), biased=True)
    x, values, seed = normal(1, 2, 3, 4), normal(1, 2), normal(1, 4, 3, 4)
    asked = [Asked(Composite.of({"dense": word, "any": "epsilon"}), BOUNDS) for word in ("box", "z+:dropped")]
    found, plain = (relevance(net, [x, values], lambda _: [seed], each).inputs[1] for each in asked)
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-12)


def test_a_layer_behind_a_gate_sees_the_bounds_times_the_gate() -> None:
    """An image that is its reference has no relevance, whatever the lens makes of it."""
    net = uneven(volumes(lens=True), biased=True)
    assert BOUNDS.reference is not None
    x = BOUNDS.reference.view(1, 2, 1, 1, 1).expand(1, 2, 4, 6, 5)
    found = relevance(net, [x], lambda y: [y], Asked(Composite.of("stroke"), BOUNDS))
    assert float(found.inputs[0].abs().max()) <= 1e-12


def test_low_and_high_keep_their_order_through_a_norm_of_negative_weight() -> None:
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1, bias=False)).double().eval()
    for each in net.parameters():
        each.data.fill_(-1)
    x = normal(1, 1, 3, 3)
    told = Bounds(low=torch.tensor([-4.0]).double(), high=torch.tensor([9.0]).double())
    found = relevance(net, [x], lambda y: [torch.ones_like(y)], Asked(Composite.of("epsilon-gamma-box"), told))
    assert found.layers[0].rule == "box"
    assert found.layers[0].went == (9.0,)


def test_the_bounds_of_a_difference_hold_all_differences() -> None:
    """x₀ − x₁ of values from 0 to 1 is from −1 to 1, so that z^B is x₀ − x₁ + 1 where the weight is 1."""

    class Difference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1, bias=False)

        def forward(self, x: Tensor) -> Any:
            return self.conv(x[:, :1] - x[:, 1:])

    net = Difference().double()
    net.conv.weight.data.fill_(1)
    x = torch.tensor([0.25, 1.0]).double().view(1, 2, 1, 1)
    told = Bounds(low=torch.zeros(2).double(), high=torch.ones(2).double())
    seen: list[float] = []

    class Heard(Box):
        def through(self, layer: Seen) -> Back:
            seen.extend([float(self.low), float(self.high)])
            return super().through(layer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composites, "Box", Heard)
        relevance(net, [x], lambda y: [y], Asked(Composite.of("epsilon-gamma-box"), told))
    assert seen == [-1, 1]


@pytest.mark.parametrize("bent", [nn.SiLU(), nn.GELU(), nn.Mish(), nn.Hardswish()])
def test_behind_what_falls_and_rises_no_bounds_are_known(bent: nn.Module) -> None:
    net = nn.Sequential(bent, nn.Conv2d(2, 1, 1)).double()
    with pytest.raises(RelevanceError, match="this composite needs the low of each channel"):
        relevance(net, [normal(1, 2, 3, 3)], lambda y: [y], Asked(Composite.of("epsilon-gamma-box"), BOUNDS))


@pytest.mark.parametrize("what", ["reference", "low"])
def test_bounds_of_other_channels_are_refused(what: str) -> None:
    told = Bounds(**{what: torch.zeros(3)})
    with pytest.raises(
        RelevanceError, match=rf"{what} is of shape \(3,\) but the input of \(2, 6, 5\); tell one value"
    ):
        relevance(Flat().eval(), [torch.zeros(1, 2, 6, 5)], lambda y: [y], Asked(EPSILON.composite, told))


# Folding.


def test_a_folded_norm_is_the_layer_whose_weights_were_multiplied_by_hand() -> None:
    conv, norm, last = nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3), nn.Conv3d(3, 2, 1)
    net = uneven(nn.Sequential(conv, norm, nn.ReLU(), last), biased=True)
    hand = copy.deepcopy(conv)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    assert hand.bias is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    hand.weight.data *= scale.data.view(-1, 1, 1, 1, 1)
    hand.bias.data = (hand.bias.data - norm.running_mean) * scale.data + norm.bias.data
    x, merged = normal(2, 2, 3, 4, 3), nn.Sequential(hand, nn.ReLU(), last)
    for word in ("epsilon:0.25", "gamma:0.25", "z+", "alpha-beta:2:1", "w2", "flat", "z+:dropped"):
        asked = Asked(Composite.of({"any": word}))
        found, wanted = (relevance(each, [x], lambda y: [y], asked).inputs[0] for each in (net, merged))
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


class Overheard(nn.Module):
    """A convolution whose output a norm hears, and somebody else."""

    def __init__(self, order: str, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.order = nn.Conv2d(2, 3, 3, padding=1), norm, order

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if self.order == "norm first":
            normed = self.norm(y)
            return torch.cat([normed, y], 1)
        if self.order == "norm last":
            return torch.cat([y.relu(), self.norm(y)], 1)
        normed = self.norm(y)
        return torch.cat([normed, functional.leaky_relu(y, 0.2, inplace=self.order.startswith("in place"))], 1)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(3), nn.InstanceNorm2d(3, affine=True), nn.GroupNorm(1, 3)])
@pytest.mark.parametrize("order", ["norm first", "norm last", "in place after the norm"])
def test_a_norm_is_not_folded_where_somebody_else_hears_the_layer(order: str, norm: nn.Module) -> None:
    net, x = uneven(Overheard(order, norm), biased=True), normal(2, 2, 4, 5)
    found = relevance(net, [x], lambda y: [y], EPSILON)
    check_ledger(found)
    assert {layer.called for layer in found.layers} >= {"conv2d", norm_name(norm)}


def norm_name(norm: nn.Module) -> str:
    return {nn.BatchNorm2d: "batch_norm", nn.InstanceNorm2d: "instance_norm", nn.GroupNorm: "group_norm"}[type(norm)]


@pytest.mark.parametrize("order", ["norm first", "norm last", "not in place after the norm"])
def test_lrp_0_is_input_times_gradient_beside_a_norm_that_is_not_folded(order: str) -> None:
    check_lrp_0(uneven(Overheard(order, nn.BatchNorm2d(3)), biased=False), normal(2, 2, 4, 5))


def test_what_a_norm_saw_is_overwritten_without_a_trace() -> None:
    x, maps = normal(2, 2, 4, 5), []
    for order in ("in place after the norm", "not in place after the norm"):
        torch.manual_seed(0)
        net = uneven(Overheard(order, nn.BatchNorm2d(3)), biased=True)
        maps.append(relevance(net, [x], lambda y: [y], EPSILON).inputs[0])
    assert torch.equal(*maps)


def test_an_answer_that_a_norm_hears_as_well_is_the_layers_own() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            self.norm(y)
            return y

    net, x = uneven(Aside(), biased=True), normal(1, 2, 3, 3)
    assert isinstance(net, Aside)
    found, plain = (relevance(each, [x], lambda y: [y], EPSILON).inputs[0] for each in (net, net.conv))
    assert torch.equal(found, plain)


# The network stays as it was.


def state_of(net: nn.Module) -> list[object]:
    return [
        {name: each.clone() for name, each in net.state_dict().items()},
        [module.training for module in net.modules()],
        [each.requires_grad for each in net.parameters()],
        [[len(module._forward_hooks), len(module._forward_pre_hooks)] for module in net.modules()],
        [each.grad is None for each in net.parameters()],
    ]


def check_same(net: nn.Module, before: list[object]) -> None:
    after = state_of(net)
    assert after[1:] == before[1:]
    held, holds = before[0], after[0]
    assert isinstance(held, dict)
    assert isinstance(holds, dict)
    assert held.keys() == holds.keys()
    assert all(torch.equal(held[name], holds[name]) for name in held)


def mixed(net: nn.Module) -> nn.Module:
    """Partly training, partly frozen."""
    net.train()
    next(iter(net.children())).eval()
    for at, each in enumerate(net.parameters()):
        each.requires_grad_(at % 2 == 0)
    return net


@pytest.mark.parametrize("differentiable", [True, False])
def test_the_network_is_as_it_was_to_the_bit(differentiable: bool) -> None:
    net = mixed(copy.deepcopy(biased("all kinds of norm")))
    before = state_of(net)
    relevance(net, [normal(2, 2, 6, 5)], lambda y: [y], Asked(EPSILON.composite, differentiable=differentiable))
    check_same(net, before)


def test_the_network_is_as_it_was_after_a_failure_in_the_middle() -> None:
    net = mixed(nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Softmax(1), nn.Conv2d(3, 1, 1)))
    before = state_of(net)
    with pytest.raises(RelevanceError, match="no rule for softmax in 2"):
        relevance(net, [torch.rand(1, 2, 3, 3)], lambda y: [y], EPSILON)
    check_same(net, before)
    assert net(torch.rand(2, 2, 3, 3)).shape == (2, 1, 3, 3)


def test_the_network_is_as_it_was_after_wrong_seeds() -> None:
    net = mixed(copy.deepcopy(biased("all kinds of norm")))
    before = state_of(net)

    def wrong(answer: Tensor) -> list[Tensor]:
        raise KeyError("lesion")

    with pytest.raises(KeyError, match="lesion"):
        relevance(net, [normal(2, 2, 6, 5)], wrong, EPSILON)
    check_same(net, before)


@pytest.mark.parametrize("composite", ["stroke", "gamma", "alpha2-beta1", "epsilon-gamma-box"])
def test_a_repeated_call_gives_the_same_bits(composite: str) -> None:
    net, x = biased("ours, 3d, instance norm"), normal(1, 2, 4, 6, 6)
    asked = Asked(Composite.of(composite), BOUNDS)
    one, two = (relevance(net, [x], lambda y: [y], asked) for _ in range(2))
    assert torch.equal(one.inputs[0], two.inputs[0])
    assert one.layers == two.layers


def test_the_input_is_not_overwritten_by_a_network_that_overwrites_what_it_is_given() -> None:
    net, x = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(2, 1, 1)).double(), normal(1, 2, 3, 3)
    before = x.clone()
    relevance(net, [x], lambda y: [y], EPSILON)
    assert torch.equal(x, before)


def test_the_answer_is_what_the_network_says_at_rest() -> None:
    net, x = biased("all kinds of norm"), normal(2, 2, 6, 5)
    with torch.no_grad():
        assert torch.equal(relevance(net, [x], lambda y: [y], EPSILON).answer, net(x))


# Traps.


class Shared(nn.Module):
    """A block that is registered twice and used thrice."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.LeakyReLU(0.2, True)
        )
        self.again = self.block

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.again(self.block(self.block(x)))
        return y


def test_a_block_that_is_registered_twice_is_used_as_often_as_it_is() -> None:
    net = uneven(Shared(), biased=False)
    check_lrp_0(net, normal(1, 2, 5, 4))
    found = relevance(net, [normal(1, 2, 5, 4)], lambda y: [y], EPSILON)
    assert [layer.name for layer in found.layers if layer.rule] == ["block.0"] * 3


class Aliased(nn.Module):
    """Names of one memory, of which one is overwritten."""

    def __init__(self, func: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.func = nn.Conv2d(2, 3, 1, bias=False), func

    def forward(self, x: Tensor) -> Tensor:
        return self.func(self.conv(x))


def by_an_alias(y: Tensor) -> Tensor:
    other = functional.dropout(y, 0.0, training=False)
    functional.leaky_relu(other, 0.2, inplace=True)
    return torch.cat([y, other], 1)


def doubled_by_an_alias(y: Tensor) -> Tensor:
    half = y.relu().flip(3)
    other = y.view_as(y)
    other += half
    return y


def doubled_under_another_shape(y: Tensor) -> Tensor:
    half = y.flatten(1).relu()
    other = y.view(len(y), -1)
    other += half
    return y


@pytest.mark.parametrize("func", [by_an_alias, doubled_by_an_alias])
def test_memory_that_is_overwritten_by_another_name_is_followed(func: Callable[[Tensor], Tensor]) -> None:
    check_lrp_0(Aliased(func).double(), normal(2, 2, 3, 4))


def test_memory_that_is_overwritten_under_another_shape_is_refused_when_it_is_used() -> None:
    with pytest.raises(RelevanceError, match="add in the network overwrites a tensor that is used under another shape"):
        relevance(Aliased(doubled_under_another_shape), [torch.rand(1, 2, 3, 4)], lambda y: [y], EPSILON)


def heard_then_scaled(y: Tensor, conv: nn.Module) -> Tensor:
    z = conv(y)
    y.mul_(2)
    return torch.cat([y, z], 1)


def heard_and_scaled(y: Tensor, conv: nn.Module) -> Tensor:
    return torch.cat([2 * y, conv(y)], 1)


def test_a_layer_remembers_what_it_saw_before_that_was_overwritten() -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(2, 3, 1).double(), nn.Conv2d(3, 3, 1).double()
    nets = [nn.Sequential(first, Call(partial(func, conv=second))) for func in (heard_then_scaled, heard_and_scaled)]
    maps = [relevance(net, [normal(1, 2, 3, 4)], lambda y: [y], EPSILON).inputs[0] for net in nets]
    torch.testing.assert_close(*maps, rtol=1e-14, atol=1e-14)


def part_added(y: Tensor) -> Tensor:
    y[:, :1] += 1
    return y


def part_set(y: Tensor) -> Tensor:
    y[:, :1] = 0
    return y


def set_into_a_buffer(y: Tensor) -> Tensor:
    found = torch.zeros_like(y)
    found[:, 1:] = y[:, 1:]
    return found


def added_into_a_buffer(y: Tensor) -> Tensor:
    found = torch.zeros_like(y)
    found[:, 1:] += y[:, 1:]
    return found


@pytest.mark.parametrize(
    ("func", "name"),
    [(part_added, "add"), (part_set, "__setitem__"), (set_into_a_buffer, "__setitem__"), (added_into_a_buffer, "add")],
)
def test_a_part_that_is_overwritten_is_refused(func: Callable[[Tensor], Tensor], name: str) -> None:
    with pytest.raises(RelevanceError, match=f"{name} in the network overwrites a part of a tensor; let it make a new"):
        relevance(Aliased(func), [torch.rand(1, 2, 3, 4)], lambda y: [y], EPSILON)


def test_a_buffer_that_all_is_added_to_is_a_sum() -> None:
    def summed(y: Tensor) -> Tensor:
        total = torch.zeros_like(y.detach())
        total += y[:, [2, 1, 0]]
        return total

    check_lrp_0(Aliased(summed).double(), normal(1, 2, 3, 4))


@pytest.mark.parametrize(
    ("name", "composite"),
    [("ours, 3d, legacy", "stroke"), *[("all kinds of norm", composite) for composite in OURS]],
)
def test_single_precision_agrees_with_double(composite: str, name: str) -> None:
    """Of networks that are well conditioned: ε near 0 divides by what may nearly cancel."""
    net, x = biased(name), normal(*NETS[name][1])
    asked = Asked(Composite.of(composite), BOUNDS)
    double = relevance(net, [x], lambda y: [torch.ones_like(y)], asked).inputs[0]
    single = relevance(copy.deepcopy(net).float(), [x.float()], lambda y: [torch.ones_like(y)], asked).inputs[0]
    assert single.dtype == torch.float32
    assert off([single.double()], [double]) <= 1e-4


def test_channels_may_be_last_in_memory() -> None:
    net, x = biased("ours, 2d, batch norm"), normal(1, 2, 32, 35)
    last = copy.deepcopy(net)
    for each in last.parameters():
        each.data = each.data.contiguous(memory_format=torch.channels_last) if each.ndim == 4 else each.data
    asked = Asked(Composite.of("stroke"), BOUNDS)
    found = relevance(last, [x.contiguous(memory_format=torch.channels_last)], lambda y: [y], asked).inputs[0]
    torch.testing.assert_close(found, relevance(net, [x], lambda y: [y], asked).inputs[0], rtol=1e-8, atol=1e-8)


# What is not known is refused.


class Named(nn.Module):
    """A function in a module with a name."""

    def __init__(self, func: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)
        self.odd = Call(func)

    def forward(self, x: Tensor) -> Any:
        return self.odd(self.conv(x))


@pytest.mark.parametrize(
    ("func", "name"),
    [
        (lambda x: x.softmax(1), "softmax"),
        (lambda x: functional.softmax(x, 1), "softmax"),
        (lambda x: x @ x.transpose(2, 3), "matmul"),
        (lambda x: x * x.relu(), "mul"),
        (lambda x: x * x, "mul"),
        (lambda x: x.relu() / x, "div"),
        (lambda x: 1 / x, "__rdiv__"),
        (lambda x: torch.div(1.0, x), "div"),
        (lambda x: x.sigmoid() * x.sigmoid(), "mul"),
        (lambda x: x - x, "sub"),
        (lambda x: x.exp(), "exp"),
        (lambda x: functional.layer_norm(x, (3,)), "layer_norm"),
        (lambda x: x.amax(1), "amax"),
        (lambda x: x.clamp(min=x.relu()), "clamp"),
        (lambda x: torch.div(input=torch.ones(1), other=x), "div"),
        (lambda x: x + torch.fft.ifft(torch.fft.fft(x)).real, "fft_fft"),
    ],
)
def test_a_function_that_is_not_known_is_refused_by_its_name_and_module(
    func: Callable[[Tensor], Tensor], name: str
) -> None:
    with pytest.raises(RelevanceError, match=rf"no rule for {name} in odd: .* tell by `known={{'{name}': PASS}}`"):
        relevance(Named(func), [torch.rand(1, 2, 3, 3)], lambda y: [y], EPSILON)


@pytest.mark.parametrize(
    ("func", "message"),
    [
        (lambda x: functional.conv2d(x, x), "conv2d in odd has weights that depend on the input"),
        (lambda x: functional.linear(x, torch.ones(2, 3), x[0, 0, 0, :2]), "linear in odd has weights that depend on"),
        (lambda x: functional.conv2d(x[0], torch.ones(1, 3, 1, 1)), "conv2d in odd sees a tensor of 3 axes; give it a"),
        (lambda x: functional.conv2d(x, torch.ones(1, 3, 2, 2), padding="same"), "conv2d in odd pads by different num"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
def test_layers_that_are_not_linear_or_of_no_rule_are_refused(func: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(RelevanceError, match=message):
        relevance(Named(func), [torch.rand(1, 2, 3, 3)], lambda y: [y], EPSILON)


def with_data(x: Tensor) -> Tensor:
    x = x.clone()
    x.data = x * 2
    return x


@pytest.mark.parametrize(
    ("func", "name"),
    [
        (lambda x: x + torch.from_numpy(x.numpy() * 2), "numpy"),
        (lambda x: x + torch.tensor(x.tolist()), "tolist"),
        (lambda x: x / x.sum().item(), "item"),
        (lambda x: x / float(x.sum()), "__float__"),
        (with_data, "data="),
    ],
)
def test_numbers_that_leave_torch_are_refused(func: Callable[[Tensor], Tensor], name: str) -> None:
    with pytest.raises(RelevanceError, match=f"{name} in odd takes numbers that depend on the input out of torch's"):
        relevance(Named(func), [torch.rand(1, 2, 3, 3)], lambda y: [y], EPSILON)


@pytest.mark.parametrize(
    ("made", "other"),
    [
        (lambda x: x.clone().masked_fill_(x < 0, 0.0), lambda x: x.masked_fill(x < 0, 0.0)),
        (lambda x: x.clone().unsqueeze_(2).squeeze_(2).transpose_(2, 3), lambda x: x.transpose(2, 3)),
        (lambda x: x.mT, lambda x: x.transpose(2, 3)),
        (lambda x: x[0, 0].T[None, None], lambda x: x[:1, :1].transpose(2, 3)),
        (lambda x: x.data * 2, lambda x: x * 2),
        (lambda x: functional.max_pool2d(x, 2, return_indices=True)[0], lambda x: functional.max_pool2d(x, 2)),
    ],
)
def test_what_does_the_same_has_the_same_relevance(
    made: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor]
) -> None:
    x = normal(1, 2, 4, 4)
    first = Named(made).double()
    second = Named(other).double()
    second.load_state_dict(first.state_dict())
    found, wanted = (relevance(each, [x], lambda y: [y], EPSILON) for each in (first, second))
    assert torch.equal(found.inputs[0], wanted.inputs[0])


@pytest.mark.parametrize("around", [torch.inference_mode, partial(torch.autocast, "cpu")])
def test_what_a_caller_asked_of_torch_changes_nothing(around: Callable[[], Any]) -> None:
    net, x = (
        uneven(nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.Conv2d(3, 1, 1)), biased=True),
        normal(1, 2, 6, 6),
    )
    wanted = relevance(net, [x], lambda y: [y], EPSILON).inputs[0]
    with around():
        found = relevance(net, [x.clone()], lambda y: [y], EPSILON).inputs[0]
    assert torch.equal(found, wanted)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
def test_what_cannot_be_explained_is_told_before_it_is_tried() -> None:
    net, x = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU()), torch.rand(1, 2, 3, 3)
    told: list[tuple[nn.Module, Tensor, str]] = [
        (net, x[:0], r"input 0 is of shape \(0, 2, 3, 3\); give a batch of cases with channels"),
        (net, x[0, 0, 0], r"input 0 is of shape \(3,\); give"),
        (net.bfloat16(), x.bfloat16(), r"is of torch\.bfloat16, too coarse for relevance; give x\.float\(\), net"),
        (nn.Sequential(torch.jit.trace(net.float(), x)), x, "0 is scripted, and nothing of it is seen; give it as it"),  # type: ignore[no-untyped-call]
    ]
    for one, image, message in told:
        with pytest.raises(RelevanceError, match=message):
            relevance(one, [image], lambda y: [y], EPSILON)


def test_an_answer_without_its_input_is_refused() -> None:
    with pytest.raises(RelevanceError, match="the network's answer does not depend on its input"):
        relevance(Named(lambda x: torch.ones(1)), [torch.rand(1, 2, 3, 3)], lambda y: [y], EPSILON)


def test_an_answer_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(RelevanceError, match="the network answers with a dict, not a tensor; wrap it"):
        relevance(Named(lambda x: {"logits": x}), [torch.rand(1, 2, 3, 3)], lambda y: [y], EPSILON)


def test_relevance_has_the_precision_of_the_input_behind_layers_of_another() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 1), Call(lambda x: x.double()), nn.Conv2d(3, 1, 1).double())
    found = relevance(net, [normal(1, 2, 3, 3).float()], lambda y: [y], EPSILON)
    whole = relevance(copy.deepcopy(net).double(), [normal(1, 2, 3, 3)], lambda y: [y], EPSILON)
    assert found.inputs[0].dtype == torch.float32
    assert off([found.inputs[0].double()], [whole.inputs[0]]) <= 1e-4


def test_a_function_may_be_told_to_pass_relevance() -> None:
    net, x = Named(lambda x: x.softmax(1)).double(), normal(1, 2, 3, 3)
    asked = Asked(EPSILON.composite, known={"softmax": PASS})
    found = relevance(net, [x], lambda y: [y], asked)
    answer = net(x).detach()
    alone = relevance(net.conv, [x], lambda _: [answer], EPSILON)
    assert torch.equal(found.inputs[0], alone.inputs[0])


def test_a_function_may_be_told_to_move_values() -> None:
    net, x = Named(lambda x: x.rot90(1, (2, 3))).double(), normal(1, 2, 3, 3)
    found = relevance(net, [x], lambda y: [y.rot90(-1, (2, 3))], Asked(EPSILON.composite, known={"rot90": ROUTE}))
    plain = relevance(net.conv, [x], lambda y: [y.rot90(-1, (2, 3))], EPSILON)
    torch.testing.assert_close(found.inputs[0], plain.inputs[0])


def test_a_function_may_be_told_to_be_a_mean() -> None:
    net = Aliased(lambda x: x.relu().cumsum(2)).double()
    seed = normal(1, 3, 3, 3)
    found = relevance(
        net, [normal(1, 2, 3, 3)], lambda y: [y * seed], Asked(LRP_0.composite, known={"cumsum": AVERAGE})
    ).inputs[0]
    assert off([found[0]], gradients(net, [normal(1, 2, 3, 3)], seed)) <= 1e-8


def test_what_leaves_no_number_is_not_asked_how_relevance_passes() -> None:
    net = Named(lambda x: x[:, :, : x.shape[2] - 1] if x.argmax() >= 0 and (x > 9).sum() == 0 else x).double()
    found = relevance(net, [normal(1, 2, 3, 3)], lambda y: [y], EPSILON)
    check_ledger(found)


def test_an_input_that_the_answer_does_not_hear_has_no_relevance() -> None:
    class One(nn.Module):
        def forward(self, x: Tensor, unheard: Tensor) -> Tensor:
            return 2 * x + 0 * unheard.detach().shape[0]

    found = relevance(One(), [torch.ones(1, 2), torch.ones(1, 3)], lambda y: [y], EPSILON)
    assert found.inputs[1].tolist() == [[[0.0, 0.0, 0.0]]]


def test_a_tensor_times_0_is_absorbed() -> None:
    found = relevance(Named(lambda x: x * 0 + x), [torch.rand(1, 2, 3, 3)], lambda y: [y], EPSILON)
    check_ledger_loosely(found)


def check_ledger_loosely(found: Relevance) -> None:
    stayed = sum(each[0] for each in found.absorbed.values())
    assert float(found.inputs[0].sum()) + stayed == pytest.approx(found.start[0], rel=1e-4)


def test_what_is_padded_by_a_constant_or_cropped_is_told() -> None:
    net, x = Aliased(lambda y: functional.pad(y, (1, 0), value=2.0)).double(), normal(1, 2, 3, 3)
    found = relevance(net, [x], lambda y: [torch.ones_like(y)], EPSILON)
    assert found.absorbed["cropped"][0] == pytest.approx(9.0)
    check_ledger(found)


def test_a_constant_that_is_added_is_a_bias() -> None:
    net = Aliased(lambda y: 3.0 - y).double()
    net.conv.weight.data.fill_(0.5)
    found = relevance(net, [torch.ones(1, 2, 1, 1).double()], lambda y: [y], EPSILON)
    assert found.absorbed["bias"][0] == pytest.approx(9.0)
    assert float(found.inputs[0].sum()) == pytest.approx(-3.0)


def test_relevance_that_a_mirror_doubles_is_summed() -> None:
    net = Aliased(nn.ReplicationPad2d(1)).double()
    x = normal(1, 2, 3, 3)
    check_ledger(relevance(net, [x], lambda y: [torch.ones_like(y)], EPSILON))


# What else may be asked.


@pytest.mark.parametrize("word", ["epsilon:0.25", "gamma:0.25", "alpha-beta:2:1", "z+", "w2"])
@pytest.mark.parametrize("parameter", [0, 1, 2, 4])
def test_the_gradient_of_relevance_is_what_small_steps_say(word: str, parameter: int) -> None:
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2), nn.Upsample(scale_factor=2),
        nn.MaxPool2d(2), nn.ConvTranspose2d(3, 2, 2, 2), nn.LeakyReLU(0.2), nn.Conv2d(2, 1, 1),
    )  # fmt: skip
    uneven(net, biased=True)
    x, weights = normal(1, 2, 4, 4), list(net.parameters())[parameter]
    asked = Asked(Composite.of({"any": word}), differentiable=True)

    def measured() -> Tensor:
        found = relevance(net, [x], lambda _: [torch.ones(1, 1, 4, 4).double()], asked)
        return (found.inputs[0] * normal(1, 1, 2, 4, 4, seed=9)).sum()

    (slope,) = torch.autograd.grad(measured(), weights)
    flat, step, at = weights.data.view(-1), 1e-6, weights.numel() // 2
    kept = float(flat[at])
    ends = []
    for place in (kept + step, kept - step):
        flat[at] = place
        ends.append(float(measured().detach()))
    flat[at] = kept
    assert float(slope.flatten()[at]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-7)


def test_relevance_keeps_no_graph_unless_it_is_asked_for() -> None:
    found = relevance(biased("all kinds of norm"), [normal(1, 2, 6, 5)], lambda y: [y], EPSILON)
    assert not found.inputs[0].requires_grad
    assert not found.answer.requires_grad


def test_the_spread_at_each_layer_is_that_of_its_maps() -> None:
    net, x = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 1)).double(), normal(1, 2, 5, 5)
    asked = Asked(EPSILON.composite, spread=True)
    found = relevance(net, [x], lambda y: [y, 2 * y], asked)
    assert [len(layer.spikes) for layer in found.layers] == [2, 2]
    assert found.layers[-1].spikes == tuple(spikes(each) for each in found.inputs[0])


def test_layers_are_told_from_the_answer_to_the_input() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 1)).double()
    found = relevance(net, [normal(1, 2, 5, 5)], lambda y: [y], Asked(Composite.of("stroke"), BOUNDS))
    assert [(layer.name, layer.called, layer.rule) for layer in found.layers] == [
        ("2", "conv2d", "epsilon:1e-06"),
        ("0", "conv2d", "reference"),
    ]
    assert found.layers[0].went[0] == pytest.approx(
        found.start[0] - sum(e[0] for e in found.layers[0].absorbed.values())
    )


def test_a_network_without_a_told_bound_is_asked_for_it() -> None:
    with pytest.raises(RelevanceError, match="this composite needs the reference of each channel"):
        relevance(volumes(), [torch.rand(1, 2, 3, 3, 3)], lambda y: [y], Asked(Composite.of("stroke"), UNTOLD))
