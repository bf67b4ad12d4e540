"""Every code block of README and docs runs, in order, page by page, each page in a folder of its own.

`python` blocks are executed in one namespace a page. In `console` blocks a line after `$` that starts with `strokelens`
is run by bash, and the lines below it, where there are any, must be what it prints (`...` stands for anything). Other
commands, such as `make` and `git`, and `bash` blocks are for reading.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path

import pytest

import strokelens
from strokelens.errors import StrokelensError
from strokelens.perfusion.thresholds import RULES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, and the line of the page where it begins."""

    language: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    for match in BLOCK.finditer(page):
        yield Block(match[1], match[2], page.count("\n", 0, match.start()) + 1)


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the output that the page shows, '' if it shows none."""
    for part in re.split(r"^\$ ", block.text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def run_command(command: str, expected: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
    finished = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{command}"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    printed = finished.stdout
    assert finished.returncode == 0, f"$ {command}\n{printed}"
    if expected.strip():
        same = OutputChecker().check_output(expected.strip(), printed.strip(), ELLIPSIS | NORMALIZE_WHITESPACE)
        assert same, f"$ {command}\nthe page says:\n{expected}\nit prints:\n{printed}"


def is_run(block: Block) -> bool:
    if block.language == "console":
        return any(command.startswith("strokelens ") for command, _ in commands(block))
    return block.language == "python"


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(is_run(block) for block in blocks(page.read_text()))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_code_of_this_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": page.stem}
    ran = 0
    for block in blocks(page.read_text()):
        if block.language == "python":
            exec(compile("\n" * block.line + block.text, str(page), "exec"), namespace)
            ran += 1
        elif block.language == "console":
            for command, expected in commands(block):
                if command.startswith("strokelens "):
                    run_command(command, expected, tmp_path)
                    ran += 1
    assert ran > 0


def test_an_ellipsis_stands_for_anything(tmp_path: Path) -> None:
    run_command("echo core 12.3 ml", "core ... ml", tmp_path)


def test_another_output_than_the_page_shows_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the page says"):
        run_command("echo core 12 ml", "core 9 ml", tmp_path)


def test_a_command_that_fails_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"\$ false"):
        run_command("false", "", tmp_path)


def test_a_console_block_is_parted_at_its_prompts() -> None:
    block = Block("console", "$ strokelens maps \\\n  a\nout\n$ make demo\n", 1)
    assert list(commands(block)) == [("strokelens maps    a", "out\n"), ("make demo", "")]


def test_the_command_line_page_has_every_verb_and_option(pytestconfig: pytest.Config) -> None:
    command = [sys.executable, "-m", "typer", "strokelens.cli", "utils", "docs", "--name", "strokelens"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    page = ROOT / "docs" / "reference" / "command-line.md"
    if pytestconfig.getoption("--write-docs"):
        text = finished.stdout.replace("# `strokelens`\n", "# The command line\n\n*Written by `make docs`.*\n", 1)
        page.write_text(text.replace("```console", "```text").strip() + "\n")
    names = re.compile(r"^(?:## .*|\* `-.*?`)", re.MULTILINE)  # wording and layout belong to typer's version
    assert names.findall(finished.stdout) == names.findall(page.read_text()), "run `make docs`"


def test_every_verb_has_a_how_to() -> None:
    parts = {
        "__init__",
        "options",
        "progress",
        "modes",
        "second",
        "asked",
        "recipes",
        "lrp",
    }  # of the last five ancestors.md
    verbs = {path.stem for path in (ROOT / "src" / "strokelens" / "cli").glob("*.py")} - parts
    assert {page.stem for page in (ROOT / "docs" / "how-to").glob("*.md")} >= verbs


def raised_flags() -> Iterator[tuple[str, str]]:
    """The code of each `Flag(...)` in the source, and whether it is grave: yes, never (empty), or if."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Flag":
                grave = next((word.value for word in node.keywords if word.arg == "grave"), ast.Constant(False))
                assert isinstance(node.args[0], ast.Constant), f"{path.name}: a flag's code is written out"
                written = grave.value if isinstance(grave, ast.Constant) else None
                yield str(node.args[0].value), "if" if written is None else "yes" if written else ""


def test_every_flag_is_in_the_reference_as_grave_as_it_is() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    table = page[page.index("## Flags") :]
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| *(yes|if)?[^|]*\|", table, re.MULTILINE))
    assert {code: grave for code, grave in raised_flags() if listed.get(code) != grave} == {}


def test_every_error_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    kinds = [kind.__name__ for kind in StrokelensError.__subclasses__() if kind.__module__ == "strokelens.errors"]
    assert [name for name in kinds if f"| `{name}` |" not in page] == []


def test_every_public_name_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    assert [name for name in strokelens.__all__ if not re.search(rf"`{name}\b", page)] == []


def test_every_rule_is_in_the_concepts_with_its_limits(pytestconfig: pytest.Config) -> None:
    page = ROOT / "docs" / "concepts" / "perfusion.md"
    head = "| `--rule` | core | hypoperfused | source |\n|---|---|---|---|\n"
    cells = [
        (f"`{rule.name}`", ", ".join(map(str, rule.core)), ", ".join(map(str, rule.hypoperfused)), rule.source)
        for rule in RULES.values()
    ]
    rows = "".join(f"| {' | '.join(row)} |\n" for row in cells)
    if pytestconfig.getoption("--write-docs"):
        page.write_text(re.sub(re.escape(head) + r"(\|.*\n)*", lambda match: head + rows, page.read_text()))
    assert head + rows + "\n" in page.read_text(), "run `make docs`"


def test_every_page_but_decisions_is_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [page.relative_to(ROOT / "docs") for page in PAGES[1:] if page.name != "README.md"]
    assert [str(page) for page in pages if page.parts[0] != "decisions" and f"({page})" not in index] == []
