"""Each rule against its step computed by hand, and how the rate shrinks."""

from collections.abc import Sequence
from math import sqrt

import pytest
import torch
from torch import nn

from strokelens.settings.schema import Optimizer, Schedule
from strokelens.training.optimizers import optimizer_of, scheduler_of, stepped

RATE, EPS, DECAY = 0.1, 1e-7, 0.01
BETAS, MOMENTUM, RHO = (0.8, 0.95), 0.7, 0.85
GRADIENTS = (0.5, -2.0, 0.25)


def weights_by(settings: Optimizer, rate: float | None = None) -> list[float]:
    """A weight, at first 1, after steps of these gradients."""
    weight = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    optimizer = optimizer_of(settings, [weight], rate=rate)
    found = []
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        found.append(weight.item())
    return found


def adam(*, decoupled: bool) -> list[float]:
    weight, first, second, found = 1.0, 0.0, 0.0, []
    for step, gradient in enumerate(GRADIENTS, start=1):
        pull = gradient if decoupled else gradient + DECAY * weight
        weight -= RATE * DECAY * weight if decoupled else 0
        first = BETAS[0] * first + (1 - BETAS[0]) * pull
        second = BETAS[1] * second + (1 - BETAS[1]) * pull**2
        mean, size = first / (1 - BETAS[0] ** step), sqrt(second / (1 - BETAS[1] ** step))
        weight -= RATE * mean / (size + EPS)
        found.append(weight)
    return found


def sgd(*, nesterov: bool) -> list[float]:
    weight, velocity, found = 1.0, 0.0, []
    for gradient in GRADIENTS:
        pull = gradient + DECAY * weight
        velocity = MOMENTUM * velocity + pull
        weight -= RATE * (pull + MOMENTUM * velocity if nesterov else velocity)
        found.append(weight)
    return found


def rmsprop() -> list[float]:
    weight, square, velocity, found = 1.0, 0.0, 0.0, []
    for gradient in GRADIENTS:
        pull = gradient + DECAY * weight
        square = RHO * square + (1 - RHO) * pull**2
        velocity = MOMENTUM * velocity + pull / (sqrt(square) + EPS)
        weight -= RATE * velocity
        found.append(weight)
    return found


def adadelta() -> list[float]:
    weight, square, moved, found = 1.0, 0.0, 0.0, []
    for gradient in GRADIENTS:
        pull = gradient + DECAY * weight
        square = RHO * square + (1 - RHO) * pull**2
        step = sqrt(moved + EPS) / sqrt(square + EPS) * pull
        moved = RHO * moved + (1 - RHO) * step**2
        weight -= RATE * step
        found.append(weight)
    return found


RULES = {
    "adam": (Optimizer(name="adam"), adam(decoupled=False)),
    "adamw": (Optimizer(name="adamw"), adam(decoupled=True)),
    "sgd": (Optimizer(name="sgd"), sgd(nesterov=False)),
    "nesterov": (Optimizer(name="sgd", momentum=MOMENTUM, nesterov=True), sgd(nesterov=True)),
    "rmsprop": (Optimizer(name="rmsprop"), rmsprop()),
    "adadelta": (Optimizer(name="adadelta"), adadelta()),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_takes_the_steps_of_its_formula(name: str) -> None:
    plain, wanted = RULES[name]
    told = {"learning_rate": RATE, "betas": BETAS, "momentum": MOMENTUM, "rho": RHO, "weight_decay": DECAY}
    assert weights_by(plain.model_copy(update=told)) == pytest.approx(wanted, rel=1e-12)


def test_a_stage_may_have_a_rate_of_its_own() -> None:
    settings = Optimizer(name="sgd", learning_rate=RATE)
    assert weights_by(settings, rate=0.5)[0] == pytest.approx(1 - 0.5 * GRADIENTS[0])
    assert weights_by(settings)[0] == pytest.approx(1 - RATE * GRADIENTS[0])


def test_the_default_is_the_ancestors() -> None:
    (group,) = optimizer_of(Optimizer(), [nn.Parameter(torch.zeros(1))]).param_groups
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-5, (0.9, 0.999), 1e-7, 0)


@pytest.mark.parametrize(("name", "key", "decay"), [("rmsprop", "alpha", 0.9), ("adadelta", "rho", 0.95)])
def test_decays_that_are_not_told_are_kerass(name: str, key: str, decay: float) -> None:
    settings = Optimizer().model_copy(update={"name": name})
    (group,) = optimizer_of(settings, [nn.Parameter(torch.zeros(1))]).param_groups
    assert group[key] == decay


def rates(settings: Schedule, losses: Sequence[float]) -> list[float]:
    """The rate after each epoch, from 1 on."""
    optimizer = optimizer_of(Optimizer(name="sgd", learning_rate=1.0), [nn.Parameter(torch.zeros(1))])
    scheduler = scheduler_of(settings, optimizer)
    assert scheduler is not None
    found = []
    for loss in losses:
        optimizer.step()
        stepped(scheduler, loss, least=settings.least)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_a_constant_rate_has_no_schedule() -> None:
    assert scheduler_of(Schedule(), optimizer_of(Optimizer(), [nn.Parameter(torch.zeros(1))])) is None


def test_a_plateau_shrinks_the_rate_after_more_than_patience_epochs_without_improvement() -> None:
    plateau = Schedule(kind="plateau", factor=0.5, patience=2)
    assert rates(plateau, [3, 2, 2, 2, 2, 1, 1, 1, 1]) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_a_plateau_stops_at_the_least_rate() -> None:
    plateau = Schedule(kind="plateau", factor=0.1, patience=1, least=0.05)
    assert rates(plateau, [1] * 7) == pytest.approx([1, 1, 0.1, 0.1, 0.05, 0.05, 0.05])


def test_steps_shrink_the_rate_every_so_many_epochs_down_to_the_least() -> None:
    steps = Schedule(kind="step", factor=0.5, patience=2, least=0.2)
    assert rates(steps, [1] * 8) == pytest.approx([1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2])
