"""`report.html`: one file that opens anywhere without a network, for a person to look at."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from strokelens import __version__
from strokelens.finding import Finding
from strokelens.flags import RESEARCH_USE
from strokelens.labels import Label
from strokelens.perfusion.arterial import Vessels
from strokelens.perfusion.mismatch import Mismatch
from strokelens.report import figures, tiles, words
from strokelens.report.display import outlined
from strokelens.report.figures import Layout
from strokelens.report.result import result_of
from strokelens.report.scales import Scale, shown

_TILE, _LARGE, _MAP = 256, 480, 176
"""Widths in pixels: a tile of the montage, a slice of the viewer, a tile of a map."""

_LARGE_QUALITY, _MAP_QUALITY = 74, 80
"""JPEG: noise of 16 slices of 512 × 512 still makes a page below 4 MB, and no difference is seen."""

_COMPANIONS = ("Tmax", "MTT", "TTP", "CBF", "ADC")
"""The map that stands beside the anatomy in the viewer: one that decides the region, else the first that there is."""

_TITLES = {"core": "Core", "penumbra": "Penumbra", "hypoperfused": "Hypoperfused", "lesion": "Lesion"}
_NOTES = {"hypoperfused": "core included"}


@dataclass(frozen=True)
class Card:
    """One big number: `colour` is its class's, as CSS."""

    title: str
    value: str
    unit: str = ""
    note: str = ""
    colour: str = "transparent"


@dataclass(frozen=True)
class Tile:
    """One slice of the montage, with a link to the viewer's slice."""

    index: int
    place: str
    picture: str
    lines: str | None
    hit: bool


@dataclass(frozen=True)
class Slide:
    """One slice of the viewer: the anatomy, and a map beside it."""

    index: int
    place: str
    picture: str
    companion: str | None
    lines: str | None


@dataclass(frozen=True)
class Panel:
    """One map: a montage and its colour bar, each tick with its place in percent."""

    title: str
    channel: str
    unit: str
    picture: str
    bar: str
    ticks: list[tuple[str, float]]


def write_page(finding: Finding, path: Path, *, created: datetime | None = None) -> None:
    """Write the report as one HTML file that refers to nothing outside of itself.

    `created` is now unless given; the same finding and time give the same bytes.
    """
    path.write_text(page(finding, created=created or datetime.now(UTC)), encoding="utf-8")


def page(finding: Finding, *, created: datetime) -> str:
    """The text of the report."""
    layout = Layout.of(finding)
    environment = Environment(
        loader=PackageLoader("strokelens.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = environment.get_template("viewer.js").render()
    context = {
        **_summary(finding),
        **_pictures(finding, layout),
        **_appendix(finding),
        "result": result_of(finding, created=created),
        "research_use": RESEARCH_USE,
        "version": __version__,
        "words": words,
        "script": Markup(script),
        "script_hash": b64encode(sha256(script.encode()).digest()).decode("ascii"),
    }
    return environment.get_template("page.html").render(context)


def _summary(finding: Finding) -> dict[str, Any]:
    """The first screen."""
    return {
        "headline": words.headline(finding),
        "empty": words.is_empty(finding),
        "hemisphere": words.hemisphere(finding),
        "cards": [*_volume_cards(finding), *(_mismatch_cards(finding.mismatch) if finding.mismatch else ())],
        "grave": [flag for flag in finding.flags if flag.grave],
        "remarks": [flag for flag in finding.flags if not flag.grave],
        "legend": [(label.name, _css(label)) for label in reversed(outlined(finding.segmentation.scheme))],
    }


def _volume_cards(finding: Finding) -> Iterator[Card]:
    """The volumes, known ones first."""
    colours = {label.name: _css(label) for label in outlined(finding.segmentation.scheme)}
    names = [name for name in _TITLES if name in finding.volumes_ml]
    for name in names + sorted(set(finding.volumes_ml) - set(names)):
        title = _TITLES.get(name, name.capitalize().replace("_", " "))
        yield Card(
            title, words.ml(finding.volumes_ml[name]), "ml", _NOTES.get(name, ""), colours.get(name, "transparent")
        )


def _mismatch_cards(mismatch: Mismatch) -> Iterator[Card]:
    """Mismatch volume, mismatch ratio, and hypoperfusion intensity ratio (HIR)."""
    yield Card("Mismatch volume", words.ml(mismatch.volume_ml), "ml", "hypoperfused − core")
    why = "hypoperfused ÷ core"
    if not isfinite(mismatch.ratio):
        why = "no core to divide by" if mismatch.hypoperfused_ml > 0 else "nothing hypoperfused"
    yield Card("Mismatch ratio", words.ratio(mismatch.ratio), "", why)
    intensity = mismatch.hypoperfusion_intensity_ratio
    if isfinite(intensity):
        late_ml = mismatch.hypoperfused_ml if mismatch.late_ml is None else mismatch.late_ml
        note = f"Tmax > 10 s ÷ Tmax > 6 s: {words.ml(mismatch.severe_ml)} ÷ {words.ml(late_ml)} ml"
        yield Card("HIR", f"{intensity:.2f}", "", note)
    else:
        note = "no Tmax map" if mismatch.hypoperfused_ml > 0 else "nothing hypoperfused"
        yield Card("HIR", "n/a", "", f"hypoperfusion intensity; {note}")


def _pictures(finding: Finding, layout: Layout) -> dict[str, Any]:
    """Everything that is an image."""
    scales = shown(finding.maps, finding.brain)
    deciding = [
        name for name in _COMPANIONS if any(f"hypoperfused_{name.lower()}_" in key for key in finding.method.thresholds)
    ]
    companion = next((scale for name in (*deciding, *_COMPANIONS) for scale in scales if scale.channel == name), None)
    return {
        "tiles": [_tile(finding, layout, index) for index in layout.chosen],
        "slides": [_slide(finding, layout, index, companion) for index in layout.slices],
        "companion": companion,
        "start": layout.slices.index(layout.fullest),
        "slice_count": len(layout.lesion_area),
        **_panels(finding, layout, scales),
        "vessels": _vessels(finding, layout, finding.vessels) if finding.vessels else None,
    }


def _tile(finding: Finding, layout: Layout, index: int) -> Tile:
    lines = layout.contours(finding.segmentation, index, width=_TILE)
    picture = tiles.jpeg(layout.anatomy(finding.backdrop, index, width=_TILE))
    return Tile(index, layout.place(index), picture, tiles.png(lines) if lines else None, lines is not None)


def _slide(finding: Finding, layout: Layout, index: int, companion: Scale | None) -> Slide:
    lines = layout.contours(finding.segmentation, index, width=_LARGE, line=2.0)
    beside = None
    if companion:
        plane = layout.view.planes(finding.maps[companion.channel])[index]
        beside = tiles.jpeg(tiles.coloured(plane, companion, layout.view, width=_LARGE), quality=_LARGE_QUALITY)
    picture = tiles.jpeg(layout.anatomy(finding.backdrop, index, width=_LARGE), quality=_LARGE_QUALITY)
    return Slide(index, layout.place(index), picture, beside, tiles.png(lines) if lines else None)


def _panels(finding: Finding, layout: Layout, scales: Sequence[Scale]) -> dict[str, Any]:
    """The maps, and the contours that lie over each of them."""
    columns = figures.columns_for(len(layout.chosen), options=(8, 7, 6))
    lines = figures.lines_figure(finding, layout, columns=columns, width=_MAP)
    return {
        "panels": [_panel(finding, layout, scale, columns) for scale in scales],
        "panel_lines": tiles.png(lines) if lines else None,
        "panel_columns": columns,
    }


def _panel(finding: Finding, layout: Layout, scale: Scale, columns: int) -> Panel:
    span = scale.high - scale.low
    ticks = [(f"{tick:.4g}".replace("-", "−"), 100 * (tick - scale.low) / span) for tick in scale.ticks]
    picture = figures.maps_figure(finding.maps[scale.channel], scale, layout, columns=columns, width=_MAP)
    return Panel(
        scale.title,
        scale.channel,
        scale.unit,
        tiles.jpeg(picture, quality=_MAP_QUALITY),
        tiles.png(tiles.bar(scale)),
        ticks,
    )


def _vessels(finding: Finding, layout: Layout, vessels: Vessels) -> dict[str, Any]:
    """The curves, and where they were measured."""
    spots = (
        ("AIF", "arterial input", vessels.aif_voxels, figures.AIF_COLOUR),
        ("VOF", "venous output", vessels.vof_voxels, figures.VOF_COLOUR),
    )
    found = [
        (name, what, len(voxels), figures.vessel_tile(finding, layout, voxels, colour=colour))
        for name, what, voxels, colour in spots
    ]
    return {
        "curves": tiles.data_uri(figures.figure_png(figures.curves_figure(vessels)), "png"),
        "partial_volume": words.value(round(vessels.partial_volume, 3)),
        "spots": [(name, what, count, tiles.jpeg(image)) for name, what, count, image in found if image],
    }


def _appendix(finding: Finding) -> dict[str, Any]:
    """The tables below the pictures."""
    grid = finding.segmentation.grid
    return {
        "method": finding.method,
        "criteria": finding.criteria,
        "doubtful": any(flag.grave for flag in finding.flags),
        "flags": finding.flags,
        "inputs": sorted(finding.sources.items()),
        "settings": sorted(finding.settings.items()),
        "shape": " × ".join(str(size) for size in grid.shape),
        "spacing": " × ".join(f"{edge:.3g}" for edge in grid.spacing_mm),
        "orientation": grid.orientation,
    }


def _css(label: Label) -> str:
    return "rgb({} {} {})".format(*label.colour)
