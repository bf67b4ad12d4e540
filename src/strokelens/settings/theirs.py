"""Setting files of the first ancestor: that they are such, and which of the published networks they train.

They are looked at as text, for the published ones of gradual fine-tuning are no JSON.
"""

import re
from typing import Final

_KEYS: Final = ("EXPERIMENT", "models", "root_path", "dataset_path", "relative_paths", "PATIENTS_TO_TRAINVAL")
_ENOUGH = 2


def is_theirs(text: str) -> bool:
    """Whether this is a setting file of the first ancestor.

    >>> is_theirs('{"EXPERIMENT": 99.3, "models": [{}]}'), is_theirs('{"name": "models"}')
    (True, False)
    """
    return sum(re.search(rf'"{key}"\s*:', text) is not None for key in _KEYS) >= _ENOUGH


def name_of_theirs(text: str) -> str:
    """What the published file of this network is called; other networks of theirs have no such file.

    >>> name_of_theirs('"params": {"trainable": 1}, "moreinfo": {"mip": 1, "nihss": 0}')
    'Model_U(PMs,M)'
    """
    kind = "G" if '"gradual_finetuning_solution"' in text else "F" if _number("trainable", text) == "0" else "U"
    more = [letter for key, letter in (("mip", "M"), ("nihss", "N")) if _number(key, text) == "1"]
    others = [key.upper() for key in ("age", "gender") if _number(key, text) == "1"]
    return f"Model_{kind}({','.join(['PMs', *more, *others])})"


def _number(key: str, text: str) -> str:
    """The first number that a key has; empty where it has none."""
    found = re.search(rf'"{key}"\s*:\s*(\d+)', text)
    return found[1] if found else ""
