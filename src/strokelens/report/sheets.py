"""What is written on and around a montage: letters on its tiles, a head, a legend, a foot, a colour bar."""

from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

from strokelens import __version__
from strokelens.flags import RESEARCH_USE
from strokelens.report import tiles
from strokelens.report.scales import Scale

PAGE, TEXT, MUTED = "#0e1318", "#e8eef4", "#a9b8c6"
"""The colours of the paper, of what is read, and of what is glanced at: the page's."""

GRAVE = "#b3001b"
"""What a warning stands on."""

_MARGIN, _HEAD, _FOOT, _LEAST_WIDTH = 24, 92, 52, 720
_BAR = (260, 12)


def letter(picture: Image.Image, place: str) -> None:
    """Write R and L, and the slice's height, on a tile."""
    pen = ImageDraw.Draw(picture)
    width, height = picture.size
    small = _font(max(12, width // 19))
    pen.text((6, height / 2), "R", TEXT, small, anchor="lm", stroke_width=2, stroke_fill="black")
    pen.text((width - 6, height / 2), "L", TEXT, small, anchor="rm", stroke_width=2, stroke_fill="black")
    pen.text((6, height - 6), place, TEXT, small, anchor="ls", stroke_width=2, stroke_fill="black")


def framed(
    sheet: Image.Image,
    case_id: str,
    line: str,
    legend: list[tuple[str, tuple[int, int, int]]],
    *,
    warning: str = "",
) -> Image.Image:
    """The montage below the case's id, a line of text and a legend, and above what it is not for.

    A `warning` stands on red instead of the line.
    """
    width = max(sheet.width, _LEAST_WIDTH)
    page = Image.new("RGB", (width + 2 * _MARGIN, sheet.height + _HEAD + _FOOT), PAGE)
    page.paste(sheet, (_MARGIN, _HEAD))
    pen = ImageDraw.Draw(page)
    title, plain = _font(22, bold=True), _font(17)
    left = float(page.width - _MARGIN)
    for name, colour in legend:
        left -= pen.textlength(name, plain)
        pen.text((left, 28), name, TEXT, plain, anchor="lm")
        pen.line((left - 34, 28, left - 10, 28), colour, 4)
        left -= 60
    pen.text((_MARGIN, 28), _shortened(pen, case_id, title, left - _MARGIN), TEXT, title, anchor="lm")
    shown = _shortened(pen, warning or line, plain, width - 16)
    if warning:
        pen.rounded_rectangle((_MARGIN, 50, _MARGIN + pen.textlength(shown, plain) + 16, 80), 5, GRAVE)
    pen.text((_MARGIN + (8 if warning else 0), 64), shown, TEXT if warning else MUTED, plain, anchor="lm")
    below = page.height - _FOOT / 2
    pen.text((_MARGIN, below), RESEARCH_USE, TEXT, plain, anchor="lm")
    about = f"R: patient's right · strokelens {__version__}"
    pen.text((page.width - _MARGIN, below), about, MUTED, plain, anchor="rm")
    return page


def colour_bar(page: Image.Image, scale: Scale) -> None:
    """Draw a map's colours and their values at the upper right of a framed montage."""
    left, top = page.width - _MARGIN - _BAR[0] - 10, 22
    page.paste(tiles.bar(scale).resize(_BAR), (left, top))
    pen = ImageDraw.Draw(page)
    for tick in scale.ticks:
        place = left + _BAR[0] * (tick - scale.low) / (scale.high - scale.low)
        pen.text((place, top + 18), f"{tick:.4g}", TEXT, _font(14), anchor="mt")


def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts", "ttf", name), size)


def _shortened(pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """The text on one line, cut with an ellipsis where it would not fit."""
    text = " ".join(text.split())
    while len(text) > 1 and pen.textlength(text, font) > room:
        text = text.removesuffix("…")[:-1] + "…"
    return text
