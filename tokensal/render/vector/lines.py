"""Lines: running text broken at a width, ragged right.

1. An item is text in one fill; a line may end before an item that is free to begin one, and at the spaces inside one.
2. What may not be parted is put on the next line where it does not fit on this one. What is wider than a whole line
   is parted between its items, and an item between its characters.
3. Spaces at which a line was broken are not drawn; those behind a real line break indent.
4. Text that is read from the right runs to the left (see `bidi`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from uniseg.graphemecluster import grapheme_clusters

from tokensal.render.layout.palette import Colour
from tokensal.render.vector.fonts import PLAIN, Style

CODE = re.compile(r"(⟨U\+[0-9A-F]+⟩)")


@dataclass(frozen=True, slots=True)
class Item:
    """Text in one fill and one style.

    `gap` is the white space before it, `free` whether a line may end there, `breaks` how many lines end behind it.
    `mark` is a raised sign behind the text. What is `ours` is no text of anybody's, and read from the left.
    """

    text: str
    size: float
    gap: str = ""
    style: Style = PLAIN
    colour: Colour = (0, 0, 0)
    free: bool = True
    breaks: int = 0
    shade: float = 0.0
    source: int | None = None
    mark: str = ""
    about: str = ""
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Atom:
    """Part `number` of an item's text that no line break parts: `width` includes its mark, `indent` is that of its gap.

    `item` is the number of the item.
    """

    item: int
    text: str
    gap: str
    indent: float
    width: float
    free: bool
    mark: str = ""


Measure = Callable[[str, Item], float]


def broken(items: Sequence[Item], measure: Measure, width: float, first: float = 0.0) -> list[list[Atom]]:
    """The lines of a text, the first of which has `first` points less than the others.

    Args:
        items: the text.
        measure: how wide a text is in the size and style of an item.
        width: the width of a line, in points.
        first: what the first line holds already.
    """
    lines: list[list[Atom]] = [[]]
    for number, paragraph in enumerate(_paragraphs(items, measure)):
        if number:
            lines.append([])
        for chunk in _chunks(paragraph):
            _place(lines, chunk, width, lambda: first if len(lines) == 1 else 0.0, items, measure)
    return lines


def _place(
    lines: list[list[Atom]],
    chunk: list[Atom],
    width: float,
    taken: Callable[[], float],
    items: Sequence[Item],
    measure: Measure,
) -> None:
    """Put what belongs together on the last line, or on a new one."""
    if lines[-1] and taken() + _extent([*lines[-1], *chunk]) > width:
        lines.append([])
        chunk = [replace(chunk[0], gap="", indent=0.0), *chunk[1:]]
    if taken() + _extent([*lines[-1], *chunk]) <= width:
        lines[-1].extend(chunk)
        return
    if not lines[-1] and taken() and _extent(chunk) <= width:
        lines.append(chunk)
        return
    for atom in chunk:
        room = width - taken() - _extent(lines[-1]) - atom.indent
        if atom.width <= room:
            lines[-1].append(atom)
        elif atom.width <= width:
            lines.append([replace(atom, gap="", indent=0.0)])
        else:
            first, *others = _cut(atom, items[atom.item], measure, room, width)
            lines[-1].extend([first] if first.text else [])
            lines.extend([other] for other in others)


def _cut(atom: Atom, item: Item, measure: Measure, room: float, width: float) -> list[Atom]:
    """An atom that is wider than a line: what fits into the room, which may be nothing, and a piece for each line."""
    pieces, piece, reach = list[str](), "", 0.0
    for cluster in _clusters(atom.text):
        step = measure(cluster, item)
        if reach + step > (width if pieces else room) and (piece or not pieces):
            pieces.append(piece)
            piece, reach = "", 0.0
        piece, reach = piece + cluster, reach + step
    first, *others = (*pieces, piece)
    bare = replace(atom, gap="", indent=0.0, mark="")
    atoms = [replace(bare, text=text, width=min(measure(text, item), width)) for text in others]
    mark = measure(atom.mark, item) if atom.mark else 0.0
    last = replace(atoms[-1], mark=atom.mark, width=atoms[-1].width + mark)
    return [replace(atom, text=first, width=measure(first, item), mark=""), *atoms[:-1], last]


def _clusters(text: str) -> Iterator[str]:
    """What a line break does not part: a character with its accents, and the code of one that no font has."""
    for part in CODE.split(text):
        yield from [part] if CODE.fullmatch(part) else part if part.isascii() else grapheme_clusters(part)


def _extent(atoms: Sequence[Atom]) -> float:
    return sum(atom.indent + atom.width for atom in atoms)


def _paragraphs(items: Sequence[Item], measure: Measure) -> Iterator[list[Atom]]:
    """The atoms between two real line breaks."""
    paragraph: list[Atom] = []
    for number, item in enumerate(items):
        paragraph.extend(_atoms(number, item, measure))
        for _ in range(item.breaks):
            yield paragraph
            paragraph = []
    if paragraph or not items or not items[-1].breaks:
        yield paragraph


def _atoms(number: int, item: Item, measure: Measure) -> Iterator[Atom]:
    """The words of an item; a space that ends it belongs to the last one."""
    if not item.text:
        return
    words, start = [], 0
    for end in range(1, len(item.text)):
        if item.text[end - 1] == " " and item.text[end] != " " and item.text[start:end].strip(" "):
            words.append(item.text[start:end])
            start = end
    words.append(item.text[start:])
    gap = item.gap
    for index, word in enumerate(words):
        last = index == len(words) - 1
        text = word if last else word.rstrip(" ")
        mark = item.mark if last else ""
        width = measure(text, item) + (measure(mark, item) if mark else 0.0)
        indent = measure(gap, item) if gap else 0.0
        yield Atom(number, text, gap, indent, width, item.free if index == 0 else True, mark)
        gap = word[len(text) :]


def _chunks(atoms: Sequence[Atom]) -> Iterator[list[Atom]]:
    """Atoms between two places at which a line may end."""
    chunk: list[Atom] = []
    for atom in atoms:
        if chunk and atom.free:
            yield chunk
            chunk = []
        chunk.append(atom)
    if chunk:
        yield chunk
