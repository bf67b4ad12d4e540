"""Normalisation by groups of channels."""

from typing import Final

_GROUPS: Final = 8


def groups_of(channels: int) -> int:
    """Into how many groups of equal size channels go: eight, or the most below that come out even.

    >>> groups_of(32), groups_of(20), groups_of(7)
    (8, 5, 7)
    """
    return next(each for each in range(min(_GROUPS, channels), 0, -1) if channels % each == 0)
