"""Styled text measured in terminal cells, not in characters: an ideograph takes two cells, an accent none.

fill     words into lines of a width
beside   columns of lines into a table
apart    blocks of lines into a page
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from rich.style import Style

PLAIN = Style.null()
JOINER = "\u200d"
ISOLATE, END_ISOLATE = "\u2068", "\u2069"  # what is between them has its own writing direction; they take no cell


@dataclass(frozen=True, slots=True)
class Run:
    """A text in one style."""

    text: str
    style: Style = PLAIN


Line = list[Run]


@dataclass(frozen=True, slots=True)
class Word:
    """Runs that stay on one line if they fit one; `breaks` line breaks follow them."""

    runs: Line
    breaks: int = 0


def size(line: Line) -> int:
    """The cells a line takes."""
    return sum(cell_len(run.text) for run in line)


def words(text: str, style: Style = PLAIN) -> list[Word]:
    """The words of a text, each with the spaces before it."""
    return [Word([Run(word, style)]) for word in re.findall(r" *[^ ]+", text)]


def fill(words: Iterable[Word], width: int) -> list[Line]:
    """Lines of at most `width` cells; a word that fits no line is broken between its runs, or else inside them.

    Spaces at which a line was broken are dropped. Of several line breaks in a row, two are shown.
    """
    lines: list[Line] = [[]]
    for word in words:
        runs = word.runs
        if lines[-1] and size(lines[-1]) + size(runs) > width:
            runs = _without_space(runs)
            lines.append([])
        for run in runs:
            _put(lines, run, width)
        lines.extend([] for _ in range(min(word.breaks, 2)))
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _without_space(runs: Line) -> Line:
    first = runs[0].text.lstrip(" ")
    if first:
        return [Run(first, runs[0].style), *runs[1:]]
    return runs[1:] or runs  # a token of spaces only is a token all the same


def _put(lines: list[Line], run: Run, width: int) -> None:
    used = size(lines[-1])
    if used + cell_len(run.text) <= width:
        lines[-1].append(run)
        return
    if used:
        lines.append([])
    pieces = [Run(piece, run.style) for piece in chop_cells(run.text, width)]
    lines[-1].append(pieces[0])
    lines.extend([piece] for piece in pieces[1:])


def beside(columns: Sequence[list[Line]], gap: int) -> list[Line]:
    """Columns of equally many lines side by side, `gap` cells apart; nothing is padded at the right end."""
    widths = [max(map(size, column), default=0) for column in columns]
    table: list[Line] = []
    for lines in zip(*columns, strict=True):
        joined: Line = []
        end = start = 0
        for line, width in zip(lines, widths, strict=True):
            if line:
                joined += [Run(" " * (start - end)), *line] if start > end else line
                end = start + size(line)
            start += width + gap
        table.append(joined)
    return table


def apart(blocks: Iterable[list[Line]]) -> list[Line]:
    """Blocks of lines one below the other, with an empty line between them; empty blocks are left out."""
    return [line for block in blocks if block for line in [*block, []]][:-1]


def plain(lines: list[Line]) -> str:
    """Lines as text without styles."""
    return "".join("".join(run.text for run in line).rstrip() + "\n" for line in lines)


def on_the_point(numbers: Sequence[str]) -> list[str]:
    """The numbers padded to one width, their decimal points one below the other."""
    heads = [number.partition(".")[0] for number in numbers]
    before = max(map(len, heads), default=0)
    shifted = [" " * (before - len(head)) + number for head, number in zip(heads, numbers, strict=True)]
    width = max(map(len, shifted), default=0)
    return [number.ljust(width) for number in shifted]


def standing_alone(text: str) -> str:
    """The text such that its neighbours do not join it: it has a width of its own, and no dangling joiner."""
    text = text.replace("◌" + JOINER, "◌").rstrip(JOINER)
    return text if cell_len(text) else "◌" + text


def right_to_left(text: str) -> bool:
    """Whether some of the text is written from right to left."""
    return not text.isascii() and any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in text)


def isolated(text: str) -> str:
    """The text such that its writing direction does not reorder what stands beside it."""
    return f"{ISOLATE}{text}{END_ISOLATE}" if right_to_left(text) else text
