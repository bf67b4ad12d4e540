"""The midplane against heads that were built symmetric about a known plane."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strokelens.arrays import Mask, Volume
from strokelens.errors import CaseError
from strokelens.grid import Grid
from strokelens.perfusion.hemispheres import Midplane, find_midplane


def _grid(shape: tuple[int, int, int] = (80, 96, 24), spacing: tuple[float, float, float] = (2.2, 2.2, 6.0)) -> Grid:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) * np.array(spacing) / 2
    return Grid(shape, affine)


def _normal(yaw_degrees: float, roll_degrees: float) -> np.ndarray:
    direction = np.array([1.0, np.tan(np.radians(yaw_degrees)), np.tan(np.radians(roll_degrees))])
    normal: np.ndarray = direction / np.linalg.norm(direction)
    return normal


def _head(grid: Grid, normal: np.ndarray, offset_mm: float) -> tuple[Volume, Mask]:
    """An egg with ventricles, a dark fissure and mirrored waves, symmetric about the plane."""
    world = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
    side = np.abs(world @ normal - offset_mm)
    ahead = world[..., 1] - world @ normal * normal[1]
    above = world[..., 2] - world @ normal * normal[2]
    width = 62 - 0.1 * ahead
    brain = (side / width) ** 2 + (ahead / 84) ** 2 + (above / 62) ** 2 < 1
    waves = 6 * np.sin(side / 7) * np.cos(ahead / 9) + 5 * np.cos(above / 11 + side / 13)
    ventricles = ((side - 10) / 7) ** 2 + ((ahead + 5) / 30) ** 2 + ((above - 5) / 14) ** 2 < 1
    image = np.where(ventricles, 30, 100 + waves) - 25 * np.exp(-((side / 3) ** 2))
    noise = np.random.default_rng(5).normal(0, 4, grid.shape)
    return np.where(brain, image + noise, 0).astype(np.float32), brain


def _ball(grid: Grid, centre_mm: tuple[float, float, float], volume_ml: float) -> Mask:
    world = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
    radius_mm = (volume_ml * 1000 * 3 / 4 / np.pi) ** (1 / 3)
    ball: Mask = np.linalg.norm(world - centre_mm, axis=-1) <= radius_mm
    return ball


def _errors(plane: Midplane, normal: np.ndarray, offset_mm: float) -> tuple[float, float]:
    """The angle in degrees, and the farthest that the planes lie apart at the head's centre, in mm."""
    angle = float(np.degrees(np.arccos(np.clip(np.dot(plane.normal, normal), -1, 1))))
    return angle, abs(plane.offset_mm - offset_mm)


@pytest.mark.parametrize(("yaw", "roll", "offset_mm"), [(0, 0, 0), (8, -5, 6), (-15, 4, -9), (20, 10, 3)])
def test_the_plane_of_a_symmetric_head_is_found_to_a_degree_and_a_millimetre(
    yaw: float, roll: float, offset_mm: float
) -> None:
    grid, normal = _grid(), _normal(yaw, roll)
    angle, distance_mm = _errors(find_midplane(*_head(grid, normal, offset_mm), grid), normal, offset_mm)
    assert angle <= 1
    assert distance_mm <= 1


@pytest.mark.parametrize("value", [260.0, 20.0])
def test_a_one_sided_lesion_of_100_ml_does_not_move_the_plane(value: float) -> None:
    grid, normal = _grid(), _normal(7, -4)
    image, brain = _head(grid, normal, 4.0)
    lesion = _ball(grid, (38.0, 0.0, 5.0), 100) & brain
    assert lesion.sum() * grid.voxel_volume_ml > 80
    angle, distance_mm = _errors(find_midplane(np.where(lesion, value, image), brain, grid), normal, 4.0)
    assert angle <= 1
    assert distance_mm <= 1


@pytest.mark.parametrize("flips", [(-1, 1, 1), (-1, -1, 1), (1, 1, -1)])
def test_flipped_axes_give_the_same_plane_in_the_world(flips: tuple[int, int, int]) -> None:
    grid, normal = _grid(), _normal(6, 3)
    image, brain = _head(grid, normal, -3.0)
    axes = tuple(axis for axis, flip in enumerate(flips) if flip < 0)
    affine = grid.affine.copy()
    for axis in axes:
        affine[:3, 3] += affine[:3, axis] * (grid.shape[axis] - 1)
        affine[:3, axis] *= -1
    flipped = Grid(grid.shape, affine)
    plane = find_midplane(np.flip(image, axes), np.flip(brain, axes), flipped)
    angle, distance_mm = _errors(plane, normal, -3.0)
    assert max(angle, distance_mm) <= 1
    assert np.mean(np.flip(plane.right(), axes) == replace(plane, grid=grid).right()) > 0.999


def test_an_oblique_affine_and_swapped_axes_give_the_plane_in_the_world() -> None:
    turn = np.radians(12)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    upright = _grid()
    affine = np.eye(4)
    affine[:3, :3] = rotation @ upright.affine[:3, [1, 2, 0]]
    affine[:3, 3] = rotation @ upright.affine[:3, 3]
    grid = Grid((96, 24, 80), affine)
    normal = _normal(5, 2)
    angle, distance_mm = _errors(find_midplane(*_head(grid, normal, 2.0), grid), normal, 2.0)
    assert angle <= 1
    assert distance_mm <= 1


def _slab(slices: int) -> Grid:
    """A gantry tilted by 6 degrees, and slices that end within the head."""
    grid = _grid((80, 96, slices))
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(0.1), np.sin(0.1)], [-np.sin(0.1), np.cos(0.1)]]
    return replace(grid, affine=turn @ grid.affine)


@pytest.mark.parametrize("slices", [8, 10])
@pytest.mark.parametrize(("yaw", "roll", "offset_mm"), [(0, 0, 0), (1, -1.5, 0.5), (5, 4, 3), (-6, -6, 0)])
def test_a_scan_that_cuts_through_a_brain_of_which_a_part_is_missing(
    slices: int, yaw: float, roll: float, offset_mm: float
) -> None:
    grid, normal = _slab(slices), _normal(yaw, roll)
    image, brain = _head(grid, normal, offset_mm)
    missing = _ball(grid, (55.0, 40.0, 15.0), 150)
    angle, distance_mm = _errors(find_midplane(image, brain & ~missing, grid), normal, offset_mm)
    assert angle <= 0.7
    assert distance_mm <= 0.2


def test_rounding_of_the_affine_does_not_move_the_plane() -> None:
    grid = _slab(10)
    image, brain = _head(grid, _normal(1, -1.5), 0.5)
    brain &= ~_ball(grid, (55.0, 40.0, 15.0), 150)
    plane = find_midplane(image, brain, grid)
    for seed in range(6):
        shift = np.zeros((4, 4))
        shift[:3] = np.random.default_rng(seed).normal(0, 1e-11, (3, 4))
        other = find_midplane(image, brain, replace(grid, affine=grid.affine + shift))
        np.testing.assert_allclose(other.normal, plane.normal, atol=1e-6)
        assert other.offset_mm == pytest.approx(plane.offset_mm, abs=1e-4)


def test_the_normal_points_to_the_patients_right() -> None:
    grid = _grid()
    plane = find_midplane(*_head(grid, _normal(5, 5), 0.0), grid)
    assert plane.normal[0] > 0
    assert plane.right()[-1].all()
    assert not plane.right()[0].any()


def test_a_single_slice_has_a_plane_at_right_angles_to_it() -> None:
    grid = _grid((80, 96, 1))
    plane = find_midplane(*_head(grid, _normal(9, 0), 4.0), grid)
    assert plane.normal[2] == 0
    assert max(_errors(plane, _normal(9, 0), 4.0)) <= 1


def test_voxels_without_a_value_are_not_looked_at() -> None:
    grid, normal = _grid(), _normal(5, 0)
    image, brain = _head(grid, normal, 3.0)
    image[:, :20] = np.nan
    assert max(_errors(find_midplane(image, brain, grid), normal, 3.0)) <= 1


def test_a_brain_of_a_few_voxels_still_gets_a_plane() -> None:
    grid = _grid((10, 10, 2))
    brain = np.zeros(grid.shape, dtype=bool)
    brain[4:6, 3:7] = True
    plane = find_midplane(np.ones(grid.shape, np.float32), brain, grid)
    assert abs(plane.offset_mm) <= 2.2


def test_a_single_voxel_lies_on_its_plane() -> None:
    grid = _grid((10, 10, 2))
    brain = np.zeros(grid.shape, dtype=bool)
    brain[2, 3, 1] = True
    plane = find_midplane(np.ones(grid.shape, np.float32), brain, grid)
    assert np.abs(plane.distance_mm())[brain] <= 4


def test_no_brain_has_no_plane() -> None:
    grid = _grid((4, 4, 4))
    with pytest.raises(CaseError, match="no brain voxel has a value"):
        find_midplane(np.full(grid.shape, np.nan, np.float32), np.ones(grid.shape, bool), grid)


@settings(max_examples=15, deadline=None)
@given(st.floats(-20, 20), st.floats(-10, 10), st.floats(-8, 8))
def test_mirroring_a_linear_image_twice_gives_it_back(yaw: float, roll: float, offset_mm: float) -> None:
    grid, normal = _grid((20, 22, 10)), _normal(yaw, roll)
    plane = Midplane(grid, (float(normal[0]), float(normal[1]), float(normal[2])), offset_mm)
    world = grid.world_mm(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
    image = (world @ [1.0, 2.0, -0.5]).astype(np.float32)
    twice = plane.mirror(plane.mirror(image))[3:-3, 3:-3, 2:-2]
    seen = np.isfinite(twice)
    # the outermost half voxel repeats the edge's value, so linear images are exact only inside of it
    inner = np.isfinite(
        plane.mirror(np.pad(np.ones((14, 16, 6), np.float32), [(3, 3), (3, 3), (2, 2)], constant_values=np.nan))
    )
    exact = seen & inner[3:-3, 3:-3, 2:-2]
    np.testing.assert_allclose(twice[exact], image[3:-3, 3:-3, 2:-2][exact], atol=1e-2)


def test_the_mirrored_value_is_the_one_at_the_mirrored_world_position() -> None:
    grid, normal, offset_mm = _grid((20, 22, 10)), _normal(10, 5), 3.0
    plane = Midplane(grid, (float(normal[0]), float(normal[1]), float(normal[2])), offset_mm)
    image = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    voxel = np.array([9, 10, 5])
    position = grid.world_mm(voxel.astype(float))
    mirrored = position - 2 * (position @ normal - offset_mm) * normal
    target = np.linalg.inv(grid.affine[:3, :3]) @ (mirrored - grid.affine[:3, 3])
    low = np.floor(target).astype(int)
    expected = 0.0
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, target - low, 1 - (target - low)))
        expected += weight * image[tuple(low + corner)]
    assert plane.mirror(image)[tuple(voxel)] == pytest.approx(expected, abs=1e-4)


def test_what_has_no_mirrored_voxel_is_nan() -> None:
    plane = Midplane(Grid((6, 1, 1), np.eye(4)), (1.0, 0.0, 0.0), 1.0)
    assert np.isnan(plane.mirror(np.ones((6, 1, 1), np.float32))).ravel().tolist() == [False] * 3 + [True] * 3


def test_a_mask_mirrors_to_the_nearest_voxel() -> None:
    plane = Midplane(Grid((4, 1, 1), np.eye(4)), (1.0, 0.0, 0.0), 1.5)
    mask = np.array([True, False, False, False]).reshape(4, 1, 1)
    assert plane.mirror(mask.astype(np.float32), order=0).ravel().tolist() == [0.0, 0.0, 0.0, 1.0]


def test_the_plane_of_a_study_of_256_256_30_is_found() -> None:
    grid, normal = _grid((256, 256, 30), (0.9, 0.9, 5.0)), _normal(4, 2)
    angle, distance_mm = _errors(find_midplane(*_head(grid, normal, 2.0), grid), normal, 2.0)
    assert angle <= 0.3
    assert distance_mm <= 0.2
