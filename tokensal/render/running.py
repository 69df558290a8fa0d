"""The running text of a terminal page: the sources, each shaded by its score summed over the targets.

Where there is no colour, signs and sizes are written out: `Paris[+9]` stands for nine tenths of the scale.
"""

from __future__ import annotations

import unicodedata

from rich.cells import cell_len

from tokensal.render.cells import Line, Word, fill, right_to_left
from tokensal.render.layout import Cell, Label
from tokensal.render.sheet import GENERATED, SINK, Sheet, bracketed, clip_mark, letters_underlined, token_style
from tokensal.types import Role


def running_text(sheet: Sheet) -> list[Line]:
    """The sources as running text, and the targets that end it.

    Lines end between words, and where a token ends in a line break.
    """
    text: list[Word] = []
    before: Label | None = None
    blanks = [Cell(-1, None, 0.0, clipped=False, apart=False) for _ in sheet.heatmap.rest]
    cells = (*sheet.heatmap.overview.cells, *blanks)
    for label, cell in zip((*sheet.heatmap.sources, *sheet.heatmap.rest), cells, strict=True):
        runs = letters_underlined(_running(sheet, label, cell, before), token_style(sheet, label, cell.shade))
        if before is None or before.lines or _breakable(before.text, label.text):
            text.append(Word(runs, label.lines))
        else:
            text[-1] = Word([*text[-1].runs, *runs], label.lines)
        before = label
    return fill(text, sheet.width)


def _running(sheet: Sheet, label: Label, cell: Cell, before: Label | None) -> str:
    text = bracketed(label, label.text)
    if label.role is Role.GENERATED and (before is None or before.role is not Role.GENERATED):
        inner = text.lstrip(" ")
        text = " " * (len(text) - len(inner)) + GENERATED + inner
    marks = (SINK if label.sink else "") + clip_mark(cell.shade, cell.clipped)
    if not sheet.ink.colours:
        marks += _tenths(cell.shade, sheet.heatmap.signed)
    return text + (f"\u2068{marks}\u2069" if marks and right_to_left(text) else marks)


def _breakable(before: str, after: str) -> bool:
    """Whether a line may end between two tokens: at spaces, and beside ideographs, but not before punctuation."""
    if before.endswith(" ") or after.startswith(" "):
        return True
    beside_wide = 2 in (cell_len(before[-1]), cell_len(after[0]))
    return beside_wide and not unicodedata.category(after[0]).startswith("P")


def _tenths(shade: float, signed: bool) -> str:
    tenths = round(shade * 10) if abs(shade) >= 0.1 else 0
    return f"[{tenths:+d}]" if tenths and signed else f"[{tenths}]" if tenths else ""
