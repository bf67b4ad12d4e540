"""Settings and threshold rules on the same patients, end to end on simulated ones, and what is refused."""

import csv
import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.splits import Split, write_split
from strokelens.comparison import Comparison, compare, place_of
from strokelens.errors import CohortError, OutputError, SettingsError
from strokelens.perfusion.thresholds import rule_named
from strokelens.settings.changing import changed
from strokelens.settings.reading import published_names, read_settings
from strokelens.settings.schema import Settings
from strokelens.training.machine import Machine
from tests.commands import Answer, AsAUser, Run, runner
from tests.tiny_cohort import SET, SMALL, write_tiny_cohort

CPU = Machine("cpu", 1)
WORDS = ("Baseline", "Mdl_U_PmN", "--rule", "rapid", "--rule", "adc", "--rule", "strokelens", "--devices", "cpu",
         "--workers", "1", *SET)  # fmt: skip


def small(name: str, *more: str) -> Settings:
    return changed(read_settings(name), [*SMALL, *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_cohort(tmp_path_factory.mktemp("cohort") / "hospital", cases=6)


@pytest.fixture(scope="module")
def split(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = sorted(path.name for path in (folder / "patients").iterdir())
    path = tmp_path_factory.mktemp("split") / "split.json"
    write_split(path, Split({"train": tuple(names[1:4]), "validation": (names[4],), "test": (names[0], names[5])}))
    return path


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comparison") / "out"


@pytest.fixture(scope="module")
def first(folder: Path, split: Path, out: Path) -> Answer:
    """A comparison of two settings and three rules, as a user runs it."""
    return runner(nullcontext)("compare", *WORDS, "--data", folder, "--split", split, "-o", out)


def test_the_tables_have_a_row_for_each_rule_and_network(first: Answer, out: Path) -> None:
    assert first.code == 0
    names = ["rule rapid", "rule strokelens", "Baseline (simulated patients)", "Mdl_U_PmN (simulated patients)"]
    told = json.loads((out / "tables" / "evaluation.json").read_text())
    assert [model["name"] if isinstance(model, dict) else model for model in told["models"]] == names
    text = (out / "tables" / "tables.md").read_text()
    assert all(f"\n| {name} |" in text for name in names)
    assert first.out.startswith(f"{out}/tables/tables.md: 2 cases; scored in full: rule rapid 2 of 2, ")
    assert "Only a part of the cohort was asked for: test of a split" in first.out


def test_every_row_is_of_the_part_that_was_asked_for(first: Answer, out: Path, split: Path) -> None:
    assert first.code == 0
    testing = set(json.loads(split.read_text())["parts"]["test"])
    with (out / "tables" / "cases.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for model in {row["model"] for row in rows}:
        assert {row["case"] for row in rows if row["model"] == model} == testing


def test_every_network_has_the_same_split(first: Answer, out: Path, split: Path) -> None:
    assert first.code == 0
    wanted = json.loads(split.read_text())["parts"]
    for name in ("Baseline", "Mdl_U_PmN"):
        assert json.loads((out / "runs" / name / "split.json").read_text())["parts"] == wanted


def kept(out: Path) -> dict[Path, int]:
    """What must not be made again, and when it was made."""
    files = [
        *out.glob("rules/*/*/*"),
        *out.glob("predictions/*/*/*"),
        *out.glob("runs/*/stages/*/*"),
        *out.glob("prepared/*"),
    ]
    return {path: path.stat().st_mtime_ns for path in files if path.is_file()}


def test_a_second_run_keeps_what_is_there(first: Answer, run: Run, folder: Path, split: Path, out: Path) -> None:
    assert first.code == 0
    before, tables = kept(out), (out / "tables" / "tables.md").read_text()
    again = run("compare", *WORDS, "--data", folder, "--split", split, "-o", out, "--json")
    assert again.code == 0
    assert json.loads(again.out) == json.loads((out / "tables" / "evaluation.json").read_text())
    assert kept(out) == before
    assert len(before) > 20
    assert (out / "tables" / "tables.md").read_text() == tables


def test_a_rule_judges_again_what_it_judged_otherwise(
    first: Answer, run: Run, folder: Path, split: Path, out: Path
) -> None:
    assert first.code == 0
    sidecars = sorted(out.glob("rules/*/*/segmentation.json"))
    stale, told = sidecars[0], json.loads(sidecars[0].read_text())
    stale.write_text(json.dumps(told | {"Key": "of other maps"}))
    before = kept(out)
    assert run("compare", *WORDS, "--data", folder, "--split", split, "-o", out, "--json").code == 0
    assert {path for path, when in kept(out).items() if when != before[path]} == set(stale.parent.iterdir())
    assert json.loads(stale.read_text()) == told


def test_predictions_of_another_version_are_made_anew(
    first: Answer, run: Run, folder: Path, split: Path, out: Path
) -> None:
    assert first.code == 0
    path = out / "predictions" / "Baseline" / "predictions.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"recipe": told["recipe"] | {"software": "strokelens 0.0.1"}}))
    assert run("compare", *WORDS, "--data", folder, "--split", split, "-o", out, "--json").code == 0
    assert json.loads(path.read_text())["recipe"] == told["recipe"]


def test_a_mask_by_a_rule_of_a_case_that_can_no_longer_be_read_does_not_stay(
    first: Answer, as_a_user: AsAUser, folder: Path, split: Path, out: Path, tmp_path: Path
) -> None:
    assert first.code == 0
    hospital, place = tmp_path / "hospital", tmp_path / "out"
    shutil.copytree(folder, hospital)
    shutil.copytree(out, place)
    case = json.loads(split.read_text())["parts"]["test"][0]
    for picture in hospital.glob(f"patients/{case}/*/TMAX/*.png"):
        picture.write_bytes(b"torn")
    comparison = Comparison(
        [small("Baseline", f'split.file="{split}"')], open_cohort(hospital), place,
        rules=[rule_named("rapid")], machine=CPU, workers=1,
    )  # fmt: skip
    with as_a_user():
        found = compare(comparison)
    assert found is not None
    assert not (place / "rules" / "rapid" / case).exists()


def test_what_a_killed_comparison_left_hidden_keeps_it_from_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".tables.abc.part").mkdir()
    Comparison([small("Baseline")], open_cohort(folder), tmp_path, machine=CPU)


def test_a_folder_of_something_else_is_refused_and_stays(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "predictions.json").write_text("{}")
    for out, message in ((tmp_path, r"holds predictions\.json, which is of no comparison"), (folder, "must stay")):
        with pytest.raises(OutputError, match=message):
            Comparison([small("Baseline")], open_cohort(folder), out, machine=CPU)


def test_a_map_that_nobody_has_is_told_before_anything_is_trained(folder: Path, tmp_path: Path) -> None:
    settings = [small("Baseline"), small("Mdl_U_Pm", 'input.maps=["CBF","MTTT"]')]
    with pytest.raises(SettingsError, match=r"Mdl_U_Pm: no case of .* has MTTT"):
        Comparison(settings, open_cohort(folder), tmp_path / "out", machine=CPU)


@pytest.mark.slow
def test_a_rule_that_lacks_its_maps_is_told_once_and_left_out_of_all_parts(
    as_a_user: AsAUser, folder: Path, split: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    comparison = Comparison(
        [small("Baseline", f'split.file="{split}"')],
        open_cohort(folder),
        tmp_path,
        rules=[rule_named("adc")],
        parts=("validation", "test"),
        machine=CPU,
        workers=1,
    )
    with as_a_user():
        found = compare(comparison)
    assert found is not None
    assert found.models == ("Baseline (simulated patients)",)
    assert (len(found.rows), found.part[:35]) == (3, "validation and test of a split, " + comparison.drawn.sha256[:3])
    told = [record.getMessage() for record in caplog.records if record.name == "strokelens.comparison"]
    assert len(told) == 1
    assert told[0].startswith("rule adc: left out: rule adc needs ADC, Tmax, but ADC is missing")


@pytest.mark.slow
def test_a_case_that_cannot_be_read_is_a_row_of_every_model(
    run: Run, folder: Path, split: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "cohort"
    shutil.copytree(folder, copy)
    broken = json.loads(split.read_text())["parts"]["test"][0]
    damaged = sorted((copy / "patients" / broken).rglob("CBF/*.png"))[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    answer = run("compare", "Baseline", "--rule", "rapid", "--devices", "cpu", "--workers", "1", *SET, "--data", copy,
                 "--split", split, "-o", tmp_path / "out")  # fmt: skip
    assert answer.code == 1
    for model in ("rule rapid", "Baseline (simulated patients)"):
        assert f"{model}, {broken}: no-prediction: " in answer.out
    warned = [record.getMessage() for record in caplog.records if record.name == "strokelens.comparison"]
    assert [line.split(":")[0] for line in warned] == ["rule rapid", "Baseline"]
    assert all(damaged.name in line for line in warned)


def test_a_network_that_can_do_no_case_has_a_row_all_the_same(
    run: Run, folder: Path, split: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "cohort"
    shutil.copytree(folder, copy)
    testing = json.loads(split.read_text())["parts"]["test"]
    for name in testing:
        damaged = sorted((copy / "patients" / name).rglob("CBF/*.png"))[0]
        damaged.write_bytes(damaged.read_bytes()[:100])
    answer = run("compare", "Baseline", "--rule", "none", "--devices", "cpu", "--workers", "1", *SET, "--data", copy,
                 "--split", split, "-o", tmp_path / "out")  # fmt: skip
    assert answer.code == 1
    assert answer.out.count(": no-prediction: ") == 2


def test_a_part_with_nobody_is_refused_before_anything_is_trained(folder: Path, split: Path, tmp_path: Path) -> None:
    parts = json.loads(split.read_text())["parts"]
    write_split(
        tmp_path / "split.json", Split({"train": tuple(parts["train"]), "validation": tuple(parts["test"]), "test": ()})
    )
    settings = small("Baseline", f'split.file="{tmp_path / "split.json"}"')
    with pytest.raises(CohortError, match=r"nobody of .* is in the part test; give a split with some"):
        compare(Comparison([settings], open_cohort(folder), tmp_path / "out", machine=CPU))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("Baseline", "Model_F(PMs)"), "two settings are called 'Baseline'; give each a name of its own"),
        (("Baseline", "--rule", "rapd"), "no threshold rule 'rapd'; did you mean 'rapid'?"),
        (("Baseline", "--rule", "rapid", "--rule", "rapid"), "two settings are called 'rule rapid'"),
        (("Baseline", "--devices", "gpu"), "no device 'gpu'"),
        (("Baseline", "--set", "training.precision=float16", "--devices", "cpu"), "float16 needs a GPU"),
        (("Baseline", "Basline"), "did you mean 'Baseline'?"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    run: Run, folder: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    answer = run("compare", *words, "--data", folder, "-o", tmp_path / "out")
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert message in answer.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", ["training.seed=3", "split.test=0.3", "split.file=stavanger"])
def test_other_patients_for_one_of_them_are_refused(folder: Path, tmp_path: Path, change: str) -> None:
    settings = [small("Baseline"), small("Mdl_U_Pm", change)]
    with pytest.raises(SettingsError, match=r"the settings have different splits or seeds, .*; give one to all"):
        Comparison(settings, open_cohort(folder), tmp_path)


def test_nothing_to_compare_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing is compared; give a setting"):
        Comparison([], open_cohort(folder), tmp_path)


def test_the_published_settings_have_one_split_and_names_of_their_own(folder: Path, tmp_path: Path) -> None:
    every = [small(name) for name in published_names()]
    assert len(Comparison(every, open_cohort(folder), tmp_path).settings) == 12


@pytest.mark.parametrize(
    ("machine", "device"),
    [
        (None, "auto"),
        (Machine(), "auto"),
        (CPU, "cpu"),
        (Machine("gpu", (3, 1)), "3"),
        (Machine("gpu"), "0"),
    ],
)
def test_networks_are_asked_where_they_were_trained(machine: Machine | None, device: str) -> None:
    assert place_of(machine) == device
