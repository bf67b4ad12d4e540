"""Grids and resampling, against slow obvious truth."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to
from scipy import ndimage

from strokelens.arrays import Affine
from strokelens.errors import GridError
from strokelens.grid import TOLERANCE_MM, Grid, difference, reordered, resample

AsAUser = Callable[[], AbstractContextManager[None]]


def shifted(affine: Affine, x_mm: float) -> Affine:
    moved = affine.copy()
    moved[0, 3] += x_mm
    return moved


def rotated_z(angle_degrees: float) -> Affine:
    cosine, sine = np.cos(np.radians(angle_degrees)), np.sin(np.radians(angle_degrees))
    affine = np.eye(4)
    affine[:2, :2] = [[cosine, -sine], [sine, cosine]]
    return affine


def within(source: Grid, *, angle_degrees: float, first_voxel: tuple[float, float, float]) -> Affine:
    """The affine of a grid that starts at a voxel of `source` and is turned against it."""
    start = np.eye(4)
    start[:3, 3] = first_voxel
    turned: Affine = source.affine @ start @ rotated_z(angle_degrees)
    return turned


ANISOTROPIC = np.array([[-0.45, 0, 0, 110.0], [0, -0.45, 0, 100.0], [0, 0, 5.0, -40.0], [0, 0, 0, 1]])
OBLIQUE = rotated_z(20) @ ANISOTROPIC


class TestGrid:
    def test_spacing_is_the_length_of_each_voxel_edge(self) -> None:
        assert Grid((512, 512, 16), OBLIQUE).spacing_mm == pytest.approx((0.45, 0.45, 5.0))

    def test_volume_of_orthogonal_voxels_is_the_product_of_their_edges(self) -> None:
        assert Grid((512, 512, 16), OBLIQUE).voxel_volume_ml == pytest.approx(0.45 * 0.45 * 5.0 / 1000)

    def test_volume_of_sheared_voxels_is_base_times_height(self) -> None:
        sheared = np.diag([2.0, 2.0, 5.0, 1.0])
        sheared[0, 2] = 3.0  # a tilted gantry: each slice lies 3 mm further to the right
        assert Grid((8, 8, 8), sheared).voxel_volume_ml == 0.02

    def test_a_common_volume_is_exact(self) -> None:
        assert Grid((8, 8, 8), np.diag([2.0, 2.0, 5.0, 1.0])).voxel_volume_ml == 0.02

    @pytest.mark.parametrize("letters", ["RAS", "LPS", "LAS", "SRA", "PIR", "AIL"])
    def test_orientation_names_where_each_index_grows(self, letters: str) -> None:
        directions = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
        affine = np.eye(4)
        affine[:3, :3] = np.array([directions[letter] for letter in letters]).T * (1.0, 2.0, 5.0)
        assert Grid((4, 5, 6), affine).orientation == letters

    def test_axes_name_the_voxel_axis_of_each_world_axis(self) -> None:
        affine = np.array([[0, 0, 3.0, 0], [-1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])
        assert Grid((4, 5, 6), affine).axes == (2, 0, 1)

    def test_the_affine_cannot_be_changed_from_outside(self) -> None:
        affine = np.eye(4)
        grid = Grid((2, 2, 2), affine)
        affine[0, 3] = 99.0
        assert grid.affine[0, 3] == 0.0
        with pytest.raises(ValueError, match="read-only"):
            grid.affine[0, 3] = 99.0

    def test_integer_affines_are_taken_as_numbers(self) -> None:
        assert Grid((2, 2, 2), np.diag([2, 2, 2, 1])).affine.dtype == np.float64


class TestAgreement:
    @pytest.mark.parametrize(("x_mm", "same"), [(0.9 * TOLERANCE_MM, True), (1.1 * TOLERANCE_MM, False)])
    def test_the_same_place_ends_at_a_ten_thousandth_of_a_millimetre(self, x_mm: float, same: bool) -> None:
        assert Grid((4, 5, 6), OBLIQUE).agrees(Grid((4, 5, 6), shifted(OBLIQUE, x_mm))) is same

    def test_a_small_rotation_counts_where_it_moves_most(self) -> None:
        turned = rotated_z(np.degrees(2e-6))  # moves the corner 100 mm away by 2e-4 mm, the origin not at all
        assert not Grid((101, 1, 1), np.eye(4)).agrees(Grid((101, 1, 1), turned))
        assert Grid((11, 1, 1), np.eye(4)).agrees(Grid((11, 1, 1), turned))

    def test_the_affine_that_float32_headers_store_is_the_same_place(self) -> None:
        stored = OBLIQUE.astype(np.float32).astype(np.float64)
        assert Grid((256, 256, 16), OBLIQUE).agrees(Grid((256, 256, 16), stored))

    def test_grids_of_other_shape_are_infinitely_far_apart(self) -> None:
        assert Grid((4, 5, 6), OBLIQUE).distance_mm(Grid((4, 5, 7), OBLIQUE)) == float("inf")

    def test_difference_tells_both_shapes(self) -> None:
        assert difference(Grid((4, 5, 6), OBLIQUE), Grid((4, 5, 1), OBLIQUE)) == "shape 4×5×6 against 4×5×1"

    def test_difference_tells_by_how_much(self) -> None:
        gap = difference(Grid((4, 5, 6), OBLIQUE), Grid((4, 5, 6), shifted(OBLIQUE, 0.5)))
        assert gap == "corners up to 0.5 mm apart"


class TestImpossibleGrids:
    def test_an_axis_without_voxels_is_refused(self) -> None:
        with pytest.raises(GridError, match=r"at least one voxel, not shape \(4, 0, 4\)"):
            Grid((4, 0, 4), np.eye(4))

    def test_two_axes_are_refused(self, as_a_user: AsAUser) -> None:
        with as_a_user(), pytest.raises(GridError, match=r"three axes .* not shape \(4, 4\)"):
            Grid((4, 4), np.eye(4))  # type: ignore[arg-type]  # what a user's mistake looks like

    def test_an_affine_of_three_rows_is_refused(self, as_a_user: AsAUser) -> None:
        with as_a_user(), pytest.raises(GridError, match="must be 4×4 and finite"):
            Grid((4, 4, 4), np.eye(4)[:3])

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_an_affine_that_is_not_finite_is_refused(self, value: float) -> None:
        with pytest.raises(GridError, match=r"must be 4×4 and finite.*repair the header"):
            Grid((4, 4, 4), shifted(np.eye(4), value))

    def test_a_strange_last_row_is_refused(self) -> None:
        affine = np.eye(4)
        affine[3] = (0, 0, 0.5, 1)
        with pytest.raises(GridError, match=r"last row must be 0 0 0 1, not \[0.0, 0.0, 0.5, 1.0\]"):
            Grid((4, 4, 4), affine)

    @pytest.mark.parametrize("size_mm", [0.0, 0.049, 50.1, 1000.0])
    def test_absurd_voxels_are_refused_with_their_size(self, size_mm: float) -> None:
        with pytest.raises(GridError, match=f"voxels of {size_mm:g} × 1 × 1 mm are not possible"):
            Grid((4, 4, 4), np.diag([size_mm, 1.0, 1.0, 1.0]))

    @pytest.mark.parametrize("size_mm", [0.05, 50.0])
    def test_the_limits_themselves_are_possible(self, size_mm: float) -> None:
        assert Grid((4, 4, 4), np.diag([size_mm, 1.0, 1.0, 1.0])).spacing_mm == (size_mm, 1.0, 1.0)

    def test_a_singular_affine_is_refused(self) -> None:
        affine = np.eye(4)
        affine[:3, 1] = affine[:3, 0]
        with pytest.raises(GridError, match="singular: two voxel axes point the same way"):
            Grid((4, 4, 4), affine)


class TestResample:
    def test_onto_the_same_grid_is_a_copy(self) -> None:
        array = np.random.default_rng(1).random((3, 4, 5), np.float32)
        grid = Grid((3, 4, 5), OBLIQUE)
        result = resample(array, grid, grid)
        np.testing.assert_array_equal(result, array)
        assert not np.shares_memory(result, array)

    def test_a_ramp_in_space_is_the_same_ramp_on_the_new_grid(self) -> None:
        source = Grid((30, 25, 6), OBLIQUE)
        target = Grid((15, 9, 4), within(source, angle_degrees=9.0, first_voxel=(4.3, 5.2, 1.7)))
        slope = np.array([0.3, -0.7, 0.2])
        result = resample(voxel_positions(source) @ slope + 5.0, source, target)
        np.testing.assert_allclose(result, voxel_positions(target) @ slope + 5.0, atol=1e-9)

    def test_a_flipped_affine_gives_the_flipped_array_exactly(self) -> None:
        array = np.random.default_rng(2).random((7, 5, 3), np.float32)
        source = Grid(array.shape, OBLIQUE)
        flip = np.diag([-1.0, 1, 1, 1])
        flip[0, 3] = 6.0
        result = resample(array, source, Grid(array.shape, OBLIQUE @ flip))
        np.testing.assert_allclose(result, array[::-1], atol=1e-5)

    def test_voxels_beyond_the_source_are_nan(self) -> None:
        result = resample(np.ones((4, 4, 4)), Grid((4, 4, 4), np.eye(4)), Grid((6, 4, 4), np.eye(4)))
        assert np.isnan(result[4:]).all()
        assert (result[:4] == 1.0).all()

    def test_labels_beyond_the_source_are_background(self) -> None:
        labels = np.full((4, 4, 4), 3, np.uint8)
        result = resample(labels, Grid((4, 4, 4), np.eye(4)), Grid((6, 4, 4), np.eye(4)), order=0)
        assert result.dtype == np.uint8
        assert result.sum() == 3 * 64

    def test_a_source_voxel_reaches_half_a_voxel_around_its_centre(self) -> None:
        near, far = (Grid((1, 1, 1), shifted(np.eye(4), x)) for x in (-0.49, -0.51))
        source = Grid((4, 4, 4), np.eye(4))
        assert resample(np.ones((4, 4, 4)), source, near)[0, 0, 0] == 1.0
        assert np.isnan(resample(np.ones((4, 4, 4)), source, far)[0, 0, 0])

    def test_one_slice_is_carried_within_its_thickness_and_no_further(self) -> None:
        source = Grid((8, 8, 1), np.diag([1.0, 1.0, 5.0, 1.0]))
        result = resample(np.full((8, 8, 1), 7.0), source, Grid((8, 8, 4), np.eye(4)))
        assert (result[..., :3] == 7.0).all()
        assert np.isnan(result[..., 3]).all()

    def test_a_nan_reaches_only_the_values_that_it_enters(self) -> None:
        array = np.ones((9, 3, 3))
        array[4, 1, 1] = np.nan
        source = Grid((9, 3, 3), np.eye(4))
        finer = np.diag([0.5, 1.0, 1.0, 1.0])
        result = resample(array, source, Grid((17, 3, 3), finer))
        assert sorted(np.flatnonzero(np.isnan(result[:, 1, 1]))) == [7, 8, 9]
        assert np.isnan(result).sum() == 3

    def test_a_nan_does_not_spread_by_rounding(self) -> None:
        array = np.ones((9, 9, 3), np.float32)
        array[4, 4, 1] = np.nan
        flip = np.diag([-1.0, 1, 1, 1])
        flip[0, 3] = 8.0
        result = resample(array, Grid(array.shape, OBLIQUE), Grid(array.shape, OBLIQUE @ flip))
        assert np.argwhere(np.isnan(result)).tolist() == [[4, 4, 1]]

    def test_each_frame_is_carried_by_itself(self) -> None:
        series = np.random.default_rng(3).random((6, 5, 4, 3), np.float32)
        source, target = Grid((6, 5, 4), np.eye(4)), Grid((5, 5, 4), shifted(np.eye(4), 0.4))
        result = resample(series, source, target)
        assert result.dtype == np.float32
        for frame in range(3):
            np.testing.assert_array_equal(result[..., frame], resample(series[..., frame], source, target))

    def test_agrees_with_map_coordinates_one_voxel_at_a_time(self) -> None:
        array = np.random.default_rng(4).random((12, 11, 6))
        source = Grid(array.shape, ANISOTROPIC)
        target = Grid((4, 5, 3), within(source, angle_degrees=12.0, first_voxel=(7.4, 1.3, 4.2)))
        result = resample(array, source, target)
        assert 10 < np.isnan(result).sum() < 50
        for voxel in np.ndindex(target.shape):
            index = np.linalg.inv(source.affine) @ target.affine @ (*voxel, 1)
            inside = all(-0.5 <= index[axis] <= array.shape[axis] - 0.5 for axis in range(3))
            slow = ndimage.map_coordinates(array, index[:3, None], order=1, mode="nearest")[0] if inside else np.nan
            assert result[voxel] == pytest.approx(slow, nan_ok=True)

    def test_agrees_with_nibabel_well_inside(self) -> None:
        array = np.random.default_rng(5).random((20, 18, 9))
        source = Grid(array.shape, OBLIQUE)
        target = Grid((8, 7, 5), within(source, angle_degrees=-8.0, first_voxel=(5.5, 4.1, 2.9)))
        image = nib.Nifti1Image(array, source.affine)  # type: ignore[no-untyped-call]
        foreign = resample_from_to(image, (target.shape, target.affine), order=1)  # type: ignore[no-untyped-call]
        np.testing.assert_allclose(resample(array, source, target), foreign.get_fdata(), atol=1e-6)


class TestReordered:
    @pytest.mark.parametrize("order", list(permutations(range(3))))
    @pytest.mark.parametrize("flips", list(product((1, -1), repeat=3)))
    def test_each_value_stays_where_it_was(self, order: tuple[int, ...], flips: tuple[int, ...]) -> None:
        source = Grid((5, 4, 3), OBLIQUE)
        array = np.arange(60).reshape(source.shape)
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        for at, (axis, sign) in enumerate(zip(order, flips, strict=True)):
            turn[axis, at], turn[axis, 3] = sign, (source.shape[axis] - 1 if sign < 0 else 0)
        target = Grid(tuple(source.shape[axis] for axis in order), OBLIQUE @ turn)  # type: ignore[arg-type]
        found = reordered(array, source, target)
        assert found is not None
        places = {tuple(np.round(place, 6)): value for place, value in zip(flat(source), array.ravel(), strict=True)}
        assert [places[tuple(np.round(place, 6))] for place in flat(target)] == found.ravel().tolist()

    def test_other_places_are_none(self) -> None:
        source = Grid((4, 4, 4), np.eye(4))
        others = [np.diag([2.0, 1, 1, 1]), shifted(np.eye(4), 0.01), np.diag([-1.0, 1, 1, 1]), OBLIQUE]
        array = np.zeros((4, 4, 4))
        assert [reordered(array, source, Grid((4, 4, 4), affine)) for affine in others] == [None] * 4
        assert reordered(array, source, Grid((4, 4, 3), np.eye(4))) is None


def test_edges_that_are_not_at_right_angles_are_sheared() -> None:
    tilted = np.diag([0.5, 0.5, 5.0, 1.0])
    tilted[1, 2] = 5.0 * np.tan(np.radians(20))
    assert Grid((4, 4, 4), tilted).sheared
    assert not Grid((4, 4, 4), np.asarray(ANISOTROPIC, np.float32).astype(np.float64)).sheared


def flat(grid: Grid) -> np.ndarray:
    return voxel_positions(grid).reshape(-1, 3)


def voxel_positions(grid: Grid) -> np.ndarray:
    return grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
