"""Grids, times, noise, motion and the two kinds of image, each against a formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strokelens.errors import SeriesError
from strokelens.grid import Grid
from strokelens.phantom.scanner import (
    CtProtocol,
    DscProtocol,
    Pose,
    correlated_noise,
    draw_motion,
    draw_poses,
    enlarged,
    frame_times_s,
    moved,
    scan_grid,
    varied,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_grid_is_flipped_oblique_and_of_the_protocols_size() -> None:
    grid = scan_grid(CtProtocol(gantry_tilt_deg=10.0))
    assert grid.orientation == "LPS"
    assert grid.shape == (256, 256, 16)
    assert grid.spacing_mm == pytest.approx((230 / 256, 230 / 256, 5.0))
    assert grid.affine[2, 1] == pytest.approx(-230 / 256 * np.sin(np.deg2rad(10)))
    assert grid.world_mm((np.array(grid.shape) - 1) / 2) == pytest.approx([0, 0, 18])


def test_frames_come_at_their_interval_until_the_scan_is_cut_off() -> None:
    assert frame_times_s(CtProtocol(frames=4, interval_s=1.25)) == pytest.approx([0, 1.25, 2.5, 3.75])
    assert frame_times_s(CtProtocol(truncated_s=45.0)).max() == 45.0


def test_irregular_times_are_taken_as_given() -> None:
    assert frame_times_s(DscProtocol(time_s=(0.0, 1.0, 4.0))).tolist() == [0, 1, 4]


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (lambda: CtProtocol(frames=1), "at least two frames whose times grow"),
        (lambda: CtProtocol(time_s=(0.0, 2.0, 1.0)), r"not \[0.0, 2.0, 1.0\]"),
        (lambda: CtProtocol(slices=0), "256×256×0 voxels .* give positive sizes"),
        (lambda: DscProtocol(field_of_view_mm=-1), "over -1 mm"),
    ],
)
def test_an_impossible_protocol_says_what_is_wrong(protocol: type, message: str) -> None:
    with pytest.raises(SeriesError, match=message):
        protocol()


def test_varied_protocols_stay_within_practice() -> None:
    for seed in range(50):
        ct, mr = (varied(protocol, rng(seed)) for protocol in (CtProtocol(matrix=64), DscProtocol()))
        assert isinstance(ct, CtProtocol)
        assert isinstance(mr, DscProtocol)
        assert ct.matrix == 64
        assert 43 <= ct.frames <= 61
        assert 1 <= ct.interval_s <= 1.5
        assert 4 <= ct.noise_hu <= 12
        assert 0.025 <= mr.echo_time_s <= 0.035
        assert 50 <= mr.snr <= 100


@pytest.mark.parametrize("sigma", [0.4, 0.54, 1.0, 1.7])
def test_correlated_noise_keeps_its_standard_deviation(sigma: float) -> None:
    assert correlated_noise(rng(), (4, 200, 200), sigma).std() == pytest.approx(1, abs=0.02)


def test_noise_is_correlated_in_the_plane_as_two_gaussians_are() -> None:
    noise = correlated_noise(rng(), (6, 300, 300), 1.0)
    for axis, expected in ((0, 0.0), (1, np.exp(-1 / 4)), (2, np.exp(-1 / 4))):
        first, second = np.delete(noise, -1, axis), np.delete(noise, 0, axis)
        assert np.corrcoef(first.ravel(), second.ravel())[0, 1] == pytest.approx(expected, abs=0.02)
    # a real slice at 0.49 mm has 0.76


def test_enlarging_is_linear_interpolation_at_the_centres_of_half_voxels() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (2, 8, 1))
    twice = enlarged(ramp, 16)
    assert twice.shape == (2, 16, 16)
    assert twice[0, 5, 1:-1] == pytest.approx((np.arange(16) / 2 - 0.25)[1:-1])
    assert enlarged(ramp, 8) is ramp


def test_enlarging_keeps_the_mean_where_the_border_is_empty() -> None:
    volume = np.zeros((2, 12, 12), np.float32)
    volume[:, 3:-3, 3:-3] = rng().random((2, 6, 6))
    assert enlarged(volume, 24).mean() == pytest.approx(volume.mean(), rel=1e-5)


def plain_grid() -> Grid:
    return Grid((20, 24, 6), np.diag([-2.0, -2.0, 5.0, 1.0]))


def test_a_shift_by_whole_voxels_moves_the_image_by_them() -> None:
    volume = rng().random((6, 24, 20)).astype(np.float32)  # (k, j, i)
    shifted = moved(volume, plain_grid(), Pose(shift_mm=(-4.0, 2.0, 5.0)))  # i grows to the left, j to the back
    assert shifted[1:, :-1, 2:] == pytest.approx(volume[:-1, 1:, :-2], abs=1e-5)


def test_a_turn_moves_a_point_where_the_rotation_says() -> None:
    grid, volume = plain_grid(), np.zeros((6, 24, 20), np.float32)
    volume[2:4, 10:13, 15:17] = 1
    turned = moved(volume, grid, Pose(turn_deg=(0.0, 0.0, 20.0)))
    centre = grid.world_mm((np.array(grid.shape) - 1) / 2)
    c, s = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
    before, after = (
        grid.world_mm(np.array([np.average(axis, weights=image) for axis in np.indices(image.shape)])[::-1]) - centre
        for image in (volume, turned)
    )
    assert after == pytest.approx(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ before, abs=0.15)


def test_a_still_head_is_not_resampled() -> None:
    volume = np.ones((6, 24, 20), np.float32)
    assert moved(volume, plain_grid(), Pose()) is volume


def test_every_fifth_patient_moves_unless_told() -> None:
    moving = [any(not pose.still for pose in draw_poses(rng(seed), 20)) for seed in range(400)]
    assert np.mean(moving) == pytest.approx(0.2, abs=0.06)
    assert all(pose.still for pose in draw_poses(rng(), 20, motion=False))
    assert not all(pose.still for pose in draw_poses(rng(), 20, motion=True))


@given(seed=st.integers(0, 500))
def test_heads_move_by_at_most_three_millimetres_and_two_degrees(seed: int) -> None:
    poses = draw_motion(rng(seed), 40)
    assert poses[0].still
    assert len(poses) == 40
    for pose in poses:
        assert np.linalg.norm(pose.shift_mm) <= 3.001
        assert np.linalg.norm(pose.turn_deg) <= 2.001
