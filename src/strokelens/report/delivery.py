"""All outputs of a study in one folder, whole or not at all."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from strokelens import __version__
from strokelens.arrays import Volume
from strokelens.case import UNITS, Case
from strokelens.cohorts.bids import write_derivative
from strokelens.cohorts.encode import write_image, write_segmentation
from strokelens.cohorts.folder import MAPS, RESULT, new_folder
from strokelens.finding import Finding
from strokelens.grid import Grid
from strokelens.perfusion.maps import MapSettings, PerfusionMaps
from strokelens.report.figures import Layout, curves_figure, figure_png, write_map, write_overlay
from strokelens.report.page import write_page
from strokelens.report.result import MapsResult, Result, maps_result_of, result_of, result_text
from strokelens.report.scales import SCALES


def deliver(
    finding: Finding, out: Path, *, overwrite: bool = False, bids: bool = False, created: datetime | None = None
) -> Result:
    """Write segmentation.nii.gz, maps/NAME.nii.gz, result.json, overlay.png and report.html into a new folder.

    With `bids` the images are named as a BIDS derivative instead. `created` is now unless given. Whatever goes wrong,
    `out` is as it was before. The record that result.json holds is returned.

    Raises `OutputError` when `out` exists (without `overwrite`) or cannot be written.
    """
    created = created or datetime.now(UTC)
    segmentation = finding.segmentation
    with new_folder(out, marker=RESULT, overwrite=overwrite) as folder:
        if bids:
            units = {name: UNITS[name] for name in finding.maps}
            write_derivative(
                folder,
                finding.case_id,
                segmentation,
                finding.maps,
                units,
                version=__version__,
                description=finding.method.name,
            )
        else:
            write_segmentation(folder / "segmentation.nii.gz", segmentation)
            simulated = any(flag.code == "simulated" for flag in finding.flags)
            _write_maps(folder / "maps", finding.maps, segmentation.grid, simulated=simulated)
        result = result_of(finding, created=created)
        (folder / RESULT).write_text(result_text(result), encoding="utf-8")
        write_overlay(finding, folder / "overlay.png")
        write_page(finding, folder / "report.html", created=created)
    return result


def deliver_maps(
    case: Case,
    perfusion: PerfusionMaps,
    settings: MapSettings,
    out: Path,
    *,
    overwrite: bool = False,
    png: bool = False,
    created: datetime | None = None,
) -> MapsResult:
    """Write maps/NAME.nii.gz, maps.json and curves.png into a new folder; with `png`, maps/NAME.png as well.

    Whatever goes wrong, `out` is as it was before. The record that maps.json holds is returned.

    Raises `OutputError` when `out` exists (without `overwrite`) or cannot be written.
    """
    created = created or datetime.now(UTC)
    with new_folder(out, marker=MAPS, overwrite=overwrite) as folder:
        _write_maps(folder / "maps", perfusion.maps, perfusion.grid, simulated=case.simulated)
        result = maps_result_of(case, perfusion, settings.facts(perfusion.smoothing_mm), created=created)
        (folder / MAPS).write_text(result_text(result), encoding="utf-8")
        (folder / "curves.png").write_bytes(figure_png(curves_figure(perfusion.vessels)))
        if png:
            _draw_maps(folder / "maps", case.id, perfusion)
    return result


def _write_maps(folder: Path, maps: Mapping[str, Volume], grid: Grid, *, simulated: bool) -> None:
    folder.mkdir()
    facts = {"Simulated": True} if simulated else {}
    for name, volume in maps.items():
        write_image(folder / f"{name}.nii.gz", volume, grid, unit=UNITS[name], description=f"{name} map", facts=facts)


def _draw_maps(folder: Path, case_id: str, perfusion: PerfusionMaps) -> None:
    layout = Layout.around(perfusion.grid, perfusion.brain, np.zeros(perfusion.grid.shape, bool), perfusion.average)
    for name in SCALES:
        if name in perfusion.maps:
            write_map(case_id, perfusion.maps[name], SCALES[name], layout, folder / f"{name}.png")
