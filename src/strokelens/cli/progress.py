"""What a long verb tells while it works: a line that changes, on a terminal only."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

logger = logging.getLogger(__name__)


@contextmanager
def steps(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner that names the step last done; each step is also logged, for `--verbose`."""
    console = Console(stderr=True)
    with console.status(what) as status:

        def done(step: str) -> None:
            logger.info("%s: %s done", what, step)
            status.update(f"{what}: {step} done")

        yield done
