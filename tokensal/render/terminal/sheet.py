"""What the parts of a terminal page share: the sheet they are drawn on, and how tokens and numbers are written."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style

from tokensal.render.labels import Label
from tokensal.render.layout import Cell, Heatmap
from tokensal.render.terminal.cells import Line, Run, abridged, cut, drawn, isolated
from tokensal.render.terminal.colours import Ink, attribute, shading
from tokensal.types import Role

GENERATED, UNWRITTEN, SINK, ABOVE, BELOW = "›", "≠", "†", "↑", "↓"
OWN_MARKS = {Role.GENERATED: GENERATED, Role.CONTRAST: UNWRITTEN}
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
NOT_UNDERLINED = Style(underline=False)

NARROWEST = 20  # cells; a narrower terminal is treated as this wide
NAME = 16  # cells of a token's name in a list
HEAD = 12  # cells of a name above a column


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is drawn, with what, and how wide. `ordinals` tell sources apart whose names look the same."""

    heatmap: Heatmap
    ordinals: tuple[str, ...]
    ink: Ink
    width: int


def sheet_of(heatmap: Heatmap, ink: Ink, width: int) -> Sheet:
    """A sheet `width` cells wide, but not narrower than can be read."""
    return Sheet(heatmap, _ordinals(heatmap.sources), ink, max(width, NARROWEST))


def _ordinals(labels: Sequence[Label]) -> tuple[str, ...]:
    total, seen, ordinals = Counter(label.name for label in labels), Counter[str](), []
    for label in labels:
        seen[label.name] += 1
        ordinals.append(str(seen[label.name]).translate(SUBSCRIPTS) if total[label.name] > 1 else "")
    return tuple(ordinals)


def bracketed(label: Label, text: str) -> str:
    """A special token looks like one: most come with brackets of their own."""
    text = drawn(text)
    return f"⟨{text}⟩" if label.special and (text[0], text[-1]) not in (("<", ">"), ("[", "]")) else text


def token_style(sheet: Sheet, label: Label, shade: float) -> Style:
    """The style of a token: the colour of its score, italic where the model wrote it."""
    style = shading(sheet.ink, shade)
    if label.role is Role.GENERATED:
        style += attribute(sheet.ink, "italic")
    if (
        label.special or label.role is Role.TEMPLATE
    ) and not style.bgcolor:  # on a colour, dim text would be hard to read
        style += attribute(sheet.ink, "dim")
    return style


def source_name(sheet: Sheet, source: int, width: int) -> str:
    """How a list calls a source, in at most `width` cells: its name among its marks."""
    label = sheet.heatmap.sources[source]
    before = OWN_MARKS.get(label.role, "")
    after = sheet.ordinals[source] + (SINK if label.sink else "")
    name = isolated(abridged(bracketed(label, label.name), width - len(before + after)))
    return cut(before + name + after, width)


def target_name(sheet: Sheet, target: int, width: int) -> str:
    """How a list calls a target, in at most `width` cells."""
    label = sheet.heatmap.targets[target]
    return isolated(abridged(bracketed(label, label.name), width))


def letters_underlined(text: str, style: Style) -> Line:
    """One run, or two where the style underlines: the spaces before the letters stay free of the line."""
    inner = text.lstrip(" ")
    if not style.underline or not inner or inner == text:
        return [Run(text, style)]
    return [Run(text[: -len(inner)], style + NOT_UNDERLINED), Run(inner, style)]


def written(value: float | None, signed: bool, like: float | None = None) -> str:
    """A number with as many decimals as its own size asks for, or that of a number `like` it; none for NaN."""
    if value is None or not math.isfinite(value):
        return ""
    if value == 0:
        return "0"
    about = abs(value if like is None else like)
    sign = "+" if signed else ""
    if not 0.001 <= about < 100_000:
        return re.sub(r"e([+-])0?", lambda found: "e" + found[1].strip("+"), f"{value:{sign}.1e}")
    decimals = 2 if 0.1 <= about < 10 else 1 if 10 <= about < 100 else max(0, 1 - math.floor(math.log10(about)))
    rounded = f"{value:{sign}.{decimals}f}"
    return rounded if float(rounded) else "0"


def span(limit: float, signed: bool) -> str:
    """A scale in words."""
    return f"±{written(limit, False)}" if signed else f"0 … {written(limit, False)}"


def clip_mark(shade: float, clipped: bool) -> str:
    """The mark of a score outside the scale."""
    return (ABOVE if shade > 0 else BELOW) if clipped else ""


def sink_apart(sheet: Sheet) -> Cell | None:
    """The sink in the sum over the targets, where it was left out of the scale."""
    return next((cell for cell in sheet.heatmap.overview.cells if cell.apart and cell.value is not None), None)


def score_name(sheet: Sheet) -> str:
    """What is explained, in a word that fits the head of a column."""
    return cut(dict(sheet.heatmap.caption).get("score", "score"), HEAD)
