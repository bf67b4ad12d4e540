"""What the machine makes of a head: CT and DSC-MR protocols, grids, motion, and images with their noise."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from jaxtyping import Float, Float32
from scipy import ndimage

from strokelens.arrays import Curve
from strokelens.errors import SeriesError
from strokelens.grid import Grid
from strokelens.phantom.anatomy import rotation
from strokelens.phantom.composition import Composition

BASELINE_HU: Final = {
    "grey": 35.0,
    "white": 29.1,
    "fluid": 12.1,
    "bone": 1000.0,
    "scalp": 45.0,
    "artery": 40.0,
    "collateral": 40.0,
    "vein": 40.0,
}
AIR_HU: Final = -1000.0
LOWEST_HU: Final = -1024.0

MR_SIGNAL: Final = {
    "grey": 1.0,
    "white": 0.82,
    "fluid": 1.7,
    "bone": 0.06,
    "scalp": 0.35,
    "artery": 0.9,
    "collateral": 0.9,
    "vein": 0.9,
}
"""Baseline of a T2*-weighted echo-planar image, over grey matter's."""

MOTION_SHARE: Final = 0.2
"""The share of patients that move."""

CENTRE_Z_MM = 18.0
"""The scanned block's middle: the level of the basal ganglia."""


@dataclass(frozen=True)
class CtProtocol:
    """A CT perfusion scan; the defaults are a common one of 60 s.

    `noise_hu` is the standard deviation of the noise in the image, after the correlation that a reconstruction gives
    it: Gaussian with `noise_correlation_mm`. `time_s` gives irregular frame times and overrules frames and interval.
    `truncated_s` ends the scan early.
    """

    matrix: int = 256
    slices: int = 16
    slice_mm: float = 5.0
    field_of_view_mm: float = 230.0
    gantry_tilt_deg: float = 6.0
    frames: int = 40
    interval_s: float = 1.5
    time_s: tuple[float, ...] | None = None
    truncated_s: float | None = None
    noise_hu: float = 6.0
    noise_correlation_mm: float = 0.49
    channel: str = field(default="CTP", init=False)

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class DscProtocol:
    """A dynamic susceptibility-contrast MR scan.

    `signal` is grey matter's baseline, `snr` that over the noise of each of the two receiver channels; the noise is
    Rician. `grey_peak_per_s` is the ΔR2* that healthy grey matter reaches in the patient.
    """

    matrix: int = 128
    slices: int = 16
    slice_mm: float = 5.0
    field_of_view_mm: float = 230.0
    gantry_tilt_deg: float = 6.0
    frames: int = 50
    interval_s: float = 1.4
    time_s: tuple[float, ...] | None = None
    truncated_s: float | None = None
    echo_time_s: float = 0.030
    signal: float = 600.0
    snr: float = 70.0
    grey_peak_per_s: float = 10.0
    channel: str = field(default="PWI", init=False)

    def __post_init__(self) -> None:
        _check(self)


Protocol = CtProtocol | DscProtocol


def _check(protocol: Protocol) -> None:
    if min(protocol.matrix, protocol.slices) < 1 or min(protocol.slice_mm, protocol.field_of_view_mm) <= 0:
        raise SeriesError(
            f"a scan of {protocol.matrix}×{protocol.matrix}×{protocol.slices} voxels over "
            f"{protocol.field_of_view_mm:g} mm in slices of {protocol.slice_mm:g} mm cannot be; give positive sizes"
        )
    times = frame_times_s(protocol)
    if times.size < 2 or (np.diff(times) <= 0).any():
        raise SeriesError(
            f"a series needs at least two frames whose times grow, not {times.tolist()[:6]}; "
            "set frames, interval_s, time_s or truncated_s"
        )


def varied(protocol: Protocol, rng: np.random.Generator) -> Protocol:
    """The protocol with timing and image quality drawn from the ranges of practice; its geometry stays."""
    if isinstance(protocol, CtProtocol):
        return replace(
            protocol,
            frames=int(rng.integers(43, 62)),
            interval_s=round(float(rng.uniform(1.0, 1.5)), 2),
            noise_hu=round(float(np.clip(6.0 * np.exp(rng.normal(0, 0.3)), 4.0, 12.0)), 1),
        )
    return replace(
        protocol,
        interval_s=round(float(rng.uniform(1.2, 1.6)), 2),
        echo_time_s=round(float(rng.uniform(0.025, 0.035)), 4),
        signal=round(float(rng.uniform(300, 1000))),
        snr=round(float(rng.uniform(50, 100))),
        grey_peak_per_s=round(float(rng.uniform(5, 25)), 1),
    )


def frame_times_s(protocol: Protocol) -> Curve:
    """The times of the frames in s, the first at 0 unless the protocol gives them."""
    regular = np.arange(protocol.frames) * protocol.interval_s
    times = np.array(protocol.time_s if protocol.time_s is not None else regular, dtype=np.float64)
    kept: Curve = times if protocol.truncated_s is None else times[times <= protocol.truncated_s]
    return kept


def scan_grid(protocol: Protocol) -> Grid:
    """An LPS grid: i to the left, j to the back, k up, turned about the left-right axis by the gantry's tilt."""
    pixel = protocol.field_of_view_mm / protocol.matrix
    turn = rotation(np.deg2rad(protocol.gantry_tilt_deg), 0, 0)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-pixel, -pixel, protocol.slice_mm])
    shape = (protocol.matrix, protocol.matrix, protocol.slices)
    middle = (np.array(shape) - 1) / 2
    affine[:3, 3] = np.array([0, 0, CENTRE_Z_MM]) - affine[:3, :3] @ middle
    return Grid(shape, affine)


@dataclass(frozen=True)
class Pose:
    """How a frame's head lies against the first one's: degrees about x, y, z through the block's middle, then mm."""

    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def still(self) -> bool:
        """Whether the head has not moved."""
        return not any(self.turn_deg) and not any(self.shift_mm)


def draw_poses(rng: np.random.Generator, frames: int, motion: bool | None = None) -> tuple[Pose, ...]:
    """The pose of each frame; `motion` says whether the patient moves, and None leaves it to chance."""
    moves = bool(rng.random() < MOTION_SHARE) if motion is None else motion
    return draw_motion(rng, frames) if moves else (Pose(),) * frames


def draw_motion(rng: np.random.Generator, frames: int) -> tuple[Pose, ...]:
    """One to three movements during the scan, each to a new position up to 3 mm and 2° away, some of them back."""
    poses = [Pose()] * frames
    for start in sorted(rng.integers(max(1, frames // 8), frames, size=int(rng.integers(1, 4)))):
        direction, axis = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
        shift, turn = rng.uniform(0.8, 3.0) * direction, rng.uniform(0.3, 2.0) * axis
        back = rng.random() < 0.3 and not poses[int(start) - 1].still
        pose = Pose() if back else Pose(tuple(turn.tolist()), tuple(shift.tolist()))
        poses[int(start) :] = [pose] * (frames - int(start))
    return tuple(poses)


@dataclass(frozen=True, eq=False)
class Contrast:
    """Concentrations at the frames: of the composition's nodes per unit of flow, and of the blood in each vessel."""

    tissue: Float32[np.ndarray, "n t"]
    blood: Mapping[str, Float32[np.ndarray, "t"]]


def acquire(
    protocol: Protocol,
    composition: Composition,
    contrast: Contrast,
    poses: tuple[Pose, ...],
    noise: np.random.SeedSequence,
    pool: Executor,
) -> Float32[np.ndarray, "i j k t"]:
    """The series. Frames are independent of each other and have a random stream each, so any number of threads agrees.

    The array lies in memory with i fastest and t slowest, as NIfTI has it.
    """
    grid = scan_grid(protocol)
    frames = frame_times_s(protocol).size
    series = np.empty((frames, *grid.shape[::-1]), np.float32)
    streams = noise.spawn(frames)
    image = _ct_image(protocol, composition) if isinstance(protocol, CtProtocol) else _mr_image(protocol, composition)

    def frame(t: int) -> None:
        concentration = _concentration(composition, contrast, t)
        series[t] = image(concentration, poses[t], np.random.default_rng(streams[t]))

    list(pool.map(frame, range(frames)))
    return series.transpose(3, 2, 1, 0)


Frame = Float32[np.ndarray, "k j i"]
_Image = Callable[[Frame, Pose, np.random.Generator], Frame]


def _concentration(composition: Composition, contrast: Contrast, t: int) -> Frame:
    tissue = composition.flow @ np.ascontiguousarray(contrast.tissue[:, t])
    total: Frame = tissue.reshape(composition.shape)
    for name, curve in contrast.blood.items():
        total += composition.fractions[name] * curve[t]
    return total


def _ct_image(protocol: CtProtocol, composition: Composition) -> _Image:
    grid = scan_grid(protocol)
    baseline = enlarged(_mixture(composition, BASELINE_HU, AIR_HU), protocol.matrix)

    def image(concentration: Frame, pose: Pose, rng: np.random.Generator) -> Float32[np.ndarray, "k y x"]:
        sharp = moved(baseline + enlarged(concentration, protocol.matrix), grid, pose)
        sharp += protocol.noise_hu * correlated_noise(
            rng, sharp.shape, protocol.noise_correlation_mm / grid.spacing_mm[0]
        )
        rounded: Frame = np.maximum(np.rint(sharp, out=sharp), LOWEST_HU)
        return rounded

    return image


def _mr_image(protocol: DscProtocol, composition: Composition) -> _Image:
    grid = scan_grid(protocol)
    baseline = enlarged(protocol.signal * _mixture(composition, MR_SIGNAL, 0.0), protocol.matrix)
    sigma = protocol.signal / protocol.snr

    def image(concentration: Frame, pose: Pose, rng: np.random.Generator) -> Float32[np.ndarray, "k y x"]:
        rate_per_s = enlarged(concentration, protocol.matrix)
        sharp = moved(baseline * np.exp(-protocol.echo_time_s * rate_per_s), grid, pose)
        real, imaginary = sigma * rng.standard_normal((2, *sharp.shape), dtype=np.float32)
        magnitude: Frame = np.rint(np.hypot(sharp + real, imaginary))
        return magnitude

    return image


def _mixture(composition: Composition, values: Mapping[str, float], air: float) -> Frame:
    """The mean of the values over what each voxel is made of; what is left of it is air."""
    total = np.full(composition.shape, air, np.float32)
    for name, value in values.items():
        total += np.float32(value - air) * composition.fractions[name]
    return total


def correlated_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma_voxels: float) -> Frame:
    """Noise of standard deviation 1, after smoothing in the plane of the last two axes."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    impulse = np.zeros(2 * int(4 * sigma_voxels + 0.5) + 1)
    impulse[impulse.size // 2] = 1
    gain = float((ndimage.gaussian_filter1d(impulse, sigma_voxels, mode="constant") ** 2).sum())
    for axis in (-1, -2):
        noise = ndimage.gaussian_filter1d(noise, sigma_voxels, axis=axis, mode="wrap")
    noise /= np.float32(gain)  # √gain for each of the two axes
    return noise


def enlarged(volume: Frame, matrix: int) -> Float32[np.ndarray, "k y x"]:
    """The volume at twice its size in the plane, by linear interpolation, where the matrix asks for it."""
    if volume.shape[2] == matrix:
        return volume
    for axis in (1, 2):
        before = np.concatenate([volume.take([0], axis), volume.take(range(volume.shape[axis] - 1), axis)], axis)
        after = np.concatenate([volume.take(range(1, volume.shape[axis]), axis), volume.take([-1], axis)], axis)
        pair = np.stack([0.75 * volume + 0.25 * before, 0.75 * volume + 0.25 * after], axis=axis + 1)
        shape = list(volume.shape)
        shape[axis] *= 2
        volume = pair.reshape(shape)
    return volume


def moved(volume: Frame, grid: Grid, pose: Pose) -> Frame:
    """The head in another position, by linear interpolation; the volume itself where the pose is still.

    What enters from beyond the block is what its edge shows.
    """
    if pose.still:
        return volume
    middle = grid.world_mm((np.array(grid.shape) - 1) / 2)
    motion = np.eye(4)
    motion[:3, :3] = rotation(*np.deg2rad(pose.turn_deg))
    motion[:3, 3] = middle - motion[:3, :3] @ middle + pose.shift_mm
    source = np.linalg.inv(grid.affine) @ np.linalg.inv(motion) @ grid.affine
    flipped: Float[np.ndarray, "3 3"] = source[:3, :3][::-1, ::-1]
    there: Frame = ndimage.affine_transform(volume, flipped, offset=source[:3, 3][::-1], order=1, mode="nearest")
    return there
