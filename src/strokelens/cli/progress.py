"""What a verb tells while it works and at its end, and how much of it; errors are told always, and not from here."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import typer
from rich.console import Console
from rich.progress import track

_ours = logging.getLogger("strokelens")
logger = logging.getLogger(__name__)

Item = TypeVar("Item")


def loudness(*, verbose: bool, quiet: bool, otherwise: int | None = None) -> None:
    """Set how much is told: every step, or errors only; else as before, or the level of logging in `otherwise`."""
    level = logging.INFO if verbose else logging.ERROR if quiet else otherwise
    if level is not None:
        _ours.setLevel(level)
        logging.getLogger().setLevel(max(level, logging.WARNING))  # what libraries tell


def say(text: str) -> None:
    """Tell the user on standard output, unless errors only are wanted."""
    if talkative():
        typer.echo(text)


@contextmanager
def steps(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner on a terminal that names the step last done; each step is also logged, for `--verbose`."""
    with Console(stderr=True, quiet=not talkative()).status(what) as status:

        def done(step: str) -> None:
            logger.info("%s: %s done", what, step)
            status.update(f"{what}: {step} done")

        yield done


def counted(what: str, items: Iterable[Item], *, total: int | None = None) -> Iterator[Item]:
    """The items, with a bar on a terminal; `total` is how many there are where they do not tell it."""
    console = Console(stderr=True)
    yield from track(items, what, total=total, console=console, disable=not (console.is_terminal and talkative()))


def talkative() -> bool:
    """Whether more than errors is wanted."""
    return _ours.isEnabledFor(logging.WARNING)
