"""Which cases of a folder of predictions its models were trained on: a score on these flatters."""

import json
from pathlib import Path

from strokelens.cohorts.folder import PREDICTED
from strokelens.cohorts.splits import TRAIN


def learned_from(folder: Path) -> frozenset[str]:
    """The cases of a folder of predictions that its models were trained on, as far as it tells; nothing is raised."""
    try:
        told = json.loads((folder / PREDICTED).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return frozenset()
    cases = told.get("cases") if isinstance(told, dict) else None
    rows = [row for row in cases if isinstance(row, dict)] if isinstance(cases, list) else []
    return frozenset(str(row.get("id")) for row in rows if row.get("part_in_training") == TRAIN)


def flattered(learned: int, scored: int) -> str:
    """What must be said where networks are scored on cases that they were trained on; empty where there are none.

    >>> flattered(1, 7), flattered(0, 7)
    ('1 of 7 scored cases was trained on: these scores flatter.', '')
    """
    if not learned:
        return ""
    was = "was" if learned == 1 else "were"
    return f"{learned} of {scored} scored cases {was} trained on: these scores flatter."
