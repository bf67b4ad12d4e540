"""What in a perfusion series makes its maps doubtful."""

import numpy as np

from strokelens.arrays import Curve
from strokelens.flags import Flag
from strokelens.perfusion.arterial import Vessels
from strokelens.perfusion.curves import Bolus, width_s

_RETURNED = 0.39
"""A venous curve that ends above this share of its peak was cut off (Copen 2015, as in docs/concepts/perfusion.md)."""
_HARDLY_RETURNED = 0.7
_WIDEST_S = 24.0


def series_flags(vessels: Vessels, bolus: Bolus, time_s: Curve) -> tuple[Flag, ...]:
    """The remarks on one series: its length, its baseline, its frame rate, and the two vessel curves."""
    end = float(vessels.vof[-3:].mean() / vessels.vof.max())
    gaps = np.diff(time_s)
    width = float(width_s(vessels.aif[None], vessels.interval_s)[0])
    lasts_s = float(time_s[-1] - time_s[0])
    remarks = {
        Flag(
            "truncated",
            f"the scan ends while the venous curve is still at {end:.0%} of its peak (39 % or less is complete): "
            "core may be overestimated and hypoperfused tissue underestimated",
            grave=end > _HARDLY_RETURNED,
        ): end > _RETURNED,
        Flag("short", f"the series lasts {lasts_s:.0f} s; 60 to 70 s are recommended", grave=lasts_s < 35): lasts_s
        < 45,
        Flag("baseline", f"only {bolus.arrival} frame(s) before the bolus: the baseline is uncertain"): (
            bolus.arrival < 3
        ),
        Flag("slow", f"up to {gaps.max():.1f} s between frames; more than 3 s blurs the bolus"): bool(
            gaps.max() > 3.05
        ),
        Flag("aif-late", "the arterial curve peaks after the venous one: the vessels may be mistaken", grave=True): (
            int(vessels.aif.argmax()) > int(vessels.vof.argmax())
        ),
        Flag("aif-noise", "the arterial curve is noisy: maps may be too low or too high", grave=True): (
            _roughness(vessels.aif) > 0.15
        ),
        Flag(
            "aif-wide",
            f"the arterial curve is {width:.0f} s wide; a bolus is 9 to 19 s: no artery was found",
            grave=True,
        ): (width > _WIDEST_S),
        Flag("no-vein", "no vein holds more than the artery: CBF and CBV are not scaled for partial volume"): (
            vessels.partial_volume == 1.0
        ),
    }
    return tuple(flag for flag, holds in remarks.items() if holds)


def _roughness(curve: Curve) -> float:
    """The typical deviation of a frame from the mean of its neighbours, as a share of the peak."""
    middle = curve[1:-1] - 0.5 * (curve[:-2] + curve[2:])
    return float(np.median(np.abs(middle)) / curve.max())
