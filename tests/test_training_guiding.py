"""A network whose reasons are trained, too: the loss of its relevance by hand, its gradient, and a whole training."""

from pathlib import Path

import torch
from torch import nn

from strokelens.losses import guidance
from strokelens.model import load_model
from strokelens.networks.built import built
from strokelens.networks.unet3d import Unet3d, Unet3dDesign
from strokelens.settings.losses import Guidance
from strokelens.training.course import train
from strokelens.training.guiding import guided
from strokelens.training.machine import Machine
from tests.runs import same, weights
from tests.tiny_volumes import tiny_volume, write_tiny_volumes

NOTHING = (None, None)


def network(norm: str = "instance") -> Unet3d:
    torch.manual_seed(3)
    design = Unet3dDesign(channels=("ADC", "Tmax"), scales=((2, 3), (3, 4)), steps=((1, 2, 2),), norm=norm)  # type: ignore[arg-type]
    return Unet3d(design).double()


def case() -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(5)
    image, lesion = torch.randn(1, 2, 3, 6, 7, generator=chance), torch.rand(1, 3, 6, 7, generator=chance) > 0.7
    return image.double(), lesion.long()


def test_the_loss_of_relevance_is_the_cross_entropy_of_each_channel_beside_zeros() -> None:
    chance = torch.Generator().manual_seed(0)
    maps, lesion = torch.randn(2, 3, 4, 5, generator=chance), torch.rand(2, 4, 5, generator=chance) > 0.5
    by_hand = []
    for each, where in zip(maps, lesion, strict=True):
        scaled = each / each.std(correction=0)
        logits = torch.stack([torch.zeros_like(scaled), scaled], 1)  # (c, 2, i, j)
        by_hand.append(nn.functional.cross_entropy(logits, where.long().expand(3, -1, -1)))
    torch.testing.assert_close(guidance(maps, lesion), torch.stack(by_hand))


def test_a_map_of_zeros_has_the_loss_of_a_guess() -> None:
    found = guidance(torch.zeros(1, 2, 3, 3), torch.ones(1, 3, 3, dtype=torch.bool))
    torch.testing.assert_close(found, torch.tensor([2.0]).log())


def test_the_weight_of_the_setting_scales_the_loss_of_relevance() -> None:
    net, (image, lesion) = network("batch").float(), case()
    asked = [Guidance(weight=weight, composite="epsilon") for weight in (0.1, 0.2)]
    once, twice = (guided(net, image.float(), NOTHING, lesion, each) for each in asked)
    torch.testing.assert_close(2 * once, twice)


def test_the_network_trains_on_as_before() -> None:
    net, (image, lesion) = network("batch").float().train(), case()
    before = {name: each.clone() for name, each in net.state_dict().items()}
    guided(net, image.float(), NOTHING, lesion, Guidance(weight=0.1, composite="epsilon"))
    assert net.training
    assert all(torch.equal(before[name], each) for name, each in net.state_dict().items())


def test_steps_by_the_loss_of_relevance_bring_reasons_into_the_lesion() -> None:
    net, (image, lesion) = network().float(), case()
    optimizer, wanted = torch.optim.Adam(net.parameters(), 0.01), Guidance(weight=1.0, composite="epsilon")
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = guided(net, image.float(), NOTHING, lesion, wanted).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.01


def test_a_training_with_relevance_runs_from_settings(tmp_path: Path) -> None:
    cohort = write_tiny_volumes(tmp_path / "isles", cases=2)
    settings = tiny_volume(loss={"relevance": {"weight": 1.0}}, split={"validation": 0.5, "test": 0.0})
    train(settings, cohort, tmp_path / "run", machine=Machine("cpu", 1), workers=1)
    assert load_model(tmp_path / "run").settings.loss.relevance == Guidance(weight=1.0)
    assert not same(weights(tmp_path / "run"), dict(built(settings).state_dict()))
