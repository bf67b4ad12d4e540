"""Threshold rules on small volumes that can be judged by eye."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float

from strokelens.errors import RuleError
from strokelens.grid import Grid
from strokelens.perfusion.hemispheres import Midplane
from strokelens.perfusion.thresholds import RULES, Condition, Reference, Rule, Side, apply_rule, rule_named

GRID = Grid((20, 12, 6), np.array([[4.0, 0, 0, -38.0], [0, 4.0, 0, -24.0], [0, 0, 5.0, 0], [0, 0, 0, 1]]))
PLANE = Midplane(GRID, (1.0, 0.0, 0.0), 0.0)
TISSUE = np.ones(GRID.shape, bool)
LEFT = np.indices(GRID.shape)[0] < 10  # world x < 0


def maps(**changes: Float[np.ndarray, "i j k"] | float) -> dict[str, Float[np.ndarray, "i j k"]]:
    """Healthy values everywhere, with a block of 8×8×4 voxels (20.5 ml) on the left that has other ones."""
    healthy = {"CBF": 50.0, "CBV": 3.5, "MTT": 4.2, "TTP": 8.0, "Tmax": 1.5}
    volumes = {name: np.full(GRID.shape, value, np.float32) for name, value in healthy.items()}
    for name, value in changes.items():
        volumes[name][1:9, 2:10, 1:5] = value
    return volumes


BLOCK_ML = 8 * 8 * 4 * 0.08


def plain(rule: str) -> Rule:
    """The rule's conditions alone, voxel by voxel."""
    return replace(RULES[rule], majority_mm=0, smallest_hypoperfused_ml=0)


def volumes_ml(rule: str, **changes: float) -> tuple[float, float]:
    found = apply_rule(plain(rule), maps(**changes), TISSUE, grid=GRID, midplane=PLANE)
    return found.volume_ml("core"), found.volume_ml("penumbra")


@pytest.mark.parametrize(
    ("rule", "core", "penumbra"),
    [
        ("strokelens", {"CBV": 1.67, "TTP": 11.6}, {"CBV": 1.69, "TTP": 11.6}),
        ("rapid", {"CBF": 14.9, "Tmax": 6.1}, {"CBF": 15.1, "Tmax": 6.1}),
        ("cereda", {"CBF": 18.9, "Tmax": 6.1}, {"CBF": 19.1, "Tmax": 6.1}),
        ("bathla", {"CBF": 19.9, "Tmax": 6.1}, {"CBF": 20.1, "Tmax": 6.1}),
        ("wintermark", {"CBV": 1.9, "MTT": 6.2}, {"CBV": 2.1, "MTT": 6.2}),
        ("campbell", {"CBF": 15.4, "Tmax": 6.1}, {"CBF": 15.6, "Tmax": 6.1}),
        ("bivard", {"CBF": 17.4, "TTP": 15.1}, {"CBF": 17.6, "TTP": 15.1}),
        ("murphy", {"CBF": 13.2, "CBV": 1.12}, {"CBF": 13.4, "CBV": 1.14}),
        ("syngo", {"CBF": 26.0, "CBV": 1.19}, {"CBF": 26.0, "CBV": 1.21}),
    ],
)
def test_each_rule_parts_core_from_penumbra_at_its_published_limit(
    rule: str, core: dict[str, float], penumbra: dict[str, float]
) -> None:
    assert volumes_ml(rule, **core) == pytest.approx((BLOCK_ML, 0.0))
    assert volumes_ml(rule, **penumbra) == pytest.approx((0.0, BLOCK_ML))


def test_the_default_rule_measures_delay_against_the_healthy_hemisphere() -> None:
    """A bolus that was injected 2 s later adds 2 s to every TTP, and changes nothing."""
    assert volumes_ml("strokelens", TTP=8.0 + 3.4) == (0.0, 0.0)
    for later_s in (0.0, 2.0):
        shifted = maps(TTP=8.0 + 3.6)
        shifted["TTP"] += later_s
        found = apply_rule(plain("strokelens"), shifted, TISSUE, grid=GRID, midplane=PLANE)
        assert found.volume_ml("penumbra") == pytest.approx(BLOCK_ML)


@pytest.mark.parametrize("rule", ["rapid", "cereda", "bathla", "campbell"])
def test_tissue_just_under_six_seconds_is_not_hypoperfused(rule: str) -> None:
    core, penumbra = volumes_ml(rule, Tmax=5.9)
    assert (core, penumbra) == (0.0, 0.0)


def test_the_default_rule_compares_with_the_mirrored_place_not_with_the_whole_brain() -> None:
    """White matter with 55 % of its own volume is penumbra though that is 27 % of grey matter's."""
    volumes = maps(CBV=1.1, TTP=12.0)
    mirrored = np.flip(np.isclose(volumes["CBV"], 1.1), axis=0)
    volumes["CBV"][mirrored] = 2.0
    assert apply_rule(
        RULES["murphy"], volumes | {"CBF": 3 * volumes["CBV"]}, TISSUE, grid=GRID, midplane=PLANE
    ).volume_ml("core")
    deep = (slice(3, 7), slice(4, 8), slice(2, 4))  # away from the blur of the block's edge
    found = apply_rule(RULES["strokelens"], volumes, TISSUE, grid=GRID, midplane=PLANE)
    assert (found.labels[deep] == found.scheme.value("penumbra")).all()


def test_nan_is_neither_core_nor_penumbra() -> None:
    assert volumes_ml("rapid", CBF=np.nan, Tmax=np.nan) == (0.0, 0.0)


def test_what_is_not_tissue_is_neither() -> None:
    found = apply_rule(RULES["rapid"], maps(CBF=5.0, Tmax=9.0), TISSUE & ~LEFT, grid=GRID, midplane=PLANE)
    assert found.volume_ml("core", "penumbra") == 0.0


def test_a_component_smaller_than_the_rule_counts_is_left_out() -> None:
    volumes = maps()
    volumes["Tmax"][15, 5, 3] = 9.0  # one voxel, 0.08 ml
    assert apply_rule(plain("rapid"), volumes, TISSUE, grid=GRID, midplane=PLANE).volume_ml(
        "penumbra"
    ) == pytest.approx(0.08)
    counting = replace(plain("rapid"), smallest_hypoperfused_ml=0.1)
    assert apply_rule(counting, volumes, TISSUE, grid=GRID, midplane=PLANE).volume_ml("penumbra") == 0.0


def test_the_majority_fills_a_hole_and_drops_a_speck() -> None:
    volumes = maps(Tmax=9.0)
    volumes["Tmax"][5, 6, 3], volumes["Tmax"][15, 5, 3] = 1.0, 9.0
    found = apply_rule(RULES["rapid"], volumes, TISSUE, grid=GRID, midplane=PLANE)
    assert (found.labels[5, 6, 3], found.labels[15, 5, 3]) == (found.scheme.value("penumbra"), 0)


def test_the_majority_is_of_tissue_not_of_what_lies_outside() -> None:
    """A straight edge of the brain through a region does not wear the region away."""
    volumes = maps()
    volumes["Tmax"][LEFT] = 9.0
    inside = TISSUE & (np.indices(GRID.shape)[1] >= 6)
    found = apply_rule(RULES["rapid"], volumes, inside, grid=GRID, midplane=PLANE)
    assert np.array_equal(found.labels > 0, inside & LEFT)


def test_the_other_side_is_the_one_with_less_delay() -> None:
    """The right half is late, so 38 % counts against the left's 100, not against the right's 50."""
    volumes = maps()
    volumes["CBF"][LEFT] = 100.0
    volumes["Tmax"][~LEFT] = 5.0
    volumes["CBF"][~LEFT] = 30.0
    found = apply_rule(RULES["cereda"], volumes, TISSUE, grid=GRID, midplane=PLANE)
    assert np.array_equal(found.mask("core"), ~LEFT)


@given(st.floats(0.1, 10))
def test_relative_rules_do_not_know_the_scale_of_flow_and_volume(factor: float) -> None:
    volumes = maps(CBF=10.0, CBV=1.0, TTP=14.0, Tmax=8.0)
    scaled = volumes | {name: np.float32(factor) * volumes[name] for name in ("CBF", "CBV")}
    for name in ("strokelens", "rapid", "cereda", "campbell"):
        first, second = (apply_rule(RULES[name], m, TISSUE, grid=GRID, midplane=PLANE) for m in (volumes, scaled))
        assert np.array_equal(first.labels, second.labels)


def test_a_missing_map_is_named_with_the_rules_needs() -> None:
    with pytest.raises(RuleError, match="rule rapid needs CBF, Tmax, but Tmax is missing; there is CBF: choose"):
        apply_rule(RULES["rapid"], {"CBF": maps()["CBF"]}, TISSUE, grid=GRID, midplane=PLANE)


def test_a_brain_without_normal_tissue_cannot_serve_as_reference() -> None:
    with pytest.raises(
        RuleError, match="there is no tissue with Tmax < 4 s to compare with; choose a rule with absolute"
    ):
        apply_rule(RULES["rapid"], maps() | {"Tmax": np.full(GRID.shape, 9.0)}, TISSUE, grid=GRID, midplane=PLANE)


def test_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(RuleError, match="no threshold rule 'rapidd'; did you mean 'rapid'"):
        rule_named("rapidd")


def test_every_rule_tells_its_limits_with_units() -> None:
    assert RULES["rapid"].thresholds == {
        "core_cbf_below_fraction": 0.3,
        "core_tmax_above_s": 6.0,
        "hypoperfused_tmax_above_s": 6.0,
    }
    assert RULES["murphy"].description == (
        "core: CBF < 13.3 ml/100 g/min and CBV < 1.13 ml/100 g; "
        "hypoperfused: CBF < 25 ml/100 g/min and CBV < 2.15 ml/100 g"
    )


def test_a_rule_without_conditions_finds_nothing() -> None:
    nothing = Rule("nothing", "none", (), (Condition("Tmax", Side.ABOVE, 99.0, Reference.ABSOLUTE),))
    assert apply_rule(nothing, maps(), TISSUE, grid=GRID, midplane=PLANE).volume_ml("core", "penumbra") == 0.0
