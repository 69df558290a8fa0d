"""The pen: the measures of a figure, all in proportion to the size of its text, and texts set one behind the other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tokensal.render.layout.palette import WHITE, Colour, Paper, mixed
from tokensal.render.vector.fonts import ITALIC, PLAIN, Style, Typeface
from tokensal.render.vector.lines import Item, broken
from tokensal.render.vector.shapes import GREY, INK, Rule, Shape, Text

BODY = 9.0  # points, to which all other sizes are in proportion
LEAST = 5.5  # no text is smaller
ABOVE, BELOW, OVERHANG = 0.76, 0.22, 0.06  # of a fill, in em from the baseline and beyond the text
SIGN, SIGN_LINE = 0.26, 0.7  # of the rule of a negative: em below the baseline, points
RADIUS = 0.8  # points, at most
PALEST = 0.45  # of the rule's colour, under the weakest negative
VARIABLE = re.compile(r"(?<=log )p\b")  # set in italics: log p


@dataclass(frozen=True, slots=True)
class Pen:
    """How a figure is drawn: its width in points, the size of its text, its fonts and its colours."""

    width: float
    size: float
    typeface: Typeface
    paper: Paper

    def scaled(self, points: float) -> float:
        """A size of the specification, which is for text of 9 points; never less than 5.5 points."""
        return max(LEAST, points * self.size / BODY)

    @property
    def label(self) -> float:
        """The size of labels and of the legend."""
        return self.scaled(7.0)

    @property
    def number(self) -> float:
        """The size of numbers in cells."""
        return self.scaled(5.8)

    @property
    def note(self) -> float:
        """The size of notes."""
        return self.scaled(6.4)

    @property
    def head(self) -> float:
        """The size of the names of passages and sections, in capitals."""
        return self.scaled(5.6)

    @property
    def margin(self) -> float:
        """What is left free at either side, for fills that reach beyond their text."""
        return OVERHANG * self.size + 0.2

    @property
    def left(self) -> float:
        """Where a line begins."""
        return self.margin

    @property
    def right(self) -> float:
        """Where a line ends at the latest."""
        return self.width - self.margin

    def measure(self, text: str, size: float, style: Style = PLAIN) -> float:
        """The width of a text."""
        return self.typeface.width(text, size, style)

    def text(
        self, text: str, x: float, y: float, size: float, *, style: Style = PLAIN, colour: Colour = INK, about: str = ""
    ) -> Text:
        """A text that begins at x."""
        text = self.typeface.written(text)
        return Text(x, y, text, self.measure(text, size, style), size, style, colour, about=about, gap="\n")

    def heading(self, name: str, x: float, y: float, room: float) -> Text:
        """The name of a passage or section, in spaced grey capitals, cut where there is less room."""
        capitals = self.typeface.written(name.upper())
        tracking = 0.06 * self.head
        text = capitals
        while len(text) > 1 and self._tracked(text, tracking) > room:
            text = text[:-2].rstrip() + "…"
        about = name if text != capitals else ""
        width = self._tracked(text, tracking)
        return Text(x, y, text, width, self.head, PLAIN, GREY, tracking=tracking, about=about, gap="\n")

    def _tracked(self, text: str, tracking: float) -> float:
        return sum(self.measure(each, self.head) for each in text) + tracking * len(text)

    def paragraph(self, sentences: Sequence[str], top: float, left: float) -> tuple[list[Shape], float]:
        """Small grey sentences one behind the other, and where they end."""
        words = [Item(self.typeface.written(" ".join(sentences)), self.note, colour=GREY)]
        if not sentences:
            return [], top
        lines = broken(words, lambda text, item: self.measure(text, item.size), self.right - left)
        baseline, shapes = top, list[Shape]()
        for line in lines:
            baseline += 1.22 * self.note
            text = "".join(atom.gap + atom.text for atom in line)
            shapes.extend(self.sentence(text, left, baseline, self.note, colour=GREY))
        return shapes, baseline + 0.3 * self.note

    def sentence(self, text: str, x: float, y: float, size: float, *, colour: Colour = INK) -> list[Text]:
        """A text in which the p of log p is in italics."""
        return self.row(list(_with_variables(text)), x, y, size, colour=colour)

    def row(
        self, parts: Iterable[tuple[str, Style]], x: float, y: float, size: float, *, colour: Colour = INK
    ) -> list[Text]:
        """Texts one behind the other; the spaces at which they meet are gaps."""
        texts, space = list[Text](), ""
        for part, style in parts:
            written = self.typeface.written(part)
            core = written.strip(" ")
            before = written[: len(written) - len(written.lstrip(" "))] if core else written
            x, space = x + self.measure(before, size, style), space + before
            if not core:
                continue
            width = self.measure(core, size, style)
            texts.append(Text(x, y, core, width, size, style, colour, gap=space if texts else "\n"))
            space = written[len(before) + len(core) :]
            x += width + self.measure(space, size, style)
        return texts

    def extent(self, parts: Iterable[tuple[str, Style]], size: float) -> float:
        """The width of a row."""
        return sum(self.measure(self.typeface.written(text), size, style) for text, style in parts)

    def sign(
        self, x: float, y: float, length: float, shade: float = 1.0, source: int | None = None, about: str = ""
    ) -> Rule:
        """The rule that marks what is negative, paler where that is weak; y is its upper edge."""
        colour = mixed(WHITE, self.paper.rule_of_sign, PALEST + (1 - PALEST) * abs(shade))
        return Rule(x, y + SIGN_LINE / 2, length, SIGN_LINE, colour, source=source, about=about)


def _with_variables(text: str) -> Iterator[tuple[str, Style]]:
    end = 0
    for match in VARIABLE.finditer(text):
        yield text[end : match.start()], PLAIN
        yield match[0], ITALIC
        end = match.end()
    if text[end:]:
        yield text[end:], PLAIN
