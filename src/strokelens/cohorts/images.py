"""Image files of any kind that is read: NIfTI, and MetaImage with the extra `itk`."""

from pathlib import Path

from strokelens.cohorts import decode, itk
from strokelens.cohorts.decode import Header, Scan


def read_header(path: Path) -> Header:
    """The header alone; raises as `decode.read_header` and `itk.read_header` do."""
    return itk.read_header(path) if itk.is_mha(path) else decode.read_header(path)


def read_scan(path: Path) -> Scan:
    """The whole file; raises as `decode.read_scan` and `itk.read_scan` do."""
    return itk.read_scan(path) if itk.is_mha(path) else decode.read_scan(path)
