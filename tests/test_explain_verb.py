"""`strokelens explain` as a user meets it: one case, a sweep, a comparison, how they go on, and what they refuse."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from strokelens.cli import ancestors
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.encode import write_image
from strokelens.cohorts.isles2017 import write_case, write_tables
from strokelens.cohorts.splits import Split, write_split
from strokelens.errors import StrokelensError
from strokelens.explanation import contest, question, sweep
from strokelens.explanation.cohort import CASES, Numbers
from strokelens.flags import RESEARCH_USE
from strokelens.grid import radiological_grid
from strokelens.settings.explaining import settings_text
from tests.commands import Answer
from tests.tiny_models import saved
from tests.tiny_studies import study, volume_model
from tests.tiny_volumes import tiny_volume

Run = Callable[..., Answer]
IDS = ["training_1", "training_2", "training_3"]
NAMES = ["ADC", "Tmax"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cohort") / "isles"
    for seed, name in enumerate(IDS):
        write_case(place, name, replace(study(seed=seed), id=name))
    write_tables(place, [])
    return place


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(volume_model(), tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def one(cohort: Path, model: Path) -> tuple[object, ...]:
    """The words that explain the first case."""
    return ("explain", model, cohort, "--case", IDS[0])


@pytest.fixture
def all_(cohort: Path, model: Path) -> tuple[object, ...]:
    """The words that explain all of them."""
    return ("explain", model, cohort)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cases that sweeps compute, as they come."""
    found: list[str] = []
    plain = sweep.Sweep.of

    def watched(self: sweep.Sweep, entry: Entry) -> Numbers:
        found.append(entry.id)
        return plain(self, entry)

    monkeypatch.setattr(sweep.Sweep, "of", watched)
    return found


def told(out: Path, name: str = "explanation") -> Any:
    return json.loads((out / f"{name}.json").read_text(encoding="utf-8"))


def image_of(path: Path) -> Any:
    return nibabel.load(path)


def values(path: Path) -> np.ndarray:
    return np.asarray(image_of(path).get_fdata())


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def refused(answer: Answer, message: str, out: Path) -> None:
    """It said in one line what is wrong, and wrote nothing."""
    assert answer.code == 2
    assert message in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not out.exists()


def test_one_case_is_maps_a_picture_a_page_and_numbers(
    run: Run, one: tuple[object, ...], cohort: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer = run(*one, "-o", out)
    assert answer.code == 0, answer.err
    names = {"explanation.json", "explanation.png", "report.html", "target_prediction.nii.gz"}
    names |= {f"relevance_{name}.nii.gz" for name in NAMES}
    assert {path.name for path in out.iterdir() if path.suffix != ".json"} | {"explanation.json"} == names
    source = image_of(next(cohort.rglob("training_1/*Tmax*/*.nii")))
    for path in out.glob("*.nii.gz"):
        image = image_of(path)
        assert image.shape == source.shape
        assert np.allclose(image.affine, source.affine)
    assert answer.out.splitlines()[0].startswith(
        "training_1: lesion in the prediction, by the composite stroke, against healthy tissue: "
    )
    assert RESEARCH_USE in answer.out


def test_its_numbers_are_those_of_its_maps(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(*one, "-o", out).code == 0
    record = told(out)
    (found,) = record["maps"]
    maps = [values(out / f"relevance_{name}.nii.gz") for name in NAMES]
    assert sum(float(each.sum()) for each in maps) == pytest.approx(found["reached"], rel=1e-5)
    assert found["start"] == pytest.approx(found["reached"] + sum(found["absorbed"].values()), rel=1e-4)
    assert values(out / "target_prediction.nii.gz").sum() == found["voxels"]
    positive = [float(np.maximum(each, 0).sum()) for each in maps]
    assert found["worth"]["shares"]["positive"]["ADC"] == pytest.approx(positive[0] / sum(positive), rel=1e-5)
    assert (record["asked"]["class"], record["asked"]["target"]) == ("lesion", "prediction")
    assert record["channels"] == NAMES
    assert len(record["weights_sha256"][0]) == 64
    assert {"rule", "went", "absorbed"} <= record["layers"][0].keys()


def test_the_page_says_research_use_and_simulated_patients(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    assert run(*one, "-o", tmp_path / "out").code == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Research use only" in page
    assert "trained on 2 simulated patients" in page
    assert "The patient is simulated." in page


def test_against_another_class_is_another_map(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    assert run(*one, "-o", tmp_path / "a", "--class", "lesion").code == 0
    assert run(*one, "-o", tmp_path / "b", "--class", "lesion", "--against", "background").code == 0
    assert told(tmp_path / "b")["asked"]["against"] == "background"
    first, second = (values(tmp_path / each / "relevance_ADC.nii.gz") for each in "ab")
    assert not np.allclose(first, second)


def test_filters_are_folders_beside_raw(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    words = ("--filter", "pass:0:0.4", "--filter", "clamp:0:0.2", "--filter", "pass:0:0.4")
    assert run(*one, "-o", tmp_path / "out", *words).code == 0
    assert [each["filter"] for each in told(tmp_path / "out")["maps"]] == ["raw", "pass:0:0.4", "clamp:0:0.2"]
    raw, passed = (values(tmp_path / "out" / name / "relevance_Tmax.nii.gz") for name in ("raw", "pass_0_0.4"))
    assert (tmp_path / "out" / "clamp_0_0.2" / "relevance_Tmax.nii.gz").is_file()
    kept = passed != 0
    assert 0 < kept.sum() < (raw != 0).sum()
    assert np.array_equal(passed[kept], raw[kept])


def test_components_are_folders_with_pictures_each(
    run: Run, one: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question, "_MOST_COMPONENTS", 2)
    assert run(*one, "-o", tmp_path / "out", "--target", "components").code == 0
    assert [each["target"] for each in told(tmp_path / "out")["maps"]] == ["component_1", "component_2"]
    for target in ("component_1", "component_2"):
        assert (tmp_path / "out" / target / "relevance_ADC.nii.gz").is_file()
        assert (tmp_path / "out" / f"{target}_explanation.png").is_file()


@pytest.mark.parametrize("name", ["mine", "output"])
def test_a_mask_in_a_file_is_explained_whatever_it_is_called(
    run: Run, one: tuple[object, ...], tmp_path: Path, name: str
) -> None:
    """Of the logits of the class, even where it is called as a target of ours."""
    mask = np.zeros((32, 32, 5), np.uint8)
    mask[18:20, 14:16, 2] = 1
    write_image(tmp_path / f"{name}.nii.gz", mask, study().grid)
    assert run(*one, "-o", tmp_path / "out", "--target", tmp_path / f"{name}.nii.gz").code == 0
    (found,) = told(tmp_path / "out")["maps"]
    assert (found["target"], found["voxels"]) == ("place", 4)
    assert "every class" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert np.array_equal(values(tmp_path / "out" / "target_place.nii.gz"), mask)


def test_a_voxel_is_explained_where_it_is(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    assert run(*one, "-o", tmp_path / "out", "--target", "19,14,2").code == 0
    where = values(tmp_path / "out" / "target_place.nii.gz")
    assert np.argwhere(where).tolist() == [[19, 14, 2]]


def test_a_composite_in_a_file_gives_its_rules(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    rules = {"first": "w2", "any": "gamma:0.1"}
    (tmp_path / "mine.json").write_text(json.dumps(rules))
    assert run(*one, "-o", tmp_path / "out", "--composite", tmp_path / "mine.json").code == 0
    assert told(tmp_path / "out")["asked"]["composite"] == {"name": "mine", "rules": rules}


def test_layers_computed_in_tiles_give_the_same_maps(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run(*one, "-o", whole).code == 0
    assert run(*one, "-o", cut, "--tile", "7").code == 0
    for name in NAMES:
        wanted, found = (values(place / f"relevance_{name}.nii.gz") for place in (whole, cut))
        assert np.allclose(found, wanted, atol=1e-4 * abs(wanted).max())
    assert run(*one, "-o", tmp_path / "none", "--tile", "0").code == 2


def test_json_is_what_is_in_the_file(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    answer = run(*one, "-o", tmp_path / "out", "--json")
    assert json.loads(answer.out) == told(tmp_path / "out")


def test_a_study_by_itself_is_explained(run: Run, model: Path, tmp_path: Path) -> None:
    case = study()
    (tmp_path / "study").mkdir()
    for name, array in case.channels.items():
        write_image(tmp_path / "study" / f"{name}.nii.gz", array, case.grid)
    answer = run("explain", model, tmp_path / "study", "-o", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert told(tmp_path / "out")["maps"][0]["worth"]["mass_accuracy_truth"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--target", "40,0,0"), "voxel 40,0,0 is not in the case, whose shape is (32, 32, 5); count from 0"),
        (("--target", "-1,0,0"), "voxel -1,0,0 is not in the case"),
        (("--target", "a,b,c"), "'a,b,c' is no voxel; give three whole numbers i,j,k, as 80,96,10"),
        (("--target", "0,0,0"), "no map shows anything at voxel 0,0,0, so the model computes nothing there"),
        (("--target", "truht"), "no target is called 'truht', and it is no file or voxel i,j,k; did you mean 'truth'"),
        (("--class", "lesoin"), "the model tells no 'lesoin'; did you mean 'lesion'"),
        (("--filter", "pas:0:1"), "no filter is called 'pas:0:1'; there are"),
        (("--composite", "strok"), "no composite is called 'strok'; did you mean 'stroke'"),
        (("--composite", "legacy-head"), "the ancestor had no rules of relevance for norm 'instance'"),
        (("--sweep", "--compare"), "--sweep and --compare are two tables; ask for one after the other"),
        (("--sweep",), "--case names one case, and --sweep and --compare take all, so that it would do nothing here"),
        (("--keep", "all"), "--keep is of --sweep, so that it would do nothing here; leave it out"),
        (("--split", "s.json"), "--split parts a cohort for --sweep or --compare, so that it would do nothing"),
        (("--part", "test"), "--part is of a cohort for --sweep or --compare"),
        (("--layout", "bids"), "--layout is of a cohort for --sweep or --compare"),
        (("--everywhere",), "--everywhere is about --filter, or --sweep, so that it would do nothing here"),
        (("--composite", "legacy-head", "--tile", "2"), "--tile is not of the ancestor's rules"),
        (("--seed", "3"), "--seed is of what --sweep and --compare draw, so that it would do nothing here"),
        (
            ("--composite", "z+", "--reference", "zero"),
            "--reference is of composites with a rule that has one, as strok",
        ),
        (
            ("--composite", "mine.json"),
            "mine.json is not there; give a JSON file of places and rules, or a composite's",
        ),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    run: Run, one: tuple[object, ...], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    refused(run(*one, "-o", tmp_path / "out", *words), message, tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--compare", "--methods", "gradeint"), "no method is called 'gradeint'; did you mean 'gradient'"),
        (("--compare", "--filter", "pass:0:0.4"), "--filter filters one map, and --compare has methods"),
        (("--compare", "--composite", "gamma"), "--composite is one method, and --compare takes those of --methods"),
        (("--sweep", "--beside", "nowhere"), "nowhere is no sweep by `strokelens explain --sweep`; give its folder"),
        (("--sweep", "--target", "16,16,2"), "no target of a whole cohort is called '16,16,2'; known: false, missed,"),
        (("--compare", "--target", "components"), "no target of a whole cohort is called 'components'; known: false"),
    ],
)
def test_what_cannot_be_asked_of_a_cohort_is_one_line(
    run: Run, all_: tuple[object, ...], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    refused(run(*all_, "-o", tmp_path / "out", *words), message, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ('["gamma"]', "has no places with rules"),
        ('{"any": 3}', "has no places with rules; as {'any': 'gamma:0.1'}"),
        ('{"any": "gama"}', "no rule 'gama'; did you mean 'gamma:G'"),
        ('{"first": "w2"}', "the composite mine has no rule for"),
    ],
)
def test_a_file_that_is_no_composite_is_one_line(
    run: Run, one: tuple[object, ...], tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "mine.json").write_text(text)
    answer = run(*one, "-o", tmp_path / "out", "--composite", tmp_path / "mine.json")
    refused(answer, message, tmp_path / "out")


def test_a_mask_that_lies_elsewhere_is_one_line(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "mine.nii.gz"
    write_image(path, np.ones((16, 16, 5), np.uint8), radiological_grid((16, 16, 5), (4.0, 4.0, 5.0)))
    refused(run(*one, "-o", tmp_path / "out", "--target", path), "lies elsewhere than the case", tmp_path / "out")


def test_a_mask_with_nan_is_one_line(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    path, mask = tmp_path / "mine.nii.gz", np.ones((32, 32, 5), np.float32)
    mask[0, 0, 0] = np.nan
    write_image(path, mask, study().grid)
    refused(
        run(*one, "-o", tmp_path / "out", "--target", path),
        "mine.nii.gz has voxels that are no number",
        tmp_path / "out",
    )


def test_an_empty_mask_is_one_line(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "mine.nii.gz"
    write_image(path, np.zeros((32, 32, 5), np.uint8), study().grid)
    message = "mine.nii.gz marks no voxel; give a mask with some that are not 0"
    refused(run(*one, "-o", tmp_path / "out", "--target", path), message, tmp_path / "out")


def test_a_mask_of_a_series_is_one_line(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "mine.nii.gz"
    write_image(path, np.ones((32, 32, 5, 3), np.uint8), study().grid, time_s=np.arange(3.0))
    refused(run(*one, "-o", tmp_path / "out", "--target", path), "is a series; give a mask of one", tmp_path / "out")


def test_a_folder_is_replaced_only_where_explain_wrote_it(run: Run, one: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(*one, "-o", out).code == 0
    answer = run(*one, "-o", out)
    assert answer.code == 2
    assert "out" in answer.err
    assert run(*one, "-o", out, "--overwrite", "--target", "truth").code == 0
    assert (out / "target_truth.nii.gz").is_file()
    assert not (out / "target_prediction.nii.gz").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert run(*one, "-o", tmp_path / "mine", "--overwrite").code == 2
    assert (tmp_path / "mine" / "letter.txt").is_file()


FEW = ("--sweep", "--filter", "pass:0:0.4")


def test_a_sweep_is_the_ancestors_sixteen_filters_of_every_case(
    run: Run, all_: tuple[object, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer = run(*all_, "-o", out, "--sweep")
    assert answer.code == 0, answer.err
    assert "16 filters of relevance of tiny" in answer.out
    assert "3 of 3 cases, 3 patients. 3 are simulated: no evidence about real patients." in answer.out
    files = ["boxes.png", *(f"{CASES}/{name}.json" for name in IDS), "scatter.png", "sweep.html", "sweep.json",
             "tables.md", "worth.png"]  # fmt: skip
    assert tree(out) == files
    assert len(told(out, "sweep")["summary"]) == 16 + 2


def test_a_sweep_goes_on_where_it_stopped(
    run: Run, all_: tuple[object, ...], tmp_path: Path, computed: list[str]
) -> None:
    out = tmp_path / "out"
    assert run(*all_, "-o", out, *FEW).code == 0
    before = told(out, "sweep")
    (out / CASES / f"{IDS[1]}.json").unlink()
    computed.clear()
    assert run(*all_, "-o", out, *FEW).code == 0
    assert computed == [IDS[1]]
    assert told(out, "sweep") == before
    computed.clear()
    assert run(*all_, "-o", out, *FEW).code == 0
    assert computed == []


@pytest.mark.parametrize("name", ["Tmax", "OT"])
def test_a_case_whose_numbers_are_torn_or_whose_files_changed_is_done_again(
    run: Run, model: Path, cohort: Path, tmp_path: Path, computed: list[str], name: str
) -> None:
    """Its truth is one of its files, which measures are of."""
    copy, out = tmp_path / "isles", tmp_path / "out"
    shutil.copytree(cohort, copy)
    assert run("explain", model, copy, "-o", out, *FEW).code == 0
    path = out / CASES / f"{IDS[0]}.json"
    path.write_text(path.read_text()[:50])
    (file,) = (copy / IDS[2]).rglob(f"*{name}*.nii")
    array = values(file)
    array[20, 20, 2] = 1 - array[20, 20, 2]
    write_image(file, array.astype(np.uint8 if name == "OT" else np.float32), study().grid)
    computed.clear()
    assert run("explain", model, copy, "-o", out, *FEW).code == 0
    assert computed == [IDS[0], IDS[2]]


def test_other_options_are_refused_unless_it_begins_anew(run: Run, all_: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(*all_, "-o", out, *FEW).code == 0
    answer = run(*all_, "-o", out, *FEW, "--reference", "zero")
    assert answer.code == 2
    assert (
        "was begun with other models or options (of its sweep.json, asked); give another --out, or --overwrite"
        in answer.err
    )
    assert run(*all_, "-o", out, *FEW, "--reference", "zero", "--overwrite").code == 0
    assert told(out, "sweep")["recipe"]["asked"][3] == "zero"


def test_a_folder_of_somebody_else_is_never_touched(run: Run, all_: tuple[object, ...], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    answer = run(*all_, "-o", tmp_path / "out", *FEW, "--overwrite")
    assert answer.code == 2
    assert "exists, and is none of `strokelens explain`; give another --out" in answer.err
    assert tree(tmp_path / "out") == ["letter.txt"]


def test_a_case_that_fails_gives_exit_code_1_and_the_others_are_done(
    run: Run, model: Path, cohort: Path, tmp_path: Path
) -> None:
    copy, out = tmp_path / "isles", tmp_path / "out"
    shutil.copytree(cohort, copy)
    (tmax,) = (copy / IDS[1]).rglob("*Tmax*.nii")
    tmax.write_bytes(tmax.read_bytes()[:400])
    answer = run("explain", model, copy, "-o", out, *FEW)
    assert answer.code == 1
    assert answer.out.splitlines()[0].startswith(f"{IDS[1]}: ")
    assert "2 of 3 cases" in answer.out
    assert sorted(path.name for path in (out / CASES).iterdir()) == [f"{IDS[0]}.json", f"{IDS[2]}.json"]
    assert "## Failures" in (out / "tables.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("no disk"), "training_1 cannot be read: no disk; copy it again"),
        (MemoryError(), "training_1 does not fit into memory; take a machine with more"),
        (ZeroDivisionError("ours"), "training_1 ended in ZeroDivisionError (ours), which is our bug"),
        (StrokelensError("two\nlines"), "training_1: two lines"),
    ],
)
def test_whatever_a_case_ends_in_is_told(
    run: Run,
    all_: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    message: str,
) -> None:
    def broken(*_: object) -> Numbers:
        raise error

    monkeypatch.setattr(sweep.Sweep, "of", broken)
    answer = run(*all_, "-o", tmp_path / "out", *FEW)
    assert answer.code == 1
    assert message in answer.out


def test_a_sweep_that_is_interrupted_leaves_whole_files_and_goes_on(
    run: Run, all_: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, computed: list[str]
) -> None:
    out, plain = tmp_path / "out", sweep.Sweep.of

    def stopped(self: sweep.Sweep, entry: Entry) -> Numbers:
        if entry.id == IDS[1]:
            raise KeyboardInterrupt
        return plain(self, entry)

    with monkeypatch.context() as patch:
        patch.setattr(sweep.Sweep, "of", stopped)
        assert run(*all_, "-o", out, *FEW).code == 130
    assert tree(out) == [f"{CASES}/{IDS[0]}.json", "sweep.json"]
    computed.clear()
    assert run(*all_, "-o", out, *FEW).code == 0
    assert computed == IDS[1:]


def test_maps_of_the_cases_to_keep_are_kept_and_made_up_for(
    run: Run, all_: tuple[object, ...], tmp_path: Path, computed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    answer = run(*all_, "-o", out, *FEW, "--keep", IDS[1], "--keep", "training_45")
    assert answer.code == 0
    assert "--keep: there is no case training_45 in what is swept" in caplog.text
    assert [path.name for path in (out / "maps").iterdir()] == [IDS[1]]
    assert (out / "maps" / IDS[1] / "pass_0_0.4" / "relevance_Tmax.nii.gz").is_file()
    assert told(out / "maps" / IDS[1])["case"] == IDS[1]
    computed.clear()
    assert run(*all_, "-o", out, *FEW, "--keep", "all").code == 0
    assert computed == [IDS[0], IDS[2]]
    assert sorted(path.name for path in (out / "maps").iterdir()) == IDS


def test_another_sweep_is_beside_it_in_the_tables(run: Run, all_: tuple[object, ...], tmp_path: Path) -> None:
    assert run(*all_, "-o", tmp_path / "a", *FEW).code == 0
    assert run(*all_, "-o", tmp_path / "b", *FEW, "--beside", tmp_path / "a", "--reference", "zero").code == 0
    assert "Beside it: 32 pixels" in (tmp_path / "b" / "tables.md").read_text(encoding="utf-8")


def test_a_part_of_a_split_is_swept_and_json_is_all_that_is_said(
    run: Run, all_: tuple[object, ...], tmp_path: Path
) -> None:
    write_split(tmp_path / "split.json", Split({"train": tuple(IDS[:2]), "test": (IDS[2],)}, "by hand"))
    words = ("--split", tmp_path / "split.json", "--part", "test", "--json")
    answer = run(*all_, "-o", tmp_path / "out", *FEW, *words)
    assert answer.code == 0
    assert json.loads(answer.out) == told(tmp_path / "out", "sweep")
    assert told(tmp_path / "out", "sweep")["recipe"]["part"].startswith("test of split.json, ")
    assert [path.name for path in (tmp_path / "out" / CASES).iterdir()] == [f"{IDS[2]}.json"]


def test_methods_are_compared_in_a_table_that_is_gone_on_with(
    run: Run, all_: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constant map has measures that are no number, which are null."""
    out = tmp_path / "out"
    words = ("--compare", "--methods", "gradient,constant", "-o", out)
    answer = run(*all_, *words)
    assert answer.code == 0, answer.err
    assert tree(out) == [*(f"{CASES}/{name}.json" for name in IDS), "methods.html", "methods.json", "tables.md"]
    found = told(out, "methods")
    assert list(found["summary"]) == ["gradient", "constant"]
    assert found["summary"]["constant"]["randomised"]["mean"] is None
    assert found["summary"]["constant"]["gini"]["mean"] == pytest.approx(0, abs=1e-6)
    assert "| constant " in (out / "tables.md").read_text(encoding="utf-8")

    def never(*_: object) -> Numbers:
        raise AssertionError

    monkeypatch.setattr(contest.Contest, "of", never)
    assert run(*all_, *words).code == 0
    assert told(out, "methods") == found


def test_a_comparison_is_no_sweep(run: Run, all_: tuple[object, ...], tmp_path: Path) -> None:
    assert run(*all_, "--compare", "--methods", "constant", "-o", tmp_path / "out").code == 0
    answer = run(*all_, "-o", tmp_path / "out", *FEW)
    assert answer.code == 2
    assert "is none of `strokelens explain`" in answer.err or "other models or options" in answer.err


def test_main_py_trains_the_ancestors_network_and_sweeps_its_relevance(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tiny_volume(
        name="old",
        network={"kind": "unet3d", "filters": ((2, 3), (3, 4), (4, 5), (5, 6)), "norm": "batch", "steps": None},
        input={"form": "minmax", "resampling": "nearest", "depth": 11, "maps": tuple(NAMES)},
        stages=({"encoders": "full", "epochs": 1},),
        split={"validation": 0.3, "test": 0.0},
    )
    (tmp_path / "old.json").write_text(settings_text(old))
    words = ["cpu", "--config_dir", str(tmp_path / "old.json"), "--data", str(cohort), "--out", str(tmp_path / "SAVE")]
    assert ancestors.main([*words, "--mode", "train"]) == 0, capsys.readouterr().err
    assert ancestors.main([*words, "--mode", "lrp"]) == 0, capsys.readouterr()
    out = tmp_path / "SAVE" / "old" / "lrp_raw"
    assert sorted(path.name for path in (out / "maps").iterdir()) == IDS
    assert "3 of 3 cases" in (out / "tables.md").read_text(encoding="utf-8")
