"""JPEG lossless (process 14, first-order prediction) by the standard, ITU-T T.81, Annex H; slow and obvious."""

import numpy as np
from jaxtyping import UInt16

_PRECISION = 16
_CODE_BITS = 5  # all 17 categories have codes of equal length: their own numbers


def encoded(pixels: UInt16[np.ndarray, "row column"]) -> bytes:
    """A JPEG stream of one component."""
    rows, columns = pixels.shape
    categories = _PRECISION + 1
    lengths = [categories if length == _CODE_BITS else 0 for length in range(1, 17)]
    table = bytes([0x00, *lengths, *range(categories)])
    frame = bytes([_PRECISION, *divmod(rows, 256), *divmod(columns, 256), 1, 1, 0x11, 0])
    scan = bytes([1, 1, 0x00, 1, 0, 0])  # one component, its table, predictor 1
    head = b"\xff\xd8" + _segment(0xC4, table) + _segment(0xC3, frame) + _segment(0xDA, scan)
    return head + _entropy(pixels) + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker, *divmod(len(content) + 2, 256)]) + content


def _entropy(pixels: UInt16[np.ndarray, "row column"]) -> bytes:
    bits = []
    for row in range(pixels.shape[0]):
        for column in range(pixels.shape[1]):
            if column:
                prediction = int(pixels[row, column - 1])
            else:
                prediction = int(pixels[row - 1, 0]) if row else 1 << (_PRECISION - 1)
            bits.append(_coded(int(pixels[row, column]) - prediction))
    joined = "".join(bits)
    joined += "1" * (-len(joined) % 8)
    packed = bytes(int(joined[at : at + 8], 2) for at in range(0, len(joined), 8))
    return packed.replace(b"\xff", b"\xff\x00")


def _coded(difference: int) -> str:
    """The category's code, and the bits that tell the difference within it."""
    difference = (difference + (1 << 15)) % (1 << 16) - (1 << 15)  # modulo 2¹⁶, from −32768
    if difference == -(1 << 15):
        return f"{_PRECISION:0{_CODE_BITS}b}"
    category = abs(difference).bit_length()
    if not category:
        return f"{0:0{_CODE_BITS}b}"
    value = difference if difference > 0 else difference + (1 << category) - 1
    return f"{category:0{_CODE_BITS}b}{value:0{category}b}"
