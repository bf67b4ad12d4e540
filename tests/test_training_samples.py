"""Prepared cases and slices: the store against preparing anew, keys against changes, and the order against its laws."""

import os
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
from strokelens.cohorts.splits import Split
from strokelens.frames import Frame
from strokelens.grid import Grid
from strokelens.labels import CORE_PENUMBRA
from strokelens.networks.tiles import windows
from strokelens.phantom.batch import Plan, write_cohort
from strokelens.phantom.kinds import Slices as Pictures
from strokelens.phantom.scanner import CtProtocol
from strokelens.prepare import Recipe, prepare
from strokelens.settings.chances import Augmentation
from strokelens.settings.schema import Settings
from strokelens.training.parts import Parts, data_sha256, parts_of
from strokelens.training.samples import Balanced, Collated, Draw, Piece, Slices, chances, in_order
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
    assert batch.changes == ()
    for at, index in enumerate(batch.index):
        each = slices.pieces[index]
        case = slices.cases[each.case]
        assert np.array_equal(batch.x[at].numpy(), case.x[each.z])
        assert case.y is not None
        assert np.array_equal(batch.y[at].numpy(), case.y[each.z])
    assert batch.values.shape == batch.known.shape == (2, 1)


def test_a_slice_is_seen_with_those_below_and_above_it(cohort: Cohort, tmp_path: Path) -> None:
    cases = _prepared(cohort, VALUES, tmp_path)
    slices = Slices(cases, around=3, maps=len(VALUES.maps), tile=16, step=16)
    each = next(each for each in slices.pieces if each.z == 0 and each.i)
    last = next(at for at, other in enumerate(slices.pieces) if other.z == len(cases[0].x) - 1)
    first = slices.pieces.index(each)
    batch = slices.collate([first, last]).x.numpy()
    x = np.asarray(cases[each.case].x)[:, :, each.i : each.i + 16, each.j : each.j + 16]
    assert batch.shape == (2, 3 * x.shape[1], 16, 16)
    for channel in range(x.shape[1]):  # of values each map has one
        assert not batch[0, 3 * channel].any()
        assert np.array_equal(batch[0, 3 * channel + 1], x[0, channel])
        assert np.array_equal(batch[0, 3 * channel + 2], x[1, channel])
        assert not batch[1, 3 * channel + 2].any()


def test_lesions_are_where_the_truth_has_one(cohort: Cohort, tmp_path: Path) -> None:
    slices = Slices(_prepared(cohort, VALUES, tmp_path))
    groups = {
        slices.cases[each.case].group for each, marked in zip(slices.pieces, slices.lesions, strict=True) if marked
    }
    assert groups == {"LVO"}
    assert len(Slices(_prepared(cohort, VALUES, tmp_path), lesion=9).lesions.nonzero()[0]) == 0


def test_empty_slices_and_cases_without_truth_are_not_trained_on(cohort: Cohort, tmp_path: Path) -> None:
    first, second = _prepared(cohort, VALUES, tmp_path)
    dark = np.array(first.x)
    dark[2] = 0
    slices = Slices([replace(first, x=dark), replace(second, y=None)])
    assert [each.z for each in slices.pieces] == [0, 1, 3, 4, 5]


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
    drawn = numbers(sampler)
    assert len(drawn) == len(sampler) == len(lesions)
    assert drawn == numbers(sampler)
    counts = Counter(drawn)
    if marked.any() and not marked.all():
        wanted = max(1, round(share * len(lesions))) if share else 0
        assert sum(counts[at] for at in np.flatnonzero(marked).tolist()) == wanted
        for kind in (marked, ~marked):
            times = [counts[at] for at in np.flatnonzero(kind).tolist()]
            assert max(times) - min(times) <= 1
    else:
        assert set(counts.values()) == {1}


def test_epochs_differ(cohort: Cohort) -> None:
    sampler = Balanced(np.arange(50) < 10, share=0.5, seed=1)
    first = numbers(sampler)
    sampler.epoch = 1
    assert numbers(sampler) != first


def test_each_slice_has_a_chance_of_its_own_in_each_epoch_and_each_time_in_it() -> None:
    keys = ((1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0), (1, 0, 0, 1), (1, 0, 1, 1))
    drawn = [chances(*key).random() for key in keys]
    assert len(set(drawn)) == len(keys)
    assert chances(1, 0, 0).random() == drawn[0]


def test_a_slice_that_comes_again_in_an_epoch_is_changed_anew(cohort: Cohort, tmp_path: Path) -> None:
    """One lesion of ten slices, and half of an epoch with it: five times the same slice."""
    slices = Slices(_prepared(cohort, VALUES, tmp_path))
    draws = list(Balanced(np.arange(10) < 1, share=0.5, seed=1, first=3))
    lesions = [draw for draw in draws if draw.number == 0]
    assert sorted(lesions) == [Draw(0, 3, again) for again in range(5)]
    collated = Collated(slices, 1, 3, Augmentation())
    changes = collated(lesions).changes
    assert len(set(changes)) == 5
    assert collated(lesions[2:3]).changes == changes[2:3]  # whatever else is in the batch
    assert Collated(slices, 2, 3, Augmentation())(lesions).changes != changes


@given(
    lesions=st.lists(st.booleans(), min_size=1, max_size=30),
    world=st.integers(1, 5),
    share=st.floats(0, 1),
)
def test_the_processes_together_have_the_epoch_of_one(lesions: list[bool], world: int, share: float) -> None:
    """And the first slices again, changed anew, until all processes have as many."""
    marked = np.array(lesions)
    (one, *_), parts = (
        [list(Balanced(marked, share=share, seed=4, rank=rank, world=each)) for rank in range(each)]
        for each in (1, world)
    )
    together = [part[at] for at in range(len(parts[0])) for part in parts]
    assert {len(part) for part in parts} == {-(-len(lesions) // world)}
    assert together[: len(one)] == one
    assert [draw.number for draw in together[len(one) :]] == [
        one[at % len(one)].number for at in range(len(together) - len(one))
    ]
    assert len(set(together)) == len(together)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_processes_together_validate_each_slice_once(world: int) -> None:
    parts = [in_order(7, rank=rank, world=world) for rank in range(world)]
    assert sorted(draw.number for part in parts for draw in part) == list(range(7))


@given(seed=st.integers(0, 2**32 - 1), tile=st.sampled_from([4, 8, 12, 16]), step=st.integers(1, 12))
def test_tiles_that_show_something_are_found_as_by_looking_at_each(seed: int, tile: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.random((2, 1, 16, 16)) > 0.99).astype(np.float16)
    y = np.where(x[:, 0] > 0, rng.integers(0, 3, (2, 16, 16)), 0).astype(np.uint8)
    found = Slices([_case(x, y)], tile=tile, step=step, lesion=2)
    expected = [
        (Piece(0, z, i, j), bool((y[z, i : i + tile, j : j + tile] >= 2).any()))
        for z in range(2)
        for i in windows(16, tile, step)
        for j in windows(16, tile, step)
        if x[z, 0, i : i + tile, j : j + tile].any()
    ]
    assert list(zip(found.pieces, found.lesions.tolist(), strict=True)) == expected


def _case(x: np.ndarray, y: np.ndarray) -> Prepared:
    frame = Frame(Grid((16, 16, 2), np.eye(4)), 1, 16)
    nothing = np.zeros(0, np.float32)
    return Prepared("k", "a", "a", None, x, y, nothing, nothing > 0, frame, True)


@pytest.mark.parametrize("name", ["x.npy", "y.npy", "json"])
@pytest.mark.parametrize("torn", [50, 0, None], ids=["torn", "empty", "lacking"])
def test_a_stored_case_whose_files_are_torn_or_lacking_is_prepared_anew(
    cohort: Cohort, tmp_path: Path, name: str, torn: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    entries = list(cohort)[:1]
    (before,) = prepared(entries, VALUES, tmp_path, workers=1)
    assert isinstance(before, Prepared)
    expected = np.array(before.x)
    file = tmp_path / f"{before.key}.{name}"
    if torn is not None:
        file.write_bytes(file.read_bytes()[:torn])
    else:
        file.unlink()
    (after,) = prepared(entries, VALUES, tmp_path, workers=1)
    assert isinstance(after, Prepared)
    assert np.array_equal(after.x, expected)
    assert caplog.messages == [] if name == "json" and torn is None else "it is prepared anew" in caplog.text


def test_parts_of_files_are_removed_a_day_after(cohort: Cohort, tmp_path: Path) -> None:
    old, new = tmp_path / f".{32 * 'a'}.x.1.npy", tmp_path / f".{32 * 'b'}.x.1.npy"
    about, theirs = tmp_path / f".{32 * 'a'}.17.json", tmp_path / ".bashrc"
    for file in (old, new, about, theirs):
        file.touch()
    for file in (old, about, theirs):
        os.utime(file, (0, 0))
    _prepared(cohort, VALUES, tmp_path)
    assert [file.exists() for file in (old, new, about, theirs)] == [False, True, False, True]


def test_the_hash_of_the_data_has_ids_groups_parts_and_order_in_it(cohort: Cohort, tmp_path: Path) -> None:
    first, second = _prepared(cohort, VALUES, tmp_path)

    def told(train: list[Prepared], validation: list[Prepared]) -> str:
        return Parts(Slices(train), Slices(validation), ()).sha256

    others = [
        told([second], [first]),
        told([first, second], []),
        told([second, first], []),
        told([replace(first, case_id="b")], [second]),
        told([replace(first, group="WIS")], [second]),
        told([replace(first, key="k")], [second]),
        told([replace(first, values=first.values + 1)], [second]),
    ]
    assert len({told([first], [second]), *others}) == 1 + len(others)


def test_the_hash_of_the_data_is_told_by_their_files_alone(cohort: Cohort, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"name": "a", "input": {"maps": ("CBF",), "form": "values", "size": 32, "clinical": ("nihss",)}}
    )
    one, other = (entry.id for entry in cohort)
    drawn = Split({"train": (one,), "validation": (other,), "test": ()})
    parts = parts_of(settings, drawn, cohort, cache=tmp_path, workers=1, told=lambda _: None)
    assert data_sha256(settings, drawn, cohort, refused=()) == parts.sha256
    assert data_sha256(settings, drawn, cohort, refused=(one,)) != parts.sha256


def numbers(sampler: Balanced) -> list[int]:
    return [draw.number for draw in sampler]


def test_several_processes_prepare_the_same(cohort: Cohort, tmp_path: Path) -> None:
    one = _prepared(cohort, VALUES, tmp_path / "one")
    two = list(prepared(cohort, VALUES, tmp_path / "two", workers=2))
    for first, second in zip(one, two, strict=True):
        assert isinstance(second, Prepared)
        assert np.array_equal(first.x, second.x)
        assert torch.from_numpy(np.array(second.x)).dtype == torch.float16
