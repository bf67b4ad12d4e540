"""What the integers of somebody's segmentation mean: a table of labels on disk becomes classes of ours."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from strokelens.errors import LabelError, hint
from strokelens.labels import BACKGROUND, BRAIN, CORE, HYPOPERFUSED, LESION, PENUMBRA, Label, LabelScheme

CLASS_OF: Mapping[str, str] = MappingProxyType(
    {
        "background": "background",
        "brain": "brain",
        "healthy": "brain",
        "penumbra": "penumbra",
        "hypoperfused": "hypoperfused",
        "core": "core",
        "infarct": "core",
        "lesion": "lesion",
        "stroke": "lesion",
        "l": "lesion",
    }
)
"""The names of classes, in lower case, and ours."""

_CLASSES: Mapping[str, Label] = MappingProxyType(
    {label.name: label for label in (BRAIN, PENUMBRA, HYPOPERFUSED, CORE, LESION)}
)
_LARGEST = 65535


def class_named(name: str, file: str) -> str:
    """Our class of a name; `LabelError` with a hint when there is none."""
    folded = name.strip().casefold()
    if folded not in CLASS_OF:
        raise LabelError(f"{file} names a class {name[:40]!r}; {hint(name, CLASS_OF)}")
    return CLASS_OF[folded]


def scheme_of(names: Iterable[str], file: str) -> LabelScheme:
    """The scheme of some of our classes: background, then those of brain, penumbra, hypoperfused, core, lesion."""
    wanted = set(names) - {BACKGROUND.name}
    if not wanted:
        raise LabelError(f"{file} names no class but the background; name the lesion")
    return LabelScheme((BACKGROUND, *(label for name, label in _CLASSES.items() if name in wanted)))


def is_whole(text: str) -> bool:
    """Whether a text is a whole number of at most 9 digits, which other numerals of Unicode are not.

    >>> is_whole("12"), is_whole("²"), is_whole("9" * 5000)
    (True, False, False)
    """
    return text.isascii() and text.isdecimal() and len(text) < 10


def label_values(rows: object, file: str) -> dict[int, str]:
    """The integers of a table of labels, rows of `index` and `name`, and our class of each; 0 is the background.

    >>> label_values([{"index": 1, "name": "Core"}, {"index": 2, "name": "penumbra"}], "x.json")
    {0: 'background', 1: 'core', 2: 'penumbra'}
    """
    if not isinstance(rows, list) or not all(isinstance(row, dict) and {"index", "name"} <= set(row) for row in rows):
        raise LabelError(f"{file}: its labels must be rows of index and name; correct or remove them")
    values, given = {0: BACKGROUND.name}, set[int]()
    for row in rows:
        index = str(row["index"])
        if not is_whole(index) or int(index) > _LARGEST:
            told = f"{file}: a label's index is {index[:20]!r}, not a whole number from 0 to {_LARGEST}"
            raise LabelError(f"{told}; correct the table")
        name = class_named(str(row["name"]), file)
        if int(index) in given and values[int(index)] != name:
            raise LabelError(f"{file}: the label {index} is both {values[int(index)]} and {name}; correct the table")
        values[int(index)] = name
        given.add(int(index))
    return values
