"""The series of a study, which channel each can be, and which one is taken for a channel, with the reason.

A series is spoken of by its number and by facts that cannot name a person; its free text is read and never shown.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final

from strokelens.cohorts.channels import CHANNEL_OF, parse
from strokelens.cohorts.dicom_place import SAME_PLACE_MM
from strokelens.cohorts.dicom_plane import MOSAIC, Plane
from strokelens.cohorts.study import ORDER
from strokelens.errors import CaseError, shortened

PERFUSION_MAPS: Final = ("Tmax", "CBF", "CBV", "MTT", "TTP", "MIP")
DIFFUSION: Final = ("ADC", "DWI", "B0")

_LEAST_FRAMES = 5
_B0_LIMIT, _DWI_LIMIT, _USUAL_B = 50.0, 300.0, 1000.0
_SHOWN = 8
_COMPANIONS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "PWI": DIFFUSION,
        **dict.fromkeys(PERFUSION_MAPS, (*PERFUSION_MAPS[:-1], *DIFFUSION)),  # a MIP is mostly one of vessels
        **dict.fromkeys(DIFFUSION, DIFFUSION),
    }
)


@dataclass(frozen=True, eq=False)
class Series:
    """Planes of one series that are alike: one kind of image, orientation, size, b value and echo."""

    planes: tuple[Plane, ...]

    @property
    def name(self) -> str:
        """What it is called in messages: its number."""
        number = self.planes[0].number
        return "a series without a number" if number is None else f"series {number}"

    @property
    def facts(self) -> str:
        """Its number, and what it is, without any free text."""
        plane = self.planes[0]
        size = f"{self.positions} × {self.frames} images of {plane.storage.columns}×{plane.storage.rows}"
        b = f", b {plane.b_value:g}" if plane.b_value is not None else ""
        return f"{self.name} ({plane.modality if plane.modality.isalpha() else 'no modality'}, {size}{b})"

    @cached_property
    def positions(self) -> int:
        """How many positions there are; without positions each plane has its own."""
        places = {
            tuple(round(value / SAME_PLACE_MM) for value in plane.position)
            for plane in self.planes
            if plane.position is not None
        }
        return len(places) or len(self.planes)

    @property
    def frames(self) -> int:
        """How many images a position has, about."""
        return round(len(self.planes) / self.positions)

    @property
    def original(self) -> bool:
        """Whether it calls itself an original image."""
        return "ORIGINAL" in self.planes[0].image_type[:1]

    @property
    def mosaic(self) -> bool:
        """Whether each of its pictures holds many slices side by side, and nothing tells where they lie."""
        return MOSAIC in self.planes[0].image_type

    @property
    def coloured(self) -> bool:
        """Whether it holds colours instead of values."""
        storage = self.planes[0].storage
        return storage.samples == 3 or storage.photometric == "PALETTE COLOR"

    @cached_property
    def channel(self) -> str | None:
        """The channel that it can be; None where it is none, or none that is known."""
        plane = self.planes[0]
        if self.mosaic or "LOCALIZER" in plane.image_type:
            return None
        named = _named(plane)
        if named in PERFUSION_MAPS or (self.coloured and named is not None):
            return named if self.frames == 1 else None
        if self.coloured:
            return None
        return {"CT": self._of_ct, "MR": self._of_mr}.get(plane.modality, lambda _: None)(named)

    def _of_ct(self, named: str | None) -> str | None:
        if self.frames >= _LEAST_FRAMES:
            return "CTP"
        return ("CTA" if named == "CTA" or self.planes[0].contrast else "NCCT") if self.frames == 1 else None

    def _of_mr(self, named: str | None) -> str | None:
        b = self.planes[0].b_value
        if named == "ADC":
            return named
        if b is not None and (b <= _B0_LIMIT or b >= _DWI_LIMIT) and named not in ("PWI", "FLAIR", "T1", "T2"):
            return "B0" if b <= _B0_LIMIT else "DWI"
        if self.frames >= _LEAST_FRAMES:
            return "PWI"
        return named if self.frames == 1 and named not in ("PWI", "CTP", "NCCT", "CTA") else None


@dataclass(frozen=True, eq=False)
class Choice:
    """The series that is taken for a channel, and why where there were others."""

    channel: str
    series: Series
    reason: str


def series_of(planes: Iterable[Plane]) -> list[Series]:
    """The planes parted into series of images that are alike, by number."""
    parts: dict[object, list[Plane]] = {}
    for plane in planes:
        parts.setdefault(_kind(plane), []).append(plane)
    found = [Series(tuple(part)) for part in parts.values()]
    return sorted(found, key=lambda each: (each.planes[0].number or 0, each.planes[0].series, each.facts))


def chosen(series: Sequence[Series], wanted: Sequence[str] | None = None) -> list[Choice]:
    """A series for each wanted channel; else for the first one of `ORDER` that is there, and those that go with it.

    Raises `CaseError` when two series could be a channel and nothing tells which, or no series is a channel.
    """
    by_channel: dict[str, list[Series]] = {}
    for each in series:
        if each.channel is not None:
            by_channel.setdefault(each.channel, []).append(each)
    found = [name for name in ORDER if name in by_channel]
    if not found:
        raise CaseError(
            f"no series is one that strokelens reads; found {listed(series) or 'no images'}{_mosaic(series)}"
        )
    if wanted is None:
        wanted = [name for name in found if name == found[0] or name in _COMPANIONS.get(found[0], ())]
    return [_best(name, by_channel[name]) for name in ORDER if name in wanted and name in by_channel]


def listed(series: Sequence[Series]) -> str:
    """Some series by their facts."""
    return shortened([each.facts for each in series], _SHOWN)


def _mosaic(series: Sequence[Series]) -> str:
    if not any(each.mosaic for each in series):
        return ""
    return (
        "; of a mosaic, many slices in one picture, the header does not tell where they lie: export as enhanced MR, or "
        "convert with dcm2niix"
    )


def _kind(plane: Plane) -> object:
    """What is the same for all planes of a series that belong together."""
    turned = plane.orientation and tuple(round(value, 3) + 0.0 for value in plane.orientation)
    spacing = plane.spacing and tuple(round(value, 4) for value in plane.spacing)
    b = None if plane.b_value is None else round(plane.b_value / 10)
    echo = None if plane.echo_time_s is None else round(plane.echo_time_s * 1000, 1)
    size = (plane.storage.rows, plane.storage.columns, plane.storage.samples)
    return plane.series, plane.number, plane.image_type, turned, spacing, size, b, echo


def _named(plane: Plane) -> str | None:
    """The channel that the kind of image or the description names."""
    for word in plane.image_type[2:]:
        if word.casefold() in CHANNEL_OF:
            return CHANNEL_OF[word.casefold()]
    try:
        return parse(plane.words).channel
    except CaseError:
        return None


_REASONS: Final[tuple[tuple[str, Callable[[Series], float]], ...]] = (
    ("values before colours", lambda each: not each.coloured),
    ("all directions before one", lambda each: not each.planes[0].directed),
    ("b nearest to 1000", lambda each: -abs((each.planes[0].b_value or 0.0) - _USUAL_B)),
    ("original before derived", lambda each: each.original),
    ("most frames", lambda each: each.frames),
)


def _best(channel: str, candidates: Sequence[Series]) -> Choice:
    """The series that the first reason to differ prefers."""
    left, reasons = list(candidates), []
    for reason, value in _REASONS:
        if channel != "DWI" and reason.startswith("b nearest"):
            continue
        best = max(map(value, left))
        kept = [each for each in left if value(each) == best]
        if len(kept) < len(left):
            reasons.append(reason)
        left = kept
    if len(left) > 1:
        raise CaseError(
            f"{len(left)} series could be {channel}: {listed(left)}; "
            "choose one with --series NUMBER, or give its folder"
        )
    others = ", ".join(each.name for each in candidates if each is not left[0])
    return Choice(
        channel, left[0], f"{left[0].name} rather than {others} ({', '.join(reasons)})" if others else left[0].name
    )
