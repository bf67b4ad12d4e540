"""What was found in one study: the segmentation, the maps behind it, the measures, and how far to trust them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from strokelens.arrays import Mask, Volume
from strokelens.case import Segmentation, Source
from strokelens.flags import Flag
from strokelens.perfusion.arterial import Vessels
from strokelens.perfusion.mismatch import Criterion, Mismatch


@dataclass(frozen=True)
class Method:
    """How a segmentation was made: a rule's name, what it does in words, its source, and its thresholds.

    The keys of `thresholds` carry their units, such as `tmax_s` or `rcbf_fraction`.
    """

    name: str
    description: str
    source: str
    thresholds: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Finding:
    """The result of segmenting one case; all arrays lie on the segmentation's grid.

    `maps` holds the channels (names and units of `strokelens.case.UNITS`) that were computed or read, NaN outside the
    brain; `backdrop` is the anatomy to draw contours on. `volumes_ml` has `core`, `penumbra` and `hypoperfused`, or
    `lesion`; `mismatch` and `vessels` are None where the study cannot give them.
    """

    case_id: str
    segmentation: Segmentation
    maps: Mapping[str, Volume]
    backdrop: Volume
    brain: Mask
    volumes_ml: Mapping[str, float]
    method: Method
    mismatch: Mismatch | None = None
    criteria: tuple[Criterion, ...] = ()
    vessels: Vessels | None = None
    flags: tuple[Flag, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict)
    settings: Mapping[str, float | str] = field(default_factory=dict)
    timings_s: Mapping[str, float] = field(default_factory=dict)
