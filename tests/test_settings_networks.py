"""Kinds of networks in a setting: what each is by default, what does not fit and how it is told, and round trips."""

import json

import jsonschema
import pytest
import torch

from strokelens.errors import SettingsError
from strokelens.model import recipe_of, scheme_of
from strokelens.networks.built import built
from strokelens.networks.fusion import Fusion
from strokelens.networks.references import Padded
from strokelens.networks.unet3d import Unet3d
from strokelens.settings.changing import changed
from strokelens.settings.explaining import explained_text, schema_text, settings_text
from strokelens.settings.networks import KINDS, FusionNetwork
from strokelens.settings.reading import parse_settings
from strokelens.settings.schema import Settings

VOLUME = {"maps": ["ADC", "Tmax"], "form": "robust", "classes": 2, "target": "lesion", "size": 32}
FULL = [{"encoders": "full"}]
SMALL: dict[str, dict[str, object]] = {
    "fusion": {"width": 1 / 64},
    "unet3d": {"filters": [[2, 3], [3, 4]], "norm": "group", "steps": [[1, 2, 2]]},
    "dynunet": {"filters": [2, 4, 8]},
    "segresnet": {"filters": [8, 16]},
}


def told(kind: str, *, network: dict[str, object] | None = None, **more: object) -> str:
    """A setting of a kind, as its file."""
    seen = {"maps": ["ADC", "Tmax"], "size": 32} if kind == "fusion" else VOLUME
    own = {"kind": kind, **SMALL[kind], **(network or {})}
    whole: dict[str, object] = {"name": "a", "input": seen, "network": own, "stages": FULL}
    for name, part in more.items():
        before = whole.get(name)
        whole[name] = before | part if isinstance(before, dict) and isinstance(part, dict) else part
    return json.dumps(whole)


def read(kind: str, **more: dict[str, object]) -> Settings:
    return parse_settings(told(kind, **more), "f")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whole", [False, True])
def test_every_kind_reads_back_what_it_shows(kind: str, whole: bool) -> None:
    settings = read(kind)
    assert settings.network.kind == kind
    assert parse_settings(settings_text(settings, whole=whole), "f") == settings
    assert changed(settings, []) == settings
    assert changed(settings, ["network.dropout=0.5"]).network.kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fits_the_schema(kind: str) -> None:
    jsonschema.validate(json.loads(told(kind)), json.loads(schema_text()))


def test_every_kind_is_explained() -> None:
    explained = json.loads(explained_text())["network"]
    assert " or ".join(explained).split(" or ") == list(KINDS)
    assert all(setting["means"] for part in explained.values() for setting in part.values())


def test_where_no_kind_is_told_it_is_the_network_of_slices() -> None:
    assert isinstance(parse_settings('{"name": "a"}', "f").network, FusionNetwork)
    assert isinstance(parse_settings('{"name": "a", "network": {"width": 0.5}}', "f").network, FusionNetwork)


@pytest.mark.parametrize(("kind", "net"), [("fusion", Fusion), ("unet3d", Unet3d), ("dynunet", Padded),
                                           ("segresnet", Padded)])  # fmt: skip
def test_every_kind_is_built_and_answers_any_size(kind: str, net: type) -> None:
    settings = read(kind)
    network = built(settings).eval()
    assert isinstance(network, net)
    assert settings.volumes == (kind != "fusion")
    with torch.no_grad():
        images = torch.rand(1, 2, 5, 18, 30) if settings.volumes else torch.rand(1, 6, 32, 32)
        assert network(images).shape == (1, len(scheme_of(settings)), *images.shape[2:])


def test_the_recipe_has_the_lattice_and_may_lack_a_map_only_where_training_drops_some() -> None:
    lattice = {"resampling": "linear", "depth": 9}
    plain = recipe_of(read("unet3d", input=lattice))
    assert (plain.resampling, plain.depth, plain.may_lack) == ("linear", 9, False)
    assert recipe_of(read("unet3d", augmentation={"drop_map": 0.1})).may_lack


@pytest.mark.parametrize(("target", "names"), [("core", ("background", "core")), ("lesion", ("background", "lesion")),
                                               ("hypoperfused", ("background", "hypoperfused"))])  # fmt: skip
def test_the_target_is_the_second_class(target: str, names: tuple[str, ...]) -> None:
    assert scheme_of(read("unet3d", input={"target": target})).names == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (told("unet3d", network={"kind": "unet"}), "network: a network's kind is one of fusion, unet3d, dynunet, segr"),
        (told("unet3d", network={"wdth": 1}), "no setting 'wdth' in network; did you mean 'width'?"),
        (told("unet3d", network={"shared": True}), "no setting 'shared' in network"),
        (told("dynunet", network={"filter": [2]}), "no setting 'filter' in network; did you mean 'filters'?"),
        (told("unet3d", network={"width": "1"}), 'network.width: input should be a valid number; it is "1"'),
        (told("unet3d", network={"steps": [[2, 2, 2]] * 2}), "2 steps between 2 scales of filters; give one less"),
        (told("unet3d", network={"steps": [[3, 2, 2]]}), "network.steps.0.0: input should be 1 or 2; it is 3"),
        (told("dynunet", network={"filters": [2, 4]}), "three scales or more; give filters such as [32, 64, 128]"),
        (told("segresnet", network={"steps": [[1, 2, 2]]}), "set steps to null, or take dynunet"),
        (told("segresnet", network={"filters": [8, 12]}), "double from scale to scale, as in [16, 32, 64, 128]"),
        (told("unet3d", input={"form": "colours"}), "unet3d sees values, not colours; set input.form to robust"),
        (told("unet3d", input={"slices": 3}), "unet3d sees all slices at once; leave input.slices out"),
        (told("dynunet", stages=[{}]), 'dynunet learns as a whole; set stages to [{"encoders": "full"}]'),
        (told("segresnet", input={"clinical": ["nihss"]}), "sees no clinical values; leave input.clinical out, or"),
        (
            told("unet3d", input={"classes": 3, "target": "hypoperfused"}, diffgen={"fraction": 1}),
            "diffgen has one kind of lesion, not 2; set input.classes to 2",
        ),
        (told("unet3d", loss={"sample_weights": "severity"}), "loss.sample_weights are of slices; set them to none"),
        (told("unet3d", legacy=True), "legacy is the published 3-D U-Net: norm batch, and no steps"),
        (
            told("unet3d", input={"tile": 20}),
            "tile 20 is no multiple of 8 up to 32, the slice's side; take 16, or null",
        ),
        (told("unet3d", input={"depth": 9}), "area keeps the slices as they are; set depth to null, or resampling to"),
        (told("unet3d", input={"classes": 3}), "input: target lesion is of 2 classes, not 3; set classes to 2"),
        (
            told("unet3d", legacy=True, network={"norm": "batch", "steps": None}, input={"form": "minmax"}),
            "legacy computes sides of multiples of 8 and depths of 3, 11, 19, 27, … not 32 and None; set",
        ),
        (
            told("unet3d", augmentation={"recipe": "rotate_clip_translate"}),
            "rotate_clip_translate cuts at a brightness of 0 to 1; set input.form to minmax",
        ),
        (
            told("unet3d", network={"filters": [[2, 2]] * 6, "steps": None}),
            "a voxel of the bottleneck covers 32 pixels, and a side of 32 has not two of them; give fewer",
        ),
        (told("fusion", augmentation={"lift": 1}), "are of volumes; leave them out, or take unet3d"),
        (told("fusion", diffgen={"fraction": 1}), "are of volumes; leave them out, or take unet3d"),
        (told("fusion", input={"resampling": "linear"}), "set resampling to area, or form to robust"),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_the_cure(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, "f")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
