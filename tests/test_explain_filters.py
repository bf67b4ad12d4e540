"""Filters of relevance by amplitude: the ancestor's vectors, what is put right, and the words of the command line."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from strokelens.explain.filters import GRID, Clamp, Filter, Pass, Raw, Standard, filter_named, filtered

SHARES = st.floats(0, 1, width=32)
MAPS = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=12).map(lambda each: torch.tensor([each]))
BOUNDS = st.tuples(SHARES, SHARES).map(lambda ends: (min(ends), max(ends)))


def maps(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pass_is_the_ancestors(legacy: bool) -> None:
    found = Pass((0, 0.6), (-0.6, -0.0), legacy)(maps(0, 0.1, 0.5, 1, -0.1, -0.6, -0.61))
    assert torch.equal(found, maps(0, 0.1, 0.5, 0, -0.1, -0.6, 0))


def test_a_legacy_clamp_is_the_ancestors_and_lifts_zeros() -> None:
    found = Clamp((0.3, 1), (-1, -0.3), legacy=True)(maps(0, 0.1, 0.5, 1, -0.1, -0.6))
    assert torch.equal(found, maps(0.3, 0.3, 0.5, 1, -0.3, -0.6))


def test_a_clamp_leaves_zeros() -> None:
    found = Clamp((0.3, 1), (-1, -0.3))(maps(0, 0.1, 0.5, 1, -0.1, -0.6))
    assert torch.equal(found, maps(0, 0.3, 0.5, 1, -0.3, -0.6))


@pytest.mark.parametrize("kind", [Pass, Clamp])
@pytest.mark.parametrize("low", [0.0, 0.3])
def test_a_map_of_zeros_became_nan_with_the_ancestor(kind: type[Pass | Clamp], low: float) -> None:
    assert kind.mirrored(low, 1, legacy=True)(torch.zeros(2, 3, 4)).isnan().all()


@pytest.mark.parametrize("each", [*GRID, Standard(), Clamp.mirrored(0.3, 1)], ids=str)
def test_a_map_of_zeros_stays_one(each: Filter) -> None:
    assert torch.equal(each(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


def test_standard_is_r_by_its_norm() -> None:
    assert torch.allclose(Standard()(maps(3, 0, -4)), maps(0.6, 0, -0.8))


def test_bounds_are_shares_of_each_maps_own_largest_amplitude() -> None:
    both = torch.tensor([[1.0, -2.0, 4.0], [10.0, -40.0, 20.0]])
    assert Pass.mirrored(0.5, 1)(both).tolist() == [[0, -2, 4], [0, -40, 20]]
    assert Clamp.mirrored(0, 0.5)(both).tolist() == [[1, -2, 2], [10, -20, 20]]


def test_each_sign_has_its_own_interval() -> None:
    found = Pass((0, 0.5), (-1, -0.5))(maps(0.4, 1, -0.4, -0.6))
    assert torch.equal(found, maps(0.4, 0, 0, -0.6))
    assert torch.equal(Clamp((0.2, 0.5), (-0.3, -0.1))(maps(0.1, 1, -0.05, -0.6)), maps(0.2, 0.5, -0.1, -0.3))


@given(relevance=MAPS, ends=BOUNDS, negative=BOUNDS)
def test_a_pass_keeps_what_its_intervals_hold_one_value_after_the_other(
    relevance: Tensor, ends: tuple[float, float], negative: tuple[float, float]
) -> None:
    for kept in (Pass(ends, (-negative[1], -negative[0])), Pass.mirrored(*ends)):
        for one, found in zip(relevance, kept(relevance), strict=True):
            largest = one.abs().amax()
            bounds = one.new_tensor([*kept.positive, *kept.negative]) * largest
            for value, left in zip(one.flatten(), found.flatten(), strict=True):
                low, high = bounds[:2] if value >= 0 else bounds[2:]
                assert left == (value if low <= value <= high else 0)


@given(relevance=MAPS)
def test_a_pass_of_everything_changes_nothing(relevance: Tensor) -> None:
    assert torch.equal(Pass.mirrored(0, 1)(relevance), relevance)


@given(relevance=MAPS, low=SHARES)
def test_filters_that_keep_the_largest_amplitude_do_nothing_twice(relevance: Tensor, low: float) -> None:
    for kind in (Pass, Clamp):
        once = kind.mirrored(low, 1)(relevance)
        assert torch.equal(kind.mirrored(low, 1)(once), once)


@given(relevance=MAPS, ends=BOUNDS)
def test_no_filter_makes_nan_or_turns_a_sign(relevance: Tensor, ends: tuple[float, float]) -> None:
    for kind in (Pass, Clamp):
        found = kind.mirrored(*ends)(relevance)
        assert found.isfinite().all()
        assert (found * relevance >= 0).all()


@given(relevance=MAPS)
def test_maps_filtered_together_are_those_filtered_alone(relevance: Tensor) -> None:
    several = [*GRID, Standard(), Clamp.mirrored(0.1, 0.5), Pass.mirrored(0, 1, legacy=True)]
    together = filtered(relevance.expand(len(several), -1), several)
    alone = torch.cat([each(relevance) for each in several])
    assert torch.allclose(together, alone, rtol=1e-6, atol=0, equal_nan=True)


def test_gradients_flow_through_what_is_kept() -> None:
    relevance = torch.tensor([[1.0, 2.0, -4.0], [0.0, 0.0, 0.0]], requires_grad=True)
    for each in (Pass.mirrored(0, 0.5), Clamp.mirrored(0, 0.75), Standard()):
        (gradient,) = torch.autograd.grad(each(relevance)[:, :2].sum(), relevance)
        assert gradient.isfinite().all()
        assert gradient[0, 0] > 0


def test_the_grid_is_the_ancestors_sweep() -> None:
    assert [str(each) for each in GRID] == [
        *("raw", "pass:0:0.05", "pass:0:0.1", "pass:0:0.2", "pass:0:0.4", "pass:0:0.6"),
        *("pass:0.05:1", "pass:0.1:1", "pass:0.2:1", "pass:0.4:1", "pass:0.6:1"),
        *("clamp:0:0.05", "clamp:0:0.1", "clamp:0:0.2", "clamp:0:0.4", "clamp:0:0.6"),
    ]


@given(ends=BOUNDS, negative=BOUNDS, clamped=st.booleans())
def test_every_word_reads_back(ends: tuple[float, float], negative: tuple[float, float], clamped: bool) -> None:
    kind = Clamp if clamped else Pass
    for each in (*GRID, Standard(), kind.mirrored(*ends), kind(ends, (-negative[1], -negative[0]))):
        assert filter_named(str(each)) == each


def test_a_word_may_mean_the_ancestors_filter() -> None:
    assert filter_named("pass:0:0.4", legacy=True) == Pass.mirrored(0, 0.4, legacy=True)
    assert filter_named("raw", legacy=True) == Raw()


@pytest.mark.parametrize(
    "word", ["", "blur", "pass", "pass:0", "pass:0:x", "clamp:0.5:0.2", "pass:0:2", "pass:0:1:0", "pass:nan:1"]
)
def test_a_word_that_is_none_is_answered_with_the_forms(word: str) -> None:
    with pytest.raises(ValueError, match=rf"no filter is called '{word}'; there are raw, standard, pass:LOW:HIGH or"):
        filter_named(word)


def test_intervals_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"their lower end first, not \(0.5, 0.2\) and \(-1, 0\)"):
        Pass((0.5, 0.2), (-1, 0))
