"""The folder of results: complete, or not there."""

import json
from pathlib import Path

import numpy as np
import pytest

from strokelens.case import Case, Source
from strokelens.cohorts.nifti import read_segmentation
from strokelens.errors import OutputError
from strokelens.finding import Finding
from strokelens.flags import Flag
from strokelens.labels import CORE_PENUMBRA
from strokelens.perfusion.maps import MapSettings, PerfusionMaps
from strokelens.report import delivery
from strokelens.report.delivery import deliver, deliver_maps
from tests.report_examples import CREATED, ct_finding, head_grid

GRID = head_grid((24, 26, 4), (7.0, 7.0, 24.0), "LAS")


@pytest.fixture(scope="module")
def finding() -> Finding:
    return ct_finding(GRID)


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_has_everything(finding: Finding, tmp_path: Path) -> None:
    deliver(finding, tmp_path / "out", created=CREATED)
    maps = {f"maps/{name}.{end}" for name in finding.maps for end in ("nii.gz", "json")}
    assert files_of(tmp_path / "out") == maps | {
        "segmentation.nii.gz",
        "segmentation.json",
        "result.json",
        "overlay.png",
        "report.html",
    }


def test_the_segmentation_on_disk_is_the_one_found(finding: Finding, tmp_path: Path) -> None:
    deliver(finding, tmp_path / "out", created=CREATED)
    read = read_segmentation(tmp_path / "out" / "segmentation.nii.gz", CORE_PENUMBRA, GRID)
    assert np.array_equal(read.labels, finding.segmentation.labels)


def test_results_and_pages_have_the_same_bytes_each_time(finding: Finding, tmp_path: Path) -> None:
    for name in ("one", "two"):
        deliver(finding, tmp_path / name, created=CREATED)
    differing = [
        name
        for name in sorted(files_of(tmp_path / "one"))
        if (tmp_path / "one" / name).read_bytes() != (tmp_path / "two" / name).read_bytes()
    ]
    assert differing == []


def test_no_path_of_the_disk_is_in_any_text(finding: Finding, tmp_path: Path) -> None:
    deliver(finding, tmp_path / "out", created=CREATED)
    telling = [
        name
        for name in files_of(tmp_path / "out")
        if name.endswith((".json", ".html"))
        and any(part in (tmp_path / "out" / name).read_text() for part in (str(tmp_path), str(Path.home()) + "/"))
    ]
    assert telling == []


def test_a_failure_in_the_middle_leaves_nothing(
    finding: Finding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(delivery, "write_page", fail)
    with pytest.raises(KeyboardInterrupt):
        deliver(finding, tmp_path / "out", created=CREATED)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_older_folder_as_it_was(
    finding: Finding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(finding, tmp_path / "out", created=CREATED)
    before = (tmp_path / "out" / "report.html").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(delivery, "write_overlay", fail)
    with pytest.raises(KeyboardInterrupt):
        deliver(finding, tmp_path / "out", overwrite=True, created=CREATED)
    assert (tmp_path / "out" / "report.html").read_bytes() == before


def test_an_existing_folder_is_refused(finding: Finding, tmp_path: Path) -> None:
    deliver(finding, tmp_path / "out", created=CREATED)
    with pytest.raises(OutputError, match="exists; give another folder, or --overwrite"):
        deliver(finding, tmp_path / "out", created=CREATED)


def test_an_existing_result_is_replaced_when_asked(finding: Finding, tmp_path: Path) -> None:
    deliver(finding, tmp_path / "out", created=CREATED)
    deliver(finding, tmp_path / "out", overwrite=True, bids=True, created=CREATED)
    assert not (tmp_path / "out" / "segmentation.nii.gz").exists()


def test_a_bids_folder_has_the_page_and_the_result_too(finding: Finding, tmp_path: Path) -> None:
    deliver(finding, tmp_path / "out", bids=True, created=CREATED)
    files = files_of(tmp_path / "out")
    assert {"dataset_description.json", "result.json", "overlay.png", "report.html"} <= files
    assert "sub-001/anat/sub-001_space-orig_desc-ischemia_dseg.nii.gz" in files


@pytest.fixture(scope="module")
def perfusion(finding: Finding) -> PerfusionMaps:
    assert finding.vessels is not None
    return PerfusionMaps(
        grid=GRID,
        maps=finding.maps,
        brain=finding.brain,
        parenchyma=finding.brain,
        baseline=finding.backdrop,
        average=finding.backdrop,
        vessels=finding.vessels,
        motion=None,
        smoothing_mm=2.0,
        flags=(Flag("noisy", "The arterial curve is noisy."),),
        timings_s={"maps": 1.5},
    )


@pytest.fixture(scope="module")
def case(finding: Finding) -> Case:
    return Case("sub-001", GRID, {"NCCT": finding.backdrop}, sources={"NCCT": Source("0" * 64)})


def test_maps_are_delivered_with_their_curves(case: Case, perfusion: PerfusionMaps, tmp_path: Path) -> None:
    deliver_maps(case, perfusion, MapSettings(), tmp_path / "out", png=True, created=CREATED)
    maps = {f"maps/{name}.{end}" for name in perfusion.maps for end in ("nii.gz", "json", "png")}
    assert files_of(tmp_path / "out") == maps | {"maps.json", "curves.png"}


def test_the_record_of_maps_tells_units_and_settings(case: Case, perfusion: PerfusionMaps, tmp_path: Path) -> None:
    deliver_maps(case, perfusion, MapSettings(still=True), tmp_path / "out", created=CREATED)
    told = json.loads((tmp_path / "out" / "maps.json").read_text())
    assert told["units"]["CBF"] == "ml/100 g/min"
    assert told["settings"]["motion_correction"] == "off"
    assert told["research_use"] == "Research use only; not a medical device."
