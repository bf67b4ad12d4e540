"""What is in the files of a study or cohort: planes, files that are damaged, and files that hold nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from strokelens.cohorts.dicom_files import Member
from strokelens.cohorts.dicom_header import Headers
from strokelens.cohorts.dicom_plane import Plane
from strokelens.cohorts.dicom_series import Series
from strokelens.errors import FileError

_HEAD_BYTES = 132


@dataclass(frozen=True, eq=False)
class Survey:
    """The planes of files; which are damaged and why; and how many that are lost lie in each folder.

    Lost are damaged files, and those that are empty, hold only zeros at their beginning, or cannot be read: they may
    have been images.
    """

    planes: tuple[Plane, ...]
    damaged: tuple[tuple[Member, FileError], ...]
    lost: Mapping[str, int]

    def doubts(self, series: Series) -> tuple[str, ...]:
        """What lies beside a series and may be a part of it."""
        folders = {plane.member.folder for plane in series.planes} if self.lost else set()
        count = sum(self.lost.get(folder, 0) for folder in folders)
        if not count:
            return ()
        files = "1 file beside it is" if count == 1 else f"{count} files beside it are"
        return (f"{files} empty, damaged or not readable: slices may be lacking; copy or export it again",)


def surveyed(files: Iterable[Member]) -> Survey:
    """Read the header of every file; what is no DICOM is passed over."""
    headers = Headers()
    planes: list[Plane] = []
    damaged: list[tuple[Member, FileError]] = []
    lost: Counter[str] = Counter()
    for member in files:
        try:
            found = headers.planes(member)
            if found is None and not any(member.head(_HEAD_BYTES)[0]):
                lost[member.folder] += 1
        except FileError as error:
            damaged.append((member, error))
            lost[member.folder] += 1
        else:
            planes += found or ()
    return Survey(tuple(planes), tuple(damaged), lost)
