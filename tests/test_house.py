"""The house around the code: versions in step, constraints on every install line, nothing that replaces torch."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import strokelens

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

SOURCES = sorted((ROOT / "src").rglob("*.py"))
STRAIGHT = {
    *(
        f"cli/{verb}.py:{verb}"
        for verb in (
            *("atlas", "compare", "crossvalidate", "evaluate", "explain", "maps", "phantom", "predict"),
            *("robustness", "segment", "split", "submit", "train"),
        )
    ),  # mostly options
    "perfusion/maps.py:compute_maps",
    "phantom/patient.py:simulate",
}
"""The functions that may be longer than a page, as nothing in them branches off."""

INSTALLING = [
    ROOT / "Makefile",
    ROOT / ".ci" / "run",
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "benchmarks").glob("*.md"),
]


def installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def closure(requirements: list[str], extras: frozenset[str] = frozenset()) -> set[str]:
    """The canonical names of everything installed that the requirements lead to."""
    found: set[str] = set()
    todo = [(requirement, extras) for requirement in requirements]
    while todo:
        line, wanted = todo.pop()
        requirement = Requirement(line)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        marker = requirement.marker
        applies = marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *wanted})
        package = installed(name)
        if not applies or package is None or (name in found and not requirement.extras):
            continue
        found.add(name)
        todo += [(child, frozenset(requirement.extras)) for child in package.requires or []]
    return found


def test_nothing_that_we_require_leads_to_torchvision() -> None:
    required = [
        *PROJECT["dependencies"],
        *(line for extra in PROJECT["optional-dependencies"].values() for line in extra),
    ]
    reached = closure([line for line in required if not line.startswith("strokelens")])
    assert {"numpy", "torch", "sympy", "pydantic-core"} <= reached  # the walk reaches what lies two steps away
    assert "torchvision" not in reached


def test_torchvision_is_not_installed_beside_us() -> None:
    assert installed("torchvision") is None


def install_lines(path: Path) -> list[str]:
    text = path.read_text().replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if re.search(r"\bpip3? install\b", line)]


@pytest.mark.parametrize("path", INSTALLING, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_install_line_carries_the_constraints(path: Path) -> None:
    without = [
        line for line in install_lines(path) if "-c constraints.txt" not in line and "-r requirements.txt" not in line
    ]
    assert without == []


def test_the_makefile_installs() -> None:
    assert len(install_lines(ROOT / "Makefile")) == 2


def test_the_requirements_carry_the_constraints() -> None:
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines == ["-c constraints.txt", "."]


def test_the_constraints_pin_torch() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines == ["torch==2.13.0"]


def test_the_package_itself_does_not_pin_torch() -> None:
    assert "torch>=2.8" in PROJECT["optional-dependencies"]["networks"]


def test_the_project_has_the_version_of_the_code() -> None:
    assert PROJECT["version"] == strokelens.__version__


def test_the_changelog_starts_with_the_version_of_the_code() -> None:
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == strokelens.__version__


def test_the_citation_has_the_version_of_the_code() -> None:
    version = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert version is not None
    assert version[1] == strokelens.__version__


def test_the_citation_names_both_ancestors_papers() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert "10.7557/18.6223" in citation
    assert "1911.08136" in citation


def main_py(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "main.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [(), ("--mode", "info"), ("-h",)])
def test_main_py_gives_the_usage(arguments: tuple[str, ...]) -> None:
    finished = main_py(*arguments)
    assert finished.returncode == 0
    assert finished.stdout.startswith("usage: main.py")
    assert "not a medical device" in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("cpu", "Setting/Baseline.json", "-v", "-pm", "-t", "512", "-c", "3"),
            "no folder data; give the cohort to train on",
        ),
        (
            ("--mode", "lrp", "--config_dir", "config.json"),
            "config.json: no such file; `main.py --mode create_config_file` writes one",
        ),
        (("--mode", "trian"), "no mode 'trian'; did you mean 'train'?"),
    ],
)
def test_main_py_says_what_it_cannot_do(arguments: tuple[str, ...], message: str) -> None:
    finished = main_py(*arguments)
    assert finished.returncode == 2
    assert message in finished.stderr.splitlines()[-1]


def test_main_py_is_at_most_60_lines() -> None:
    assert len((ROOT / "main.py").read_text().splitlines()) <= 60


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md")]
    assert sorted(numbers) == list(range(len(numbers)))


def test_every_decision_is_listed_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    missing = [path.name for path in folder.glob("[0-9]*.md") if f"({path.name})" not in index]
    assert missing == []


def test_every_relative_link_of_the_documentation_leads_somewhere() -> None:
    broken = []
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", path.read_text()):
            if not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


def test_the_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    assert "\nmake test\nmake check\n" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()


def test_no_file_of_the_source_has_more_than_400_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


def long_functions() -> set[str]:
    """Every function of more than 40 lines, by file and name."""
    return {
        f"{path.relative_to(ROOT / 'src/strokelens').as_posix()}:{node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= 40
    }


def test_only_straight_functions_have_more_than_40_lines() -> None:
    assert long_functions() == STRAIGHT
