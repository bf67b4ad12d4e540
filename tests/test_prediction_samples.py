"""From a case to a sample: pictures as they are, maps as they come, and maps of a series where there are none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.slice_writer import write_slices
from strokelens.errors import CaseError
from strokelens.frames import Frame
from strokelens.labels import CORE_PENUMBRA
from strokelens.perfusion.maps import compute_maps
from strokelens.perfusion.pictured import FLOW_FACTOR, pictured
from strokelens.phantom.cohort import write_patient
from strokelens.phantom.patient import simulate
from strokelens.phantom.scanner import CtProtocol
from strokelens.prediction.samples import channels_of, modality_of, sample_of
from strokelens.prepare import TOPS, Recipe
from strokelens.training.store import key_of

RECIPE = Recipe(("CBF", "MIP"), CORE_PENUMBRA, (), "values", 64)


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Entry:
    """A case that has a series and no maps."""
    folder = tmp_path_factory.mktemp("patients")
    patient = simulate(7, protocol=CtProtocol(matrix=64, slices=4), motion=False)
    (folder / "sim-7").mkdir()
    write_patient(folder / "sim-7", patient)
    for each in (folder / "sim-7").glob("*"):
        if each.is_dir():  # the true maps
            for file in each.iterdir():
                file.unlink()
            each.rmdir()
    return open_cohort(folder)["sim-7"]


def test_maps_of_a_series_are_calibrated_as_the_vendors_are(entry: Entry) -> None:
    found = sample_of(entry, RECIPE)
    assert found.perfusion is not None
    ours = compute_maps(entry.read(channels=("CTP",)))
    flow = Frame.of(found.case.grid, 64).reduced(ours.maps["CBF"]) * FLOW_FACTOR / TOPS["CBF"]
    assert np.allclose(found.sample.x[:, 0], np.clip(flow, -4, 4), atol=2e-3)
    projected = found.sample.x[:, 1]
    assert projected.min() == 0
    assert (projected[(found.sample.x[:, 0] != 0)] > 0).all()
    assert found.case.simulated


def test_the_key_of_a_case_with_a_series_changes_with_the_series(entry: Entry, tmp_path: Path) -> None:
    assert channels_of(entry, RECIPE) == ("CTP",)
    file = tmp_path / "ctp.nii.gz"
    file.write_bytes(b"other bytes")
    changed = replace(entry, files={**entry.files, "CTP": (file,)})
    assert key_of(changed, RECIPE) != key_of(entry, RECIPE)


def test_a_map_that_no_series_gives_is_named(entry: Entry) -> None:
    with pytest.raises(CaseError, match="sim-7 has no FLAIR, which the network sees, but"):
        sample_of(entry, replace(RECIPE, maps=("FLAIR",)))


def test_the_projection_of_a_series_has_the_grey_of_its_picture(
    entry: Entry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same patient as pictures, as training has them, and as the series that is predicted."""
    recipe = Recipe(("MIP",), CORE_PENUMBRA, (), "values", 512)
    series = entry.read(channels=("CTP",))
    maps = pictured(series, compute_maps(series))
    folder = tmp_path_factory.mktemp("pictures")
    write_slices(folder, [replace(series, channels=maps, time_s=None, truth=None, group="LVO")])
    written = sample_of(open_cohort(folder)["CTP_01_001"], recipe).sample.x[:, 0, 224:288, 224:288].astype(float)
    seen_now = sample_of(entry, replace(recipe, size=64)).sample.x[:, 0].astype(float)
    brain = (written > 0) & (seen_now > 0)
    assert brain.sum() > 0.95 * (seen_now > 0).sum()
    assert np.median(written[brain]) == pytest.approx(116 / 255, abs=0.02)  # 1 / 2.2
    assert np.abs(written - seen_now)[brain].max() < 0.01
    assert maps["MIP"].max() == pytest.approx(255)


@pytest.mark.parametrize("name", ["CTP", "PWI"])
def test_a_series_tells_what_it_was_scanned_with(entry: Entry, name: str) -> None:
    assert modality_of(replace(entry, files={name: (), "DWI": ()})) == {"CTP": "CT", "PWI": "MR"}[name]
    assert sample_of(entry, RECIPE).modality == "CT"
