"""What a reader must know before trusting a result."""

from dataclasses import dataclass

RESEARCH_USE = "Research use only; not a medical device."
"""Stands on every output."""


@dataclass(frozen=True)
class Flag:
    """One remark on quality: a stable `code` for machines, a sentence for people.

    A `grave` flag says that the result should not be trusted; another one says that it should be looked at.
    """

    code: str
    message: str
    grave: bool = False
