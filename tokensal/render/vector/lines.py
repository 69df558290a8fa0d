"""Lines: running text broken at a width, ragged right.

1. An item is text in one fill; a line may end before an item that is free to begin one, and at the spaces inside one.
2. What may not be parted is put on the next line where it does not fit on this one. What is wider than a whole line
   is parted between its items, and an item between its characters.
3. Spaces at which a line was broken are not drawn; those behind a real line break indent.
4. Text that is read from the right runs to the left (see `bidi`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from uniseg.graphemecluster import grapheme_clusters

from tokensal.render.layout.palette import Colour
from tokensal.render.vector.fonts import PLAIN, Style

LONGEST = 500  # characters that are tried at once where one item is wider than a line


@dataclass(frozen=True, slots=True)
class Item:
    """Text in one fill and one style.

    `gap` is the white space before it, `free` whether a line may end there, `breaks` how many lines end behind it.
    `mark` is a raised sign behind the text.
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
        rest: Atom | None = atom
        while rest is not None:
            room = width - taken() - _extent(lines[-1]) - (rest.indent if lines[-1] else 0.0)
            head, rest = _parted(rest, room, items[rest.item], measure, least=not lines[-1])
            if head is not None:
                lines[-1].append(head)
            if rest is not None:
                lines.append([])


def _parted(atom: Atom, room: float, item: Item, measure: Measure, *, least: bool) -> tuple[Atom | None, Atom | None]:
    """What of an atom fits in the room, and what is left; where `least`, at least one character fits."""
    if atom.width <= room:
        return atom, None
    clusters = list(grapheme_clusters(atom.text[:LONGEST]))
    low, high = 0, len(clusters)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if measure("".join(clusters[:middle]), item) <= room else (low, middle - 1)
    count = max(low, int(least))
    head = "".join(clusters[:count])
    tail = atom.text[len(head) :]
    if not tail:
        return (atom, None) if least else (None, replace(atom, gap="", indent=0.0))
    mark = measure(atom.mark, item) if atom.mark else 0.0
    # of a long rest a difference will do, as it is parted again
    rest = measure(tail, item) + mark if len(tail) <= LONGEST else atom.width - measure(head, item)
    left = replace(atom, text=tail, gap="", indent=0.0, width=rest)
    if not count:
        return None, replace(left, width=atom.width)
    return replace(atom, text=head, width=measure(head, item), mark=""), left


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
