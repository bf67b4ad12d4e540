"""Volumes as training sees them: batches of several depths, tiles, what moves with what, and textures mixed in."""

from dataclasses import replace
from math import ceil
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strokelens.augment import Change, apply, decide
from strokelens.frames import Frame
from strokelens.grid import Grid
from strokelens.phantom.diffgen import Recipe, generate
from strokelens.settings.chances import Augmentation, Diffgen
from strokelens.training.samples import Balanced, Collated, Draw, Piece, Volumes, chances
from strokelens.training.store import Prepared
from strokelens.training.textures import mixed_in

SHAPE = (7, 24, 32)
RECIPE = Augmentation(recipe="rotate_clip_translate")
EVERYTHING = Augmentation(noise=0.05, offset=0.2, elastic=0.03, low_resolution=0.5, lift=2, drop_map=0.3)
LabelsKind = Literal["shared", "union", "first"]


def case(depth: int, *, name: str = "a", side: int = 32, seed: int = 0, maps: int = 2) -> Prepared:
    """Values everywhere but on the border, and a lesion in the middle slice."""
    rng = np.random.default_rng(seed)
    x = np.zeros((depth, maps, side, side), np.float16)
    x[:, :, 4:-4, 4:-4] = rng.uniform(0.1, 1, (depth, maps, side - 8, side - 8))
    y = np.zeros((depth, side, side), np.uint8)
    y[depth // 2, 6:9, 6:9] = 1
    frame = Frame(Grid((side, side, depth), np.eye(4)), 1, side)
    return Prepared("k", name, name, None, x, y, np.zeros(1, np.float32), np.zeros(1, bool), frame, True)


def test_cases_of_fewer_slices_have_empty_ones_above() -> None:
    few, many = case(3, name="few"), case(5, name="many", seed=1)
    batch = Volumes([few, many]).collate([0, 1])
    assert batch.x.shape == (2, 2, 5, 32, 32)
    assert batch.y.shape == (2, 5, 32, 32)
    assert np.array_equal(batch.x[0, :, :3].numpy(), few.x.transpose(1, 0, 2, 3))
    assert np.array_equal(batch.x[1].numpy(), many.x.transpose(1, 0, 2, 3))
    assert not batch.x[0, :, 3:].any()
    assert not batch.y[0, 3:].any()
    assert np.array_equal(batch.y[1].numpy(), np.asarray(many.y))


def test_a_volume_is_one_piece_and_is_called_as_its_case() -> None:
    volumes = Volumes([case(3, name="few"), case(5, name="many")])
    assert volumes.pieces == (Piece(0, 0), Piece(1, 0))
    assert [volumes.named(at) for at in range(2)] == ["few", "many"]
    assert volumes.lesions.tolist() == [True, True]


def test_volumes_that_show_nothing_or_have_no_truth_are_left_out() -> None:
    dark = replace(case(3, name="dark"), x=np.zeros((3, 2, 32, 32), np.float16))
    volumes = Volumes([dark, replace(case(3), y=None), case(3, name="left")])
    assert [volumes.named(at) for at in range(len(volumes))] == ["left"]


def test_tiles_have_all_slices_and_a_lesion_where_any_slice_has_one() -> None:
    whole = case(5)
    volumes = Volumes([whole], tile=16, step=16)
    assert volumes.pieces == tuple(Piece(0, 0, i, j) for i in (0, 16) for j in (0, 16))
    assert volumes.lesions.tolist() == [True, False, False, False]
    assert volumes.named(2) == "a tile 16, 0"
    batch = volumes.collate([2])
    assert np.array_equal(batch.x[0].numpy(), whole.x.transpose(1, 0, 2, 3)[:, :, 16:, :16])
    assert np.array_equal(batch.y[0].numpy(), np.asarray(whole.y)[:, 16:, :16])


@given(draws=st.integers(1, 30), count=st.integers(1, 12), share=st.floats(0, 1))
def test_an_epoch_has_as_many_draws_as_are_told_and_none_comes_twice_before_all_did(
    draws: int, count: int, share: float
) -> None:
    order = Balanced(np.ones(count, bool), share=share, seed=3, draws=draws)
    drawn = [draw.number for draw in order]
    assert len(drawn) == len(order) == draws
    counts = np.bincount(drawn, minlength=count)
    assert counts.max() - counts.min() <= 1


def sample(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A volume whose maps are its label and a half of it, of flat blocks that nearest and bilinear see alike inside."""
    labels = torch.zeros(1, *SHAPE, dtype=torch.uint8)
    rng = np.random.default_rng(seed)
    k, i, j = (int(rng.integers(1, size - 6)) if size > 8 else 2 for size in SHAPE)
    labels[0, k : k + 3, i : i + 6, j : j + 8] = 1
    return torch.stack([labels[0].float(), labels[0].float() / 2])[None], labels


MOVES = st.fixed_dictionaries(
    {
        "flip": st.booleans(),
        "turn_deg": st.floats(-30, 30),
        "scale": st.floats(0.8, 1.2),
        "shift": st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
        "bend": st.sampled_from([0.0, 0.02]),
        "seed": st.integers(0, 99),
    }
)


@settings(max_examples=40)
@given(move=MOVES, lift=st.integers(-3, 3), seed=st.integers(0, 99))
def test_images_and_labels_move_alike(move: dict[str, Any], lift: int, seed: int) -> None:
    images, labels = apply(*sample(seed), [Change(**move, lift=lift)], maps=2)
    assert labels.shape == (1, *SHAPE)
    inside, outside = images[0, 0] > 0.99, images[0, 0] < 0.01
    assert (labels[0][inside] == 1).all()
    assert (labels[0][outside] == 0).all()
    torch.testing.assert_close(images[:, 1], images[:, 0] / 2)


@given(move=MOVES)
def test_all_slices_move_alike(move: dict[str, Any]) -> None:
    plane = torch.rand(1, 1, 1, *SHAPE[1:], generator=torch.Generator().manual_seed(1))
    labels = torch.zeros(1, *SHAPE, dtype=torch.uint8)
    images, _ = apply(plane.expand(1, 2, *SHAPE), labels, [Change(**move)], maps=2)
    torch.testing.assert_close(images, images[:, :1, :1].expand_as(images))


@pytest.mark.parametrize("lift", [-9, -7, -2, 0, 3, 7, 20])
def test_a_lift_moves_whole_slices_and_what_comes_in_is_empty(lift: int) -> None:
    images = torch.arange(1.0, SHAPE[0] + 1)[None, None, :, None, None].expand(1, 2, *SHAPE)
    moved, labels = apply(images, images[:, 0].to(torch.uint8), [Change(lift=lift)], maps=2)
    expected = [at - lift + 1 if 0 <= at - lift < SHAPE[0] else 0 for at in range(SHAPE[0])]
    assert moved[0, 1, :, 3, 3].tolist() == expected
    assert labels[0, :, 3, 3].tolist() == expected


def test_lifts_are_drawn_from_all_slices_up_to_the_settings() -> None:
    rng = np.random.default_rng(0)
    lifts = {decide(rng, Augmentation(lift=2), 2, SHAPE).lift for _ in range(100)}
    assert lifts == {-2, -1, 0, 1, 2}


def test_offsets_are_added_to_each_map_where_it_has_a_value() -> None:
    images = torch.rand(1, 2, *SHAPE) + 0.1
    images[0, :, :, :4] = 0
    moved, _ = apply(images, torch.zeros(1, *SHAPE, dtype=torch.uint8), [Change(offsets=(0.5, -0.25))], maps=2)
    expected = images.clone()
    expected[0, 0, :, 4:] += 0.5
    expected[0, 1, :, 4:] -= 0.25
    torch.testing.assert_close(moved, expected)


def test_a_coarse_volume_is_smooth_and_keeps_its_air() -> None:
    images = torch.rand(1, 2, *SHAPE, generator=torch.Generator().manual_seed(2)) + 0.1
    images[0, :, :, :4] = 0
    coarse, _ = apply(images, torch.zeros(1, *SHAPE, dtype=torch.uint8), [Change(coarse=2.0)], maps=2)
    assert torch.equal(coarse == 0, images == 0)
    assert coarse[:, :, :, 6:].std() < 0.7 * images[:, :, :, 6:].std()


def test_the_recipe_has_the_ancestors_ranges() -> None:
    """Turned by up to 20°, moved by up to a fifth of each size, rounded up, cut from 0.3 to 1; one of ten stays."""
    rng = np.random.default_rng(0)
    changes = [decide(rng, RECIPE, 2, SHAPE) for _ in range(4000)]
    plain = [change for change in changes if change == Change()]
    assert len(plain) / len(changes) == pytest.approx(0.1, abs=0.02)
    others = [change for change in changes if change != Change()]
    assert {change.turn_deg == round(change.turn_deg, 1) for change in others} == {True}
    assert 19.5 < max(abs(change.turn_deg) for change in others) <= 20
    ceilings = [change.ceiling for change in others if change.ceiling is not None]
    assert len(ceilings) == len(others)
    assert (min(ceilings), max(ceilings)) == (0.3, 1.0)
    assert all(change.nearest and not change.flip and change.scale == change.gain == 1 for change in others)
    reach = [ceil(0.2 * size) for size in SHAPE]
    moved = [(change.lift, round(change.shift[0] * SHAPE[1]), round(change.shift[1] * SHAPE[2])) for change in others]
    for at, each in enumerate(reach):
        assert {move[at] for move in moved} == set(range(-each, each))
    whole = [(change.shift[0] * SHAPE[1], change.shift[1] * SHAPE[2]) for change in others]
    np.testing.assert_allclose(whole, np.round(whole), atol=1e-9)


def test_the_recipe_cuts_and_moves_by_whole_voxels() -> None:
    images, labels = sample()
    change = Change(shift=(2 / SHAPE[1], -3 / SHAPE[2]), lift=1, ceiling=0.4, nearest=True)
    moved, after = apply(images, labels, [change], maps=2)
    expected = torch.zeros_like(labels)
    expected[:, 1:, 2:, :-3] = labels[:, :-1, :-2, 3:]
    assert torch.equal(after, expected)
    torch.testing.assert_close(moved, expected[:, None].float().expand(1, 2, *SHAPE) * 0.4)


@pytest.mark.parametrize("augmentation", [EVERYTHING, RECIPE], ids=["everything", "recipe"])
def test_a_draw_decides_what_happens_whatever_else_is_in_the_batch(augmentation: Augmentation) -> None:
    volumes = Volumes([case(5, seed=seed) for seed in range(3)])
    collated = Collated(volumes, 1, 2, augmentation, Diffgen(fraction=0.5))
    draws = [Draw(0, 2, 0), Draw(1, 2, 0), Draw(0, 2, 1)]
    together, alone = collated(draws), collated(draws[2:])
    assert together.changes[2:] == alone.changes
    assert torch.equal(together.x[2], alone.x[0])
    assert not torch.equal(together.x[2], together.x[0])
    for one, other in zip(*(apply(alone.x.float(), alone.y, alone.changes, maps=2) for _ in range(2)), strict=True):
        assert torch.equal(one, other)


def volumes(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    whole = case(5, seed=seed)
    assert whole.y is not None
    return whole.x.transpose(1, 0, 2, 3)[None], whole.y[None]


def mixed(**told: object) -> tuple[np.ndarray, np.ndarray]:
    return mixed_in(*volumes(), Diffgen.model_validate(told), [chances(0, 0, 0)], [volumes()[0].shape[2]])


@pytest.mark.parametrize("labels", ["shared", "union", "first"])
@pytest.mark.parametrize("fraction", [0.5, 1.2])
def test_a_texture_is_added_and_the_lesions_of_both_are_labelled(labels: LabelsKind, fraction: float) -> None:
    (x, y), (found, marked) = volumes(), mixed(labels=labels, fraction=fraction)
    rng = chances(0, 0, 0)
    rng.random()  # the lot whether there is a texture
    made = generate(rng, Recipe("fixed", labels, 2), shape=(32, 32, 5))
    there = np.ones_like(x[0], bool) if labels == "first" else x[0] != 0
    texture = np.where(there, np.moveaxis(made.unhealthy, 3, 1), 0)
    np.testing.assert_allclose(found[0], x[0].astype(np.float32) + np.float32(fraction) * texture, atol=1e-6)
    lesion = (np.moveaxis(made.label, 2, 0) > 0) & there.any(axis=0)
    assert lesion.any()
    assert np.array_equal(marked[0], (lesion | (y[0] > 0)).astype(np.uint8))


@pytest.mark.parametrize(("labels", "on_air"), [("shared", False), ("union", False), ("first", True)])
def test_only_the_ancestors_textures_lie_on_air(labels: LabelsKind, on_air: bool) -> None:
    x, _ = volumes()
    found, _ = mixed(labels=labels, fraction=1)
    assert bool(found[x == 0].any()) == on_air


@pytest.mark.parametrize("told", [{"fraction": 1, "share": 0}, {"fraction": 0}])
def test_no_share_and_no_fraction_change_nothing(told: dict[str, int]) -> None:
    draws, plain = [Draw(0, 0, 0)], Volumes([case(5)])
    found = Collated(plain, 1, 2, None, Diffgen.model_validate(told))(draws)
    assert torch.equal(found.x.float(), plain.collate([0]).x.float())
    assert torch.equal(found.y, plain.collate([0]).y)


@pytest.mark.parametrize(("depth", "side"), [(2, 32), (5, 14)])
def test_volumes_too_small_for_a_texture_stay_as_they_are(depth: int, side: int) -> None:
    whole = case(depth, side=side)
    assert whole.y is not None
    x = whole.x.transpose(1, 0, 2, 3)[None]
    found, marked = mixed_in(x, whole.y[None], Diffgen(fraction=1), [chances(0, 0, 0)], [x.shape[2]])
    assert np.array_equal(found, x.astype(np.float32))
    assert np.array_equal(marked, whole.y[None])


def test_a_texture_does_not_depend_on_who_else_is_in_the_batch() -> None:
    x, y = volumes()
    depth = x.shape[2]
    taller = np.concatenate([x, np.zeros_like(x)], axis=2), np.concatenate([y, np.zeros_like(y)], axis=1)
    alone = mixed_in(x, y, Diffgen(fraction=1), [chances(0, 0, 0)], [depth])
    among = mixed_in(*taller, Diffgen(fraction=1), [chances(0, 0, 0)], [depth])
    np.testing.assert_array_equal(among[0][:, :, :depth], alone[0])
    np.testing.assert_array_equal(among[1][:, :depth], alone[1])
    assert alone[1].sum() > y.sum()
