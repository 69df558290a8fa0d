"""The running text of a terminal page: the sources, each shaded as in the overview; what is explained is bold.

Where there is no colour, signs and sizes are written out: `Paris[+9]` stands for nine tenths of the scale.
Several words that are credited as one stand in ⟦brackets⟧.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokensal.render.layout.labels import Label, breakable, cut
from tokensal.render.layout.legend import CLIPPED, GENERATED, SINK
from tokensal.render.layout.numbers import MINUS
from tokensal.render.layout.rows import Cell
from tokensal.render.layout.sections import Section
from tokensal.render.terminal.colours import attribute
from tokensal.render.terminal.lines import Line, Run, Word, fill, right_to_left
from tokensal.render.terminal.page import Page, bracketed, letters_underlined, token_style
from tokensal.types import Role

OPEN, CLOSE = "⟦", "⟧"
NOTHING = Cell(-1, None, 0.0, clipped=False, apart=False)


def running_text(page: Page) -> list[Line]:
    """The sources as running text, and the targets that end it; what a section is stands above it.

    Lines end between words, and where a token ends in a line break.
    """
    return [line for section in page.heatmap.sections for line in _section(page, section)]


def _section(page: Page, section: Section) -> list[Line]:
    heading = [[Run(cut(f"── {section.name} ──", page.width), attribute(page.colours, "dim"))]] if section.name else []
    sources = page.heatmap.sources[section.start : section.stop]
    cells = [*page.heatmap.overview.cells[section.start : section.stop], *(NOTHING for _ in section.rest)]
    text: list[Word] = []
    before: Label | None = None
    for label, cell in zip((*sources, *section.rest), cells, strict=True):
        first, *others = _words(page, label, cell, before)
        if before is None or before.lines or breakable(before.text, label.text):
            text.append(first)
        else:
            text[-1] = Word([*text[-1].runs, *first.runs], first.breaks)
        text += others
        before = label
    return [*heading, *fill(text, page.width)]


def _words(page: Page, label: Label, cell: Cell, before: Label | None) -> Iterator[Word]:
    """A source in one style: one word, or those that are credited as one; it breaks where its text does."""
    style = token_style(page, label, cell.shade)
    if label.explained:
        style += attribute(page.colours, "bold")
    *lines, last = _running(page, label, cell, before)
    for line, breaks in [*((line, 1) for line in lines), (last, label.lines)]:
        *inner, end = re.findall(r" *[^ ]+(?: +$)?| +", line) if label.unit else [line]
        yield from (Word(letters_underlined(word, style)) for word in inner)
        yield Word(letters_underlined(end, style), breaks)


def _running(page: Page, label: Label, cell: Cell, before: Label | None) -> list[str]:
    """The lines of a source, with its marks before and behind."""
    first, *others = label.pieces if len(label.pieces) > 1 else [bracketed(label, label.text)]
    opening = OPEN if label.unit else ""
    if label.role is Role.GENERATED and (before is None or before.role is not Role.GENERATED):
        opening = GENERATED + opening
    inner = first.lstrip(" ")
    lines = [" " * (len(first) - len(inner)) + opening + inner, *others]
    lines[-1] = _marked(lines[-1], label, _marks(page, label, cell))
    return lines


def _marks(page: Page, label: Label, cell: Cell) -> str:
    marks = (SINK if label.sink else "") + (CLIPPED if cell.clipped else "")
    return marks if page.colours.available else marks + _tenths(cell.shade, page.heatmap.signed)


def _marked(line: str, label: Label, marks: str) -> str:
    """The end of a source, and its marks; of several words, they stand before the spaces that end these."""
    inner = line.rstrip(" ") if label.unit else line
    marks = f"\u2068{marks}\u2069" if marks and right_to_left(label.text) else marks
    return inner + (CLOSE if label.unit else "") + marks + line[len(inner) :]


def _tenths(shade: float, signed: bool) -> str:
    tenths = round(shade * 10) if abs(shade) >= 0.1 else 0
    number = f"{tenths:+d}" if signed else str(tenths)
    return f"[{number.replace('-', MINUS)}]" if tenths else ""
