"""One image of a DICOM file: what its header tells of it, without anything that names a person."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from strokelens.cohorts.dicom_files import Member

COMPRESSED: Final = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")
"""How the names of transfer syntaxes begin that pack each picture by itself."""

_IMPLICIT: Final = "1.2.840.10008.1.2"

MOSAIC: Final = "MOSAIC"
"""The word in the image type of a picture that holds many slices side by side."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How a file keeps its pixels; `start` is the byte where the element with pixels begins, `syntax` says how.

    A mosaic is a picture of `across` × `across` planes of `rows` × `columns`, row by row; else `across` is 1.
    """

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    photometric: str
    frames: int
    syntax: str
    start: int
    across: int = 1

    @property
    def end(self) -> int:
        """The byte before which the pixels cannot end, which a file that is cut short does not have."""
        if self.syntax.startswith(COMPRESSED):
            return self.start + 8 * self.frames  # each picture is an item
        samples = 2 if "422" in self.photometric else self.samples
        bits = self.rows * self.columns * self.across**2 * samples * self.allocated * self.frames
        return self.start + (8 if self.syntax == _IMPLICIT else 12) + bits // 8


@dataclass(frozen=True, eq=False, slots=True)
class Plane:
    """One image of a file, with what places it in space and time; None is what the header does not tell.

    Fields that differ within a series come first. `times_s` has each clock that is there by name; `order` numbers the
    plane in its series. A value is stored value × `slope` + `inter`; a stored value that is `padding` is none.
    """

    member: Member
    frame: int
    instance: str
    position: tuple[float, ...] | None
    times_s: Mapping[str, float]
    order: float
    storage: Storage
    study: str
    series: str
    number: int | None
    modality: str
    image_type: tuple[str, ...]
    words: str = field(repr=False)
    person: str = field(repr=False)
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: float | None
    tilt: float
    slope: float
    inter: float
    padding: int | None
    b_value: float | None
    directed: bool
    echo_time_s: float | None
    repetition_s: float | None
    contrast: bool
    simulated: bool


OWN_FIELDS: Final = 6
"""So many fields come first that differ from plane to plane; the others are those of its series."""
