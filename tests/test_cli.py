"""The command line as a user meets it: what is written, what is said, and what is refused with which exit code."""

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float
from jsonschema import Draft202012Validator

import strokelens
from strokelens.cli.options import DeconvolutionName
from strokelens.cli.segment import Rule
from strokelens.cohorts.encode import write_image
from strokelens.perfusion.deconvolve import METHODS
from strokelens.perfusion.thresholds import RULES
from strokelens.phantom.cohort import write_patient
from strokelens.phantom.patient import Patient, simulate
from strokelens.phantom.scanner import CtProtocol
from strokelens.report.result import result_schema
from tests.commands import Answer
from tests.nifti_files import nib

AsAUser = Callable[[], AbstractContextManager[None]]
AFFINE = np.array([[-1.8, 0, 0, 115], [0, 1.8, 0.2, -115], [0, 0, 5.0, -20], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def patient() -> Patient:
    return simulate(71, protocol=CtProtocol(matrix=128, slices=5, frames=36, noise_hu=2.0), motion=False)


@pytest.fixture(scope="module")
def ctp(patient: Patient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "sub-71_ctp.nii.gz"
    write_image(path, patient.case["CTP"].astype(np.int16), patient.case.grid, unit="HU", time_s=patient.case.time_s)
    return path


def series(
    path: Path, values: Float[np.ndarray, "i j k t"], *, interval_s: float = 1.5, affine: object = AFFINE
) -> Path:
    image = nib.Nifti1Image(values, np.asarray(affine))
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = interval_s
    nib.save(image, path)
    return path


def head(frames: int = 20) -> Float[np.ndarray, "i j k t"]:
    """A head of 35 HU in a skull, in air, without contrast agent, with noise."""
    rng = np.random.default_rng(0)
    i, j = np.indices((48, 48)) - 23.5
    radius = np.hypot(i * 3.2, j * 3.2)
    slab = np.where(radius < 62, 35.0, np.where(radius < 70, 900.0, -1000.0))
    values: np.ndarray = slab[:, :, None, None] + rng.normal(0, 3, (48, 48, 4, frames))
    return values.astype(np.int16)


COARSE = np.diag([3.2, 3.2, 5.0, 1.0])


def test_segment_writes_everything_and_says_what_it_found(
    run: Callable[..., Answer], ctp: Path, tmp_path: Path
) -> None:
    answer = run("segment", ctp, "-o", tmp_path / "out", "--age", 66, "--nihss", 17)
    assert answer.code == 0
    assert answer.out.startswith("sub-71: core ")
    assert answer.out.rstrip().endswith("Research use only; not a medical device.")
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"segmentation.nii.gz", "result.json", "overlay.png", "report.html", "maps/Tmax.nii.gz"} <= written


def test_the_segmentation_lies_on_the_inputs_grid_with_both_forms(
    run: Callable[..., Answer], ctp: Path, tmp_path: Path
) -> None:
    run("segment", ctp, "-o", tmp_path / "out")
    found, given = nib.load(tmp_path / "out/segmentation.nii.gz"), nib.load(ctp)
    assert found.get_data_dtype() == np.uint8
    assert found.shape == given.shape[:3]
    assert found.header["qform_code"] > 0 < found.header["sform_code"]
    assert np.allclose(found.affine, given.affine, atol=1e-4)
    assert np.allclose(found.header.get_qform(), given.affine, atol=1e-3)


def test_result_json_follows_the_schema_and_names_no_path(
    run: Callable[..., Answer], ctp: Path, tmp_path: Path
) -> None:
    answer = run("segment", ctp, "-o", tmp_path / "out", "--json")
    result = json.loads((tmp_path / "out/result.json").read_text())
    Draft202012Validator(result_schema()).validate(result)
    assert answer.out == (tmp_path / "out/result.json").read_text()
    assert str(tmp_path) not in (tmp_path / "out/result.json").read_text()
    assert str(tmp_path) not in (tmp_path / "out/report.html").read_text()
    assert result["inputs"]["CTP"]["sha256"]


def test_segment_names_a_case_as_told(run: Callable[..., Answer], ctp: Path, tmp_path: Path) -> None:
    assert run("segment", ctp, "-o", tmp_path / "out", "--id", "case 7").out.startswith("case 7: core")


def test_segment_writes_a_bids_derivative(run: Callable[..., Answer], ctp: Path, tmp_path: Path) -> None:
    assert run("segment", ctp, "-o", tmp_path / "out", "--bids").code == 0
    assert (tmp_path / "out/dataset_description.json").exists()
    assert list((tmp_path / "out").rglob("sub-71*_dseg.nii.gz"))
    assert run("segment", ctp, "-o", tmp_path / "out", "--bids", "--overwrite").code == 0


def test_maps_writes_maps_curves_and_pictures_and_overwrites_its_own(
    run: Callable[..., Answer], ctp: Path, tmp_path: Path
) -> None:
    assert run("maps", ctp, "-o", tmp_path / "out", "--png").code == 0
    names = {path.name for path in (tmp_path / "out/maps").iterdir()}
    assert {"CBF.nii.gz", "CBF.png", "Tmax.nii.gz", "MTT.png"} <= names
    assert (tmp_path / "out/curves.png").exists()
    assert run("maps", ctp, "-o", tmp_path / "out").code == 2
    assert run("maps", ctp, "-o", tmp_path / "out", "--overwrite").code == 0
    assert run("segment", ctp, "-o", tmp_path / "out", "--overwrite").code == 2


def test_the_json_of_maps_is_what_maps_json_holds(run: Callable[..., Answer], ctp: Path, tmp_path: Path) -> None:
    answer = run("maps", "-q", ctp, "-o", tmp_path / "out", "--json")
    assert answer.out == (tmp_path / "out/maps.json").read_text()
    assert json.loads(answer.out)["units"]["Tmax"] == "s"
    assert answer.err == ""


@pytest.mark.parametrize("words", [("-q", "segment"), ("segment", "--quiet")])
def test_quiet_tells_nothing_but_errors(
    run: Callable[..., Answer], ctp: Path, tmp_path: Path, words: tuple[str, str]
) -> None:
    assert run(*words, ctp, "-o", tmp_path / "out") == Answer(0, "", "")
    refused = run(*words, ctp, "-o", tmp_path / "out")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("strokelens: ")


@pytest.mark.parametrize("words", [("-v", "maps"), ("maps", "--verbose")])
def test_verbose_tells_of_every_step(ctp: Path, tmp_path: Path, words: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "strokelens", words[0], words[1], str(ctp), "-o", str(tmp_path / "out")]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "reading done" in finished.stderr.splitlines()[0]


@pytest.mark.parametrize("verb", ["segment", "maps"])
def test_the_input_is_never_replaced(run: Callable[..., Answer], tmp_path: Path, verb: str) -> None:
    for name in ("patient.json", "result.json", "maps.json"):
        (tmp_path / name).write_text('"strokelens"')
    victim = tmp_path / "ctp.nii.gz"
    victim.write_text("never read")
    for given in (victim, tmp_path):
        answer = run(verb, given, "-o", tmp_path, "--overwrite")
        said = f"strokelens: {tmp_path} is or holds the input {given}, which must stay; give another folder\n"
        assert answer == Answer(2, "", said)
    assert victim.read_text() == "never read"


def test_a_simulated_patient_keeps_its_name(run: Callable[..., Answer], patient: Patient, tmp_path: Path) -> None:
    (tmp_path / "sim-71").mkdir()
    write_patient(tmp_path / "sim-71", patient)
    answer = run("segment", tmp_path / "sim-71/ctp.nii.gz", "-o", tmp_path / "out")
    assert answer.out.startswith("sim-71: core ")


def test_a_name_with_other_characters_is_refused(run: Callable[..., Answer], ctp: Path, tmp_path: Path) -> None:
    answer = run("segment", ctp, "-o", tmp_path / "out", "--id", "Doe, Jane")
    assert answer.code == 2
    assert answer.err.startswith("strokelens: a case cannot be called 'Doe, Jane'; give 1 to 64 characters of letters")


def test_the_command_line_has_every_rule() -> None:
    assert [rule.value for rule in Rule] == list(RULES)


def test_the_command_line_has_every_deconvolution() -> None:
    assert [name.value for name in DeconvolutionName] == list(METHODS)


def test_a_folder_of_maps_from_segment_can_be_segmented_again(
    run: Callable[..., Answer], ctp: Path, tmp_path: Path
) -> None:
    first = run("segment", ctp, "-o", tmp_path / "out", "--json")
    again = run("segment", tmp_path / "out/maps", "-o", tmp_path / "again", "--rule", "rapid", "--json")
    rapid = run("segment", ctp, "-o", tmp_path / "rapid", "--rule", "rapid", "--json")
    volumes = [json.loads(answer.out)["volumes_ml"]["hypoperfused"] for answer in (first, again, rapid)]
    assert volumes[1] == pytest.approx(volumes[2], rel=0.1)


def test_an_existing_out_is_refused_without_overwrite(run: Callable[..., Answer], ctp: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    answer = run("segment", ctp, "-o", tmp_path / "out")
    assert answer.code == 2
    assert answer.err == f"strokelens: {tmp_path / 'out'} exists; give another folder, or --overwrite to replace it\n"


def test_a_folder_of_somebody_else_is_never_replaced(run: Callable[..., Answer], ctp: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("years of work")
    answer = run("segment", ctp, "-o", tmp_path / "thesis", "--overwrite")
    assert answer.code == 2
    assert "has no result.json by strokelens and is not replaced" in answer.err
    assert (tmp_path / "thesis/chapter.tex").read_text() == "years of work"


def bad(kind: str, folder: Path, ctp: Path) -> tuple[list[object], str]:
    """Arguments of a run that must be refused, and what the message must say."""
    path = folder / "x_ctp.nii.gz"
    match kind:
        case "text":
            path.write_text("this is not an image")
            return [path], "x_ctp.nii.gz"
        case "truncated":
            path.write_bytes(ctp.read_bytes()[:20000])
            return [path], "x_ctp.nii.gz"
        case "absent":
            return [folder / "nothing.nii"], "nothing.nii"
        case "3D":
            nib.save(nib.Nifti1Image(head()[..., 0], COARSE), path)
            return [path], "4D"
        case "one frame":
            return [series(path, head(1), affine=COARSE)], "frame"
        case "no bolus":
            return [series(path, head(), affine=COARSE)], "no bolus in the series"
        case "constant":
            return [series(path, np.full((48, 48, 4, 20), 35, np.int16), affine=COARSE)], "x_ctp.nii.gz"
        case "all NaN":
            return [series(path, np.full((48, 48, 4, 20), np.nan, np.float32), affine=COARSE)], "x_ctp.nii.gz"
        case "wrong units":
            return [series(path, head().astype(np.float32) * 1e-4, affine=COARSE)], "HU"
        case "no brain":
            speckles = np.where(np.indices((48, 48, 4, 20))[0] % 4 == 0, 35, -1000).astype(np.int16)
            return [series(path, speckles, affine=COARSE)], "no brain"
        case "no time":
            return [series(path, head(), interval_s=0.0, affine=COARSE)], "--frame-interval"
        case "zero voxels":
            return [damaged(series(path, head(), affine=COARSE), "srow_x", (0, 0, 0, 0))], "x_ctp.nii.gz"
        case "singular":
            sheared = damaged(series(path, head(), affine=COARSE), "srow_x", (3.2, 3.2, 0, 0))
            return [damaged(sheared, "srow_y", (3.2, 3.2, 0, 0))], "singular"
        case "no rule":
            return [ctp, "--method", "magic"], "no method 'magic'"
        case "grids":
            for name, shift in (("adc", 0.0), ("dwi", 0.01)):
                moved = COARSE + np.array([[0, 0, 0, shift]] + [[0] * 4] * 3)
                values = 0.8 + 1e-4 * head()[20:28, 20:28, :, 0]
                nib.save(nib.Nifti1Image(values, moved), folder / f"x_{name}.nii")
            return [folder], "0.01 mm apart"
        case _:
            nib.save(nib.Nifti1Image(head()[..., 0].clip(0).astype(np.float32), COARSE), folder / "x_cbf.nii")
            return [folder, "--rule", "rapid"], "rule rapid needs CBF, Tmax, but Tmax is missing"


def damaged(path: Path, field: str, values: tuple[float, ...]) -> Path:
    """The file with a field of its header overwritten."""
    raw = bytearray(gzip.decompress(path.read_bytes()))
    offset = nib.Nifti1Header.template_dtype.fields[field][1]
    raw[offset : offset + 16] = np.array(values, "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    return path


KINDS = ["text", "truncated", "absent", "3D", "one frame", "no bolus", "constant", "all NaN", "wrong units"]
KINDS += ["no brain", "no time", "zero voxels", "singular", "no rule", "grids", "missing map"]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_gives_one_line_and_exit_code_2_and_writes_nothing(
    kind: str, run: Callable[..., Answer], ctp: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    arguments, says = bad(kind, tmp_path / "in", ctp)
    answer = run("segment", *arguments, "-o", tmp_path / "out")
    assert answer.code == 2
    assert answer.err.startswith("strokelens: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_resample_brings_channels_together(run: Callable[..., Answer], tmp_path: Path, shared_data: Path) -> None:
    for channel in ("adc", "dwi"):
        image = nib.load(shared_data / f"isles22_case0001/sub-strokecase0001_ses-0001_{channel}.nii.gz")
        affine = image.affine + (channel == "dwi") * np.array([[0, 0, 0, 0.4]] + [[0] * 4] * 3)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj, np.float32), affine), tmp_path / f"x_{channel}.nii")
    assert run("segment", tmp_path, "-o", tmp_path / "out").code == 2
    assert run("segment", tmp_path, "-o", tmp_path / "out", "--resample").code == 0


@pytest.mark.parametrize("arguments", [["--help"], ["segment", "--help"], ["maps", "--help"], ["--version"]])
def test_help_and_version_answer(run: Callable[..., Answer], arguments: list[str]) -> None:
    answer = run(*arguments)
    assert (answer.code, bool(answer.out)) == (0, True)


def test_the_version_is_the_packages(run: Callable[..., Answer]) -> None:
    assert run("--version").out == f"strokelens {strokelens.__version__}\n"


def test_ctrl_c_ends_with_130_and_leaves_nothing(ctp: Path, tmp_path: Path) -> None:
    """The signal has its usual meaning even where the tests run in the background, where it is ignored."""
    usual = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    start = f"{usual}; from strokelens.__main__ import main; main()"
    command = [sys.executable, "-c", start, "-v", "segment", str(ctp), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "reading done" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.endswith("strokelens: interrupted\n")
    assert "Traceback" not in told
    assert not list(tmp_path.iterdir())
