"""Motion of a head that is a formula, so that every moved frame is exact: no interpolation makes the truth."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float
from scipy import ndimage
from scipy.spatial.transform import Rotation

from strokelens.arrays import Curve, Mask, Points, Series, Volume
from strokelens.grid import Grid
from strokelens.perfusion.motion import Motion, estimate_motion

FRAMES = 14
MOVED = (3, 6, 9, 12)


@dataclass(frozen=True)
class Head:
    """A skull with bumps and a thick base, brain with ventricles and texture, vessels; in mm from the grid's centre."""

    seed: int = 0
    bone_hu: float = 900.0
    outside_hu: float = -1000.0

    def _radius(self, x: Points) -> Float[np.ndarray, "*n"]:
        a, b, c = np.moveaxis(x / np.array([68.0, 84.0, 74.0]), -1, 0)
        r = np.sqrt(a**2 + b**2 + c**2) + 1e-9
        bumps = 0.03 * np.sin(3 * np.arctan2(b, a) + 1) + 0.02 * np.sin(5 * np.arctan2(b, a) + x[..., 2] / 20)
        radius: Float[np.ndarray, "*n"] = (r * (1 + bumps) - 1) * 72.0  # about mm outside of the inner skull
        return radius

    def brain(self, x: Points) -> Float[np.ndarray, "*n"]:
        return _step(-self._radius(x) - 1.0)

    def anatomy(self, x: Points) -> Float[np.ndarray, "*n"]:
        outside = self._radius(x)
        rng = np.random.default_rng(self.seed)
        texture = np.zeros(x.shape[:-1])
        for _ in range(8):
            wave = rng.normal(size=3) / 9.0
            texture += 2.5 * np.sin(x @ wave + rng.uniform(0, 6))
        ventricle = np.minimum(*(_ellipsoid(x, (side * 9.0, 5.0, 0.0), (7, 25, 12)) for side in (-1, 1)))
        thickness = 6.0 + 2.0 * np.sin(x[..., 1] / 15.0)
        tissue = 34 + texture - 22 * _step(-ventricle)
        bone = self.bone_hu * _step(outside) * _step(thickness - outside)
        scalp = 40 * _step(outside - thickness) * _step(thickness + 7 - outside)
        air = self.outside_hu * _step(outside - thickness - 7)
        hu: Float[np.ndarray, "*n"] = tissue * _step(-outside) + bone + scalp + air
        return hu

    def enhancement(self, x: Points) -> Float[np.ndarray, "*n"]:
        """At the bolus's peak, HU: 15 in one hemisphere, 4 in the other, up to 400 in vessels and the sinus."""
        middle = [(-30.0, 10.0), (30.0, 10.0), (0.0, 45.0), (12.0, -40.0)]
        tubes = [np.hypot(x[..., 0] - a, x[..., 1] - b) - 2.0 for a, b in middle]
        sinus = np.hypot(x[..., 0], self._radius(x) + 3.0) - 4.0 + 1e3 * (x[..., 1] > 0)
        tissue = np.where(x[..., 0] > 0, 15.0, 4.0) * self.brain(x)
        hu: Float[np.ndarray, "*n"] = tissue + 400 * _step(-np.minimum.reduce([*tubes, sinus]))
        return hu


def _step(mm: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """From 0 to 1 across an edge, as sharp as a scanner shows it (about 1.5 mm)."""
    step: Float[np.ndarray, "*n"] = 0.5 * (1 + np.tanh(mm / 0.8))
    return step


def _ellipsoid(x: Points, centre: tuple[float, ...], axes: tuple[float, ...]) -> Float[np.ndarray, "*n"]:
    distance: Float[np.ndarray, "*n"] = (np.linalg.norm((x - np.array(centre)) / np.array(axes), axis=-1) - 1) * min(
        axes
    )
    return distance


def affine(
    spacing: tuple[float, ...] = (1.8, 1.8, 5.0), turn: tuple[float, ...] = (0, 0, 0), flips: int = 0
) -> Float[np.ndarray, "4 4"]:
    matrix = np.eye(4)
    signs = [-1 if flips & (1 << axis) else 1 for axis in range(3)]
    matrix[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ np.diag(np.array(spacing) * signs)
    matrix[:3, 3] = (12.0, -7.0, 30.0)
    return matrix


GRID = Grid((112, 120, 10), affine())


def places(grid: Grid, voxels: Points) -> Points:
    offsets: Points = grid.world_mm(voxels) - grid.world_mm((np.array(grid.shape) - 1) / 2)
    return offsets


def pictures(head: Head, grid: Grid, parameters: Float[np.ndarray, "6"]) -> tuple[Volume, Volume]:
    return _pictures(head, grid, tuple(parameters.tolist()))


@cache
def _pictures(head: Head, grid: Grid, motion: tuple[float, ...]) -> tuple[Volume, Volume]:
    """Anatomy and enhancement of the head after it moved: what is at R x + t was at x; slices average over depth."""
    parameters = np.array(motion)
    voxels = np.moveaxis(np.indices(grid.shape), 0, -1).astype(float)
    sums = [np.zeros(grid.shape), np.zeros(grid.shape)]
    depths = (-1 / 3, 0.0, 1 / 3)
    rotation = Rotation.from_rotvec(parameters[3:]).as_matrix()
    for depth in depths:
        x = (places(grid, voxels + np.array([0, 0, depth])) - parameters[:3]) @ rotation
        x = x.astype(np.float32)
        sums[0] += head.anatomy(x) / len(depths)
        sums[1] += head.enhancement(x) / len(depths)
    return sums[0].astype(np.float32), sums[1].astype(np.float32)


def bolus(frames: int = FRAMES) -> Curve:
    t = np.arange(frames) / frames * 20
    curve: Curve = np.clip((t - 4) / 5, 0, None) ** 3 * np.exp(-3 * ((t - 4) / 5 - 1))
    return np.where(t > 4, curve, 0.0).astype(np.float32)


def noise(grid: Grid, frames: int, *, sigma_hu: float, seed: int = 5) -> Series:
    """White noise, blurred in the slice by one voxel, brought back to its deviation."""
    rng = np.random.default_rng(seed)
    white = ndimage.gaussian_filter(rng.normal(size=(*grid.shape, frames)), (1, 1, 0, 0))
    coloured: Series = (white / white.std() * sigma_hu).astype(np.float32)
    return coloured


def ct_series(
    truth: Float[np.ndarray, "t 6"], *, grid: Grid = GRID, head: Head | None = None, sigma_hu: float = 6.0
) -> Series:
    head = head or Head()
    frames = []
    for parameters, height in zip(truth, bolus(len(truth)), strict=True):
        anatomy, enhancement = pictures(head, grid, parameters)
        frames.append(anatomy + height * enhancement)
    return np.asfortranarray(np.stack(frames, axis=-1) + noise(grid, len(truth), sigma_hu=sigma_hu))


def mr_series(truth: Float[np.ndarray, "t 6"], *, grid: Grid = GRID) -> Series:
    """S = S0 exp(−TE ΔR2*): at the peak a third of the signal is lost in one hemisphere, a tenth in the other."""
    head = Head(bone_hu=0, outside_hu=0)
    frames = []
    for parameters, height in zip(truth, bolus(len(truth)), strict=True):
        anatomy, enhancement = pictures(head, grid, parameters)
        frames.append(
            np.clip(600 - 8 * anatomy, 50, None) * (anatomy > 8) * np.exp(-height * np.minimum(enhancement, 30) / 40)
        )
    signal = np.stack(frames, axis=-1)
    rough = np.random.default_rng(2).normal(scale=6.0, size=(2, *signal.shape))
    return np.asfortranarray(np.hypot(signal + rough[0], rough[1]).astype(np.float32))


def movements(seed: int, *, in_plane_only: bool = False) -> Float[np.ndarray, "t 6"]:
    """Four of fourteen frames, moved by 0.5 ... 4 mm and 0 ... 3 degrees in random directions."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((FRAMES, 6))
    for frame in MOVED:
        directions = rng.normal(size=(2, 3))
        if in_plane_only:
            directions[0, 2] = directions[1, :2] = 0
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        truth[frame] = np.concatenate(
            [directions[0] * rng.uniform(0.5, 4), directions[1] * np.deg2rad(rng.uniform(0, 3))]
        )
    return truth


def errors_mm(motion: Motion, truth: Float[np.ndarray, "t 6"], grid: Grid, brain: Mask) -> Float[np.ndarray, "t 2"]:
    """Mean error of the displacement inside the head, per frame: within the slice, across slices."""
    x = places(grid, np.argwhere(brain)[::17].astype(float))
    axes = grid.affine[:3, :3] / grid.spacing_mm
    result = []
    for found, true in zip(motion.parameters, truth, strict=True):
        a, b = (Rotation.from_rotvec(row[3:]).apply(x) + row[:3] for row in (found, true))
        gap = (a - b) @ axes
        result.append((np.hypot(gap[:, 0], gap[:, 1]).mean(), np.abs(gap[:, 2]).mean()))
    return np.array(result)


def brain_of(grid: Grid, head: Head | None = None) -> Mask:
    brain: Mask = (head or Head()).brain(places(grid, np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))) > 0.9
    return brain


def moved_series(shift: tuple[int, int]) -> Series:
    """A still series with frame 3 moved by whole voxels in the slice."""
    series = ct_series(np.zeros((6, 6)))
    series[..., 3] = np.roll(series[..., 3], shift, axis=(0, 1))
    return series


@pytest.mark.parametrize("seed", [1, 3])
def test_on_ct_the_head_is_found_within_0_25_mm_in_the_slice_and_0_5_mm_across(seed: int) -> None:
    truth = movements(seed)
    motion = estimate_motion(ct_series(truth), GRID, modality="CT")
    within, across = errors_mm(motion, truth, GRID, brain_of(GRID)).T
    assert within.max() < 0.25  # measured: 0.15 at most
    assert across.max() < 0.5  # measured: 0.26; slices are 5 mm thick


@pytest.mark.parametrize("seed", [2, 3])
def test_on_mr_the_head_is_found_within_0_5_mm_in_the_slice_though_a_third_of_the_signal_is_lost(seed: int) -> None:
    truth = movements(seed)
    motion = estimate_motion(mr_series(truth), GRID, modality="MR")
    assert np.flatnonzero(motion.moved).tolist() == list(MOVED)
    within, across = errors_mm(motion, truth, GRID, brain_of(GRID)).T
    assert within.max() < 0.5
    assert across.max() < 0.75


@pytest.mark.parametrize("seed", [1, 4])
def test_only_the_frames_that_moved_are_resampled(seed: int) -> None:
    motion = estimate_motion(ct_series(movements(seed)), GRID, modality="CT")
    assert np.flatnonzero(motion.moved).tolist() == list(MOVED)


@pytest.mark.parametrize(("modality", "noise_seed"), [("CT", 1), ("CT", 2), ("MR", 3)])
def test_a_still_series_with_a_bolus_stays_the_very_same_arrays(modality: Literal["CT", "MR"], noise_seed: int) -> None:
    still = np.zeros((FRAMES, 6))
    if modality == "CT":
        series = ct_series(still, sigma_hu=0) + noise(GRID, FRAMES, sigma_hu=6.0, seed=noise_seed)
    else:
        series = mr_series(still)
    motion = estimate_motion(series, GRID, modality=modality)
    frames = [series[..., index] for index in range(FRAMES)]
    assert all(motion.steady(frame, index) is frame for index, frame in enumerate(frames))
    assert not motion.parameters.any()
    assert motion.flags == ()


def test_correction_takes_away_four_fifths_of_the_error_that_motion_made_in_the_brain() -> None:
    truth = movements(1)
    series, still = (ct_series(rows, sigma_hu=0) for rows in (truth, np.zeros_like(truth)))
    motion = estimate_motion(ct_series(truth), GRID, modality="CT")
    brain = brain_of(GRID)
    brain[..., [0, -1]] = False
    before, after = 0.0, 0.0
    for index in MOVED:
        before += float(np.square(series[..., index] - still[..., index])[brain].sum())
        after += float(np.square(motion.steady(series[..., index], index) - still[..., index])[brain].sum())
    assert np.sqrt(after / before) < 1 / 5  # measured: 1/6.8 over the four frames


def test_vessels_keep_their_height_in_corrected_frames() -> None:
    truth = movements(1)
    motion = estimate_motion(ct_series(truth), GRID, modality="CT")
    series, still = (ct_series(rows, sigma_hu=0) for rows in (truth, np.zeros_like(truth)))
    vessels = (pictures(Head(), GRID, np.zeros(6))[1] > 100) & brain_of(GRID)
    top = MOVED[1]
    corrected = motion.steady(series[..., top], top)[vessels].mean()
    assert corrected == pytest.approx(still[..., top][vessels].mean(), rel=0.05)


@settings(max_examples=2)
@given(st.tuples(st.integers(-4, 4), st.integers(-4, 4)).filter(any))
def test_a_shift_by_whole_voxels_is_undone(shift: tuple[int, int]) -> None:
    series = moved_series(shift)
    motion = estimate_motion(series, GRID, modality="CT")
    wanted = GRID.affine[:3, :3] @ np.array([*shift, 0.0])
    assert motion.parameters[3, :3] == pytest.approx(wanted, abs=0.1)
    again = motion.steady(series[..., 3], 3)
    still = np.roll(series[..., 3], (-shift[0], -shift[1]), axis=(0, 1))
    inner = (slice(8, -8), slice(8, -8), slice(1, -1))
    assert np.abs(again - still)[inner].mean() < 0.25 * np.abs(series[..., 3] - still)[inner].mean()


@pytest.mark.parametrize(("turn", "flips"), [((0, 0, 0), 1), ((0, 0, 0), 6), ((12, -8, 20), 0), ((-10, 5, 30), 5)])
def test_oblique_and_flipped_affines_give_motion_in_the_same_world(turn: tuple[float, ...], flips: int) -> None:
    grid = Grid((112, 120, 10), affine(turn=turn, flips=flips))
    truth = movements(2)[:8]
    motion = estimate_motion(ct_series(truth, grid=grid), grid, modality="CT")
    within, across = errors_mm(motion, truth, grid, brain_of(grid)).T
    assert within.max() < 0.5
    assert across.max() < 0.75


def test_voxels_that_differ_between_the_axes_of_the_slice_do_not_matter() -> None:
    grid = Grid((168, 70, 12), affine((1.2, 3.0, 5.0)))
    truth = movements(3)[:8]
    motion = estimate_motion(ct_series(truth, grid=grid), grid, modality="CT")
    assert errors_mm(motion, truth, grid, brain_of(grid))[:, 0].max() < 0.5


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_with_few_slices_motion_within_the_slice_is_found_and_none_across(slices: int) -> None:
    grid = Grid((112, 120, slices), affine())
    truth = movements(3, in_plane_only=True) * [1, 1, 1, 0, 0, 1]
    motion = estimate_motion(ct_series(truth, grid=grid), grid, modality="CT")
    assert np.flatnonzero(motion.moved).tolist() == list(MOVED)
    assert errors_mm(motion, truth, grid, brain_of(grid)).max() < 0.25
    assert not motion.parameters[:, 2:5].any()


@pytest.mark.parametrize("when", [2, 6])
def test_a_head_that_changes_place_for_good_is_brought_to_where_it_was_first(when: int) -> None:
    truth = np.zeros((10, 6))
    truth[when:] = [1, 2, 1, 0.01, 0, 0.03]
    motion = estimate_motion(ct_series(truth), GRID, modality="CT")
    assert motion.moved.tolist() == [False] * when + [True] * (10 - when)
    assert errors_mm(motion, truth, GRID, brain_of(GRID)).max() < 0.5


@pytest.mark.parametrize("far", [(0, 0, 28.0, 0, 0, 0), (38.0, -20.0, 5.0, 0, 0, 0.1), (4.0, 0, 0, 0, 0, 0)])
def test_one_bad_first_frame_is_put_right_or_left_out_and_no_other_frame_follows_it(far: tuple[float, ...]) -> None:
    truth = np.zeros((10, 6))
    truth[0] = far
    motion = estimate_motion(ct_series(truth), GRID, modality="CT")
    assert (motion.moved | motion.uncorrected).tolist() == [True] + [False] * 9


def test_a_blank_first_frame_is_not_where_the_head_is_brought_to() -> None:
    truth = np.zeros((10, 6))
    truth[3:] = [1, 2, 1, 0.01, 0, 0.03]
    series = ct_series(truth).copy()
    series[..., 0] = 0
    motion = estimate_motion(series, GRID, modality="CT")
    assert motion.moved.tolist() == [False] * 3 + [True] * 7


@pytest.mark.parametrize("far", [(12.0, -9.0, 6.0, 0.05, 0.05, 0.15), (0, 0, 0, 0, 0, 0.3), (25.0, 0, 0, 0, 0, 0)])
def test_large_motion_is_caught(far: tuple[float, ...]) -> None:
    truth = np.zeros((6, 6))
    truth[3] = far
    motion = estimate_motion(ct_series(truth), GRID, modality="CT")
    assert errors_mm(motion, truth, GRID, brain_of(GRID))[3].max() < 0.5
    assert [flag.code for flag in motion.flags] == ["motion"]


def test_a_head_that_left_its_slices_is_reported_and_left_alone() -> None:
    truth = np.zeros((6, 6))
    truth[3] = (0, 0, 28.0, 0, 0, 0)
    series = ct_series(truth)
    motion = estimate_motion(series, GRID, modality="CT")
    assert np.flatnonzero(motion.uncorrected).tolist() == [3]
    assert not motion.moved.any()
    assert motion.flags[0].code == "motion-uncorrected"
    assert motion.flags[0].message == "motion of frames 4 could not be corrected"
    assert motion.flags[0].grave


def test_without_bone_the_soft_head_is_followed() -> None:
    truth = movements(1)
    motion = estimate_motion(ct_series(truth, head=Head(bone_hu=40.0)), GRID, modality="CT")
    assert np.flatnonzero(motion.moved).tolist() == list(MOVED)
    assert errors_mm(motion, truth, GRID, brain_of(GRID)).max() < 0.5


@pytest.mark.parametrize("outside", [0.0, np.nan])
def test_a_brain_moving_behind_a_fixed_mask_is_followed_and_not_the_mask(outside: float) -> None:
    truth = movements(1)
    series = np.where(brain_of(GRID)[..., None], ct_series(truth), np.float32(outside))
    motion = estimate_motion(series, GRID, modality="CT")
    assert np.flatnonzero(motion.moved).tolist() == list(MOVED)
    assert errors_mm(motion, truth, GRID, brain_of(GRID)).max() < 1.0


def test_frames_that_share_nothing_are_left_alone_and_said_to_be_unknown() -> None:
    series = noise(GRID, 6, sigma_hu=30.0) + 30
    motion = estimate_motion(series, GRID, modality="CT")
    assert not motion.moved.any()
    assert [flag.code for flag in motion.flags] == ["motion-unknown"]


def test_a_slow_drift_is_not_taken_for_the_bolus() -> None:
    truth = np.zeros((FRAMES, 6))
    truth[:, 1] = np.linspace(0, 4, FRAMES)
    motion = estimate_motion(mr_series(truth), GRID, modality="MR")
    assert np.ptp(motion.parameters[:, 1]) == pytest.approx(4.0, abs=0.5)


@pytest.mark.parametrize("blank", [np.nan, 0.0, -1000.0])
def test_a_blank_frame_counts_as_still_and_disturbs_no_other(blank: float) -> None:
    truth = movements(1)
    series = ct_series(truth)
    series[..., 5] = blank
    motion = estimate_motion(series, GRID, modality="CT")
    assert np.flatnonzero(motion.moved).tolist() == list(MOVED)
    assert np.isnan(motion.displacement_mm[5])


def test_a_nan_stays_one_voxel_where_a_frame_is_corrected() -> None:
    series = moved_series((3, -2))
    series[40, 50, 5, 3] = np.nan
    motion = estimate_motion(series, GRID, modality="CT")
    assert np.argwhere(np.isnan(motion.steady(series[..., 3], 3))).tolist() == [[37, 52, 5]]


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_few_still_frames_stay_as_they_are(frames: int) -> None:
    motion = estimate_motion(ct_series(np.zeros((frames, 6))), GRID, modality="CT")
    assert motion.moved.tolist() == [False] * frames


@pytest.mark.parametrize("value", [0.0, np.nan, 40.0])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_series_without_content_is_still(value: float, modality: Literal["CT", "MR"]) -> None:
    grid = Grid((16, 16, 4), affine())
    motion = estimate_motion(np.full((16, 16, 4, 5), value, np.float32), grid, modality=modality)
    assert not motion.moved.any()
    assert motion.flags == ()


def test_memory_order_does_not_change_the_answer() -> None:
    series = ct_series(movements(2)[:8])
    rows = [estimate_motion(order(series), GRID, modality="CT") for order in (np.asfortranarray, np.ascontiguousarray)]
    assert rows[0].parameters == pytest.approx(rows[1].parameters, abs=1e-4)
    corrected = [
        motion.steady(order(series[..., 3]), 3)
        for motion, order in zip(rows, (np.asfortranarray, np.ascontiguousarray), strict=True)
    ]
    assert np.abs(corrected[0] - corrected[1]).max() < 1.0  # HU
