"""One patient's study: named channels on one grid, checked at birth; and a segmentation of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, Integer, Real, Shaped

from strokelens.arrays import Mask
from strokelens.errors import CaseError, hint
from strokelens.grid import Grid, difference, reordered, resample
from strokelens.labels import LabelScheme

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "CBF": "ml/100 g/min",
        "CBV": "ml/100 g",
        "MTT": "s",
        "TTP": "s",
        "Tmax": "s",
        "MIP": "a.u.",
        "ADC": "10⁻⁶ mm²/s",
        "DWI": "a.u.",
        "B0": "a.u.",
        "FLAIR": "a.u.",
        "PWI": "a.u.",
        "CTP": "HU",
        "NCCT": "HU",
        "CTA": "HU",
        "T1": "a.u.",
        "T2": "a.u.",
    }
)
"""The channels that a case can have, and the unit of each."""

SERIES = ("CTP", "PWI")
"""The channels that have time as their last axis."""


@dataclass(frozen=True, eq=False)
class Image:
    """An array and its place: (i, j, k) or (i, j, k, t) on a grid."""

    array: Shaped[np.ndarray, "i j k *t"]
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.shape[:3] != self.grid.shape or self.array.ndim not in (3, 4):
            raise CaseError(f"an array of shape {self.array.shape} does not lie on a grid of {self.grid.shape}")


@dataclass(frozen=True)
class Source:
    """The file that a channel came from: its SHA-256, what the reader decided, and what in the file is doubtful."""

    sha256: str
    note: str = ""
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Case:
    """A study: `channels` maps a name of `UNITS` to a float32 array on `grid`; a missing channel is absent, never zero.

    A series (`SERIES`) has frames last and `time_s` gives their times. NaN marks a voxel without a value. `clinical`
    leaves out what is not known. `sources` tells of each channel's file; `simulated` that there is no such patient.
    Arrays are read-only.

    Raises `CaseError` when a name is unknown, a shape is not the grid's, or times and frames do not fit.

    >>> case = Case("sub-01", Grid((4, 4, 2), np.eye(4)), {"ADC": np.full((4, 4, 2), 800.0)})
    >>> case["ADC"].dtype, "DWI" in case.channels
    (dtype('float32'), False)
    >>> case["DWI"]
    Traceback (most recent call last):
    strokelens.errors.CaseError: sub-01 has no channel 'DWI'; it has ADC
    """

    id: str
    grid: Grid
    channels: Mapping[str, Real[np.ndarray, "i j k *t"]]
    truth: "Segmentation | None" = None
    clinical: Mapping[str, float] = field(default_factory=dict)
    group: str | None = None
    time_s: Real[np.ndarray, "t"] | None = None
    echo_time_s: float | None = None
    b_value_s_per_mm2: float | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)
    simulated: bool = False

    def __post_init__(self) -> None:
        channels = {name: _frozen(array) for name, array in self.channels.items()}
        for name, array in channels.items():
            if name not in UNITS:
                raise CaseError(f"{self.id}: no channel is called {name!r}; {hint(name, UNITS)}")
            if array.shape[:3] != self.grid.shape or array.ndim != (4 if name in SERIES else 3):
                wanted = f"{self.grid.shape}{' and frames' if name in SERIES else ''}"
                raise CaseError(f"{self.id}: channel {name} has shape {array.shape}, but its grid asks for {wanted}")
        object.__setattr__(self, "channels", MappingProxyType(channels))
        self._check_time()
        if self.truth is not None and not self.truth.grid.agrees(self.grid):
            raise CaseError(f"{self.id}: the truth lies elsewhere: {difference(self.truth.grid, self.grid)}")

    def _check_time(self) -> None:
        if self.time_s is None:
            return
        frames = {name: array.shape[3] for name, array in self.channels.items() if name in SERIES}
        time_s = np.array(self.time_s, dtype=np.float64)
        time_s.flags.writeable = False
        object.__setattr__(self, "time_s", time_s)
        if any(count != time_s.size for count in frames.values()):
            raise CaseError(f"{self.id}: {frames} frames but {time_s.size} frame times")
        if not np.isfinite(time_s).all() or (np.diff(time_s) <= 0).any():
            raise CaseError(f"{self.id}: frame times must grow from frame to frame; got {time_s.tolist()}")

    def __getitem__(self, name: str) -> Float[np.ndarray, "i j k *t"]:
        if name not in self.channels:
            raise CaseError(f"{self.id} has no channel {name!r}; it has {', '.join(sorted(self.channels)) or 'none'}")
        return self.channels[name]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels of `scheme` on `grid`; `probabilities` maps a class to values in 0 ... 1 on the same grid.

    >>> from strokelens.labels import CORE_PENUMBRA
    >>> labels = np.zeros((10, 10, 10), np.uint8)
    >>> labels[:5] = 1
    >>> Segmentation(labels, Grid((10, 10, 10), np.diag([2, 2, 2, 1])), CORE_PENUMBRA).volume_ml("penumbra")
    4.0
    """

    labels: Integer[np.ndarray, "i j k"]
    grid: Grid
    scheme: LabelScheme
    probabilities: Mapping[str, Float[np.ndarray, "i j k"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.labels.shape != self.grid.shape:
            raise CaseError(f"labels of shape {self.labels.shape} do not lie on a grid of {self.grid.shape}")
        self.scheme.check(self.labels)
        labels = self.labels.astype(np.uint8)
        labels.flags.writeable = False
        object.__setattr__(self, "labels", labels)
        for name, values in self.probabilities.items():
            self.scheme.value(name)
            if values.shape != self.grid.shape:
                raise CaseError(f"probabilities of {name} of shape {values.shape} do not lie on {self.grid.shape}")

    def mask(self, *names: str) -> Mask:
        """The voxels that carry any of the named classes."""
        return self.scheme.mask(self.labels, *names)

    def volume_ml(self, *names: str) -> float:
        """The volume of the named classes together."""
        return float(self.mask(*names).sum() * self.grid.voxel_volume_ml)

    def reordered(self, grid: Grid) -> "Segmentation | None":
        """The same labels on a grid whose axes have another order or direction; None where voxels are elsewhere.

        It comes without probabilities.
        """
        labels = reordered(self.labels, self.grid, grid)
        return None if labels is None else Segmentation(labels, grid, self.scheme)

    def onto(self, grid: Grid) -> "Segmentation":
        """The same labels on another grid, each voxel taking the nearest one's; outside is background.

        Probabilities are interpolated, and NaN outside.
        """
        labels = resample(self.labels, self.grid, grid, order=0)
        probabilities = {name: resample(values, self.grid, grid) for name, values in self.probabilities.items()}
        return Segmentation(labels, grid, self.scheme, probabilities)


def join(images: Mapping[str, Image], *, resampled: bool = False) -> tuple[Grid, dict[str, Shaped[np.ndarray, "..."]]]:
    """The images as channels on the first one's grid.

    Images join only if their grids agree to 1e-4 mm; with `resampled`, the others are brought onto the first's grid
    by linear interpolation (NaN outside of what they cover).

    Raises `CaseError` that says by how much the grids differ.
    """
    if not images:
        raise CaseError("no image to make a case of")
    (first, reference), *others = images.items()
    for name, image in others:
        if not resampled and not image.grid.agrees(reference.grid):
            gap = difference(image.grid, reference.grid)
            raise CaseError(f"{name} and {first} lie on different grids ({gap}); use --resample to bring them together")
    grid = reference.grid
    return grid, {
        name: image.array if image is reference else resample(image.array, image.grid, grid)
        for name, image in images.items()
    }


def _frozen(array: Shaped[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """A read-only float32 view, or a copy only where the dtype asks for one."""
    view = np.asarray(array, dtype=np.float32).view()
    view.flags.writeable = False
    return view
