"""The settings of a training: the published twelve, what is refused and how, and the pages made of the schema."""

import json
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import get_args

import jsonschema
import pytest

from strokelens.errors import SettingsError
from strokelens.losses import LOSSES
from strokelens.settings.explaining import explained_text, schema_text, settings_text
from strokelens.settings.losses import LossName
from strokelens.settings.reading import (
    PUBLISHED,
    VOLUMES,
    bundled_names,
    parse_settings,
    published_names,
    read_settings,
)
from strokelens.settings.schema import Settings
from tests.commands import Run

ROOT = Path(__file__).parents[1]
MAPS = ("CBF", "CBV", "TTP", "Tmax")

# Spec 1.4: which encoders learn in which stage, MIP, NIHSS.
TABLE = {
    "Baseline": (["frozen"], False, False),
    "Mdl_F_PmM": (["frozen"], True, False),
    "Mdl_F_PmN": (["frozen"], False, True),
    "Mdl_F_PmMN": (["frozen"], True, True),
    "Mdl_U_Pm": (["full"], False, False),
    "Mdl_U_PmM": (["full"], True, False),
    "Mdl_U_PmN": (["full"], False, True),
    "Mdl_U_PmMN": (["full"], True, True),
    "Mdl_G_Pm": (["frozen", "half", "full"], False, False),
    "Mdl_G_PmM": (["frozen", "half", "full"], True, False),
    "Mdl_G_PmN": (["frozen", "full"], False, True),
    "Mdl_G_PmMN": (["frozen", "half", "full"], True, True),
}


def test_the_published_twelve_are_there() -> None:
    assert published_names() == tuple(TABLE)
    assert len(PUBLISHED) == 12
    assert bundled_names() == (*TABLE, *VOLUMES)


@pytest.mark.parametrize("name", VOLUMES)
def test_the_settings_of_volumes_see_the_six_maps_of_the_challenge_and_its_lesion(name: str) -> None:
    settings = read_settings(name)
    assert settings.name == name
    assert settings.input.maps == ("ADC", "MTT", "CBF", "CBV", "Tmax", "TTP")
    assert (settings.input.classes, settings.input.target, settings.volumes) == (2, "lesion", True)
    assert settings.legacy is (name == "Isles2017_legacy")


@pytest.mark.parametrize("name", TABLE)
def test_published_settings_differ_as_in_their_table_and_in_nothing_else(name: str) -> None:
    stages, mip, nihss = TABLE[name]
    settings = read_settings(name)
    assert [stage.encoders for stage in settings.stages] == stages
    assert settings.input.maps == ((*MAPS, "MIP") if mip else MAPS)
    assert settings.input.clinical == (("nihss",) if nihss else ())
    same = settings.model_dump(exclude={"name", "about", "stages"})
    same["input"] |= {"maps": MAPS, "clinical": ()}
    assert same == read_settings("Baseline").model_dump(exclude={"name", "about", "stages"})


def test_the_published_training_is_the_default() -> None:
    """Spec 1.4: what all settings have in common."""
    settings = read_settings("Baseline")
    assert (settings.loss.name, settings.class_weights) == ("focal_tversky", (0.1, 50, 440))
    optimizer = settings.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.betas) == ("adam", 1e-5, (0.9, 0.999))
    assert (optimizer.clip_value, optimizer.l1, optimizer.l2, optimizer.max_norm) == (0.5, 1e-6, 1e-5, 2.0)
    stage = settings.stages[0]
    assert (stage.epochs, stage.patience, stage.least_gain, settings.training.batch) == (1000, 25, 1e-5, 2)
    assert (settings.network.dropout, settings.input.size, settings.input.classes) == (0.25, 512, 3)


@pytest.mark.parametrize(("published", "ours"), PUBLISHED.items())
def test_published_file_names_mean_ours(published: str, ours: str) -> None:
    for source in (published, f"{published}.json", f"Settings/{published}.json", f"Setting/{ours}.json"):
        assert read_settings(source) == read_settings(ours)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("whole", [False, True])
def test_what_is_shown_reads_back(name: str, whole: bool) -> None:
    settings = read_settings(name)
    assert parse_settings(settings_text(settings, whole=whole), name) == settings


def test_a_file_comes_before_a_bundled_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Baseline").write_text('{"name": "mine"}')
    assert read_settings("Baseline").name == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": "a", "inputs": {}}', "f: no setting 'inputs'; did you mean 'input'?"),
        ('{"name": "a", "input": {"tiles": 3}}', "f: no setting 'tiles' in input; did you mean 'tile'?"),
        (
            '{"name": "a", "stages": [{"epoch": 2, "x": 1}]}',
            "f: no setting 'epoch' in stages.0; did you mean 'epochs'?",
        ),
        (
            '{"name": "a", "input": {"tile": 16}}',
            "f: input: tile 16 is no multiple of 32 up to 512, the slice's side, which VGG16 halves five times; "
            "take 32, or null for whole slices",
        ),
        ('{"name": "a", "input": {"stride": 16}}', "f: input: a stride needs a tile"),
        ('{"name": "a", "input": {"maps": []}}', "f: input: maps are one or more channels, each once"),
        ('{"name": "a", "input": {"maps": ["CBF", "CBF"]}}', "f: input: maps are one or more channels, each once"),
        (
            '{"name": "a", "input": {"clinical": ["nihss", "nihss"]}}',
            "f: input: clinical values are named once each",
        ),
        (
            '{"name": "a", "network": {"width": 0.5, "pretrained": "imagenet"}}',
            "f: network: imagenet's weights are of width 1, not 0.5; set pretrained to null",
        ),
        (
            '{"name": "a", "optimizer": {"learning_rate": -1}}',
            "f: optimizer.learning_rate: input should be greater than 0; it is -1",
        ),
        ('{"name": "a", "training": {"batch": "2"}}', 'f: training.batch: input should be a valid integer; it is "2"'),
        ('{"name": "a", "loss": {"class_weights": [1, 2]}}', "f: 2 class_weights for 3 classes"),
        *(
            (
                f'{{"name": "a", "legacy": true, "input": {other}}}',
                "f: legacy reads colours of one slice; set input.form and input.slices back",
            )
            for other in ('{"form": "values"}', '{"slices": 3}')
        ),
        (
            '{"name": "a", "loss": {"name": "focal", "class_weights": [1, 0, 0]}}',
            "f: loss: class_weights are 0 but for the background, so nothing would be learned; raise one",
        ),
        (
            '{"name": "a", "loss": {"name": "dice", "alpha": 0.3}}',
            "f: loss: dice has no alpha; set it to null, or take focal_tversky or tversky or focal",
        ),
        (
            '{"name": "a", "loss": {"name": "tversky", "gamma": 2}}',
            "f: loss: tversky has no gamma; set it to null, or take focal_tversky or focal",
        ),
        (
            '{"name": "a", "optimizer": {"name": "sgd", "nesterov": true}}',
            "f: optimizer: nesterov needs sgd with momentum, not sgd with 0; set momentum to 0.9, or nesterov to false",
        ),
        (
            '{"name": "a", "optimizer": {"nesterov": true, "momentum": 0.5}}',
            "f: optimizer: nesterov needs sgd with momentum, not adam with 0.5; set momentum to 0.9, or nesterov to "
            "false",
        ),
        (
            '{"name": "a", "schedule": {"kind": "plateau", "least": 1e-3}, "stages": [{"learning_rate": 1e-2}, {}]}',
            "f: schedule.least 0.001 is above the learning rate 1e-05, which would rise to it; lower it",
        ),
        (
            '{"name": "a", "network": {"norm": "batch"}, "input": {"tile": 32}}',
            "f: norm batch needs more than one voxel at the bottleneck, which a side of 32 has not; take group, or a "
            "side of 64",
        ),
        ("{}", "f: no 'name', which every setting has"),
        ("[]", "f: the whole: input should be an object; it is []"),
        (
            '{"name": "a",',
            "f: no JSON: Expecting property name enclosed in double quotes: line 1 column 14 (char 13); a comma or a "
            "bracket may be lacking there",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, "f")
    assert str(caught.value) == message


def test_deep_nonsense_is_no_traceback() -> None:
    with pytest.raises(SettingsError, match="no JSON"):
        parse_settings("[" * 100_000, "f")


def test_an_unknown_name_tells_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"bundled setting 'Mdl_G_Pmn'; did you mean 'Mdl_G_PmN'\?"):
        read_settings("Setting/Mdl_G_Pmn.json")


@pytest.mark.parametrize(
    ("content", "message"), [(b"\xff\xfe\x00", "store it as UTF-8"), (b" " * 1_000_001, "at most 1 MB is read")]
)
def test_files_that_are_no_text_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        read_settings(str(path))


def test_tiles_go_on_by_a_quarter() -> None:
    whole, tiled = parse_settings('{"name": "a"}', "f"), parse_settings('{"name": "a", "input": {"tile": 64}}', "f")
    assert (whole.input.step, tiled.input.step) == (None, 16)


def test_the_losses_of_the_settings_are_those_there_are() -> None:
    assert get_args(LossName) == tuple(LOSSES)
    assert json.loads(explained_text())["loss"]["name"]["enum"] == list(LOSSES)
    with pytest.raises(SettingsError, match=r"f: loss\.name: input should be 'focal_tversky', .* it is \"dize\""):
        parse_settings('{"name": "a", "loss": {"name": "dize"}}', "f")


@pytest.mark.parametrize("option", ["alpha", "gamma"])
def test_a_losss_own_numbers_are_accepted_where_its_formula_has_them(option: str) -> None:
    for name, loss in LOSSES.items():
        text = json.dumps({"name": "a", "loss": {"name": name, option: 0.5}})
        if option in signature(loss).parameters:
            assert getattr(parse_settings(text, "f").loss, option) == 0.5
        else:
            with pytest.raises(SettingsError, match=f"{name} has no {option}"):
                parse_settings(text, "f")


@pytest.mark.parametrize(
    ("page", "text"), [("settings.schema.json", schema_text), ("Setting_explained.json", explained_text)]
)
def test_the_pages_of_the_settings_are_in_step(page: str, text: Callable[[], str], pytestconfig: pytest.Config) -> None:
    path = ROOT / "docs" / "reference" / page
    if pytestconfig.getoption("--write-docs"):
        path.write_text(text())
    assert path.read_text() == text(), "run `make docs`"


@pytest.mark.parametrize("name", TABLE)
def test_bundled_settings_fit_the_schema(name: str) -> None:
    jsonschema.validate(json.loads(settings_text(read_settings(name))), json.loads(schema_text()))


def test_every_setting_is_explained() -> None:
    def leaves(told: dict[str, object]) -> list[dict[str, object]]:
        return [told] if "means" in told else [leaf for each in told.values() for leaf in leaves(each)]  # type: ignore[arg-type]

    explained = leaves(json.loads(explained_text()))
    assert len(explained) > 50
    assert all(leaf["means"] and ("default" in leaf or leaf.get("needed")) for leaf in explained)
    assert set(json.loads(explained_text())) == set(Settings.model_fields)


def test_the_verb_lists_the_published_settings(run: Run) -> None:
    answer = run("settings", "list")
    assert answer.code == 0
    assert [line.split()[0] for line in answer.out.splitlines()] == [*TABLE, *VOLUMES]
    assert "Mdl_G_PmMN           Encoders thawed by and by; the four maps, MIP, NIHSS." in answer.out


def test_what_the_verb_shows_is_a_settings_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(run("settings", "show", "Mdl_U_PmN", "--whole").out)
    assert read_settings(str(path)) == read_settings("Mdl_U_PmN")
    assert run("settings", "check", path).out == f"{path}: Mdl_U_PmN is right: 1 stage\n"


def test_the_verb_prints_both_pages(run: Run) -> None:
    assert run("settings", "explain").out == explained_text()
    assert run("settings", "schema").out == schema_text()


def test_wrong_settings_are_one_line_and_exit_code_2(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"name": "mine", "optimiser": {}}')
    answer = run("settings", "check", path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"strokelens: {path}: no setting 'optimiser'; did you mean 'optimizer'?\n"
