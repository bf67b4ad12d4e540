"""What the integers of a segmentation mean: names, grey levels, colours and DICOM codes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from strokelens.errors import LabelError, hint


@dataclass(frozen=True)
class Label:
    """One class of tissue.

    `grey` is its level in the 8-bit ground truth of the Stavanger cohort; `code` is (value, scheme, meaning) for
    DICOM. SNOMED has a code for the infarct and none for the penumbra, which therefore has a private one. So has
    hypoperfused tissue, which is penumbra and core as one; its grey is the penumbra's, so that a picture without a word
    on its classes is scored as hypoperfused, and never as infarct.
    """

    name: str
    grey: int
    colour: tuple[int, int, int]
    code: tuple[str, str, str]


BACKGROUND = Label("background", 0, (0, 0, 0), ("125040", "DCM", "Background"))
BRAIN = Label("brain", 85, (128, 128, 128), ("12738006", "SCT", "Brain"))
PENUMBRA = Label("penumbra", 170, (60, 190, 80), ("penumbra", "99STROKELENS", "Ischemic penumbra"))
HYPOPERFUSED = Label("hypoperfused", 170, (60, 190, 80), ("hypoperfused", "99STROKELENS", "Hypoperfused tissue"))
CORE = Label("core", 255, (225, 60, 165), ("55641003", "SCT", "Infarct"))
LESION = Label("lesion", 255, (225, 60, 165), ("52988006", "SCT", "Lesion"))


@dataclass(frozen=True)
class LabelScheme:
    """The classes of a segmentation in order: the integer of a label is its position, and 0 is the background.

    >>> scheme = LabelScheme((BACKGROUND, PENUMBRA, CORE))
    >>> scheme.names, scheme.value("core")
    (('background', 'penumbra', 'core'), 2)
    """

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not self.labels or self.labels[0] != BACKGROUND:
            raise LabelError("a label scheme starts with the background")
        if len(set(self.names)) != len(self.labels):
            raise LabelError(f"a label scheme names each class once, not {', '.join(self.names)}")

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names, in the order of their integers."""
        return tuple(label.name for label in self.labels)

    def value(self, name: str) -> int:
        """The integer of a class; `LabelError` when the scheme has no such class."""
        if name not in self.names:
            raise LabelError(f"no label {name!r} in this scheme; {hint(name, self.names)}")
        return self.names.index(name)

    def mask(self, labels: Integer[np.ndarray, "*space"], *names: str) -> Bool[np.ndarray, "*space"]:
        """The voxels that carry any of the named classes."""
        found = np.zeros_like(labels, np.bool_)
        for value in [self.value(name) for name in names]:
            found |= labels == value
        return found

    def check(self, labels: Integer[np.ndarray, "*space"]) -> None:
        """Raise `LabelError` if an integer of `labels` is not in the scheme."""
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < len(self):
            strange = sorted(set(np.unique(labels).tolist()) - set(range(len(self))))
            raise LabelError(f"labels {strange} are not in the scheme {dict(enumerate(self.names))}")

    def merge(self, labels: Integer[np.ndarray, "*space"], target: "LabelScheme") -> UInt8[np.ndarray, "*space"]:
        """The same classes by name as uint8 of another scheme; those that it lacks become background."""
        self.check(labels)
        table = [target.value(name) if name in target.names else 0 for name in self.names]
        return np.take(np.array(table, np.uint8), labels)

    def to_grey(self, labels: Integer[np.ndarray, "*space"]) -> UInt8[np.ndarray, "*space"]:
        """The classes as the grey levels 0, 85, 170, 255 of the Stavanger ground truth."""
        self.check(labels)
        return np.take(np.array([label.grey for label in self.labels], np.uint8), labels)


CORE_PENUMBRA_BRAIN = LabelScheme((BACKGROUND, BRAIN, PENUMBRA, CORE))
CORE_PENUMBRA = LabelScheme((BACKGROUND, PENUMBRA, CORE))
HYPOPERFUSED_ONLY = LabelScheme((BACKGROUND, HYPOPERFUSED))
CORE_ONLY = LabelScheme((BACKGROUND, CORE))
LESION_ONLY = LabelScheme((BACKGROUND, LESION))
