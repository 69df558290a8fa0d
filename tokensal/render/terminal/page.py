"""What the parts of a terminal page share: the page they are drawn on, and how tokens look there."""

from __future__ import annotations

from dataclasses import dataclass

from rich.style import Style

from tokensal.render.layout.heatmap import Heatmap
from tokensal.render.layout.labels import Label, cut, shortened
from tokensal.render.layout.legend import GENERATED, SINK, UNWRITTEN
from tokensal.render.terminal.colours import Colours, attribute, shading
from tokensal.render.terminal.lines import Line, Run, Word, fill, isolated, standing_alone, words
from tokensal.types import Role

MARKS_OF_ROLES = {Role.GENERATED: GENERATED, Role.CONTRAST: UNWRITTEN}
NOT_UNDERLINED = Style(underline=False)

NARROWEST = 20  # cells; a narrower terminal is treated as this wide
NAME = 16  # cells of a token's name in a list
HEAD = 12  # cells of a name above a column


@dataclass(frozen=True, slots=True)
class Page:
    """What is drawn, in which colours, and how wide."""

    heatmap: Heatmap
    colours: Colours
    width: int

    def faint(self, text: str) -> list[Line]:
        """A text of less weight, in as many lines as it takes."""
        return fill(self.faint_words(text), self.width)

    def faint_words(self, text: str) -> list[Word]:
        return words(text, attribute(self.colours, "dim"))


def page_of(heatmap: Heatmap, colours: Colours, width: int) -> Page:
    """A page `width` cells wide, but not narrower than can be read."""
    return Page(heatmap, colours, max(width, NARROWEST))


def bracketed(label: Label, text: str) -> str:
    """The text of a token, by itself; a special one looks like one."""
    return in_brackets(standing_alone(text)) if label.special else standing_alone(text)


def in_brackets(text: str) -> str:
    """A text in brackets: most special tokens come with their own."""
    return text if (text[0], text[-1]) in (("<", ">"), ("[", "]")) else f"⟨{text}⟩"


def token_style(page: Page, label: Label, shade: float) -> Style:
    """The style of a token: the colour of its score, italic where the model wrote it."""
    style = shading(page.colours, shade)
    if label.role is Role.GENERATED:
        style += attribute(page.colours, "italic")
    # on a colour, dim text would be hard to read
    if (label.special or label.role is Role.TEMPLATE) and not (style.bgcolor or label.explained):
        style += attribute(page.colours, "dim")
    return style


def source_name(page: Page, source: int, width: int) -> str:
    """How a list calls a source, in at most `width` cells: its name among its marks."""
    label = page.heatmap.sources[source]
    before = MARKS_OF_ROLES.get(label.role, "")
    after = label.ordinal + (SINK if label.sink else "")
    name = isolated(shortened(bracketed(label, label.name), width - len(before + after)))
    return cut(before + name + after, width)


def target_name(page: Page, target: int, width: int) -> str:
    """How a list calls a target, in at most `width` cells."""
    label = page.heatmap.targets[target]
    return isolated(shortened(bracketed(label, label.name), width))


def letters_underlined(text: str, style: Style) -> Line:
    """One run, or two where the style underlines: the spaces before the letters stay free of the line."""
    inner = text.lstrip(" ")
    if not style.underline or not inner or inner == text:
        return [Run(text, style)]
    return [Run(text[: -len(inner)], style + NOT_UNDERLINED), Run(inner, style)]
