"""Configs of the second ancestor translated: what each key becomes, what is ignored and why, and what is refused."""

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch

from strokelens.cli.second import config_text
from strokelens.errors import SettingsError
from strokelens.networks.built import described
from strokelens.settings.reading import convert_settings, parse_settings, read_settings
from strokelens.settings.schema import Settings
from strokelens.settings.second import Converted, converted, is_second
from tests.commands import Run

USED = {
    "data_modalities", "model_label_name", "training_mode", "basic.batch_size", "basic.n_epoch",
    "basic.save_model_every_N_epoch", "basic.keep_at_most_n_latest_models", "dataloader.resize", "learning.mechanism",
    "learning.learning_rate", "learning.betas", "augmentation.type",
    *(f"normalization.{name}_target_min_max" for name in ("ADC", "MTT", "rCBF", "rCBV", "Tmax", "TTP")),
}  # fmt: skip
MAPS = ["ADC", "MTT", "CBF", "CBV", "Tmax", "TTP"]


def config(*gone: str, **changes: object) -> str:
    """The default config; `basic__n_epoch=3` changes or adds a key of a part, and what is `gone` is left out."""
    whole: dict[str, Any] = json.loads(config_text())
    for key, value in changes.items():
        *above, last = key.split("__")
        part = whole
        for name in above:
            part = part.setdefault(name, {})
        part[last] = value
    for key in gone:
        del whole[key]
    return json.dumps(whole)


def translated(**changes: object) -> Converted:
    return converted(config(**changes), "config.json")


def leaves(part: dict[str, Any], place: str = "") -> Iterator[str]:
    for key, value in part.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}"


def names(found: Converted) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in found.ignored)


def written(place: Path, text: str) -> Path:
    path = place / "config.json"
    path.write_text(text)
    return path


def settings_of(place: Path, **changes: object) -> Settings:
    return convert_settings(written(place, config(**changes)))[0]


def test_every_key_of_the_default_config_is_used_or_named_with_a_reason() -> None:
    ignored = names(translated())
    for leaf in leaves(json.loads(config_text())):
        parts = leaf.split(".")
        above = {".".join(parts[: end + 1]) for end in range(len(parts))} & set(ignored)
        assert (leaf in USED) != bool(above), leaf
        assert all(len(ignored[name]) > 10 for name in above)


def test_every_used_key_changes_the_settings_or_may_only_be_what_it_is() -> None:
    others: dict[str, object] = {
        "data_modalities": ["ADC", "OT"], "model_label_name": "another", "training_mode": "UNet3D_diff",
        "basic__batch_size": 2, "basic__n_epoch": 9, "basic__save_model_every_N_epoch": 3,
        "basic__keep_at_most_n_latest_models": None, "dataloader__resize": [96, 96, 19], "learning__mechanism": "SGD",
        "learning__learning_rate": 0.1, "learning__betas": [0.1, 0.2],
        "augmentation__type": "rotate_then_clip_translate",
    }  # fmt: skip
    assert {key.replace("__", ".") for key in others} == {key for key in USED if "target_min_max" not in key}
    before = translated().settings
    for key, value in others.items():
        assert translated(**{key: value}).settings != before, key


def test_the_default_config_is_the_ancestors_training(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert list(settings.input.maps) == MAPS
    assert (settings.input.size, settings.input.depth) == (48, 19)
    assert (settings.input.form, settings.input.resampling) == ("minmax", "nearest")
    optimizer = settings.optimizer
    assert optimizer.name == "adam"
    assert (optimizer.learning_rate, optimizer.betas) == (0.0002, (0.5, 0.9))
    assert (optimizer.l1, optimizer.l2, optimizer.clip_value, optimizer.max_norm) == (0, 0, None, None)
    assert settings.loss.name == "cross_entropy"
    assert settings.loss.class_weights is None
    assert [stage.epochs for stage in settings.stages] == [2]
    assert (settings.training.snapshots, settings.training.keep_snapshots, settings.training.batch) == (1, 4, 1)
    assert settings.diffgen.fraction == 0
    assert settings.legacy


def test_the_network_has_as_many_parameters_as_the_ancestors(tmp_path: Path) -> None:
    with torch.device("meta"):
        net = described(settings_of(tmp_path))
    assert sum(prod(each.shape) for each in net.parameters()) == 19_077_158


def test_what_was_never_used_is_said_and_changes_nothing() -> None:
    plain = translated()
    odd = translated(normalization__ADC_source_min_max=[0, 5000], learning__weight_decay=1.0, learning__momentum=0.1)
    assert odd.settings == plain.settings
    assert "lowest and highest voxel" in names(odd)["normalization.ADC_source_min_max"]
    assert names(odd)["learning.weight_decay"] == "of SGD; its adam had none"


def test_textures_are_mixed_into_whole_samples_one_volume_at_a_time(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, training_mode="UNet3D_diff")
    assert (settings.diffgen.fraction, settings.diffgen.labels, settings.training.draws) == (1.0, "first", 10)
    found = translated(training_mode="UNet3D_diff", basic__batch_size=4)
    assert Settings.model_validate(found.settings, strict=False).training.batch == 1
    assert names(found)["basic.batch_size"] == "UNet3D_diff took one volume at a time"


def test_sgd_takes_momentum_and_weight_decay_and_no_betas(tmp_path: Path) -> None:
    changes: dict[str, object] = {"learning__mechanism": "SGD", "learning__momentum": 0.7}
    optimizer = settings_of(tmp_path, **changes).optimizer
    assert (optimizer.name, optimizer.momentum, optimizer.weight_decay) == ("sgd", 0.7, 1e-5)
    ignored = names(translated(**changes))
    assert ignored["learning.betas"] == "of adam"
    assert "learning.momentum" not in ignored
    assert "learning.weight_decay" not in ignored


def test_augmentation_is_the_ancestors_recipe_and_nothing_besides(tmp_path: Path) -> None:
    kind = "rotate_then_clip_translate"
    found = settings_of(tmp_path, augmentation__type=kind).augmentation
    assert found.recipe == "rotate_clip_translate"
    assert (found.flip, found.turn_deg, found.scale, found.shift, found.brightness, found.noise) == (0,) * 6
    assert settings_of(tmp_path).augmentation.recipe == "chance"


def test_maps_are_in_the_order_of_the_config(tmp_path: Path) -> None:
    assert list(settings_of(tmp_path, data_modalities=["Tmax", "OT", "rCBF"]).input.maps) == ["Tmax", "CBF"]


def test_a_name_becomes_one_of_a_folder(tmp_path: Path) -> None:
    assert settings_of(tmp_path, model_label_name="my/model 1").name == "my_model_1"


def test_what_the_file_does_not_tell_is_as_the_ancestor_had_it() -> None:
    bare = converted('{"training_mode": "UNet3D", "dataloader": {}}', "config.json").settings
    assert bare == translated(model_label_name="UNet3D").settings


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("basic__n_epochs", "basic.n_epoch"), ("learning__learning_rat", "learning.learning_rate"),
     ("data_modality", "data_modalities")],
)  # fmt: skip
def test_a_typo_is_named_with_the_nearest_key(key: str, nearest: str) -> None:
    typo = key.replace("__", ".")
    told = names(translated(**{key: 7}))[typo]
    assert told.startswith("it had no such key; ")
    assert nearest in told


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("dataloader__resize", [48, 96, 19], "dataloader.resize"),
        ("dataloader__resize", [16, 16, 19], "input.size"),
        ("dataloader__resize", [48, 48, 20], "input.depth"),
        ("dataloader__resize", "48", "dataloader.resize"),
        ("data_modalities", ["OT"], "maps"),
        ("data_modalities", ["ADC", "ADC", "OT"], "maps"),
        ("data_modalities", ["DWI"], "data_modalities"),
        ("data_modalities", "ADC", "data_modalities"),
        ("learning__learning_rate", 0, "learning_rate"),
        ("learning__learning_rate", "fast", "learning.learning_rate"),
        ("learning__betas", [0.5], "learning.betas"),
        ("learning__betas", [0.5, 1.0], "learning.betas"),
        ("learning__mechanism", "Adam", "learning.mechanism"),
        ("normalization__MTT_target_min_max", [-1, 1], "normalization.MTT_target_min_max"),
        ("normalization__MTT_target_min_max", [None, 1], "normalization.MTT_target_min_max"),
        ("training_mode", "UNet3Db", "training_mode"),
        ("augmentation__type", "flip", "augmentation.type"),
        ("basic__n_epoch", 0, "basic.n_epoch"),
        ("basic__n_epoch", True, "basic.n_epoch"),
        ("basic__batch_size", 1.5, "basic.batch_size"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_key(tmp_path: Path, key: str, value: object, named: str) -> None:
    path = written(tmp_path, config(**{key: value}))
    with pytest.raises(SettingsError) as caught:
        convert_settings(path)
    text = str(caught.value)
    assert "\n" not in text
    assert named in text
    assert text.startswith(str(path))
    assert len(text) < 400


@pytest.mark.parametrize("text", ["", "[]", "{", '{"training_mode": 1,}', "[" * 100_000])
def test_what_is_no_config_is_one_line(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        convert_settings(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_config_is_told_from_settings() -> None:
    assert is_second(config_text())
    assert not is_second('{"name": "mine", "about": "training_mode"}')


def test_who_takes_a_config_for_settings_is_told_to_convert_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"second ancestor's; `strokelens settings convert config\.json -o"):
        parse_settings(config_text(), "config.json")
    path = written(tmp_path, config_text())
    with pytest.raises(SettingsError, match=r"`strokelens settings convert "):
        read_settings(str(path))


def test_the_verb_writes_settings_that_are_right_and_names_what_is_ignored(run: Run, tmp_path: Path) -> None:
    path, out = written(tmp_path, config_text()), tmp_path / "settings.json"
    answer = run("settings", "convert", path, "-o", out)
    assert answer.code == 0
    settings, ignored = convert_settings(path)
    assert read_settings(str(out)) == settings
    assert [line for line in answer.err.splitlines() if line.startswith("ignored: ")] == [
        f"ignored: {line}" for line in ignored
    ]
    assert run("settings", "check", out).code == 0


def test_the_verb_without_a_file_says_the_settings(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path, config_text())
    answer = run("settings", "convert", path)
    assert parse_settings(answer.out, "said") == convert_settings(path)[0]


def test_the_verb_never_replaces_a_file(run: Run, tmp_path: Path) -> None:
    path, out = written(tmp_path, config_text()), tmp_path / "settings.json"
    out.write_text("mine")
    for place in (out, path):
        before = place.read_text()
        answer = run("settings", "convert", path, "-o", place)
        assert answer.code == 2
        assert len(answer.err.splitlines()) - len(translated().ignored) == 1
        assert place.read_text() == before


def test_a_file_that_is_not_there_is_one_line(run: Run, tmp_path: Path) -> None:
    answer = run("settings", "convert", tmp_path / "no.json")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert "no.json" in answer.err
