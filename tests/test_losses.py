"""Losses against their formulas by loops over voxels and classes, the published check vector, and laws."""

from collections.abc import Callable
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from strokelens import losses
from strokelens.errors import SettingsError
from strokelens.losses import LOSSES, loss_named, severity

W = (0.1, 50.0, 440.0)
P = ((0.7, 0.2, 0.1), (0.6, 0.3, 0.1), (0.2, 0.5, 0.3), (0.1, 0.2, 0.7))
LABELS = torch.tensor([[0, 0, 1, 2]])

Terms = list[tuple[float, float, float]]
"""(w, g, p) of each voxel and class."""


def _logits(p: object = P) -> torch.Tensor:
    return torch.tensor(p, dtype=torch.float64).log().T[None]


def _value(name: str, logits: torch.Tensor, labels: torch.Tensor, weights: tuple[float, ...] = W) -> float:
    return float(loss_named(name, weights)(logits, labels)[0])


# The ancestor's check vector (spec, 4.1): four voxels, three classes.
PUBLISHED = {
    "tversky": 1 - 0.6411426,
    "focal_tversky": 0.4627589,
    "squared_dice": 1 - 0.8593688,
    "dice": 1 - 0.6178456,
    "tanimoto": 1 - 0.7534151,
    "dual_tanimoto": 0.1644607,
}


@pytest.mark.parametrize(("name", "expected"), PUBLISHED.items())
def test_the_published_check_vector_is_met(name: str, expected: float) -> None:
    assert _value(name, _logits(), LABELS) == pytest.approx(expected, abs=1e-6)


def test_the_published_focal_loss_has_no_class_weights() -> None:
    assert _value("focal", _logits(), LABELS, (1, 1, 1)) == pytest.approx(0.0066504, abs=1e-6)


def _sum(terms: Terms, of: Callable[[float, float], float]) -> float:
    return sum(w * of(g, p) for w, g, p in terms)


ORACLES: dict[str, Callable[[Terms], float]] = {
    "tversky": lambda t: (
        1 - _sum(t, lambda g, p: g * p) / _sum(t, lambda g, p: g * p + 0.7 * g * (1 - p) + 0.3 * (1 - g) * p)
    ),
    "dice": lambda t: 1 - 2 * _sum(t, lambda g, p: g * p) / _sum(t, lambda g, p: g + p),
    "squared_dice": lambda t: 1 - 2 * _sum(t, lambda g, p: g * p) / _sum(t, lambda g, p: g * g + p * p),
    "jaccard": lambda t: 1 - _sum(t, lambda g, p: g * p) / _sum(t, lambda g, p: g + p - g * p),
    "tanimoto": lambda t: 1 - _sum(t, lambda g, p: g * p) / _sum(t, lambda g, p: g * g + p * p - g * p),
    "focal": lambda t: _sum(t, lambda g, p: 0.25 * (1 - p) ** 2 * -g * log(p)) / len(t),
    "cross_entropy": lambda t: _sum(t, lambda g, p: -g * log(p)) / _sum(t, lambda g, _: g),
}


@pytest.mark.parametrize("name", ORACLES)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_loss_is_its_formula_summed_by_loops(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(0, 2, (2, 3, 4, 3)))
    labels = torch.tensor(rng.integers(0, 3, (2, 4, 3)))
    probabilities = torch.softmax(logits, 1)
    found = loss_named(name, W)(logits, labels)
    for sample in range(2):
        terms = [
            (W[n], float(labels[sample, i, j] == n), float(probabilities[sample, n, i, j]))
            for i in range(4)
            for j in range(3)
            for n in range(3)
        ]
        assert float(found[sample]) == pytest.approx(ORACLES[name](terms), rel=1e-9)


def test_dice_and_cross_entropy_by_hand() -> None:
    """Dice of penumbra 2·0.5/(1+1.2), of core 2·0.7/(1+1.2); cross-entropy of four voxels."""
    dice = (1 / 2.2 + 1.4 / 2.2) / 2
    entropy = -(log(0.7) + log(0.6) + log(0.5) + log(0.7)) / 4
    assert _value("dice_cross_entropy", _logits(), LABELS, (1, 1, 1)) == pytest.approx((1 - dice) / 2 + entropy / 2)


def test_cross_entropy_is_torchs_for_one_sample() -> None:
    expected = torch.nn.functional.cross_entropy(_logits(), LABELS, torch.tensor(W, dtype=torch.float64))
    assert _value("cross_entropy", _logits(), LABELS) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_reach_every_class(name: str) -> None:
    logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(loss_named(name, W)(logits, torch.tensor([[[0, 0], [1, 2]]])).sum(), logits)
    assert (slope.abs().sum((0, 2, 3)) > 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_prediction_costs_nothing_and_the_opposite_much(name: str) -> None:
    sure = 40.0 * torch.nn.functional.one_hot(LABELS, 3).double().transpose(1, 2)
    assert _value(name, sure, LABELS) == pytest.approx(0, abs=1e-4)
    assert _value(name, -sure, LABELS) > 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_a_sample_without_a_lesion_has_a_finite_loss_and_gradient(name: str) -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    for logits in (torch.zeros(1, 3, 4, 4), 60.0 * torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)):
        leaf = logits.clone().requires_grad_(True)
        loss = loss_named(name, W)(leaf, labels)
        (slope,) = torch.autograd.grad(loss.sum(), leaf)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize("name", LOSSES)
def test_samples_do_not_touch_each_other(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 3, 5, generator=generator)
    labels = torch.randint(0, 3, (3, 5), generator=generator)
    loss = loss_named(name, W)
    alone = torch.cat([loss(logits[s : s + 1], labels[s : s + 1]) for s in range(3)])
    torch.testing.assert_close(loss(logits, labels), alone)


def test_nothing_to_find_and_nothing_found_is_perfect() -> None:
    """Weights of 0 for all that is there leave 0/0."""
    labels = torch.zeros(1, 3, dtype=torch.int64)
    sure = torch.full((1, 3, 3), -torch.inf)
    sure[:, 0] = 0
    for loss in (losses.dice, losses.tversky, losses.jaccard, losses.cross_entropy):
        assert float(loss(sure.clamp_min(-200), labels, torch.tensor([0.0, 1, 1]))) == 0


def test_an_unknown_loss_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="no loss 'focal_tversk'; did you mean 'focal_tversky'"):
        loss_named("focal_tversk", W)


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("around", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_mixed_precision_around_a_loss_does_not_touch_it(name: str, around: torch.dtype, given: torch.dtype) -> None:
    """A slice of 512², whose weighted sums are above float16's largest number, 65504."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 3, 512, 512, generator=generator).to(given).requires_grad_(True)
    labels = torch.randint(0, 3, (1, 512, 512), generator=generator)
    loss = loss_named(name, W)
    expected = loss(logits.detach().float(), labels)
    with torch.autocast("cpu", around):
        found = loss(logits, labels)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_itself_multiplies_no_matrices_which_autocast_would_round(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 3, 64, 64, generator=generator)
    labels = torch.randint(0, 3, (1, 64, 64), generator=generator)
    expected = LOSSES[name](logits, labels, torch.tensor(W))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(LOSSES[name](logits, labels, torch.tensor(W)), expected)


ALPHA, GAMMA = 0.4, 1.7
OPTIONS: dict[str, tuple[dict[str, float], Callable[[Terms], float]]] = {
    "tversky": (
        {"alpha": ALPHA},
        lambda t: (
            1
            - _sum(t, lambda g, p: g * p)
            / _sum(t, lambda g, p: g * p + ALPHA * g * (1 - p) + (1 - ALPHA) * (1 - g) * p)
        ),
    ),
    "focal_tversky": (
        {"alpha": ALPHA, "gamma": GAMMA},
        lambda t: OPTIONS["tversky"][1](t) ** (1 / GAMMA),
    ),
    "focal": (
        {"alpha": ALPHA, "gamma": GAMMA},
        lambda t: _sum(t, lambda g, p: ALPHA * (1 - p) ** GAMMA * -g * log(p)) / len(t),
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_alpha_and_gamma_are_those_of_the_formula(name: str) -> None:
    options, oracle = OPTIONS[name]
    terms = [(W[n], float(LABELS[0, at] == n), P[at][n]) for at in range(4) for n in range(3)]
    found = loss_named(name, W, **options)(_logits(), LABELS)
    assert float(found[0]) == pytest.approx(oracle(terms), rel=1e-9)


def test_severity_is_the_mean_weight_of_a_slices_voxels_and_lesions_count_sixfold_where_told() -> None:
    """(0.1 + 0.1 + 50 + 440) / 4 = 122.55; sixfold (0.2 + 300 + 2640) / 4 = 735.05."""
    found = severity(LABELS.repeat(2, 1), W, torch.tensor([False, True]))
    assert found.tolist() == pytest.approx([122.55, 735.05])


def test_severity_of_four_and_of_two_classes_takes_the_lesions_alone_sixfold() -> None:
    """Four, brain as background: (0 + 0 + 6·50 + 6·440) / 4; two: (0.1 + 6·1) / 2."""
    four = severity(torch.tensor([[0, 1, 2, 3]]), (0.0, 0.1, 50.0, 440.0), torch.tensor([True]))
    two = severity(torch.tensor([[0, 1]]), (0.1, 1.0), torch.tensor([True]))
    assert (four.item(), two.item()) == pytest.approx((735.0, 3.05))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_focal_loss_has_a_finite_slope_where_a_class_is_sure(gamma: float) -> None:
    logits = torch.tensor([[[30.0], [0.0], [0.0]]], requires_grad=True)
    loss_named("focal", (1, 1, 1), gamma=gamma)(logits, torch.tensor([[0]])).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "of_class", "expected"),
    [
        ("tversky", 1, 0.4716981),
        ("tversky", 2, 0.6603773),
        ("squared_dice", 0, 0.8965517),
        ("squared_dice", 1, 0.7042253),
        ("squared_dice", 2, 0.8749999),
    ],
)
def test_the_published_scores_of_single_classes_are_met(name: str, of_class: int, expected: float) -> None:
    alone = tuple(float(each == of_class) for each in range(3))
    assert 1 - _value(name, _logits(), LABELS, alone) == pytest.approx(expected, abs=1e-6)
