"""Prepared cases and slices: the store against preparing anew, keys against changes, and the order against its laws."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from strokelens.cohorts.cohort import Cohort
from strokelens.cohorts.layouts import open_cohort
from strokelens.labels import CORE_PENUMBRA
from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.kinds import Slices as Pictures
from strokelens.phantom.scanner import CtProtocol
from strokelens.prepare import Recipe, prepare
from strokelens.training.samples import Balanced, Slices, chances
from strokelens.training.store import Prepared, Refused, key_of, prepared

VALUES = Recipe(("CBF", "Tmax", "MIP"), CORE_PENUMBRA, ("nihss",), "values", 64)
COLOURS = replace(VALUES, form="colours")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cohort") / "slices"
    plan = Plan(Pictures(CtProtocol(matrix=96, slices=6, frames=30)), 2, 0, {"LVO": 1, "Non-LVO": 0, "WIS": 1})
    assert all(made.failure is None for made in write_cohort(place, plan, workers=1))
    return place


@pytest.fixture(scope="module")
def cohort(folder: Path) -> Cohort:
    return open_cohort(folder)


def _prepared(cohort: Cohort, recipe: Recipe, store: Path) -> list[Prepared]:
    found = list(prepared(cohort, recipe, store, workers=1))
    assert all(isinstance(each, Prepared) for each in found)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("recipe", [VALUES, COLOURS], ids=["values", "colours"])
def test_the_store_gives_what_preparing_gives(cohort: Cohort, recipe: Recipe, tmp_path: Path) -> None:
    for each, entry in zip(_prepared(cohort, recipe, tmp_path), cohort, strict=True):
        assert (each.case_id, each.group, each.simulated) == (entry.id, entry.group, True)
        assert each.x.shape == (6, 3 * recipe.colours, 64, 64)
        if recipe.form == "values":
            expected = prepare(entry.read(channels=recipe.maps), recipe)
            assert np.array_equal(each.x, expected.x)
            assert expected.y is not None
            assert np.array_equal(each.y, expected.y)  # type: ignore[arg-type]
            assert each.values.tolist() == expected.values.tolist()
        else:
            assert each.x.dtype == np.uint8
            assert not each.x[:, :, :2].any()


def test_colours_are_those_of_the_pictures_without_bar(cohort: Cohort, tmp_path: Path) -> None:
    whole = replace(COLOURS, size=512, maps=("Tmax",))
    case = _prepared(cohort, whole, tmp_path)[0]
    file = cohort["CTP_01_001"].files["Tmax"][2]
    picture = np.asarray(Image.open(file).convert("RGB"))
    assert np.array_equal(case.x[2].transpose(2, 1, 0)[:, :400], picture[:, :400])
    assert not case.x[2][:, 435:].any()


def test_a_case_is_prepared_once(cohort: Cohort, tmp_path: Path) -> None:
    _prepared(cohort, VALUES, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(before) == 6
    _prepared(cohort, VALUES, tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_key_changes_with_the_recipe_the_reader_and_each_byte(cohort: Cohort, tmp_path: Path) -> None:
    entry = cohort["CTP_01_001"]
    assert entry.truth is not None
    copy = tmp_path / "02.png"
    copy.write_bytes(entry.files["CBF"][1].read_bytes() + b" ")
    files = {**entry.files, "CBF": (entry.files["CBF"][0], copy, *entry.files["CBF"][2:])}
    others = [
        (replace(entry, files=files), VALUES),
        (replace(entry, reader=replace(entry.reader, spacing_mm=(1.0, 1.0, 5.0))), VALUES),  # type: ignore[type-var]
        (replace(entry, truth=replace(entry.truth, files=entry.truth.files[::-1])), VALUES),
        *((entry, recipe) for recipe in (COLOURS, replace(VALUES, size=32), replace(VALUES, maps=("Tmax", "CBF")))),
    ]
    keys = {key_of(*each) for each in [(entry, VALUES), *others]}
    assert len(keys) == 1 + len(others)
    assert key_of(replace(entry, id="another"), VALUES) == key_of(entry, VALUES)
    assert key_of(replace(entry, clinical={"nihss": 3.0}), VALUES) == key_of(entry, VALUES)


def test_clinical_values_are_those_of_now(cohort: Cohort, tmp_path: Path) -> None:
    entries = list(cohort)
    _prepared(cohort, VALUES, tmp_path)
    other = [replace(entries[0], clinical={"nihss": 30.0}), replace(entries[1], clinical={})]
    first, second = prepared(other, replace(VALUES, clinical=("nihss", "female")), tmp_path, workers=1)
    assert isinstance(first, Prepared)
    assert isinstance(second, Prepared)
    assert (first.values.tolist(), first.known.tolist()) == ([1.5, 0.0], [True, False])
    assert not second.known.any()
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_a_case_that_cannot_be_read_is_told_and_the_others_are_prepared(cohort: Cohort, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    entries = list(cohort)
    entries[0] = replace(entries[0], files={**entries[0].files, "CBF": (bad,) * 6})
    first, second = prepared(entries, VALUES, tmp_path / "store", workers=1)
    assert isinstance(first, Refused)
    assert "bad.png is no PNG or TIFF picture" in first.message
    assert isinstance(second, Prepared)


def test_batches_are_the_slices_that_were_asked_for(cohort: Cohort, tmp_path: Path) -> None:
    slices = Slices(_prepared(cohort, VALUES, tmp_path))
    batch = slices.collate([0, len(slices) - 1])
    for at, index in enumerate(batch.index.tolist()):
        each = slices.slices[index]
        case = slices.cases[each.case]
        assert np.array_equal(batch.x[at].numpy(), case.x[each.z])
        assert np.array_equal(batch.y[at].numpy(), case.y[each.z])
    assert batch.values.shape == batch.known.shape == (2, 1)


def test_lesions_are_where_the_truth_has_one(cohort: Cohort, tmp_path: Path) -> None:
    slices = Slices(_prepared(cohort, VALUES, tmp_path))
    groups = {
        slices.cases[each.case].group for each, marked in zip(slices.slices, slices.lesions, strict=True) if marked
    }
    assert groups == {"LVO"}
    assert len(Slices(_prepared(cohort, VALUES, tmp_path), lesion=9).lesions.nonzero()[0]) == 0


def test_empty_slices_and_cases_without_truth_are_not_trained_on(cohort: Cohort, tmp_path: Path) -> None:
    first, second = _prepared(cohort, VALUES, tmp_path)
    dark = np.array(first.x)
    dark[2] = 0
    slices = Slices([replace(first, x=dark), replace(second, y=None)])
    assert [each.z for each in slices.slices] == [0, 1, 3, 4, 5]


@given(
    lesions=st.lists(st.booleans(), min_size=1, max_size=40),
    share=st.floats(0, 1),
    seed=st.integers(0, 1000),
    epoch=st.integers(0, 50),
)
def test_an_epoch_has_its_share_of_lesions_and_its_own_order(
    lesions: list[bool], share: float, seed: int, epoch: int
) -> None:
    marked = np.array(lesions)
    sampler = Balanced(marked, share=share, seed=seed)
    sampler.epoch = epoch
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == len(lesions)
    assert drawn == list(sampler)
    counts = Counter(drawn)
    if marked.any() and not marked.all():
        assert sum(counts[at] for at in np.flatnonzero(marked).tolist()) == round(share * len(lesions))
        for kind in (marked, ~marked):
            times = [counts[at] for at in np.flatnonzero(kind).tolist()]
            assert max(times) - min(times) <= 1
    else:
        assert set(counts.values()) == {1}


def test_epochs_differ(cohort: Cohort) -> None:
    sampler = Balanced(np.arange(50) < 10, share=0.5, seed=1)
    first = list(sampler)
    sampler.epoch = 1
    assert list(sampler) != first


def test_each_slice_has_a_chance_of_its_own_in_each_epoch() -> None:
    drawn = [chances(*key).random() for key in ((1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0))]
    assert len(set(drawn)) == 4
    assert chances(1, 0, 0).random() == drawn[0]


def test_several_processes_prepare_the_same(cohort: Cohort, tmp_path: Path) -> None:
    one = _prepared(cohort, VALUES, tmp_path / "one")
    two = list(prepared(cohort, VALUES, tmp_path / "two", workers=2))
    for first, second in zip(one, two, strict=True):
        assert isinstance(second, Prepared)
        assert np.array_equal(first.x, second.x)
        assert torch.from_numpy(np.array(second.x)).dtype == torch.float16
