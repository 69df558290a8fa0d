"""Markdown that says what it is given: CommonMark with the tables of GitHub, in which no text becomes markup.

    text     words of anybody's in running text
    code     a text in a code span
    fence    lines in a code block
    table    a table; its cells are Markdown
    facts    names and texts as a list

1. Of ASCII punctuation, what could begin or end a link, an image, HTML, an entity, emphasis, code, a formula or a cell
   is escaped everywhere; what means something only at the beginning of a line is escaped there (`line`).
2. GitHub also links what looks like an address, whatever is escaped. So the colon before // is escaped, and so is the
   full stop of "www."; an @ becomes code.
3. Names and facts of the layout are drawable: they have no line breaks and no invisible characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SPECIAL = re.compile(r"[\\`*_\[\]<>&|~$!]")
ADDRESS = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)
AT = re.compile(r"@")
NUMBERED = re.compile(r"(\d+)([.)])")
BACKTICKS = re.compile(r"`+")


def text(words: str) -> str:
    """A text of anybody's, in the middle of a line."""
    escaped = ADDRESS.sub(r"\\\g<0>", SPECIAL.sub(r"\\\g<0>", words))
    return AT.sub("`@`", escaped)


def line(markdown: str) -> str:
    """A line that begins no list, no heading and no rule."""
    stripped = markdown.lstrip(" \t")
    if stripped[:1] in ("-", "+", "=", "#"):
        return f"\\{stripped}"
    return NUMBERED.sub(r"\1\\\2", stripped, count=1) if NUMBERED.match(stripped) else stripped


def code(words: str) -> str:
    """A text in a code span, which shows it as it is."""
    ticks = _longer_than(words, 1)
    space = " " if words[:1] in ("`", " ") or words[-1:] in ("`", " ") else ""
    return f"{ticks}{space}{words}{space}{ticks}" if words.strip() else text(words)


def fence(lines: str, language: str) -> str:
    """Lines of code."""
    ticks = _longer_than(lines, 3)
    return f"{ticks}{language}\n{lines}\n{ticks}"


def _longer_than(words: str, least: int) -> str:
    longest = max((len(run) for run in BACKTICKS.findall(words)), default=0)
    return "`" * max(least, longest + 1)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """A table of cells that are Markdown already; `align` has l or r for each column.

    A bar in a cell's code span is escaped by the row: GitHub parts cells before it reads spans.
    """
    rules = ["---:" if side == "r" else "---" for side in align]
    return "\n".join(f"| {' | '.join(map(_cell, cells))} |" for cells in (heads, rules, *rows))


def _cell(markdown: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", markdown)


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and texts, a line each."""
    return "\n".join(f"- {text(name)}: {code(words)}" for name, words in pairs)
