"""Chance changes of samples: each against what it means, pixel by pixel, and the laws of all."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from strokelens.augment import Change, apply, decide
from strokelens.settings.chances import Augmentation

ALL = Augmentation(flip=0.5, turn_deg=20, scale=0.2, shift=0.1, brightness=0.2, noise=0.05, drop_map=0.3)
NONE = Augmentation.model_validate(dict.fromkeys(Augmentation.model_fields.keys() - {"recipe"}, 0))


def _one(
    change: Change, side: tuple[int, int] = (24, 32)
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A sample of two maps of one value each and its labels, before and after."""
    i, j = np.indices(side)
    blob = np.exp(-(((i - 9) / 4) ** 2 + ((j - 20) / 6) ** 2))
    images = torch.tensor(np.stack([blob, 0.5 * blob])[None], dtype=torch.float32)
    labels = torch.tensor((blob > 0.5)[None], dtype=torch.uint8)
    return images, labels, *apply(images, labels, [change], maps=2)


def test_no_change_changes_nothing() -> None:
    images, labels, after, after_labels = _one(Change())
    assert torch.equal(images, after)
    assert torch.equal(labels, after_labels)


def test_a_flip_mirrors_along_i() -> None:
    images, labels, after, after_labels = _one(Change(flip=True))
    torch.testing.assert_close(after, images.flip(2), atol=1e-5, rtol=0)
    assert torch.equal(after_labels, labels.flip(1))


def test_a_shift_moves_by_parts_of_the_side() -> None:
    """A quarter of 24 along i is 6 pixels, an eighth of 32 along j is 4; what comes in is empty."""
    images, labels, after, after_labels = _one(Change(shift=(0.25, -0.125)))
    torch.testing.assert_close(after[:, :, 6:, :-4], images[:, :, :-6, 4:], atol=1e-5, rtol=0)
    assert torch.equal(after_labels[:, 6:, :-4], labels[:, :-6, 4:])
    assert after[:, :, :5].abs().max() == 0


def test_a_quarter_turn_of_a_square_goes_from_j_to_i() -> None:
    images, labels, after, after_labels = _one(Change(turn_deg=90), side=(32, 32))
    torch.testing.assert_close(after, torch.rot90(images, -1, (2, 3)), atol=1e-5, rtol=0)
    assert torch.equal(after_labels, torch.rot90(labels, -1, (1, 2)))


@pytest.mark.parametrize("side", [(24, 24), (20, 32)])
def test_turning_and_growing_are_scipys(side: tuple[int, int]) -> None:
    """In pixels, about the slice's middle: scipy's affine_transform with the matrix written out."""
    change = Change(turn_deg=15, scale=1.2)
    images, _, after, _ = _one(change, side)
    angle = np.radians(15)
    back = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / 1.2
    middle = (np.array(side) - 1) / 2
    expected = ndimage.affine_transform(images[0, 0].numpy(), back, middle - back @ middle, order=1)
    inside = ndimage.affine_transform(np.ones(side), back, middle - back @ middle, order=1) > 0.999
    np.testing.assert_allclose(after[0, 0].numpy()[inside], expected[inside], atol=1e-4)


def test_brightness_multiplies_and_noise_stays_where_there_are_values() -> None:
    images, _, after, _ = _one(Change(gain=1.5))
    torch.testing.assert_close(after, 1.5 * images)
    images = torch.cat([torch.zeros(1, 1, 200, 200), torch.ones(1, 1, 200, 200)], 1)
    noisy, _ = apply(images, torch.zeros(1, 200, 200, dtype=torch.uint8), [Change(noise=0.1, seed=3)], maps=2)
    assert noisy[0, 0].abs().max() == 0
    assert float((noisy[0, 1] - 1).std()) == pytest.approx(0.1, rel=0.03)


def test_a_dropped_map_is_empty_in_all_its_colours() -> None:
    images = torch.rand(1, 6, 4, 4) + 0.1
    after, _ = apply(images, torch.zeros(1, 4, 4, dtype=torch.uint8), [Change(dropped=(1,))], maps=2)
    assert torch.equal(after[:, :3], images[:, :3])
    assert after[:, 3:].abs().max() == 0


@given(seed=st.integers(0, 2**32 - 1))
def test_what_was_decided_is_done_alike_again_and_alone_or_in_a_batch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    changes = [decide(rng, ALL, 3) for _ in range(3)]
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    labels = (images[:, 0] * 3).to(torch.uint8)
    together = apply(images, labels, changes, maps=3)
    for s, change in enumerate(changes):
        alone = apply(images[s : s + 1], labels[s : s + 1], [change], maps=3)
        torch.testing.assert_close(together[0][s], alone[0][0], atol=1e-5, rtol=0)
        assert torch.equal(together[1][s], alone[1][0])


@given(seed=st.integers(0, 2**32 - 1))
def test_labels_stay_labels_and_values_finite(seed: int) -> None:
    change = decide(np.random.default_rng(seed), ALL, 2)
    _, labels, after, after_labels = _one(change)
    assert set(after_labels.ravel().tolist()) <= set(labels.ravel().tolist())
    assert torch.isfinite(after).all()
    assert len(change.dropped) < 2


def test_chances_and_ranges_are_those_of_the_settings() -> None:
    rng = np.random.default_rng(0)
    changes = [decide(rng, ALL, 4) for _ in range(4000)]
    assert np.mean([change.flip for change in changes]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([len(change.dropped) for change in changes]) == pytest.approx(1.2, abs=0.08)
    turns = np.array([change.turn_deg for change in changes])
    assert 19 < np.abs(turns).max() <= 20
    assert turns.mean() == pytest.approx(0, abs=0.6)
    assert 0.8 <= min(change.scale for change in changes) < 0.81


def test_all_switched_off_decides_nothing() -> None:
    assert decide(np.random.default_rng(1), NONE, 4) == Change()


def test_a_seed_decides() -> None:
    one, two = (decide(np.random.default_rng(7), ALL, 4) for _ in range(2))
    assert one == two
