"""Laws of the values, on grids as patients have them: oblique, flipped, sheared, anisotropic, of one slice."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.spatial.transform import Rotation

from strokelens.case import Case, Segmentation
from strokelens.cohorts.grey import grey_labels
from strokelens.grid import Grid, resample
from strokelens.labels import CORE_ONLY, CORE_PENUMBRA, CORE_PENUMBRA_BRAIN, LESION_ONLY, LabelScheme
from strokelens.perfusion.mismatch import Mismatch

SCHEMES = st.sampled_from([CORE_PENUMBRA_BRAIN, CORE_PENUMBRA, CORE_ONLY, LESION_ONLY])
VOLUMES_ML = st.floats(0.0, 500.0)


@st.composite
def grids(draw: st.DrawFn, largest: int = 6) -> Grid:
    """Any order and direction of the axes, tilted by up to 30 degrees, voxels of 0.3 to 8 mm, one to some slices."""
    shape = draw(st.tuples(*[st.integers(1, largest)] * 3))
    spacing_mm = draw(st.tuples(*[st.floats(0.3, 8.0)] * 3))
    tilt = Rotation.from_rotvec(draw(st.floats(0.0, 30.0)) * _direction(draw), degrees=True).as_matrix()
    axes = np.eye(3)[list(draw(st.permutations(range(3))))] * draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    affine = np.eye(4)
    affine[:3, :3] = tilt @ axes * spacing_mm
    affine[:3, 3] = draw(st.tuples(*[st.floats(-200.0, 200.0)] * 3))
    return Grid(shape, affine)


def _direction(draw: st.DrawFn) -> np.ndarray:
    longitude, latitude = draw(st.floats(0.0, 2 * np.pi)), draw(st.floats(-np.pi / 2, np.pi / 2))
    flat = np.cos(latitude)
    return np.array([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)])


def random_array(grid: Grid, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(grid.shape)


@given(grids(), st.tuples(*[st.floats(-10.0, 10.0)] * 3))
def test_world_positions_are_the_matrix_product(grid: Grid, voxel: tuple[float, float, float]) -> None:
    slow = grid.affine @ np.array([*voxel, 1.0])
    np.testing.assert_allclose(grid.world_mm(np.array(voxel)), slow[:3], atol=1e-9)


@given(grids(), npst.arrays(float, (2, 3, 3), elements=st.floats(-10.0, 10.0)))
def test_world_positions_of_many_are_those_of_each(grid: Grid, voxels: np.ndarray) -> None:
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(grid.world_mm(voxels)[index], grid.world_mm(voxels[index]), atol=1e-9)


@given(grids())
def test_voxel_volume_is_the_product_of_the_edges(grid: Grid) -> None:
    assert grid.voxel_volume_ml == pytest.approx(np.prod(grid.spacing_mm) / 1000, rel=1e-6)


@given(grids())
def test_orientation_is_the_one_that_nibabel_reads(grid: Grid) -> None:
    assert grid.orientation == "".join(nib.aff2axcodes(grid.affine))  # type: ignore[no-untyped-call]


@given(grids())
def test_axes_are_a_permutation(grid: Grid) -> None:
    assert sorted(grid.axes) == [0, 1, 2]


@given(grids(), grids())
def test_distance_is_symmetric_and_zero_to_itself(first: Grid, second: Grid) -> None:
    assert first.distance_mm(second) == second.distance_mm(first)
    assert first.distance_mm(first) == 0.0


@given(grids(), st.integers(0, 2))
def test_resampling_onto_a_flipped_grid_flips_the_array(grid: Grid, axis: int) -> None:
    flip = np.eye(4)
    flip[axis, axis], flip[axis, 3] = -1.0, grid.shape[axis] - 1
    array = random_array(grid)
    result = resample(array, grid, Grid(grid.shape, grid.affine @ flip))
    np.testing.assert_allclose(result, np.flip(array, axis), atol=1e-9)


@given(grids(), st.permutations(range(3)))
def test_resampling_onto_reordered_axes_transposes_the_array(grid: Grid, order: list[int]) -> None:
    array = random_array(grid)
    affine = grid.affine[:, [*order, 3]]
    shape = tuple(array.transpose(order).shape)
    np.testing.assert_allclose(resample(array, grid, Grid(shape, affine)), array.transpose(order), atol=1e-9)


@given(grids(), grids())
def test_resampled_values_stay_between_the_extremes(source: Grid, target: Grid) -> None:
    array = random_array(source)
    result = resample(array, source, target)
    inside = result[~np.isnan(result)]
    assert ((inside >= array.min() - 1e-9) & (inside <= array.max() + 1e-9)).all()


@given(grids(), grids())
def test_resampled_labels_are_labels_of_the_source_or_background(source: Grid, target: Grid) -> None:
    labels = np.random.default_rng(1).integers(1, 4, source.shape, dtype=np.uint8)
    result = resample(labels, source, target, order=0)
    assert result.dtype == np.uint8
    assert set(np.unique(result)) <= {0, *np.unique(labels)}


@given(grids(), st.floats(0.0, 1.0))
def test_a_nan_never_becomes_a_number(grid: Grid, share: float) -> None:
    array = random_array(grid)
    array[random_array(grid, seed=1) < share] = np.nan
    finer = np.eye(4)
    finer[0, 0] = 0.5
    target = Grid((2 * grid.shape[0] - 1, *grid.shape[1:]), grid.affine @ finer)
    result = resample(array, grid, target)
    np.testing.assert_array_equal(np.isnan(result[::2]), np.isnan(array))
    np.testing.assert_array_equal(np.isnan(result[1::2]), np.isnan(array[:-1]) | np.isnan(array[1:]))


@given(grids(), st.data())
def test_the_volumes_of_all_classes_fill_the_grid(grid: Grid, data: st.DataObject) -> None:
    labels = data.draw(npst.arrays(np.uint8, grid.shape, elements=st.integers(0, 3)))
    segmentation = Segmentation(labels, grid, CORE_PENUMBRA_BRAIN)
    total = sum(segmentation.volume_ml(name) for name in CORE_PENUMBRA_BRAIN.names)
    assert total == pytest.approx(labels.size * grid.voxel_volume_ml)
    assert segmentation.volume_ml(*CORE_PENUMBRA_BRAIN.names) == pytest.approx(total)


@given(grids(), st.sampled_from([np.int16, np.uint8, np.float32, np.float64]))
def test_a_case_holds_what_it_was_given_as_float32(grid: Grid, dtype: type[np.generic]) -> None:
    array = (random_array(grid) * 200).astype(dtype)
    np.testing.assert_array_equal(Case("sub-01", grid, {"ADC": array})["ADC"], array.astype(np.float32))


@given(SCHEMES, st.data())
def test_merging_into_the_same_scheme_changes_nothing(scheme: LabelScheme, data: st.DataObject) -> None:
    labels = data.draw(npst.arrays(np.uint8, (7,), elements=st.integers(0, len(scheme) - 1)))
    np.testing.assert_array_equal(scheme.merge(labels, scheme), labels)


@given(SCHEMES, SCHEMES, st.data())
def test_merging_keeps_the_mask_of_every_shared_class(
    scheme: LabelScheme, target: LabelScheme, data: st.DataObject
) -> None:
    labels = data.draw(npst.arrays(np.uint8, (7,), elements=st.integers(0, len(scheme) - 1)))
    merged = scheme.merge(labels, target)
    for name in {*scheme.names} & {*target.names} - {"background"}:
        np.testing.assert_array_equal(target.mask(merged, name), scheme.mask(labels, name))


@given(npst.arrays(np.uint8, (7, 5), elements=st.integers(0, 3)))
def test_labels_come_back_from_their_grey_levels(labels: np.ndarray) -> None:
    inside = np.pad(labels, 8)  # a white border would be the older code's
    np.testing.assert_array_equal(grey_labels([CORE_PENUMBRA_BRAIN.to_grey(inside)], "x")[0], inside)


@given(VOLUMES_ML.filter(lambda core_ml: core_ml > 1e-6), VOLUMES_ML)
def test_ratio_times_core_is_the_hypoperfused_volume(core_ml: float, hypoperfused_ml: float) -> None:
    assert Mismatch(core_ml, hypoperfused_ml).ratio * core_ml == pytest.approx(hypoperfused_ml)


@given(VOLUMES_ML, VOLUMES_ML)
def test_who_meets_defuse_3_meets_extend(core_ml: float, hypoperfused_ml: float) -> None:
    defuse, extend, _ = Mismatch(core_ml, hypoperfused_ml).criteria()
    assert extend.met or not defuse.met


@given(VOLUMES_ML, VOLUMES_ML, st.floats(18.0, 100.0), st.floats(0.0, 42.0))
def test_a_smaller_core_never_loses_dawn(larger_ml: float, other_ml: float, age_years: float, nihss: float) -> None:
    smaller_ml, larger_ml = sorted((larger_ml, other_ml))
    of_larger = Mismatch(larger_ml, 500.0).criteria(age_years, nihss)[2].met
    assert Mismatch(smaller_ml, 500.0).criteria(age_years, nihss)[2].met or not of_larger
