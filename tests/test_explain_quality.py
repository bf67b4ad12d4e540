"""How good relevance is: by hand, by slow and obvious versions, and by laws; and networks whose answer is known."""

from collections.abc import Callable
from math import isfinite, isnan, nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor, nn

from strokelens.explain.faithful import (
    Block,
    Perturbation,
    ablation,
    agreement,
    deviation,
    emptied,
    infidelity,
    insertion,
    max_sensitivity,
    perturbation,
    spearman,
    uniform,
)
from strokelens.explain.places import (
    inclusivity,
    mass_accuracy,
    mass_accuracy_by_channel,
    mass_by_region,
    pointing_hit,
    rank_accuracy,
    shares,
)
from strokelens.explain.randomised import cascade, constant_map, outermost, random_map
from strokelens.explain.spikes import gini, spikes
from tests.commands import AsAUser

Map = Float[np.ndarray, "c *space"]

MASK = np.zeros((3, 4, 5), bool)
MASK[1, 1:3, 1:4] = True
UNIFORM = np.ones((2, 3, 4, 5))
ZERO = np.zeros((2, 3, 4, 5))


def one_hot(*at: int) -> Map:
    """Two channels, all relevance in one voxel of one of them."""
    relevance = ZERO.copy()
    relevance[at] = 3
    return relevance


def drawn(seed: int = 0, shape: tuple[int, ...] = (2, 3, 4, 5)) -> Map:
    return np.random.default_rng(seed).normal(size=shape)


maps = arrays.arrays(np.float64, (3, 4, 5), elements=st.integers(-4, 4).map(float))
masks = arrays.arrays(np.bool_, (4, 5))


# Where relevance lies


@given(maps)
def test_shares_sum_to_one_or_are_unknown(relevance: Map) -> None:
    found = shares(relevance)
    for each in (found.signed, found.positive, found.negative, found.absolute):
        assert np.isnan(each).all() or each.sum() == pytest.approx(1)


@given(maps, masks, st.integers(-3, 3))
def test_where_relevance_lies_does_not_depend_on_its_scale(
    relevance: Map, mask: Bool[np.ndarray, "i j"], power: int
) -> None:
    scaled = relevance * 2.0**power
    for measure in (mass_accuracy, rank_accuracy, pointing_hit):
        np.testing.assert_equal(measure(relevance, mask), measure(scaled, mask))
    np.testing.assert_equal(shares(relevance).absolute, shares(scaled).absolute)
    np.testing.assert_equal(inclusivity(relevance[0], mask).iou, inclusivity(scaled[0], mask).iou)


def test_a_share_of_nothing_is_unknown() -> None:
    found = shares(ZERO)
    assert np.isnan([found.signed, found.positive, found.negative, found.absolute]).all()


def test_what_cancels_has_no_signed_shares_even_when_rounding_leaves_some() -> None:
    found = shares(np.array([[0.1, 0.2, -0.3], [0.0, 0.0, 0.0]]))
    assert np.isnan(found.signed).all()
    assert found.absolute.tolist() == [1, 0]


def test_a_signed_share_may_leave_zero_to_one() -> None:
    assert shares(np.array([[3.0], [-1.0]])).signed.tolist() == [1.5, -0.5]


def test_a_uniform_map_has_the_masks_share_of_mass_ranks_and_hits() -> None:
    share = MASK.sum() / MASK.size
    assert mass_accuracy(UNIFORM, MASK) == pytest.approx(share)
    assert rank_accuracy(UNIFORM, MASK) == pytest.approx(share)
    assert pointing_hit(UNIFORM, MASK) == pytest.approx(share)


@pytest.mark.parametrize(("at", "hit"), [((0, 1, 1, 1), 1.0), ((1, 0, 0, 0), 0.0)])
def test_a_map_of_one_voxel_is_in_the_mask_or_is_not(at: tuple[int, ...], hit: float) -> None:
    assert mass_accuracy(one_hot(*at), MASK) == hit
    assert pointing_hit(one_hot(*at), MASK) == hit
    assert inclusivity(one_hot(*at)[at[0]], MASK).precision == hit


def test_mass_accuracy_by_channel_is_unknown_where_a_channel_has_none() -> None:
    assert mass_accuracy_by_channel(one_hot(0, 1, 1, 1), MASK)[0] == 1
    assert isnan(mass_accuracy_by_channel(one_hot(0, 1, 1, 1), MASK)[1])


def expected_rank_accuracy(relevance: Map, mask: Bool[np.ndarray, "*space"]) -> float:
    """Ranks voxel by voxel; a voxel that ties for the last places counts by its chance to get one."""
    summed, inside = relevance.sum(0).ravel(), mask.ravel()
    hits = 0.0
    for value, here in zip(summed, inside, strict=True):
        higher, tied = int((summed > value).sum()), int((summed == value).sum())
        chance = min(max((inside.sum() - higher) / tied, 0), 1)
        hits += chance if here else 0
    return hits / inside.sum() if inside.any() else nan


@given(maps, masks)
def test_rank_accuracy_is_what_ranking_voxel_by_voxel_gives(relevance: Map, mask: Bool[np.ndarray, "i j"]) -> None:
    assert rank_accuracy(relevance, mask) == pytest.approx(expected_rank_accuracy(relevance, mask), nan_ok=True)


@pytest.mark.parametrize("measure", [rank_accuracy, pointing_hit])
def test_an_empty_mask_cannot_be_hit(measure: Callable[[Map, Bool[np.ndarray, "..."]], float]) -> None:
    assert isnan(measure(UNIFORM, MASK & ~MASK))


def test_mass_in_an_empty_mask_is_nothing_and_of_a_zero_map_unknown() -> None:
    assert mass_accuracy(UNIFORM, MASK & ~MASK) == 0
    assert isnan(mass_accuracy(ZERO, MASK))


def test_a_constant_map_includes_everything_but_not_precisely() -> None:
    found = inclusivity(UNIFORM[0], MASK)
    assert (found.recall, found.precision, found.iou) == pytest.approx((1, 0.1, 0.1))


def test_the_bright_part_is_above_the_threshold_of_the_highest_whatever_its_sign() -> None:
    relevance, mask = np.array([-4.0, 2.1, 2.0, 0.0]), np.array([True, True, False, False])
    assert inclusivity(relevance, mask).recall == 1
    assert inclusivity(relevance, mask, threshold=0.525).recall == 0.5


def test_inclusivity_without_a_bright_part_or_a_mask_is_unknown() -> None:
    zero, empty = inclusivity(ZERO[0], MASK), inclusivity(UNIFORM[0], MASK & ~MASK)
    assert (zero.recall, zero.iou) == (0, 0)
    assert isnan(zero.precision)
    assert isnan(empty.recall)
    assert isnan(inclusivity(ZERO[0], MASK & ~MASK).iou)


def test_regions_that_are_all_hold_all_mass() -> None:
    found = mass_by_region(drawn(), {"lesion": MASK, "rest": ~MASK})
    assert sum(each.absolute for each in found.values()) == pytest.approx(1)
    assert sum(each.positive for each in found.values()) == pytest.approx(1)
    assert found["lesion"].positive == pytest.approx(mass_accuracy(drawn(), MASK))


def test_a_region_has_no_share_of_what_there_is_nothing_of() -> None:
    assert isnan(mass_by_region(UNIFORM, {"lesion": MASK})["lesion"].negative)


def test_regions_must_not_overlap() -> None:
    with pytest.raises(ValueError, match="lesion and rim have 6 voxels in common; take them out of one"):
        mass_by_region(UNIFORM, {"lesion": MASK, "rim": MASK})


def test_what_does_not_fit_or_is_not_finite_is_told(as_a_user: AsAUser) -> None:
    with as_a_user(), pytest.raises(ValueError, match=r"the mask has voxels \(4, 5\) but relevance has \(3, 4, 5\)"):
        mass_accuracy(UNIFORM, MASK[0])
    with pytest.raises(ValueError, match="1 of 120 values of relevance are not finite"):
        shares(np.where(one_hot(0, 0, 0, 0) > 0, nan, UNIFORM))


# How it is spread


def test_spikes_are_what_numpy_and_scipy_find() -> None:
    values = drawn(shape=(4001,))
    values[:500] = 0
    found, size = spikes(torch.from_numpy(values)), np.abs(values)
    assert found.peak == size.max()
    assert found.peak_to_median == pytest.approx(size.max() / np.median(size[size > 0]))
    assert found.kurtosis == pytest.approx(stats.kurtosis(values))
    assert found.top_share == pytest.approx(np.sort(size)[-5:].sum() / size.sum())


def test_spikes_of_no_relevance_are_unknown() -> None:
    found = spikes(torch.zeros(3, 4))
    assert found.peak == 0
    assert np.isnan([found.peak_to_median, found.kurtosis, found.top_share]).all()
    assert isnan(spikes(torch.zeros(0)).peak)


def test_a_constant_map_has_no_kurtosis() -> None:
    found = spikes(torch.full((3, 4, 5), 0.1))
    assert found.peak_to_median == 1
    assert isnan(found.kurtosis)


def test_gini_is_zero_for_a_uniform_map_and_near_one_for_a_single_voxel() -> None:
    assert gini(torch.from_numpy(UNIFORM)) == pytest.approx(0)
    assert gini(torch.from_numpy(one_hot(0, 1, 1, 1))) == pytest.approx(1 - 1 / 120)
    assert isnan(gini(torch.zeros(3)))


@given(maps)
def test_gini_is_half_the_mean_difference_of_any_two_over_the_mean(relevance: Map) -> None:
    size = np.abs(relevance).ravel()
    expected = np.abs(size[:, None] - size).mean() / (2 * size.mean()) if size.any() else nan
    assert gini(torch.from_numpy(relevance)) == pytest.approx(expected, abs=1e-12, nan_ok=True)


# Whether it is faithful


class Linear:
    """Σ w x, which remembers how many images it was asked about."""

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.asked = weight, 0

    def __call__(self, images: Float[Tensor, "b c *space"]) -> Float[Tensor, "b"]:
        self.asked += len(images)
        return (images * self.weight).flatten(1).sum(1)


def curved(images: Float[Tensor, "b c *space"]) -> Float[Tensor, "b"]:
    return torch.tanh(images).flatten(1).sum(1) + images.square().flatten(1).mean(1)


def planted() -> tuple[Linear, Tensor, Tensor]:
    """An answer that reads only channels 0 and 4 of six, an image, and its base."""
    weight = torch.zeros(6, 4, 5, 3, dtype=torch.float64)
    weight[0], weight[4] = -1, 2
    image = torch.from_numpy(drawn(shape=(6, 4, 5, 3)))
    return Linear(weight), image, torch.linspace(-1, 1, 6, dtype=torch.float64)


def by_loops(image: Tensor, relevance: Tensor, base: Tensor, block: Block, steps: int) -> Perturbation:
    """Region perturbation of `curved` in two dimensions, block after block."""
    blocks = [
        (c, i, j)
        for c in range(image.shape[0])
        for i in range(0, image.shape[1], block[0])
        for j in range(0, image.shape[2], block[1])
    ]

    def place(at: tuple[int, int, int]) -> tuple[int, slice, slice]:
        return at[0], slice(at[1], at[1] + block[0]), slice(at[2], at[2] + block[1])

    ranked = sorted(blocks, key=lambda at: -float(relevance[place(at)].sum()))
    points = [round(len(blocks) * step / steps) for step in range(steps + 1)]
    curves = []
    for order in (ranked, ranked[::-1]):
        curve = []
        for count in points:
            left = image.clone()
            for at in order[:count]:
                left[place(at)] = base[at[0]]
            curve.append(float(curved(left[None])[0]))
        curves.append((np.array(curve) - curve[-1]) / (curve[0] - curve[-1]))
    return Perturbation(np.array(points) / len(blocks), *curves)


@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (5, 3), (40, 64)])
def test_perturbation_is_what_removing_block_after_block_gives(steps: int, batch: int) -> None:
    image, relevance = (torch.from_numpy(drawn(seed, (2, 7, 9))) for seed in (1, 2))
    base = torch.tensor([0.3, -0.4], dtype=torch.float64)
    found = perturbation(curved, image, relevance, base, block=(3, 4), steps=steps, batch=batch)
    expected = by_loops(image, relevance, base, (3, 4), steps)
    np.testing.assert_allclose(found.removed, expected.removed)
    np.testing.assert_allclose(found.morf, expected.morf, atol=1e-12)
    np.testing.assert_allclose(found.lerf, expected.lerf, atol=1e-12)


def test_the_gap_of_a_linear_answer_is_that_by_hand() -> None:
    """Drops of 4, 3, 2 and 1 of 10: curves 1, .6, .3, .1, 0 and 1, .9, .7, .4, 0 have mean heights .375 and .625."""
    image = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    found = perturbation(Linear(torch.ones(1)), image, image, torch.zeros(1), block=(1, 1), steps=4)
    assert (found.area_morf, found.area_lerf, found.gap) == pytest.approx((0.375, 0.625, 0.25))


def test_a_random_map_has_no_gap() -> None:
    answer, image = Linear(torch.ones(1)), torch.from_numpy(drawn(shape=(2, 6, 6))).abs()
    rng = np.random.default_rng(0)
    gaps = [
        perturbation(answer, image, random_map((2, 6, 6), rng), torch.zeros(2), block=(1, 1), batch=40).gap
        for _ in range(40)
    ]
    assert float(np.mean(gaps)) == pytest.approx(0, abs=0.05)


def test_curves_that_leave_zero_to_one_are_not_cut() -> None:
    image = torch.tensor([[[3.0, -2.0]]])
    found = perturbation(Linear(torch.ones(1)), image, image, torch.zeros(1), block=(1, 1), steps=2)
    assert found.morf.tolist() == [1, -2, 0]
    assert found.lerf.tolist() == [1, 3, 0]
    assert found.gap == 2.5


@pytest.mark.parametrize(("most", "images"), [(1.0, 10), (0.5, 12)])
def test_perturbation_asks_about_two_images_a_step(most: float, images: int) -> None:
    answer, image, base = planted()
    perturbation(answer, image, image, base, block=(2, 2, 2), steps=5, most=most)
    assert answer.asked == images


def test_no_point_is_asked_about_twice_when_there_are_more_steps_than_blocks() -> None:
    answer, image, base = planted()
    perturbation(answer, image, image, base, block=(4, 5, 3), steps=50)
    assert answer.asked == 2 * 6


def test_blocks_have_four_voxels_along_each_axis_unless_told() -> None:
    answer, image, base = planted()
    plain, told = (perturbation(answer, image, image, base, block=block, steps=4) for block in (None, (4, 4, 4)))
    assert plain.gap == told.gap


def test_perturbation_up_to_half_has_the_first_half_of_the_curves() -> None:
    answer, image, base = planted()
    whole = perturbation(answer, image, image, base, block=(1, 1, 1), steps=10)
    few = perturbation(answer, image, image, base, block=(1, 1, 1), steps=5, most=1e-4)  # a block is removed, still
    assert few.removed[-1] > 0
    assert isfinite(few.gap)
    half = perturbation(answer, image, image, base, block=(1, 1, 1), steps=5, most=0.5)
    np.testing.assert_allclose(half.morf, whole.morf[:6])
    np.testing.assert_allclose(half.lerf, whole.lerf[:6])
    assert half.removed[-1] == 0.5


def test_a_map_without_channels_removes_all_channels_of_a_block_together() -> None:
    image, where = torch.ones(3, 4, 4), torch.from_numpy(drawn(shape=(1, 4, 4)))
    found = perturbation(
        lambda x: x.amax(1).sum((1, 2)), image, where.expand(3, 4, 4), torch.zeros(3), block=(1, 1), steps=16
    )
    np.testing.assert_allclose(found.morf, np.linspace(1, 0, 17))


def test_perturbation_of_an_answer_that_never_changes_is_unknown() -> None:
    image = torch.ones(1, 4, 4)
    found = perturbation(Linear(torch.zeros(1)), image, image, torch.zeros(1), block=(2, 2), steps=2)
    assert isnan(found.gap)
    assert isnan(insertion(Linear(torch.zeros(1)), image, image, torch.zeros(1), block=(2, 2), steps=2))


@pytest.mark.parametrize("steps", [3, 7])
def test_insertion_is_the_area_of_removing_the_least_relevant_first(steps: int) -> None:
    image, relevance = (torch.from_numpy(drawn(seed, (2, 7, 9))) for seed in (1, 2))
    found = insertion(curved, image, relevance, torch.zeros(2), block=(2, 2), steps=steps)
    assert found == pytest.approx(
        perturbation(curved, image, relevance, torch.zeros(2), block=(2, 2), steps=steps).area_lerf
    )


def test_a_planted_network_has_all_relevance_and_every_drop_in_what_it_reads() -> None:
    answer, image, base = planted()
    found = shares(((image - emptied(image, base)) * answer.weight).numpy()).absolute
    assert found[[0, 4]].sum() == pytest.approx(1)
    drops = ablation(answer, image, base, batch=4)
    assert (drops[[1, 2, 3, 5]] == 0).all()
    assert (drops[[0, 4]] != 0).all()


def test_ablation_is_the_drop_when_each_channel_alone_is_removed() -> None:
    _, image, base = planted()
    for channel, drop in enumerate(ablation(curved, image, base, batch=2)):
        without = image.clone()
        without[channel] = base[channel]
        assert float(drop) == pytest.approx(float(curved(image[None]) - curved(without[None])))


def test_agreement_of_what_is_constant_or_zero_is_unknown() -> None:
    found = agreement(torch.zeros(3), np.array([1.0, 2.0, 3.0]))
    assert np.isnan([found.spearman, found.cosine]).all()


@given(arrays.arrays(np.float64, (2, 8), elements=st.integers(0, 5).map(float)))
def test_rank_correlation_is_scipys(pair: Float[np.ndarray, "2 8"]) -> None:
    constant = any(len(set(each)) == 1 for each in pair)
    expected = nan if constant else stats.spearmanr(*pair).statistic
    assert spearman(*pair) == pytest.approx(expected, nan_ok=True)


def test_max_sensitivity_of_input_x_gradient_is_the_largest_relative_noise() -> None:
    image, weight = torch.from_numpy(drawn(1)), torch.from_numpy(drawn(2))
    found = max_sensitivity(
        lambda x: x * weight, image, image * weight, np.random.default_rng(5), radius=0.2, samples=4
    )
    rng = np.random.default_rng(5)
    noises = [uniform(image, rng) * 0.2 * deviation(image) * weight for _ in range(4)]
    assert found == pytest.approx(max(float(each.norm()) for each in noises) / float((image * weight).norm()))


def test_sensitivity_of_a_zero_map_is_unknown() -> None:
    image = torch.ones(1, 4, 4)
    assert isnan(max_sensitivity(torch.zeros_like, image, torch.zeros_like(image), np.random.default_rng(0)))


def test_a_linear_answers_contributions_are_never_unfaithful() -> None:
    answer, image, base = planted()
    relevance = (image - emptied(image, base)) * answer.weight
    found = infidelity(answer, image, relevance, base, np.random.default_rng(0), block=(2, 2, 2), batch=16)
    assert (found.plain, found.scaled) == pytest.approx((0, 0), abs=1e-20)


@pytest.mark.parametrize(("times", "plain", "scaled"), [(3.0, 4.0, 0.0), (-1.0, 4.0, 1.0), (0.0, 1.0, 1.0)])
def test_only_plain_infidelity_depends_on_the_scale_and_none_forgives_the_sign(
    times: float, plain: float, scaled: float
) -> None:
    answer, image, base = planted()
    relevance = times * (image - emptied(image, base)) * answer.weight
    found = infidelity(answer, image, relevance, base, np.random.default_rng(0), block=(2, 2, 2))
    assert (found.plain, found.scaled) == pytest.approx((plain, scaled), abs=1e-12)


def test_infidelity_of_an_answer_that_never_changes_is_unknown() -> None:
    image = torch.ones(1, 4, 4)
    found = infidelity(Linear(torch.zeros(1)), image, image, torch.zeros(1), np.random.default_rng(0))
    assert np.isnan([found.plain, found.scaled]).all()


def test_what_cannot_be_perturbed_is_told(as_a_user: AsAUser) -> None:
    answer, image, base = planted()
    with pytest.raises(ValueError, match=r"blocks of \(2, 2\) in an image of \(4, 5, 3\)"):
        perturbation(answer, image, image, base, block=(2, 2))
    with pytest.raises(ValueError, match=r"0 steps up to 1\.0 of the blocks"):
        perturbation(answer, image, image, base, steps=0)
    with pytest.raises(ValueError, match=r"20 steps up to 1\.5 of the blocks"):
        perturbation(answer, image, image, base, most=1.5)
    with pytest.raises(ValueError, match="0 steps; give at least 1"):
        insertion(answer, image, image, base, steps=0)
    with pytest.raises(ValueError, match="12 of 12 blocks have no finite relevance"):
        perturbation(answer, image, image * nan, base)
    with as_a_user(), pytest.raises(ValueError, match="give one for each channel, or voxel"):
        ablation(answer, image, base[:5])
    with as_a_user(), pytest.raises(ValueError, match=r"relevance of \(1, 4, 5, 3\) for an image of \(6, 4, 5, 3\)"):
        perturbation(answer, image, image[:1], base)


# Whether it depends on what was learned


class Small(nn.Module):
    """Registered in another order than executed; a buffer that is not stored, and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(4, 1, 1)
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.never = nn.Linear(2, 2)
        self.register_buffer("count", torch.zeros(1), persistent=False)

    def forward(self, x: Float[Tensor, "b 2 i j"]) -> Float[Tensor, "b i j"]:
        self.get_buffer("count").add_(1)
        inner = self.norm(torch.relu(self.twice(torch.relu(self.first(x * self.scale[:, None, None])))))
        logits: Tensor = self.head(torch.relu(self.twice(inner)))
        return logits[:, 0]


def small() -> tuple[Small, Tensor, Callable[[], Tensor]]:
    """The network, an image, and its input × gradient."""
    torch.manual_seed(0)
    net, image = Small().train(), torch.randn(2, 8, 8)

    def explain() -> Tensor:
        x = image[None].clone().requires_grad_()
        return (x * torch.autograd.grad(net(x).sum(), x)[0])[0]

    return net, image, explain


def state(net: nn.Module) -> list[Tensor]:
    return [each.detach().clone() for each in (*net.parameters(), *net.buffers())]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


LAYERS = ("", "head", "twice", "norm", "first")


def test_layers_come_in_the_order_of_their_last_execution_from_the_output_on() -> None:
    net, image, _ = small()
    assert outermost(net, lambda: net(image[None])) == LAYERS


def test_finding_the_order_leaves_the_network_as_it_was_also_when_it_fails() -> None:
    net, image, _ = small()
    before = state(net)
    outermost(net, lambda: net(image[None]))
    with pytest.raises(RuntimeError):
        outermost(net, lambda: net(torch.zeros(1, 3, 8, 8)))
    assert same(state(net), before)
    assert not any(each._forward_hooks for each in net.modules())


def test_a_cascade_gives_every_layer_and_leaves_the_network_bit_equal() -> None:
    net, _, explain = small()
    before = state(net)
    mask = torch.ones(8, 8, dtype=torch.bool)
    found = cascade(net, explain, mask, layers=LAYERS[1:], rng=np.random.default_rng(0))
    assert tuple(each.layer for each in found) == LAYERS[1:]
    assert all(-1 <= each.signed < 0.99 and -1 <= each.absolute < 0.99 for each in found)
    assert same(state(net), before)


def test_a_cascade_that_fails_leaves_the_network_bit_equal() -> None:
    net, _, explain = small()
    before, calls = state(net), [0]

    def failing() -> Tensor:
        calls[0] += 1
        if calls[0] == 3:
            raise RuntimeError("no memory")
        return explain()

    with pytest.raises(RuntimeError, match="no memory"):
        cascade(net, failing, torch.ones(8, 8, dtype=torch.bool), layers=LAYERS, rng=np.random.default_rng(0))
    assert same(state(net), before)


def test_a_layer_gets_values_of_its_own_mean_and_deviation() -> None:
    net = nn.Linear(200, 200)
    with torch.no_grad():
        net.weight.add_(0.5)
    seen: list[Tensor] = []

    def explain() -> Tensor:
        seen.append(net.weight.detach().clone())
        return seen[-1][None]

    mask = torch.ones(200, 200, dtype=torch.bool)
    (found,) = cascade(net, explain, mask, layers=("",), rng=np.random.default_rng(0))
    assert float(seen[1].mean()) == pytest.approx(float(seen[0].mean()), abs=1e-3)
    assert float(seen[1].std()) == pytest.approx(float(seen[0].std()), rel=0.02)
    assert abs(found.signed) < 0.02


def test_a_cascade_compares_within_the_mask_alone() -> None:
    net, _, explain = small()
    mask = torch.zeros(8, 8, dtype=torch.bool)
    (found,) = cascade(net, explain, mask, layers=("head",), rng=np.random.default_rng(0))
    assert isnan(found.signed)


def test_a_map_whose_sign_turned_has_a_signed_correlation_of_minus_one() -> None:
    net, sign = nn.Linear(1, 1), [1.0]
    image = torch.from_numpy(drawn(shape=(1, 4, 4)))

    def explain() -> Tensor:
        sign[0] *= -1
        return sign[0] * image

    (found,) = cascade(net, explain, torch.ones(4, 4, dtype=torch.bool), layers=("",), rng=np.random.default_rng(0))
    assert (found.signed, found.absolute) == pytest.approx((-1, 1))


def test_baselines_know_nothing() -> None:
    noise = random_map((2, 30, 30), np.random.default_rng(0)).numpy()
    mask = np.zeros((30, 30), bool)
    mask[:3] = True
    assert mass_accuracy(noise, mask) == pytest.approx(0.1, abs=0.02)
    assert rank_accuracy(constant_map((2, 30, 30)).numpy(), mask) == pytest.approx(0.1)
