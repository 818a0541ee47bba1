"""One PNG that shows before and after: for each prompt and seed the base row over the adapter row."""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vader_core.files import write_whole

PICTURES_PER_ROW = 8
_ROW_PIXELS = 96
_MARGIN = 16
_LABEL_PIXELS = 84
_TITLE, _CAPTION, _LABEL = 22, 17, 15
_INK, _PALE, _PAPER = (24, 24, 27), (113, 113, 122), (255, 255, 255)
_BETTER, _WORSE = (21, 128, 61), (185, 28, 28)


@dataclass(frozen=True)
class SheetRow:
    """One pair: its prompt, seed, both scores where there are any, and the strips of both videos."""

    prompt: str
    seed: int
    base_score: float | None
    adapter_score: float | None
    base_strip: Path
    adapter_strip: Path


def write_sheet(path: Path, rows: list[SheetRow], *, title: str) -> None:
    """Writes `path` with the pairs in one column, or in two when there are more than four."""
    blocks = [_block(row) for row in rows]
    columns = 2 if len(blocks) > 4 else 1
    width = max((block.width for block in blocks), default=640)
    header = _text_height(_TITLE) + 2 * _MARGIN
    per_column = -(-len(blocks) // columns)
    tallest = max((block.height for block in blocks), default=0)
    size = (columns * width, header + per_column * tallest)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, font=_font(_TITLE), fill=_INK)
    for number, block in enumerate(blocks):
        column, place = divmod(number, per_column)
        sheet.paste(block, (column * width, header + place * tallest))
    target = io.BytesIO()
    sheet.save(target, format="PNG", optimize=True)
    write_whole(path, target.getvalue())


def _block(row: SheetRow) -> Image.Image:
    """Caption, base row, adapter row."""
    strips = [_strip(row.base_strip), _strip(row.adapter_strip)]
    width = _LABEL_PIXELS + max(strip.width for strip in strips) + 2 * _MARGIN
    caption = _caption_lines(row, width - 2 * _MARGIN)
    line_height = _text_height(_CAPTION)
    top = len(caption) * line_height + 6
    height = top + 2 * (_ROW_PIXELS + 4) + _MARGIN
    block = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(block)
    for number, text in enumerate(caption):
        draw.text((_MARGIN, number * line_height), text, font=_font(_CAPTION), fill=_INK)
    labelled = [("base", row.base_score, _PALE), ("adapter", row.adapter_score, _ink(row))]
    for number, ((label, score, colour), strip) in enumerate(zip(labelled, strips, strict=True)):
        y = top + number * (_ROW_PIXELS + 4)
        draw.text((_MARGIN, y + 26), label, font=_font(_LABEL), fill=_INK)
        shown = "" if score is None else f"{score:.3f}"
        draw.text((_MARGIN, y + 46), shown, font=_font(_LABEL), fill=colour)
        block.paste(strip, (_MARGIN + _LABEL_PIXELS, y))
    return block


def _ink(row: SheetRow) -> tuple[int, int, int]:
    """The colour of the adapter's score."""
    if row.base_score is None or row.adapter_score is None:
        return _PALE
    return _BETTER if row.adapter_score >= row.base_score else _WORSE


def _caption_lines(row: SheetRow, width: int) -> list[str]:
    """The prompt, at most two lines long, with its seed."""
    fitting = max(int(width / (_CAPTION * 0.55)), 20)
    text = f"{row.prompt}  (seed {row.seed})"
    return textwrap.wrap(text, fitting, max_lines=2, placeholder=" ...")


def _strip(path: Path) -> Image.Image:
    with Image.open(path) as stored:
        stored.load()
        width = round(stored.width * _ROW_PIXELS / stored.height)
        return stored.convert("RGB").resize((width, _ROW_PIXELS), Image.Resampling.LANCZOS)


def _text_height(size: int) -> int:
    return round(size * 1.35)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
