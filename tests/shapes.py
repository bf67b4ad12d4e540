"""The checker that `--jaxtyping-packages` wraps around every function under test.

As mypy has it, an int is a float. A function is left alone where a hint cannot be checked while the program runs:
`Self` outside of a decorated class, or a protocol that is not `runtime_checkable`.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

P = ParamSpec("P")
R = TypeVar("R")

_checking = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, checking its arguments and result."""
    try:
        return _checking(function)
    except BeartypeDecorHintException:
        return function
