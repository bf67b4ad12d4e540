"""The arterial input and the venous output: which voxels, and how their curves scale the maps.

An artery shows an early, high and narrow bolus; the sagittal sinus a late one with the largest area. Brain arteries are
thinner than voxels, so their curves are a mixture with tissue; a vein wide enough to hold pure blood gives the scale
that they lack: the same blood passes through both, so the areas under both curves should be equal.

References:
    Mouridsen et al. 2006 and Peruzzo et al. 2011 (choice of voxels); Østergaard 1996, Calamante 2013 (venous scaling).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from strokelens.arrays import Curve, Curves
from strokelens.errors import SeriesError
from strokelens.perfusion.curves import area, peak_times_s, width_s

_VOXELS = 16
"""Voxels averaged into each curve: 4 to 6 in Peruzzo 2011, and more here, where noise is shared between neighbours."""

_BRIGHT_SHARE = 0.1
"""Arteries and veins are sought in the tenth of the brain's voxels that enhance most."""

_BOLUS_WIDTHS_S = (8.0, 20.0)
"""Real boluses are 9 to 19 s wide at half of their height (5th and 95th percentile of 93 patients)."""

_LEAD_S = 4.0
"""Arteries fill some seconds before the brain does; what is earlier than this is not better."""

_SAMPLE = 5000
"""Voxels that are enough to know the noise of the series."""


@dataclass(frozen=True, eq=False)
class Vessels:
    """The curves that feed (`aif`) and drain (`vof`) the brain, as concentration on uniform times.

    `aif` is what the voxels show, before it is scaled by `partial_volume` = AUC(aif) / AUC(vof), the share of the
    arterial voxel that is blood; 1 where no venous curve could be used. Voxels are rows of (i, j, k).
    """

    time_s: Curve
    aif: Curve
    vof: Curve
    partial_volume: float
    aif_voxels: Int[np.ndarray, "n 3"]
    vof_voxels: Int[np.ndarray, "m 3"]
    unit: str

    @property
    def interval_s(self) -> float:
        """The time from frame to frame."""
        return float(self.time_s[1] - self.time_s[0])


def find_vessels(curves: Curves, voxels: Int[np.ndarray, "n 3"], *, time_s: Curve, unit: str) -> Vessels:
    """The arterial and the venous curve among the brain's `curves`, concentration on uniform times.

    Among the tenth of the voxels with the highest peaks and a clean bolus, arteries are those with the highest product
    of peak and lead, the time by which half of the peak comes before that of the typical voxel, lessened where the
    bolus is narrower or wider than real ones are; veins are those that peak later than the artery, and of these the
    ones with the largest area.

    Raises `SeriesError` when no voxel has a bolus with a rise and a fall.
    """
    interval_s = float(time_s[1] - time_s[0])
    bright = _bright_boluses(curves)
    if bright.size == 0:
        raise SeriesError("no artery found: no voxel shows a bolus that rises and falls; is the series cut off?")
    candidates = _smooth(curves[bright])
    width, late = width_s(candidates, interval_s), peak_times_s(candidates, interval_s)

    arterial = bright[_best(_arterial_merit(curves, candidates, width, interval_s))]
    if arterial.size == 0:
        raise SeriesError(
            "no artery found: no voxel fills before the brain as a whole; is the start of the scan missing?"
        )
    aif = curves[arterial].mean(axis=0)
    later = late > float(peak_times_s(_smooth(aif[None]), interval_s)[0]) + interval_s
    venous = bright[_best(np.where(later, area(candidates, interval_s), 0))]
    vof = curves[venous].mean(axis=0) if venous.size else aif
    return Vessels(
        time_s=time_s - time_s[0],
        aif=aif,
        vof=vof,
        partial_volume=partial_volume(aif, vof, interval_s),
        aif_voxels=voxels[arterial],
        vof_voxels=voxels[venous],
        unit=unit,
    )


def _arterial_merit(
    curves: Curves, candidates: Float[np.ndarray, "m t"], width: Float[np.ndarray, "m"], interval_s: float
) -> Float[np.ndarray, "m"]:
    """Peak · lead over the typical voxel, less where a bolus is narrower or wider than real ones; 0 without lead."""
    typical = np.median(curves[:: 1 + len(curves) // _SAMPLE], axis=0)
    lead = _rise_times_s(_smooth(typical[None]), interval_s)[0] - _rise_times_s(candidates, interval_s)
    narrowest, widest = _BOLUS_WIDTHS_S
    likeness = np.minimum(width / narrowest, 1) * np.minimum(widest / width, 1)
    return np.asarray(candidates.max(axis=1) * np.clip(lead, 0, _LEAD_S) * likeness)


def _best(merit: Float[np.ndarray, "m"]) -> Int[np.ndarray, "k"]:
    """The rows of highest merit: as many as are averaged, and none of less than a third of the best."""
    rows = np.argsort(-merit, kind="stable")[:_VOXELS]
    return np.asarray(rows[(merit[rows] > 0) & (merit[rows] >= merit[rows[0]] / 3)])


def partial_volume(aif: Curve, vof: Curve, interval_s: float) -> float:
    """AUC(aif) / AUC(vof), at most 1; both areas end equally long after their peaks, however early the scan stops.

    >>> bolus = np.array([0, 0, 2, 6, 2, 0, 0, 0, 0, 0], float)
    >>> partial_volume(0.25 * bolus, np.roll(bolus, 3), 1.5)
    0.25
    """
    lag = max(int(vof.argmax()) - int(aif.argmax()), 0)
    whole = float(area(vof[None], interval_s)[0])
    part = float(area(aif[None, : aif.size - lag], interval_s)[0])
    return min(part / whole, 1.0) if whole > 0 and part > 0 else 1.0


def _bright_boluses(curves: Curves) -> Int[np.ndarray, "m"]:
    """The voxels of the highest peaks whose curve is one clean bolus, not noise nor the rim of something that moved.

    Clean: it never falls under its baseline by a fifth of its peak; its ups and downs together are less than three
    times its peak (a single rise and fall is two), besides what noise gives any voxel; it takes more than one frame to
    rise or to fall; and its peak is neither among the first nor the last two frames.
    """
    count = min(max(4 * _VOXELS, int(_BRIGHT_SHARE * len(curves))), len(curves))
    bright = np.argpartition(curves.max(axis=1), -count)[-count:]
    shapes = _smooth(curves[bright])
    top, when = shapes.max(axis=1), shapes.argmax(axis=1)
    usual = float(np.median(_variation(_smooth(curves[:: 1 + len(curves) // _SAMPLE]))))
    steps = np.abs(np.diff(curves[bright], axis=1)).max(axis=1)
    clean = (shapes.min(axis=1) > -0.2 * top - usual / curves.shape[1]) & (_variation(shapes) < 3 * top + usual)
    clean &= (steps < 0.7 * top) & (top > 0) & (when >= 2) & (when < shapes.shape[1] - 2)
    return np.sort(bright[clean])


def _variation(curves: Curves) -> Float[np.ndarray, "n"]:
    """All ups and downs of each curve, added up."""
    total: np.ndarray = np.abs(np.diff(curves, axis=1)).sum(axis=1)
    return total


def _rise_times_s(curves: Curves, interval_s: float) -> Float[np.ndarray, "n"]:
    """When each curve first reaches half of its maximum, by linear interpolation."""
    half = 0.5 * curves.max(axis=1)
    first = np.clip((curves >= half[:, None]).argmax(axis=1), 1, None)
    rows = np.arange(len(curves))
    low, high = curves[rows, first - 1], curves[rows, first]
    step = np.divide(half - low, high - low, out=np.zeros_like(low), where=high > low)
    times: np.ndarray = (first - 1 + step) * interval_s
    return times


def _smooth(curves: Curves) -> Curves:
    """Weights 1, 2, 1 over frames; the ends lean on themselves."""
    padded = np.pad(curves, ((0, 0), (1, 1)), mode="edge")
    result: np.ndarray = 0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:]
    return result
