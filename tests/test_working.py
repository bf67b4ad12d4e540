"""The working grid and the blur within the brain."""

import numpy as np
import pytest
from scipy import ndimage

from strokelens.grid import Grid
from strokelens.perfusion.working import Blur, WorkingGrid

OBLIQUE = np.array([[-0.45, 0.02, 0.1, 110.0], [0.02, 0.45, 0.3, -90.0], [0.0, -0.01, 5.0, -40.0], [0, 0, 0, 1]])
FINE = Grid((64, 48, 5), OBLIQUE)


def test_pixels_of_a_millimetre_or_more_stay_as_they_are() -> None:
    grid = Grid((32, 32, 4), np.diag([1.2, 1.2, 5.0, 1.0]))
    assert WorkingGrid.of(grid).factor == 1


def test_blocks_are_averaged_in_the_slice_only() -> None:
    volume = np.random.default_rng(0).normal(size=FINE.shape).astype(np.float32)
    small = WorkingGrid.of(FINE).shrink(volume)
    assert small[3, 7, 2] == pytest.approx(volume[6:8, 14:16, 2].mean(), abs=1e-6)


def test_a_block_lies_in_the_middle_of_its_pixels() -> None:
    working = WorkingGrid.of(FINE)
    middle = FINE.world_mm(np.array([6.5, 14.5, 2.0]))
    assert working.grid.world_mm(np.array([3.0, 7.0, 2.0])) == pytest.approx(middle)


def test_the_slice_axis_may_be_any() -> None:
    turned = Grid((5, 64, 48), OBLIQUE[:, [2, 0, 1, 3]])
    volume = np.random.default_rng(0).normal(size=turned.shape).astype(np.float32)
    assert WorkingGrid.of(turned).shrink(volume).shape == (5, 32, 24)


def test_pixels_that_fill_no_block_are_cut() -> None:
    odd = Grid((65, 49, 5), OBLIQUE)
    assert WorkingGrid.of(odd).shrink(np.ones(odd.shape, np.float32)).shape == (32, 24, 5)


def test_growing_brings_a_smooth_map_back_and_leaves_nan_outside_the_brain() -> None:
    working = WorkingGrid.of(FINE)
    ramp = (np.indices(FINE.shape).sum(axis=0) * 0.1).astype(np.float32)
    brain = np.zeros(working.grid.shape, bool)
    brain[6:26, 6:18] = True
    grown = working.grow(working.shrink(ramp)[brain], brain)
    inside = working.grow_mask(brain)
    assert np.isnan(grown[~inside]).all()
    core = ndimage.binary_erosion(inside, np.ones((5, 5, 1)))
    assert grown[core] == pytest.approx(ramp[core], abs=1e-3)


def test_a_grown_mask_keeps_its_volume() -> None:
    working = WorkingGrid.of(FINE)
    mask = np.zeros(working.grid.shape, bool)
    mask[8:20, 5:17, 1:4] = True
    assert working.grow_mask(mask).sum() == pytest.approx(4 * mask.sum(), rel=0.05)


def test_blur_keeps_a_constant_up_to_the_edge_of_the_mask() -> None:
    grid = Grid((40, 40, 3), np.diag([0.9, 0.9, 5.0, 1.0]))
    mask = (np.hypot(*(np.indices((40, 40)) - 20)) < 12)[..., None].repeat(3, axis=2)
    assert Blur(mask, grid, 2.0)(np.full(mask.sum(), 35.0, np.float32)) == pytest.approx(35.0, abs=1e-3)


def test_blur_equals_the_weighted_mean_written_out() -> None:
    grid = Grid((21, 21, 5), np.diag([1.0, 1.0, 2.0, 1.0]))
    rng = np.random.default_rng(2)
    mask = rng.random(grid.shape) < 0.8
    mask[10, 10, 2] = True
    volume = rng.normal(size=grid.shape).astype(np.float32)
    i, j, k = np.indices(grid.shape)
    weight = np.exp(-((i - 10) ** 2 + (j - 10) ** 2 + (2 * (k - 2)) ** 2) / (2 * 1.5**2)) * mask
    weight[(abs(i - 10) > 5) | (abs(j - 10) > 5)] = 0  # the filter is cut at three standard deviations, rounded
    expected = (weight * volume).sum() / weight.sum()
    row = int(mask.ravel()[: np.ravel_multi_index((10, 10, 2), grid.shape)].sum())
    assert Blur(mask, grid, 1.5)(volume[mask])[row] == pytest.approx(expected, abs=1e-4)


def test_blur_passes_over_nan() -> None:
    grid = Grid((15, 15, 1), np.eye(4))
    values = np.full(225, 7.0, np.float32)
    values[112] = np.nan
    assert Blur(np.ones(grid.shape, bool), grid, 1.0)(values) == pytest.approx(7.0)


def test_no_blur_gives_the_values_themselves() -> None:
    mask = np.ones((3, 3, 3), bool)
    values = np.arange(27, dtype=np.float32)
    assert np.array_equal(Blur(mask, Grid((3, 3, 3), np.eye(4)), 0.0)(values), values)
