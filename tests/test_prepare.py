"""Cases as a network sees them, and back: laws of the way there and back, and blocks by loops."""

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strokelens.case import Case, Segmentation
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.slice_writer import write_slices
from strokelens.errors import CaseError
from strokelens.frames import Frame
from strokelens.grid import Grid, radiological_grid
from strokelens.labels import CORE_ONLY, CORE_PENUMBRA, CORE_PENUMBRA_BRAIN, HYPOPERFUSED_ONLY, LabelScheme
from strokelens.perfusion.colormap import FLOW
from strokelens.prediction.samples import sample_of
from strokelens.prepare import TOPS, Recipe, prepare, scaled, segmentation

SHAPE = (20, 14, 3)


def _grid(
    shape: tuple[int, int, int] = SHAPE, order: tuple[int, int, int] = (0, 1, 2), signs: object = (1, 1, 1)
) -> Grid:
    """A grid whose voxel axes run along the world's axes in this order, with these directions."""
    affine = np.zeros((4, 4))
    for axis, (world, sign) in enumerate(zip(order, np.asarray(signs), strict=True)):
        affine[world, axis] = sign * (5.0 if world == 2 else 1.0)
    affine[3, 3] = 1
    return Grid(tuple(shape[world] for world in order), affine)  # type: ignore[arg-type]


def _labels(grid: Grid, seed: int = 0) -> Segmentation:
    labels = np.random.default_rng(seed).integers(0, 4, grid.shape).astype(np.uint8)
    return Segmentation(labels, grid, CORE_PENUMBRA_BRAIN)


def _one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.stack([labels == value for value in range(classes)], axis=1).astype(np.float32)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_the_truth_comes_back_exactly_from_every_orientation(
    order: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:
    truth = _labels(_grid(order=order, signs=signs))
    recipe = Recipe((), CORE_PENUMBRA_BRAIN, size=24)
    frame = Frame.of(truth.grid, recipe.size)
    assert frame.factor == 1
    y = frame.reduced_labels(truth.labels, 4)
    back = segmentation(_one_hot(y, 4), frame, recipe.scheme)
    assert np.array_equal(back.labels, truth.labels)
    assert back.grid is truth.grid


@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_a_network_sees_the_patients_left_at_large_i_and_the_back_at_large_j(signs: tuple[int, int, int]) -> None:
    grid = _grid(signs=signs)
    world = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
    frame = Frame.of(grid, 20)
    right, front, above = (frame.reduced(world[..., axis].astype(np.float32))[:, :, 3:-3] for axis in range(3))
    assert (np.diff(right, axis=1) < 0).all()
    assert (np.diff(front, axis=2) < 0).all()
    assert (np.diff(above, axis=0) > 0).all()


@given(i=st.integers(5, 40), j=st.integers(5, 40), size=st.sampled_from([8, 16, 32]), seed=st.integers(0, 2**32 - 1))
def test_blocks_are_means_and_commonest_classes_by_loops(i: int, j: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = _grid((i, j, 2), signs=(-1, -1, 1))
    volume = rng.normal(size=grid.shape).astype(np.float32)
    volume[rng.random(grid.shape) < 0.3] = np.nan
    labels = rng.integers(0, 3, grid.shape).astype(np.uint8)
    frame = Frame.of(grid, size)
    f = frame.factor
    assert f == -(-max(i, j) // size)
    found, classes = frame.reduced(volume), frame.reduced_labels(labels, 3)
    left, front = (size * f - i) // 2, (size * f - j) // 2
    for k, a, b in product(range(2), range(size), range(size)):
        cells = [
            (x, y) for x in range(a * f - left, (a + 1) * f - left) for y in range(b * f - front, (b + 1) * f - front)
        ]
        inside = [(x, y) for x, y in cells if 0 <= x < i and 0 <= y < j]
        known = [volume[x, y, k] for x, y in inside if not np.isnan(volume[x, y, k])]
        assert found[k, a, b] == pytest.approx(np.mean(known) if known else 0, abs=1e-5)
        counts = np.bincount([labels[x, y, k] for x, y in inside] + [0] * (len(cells) - len(inside)), minlength=3)
        if classes[k, a, b] != max(range(3), key=lambda value: (counts[value], value)):  # kept for a lesion
            assert f > 1
            assert classes[k, a, b] > 0
            assert counts[classes[k, a, b]] > 0


def test_a_lesion_comes_back_within_a_voxel_of_where_it_was() -> None:
    grid = _grid((100, 90, 2))
    i, j, _ = np.indices(grid.shape)
    lesion = ((i - 40) ** 2 + (j - 50) ** 2 < 20**2).astype(np.uint8)
    frame = Frame.of(grid, 32)
    y = frame.reduced_labels(lesion, 2)
    back = frame.restored(_one_hot(y, 2)).argmax(axis=0)
    assert frame.factor == 4
    wrong = back != lesion
    edge = np.abs(np.hypot(i - 40, j - 50) - 20) <= frame.factor
    assert wrong.any()
    assert not (wrong & ~edge).any()


def _case(**channels: np.ndarray) -> Case:
    return Case("a", _grid(), channels, _labels(_grid()), {"nihss": 10.0, "female": 1.0})


def test_values_are_of_order_one_and_what_is_none_is_zero() -> None:
    flow = np.full(SHAPE, 50.0, np.float32)
    flow[:4] = np.nan
    flow[4] = 1e6
    sample = prepare(_case(CBF=flow, Tmax=np.full(SHAPE, 6.0)), Recipe(("Tmax", "CBF"), CORE_PENUMBRA, size=20))
    assert sample.x.dtype == np.float16
    assert sample.x.shape == (3, 2, 20, 20)
    shown = scaled(sample.x)[1, :, :, 10]
    assert shown[0].tolist() == [0.5] * 20
    assert sorted(set(shown[1].tolist())) == [0.0, 0.5, 4.0]
    assert sample.y is not None
    assert sample.y.max() == 2


def test_relative_values_are_shares_of_the_heads_median_and_seconds_after_it() -> None:
    flow, peak = np.full(SHAPE, 40.0, np.float32), np.full(SHAPE, 9.0, np.float32)
    flow[:4], peak[:4] = np.nan, np.nan
    flow[4], peak[4] = 10.0, 14.0
    maps = {"CBF": flow, "TTP": peak, "Tmax": np.full(SHAPE, 6.0, np.float32)}
    recipe = Recipe(tuple(maps), CORE_PENUMBRA, form="relative", size=20)
    shown = scaled(prepare(_case(**maps), recipe).x)[1, :, :, 10]
    assert sorted(set(shown[0].tolist())) == [0.0, 0.25, 1.0]
    assert sorted(set(shown[1].tolist())) == [0.0, 0.5]
    assert shown[2].max() == 0.5
    moved = {"CBF": flow * 1.5, "TTP": peak + 4, "Tmax": maps["Tmax"]}
    assert np.allclose(scaled(prepare(_case(**moved), recipe).x)[1, :, :, 10], shown, atol=1e-3)
    with pytest.raises(CaseError, match="the median of CBF over the head is -40: nothing is a share of it"):
        prepare(_case(**maps | {"CBF": -flow}), recipe)


def test_robust_values_are_standard_deviations_over_the_head_without_its_tails() -> None:
    rng = np.random.default_rng(3)
    volume = rng.normal(800, 100, SHAPE).astype(np.float32)
    volume[:4] = np.nan
    recipe = Recipe(("ADC",), CORE_PENUMBRA, form="robust", size=20)

    def shown(each: np.ndarray) -> np.ndarray:
        stored = scaled(prepare(_case(ADC=each), recipe).x)[:, 0]
        some: np.ndarray = stored[stored != 0]
        return some

    head = volume[np.isfinite(volume)].astype(np.float64)
    cut = np.clip(head, *np.percentile(head, (0.5, 99.5)))
    expected = np.sort((cut - cut.mean()) / cut.std())
    assert np.allclose(np.sort(shown(volume)), expected, atol=2e-3)
    wild = volume.copy()
    wild[5, 5, 1] = -1e6
    assert np.abs(np.median(shown(wild)) - np.median(shown(volume))) < 0.01
    assert np.allclose(np.sort(shown(3 * volume - 7)), expected, atol=4e-3)
    assert not prepare(_case(ADC=np.full(SHAPE, 5.0)), recipe).x.any()
    assert not prepare(_case(ADC=np.full(SHAPE, np.nan)), recipe).x.any()


def test_colours_are_the_cases_own_or_painted() -> None:
    case = _case(CBF=np.full(SHAPE, 100.0), MIP=np.full(SHAPE, 51.0))
    recipe = Recipe(("CBF", "MIP"), CORE_PENUMBRA, form="colours", size=20)
    painted = prepare(case, recipe)
    assert painted.x.dtype == np.uint8
    assert painted.x[1, :, 10, 10].tolist() == [*FLOW.colours[-1].tolist(), 51, 51, 51]
    own = prepare(case, recipe, {"CBF": np.full((*SHAPE, 3), (1, 2, 3), np.uint8)})
    assert own.x[1, :, 10, 10].tolist() == [1, 2, 3, 51, 51, 51]
    assert scaled(own.x)[1, :3, 10, 10] == pytest.approx(np.array([1, 2, 3]) / 255)


def test_missing_clinical_values_are_unknown_and_not_zero() -> None:
    sample = prepare(
        _case(CBF=np.ones(SHAPE)), Recipe(("CBF",), CORE_PENUMBRA, ("nihss", "age_years", "female"), size=20)
    )
    assert sample.known.tolist() == [True, False, True]
    assert sample.values.tolist() == [0.5, 0.0, 1.0]


def test_a_case_without_truth_is_prepared_too() -> None:
    case = Case("a", _grid(), {"CBF": np.ones(SHAPE)})
    assert prepare(case, Recipe(("CBF",), CORE_PENUMBRA, size=20)).y is None


def test_a_map_that_is_lacking_or_a_series_is_told() -> None:
    with pytest.raises(CaseError, match="a has no Tmax, which the network sees, but CBF; add it, or take a network"):
        prepare(_case(CBF=np.ones(SHAPE)), Recipe(("Tmax",), CORE_PENUMBRA, size=20))
    series = Case("a", _grid(), {"CTP": np.ones((*SHAPE, 2))})
    with pytest.raises(CaseError, match="a: CTP is a series; give its maps, as `strokelens maps` makes them"):
        prepare(series, Recipe(("CTP",), CORE_PENUMBRA, size=20))


def test_probabilities_come_back_with_the_segmentation() -> None:
    frame = Frame.of(_grid(), 20)
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], (3, 20, 20)).astype(np.float32)
    found = segmentation(np.moveaxis(probabilities, -1, 1), frame, CORE_PENUMBRA)
    assert sorted(found.probabilities) == ["core", "penumbra"]
    assert ((found.labels == 2) <= (found.probabilities["core"] > 1 / 3)).all()


def test_probabilities_that_are_no_numbers_are_no_finding() -> None:
    frame = Frame.of(_grid(), 20)
    strange = np.full((3, 3, 20, 20), 1 / 3, np.float32)
    strange[1, :, 4, 4] = np.nan
    with pytest.raises(CaseError, match=r"3 of 3600 probabilities are no numbers, which is no finding; look for"):
        segmentation(strange, frame, CORE_PENUMBRA)


def test_air_is_black_and_no_value_of_a_map() -> None:
    flow, late = np.full(SHAPE, 50.0), np.zeros(SHAPE)
    flow[:4], late[4], flow[5] = 0, np.nan, 0
    late[5] = 3.0
    recipe = Recipe(("CBF", "Tmax"), CORE_PENUMBRA, form="colours", size=20)
    shown = prepare(_case(CBF=flow, Tmax=late), recipe).x[1, :, ::-1, 10]  # i from the right, as the grid has it
    assert not shown[:, :4].any()
    assert shown[:3, 5].tolist() == FLOW.colours[0].tolist()  # no flow where there is delay is a value
    assert shown[3:, 6].any()  # as is no delay where there is flow
    assert not shown[3:, 4].any()


def test_a_case_written_as_pictures_is_seen_as_the_same_maps_in_memory(tmp_path: Path) -> None:
    grid = radiological_grid((512, 512, 2), (0.5, 0.5, 5.0))
    i, j, _ = np.indices(grid.shape)
    head = np.hypot((i - 200) / 130, (j - 256) / 170) < 1
    wave = 0.5 + 0.4 * np.sin(i / 40) * np.cos(j / 55)
    tops = {"CBF": TOPS["CBF"], "Tmax": TOPS["Tmax"], "MIP": TOPS["MIP"]}
    maps = {name: np.where(head, wave * top, 0).astype(np.float32) for name, top in tops.items()}
    maps["MIP"] *= 255 / maps["MIP"].max()
    case = Case("a", grid, maps, group="LVO")
    write_slices(tmp_path, [case])
    for form in ("colours", "values"):
        recipe = Recipe(tuple(tops), CORE_PENUMBRA, form=form, size=128)
        written, kept = sample_of(open_cohort(tmp_path)["CTP_01_001"], recipe).sample, prepare(case, recipe)
        apart = np.abs(scaled(written.x) - scaled(kept.x))
        assert ((written.x != 0) == (kept.x != 0)).mean() > 0.99
        assert np.quantile(apart, 0.99) < 0.03
        assert apart.mean() < 0.005


@pytest.mark.parametrize("scheme", [CORE_PENUMBRA_BRAIN, CORE_PENUMBRA, HYPOPERFUSED_ONLY])
def test_hypoperfused_is_penumbra_and_core_or_itself(scheme: LabelScheme) -> None:
    truth = Segmentation(np.arange(len(scheme)).reshape(-1, 1, 1), _grid((len(scheme), 1, 1)), scheme)
    sample = prepare(
        Case("a", truth.grid, {"CBF": np.ones(truth.grid.shape)}, truth), Recipe(("CBF",), HYPOPERFUSED_ONLY)
    )
    ill = [int(name in ("penumbra", "core", "hypoperfused")) for name in scheme.names]
    assert sample.y is not None
    assert sorted(sample.y[sample.y > 0].tolist()) == [1] * sum(ill)


def test_a_core_alone_is_not_all_that_is_hypoperfused() -> None:
    truth = Segmentation(np.zeros(SHAPE, np.uint8), _grid(), CORE_ONLY)
    case = Case("a", truth.grid, {"CBF": np.ones(SHAPE)}, truth)
    with pytest.raises(CaseError, match="a: its truth tells no hypoperfused, only core; "):
        prepare(case, Recipe(("CBF",), HYPOPERFUSED_ONLY, size=20))


def test_a_pixel_of_a_network_has_an_edge_in_mm() -> None:
    affine = np.diag([0.5, 0.5, 5.0, 1.0])
    assert Frame.of(Grid((200, 180, 3), affine), 256).pixel_mm == 0.5
    assert Frame.of(Grid((200, 180, 3), affine), 64).pixel_mm == 2.0


def test_a_channel_without_a_scale_is_refused_in_its_unit() -> None:
    case = _case(DWI=np.full(SHAPE, 900.0, np.float32))
    with pytest.raises(CaseError, match=r"DWI has no scale of its own, .* set input\.form to robust"):
        prepare(case, Recipe(("DWI",), CORE_PENUMBRA, size=20))


def test_air_is_no_part_of_the_heads_median() -> None:
    flow, wide = np.zeros(SHAPE, np.float32), np.full(SHAPE, 30.0, np.float32)
    flow[8:12, 8:12] = 50.0
    recipe = Recipe(("CBF", "MIP"), CORE_PENUMBRA, form="relative", size=20)
    shown = scaled(prepare(_case(CBF=flow, MIP=wide), recipe).x)[:, 0]
    assert sorted(set(shown.ravel().tolist())) == [0.0, 1.0]
