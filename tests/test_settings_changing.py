"""Settings with some values changed: laws, and what is wrong in one line."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strokelens.errors import SettingsError
from strokelens.settings.changing import changed
from strokelens.settings.reading import published_names, read_settings
from strokelens.settings.schema import Settings

NAMES = st.sampled_from(published_names())
CHANGES = st.lists(
    st.one_of(
        st.integers(1, 64).map(lambda number: f"training.batch={number}"),
        st.floats(1e-6, 1.0).map(lambda number: f"optimizer.learning_rate={number}"),
        st.sampled_from(["none", "batch", "group"]).map(lambda norm: f"network.norm={norm}"),
        st.integers(1, 1000).map(lambda number: f"stages.all.epochs={number}"),
        st.sampled_from(["schedule.kind=plateau", "loss.gamma=null", "legacy=true", "input.size=256"]),
    ),
    max_size=4,
)


@given(NAMES)
def test_no_change_changes_nothing(name: str) -> None:
    assert changed(read_settings(name), []) == read_settings(name)


@given(NAMES, CHANGES)
def test_the_same_changes_again_change_nothing_more(name: str, changes: list[str]) -> None:
    once = changed(read_settings(name), changes)
    assert changed(once, changes) == once


@given(NAMES, CHANGES, CHANGES)
def test_changes_one_after_the_other_are_changes_at_once(name: str, some: list[str], more: list[str]) -> None:
    settings = read_settings(name)
    assert changed(changed(settings, some), more) == changed(settings, [*some, *more])


@given(NAMES, CHANGES)
def test_what_was_given_is_not_touched(name: str, changes: list[str]) -> None:
    settings = read_settings(name)
    before = settings.model_dump_json()
    changed(settings, changes)
    assert settings.model_dump_json() == before


@given(st.integers(1, 10**6))
def test_the_last_of_two_changes_counts(epochs: int) -> None:
    assert changed(Settings(name="a"), ["stages.0.epochs=7", f"stages.0.epochs={epochs}"]).stages[0].epochs == epochs


@pytest.mark.parametrize(
    ("change", "place", "value"),
    [
        ("training.batch=8", "training.batch", 8),
        (" training.batch =8", "training.batch", 8),
        ("name=mine", "name", "mine"),
        ('name="mine"', "name", "mine"),
        ("network.pretrained=null", "network.pretrained", None),
        ("network.pretrained=a=b.pth", "network.pretrained", "a=b.pth"),
        ('input.maps=["Tmax", "CBF"]', "input.maps", ["Tmax", "CBF"]),
        ("legacy=true", "legacy", True),
        ('optimizer={"name": "sgd"}', "optimizer.name", "sgd"),
    ],
)
def test_a_value_is_json_or_else_a_text(change: str, place: str, value: object) -> None:
    found = json.loads(changed(read_settings("Baseline"), [change]).model_dump_json())
    for part in place.split("."):
        found = found[part]
    assert found == value


def test_one_stage_is_named_by_its_number_and_all_by_all() -> None:
    settings = changed(read_settings("Mdl_G_PmN"), ["stages.all.epochs=5", "stages.1.patience=2"])
    assert [(stage.epochs, stage.patience) for stage in settings.stages] == [(5, 25), (5, 2)]


def test_all_stages_where_none_is_told_is_the_one_by_default() -> None:
    assert [stage.epochs for stage in changed(Settings(name="a"), ["stages.all.epochs=5"]).stages] == [5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.batch", "no change 'training.batch'; give KEY=VALUE, such as training.batch=8"),
        ("=8", "no change '=8'; give KEY=VALUE"),
        ("training.bach=8", "Baseline with changes: no setting 'bach' in training; did you mean 'batch'?"),
        ("trainig.batch=8", "Baseline with changes: no setting 'trainig'; did you mean 'training'?"),
        ("training.batch=0", "training.batch: input should be greater than or equal to 1; it is 0"),
        ("training.batch=many", 'training.batch: input should be a valid integer; it is "many"'),
        ("input.tile=16", "input: tile 16 is no multiple of 32"),
        ("stages.3.epochs=1", "no change 'stages.3.epochs=1': there is no '3'; it has 1, from 0"),
        ("stages.first.epochs=1", "there is no 'first'; it has 1, from 0"),
        ("stages.-1.epochs=1", "there is no '-1'; it has 1, from 0"),
        ("stages.0=1", "no change 'stages.0=1': stages is no part; name a setting within one"),
        ("name.first=1", "no change 'name.first=1': name is no part; name a setting within one"),
        ("name.first.second=1", "no change 'name.first.second=1': there is no 'first'; it has no parts"),
        ("legacy=NaN", "legacy: "),
        ("stages=[]", "stages: "),
        ("training.=3", "no setting '' in training"),
        ("training..batch=3", "no setting '' in training"),
    ],
)
def test_what_is_no_change_is_one_line(change: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)) as error:
        changed(read_settings("Baseline"), [change])
    assert "\n" not in str(error.value)
