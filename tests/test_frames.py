"""Lattices: the ancestor's places written out, torch's antialiased interpolation, and lesions that may not vanish."""

from itertools import product
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.nn import functional

from strokelens.frames import Frame, Lattice, Resampling, Stretched, lattice_again, lattice_of
from strokelens.grid import Grid, from_radiological, radiological

EVERY_DIRECTION = ((0, 1, 2), (2, 0, 1), (1, 2, 0))
KEEPING: tuple[Resampling, ...] = ("area", "linear")


def grid_of(shape: tuple[int, int, int], axes: tuple[int, ...] = (0, 1, 2)) -> Grid:
    """A grid whose shape is this as shown; its axes lie in memory as told."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    stored = [0, 0, 0]
    for world, axis in enumerate(axes):
        affine[world, axis], stored[axis] = (-1.5, -1.0, 5.0)[world], shape[world]
    return Grid((stored[0], stored[1], stored[2]), affine)


def test_nearest_takes_the_ancestors_places_along_slices() -> None:
    places = Stretched(grid_of((192, 192, 19)), 48, 25, "nearest").along(2).tolist()
    assert places == [0, 0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 10, 11, 12, 12, 13, 14, 15, 15, 16, 17, 18]


def test_nearest_takes_every_fourth_pixel_of_192() -> None:
    lattice = Stretched(grid_of((192, 192, 19)), 48, 19, "nearest")
    for axis in (0, 1):
        assert lattice.along(axis).tolist() == list(range(0, 192, 4))
    assert lattice.along(2).tolist() == list(range(19))


@pytest.mark.parametrize("axes", EVERY_DIRECTION)
def test_nearest_is_picking_voxel_by_voxel(axes: tuple[int, ...]) -> None:
    grid = grid_of((9, 13, 5), axes)
    lattice, volume = Stretched(grid, 6, 8, "nearest"), np.random.default_rng(0).random(grid.shape).astype(np.float32)
    found, shown = lattice.reduced(volume), radiological(volume, grid)
    for z, i, j in product(range(8), range(6), range(6)):
        assert found[z, i, j] == shown[i * 9 // 6, j * 13 // 6, z * 5 // 8]


@pytest.mark.parametrize(("shape", "size"), [((24, 24), 8), ((30, 18), 8), ((5, 7), 12), ((33, 20), 20)])
def test_linear_is_torchs_antialiased_interpolation_in_the_slice(shape: tuple[int, int], size: int) -> None:
    """And where a slice grows the plain bilinear one."""
    grid = grid_of((*shape, 3))
    shown = np.random.default_rng(1).normal(size=(*shape, 3)).astype(np.float32)
    found = lattice_of(grid, size, "linear").reduced(from_radiological(shown, grid))
    images = torch.from_numpy(np.moveaxis(shown, 2, 0)[:, None].copy())
    expected = functional.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)
    np.testing.assert_allclose(found, expected[:, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize(("old", "new"), [(3, 7), (7, 3), (5, 5)])
def test_linear_weighs_slices_as_it_weighs_pixels(old: int, new: int) -> None:
    grid, rng = grid_of((8, 8, old)), np.random.default_rng(2)
    along = rng.normal(size=old).astype(np.float32)
    found = lattice_of(grid, 8, "linear", new).reduced(np.broadcast_to(along, grid.shape).copy())
    column = torch.from_numpy(along)[None, None, :, None].expand(1, 1, old, 4)
    expected = functional.interpolate(column, (new, 4), mode="bilinear", antialias=True, align_corners=False)
    shown = np.broadcast_to(expected[0, 0, :, 0].numpy()[:, None, None], (new, 8, 8))
    downwards = radiological(np.arange(old, dtype=np.float32)[None, None].repeat(8, 0).repeat(8, 1), grid)[0, 0]
    assert downwards.tolist() == list(range(old))
    np.testing.assert_allclose(found, shown, atol=1e-5)


@pytest.mark.parametrize("how", ["area", "linear", "nearest"])
def test_what_is_no_number_counts_nowhere(how: Resampling) -> None:
    grid = grid_of((24, 24, 4))
    volume = np.full(grid.shape, 3.0, np.float32)
    volume[:12] = np.nan
    found = lattice_of(grid, 12, how).reduced(volume, empty=-1)
    assert set(np.unique(np.round(found, 5))) == {-1.0, 3.0}
    assert (found == -1).mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("how", ["area", "linear", "nearest"])
def test_a_volume_without_any_number_is_empty(how: Resampling) -> None:
    grid = grid_of((24, 20, 2))
    found = lattice_of(grid, 12, how).reduced(np.full(grid.shape, np.nan, np.float32), empty=7)
    assert (found == 7).all()


def scattered(seed: int, shape: tuple[int, int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    for place in rng.integers(0, shape, (6, 3)):
        i, j, k = place
        labels[i : i + rng.integers(1, 4), j : j + rng.integers(1, 3), k : k + 1] = 1
    return labels


def kept(lattice: Lattice, labels: np.ndarray, lesion: np.ndarray) -> bool:
    """Whether a pixel that holds a voxel of a lesion is one of its class, looked at voxel by voxel."""
    found, shown = lattice.reduced_labels(labels, 2), radiological(lesion.astype(np.uint8), lattice.grid)
    for x, y, z in np.argwhere(shown).tolist():
        if isinstance(lattice, Frame):
            before = [(lattice.size * lattice.factor - side) // 2 for side in shown.shape[:2]]
            place = z, (x + before[0]) // lattice.factor, (y + before[1]) // lattice.factor
        else:
            old = shown.shape[2], *shown.shape[:2]
            place = tuple(at * new // side for at, new, side in zip((z, x, y), found.shape, old, strict=True))
        if found[place]:
            return True
    return False


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), how=st.sampled_from(KEEPING), depth=st.sampled_from([None, 3, 9]))
def test_every_lesion_keeps_a_pixel(seed: int, how: Resampling, depth: int | None) -> None:
    labels = scattered(seed, (40, 33, 5))
    lattice = lattice_of(grid_of((40, 33, 5)), 10, how, None if how == "area" else depth)
    lesions, count = ndimage.label(labels, np.ones((3, 3, 3)))
    assert all(kept(lattice, labels, lesions == lesion + 1) for lesion in range(count))


def test_a_lesion_of_one_voxel_vanishes_by_the_ancestors_rule_and_stays_by_ours() -> None:
    labels = np.zeros((192, 192, 19), np.uint8)
    labels[101, 55, 7] = 1
    grid = grid_of((192, 192, 19))
    counts = {how: int(lattice_of(grid, 48, how).reduced_labels(labels, 2).sum()) for how in (*KEEPING, "nearest")}
    assert counts == {"area": 1, "linear": 1, "nearest": 0}


@pytest.mark.parametrize("how", KEEPING)
def test_a_core_in_a_penumbra_that_is_larger_keeps_a_pixel(how: Resampling) -> None:
    labels = np.zeros((32, 32, 2), np.uint8)
    labels[8:24, 8:24] = 1
    labels[14, 14, 0] = 2
    found = lattice_of(grid_of((32, 32, 2)), 8, how).reduced_labels(labels, 3)
    assert np.bincount(found.ravel(), minlength=3).tolist() == [2 * (64 - 16), 2 * 16 - 1, 1]


@pytest.mark.parametrize("how", ["area", "linear", "nearest"])
@pytest.mark.parametrize("axes", EVERY_DIRECTION)
def test_restored_shares_are_shares_and_sum_to_one(how: Resampling, axes: tuple[int, ...]) -> None:
    grid = grid_of((21, 26, 5), axes)
    lattice = lattice_of(grid, 13, how, None if how == "area" else 7)
    labels = lattice.reduced_labels(np.random.default_rng(3).integers(0, 3, grid.shape).astype(np.uint8), 3)
    shares = np.stack([labels == value for value in range(3)], axis=1).astype(np.float32)
    restored = lattice.restored(shares)
    assert restored.shape == (3, *grid.shape)
    assert 0 <= restored.min() <= restored.max() <= 1 + 1e-6
    np.testing.assert_allclose(restored.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("how", ["area", "linear", "nearest"])
def test_a_constant_comes_back(how: Resampling) -> None:
    grid = grid_of((21, 26, 5))
    lattice = lattice_of(grid, 13, how, None if how == "area" else 8)
    inside = lattice.reduced(np.full(grid.shape, 2.5, np.float32), empty=2.5)
    np.testing.assert_allclose(lattice.restored(inside[:, None])[0], 2.5, atol=1e-5)


@pytest.mark.parametrize("how", ["linear", "nearest"])
def test_the_grid_itself_is_kept_voxel_by_voxel(how: Literal["linear", "nearest"]) -> None:
    grid = grid_of((16, 16, 5), (2, 0, 1))
    lattice, rng = Stretched(grid, 16, 5, how), np.random.default_rng(4)
    volume = rng.normal(size=grid.shape).astype(np.float32)
    np.testing.assert_allclose(lattice.restored(lattice.reduced(volume)[:, None])[0], volume, atol=1e-6)
    labels = rng.integers(0, 3, grid.shape).astype(np.uint8)
    assert np.array_equal(lattice.reduced_labels(labels, 3), np.moveaxis(radiological(labels, grid), 2, 0))


@pytest.mark.parametrize(
    "lattice",
    [
        lattice_of(grid_of((40, 33, 5)), 10),
        lattice_of(grid_of((40, 33, 5)), 10, "linear", 9),
        lattice_of(grid_of((40, 33, 5)), 10, "nearest"),
    ],
)
def test_a_lattice_is_made_again_of_its_facts(lattice: Lattice) -> None:
    assert lattice_again(lattice.grid, lattice.facts) == lattice


def test_facts_of_no_lattice_are_an_error() -> None:
    for facts in ({}, {"factor": 1}, {"size": 3, "depth": 2}, {"strange": 1}):
        with pytest.raises(TypeError, match="argument"):
            lattice_again(grid_of((4, 4, 4)), dict(facts))


@pytest.mark.parametrize(("how", "pixel_mm"), [("area", 4 * 1.5**0.5), ("linear", 1.5**0.5 * 4), ("nearest", None)])
def test_a_pixels_edge_is_that_of_a_square_as_large(how: Resampling, pixel_mm: float | None) -> None:
    lattice = lattice_of(grid_of((48, 48, 3)), 12, how)
    assert lattice.pixel_mm == pytest.approx(pixel_mm or 4 * 1.5**0.5)
