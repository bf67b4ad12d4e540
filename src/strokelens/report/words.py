"""How numbers and a finding are put into words, the same on the page and in the picture."""

import math

from strokelens.finding import Finding
from strokelens.report.display import outlined

DISTRUST = "Do not rely on this result"
NOTHING_FOUND = "No core or lesion found"


def ml(volume_ml: float) -> str:
    """A volume for reading, without its unit.

    >>> ml(21.34), ml(0.02), ml(0.0), ml(float("nan")), ml(-3.0)
    ('21.3', '< 0.1', '0', 'n/a', '−3.0')
    """
    if not math.isfinite(volume_ml):
        return "n/a"
    if volume_ml == 0:
        return "0"
    if 0 < volume_ml < 0.05:
        return "< 0.1"
    return f"{volume_ml:.1f}".replace("-", "−")


def ratio(value: float) -> str:
    """A ratio for reading; n/a where it is infinite or not defined.

    >>> ratio(5.236), ratio(float("inf"))
    ('5.2', 'n/a')
    """
    return f"{value:.1f}" if math.isfinite(value) else "n/a"


def value(number: float | str) -> str:
    """A setting for reading.

    >>> value(0.30000001), value("auto"), value(float("nan")), value(-2.0), value(True)
    ('0.3', 'auto', 'n/a', '−2', 'yes')
    """
    if isinstance(number, str):
        return number
    if isinstance(number, bool):
        return "yes" if number else "no"
    return f"{number:.6g}".replace("-", "−") if math.isfinite(number) else "n/a"


def hemisphere(finding: Finding) -> str | None:
    """The side of what was found, where the settings tell it: 'left', 'right' or 'both'."""
    side = finding.settings.get("hemisphere")
    return side if isinstance(side, str) and side else None


def is_empty(finding: Finding) -> bool:
    """Whether no measured volume is above zero, and no voxel is labelled."""
    names = [label.name for label in outlined(finding.segmentation.scheme)]
    return not any(volume > 0 for volume in finding.volumes_ml.values()) and not finding.segmentation.mask(*names).any()


def headline(finding: Finding) -> str:
    """What was found, in one line."""
    if is_empty(finding):
        how = "by the network" if finding.method.name.startswith("network:") else "above thresholds"
        return f"{NOTHING_FOUND} {how}"
    volumes = finding.volumes_ml
    names = ("hypoperfused",) if list(volumes) == ["hypoperfused"] else ("core", "penumbra", "lesion")
    parts = [f"{name} {ml(volumes[name])} ml" for name in names if name in volumes]
    if finding.mismatch:
        parts.append(f"mismatch {ml(finding.mismatch.volume_ml)} ml, ratio {ratio(finding.mismatch.ratio)}")
    side = hemisphere(finding)
    if side:
        parts.append({"both": "both hemispheres"}.get(side, f"{side} hemisphere"))
    text = ", ".join(parts)
    return text[:1].upper() + text[1:]
