"""Diffgen: the same as loops written from its description, its statistics, and labels that fit what is seen."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest

from strokelens.errors import CaseError
from strokelens.phantom.diffgen import (
    ANCESTOR,
    DEFAULT,
    LESION,
    TEXTURE,
    Draws,
    Growth,
    Labels,
    Mode,
    Recipe,
    covered,
    draw,
    generate,
    lesion_of,
    middle_weights,
    mixed,
    random_lesion,
    random_texture,
    texture_of,
)
from tests.oracles import diffgen as slow

SMALL = (32, 40, 19)


@pytest.mark.parametrize("mode", ["fixed", "random"])
@pytest.mark.parametrize("labels", ["shared", "union", "first"])
def test_a_sample_is_that_of_the_loops(mode: Mode, labels: Labels) -> None:
    recipe = Recipe(mode, labels, channels=2)
    healthy, unhealthy, label = slow.sample(np.random.default_rng(5), recipe, SMALL)
    ours = generate(np.random.default_rng(5), recipe, shape=SMALL)
    assert ours.healthy == pytest.approx(healthy, abs=1e-6)
    assert ours.unhealthy == pytest.approx(unhealthy, abs=1e-6)
    assert np.array_equal(ours.label, label)


def test_each_walk_covers_what_the_loops_say_once() -> None:
    walks = random_texture(np.random.default_rng(3))
    draws = draw(np.random.default_rng(4), walks, 6)
    codes = covered(draws, walks.growth, (24, 28), (2, -3))
    for walk in range(0, walks.count, 37):
        cells = np.zeros(24 * 28, int)
        np.add.at(cells, codes[codes // (24 * 28) == walk] % (24 * 28), 1)
        assert np.array_equal(cells.reshape(24, 28), slow.binary_map(draws, walk, walks.growth, (24, 28), (2, -3)))


def test_growth_is_as_probable_as_described() -> None:
    """Of the golden values: p(1) = 1.04 is certain, p(2) = 0.5236, p(3) = 0.3497."""
    tries = np.random.default_rng(0).random((200_000, 3))
    lengths = Growth(3, 3).lengths(tries, 3)
    assert lengths.min() == 1
    assert (lengths >= 3).mean() == pytest.approx(0.3497, abs=0.005)
    assert (lengths >= 2).mean() == pytest.approx(1 - (1 - 0.3497) * (1 - 0.5236), abs=0.005)


def test_what_is_less_probable_than_the_threshold_is_never_tried() -> None:
    assert Growth(6, 6, threshold=0.4).lengths(np.zeros((1, 6)), 6).tolist() == [2]


@pytest.mark.parametrize(("direction", "steps"), [(2, {0, 1, 2}), (-2, {-1, -2}), (0, {0})])
def test_a_walk_steps_as_far_as_its_direction_says(direction: int, steps: set[int]) -> None:
    rng = np.random.default_rng(1)
    count = 400
    draws = Draws(
        start=np.zeros((1, 2), np.int64),
        count=np.array([count]),
        direction=np.full((1, 2), direction),
        axis=np.zeros((1, count), np.int64),
        fraction=rng.random((1, count)),
        tries=np.ones((1, count + 1, 2, 2, 1), np.float32),
    )
    places = [place[0] for place in slow.way(draws, 0)]
    assert set(np.diff(places)) == steps
    codes = covered(draws, Growth(0, 0), (2000, 3), (0, 0))
    assert set(codes // 3) == {1000 + place for place in places if -1000 <= place < 1000}


def test_textures_reach_from_0_to_1_and_lie_in_the_middle() -> None:
    texture = texture_of(np.random.default_rng(2), DEFAULT, (192, 192))
    assert (texture.min(), texture.max()) == (0, 1)
    assert texture[48:144, 48:144].sum() > 0.7 * texture.sum()


def test_lesions_lie_in_the_five_middle_slices_and_are_the_same_in_each() -> None:
    label = generate(np.random.default_rng(0)).label
    assert label.shape == (192, 192, 19)
    assert np.flatnonzero(label.any(axis=(0, 1))).tolist() == [7, 8, 9, 10, 11]
    assert (label[:, :, 7:12] == label[:, :, 9:10]).all()


def test_the_middle_slice_is_whole_and_the_ends_are_a_dim_square() -> None:
    sample = generate(np.random.default_rng(0))
    assert middle_weights(19)[[0, 9, 18]].tolist() == [0, 1, 0]
    for k in (0, 18):
        rows, columns = np.nonzero(sample.healthy[0, :, :, k])
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (90, 101, 90, 101)
        assert 0.1 <= sample.healthy[0, 95, 95, k] <= 0.3


def test_a_single_slice_is_the_one_that_was_drawn() -> None:
    assert generate(np.random.default_rng(0), shape=(32, 32, 1)).healthy.max() == 1


def test_the_default_label_is_where_a_channel_shows_the_lesion() -> None:
    for seed in range(5):
        sample = generate(np.random.default_rng(seed), shape=(96, 96, 19))
        changed = (np.abs(sample.unhealthy - sample.healthy) > 1e-6)[..., 9].any(axis=0)
        label = sample.label[..., 9].astype(bool)
        assert changed.any()
        assert (changed & label).sum() == (changed & (sample.healthy[..., 9].min(axis=0) <= 0.9)).sum()
        assert (sample.healthy[..., 9][:, label].max(axis=0) == 0).sum() == (label & ~changed).sum()


def test_the_ancestors_label_leaves_the_lesions_of_other_channels_out() -> None:
    shares = []
    for seed in range(8):
        sample = generate(np.random.default_rng(seed), ANCESTOR)
        changed = np.abs(sample.unhealthy - sample.healthy)[..., 9] > 1e-6
        label = sample.label[..., 9].astype(bool)
        shares.append((changed[1:].any(axis=0) & label).sum() / changed[1:].any(axis=0).sum())
    assert np.median(shares) < 0.3


def test_lesions_are_darker_as_often_as_brighter() -> None:
    signs = []
    for seed in range(60):
        sample = generate(np.random.default_rng(seed), Recipe(channels=1), shape=(96, 96, 3))
        signs.append(np.sign((sample.unhealthy - sample.healthy).sum()))
    assert 15 <= signs.count(1.0) <= 45
    assert signs.count(1.0) + signs.count(-1.0) >= 58


def test_on_small_grids_the_ancestor_loses_parts_of_lesions_that_we_keep() -> None:
    def area(recipe: Recipe) -> float:
        areas = [lesion_of(np.random.default_rng(seed), recipe, (48, 48)).sum() for seed in range(100)]
        return float(np.mean(areas))

    assert area(ANCESTOR) < 0.9 * area(DEFAULT)


def test_random_parameters_keep_to_their_ranges() -> None:
    for seed in range(50):
        texture, lesion = random_texture(np.random.default_rng(seed)), random_lesion(np.random.default_rng(seed))
        assert 360 <= texture.count <= 600
        assert 11 <= texture.steps[0] <= 30
        assert 50 <= texture.steps[1] <= 69
        assert -4 <= texture.directions[0] <= -2
        assert 3 <= texture.directions[1] <= 5
        assert 20 <= texture.jitter <= 59
        assert 6 <= lesion.count <= 23
        assert 1 <= lesion.jitter <= 5
        for growth in (texture.growth, lesion.growth):
            assert {growth.forward, growth.backward} <= set(range(2, 7))
            assert 0.005 <= growth.q <= 0.2
            assert 0.1 <= growth.threshold <= 0.4
            assert 0.5 <= growth.block <= 1


def test_fixed_parameters_are_the_ancestors() -> None:
    assert (TEXTURE.count, TEXTURE.steps, TEXTURE.directions, TEXTURE.jitter) == (480, (30, 50), (-2, 3), 30)
    assert Growth(2, 2, 0.01, 0.1, 0.95) == TEXTURE.growth
    assert (LESION.steps, LESION.jitter) == ((10, 20), 4)
    assert Growth(2, 1, 0.01, 0.1, 1.0) == LESION.growth


def test_the_same_numbers_give_the_same_sample() -> None:
    one, two = (generate(np.random.default_rng(9), shape=SMALL) for _ in range(2))
    assert one.unhealthy.tobytes() == two.unhealthy.tobytes()


def test_mixing_adds_a_sample_and_joins_the_lesions() -> None:
    sample = generate(np.random.default_rng(0), shape=(32, 32, 19))
    truth = np.zeros((32, 32, 19), np.uint8)
    truth[0, 0, 0] = 1
    images, label = mixed(np.ones((6, 32, 32, 19), np.float32), truth, sample, fraction=0.5)
    assert images == pytest.approx(1 + 0.5 * sample.unhealthy)
    assert label.sum() == sample.label.sum() + 1


def test_a_grid_that_is_too_small_is_told(as_a_user: Callable[[], AbstractContextManager[None]]) -> None:
    with as_a_user(), pytest.raises(CaseError, match=r"^diffgen needs at least 16×16×1 voxels, not 8×32×19$"):
        generate(np.random.default_rng(0), shape=(8, 32, 19))
