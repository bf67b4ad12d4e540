"""Ours against what zennit 0.5.1 said, to 1e-10; and where zennit is wrong, against what must be true."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from strokelens.explain.composites import Bounds, Composite
from strokelens.explain.propagate import Asked, Relevance, relevance
from tests.conftest import GOLDEN
from tests.foreign_nets import HIGH, LOW, NETS, RULES, WITHOUT_BIAS, WRONG, drawn, filled

CASES = [(net, word, word not in WITHOUT_BIAS) for net in NETS for word in RULES]


@cache
def held(name: str) -> Tensor:
    with np.load(GOLDEN / "zennit.npz") as file:
        return torch.from_numpy(file[name])


def weights(name: str, kind: str = "weights") -> dict[str, Tensor]:
    with np.load(GOLDEN / "zennit.npz") as file:
        start = f"{name}/{kind}/"
        return {key.removeprefix(start): torch.from_numpy(file[key]) for key in file.files if key.startswith(start)}


def ours(net: nn.Module, name: str, word: str) -> Relevance:
    x, seed = held(f"{name}/x"), held(f"{name}/seed")
    low, high = (torch.full(x.shape[1:2], each, dtype=x.dtype) for each in (LOW, HIGH))
    if word != "box":
        return relevance(net, [x], lambda _: [seed], Asked(Composite.of({"any": word})))
    return boxed(net, x, seed, low, high)


def boxed(net: nn.Module, x: Tensor, seed: Tensor, low: Tensor, high: Tensor) -> Relevance:
    """zennit's vectors have the box at the first layer, and ε below it."""
    asked = Asked(Composite.of({"first": "box", "any": "epsilon:1e-6"}), Bounds(low=low, high=high))
    return relevance(net, [x], lambda _: [seed], asked)


@pytest.mark.parametrize(("net", "word", "bias"), CASES)
def test_ours_is_what_zennit_says(net: str, word: str, bias: bool) -> None:
    name = f"{net}/{bias}"
    made = filled(drawn(NETS[net][0], bias=bias), weights(name))
    found, wanted = ours(made, name, RULES[word]).inputs[0][0], held(f"{name}/{word}")
    assert float((found - wanted).abs().sum()) <= 1e-10 * float(wanted.abs().sum())


def wrong(name: str) -> nn.Module:
    return filled(drawn(WRONG[name][0]), weights(name))


def off(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().sum() / wanted.abs().sum())


def truth(net: nn.Module, name: str) -> Tensor:
    """LRP-0 of a network without biases: input × gradient of Σ seed, which is of the answer where that is above 0."""
    x = held(f"{name}/x").clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(x).clamp(min=0).sum(), x)
    return (x * slope).detach()


@pytest.mark.parametrize(("name", "share"), [("upsampled", 0.1), ("residual", 0.5)])
def test_ours_is_right_and_zennit_is_not_about(name: str, share: float) -> None:
    net = wrong(name)
    assert off(ours(net, name, "lrp-0").inputs[0][0], truth(net, name)) <= 1e-8
    assert off(held(f"{name}/map"), truth(net, name)) > share


def test_a_sum_of_two_ways_keeps_its_relevance_and_zennit_doubles_it() -> None:
    start = float(held("residual/seed").sum())
    assert float(ours(wrong("residual"), "residual", "lrp-0").inputs[0].sum()) == pytest.approx(start, rel=1e-9)
    assert abs(float(held("residual/map").sum()) - start) > 0.5 * start


def test_a_norm_of_each_instance_keeps_its_relevance_and_zennit_loses_it() -> None:
    start = float(held("instances/seed").sum())
    found = ours(wrong("instances"), "instances", "z+:dropped").inputs[0]
    assert float(found.sum()) == pytest.approx(start, rel=1e-5)
    assert abs(float(held("instances/map").sum())) < 1e-3 * start


def test_ours_leaves_weights_as_they_were_and_zennit_does_not() -> None:
    net, before = wrong("twice"), weights("twice")
    ours(net, "twice", "epsilon:1e-6")
    assert all(torch.equal(each, before[key]) for key, each in net.state_dict().items())
    after = weights("twice", "after")
    assert any(not torch.equal(after[key], before[key]) for key in before)


def test_ours_answers_as_the_network_does_and_zennits_merged_network_does_not() -> None:
    net = wrong("twice")
    with torch.no_grad():
        answer = net(held("twice/x"))
    assert torch.equal(ours(net, "twice", "epsilon:1e-6").answer, answer)
    assert off(held("twice/answer"), answer) > 1e-6
