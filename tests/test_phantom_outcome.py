"""What becomes of a simulated stroke: groups, the growth of the infarct, the outcome, and the ADC that shows it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strokelens.case import Segmentation
from strokelens.errors import CohortError
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA
from strokelens.phantom.diffusion import ADC, CORE_SHARE, adc_map
from strokelens.phantom.groups import GROUP_SHARES, Shares, group_in, shares_of
from strokelens.phantom.outcome import Course, draw_course, draw_outcome, final_infarct, penumbra_lost

GRID = Grid((40, 40, 8), np.diag([2.0, 2.0, 5.0, 1.0]))


def stroke() -> Segmentation:
    """A ball of core in a ball of penumbra."""
    x, y, z = np.indices(GRID.shape) - np.array([20, 20, 4])[:, None, None, None]
    distance_mm = np.sqrt((2 * x) ** 2 + (2 * y) ** 2 + (5 * z) ** 2)
    return Segmentation(np.digitize(-distance_mm, [-28, -10]).astype(np.uint8), GRID, CORE_PENUMBRA)


@given(share=st.floats(0, 1), seed=st.integers(0, 50))
def test_the_infarct_holds_the_core_and_lies_in_core_and_penumbra(share: float, seed: int) -> None:
    truth = stroke()
    infarct = final_infarct(truth, share, np.random.default_rng(seed))
    assert infarct[truth.mask("core")].all()
    assert not infarct[~truth.mask("core", "penumbra")].any()
    assert infarct.sum() - truth.mask("core").sum() == round(share * truth.mask("penumbra").sum())


@given(shares=st.tuples(st.floats(0, 1), st.floats(0, 1)), seed=st.integers(0, 50))
def test_an_infarct_that_grew_more_holds_the_smaller_one(shares: tuple[float, float], seed: int) -> None:
    less, more = (final_infarct(stroke(), share, np.random.default_rng(seed)) for share in sorted(shares))
    assert not (less & ~more).any()


def test_the_infarct_grows_from_the_core() -> None:
    truth = stroke()
    infarct = final_infarct(truth, 0.3, np.random.default_rng(0))
    distance_mm = np.sqrt((((np.argwhere(truth.labels >= 0) - [20, 20, 4]) * [2, 2, 5]) ** 2).sum(axis=1)).reshape(
        GRID.shape
    )
    spared = truth.mask("penumbra") & ~infarct
    assert distance_mm[infarct].mean() < distance_mm[spared].mean() - 5


def test_without_a_core_nothing_dies() -> None:
    healthy = Segmentation(np.zeros(GRID.shape, np.uint8), GRID, CORE_PENUMBRA)
    assert not final_infarct(healthy, 1.0, np.random.default_rng(0)).any()


@pytest.mark.parametrize("tici", [0, 1, 2])
def test_better_reperfusion_saves_more(tici: int) -> None:
    assert penumbra_lost(Course(120, 90, tici), 0.5) > penumbra_lost(Course(120, 90, tici + 1), 0.5)


@given(minutes=st.floats(0, 500), collaterals=st.floats(0, 1), tici=st.integers(0, 3))
def test_time_costs_brain_and_collaterals_save_it(minutes: float, collaterals: float, tici: int) -> None:
    lost = penumbra_lost(Course(120, minutes, tici), collaterals)
    assert 0 <= lost <= 1
    assert lost <= penumbra_lost(Course(120, minutes + 30, tici), collaterals)
    assert lost >= penumbra_lost(Course(120, minutes, tici), min(1.0, collaterals + 0.1))


def test_courses_keep_to_their_ranges() -> None:
    courses = [draw_course(np.random.default_rng(seed)) for seed in range(300)]
    assert {course.tici for course in courses} == {0, 1, 2, 3}
    assert all(30 <= course.since_stroke_min <= 600 for course in courses)
    assert np.median([course.to_treatment_min for course in courses]) == pytest.approx(90, abs=10)


def test_a_larger_infarct_means_a_worse_outcome() -> None:
    grades = {
        ml: [draw_outcome(np.random.default_rng(seed), ml, 70)["mrs"] for seed in range(200)] for ml in (5.0, 100.0)
    }
    assert np.mean(grades[100.0]) > np.mean(grades[5.0]) + 1.5
    assert {0, 6} <= set(grades[5.0] + grades[100.0])


def tissues(**fractions: float) -> dict[str, np.ndarray]:
    """A block of one mixture."""
    names = (*ADC, "penumbra", "core")
    return {name: np.full((30, 30, 4), fractions.get(name, 0.0), np.float32) for name in names}


@pytest.mark.parametrize(
    ("mixture", "expected"),
    [
        ({"grey": 1.0}, ADC["grey"]),
        ({"white": 1.0, "core": 1.0}, CORE_SHARE * ADC["white"]),
        ({"fluid": 1.0}, ADC["fluid"]),
        ({}, 0.0),
    ],
)
def test_adc_is_that_of_the_tissue(mixture: dict[str, float], expected: float) -> None:
    found = adc_map(tissues(**mixture), np.random.default_rng(0), snr=500.0)
    assert np.median(found) == pytest.approx(expected, rel=0.01)


def test_fluid_raises_adc_by_less_than_its_share() -> None:
    found = np.median(adc_map(tissues(grey=0.5, fluid=0.5), np.random.default_rng(0), snr=500.0))
    assert ADC["grey"] < found < 0.5 * (ADC["grey"] + ADC["fluid"])


def test_groups_keep_to_their_shares_wherever_a_run_starts() -> None:
    shares: Shares = {"LVO": 77, "Non-LVO": 60, "WIS": 15}
    for first in (0, 19, 1000):
        groups = [group_in(seed, shares) for seed in range(first, first + 152)]
        assert {name: groups.count(name) for name in GROUP_SHARES} == shares
    groups = [group_in(seed, shares) for seed in range(40)]
    for name, share in shares.items():
        assert abs(groups.count(name) - 40 * share / 152) <= 1


@pytest.mark.parametrize("text", ["77:60", "0:0:0", "a:b:c", "1:2:3:4", "1:-2:3", "1:2:5000", ""])
def test_shares_that_are_none_are_told(text: str) -> None:
    with pytest.raises(CohortError, match=r"^groups are LVO:Non-LVO:WIS as in 77:60:15, whole numbers up to 1000, not"):
        shares_of(text)
