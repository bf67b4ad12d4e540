"""What every test may use: real data when it is there, frozen numbers, and laws that draw the same cases each time."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings

from strokelens.processes import begin
from tests.commands import AsAUser, PhantomRun, Run, phantom_runner, runner

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
GOLDEN = Path(__file__).parent / "golden"

# Shapes are checked by beartype under test, which makes the first call of a function slow: no deadline.
settings.register_profile("strokelens", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("strokelens")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="rewrite tests/golden; only `make golden` does")
    parser.addoption("--write-docs", action="store_true", help="rewrite generated pages of docs; only `make docs` does")


@pytest.fixture(scope="session", autouse=True)
def processes_that_know_all() -> None:
    """Processes of all tests are forked from one that has imported what any of them needs: each saves seconds."""
    begin("strokelens.comparison", "strokelens.evaluation.scoring", "strokelens.phantom.batch")


@pytest.fixture
def shared_data() -> Path:
    """The folder of real and reference data, or a skip where it is not."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not here")
    return SHARED_DATA


@pytest.fixture
def as_a_user() -> Callable[[], AbstractContextManager[None]]:
    """A context without shape checks, to see the message that a user gets who runs none."""

    @contextmanager
    def unchecked() -> Iterator[None]:
        jaxtyping.config.update("jaxtyping_disable", True)
        try:
            yield
        finally:
            jaxtyping.config.update("jaxtyping_disable", False)

    return unchecked


@pytest.fixture
def run(as_a_user: AsAUser) -> Run:
    """`run("maps", path, "-o", out)`: what the command says, and its exit code."""
    return runner(as_a_user)


@pytest.fixture
def phantom(as_a_user: AsAUser) -> PhantomRun:
    """`phantom("out", "--cases", "2")`: the verb, called in this process."""
    return phantom_runner(as_a_user)


@pytest.fixture
def agrees_with_golden(request: pytest.FixtureRequest) -> Callable[[str, Mapping[str, float], float], None]:
    """A check of numbers against `tests/golden/NAME.json`: the same keys, and values within a relative tolerance."""

    def check(name: str, numbers: Mapping[str, float], tolerance: float) -> None:
        path = GOLDEN / f"{name}.json"
        if request.config.getoption("--write-golden"):
            GOLDEN.mkdir(exist_ok=True)
            path.write_text(json.dumps(dict(numbers), indent=2) + "\n")
        frozen = json.loads(path.read_text())
        assert numbers == pytest.approx(frozen, rel=tolerance), f"{path} says otherwise; `make golden` if this is meant"

    return check
