"""Image files of any kind that is read: NIfTI and MetaImage."""

from pathlib import Path

from strokelens.cohorts import decode, metaimage
from strokelens.cohorts.decode import Header, Scan


def read_header(path: Path) -> Header:
    """The header alone; raises as `decode.read_header` and `metaimage.read_header` do."""
    return metaimage.read_header(path) if metaimage.is_mha(path) else decode.read_header(path)


def read_scan(path: Path) -> Scan:
    """The whole file; raises as `decode.read_scan` and `metaimage.read_scan` do."""
    return metaimage.read_scan(path) if metaimage.is_mha(path) else decode.read_scan(path)
