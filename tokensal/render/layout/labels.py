"""How units look and are called in every format: labels that are safe to draw, never empty, never zero columns wide.

cut        a text to a width, measured in terminal cells: an ideograph takes two, an accent none
shortened  a text to a width, of which the end is seen as well
subject    the first words of a prompt
breakable  whether a line may end between two texts
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rich.cells import cell_len, chop_cells

from tokensal.drawable import PICTURES, drawable
from tokensal.types import Role, Unit

PIECE = "‿"  # a further token of the character drawn before it
EMPTY = "∅"  # a token without text
SUBJECT = 40  # cells of the first words of a prompt
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True, slots=True)
class Label:
    """How one unit looks.

    `pieces` are its lines in running text, and keep their spaces; `name` is for lists and shows spaces as ␣ where
    nothing else is left. `lines` is how many line breaks end the unit, or stand between it and the next; running
    text breaks there, too. `ordinal` tells units of one name apart: ₁, ₂, … in their order; empty for the others.
    `explained` says of a source that it is (part of) a target, too: it is never drawn with less weight than others.
    """

    pieces: tuple[str, ...]
    name: str
    lines: int
    role: Role
    special: bool
    sink: bool
    ordinal: str = ""
    explained: bool = False

    @property
    def text(self) -> str:
        """All of it as it is drawn."""
        return "".join(self.pieces)

    @property
    def unit(self) -> bool:
        """Whether it is several words that are credited as one."""
        return len(self.text.split()) > 1


def labels(units: Sequence[Unit], sink: int | None = None, text: str = "") -> tuple[Label, ...]:
    """The labels of units; with the text they are from, a line break between two of them belongs to the first."""
    gaps = [_gap(text, before, after) for before, after in pairwise(units)]
    pairs = zip(units, [*gaps, 0], strict=False)  # without a unit there is no gap behind it
    return _numbered([label(unit, lines, sink=index == sink) for index, (unit, lines) in enumerate(pairs)])


def _gap(text: str, before: Unit, after: Unit) -> int:
    """The line breaks between two neighbours; between the answer and what was not written is the end of the answer."""
    if (before.role is Role.CONTRAST) != (after.role is Role.CONTRAST):
        return 0
    return text[before.stop : after.start].count("\n")


def _numbered(unnumbered: Sequence[Label]) -> tuple[Label, ...]:
    """The labels, with ordinals for those of one name."""
    total, count, numbered = Counter(label.name for label in unnumbered), Counter[str](), []
    for label in unnumbered:
        count[label.name] += 1
        ordinal = str(count[label.name]).translate(SUBSCRIPTS) if total[label.name] > 1 else ""
        numbered.append(replace(label, ordinal=ordinal))
    return tuple(numbered)


def label(unit: Unit, lines: int = 0, *, sink: bool = False) -> Label:
    """The label of a unit with so many line breaks behind it, besides its own."""
    pieces = _pieces(unit)
    lines += len(unit.text) - len(unit.text.rstrip("\n"))
    name = name_in_lists("".join(pieces))
    if unit.against:
        name = f"{name}, not {name_in_lists(drawable(unit.against))}"
    return Label(pieces, name, lines, unit.role, unit.special, sink)


def _pieces(unit: Unit) -> tuple[str, ...]:
    """What is drawn, parted after each line break inside."""
    if not unit.text:
        return (PIECE if unit.stop > unit.start else EMPTY,)
    kept = unit.text.rstrip("\n")
    *inner, last = kept.split("\n")
    first, *others = (drawable(line) for line in (*(f"{line}\n" for line in inner), last + unit.text[len(kept) :]))
    if unicodedata.category(first[0]) in ("Mn", "Me", "Cf"):  # a mark with no letter of its own to sit on
        first = "◌" + first
    return (first, *others)


def name_in_lists(text: str) -> str:
    """A drawable text without the spaces around it, or with a picture for each where it is nothing else."""
    return text.strip() or "␣" * len(text)


def cut(text: str, width: int) -> str:
    """The text in at most `width` cells, with an ellipsis where something was cut off."""
    if cell_len(text) <= width:
        return text
    return chop_cells(text, width - 1)[0].rstrip(" ") + "…" if width > 1 else "…"[:width]


def shortened(text: str, width: int) -> str:
    """The text in at most `width` cells: of several words the first and the last ones, else what `cut` leaves."""
    if cell_len(text) <= width:
        return text
    words = text.split()
    count = 1
    while count < len(words) and cell_len(_ends(words, count + 1)) <= width:
        count += 1
    return _ends(words, count) if count > 1 else cut(text, width)


def _ends(words: Sequence[str], count: int) -> str:
    """So many words, from both ends in turn."""
    first = (count + 1) // 2
    return " ".join([*words[:first], "…", *words[len(words) - (count - first) :]])


def breakable(before: str, after: str) -> bool:
    """Whether a line may end between two tokens: at spaces, and beside ideographs, but not before punctuation."""
    if before.endswith(" ") or after.startswith(" "):
        return True
    beside_wide = 2 in (cell_len(before[-1]), cell_len(after[0]))
    return beside_wide and not unicodedata.category(after[0]).startswith("P")


def subject(sources: Sequence[Label]) -> str:
    """The first words of the prompt: of what the user says in a chat, whose beginning is often the same."""
    unread = (Role.TEMPLATE, Role.GENERATED, Role.CONTRAST)
    words = [label for label in sources if not label.special and label.role not in unread]
    words = [label for label in words if label.role is Role.USER] or words
    text = "".join(label.text + " " * bool(label.lines) for label in words).replace(PICTURES["\n"], " ")
    return cut(" ".join(text.split()), SUBJECT)
