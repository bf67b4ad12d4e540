"""What can go wrong for a user, as one tree.

::

    StrokelensError            every error whose cause is the input; the command line prints it and exits with 2
    ├── FileError              a file cannot be read as what it claims to be
    ├── GridError              a place in space is impossible, or two grids differ
    ├── CaseError              a case lacks a channel, or its parts do not fit together
    ├── LabelError             an integer, name or grey level that is not in the scheme
    ├── SeriesError            a time series that cannot give perfusion maps
    ├── UnitError              values that fit no known unit
    ├── RuleError              an unknown rule or method, or one that lacks its maps
    ├── SettingsError          a setting is unknown, impossible, or does not fit the data or another setting
    ├── TrainingError          a training cannot go on: the loss is no number, or a run does not fit its settings
    ├── RelevanceError         a network, or a question, that relevance cannot be told of
    ├── CohortError            a folder is no cohort, or a split does not fit it
    └── OutputError            the results cannot be written where they were asked for

Every message says what, which value, and the cure, on one line.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class StrokelensError(Exception):
    """Something about the user's input is wrong; the message says what and how to mend it."""


class FileError(StrokelensError):
    """A file is missing, damaged, or not of the format its name claims."""


class GridError(StrokelensError):
    """A shape or affine describes no possible image, or two grids are not the same place."""


class CaseError(StrokelensError):
    """A case lacks a channel that is needed, or its parts do not belong together."""


class LabelError(StrokelensError):
    """A label, name or grey level is not in the scheme."""


class SeriesError(StrokelensError):
    """A time series has no usable time axis, bolus or brain."""


class UnitError(StrokelensError):
    """Values that lie outside every unit in which this quantity is stored."""


class RuleError(StrokelensError):
    """A threshold rule or method is unknown, or the maps that it needs are not there."""


class SettingsError(StrokelensError):
    """A setting is unknown or impossible, or does not fit the data or another setting."""


class TrainingError(StrokelensError):
    """A training cannot start or go on: its loss is no number, or its folder holds another run."""


class RelevanceError(StrokelensError):
    """Relevance cannot pass a network, or what is to be explained is not there."""


class CohortError(StrokelensError):
    """A folder is no cohort of a known layout, or a split does not fit the cohort."""


class OutputError(StrokelensError):
    """The results cannot be written where they were asked for."""


def hint(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest known one, or all of them.

    >>> hint("tmaks", ["Tmax", "CBF"])
    "did you mean 'Tmax'?"
    >>> hint("xyz", ["Tmax", "CBF"])
    'known: CBF, Tmax'
    """
    names = sorted(known)
    folded = {candidate.casefold(): candidate for candidate in names}
    nearest = get_close_matches(name.casefold(), folded, n=1)
    return f"did you mean {folded[nearest[0]]!r}?" if nearest else f"known: {', '.join(names)}"


def shortened(names: Sequence[str], most: int = 6) -> str:
    """Some names in words, the first of many.

    >>> shortened(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
