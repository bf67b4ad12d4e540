"""What of a slice is computed while a network learns changes neither its answers in the head nor the loss's size."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from strokelens.networks.built import built
from strokelens.networks.crops import Box
from strokelens.settings.schema import Settings
from strokelens.training.learner import Learner, Place, _among_background
from strokelens.training.samples import Batch, Slices

SETTINGS = Settings(
    name="crops", input={"form": "values", "size": 160}, network={"width": 1 / 16}, optimizer={"l1": 0.0, "l2": 0.0},  # type: ignore[arg-type]
)  # fmt: skip


@dataclass
class Quiet(Learner):
    """A learner whose answers are asked without a trainer."""

    def __init__(self, settings: Settings) -> None:
        slices = Slices([])
        super().__init__(built(settings).eval(), settings, Place(0, 1, 0), (slices, slices))


def batch(rng: np.random.Generator) -> Batch:
    """A head of 64 × 64 pixels whose borders lie on the bottleneck's lattice: the hardest case."""
    x = np.zeros((2, 4, 160, 160), np.float16)
    x[:, :, 64:128, 32:96] = rng.normal(0.5, 0.2, (2, 4, 64, 64))
    nothing = torch.zeros(2, 0)
    return Batch(
        torch.from_numpy(x),
        torch.zeros(2, 160, 160, dtype=torch.uint8),
        nothing,
        nothing > 0,
        torch.zeros(2) > 1,
        (0, 1),
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_answers_in_the_head_are_those_of_the_whole_slice(seed: int) -> None:
    torch.manual_seed(seed)
    learner, given = Quiet(SETTINGS), batch(np.random.default_rng(seed))
    for module in learner.net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
            assert module.bias is not None
            torch.nn.init.normal_(module.bias, std=0.05)
    with torch.no_grad():
        (logits,), box = learner._answered(given.x.float(), given.values, given.known)
        assert box is not None
        found = _among_background(logits, box, 160).softmax(1)
        whole = learner.net(given.x.float()).softmax(1)
    assert found.shape == whole.shape
    assert (found - whole)[:, :, 64:128, 32:96].abs().max() < 0.02


def test_what_is_not_computed_is_surely_background() -> None:
    box = Box(slice(32, 64), slice(0, 32))
    found = _among_background(torch.full((1, 3, 32, 32), -1.0), box, 96).softmax(1)
    assert found.shape == (1, 3, 96, 96)
    inside = found[:, :, 32:64, 0:32]
    torch.testing.assert_close(inside, torch.full_like(inside, 1 / 3))
    assert found[:, 0].sum() == pytest.approx(96 * 96 - 32 * 32 * 2 / 3, rel=1e-5)
