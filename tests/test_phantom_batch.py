"""Simulated cohorts on disk: the exact folders, the same bytes whatever the workers, and going on after an end."""

import json
import os
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from strokelens.case import Case
from strokelens.cli.phantom import Labelled, Layout, Textures
from strokelens.cohorts.inspection import by_voxels, inspect
from strokelens.cohorts.layouts import open_cohort
from strokelens.errors import CaseError, OutputError
from strokelens.perfusion.maps import MapSettings, compute_maps
from strokelens.phantom import batch, diffgen
from strokelens.phantom.batch import Made, Plan, make, write_cohort
from strokelens.phantom.clinical import draw_clinical
from strokelens.phantom.groups import GROUP_SHARES, Shares
from strokelens.phantom.kinds import BidsSeries, DicomSeries, Diffgen, Isles, Job, Kind, Slices
from strokelens.phantom.lesion import Group, draw_occlusion
from strokelens.phantom.patient import simulate
from strokelens.phantom.scanner import CtProtocol, DscProtocol
from tests.commands import PhantomRun

SLICES = Slices(CtProtocol(matrix=64, slices=3, frames=24, interval_s=2.0, noise_hu=3.0))
ISLES = Isles(DscProtocol(matrix=64, slices=6, frames=30, interval_s=2.0))
BIDS = BidsSeries(CtProtocol(matrix=32, slices=3, frames=5))
DICOM = DicomSeries(BIDS.protocol)
DIFFGEN = Diffgen(shape=(24, 24, 5))
EVENLY: Shares = {"LVO": 1, "Non-LVO": 1, "WIS": 1}


def hashes(folder: Path) -> dict[str, str]:
    """The hash of each file, and of what folders are called."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


def made(out: Path, plan: Plan, *, workers: int = 1, overwrite: bool = False) -> list[Made]:
    with closing(write_cohort(out, plan, workers=workers, overwrite=overwrite)) as cases:
        return list(cases)


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("simulated") / "slices"
    made(place, Plan(SLICES, 3, 0, EVENLY))
    return place


@pytest.fixture(scope="module")
def isles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("simulated") / "isles"
    made(place, Plan(replace(ISLES, tests=1), 3, 4, {"LVO": 1, "Non-LVO": 0, "WIS": 0}))
    return place


def test_the_folders_are_those_of_the_published_cohort(slices: Path) -> None:
    """As the layout was described: a day has five maps, Annotations and Original; truth is apart."""
    names = ("CTP_01_001", "CTP_02_001", "CTP_03_001")
    wanted = {"cohort.json", "nihss_score.csv", "phantom.json", "patients", "truth"}
    for name in names:
        day = f"patients/{name}/no_date"
        wanted |= {f"patients/{name}", f"truth/{name}", day, f"{day}/Annotations", f"{day}/Original"}
        wanted |= {f"truth/{name}/{k:02d}.tiff" for k in (1, 2, 3)}
        for folder in ("CBF", "CBV", "TTP", "TMAX", "MIP"):
            wanted |= {f"{day}/{folder}", *(f"{day}/{folder}/{k:02d}.png" for k in (1, 2, 3))}
    assert set(hashes(slices)) == wanted


def test_pictures_and_truth_are_of_the_published_format(slices: Path) -> None:
    with Image.open(slices / "patients/CTP_01_001/no_date/TMAX/02.png") as picture:
        assert (picture.size, picture.mode) == ((512, 512), "RGB")
    with Image.open(slices / "truth/CTP_01_001/02.tiff") as picture:
        assert picture.size == (512, 512)
        assert set(np.unique(np.array(picture))) <= {0, 85 * 257, 170 * 257, 65535}


@pytest.mark.parametrize("name", ["slices", "isles"])
def test_a_simulated_cohort_opens_without_problems(name: str, request: pytest.FixtureRequest) -> None:
    cohort = open_cohort(request.getfixturevalue(name))
    rows = inspect(cohort, by_voxels).rows
    problems = {row.entry.id: [problem.code for problem in row.problems] for row in rows}
    assert all(codes == [] for case_id, codes in problems.items() if not case_id.startswith("test")), problems
    assert all(entry.read().simulated for entry in cohort)


def test_the_truth_of_slices_comes_back_as_it_was_simulated(slices: Path) -> None:
    case = SLICES.case(Job("CTP_01_001", 0, "LVO"))
    back = open_cohort(slices)["CTP_01_001"].read()
    assert case.truth is not None
    assert back.truth is not None
    for name in ("penumbra", "core"):
        assert np.array_equal(back.truth.mask(name)[224:288, 224:288], case.truth.mask(name))
        assert case.truth.mask(name).any()
    assert back.group == "LVO"


def test_maps_of_slices_are_those_of_our_own_perfusion(slices: Path) -> None:
    case = SLICES.case(Job("CTP_01_001", 0, "LVO"))
    back = open_cohort(slices)["CTP_01_001"].read()["Tmax"][224:288, 224:288]
    seen = np.isfinite(back)
    assert seen.sum() > 1000
    assert np.abs(back - np.clip(case["Tmax"], 0, 12))[seen].max() <= 12 / 254


@pytest.mark.parametrize("seed", [60, 61])
def test_the_pictures_show_flow_on_the_scale_of_their_bar(seed: int) -> None:
    """Healthy tissue of twelve patients had 36 ml/100 g/min and a third of it before the factor; these are others."""
    protocol = CtProtocol(matrix=128, slices=4, frames=36)
    case = Slices(protocol).case(Job("CTP_03_001", seed, "WIS"))
    own = compute_maps(simulate(seed, protocol=protocol, group="WIS", workers=1).case, MapSettings()).maps["CBF"]
    seen = np.isfinite(case["CBF"]) & np.isfinite(own)
    assert case["CBF"][seen] == pytest.approx(3.3 * own[seen], rel=1e-5)
    assert 18 < np.median(case["CBF"][seen]) < 60


def test_nothing_lies_under_the_bar() -> None:
    wide = Slices(CtProtocol(matrix=512, slices=1, frames=12, interval_s=4.0, field_of_view_mm=150.0))
    case = wide.case(Job("CTP_01_001", 2, "LVO"))
    assert np.isfinite(case["CBV"][420:435]).any()
    assert np.isnan(case["CBV"][435:]).all()
    assert not case["MIP"][435:].any()
    assert case.truth is not None
    assert not case.truth.labels[435:].any()


def test_the_folders_are_those_of_the_challenge(isles: Path) -> None:
    assert {path.name for path in isles.iterdir()} == {
        "training_1",
        "training_2",
        "test_1",
        "ISLES2017_Training.csv",
        "ISLES2017_Testing.csv",
        "phantom.json",
    }
    tokens = ["MR_4DPWI", "MR_ADC", "MR_MTT", "MR_TTP", "MR_Tmax", "MR_rCBF", "MR_rCBV", "OT"]
    for name, wanted in (("training_1", tokens), ("test_1", tokens[:-1])):
        folders = sorted((isles / name).iterdir())
        assert sorted(folder.name.split(".")[4] for folder in folders) == wanted
        for folder in folders:
            assert (folder / f"{folder.name}.nii").is_file()
            assert folder.name.startswith("VSD.Brain.XX.O.")


def test_the_series_of_the_challenge_has_five_axes_and_comes_back(isles: Path) -> None:
    (path,) = (isles / "training_1").glob("*4DPWI*/*.nii")
    sizes = np.frombuffer(path.read_bytes()[40:56], "<i2")
    assert sizes[:6].tolist() == [5, 64, 64, 6, 1, 30]
    back = open_cohort(isles)["training_1"].read(channels=["PWI"])
    case = ISLES.case(Job("training_1", 5, "LVO"))
    assert np.array_equal(back["PWI"], case["PWI"])
    assert back.time_s is not None
    assert back.time_s.tolist() == (2.0 * np.arange(30)).tolist()
    assert back.echo_time_s == pytest.approx(0.03)


def test_the_infarct_of_the_challenge_holds_the_core(isles: Path) -> None:
    truth = simulate(5, protocol=ISLES.protocol, group="LVO", workers=1).case.truth
    lesion = open_cohort(isles)["training_1"].read().truth
    assert truth is not None
    assert lesion is not None
    infarct = lesion.mask("lesion")
    assert infarct[truth.mask("core")].all()
    assert not infarct[~truth.mask("core", "penumbra")].any()
    assert truth.mask("core").sum() < infarct.sum() < truth.mask("core", "penumbra").sum()


def test_the_tables_of_the_challenge_tell_of_treatment_and_outcome(isles: Path) -> None:
    rows = (isles / "ISLES2017_Training.csv").read_text().splitlines()
    assert rows[0] == "ID,mRS,ttMRS,TICI,TSS,TTT"
    assert [row.split(",")[0] for row in rows[1:]] == ["training_1", "training_2"]
    assert (isles / "ISLES2017_Testing.csv").read_text().splitlines()[0] == "ID,TICI,TSS,TTT"
    assert set(open_cohort(isles)["training_1"].numbers) == {
        "mrs",
        "mrs_days",
        "tici",
        "since_stroke_min",
        "to_treatment_min",
    }


def test_without_a_stroke_nobody_is_treated() -> None:
    case = ISLES.case(Job("training_1", 3, "WIS"))
    assert "tici" not in case.clinical
    assert case.truth is not None
    assert not case.truth.labels.any()


def test_a_bids_cohort_comes_back(tmp_path: Path) -> None:
    made(tmp_path / "bids", Plan(BIDS, 2, 7, EVENLY))
    cohort = open_cohort(tmp_path / "bids")
    case, back = BIDS.case(Job("sub-sim7", 7, "Non-LVO")), cohort["sub-sim7"].read()
    assert (cohort.layout, len(cohort)) == ("bids", 2)
    assert np.array_equal(back["CTP"], case["CTP"])
    assert (back.group, dict(back.clinical)) == ("Non-LVO", dict(case.clinical))
    assert back.truth is not None
    assert case.truth is not None
    assert np.array_equal(back.truth.labels, case.truth.labels)
    assert [row.problems for row in inspect(cohort, by_voxels).rows] == [(), ()]


def test_diffgen_is_raw_data_of_nnunet(tmp_path: Path) -> None:
    made(tmp_path / "d", Plan(DIFFGEN, 2, 0, EVENLY))
    cohort = open_cohort(tmp_path / "d/Dataset901_Diffgen")
    assert (cohort.layout, len(cohort)) == ("nnunet", 2)
    assert [row.problems for row in inspect(cohort, by_voxels).rows] == [(), ()]
    sample = diffgen.generate(np.random.default_rng([0, 21]), shape=(24, 24, 5))
    back = cohort["diffgen_00000"].read()
    assert back["Tmax"] == pytest.approx(12 * sample.unhealthy[4])
    assert back["ADC"] == pytest.approx(4095 * sample.unhealthy[0])
    assert back.truth is not None
    assert np.array_equal(back.truth.labels, sample.label)
    assert back.simulated
    assert cohort["diffgen_00000"].read_truth().simulated


def test_the_same_plan_gives_the_same_bytes_whatever_the_workers(slices: Path, tmp_path: Path) -> None:
    made(tmp_path / "again", Plan(SLICES, 3, 0, EVENLY), workers=2)
    assert hashes(tmp_path / "again") == hashes(slices)


def test_the_first_cases_do_not_depend_on_how_many_there_are() -> None:
    for kind in (SLICES, replace(ISLES, tests=2), BIDS, DIFFGEN):
        assert Plan(kind, 9, 3, EVENLY).jobs[:5] == Plan(kind, 5, 3, EVENLY).jobs


@pytest.mark.parametrize("kind", [BIDS, DIFFGEN], ids=["bids", "diffgen"])
def test_an_interrupted_cohort_is_whole_and_goes_on(kind: Kind, tmp_path: Path) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    plan = Plan(kind, 3, 1, EVENLY)
    made(whole, plan)
    cases = write_cohort(parted, plan, workers=1)
    next(cases)
    cases.close()
    told = json.loads((parted / "phantom.json").read_text())
    assert len(told["cases"]) == 1
    assert [path.name for path in parted.iterdir() if path.name.startswith(".phantom")] == []
    assert len(open_cohort(parted if kind is BIDS else parted / "Dataset901_Diffgen")) == 1
    first = {name: value for name, value in hashes(parted).items() if "sim1" in name or "00001" in name}
    marked = next(path for path in parted.rglob("*.nii.gz"))
    before = marked.stat().st_mtime_ns
    assert [one.failure for one in made(parted, plan)] == [None] * 3
    assert hashes(parted) == hashes(whole)
    assert first.items() <= hashes(parted).items()
    assert marked.stat().st_mtime_ns == before


def test_what_a_killed_run_left_is_done_again(tmp_path: Path) -> None:
    plan = Plan(DIFFGEN, 2, 0, EVENLY)
    made(tmp_path / "a", plan)
    made(tmp_path / "b", plan)
    told = json.loads((tmp_path / "b/phantom.json").read_text())
    told["cases"].pop()
    (tmp_path / "b/phantom.json").write_text(json.dumps(told))
    (tmp_path / "b/.phantom-old/x").mkdir(parents=True)
    made(tmp_path / "b", plan)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_another_plan_in_the_same_folder_is_refused_unless_told(tmp_path: Path) -> None:
    made(tmp_path / "a", Plan(DIFFGEN, 2, 0, EVENLY))
    with pytest.raises(OutputError, match="a exists; give another folder, or --overwrite to replace it"):
        made(tmp_path / "a", Plan(DIFFGEN, 1, 5, EVENLY))
    with pytest.raises(OutputError, match="a has 2 cases of this cohort; ask for as many --cases, or --overwrite it"):
        made(tmp_path / "a", Plan(DIFFGEN, 1, 0, EVENLY))
    made(tmp_path / "a", Plan(DIFFGEN, 1, 5, EVENLY), overwrite=True)
    assert [path.name for path in (tmp_path / "a/Dataset901_Diffgen/labelsTr").iterdir()] == ["diffgen_00005.nii.gz"]


def test_a_folder_that_is_not_ours_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"has no phantom\.json by strokelens and is not replaced"):
        made(tmp_path, Plan(DIFFGEN, 1, 0, EVENLY), overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_was_killed_before_its_first_case_is_gone_on_with(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "a/.phantom-old/diffgen_00000").mkdir(parents=True)
    made(tmp_path / "a", Plan(DIFFGEN, 1, 0, EVENLY), overwrite=overwrite)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["Dataset901_Diffgen", "phantom.json"]


def test_the_folder_is_known_as_ours_before_the_first_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def look(*_: object, **__: object) -> None:
        seen.append(json.loads((tmp_path / "a/phantom.json").read_text())["cases"])
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "_made", look)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "a", Plan(DIFFGEN, 1, 0, EVENLY))
    assert seen == [[]]
    assert list(tmp_path.iterdir()) == []


def test_two_runs_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    plan = Plan(DIFFGEN, 2, 0, EVENLY)
    with closing(write_cohort(tmp_path / "a", plan, workers=1)) as cases:
        next(cases)
        for overwrite in (False, True):
            with pytest.raises(
                OutputError, match=r"^another run works in .*a; wait for its end, or give another folder"
            ):
                made(tmp_path / "a", plan, overwrite=overwrite)
        assert [one.job.name for one in cases] == ["diffgen_00001"]
    assert len(made(tmp_path / "a", plan)) == 2


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    made(tmp_path / "disk", Plan(DIFFGEN, 1, 0, EVENLY))
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    made(tmp_path / "link", Plan(DIFFGEN, 1, 5, EVENLY), overwrite=True)
    assert (tmp_path / "link").is_symlink()
    labels = (tmp_path / "disk/Dataset901_Diffgen/labelsTr").iterdir()
    assert [path.name for path in labels] == ["diffgen_00005.nii.gz"]


@pytest.mark.parametrize("damage", [None, {}, {"row": {}}, {"row": 3}, {"places": {"x": 1}}, {"name": 3}])
def test_a_damaged_row_is_made_again(tmp_path: Path, damage: dict[str, object] | None) -> None:
    plan = Plan(DIFFGEN, 2, 0, EVENLY)
    made(tmp_path / "a", plan)
    before = hashes(tmp_path / "a")
    told = json.loads((tmp_path / "a/phantom.json").read_text())
    told["cases"][0] = None if damage is None else {**told["cases"][0], **damage} if damage else {}
    (tmp_path / "a/phantom.json").write_text(json.dumps(told))
    made(tmp_path / "a", plan)
    assert hashes(tmp_path / "a") == before


@pytest.mark.parametrize("kind", [DIFFGEN, DICOM], ids=["a file", "one of many"])
def test_a_case_whose_files_were_removed_is_made_again(tmp_path: Path, kind: Kind) -> None:
    plan = Plan(kind, 2, 0, EVENLY)
    made(tmp_path / "a", plan)
    before = hashes(tmp_path / "a")
    lost, kept = (
        (tmp_path / f"a/sim-{seed}/ctp/000003.dcm" for seed in (0, 1))
        if kind is DICOM
        else (tmp_path / f"a/Dataset901_Diffgen/imagesTr/diffgen_0000{seed}_0002.nii.gz" for seed in (0, 1))
    )
    lost.unlink()
    stamp = kept.stat().st_mtime_ns
    made(tmp_path / "a", plan)
    assert hashes(tmp_path / "a") == before
    assert kept.stat().st_mtime_ns == stamp


def test_what_the_challenge_withholds_is_nowhere(isles: Path) -> None:
    told = {case["name"]: case for case in json.loads((isles / "phantom.json").read_text())["cases"]}
    known = {"mrs", "mrs_days"}
    assert told["test_1"]["volumes_ml"] == {}
    assert known.isdisjoint(told["test_1"]["row"]["clinical"])
    assert known <= told["training_1"]["row"]["clinical"].keys()
    assert list(told["training_1"]["volumes_ml"]) == ["lesion"]


def test_a_run_that_makes_nothing_leaves_nothing(tmp_path: Path) -> None:
    cases = write_cohort(tmp_path / "a", Plan(DIFFGEN, 1, 0, EVENLY), workers=1)
    cases.close()
    assert list(tmp_path.iterdir()) == []


def test_a_case_that_cannot_be_made_is_told_and_not_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: Diffgen, job: Job) -> Case:
        raise CaseError(f"{job.name} has no head")

    monkeypatch.setattr(Diffgen, "case", refuse)
    one = make(tmp_path, DIFFGEN, Job("diffgen_00000", 0, "LVO"))
    assert one.failure == "diffgen_00000 has no head"
    assert one.record == {"name": "diffgen_00000", "seed": 0, "simulated": True, "failure": "diffgen_00000 has no head"}


def test_a_process_that_was_killed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "make", _end_process)
    with pytest.raises(OutputError, match="the process that made diffgen_00000 was ended, perhaps for want of memory"):
        made(tmp_path / "a", Plan(DIFFGEN, 1, 0, EVENLY))


def _end_process(stage: Path, kind: Kind, job: Job) -> Made:
    os._exit(9)


def test_the_nihss_grows_with_the_lesion_and_is_missing_for_some() -> None:
    """From the values of 400 patients, without their images."""
    volumes, scores = [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        group: Group = "LVO" if seed % 2 else "Non-LVO"
        volume = draw_occlusion(rng, group).hypoperfused_ml
        told = draw_clinical(rng, volume)
        if "nihss" in told:
            volumes.append(volume)
            scores.append(told["nihss"])
    assert 0.10 < 1 - len(scores) / 400 < 0.24
    assert np.corrcoef(volumes, scores)[0, 1] > 0.6


def test_the_verb_makes_a_cohort_and_says_what_is_in_it(tmp_path: Path, phantom: PhantomRun) -> None:
    words = (
        "--layout",
        "bids",
        "--cases",
        "2",
        "--groups",
        "1:0:1",
        "--matrix",
        "32",
        "--slices",
        "2",
        "--frames",
        "5",
    )
    result = phantom(str(tmp_path / "out"), *words, "--workers", "1")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("sub-sim0: LVO, penumbra ")
    assert lines[1] == "sub-sim1: WIS, penumbra 0.0 ml, core 0.0 ml"
    assert lines[2].endswith("2 simulated patients. Research use only; not a medical device.")
    told = phantom(str(tmp_path / "out"), *words, "--json")
    assert [json.loads(line)["name"] for line in told.output.splitlines()] == ["sub-sim0", "sub-sim1"]


def test_the_verb_makes_diffgen(tmp_path: Path, phantom: PhantomRun) -> None:
    words = ("--layout", "diffgen", "--matrix", "24", "--slices", "5", "--labelled", "first", "--textures", "random")
    result = phantom(str(tmp_path / "out"), *words)
    assert result.exit_code == 0, result.output
    about = json.loads((tmp_path / "out/Dataset901_Diffgen/dataset.json").read_text())
    assert "parameters random, labels first; no images of patients" in about["description"]


def test_a_scan_that_gives_no_maps_ends_with_its_reason(tmp_path: Path, phantom: PhantomRun) -> None:
    result = phantom(
        str(tmp_path / "out"), "--layout", "ctp_slices", "--matrix", "32", "--slices", "2", "--frames", "4"
    )
    assert result.exit_code == 2
    assert "strokelens: CTP_01_001: sim-0: 4 frames cannot hold a bolus; at least" in result.output
    assert "strokelens: no case could be made: sim-0: 4 frames" in result.output


def test_groups_of_patients_in_their_own_folders(tmp_path: Path, phantom: PhantomRun) -> None:
    small = ("--matrix", "32", "--slices", "2", "--frames", "5", "--groups", "0:0:1")
    result = phantom(str(tmp_path), "--cases", "2", *small)
    assert "sim-1: WIS, penumbra 0.0 ml" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--group", "LVO", "--groups", "1:1:1"), "--group LVO and --groups 1:1:1 exclude each other; leave one out"),
        (("--groups", "x"), "groups are LVO:Non-LVO:WIS as in 77:60:15, whole numbers up to 1000, not 'x'"),
        (("--workers", "2"), "--layout patients has no use for --workers 2; leave it out"),
        (("--layout", "bids", "--test-cases", "1"), "--layout bids has no use for --test-cases 1; leave it out"),
        (("--layout", "bids", "--test-cases", "3"), "--layout bids has no use for --test-cases 3; leave it out"),
        (("--textures", "fixed"), "--layout patients has no use for --textures fixed; leave it out"),
        (("--layout", "bids", "--labelled", "first"), "--layout bids has no use for --labelled first; leave it out"),
        (("--layout", "ctp_slices", "--modality", "MR"), "--layout ctp_slices has no use for --modality MR; leave it"),
        (("--layout", "isles2017", "--modality", "CT"), "--layout isles2017 has no use for --modality CT; leave it"),
        (
            ("--layout", "isles2017", "--noise", "5"),
            "--noise 5 is in HU, and MR has none; leave it out with --modality MR",
        ),
        (
            ("--layout", "isles2017", "--test-cases", "5"),
            "--test-cases 5 are more than the --cases 1; ask for more cases",
        ),
        (
            ("--layout", "diffgen", "--slices", "2"),
            "--slices 2: none is in the middle, where the lesion lies; take 1, or 3 and more",
        ),
        (("--layout", "diffgen", "--frames", "9"), "--layout diffgen has no use for --frames 9; leave it out"),
    ],
)
def test_options_that_do_not_fit_are_told(
    tmp_path: Path, phantom: PhantomRun, words: tuple[str, ...], message: str
) -> None:
    result = phantom(str(tmp_path / "out"), *words)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_the_command_line_has_every_kind_and_choice() -> None:
    kinds = {kind.layout for kind in (SLICES, ISLES, BIDS, DICOM, DIFFGEN)}
    assert set(Layout) == {"patients", *kinds}
    assert set(Textures) == {"fixed", "random"}
    assert set(Labelled) == {"shared", "union", "first"}
    assert all(set(kind.shares) == set(GROUP_SHARES) for kind in (SLICES, ISLES, BIDS, DIFFGEN))
