"""What a case may be called: names that may be a person's, a date of birth or a hospital's number leave no reader."""

import os
import re
from hashlib import sha256

_NUMBERED = re.compile(
    r"[0-9]{1,4}|(?:case|patient|subject|pat|sub|study|scan|id|p|s)[-_]?[0-9]{1,5}|sim-?[0-9]{1,9}", re.IGNORECASE
)
_PERSONAL = re.compile(
    r"[0-9]{8}|(?:19|20)[0-9]{2}[-_.][01][0-9][-_.][0-3][0-9]|[0-3][0-9][-_.][01][0-9][-_.](?:19|20)[0-9]{2}"
)
_HASHED = re.compile(r"case-[0-9a-f]{8}")


def public_id(name: str) -> str | None:
    """A folder's name as an id where it is a number of up to 4 digits, or of 5 after a usual word; else None.

    A free name may be a person's, and a longer number a date of birth or a hospital's.

    >>> public_id("patient_012"), public_id("0042"), public_id("Smith"), public_id("19560412")
    ('patient_012', '0042', None, None)
    """
    return name if _NUMBERED.fullmatch(name) else None


def own_id(name: str) -> str:
    """The id that a dataset gives itself, as BIDS and nnU-Net do; hashed where it holds a date or 8 digits in a row.

    >>> own_id("stroke0001"), own_id("Smith_John_19560412"), own_id("x_1956-04-12")
    ('stroke0001', 'case-c44bb9c7', 'case-2c352eeb')
    """
    return name if _PERSONAL.search(name) is None or _HASHED.fullmatch(name) else hashed(name)


def own_label(label: str) -> str:
    """A label of BIDS, the X of `sub-X`, by the same rule.

    >>> own_label("01"), own_label("19560412")
    ('01', 'fc856461')
    """
    return own_id(label).removeprefix("case-") if _PERSONAL.search(label) else label


def hashed(name: str) -> str:
    """`case-` and 8 hexadecimal digits of the SHA-256 of a name, of whatever bytes it is.

    Whoever has a list of names can find which one it is: it keeps names out of reports, and is no anonymisation.
    """
    return f"case-{sha256(os.fsencode(name)).hexdigest()[:8]}"
