"""What the files of a case may be called in a folder of segmentations or probabilities: one rule for both."""

import re
from collections import Counter
from collections.abc import Iterable

from strokelens.cohorts.bids import case_prefix
from strokelens.cohorts.cohort import Entry
from strokelens.cohorts.isles2017 import smir_id
from strokelens.errors import CaseError

_SUBMISSION = re.compile(r"(?:SMIR|VSD)\..+\.(\d+)")


def case_names(cohort: Iterable[Entry]) -> list[tuple[Entry, list[str]]]:
    """Each case with all that it may be called, its id first; what would mean two cases is left out."""
    entries = tuple(cohort)
    others = {
        entry.id: [entry.folder.name, case_prefix(entry.id), entry.person, *_submission(entry)] for entry in entries
    }
    counts = Counter(name for case_id, names in others.items() for name in {case_id, *names})
    return [(entry, [entry.id, *(name for name in others[entry.id] if counts[name] == 1)]) for entry in entries]


def submitted(name: str) -> str | None:
    """What a file's name says of the case, if it is one of a submission to ISLES 2017.

    >>> submitted("SMIR.my.result.128020"), submitted("case_1")
    ('SMIR number 128020', None)
    """
    match = _SUBMISSION.fullmatch(name)
    return _number(match[1]) if match is not None else None


def _submission(entry: Entry) -> list[str]:
    """What a submission of ISLES calls the case, if it has a number there."""
    try:
        return [_number(smir_id(entry))]
    except CaseError:
        return []


def _number(digits: str) -> str:
    return f"SMIR number {digits}"
