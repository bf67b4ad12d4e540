"""Models on disk: what is saved is what is loaded, and what is damaged is one line."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from strokelens.errors import FileError, SettingsError
from strokelens.model import CARD, WEIGHTS, Card, Model, is_model, load_model, save_model
from strokelens.networks.built import built
from strokelens.networks.devices import device_named
from strokelens.networks.fusion import Fusion
from strokelens.networks.inputs import standardised, unit
from strokelens.settings.schema import Settings

SETTINGS = Settings.model_validate_json(
    '{"name": "tiny", "input": {"maps": ["CBF", "Tmax"], "clinical": ["nihss"], "size": 64},'
    ' "network": {"width": 0.0625}, "training": {"seed": 5}}'
)
CARD_OF = Card({"train": 2, "validation": 1}, True, "a" * 64, "b" * 64, {"dice_core": 0.5})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "run" / "model"
    place.mkdir(parents=True)
    save_model(Model(built(SETTINGS), SETTINGS, CARD_OF), place)
    return place


@pytest.mark.parametrize("given", ["model", ".", "model/card.json"])
def test_a_model_comes_back_from_its_folder_its_run_or_its_card(folder: Path, given: str) -> None:
    model = load_model(folder.parent / given)
    assert (model.settings, model.card) == (SETTINGS, CARD_OF)
    assert not model.net.training
    fresh = built(SETTINGS).state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in model.net.state_dict().items())
    assert is_model(folder.parent)
    assert not is_model(folder.parent.parent)


def test_the_card_tells_where_the_model_came_from(folder: Path) -> None:
    told = json.loads((folder / CARD).read_text())
    assert told["name"] == "tiny (simulated patients)"
    assert told["labels"] == {"0": "background", "1": "penumbra", "2": "core"}
    assert told["intended_use"].startswith("Research use only")
    assert told["settings"]["training"]["seed"] == 5


def test_another_seed_draws_other_weights_and_leaves_the_callers_chance_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    other = built(SETTINGS.model_copy(update={"training": SETTINGS.training.model_copy(update={"seed": 6})}))
    assert torch.equal(torch.rand(3), expected)
    assert not torch.equal(next(other.parameters()), next(built(SETTINGS).parameters()))


def test_the_design_follows_the_settings() -> None:
    net = built(SETTINGS)
    assert isinstance(net, Fusion)
    design = net.design
    assert (design.maps, design.clinical, design.classes, design.colours, design.grid, design.width) == (
        ("CBF", "Tmax"), ("nihss",), 3, 3, 2, 0.0625
    )  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda place: (place / CARD).write_text("{"), "card.json cannot be read"),
        (lambda place: (place / CARD).write_text("{}"), "is no model by strokelens"),
        (lambda place: (place / WEIGHTS).write_bytes(b"no weights at all"), "does not fit its card"),
        (lambda place: (place / WEIGHTS).unlink(), "does not fit its card"),
    ],
    ids=["half a card", "another file", "damaged weights", "no weights"],
)
def test_a_damaged_model_is_one_line(folder: Path, damage: object, message: str) -> None:
    damage(folder)  # type: ignore[operator]
    with pytest.raises(FileError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_a_card_without_a_hash_or_with_strange_settings_is_refused(folder: Path) -> None:
    told = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({name: value for name, value in told.items() if name != "data_sha256"}))
    with pytest.raises(FileError, match="has no 'data_sha256'"):
        load_model(folder)
    (folder / CARD).write_text(json.dumps(told | {"settings": {"name": "x", "depth": 3}}))
    with pytest.raises(SettingsError, match="no setting 'depth'"):
        load_model(folder)


def test_weights_of_another_width_are_refused(folder: Path) -> None:
    told = json.loads((folder / CARD).read_text())
    told["settings"]["network"]["width"] = 0.125
    (folder / CARD).write_text(json.dumps(told))
    with pytest.raises(FileError, match="does not fit its card"):
        load_model(folder)


def test_colours_are_standardised_as_imagenet_was() -> None:
    stored = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1).repeat(1, 2, 2, 2)
    found = standardised(unit(stored), form="colours")
    assert found[0, :3, 0, 0].tolist() == pytest.approx([(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225])
    assert torch.equal(found[:, :3], found[:, 3:])


def test_legacy_reads_raw_blue_green_red_and_values_stay_as_they_are() -> None:
    stored = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    assert standardised(unit(stored), form="colours", legacy=True).flatten().tolist() == [51.0, 0.0, 255.0]
    values = torch.rand(1, 2, 4, 4)
    assert torch.equal(standardised(values, form="values"), values)


@pytest.mark.parametrize(("told", "message"), [("gpu", "no device 'gpu'"), ("", "no device ''"), ("99", "no GPU 99")])
def test_a_device_that_is_not_there_is_told(told: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        device_named(told)


def test_a_model_goes_to_a_device_with_all_that_is_told_of_it(folder: Path) -> None:
    model = load_model(folder)
    moved = model.on(device_named("auto"))
    assert (moved.settings, moved.card) == (model.settings, model.card)
    assert next(moved.net.parameters()).device == device_named("auto")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"persons": 3}, "card.json: persons is 3: "),
        ({"persons": {"train": -1}}, "card.json: persons.train is -1: "),
        ({"simulated": "false"}, 'card.json: simulated is "false": input should be a valid boolean'),
        ({"scores": {"dice": "high"}}, 'card.json: scores.dice is "high": '),
        ({"pixel_mm": 0}, "card.json: pixel_mm is 0: "),
        ({"modality": "PET"}, 'card.json: modality is "PET": '),
    ],
)
def test_values_of_another_kind_in_a_card_are_one_line(folder: Path, changed: dict[str, object], message: str) -> None:
    told = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(told | changed))
    with pytest.raises(FileError, match=re.escape(message)) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("; copy the whole folder again")


def test_a_card_from_before_tells_neither_pixels_nor_modality(folder: Path) -> None:
    told = json.loads((folder / CARD).read_text())
    older = {name: value for name, value in told.items() if name not in ("pixel_mm", "modality")}
    (folder / CARD).write_text(json.dumps(older))
    assert load_model(folder).card == CARD_OF
    (folder / CARD).write_text(json.dumps(told | {"pixel_mm": 0.44, "modality": "CT"}))
    assert load_model(folder).card == replace(CARD_OF, pixel_mm=0.44, modality="CT")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers_are_refused(folder: Path, value: float) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["head.2.bias"][0] = value
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(FileError, match=r"head\.2\.bias holds values that are no numbers, so it finds nothing; train"):
        load_model(folder)


def test_a_network_is_not_built_before_its_weights_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads((folder / CARD).read_text())
    told["settings"]["network"]["width"] = 4.0
    (folder / CARD).write_text(json.dumps(told))
    monkeypatch.setattr("strokelens.model.built", lambda _: pytest.fail("gigabytes were built"))
    message = (
        r"does not fit its card: encoders\.0\.features\.0\.weight has shape \[4, 3, 3, 3\], where \[256, 3, 3, 3\]"
    )
    with pytest.raises(FileError, match=message):
        load_model(folder)


def test_a_loaded_network_keeps_its_channels_last_and_leaves_chance_alone(folder: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    weight = load_model(folder).net.state_dict()["encoders.0.features.2.weight"]
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(torch.rand(3), expected)
