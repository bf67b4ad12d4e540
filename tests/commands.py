"""Runs of the command line within the test's process."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from typer.testing import CliRunner, Result

from strokelens.cli import app

AsAUser = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Answer:
    """What a run of the command line said, and its exit code."""

    code: int
    out: str
    err: str


Run = Callable[..., Answer]
PhantomRun = Callable[..., Result]


def runner(as_a_user: AsAUser) -> Run:
    """`run("maps", path, "-o", out)`; what is no error of the user's is raised."""

    def command(*arguments: object) -> Answer:
        with as_a_user():
            result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return command


def phantom_runner(as_a_user: AsAUser) -> PhantomRun:
    """`phantom("out", "--cases", "2")`; what it raised is in the result."""

    def command(*words: str) -> Result:
        with as_a_user():
            return CliRunner().invoke(app, ["phantom", *words])

    return command
