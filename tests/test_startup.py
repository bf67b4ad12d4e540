"""What a start imports: `import strokelens` and `--help` nothing heavy, and segmenting by threshold no torch.

Times depend on the machine, so these tests look at `sys.modules` of a fresh interpreter instead.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from strokelens.cohorts.encode import write_image
from strokelens.phantom.patient import simulate
from strokelens.phantom.scanner import CtProtocol

HEAVY = ("numpy", "scipy", "matplotlib", "nibabel", "pydicom", "torch", "pandas", "nilearn")


def imported_by(code: str, *arguments: str, cwd: Path | None = None) -> set[str]:
    """The top-level modules that a fresh interpreter has imported after `code`."""
    report = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    finished = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}", *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert finished.returncode == 0, finished.stderr
    return set(json.loads(finished.stdout.splitlines()[-1]))


def heavy_imports(modules: set[str]) -> list[str]:
    return sorted(modules & set(HEAVY))


def test_torch_is_installed_so_that_its_absence_means_something() -> None:
    assert find_spec("torch") is not None


def test_the_probe_sees_an_import() -> None:
    assert heavy_imports(imported_by("import numpy")) == ["numpy"]


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert heavy_imports(imported_by("import strokelens")) == []


def test_importing_the_package_leaves_the_command_line_out() -> None:
    assert {"typer", "rich", "pydantic"} & imported_by("import strokelens") == set()


def test_taking_a_value_from_the_package_imports_no_torch() -> None:
    assert "torch" not in imported_by("from strokelens import *")


RUN = """
import sys
from strokelens.__main__ import main
try:
    main()
except SystemExit as end:
    assert end.code in (0, None), end.code
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("segment", "--help"),
        ("maps", "--help"),
        ("inspect", "--help"),
        ("split", "--help"),
        ("predict", "--help"),
        ("evaluate", "--help"),
    ],
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert heavy_imports(imported_by(RUN, *arguments)) == []


def test_segmenting_by_threshold_imports_no_torch(tmp_path: Path) -> None:
    patient = simulate(7, protocol=CtProtocol(matrix=64, slices=4), motion=False)
    write_image(tmp_path / "ctp.nii.gz", patient.case["CTP"], patient.case.grid, unit="HU")
    arguments = ("segment", "ctp.nii.gz", "-o", "result", "--method", "threshold", "--frame-interval", "1.5")
    modules = imported_by(RUN, *arguments, cwd=tmp_path)
    assert (tmp_path / "result" / "report.html").exists()
    assert "torch" not in modules
    assert "numpy" in modules
