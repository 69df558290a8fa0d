"""Where a chat template shows the texts of its messages, located without searching for them in the rendered text.

A template does not report where it puts the words of a message. It may strip a content, cut it at "</think>", leave it
out, or look different depending on what the content says. So it is rendered with *probes*:

1. Insert a character that occurs nowhere else into a text, and render again. If the rendering is the same except for
   that character, the character shows where that position of the text is rendered. Otherwise the position is not shown.
2. One rendering, with probes at both ends of every requested span, nearly always locates all of them.
3. If it does not, search for the first and the last position that are shown: from the ends inward in steps that
   double, then by bisection. All characters between the two count as the span.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tokensal.questions.units import Span

Position = tuple[int, int]  # the index of a text, and that of the character before which a probe goes
PRIVATE_USE = range(0xF0000, 0xFFFFE)  # characters without a meaning in Unicode


@dataclass(frozen=True, slots=True)
class TextSpan:
    """The characters from `start` to `stop` of the text with that index."""

    index: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Rendering:
    """Texts, the function that renders them (it returns None where it refuses), and their rendering."""

    render: Callable[[Sequence[str]], str | None]
    texts: Sequence[str]
    rendered: str


class TextNotLocated(Exception):
    """The template alters a text in a way that probes cannot follow."""


def locate(rendering: Rendering, spans: Sequence[TextSpan]) -> list[Span]:
    """The characters (start, stop) of the rendering that show each span; start = stop if it is not shown.

    Raises:
        TextNotLocated: a span is rendered backwards, or a probe anywhere in it changes the rest of the rendering.
    """
    ends = [(span.index, end) for span in spans for end in (span.start, span.stop)]
    rendered_ends = _probe(rendering, ends) or {}
    located = []
    for span in spans:
        start, stop = rendered_ends.get((span.index, span.start)), rendered_ends.get((span.index, span.stop))
        located.append(_search(rendering, span) if start is None or stop is None else (start, stop))
    if any(start > stop for start, stop in located):
        raise TextNotLocated
    return located


def _search(rendering: Rendering, span: TextSpan) -> Span:
    """Where the first and the last shown position of a span are rendered.

    Looks for any shown position first, and from there for the first and the last one.
    """

    @cache
    def rendered_at(position: int) -> int | None:
        return (_probe(rendering, [(span.index, position)]) or {}).get((span.index, position))

    text = rendering.texts[span.index][span.start : span.stop]
    left = span.stop - len(text.lstrip())  # the ends of what is not white space
    right = max(left, span.start + len(text.rstrip()))
    ranges = range(left, right + 1), range(left, span.start - 1, -1), range(right, span.stop + 1)
    inner = next(filter(None, (_first_shown(rendered_at, positions) for positions in ranges)), None)
    if inner is None:
        return _left_out(rendering, [(span.index, left), (span.index, right)])
    first = _first_shown(rendered_at, range(span.start, inner[0] + 1)) or inner
    last = _first_shown(rendered_at, range(span.stop, inner[0] - 1, -1)) or inner
    return first[1], last[1]


def _first_shown(rendered_at: Callable[[int], int | None], positions: Sequence[int]) -> tuple[int, int] | None:
    """The first of the positions that is shown, and where; assumes that those after a shown one are shown too."""
    hidden, index = -1, 0
    while index < len(positions) - 1 and rendered_at(positions[index]) is None:
        hidden, index = index, min(2 * index + 1, len(positions) - 1)
    index = bisect_left(range(index), True, lo=hidden + 1, key=lambda index: rendered_at(positions[index]) is not None)
    offset = rendered_at(positions[index])
    return None if offset is None else (positions[index], offset)


def _left_out(rendering: Rendering, positions: Sequence[Position]) -> Span:
    """An empty span, for text that is not shown.

    Raises:
        TextNotLocated: a probe in the text changes the rest of the rendering, so the text is altered, not left out.
    """
    if any(_probe(rendering, [position]) is None for position in positions):
        raise TextNotLocated
    return 0, 0


def _probe(rendering: Rendering, positions: Iterable[Position]) -> dict[Position, int] | None:
    """Where each shown position is rendered; None if the probes change the rest of the rendering, or appear twice."""
    used = {*rendering.rendered}.union(*rendering.texts)
    unused = (character for character in map(chr, PRIVATE_USE) if character not in used)
    probes = dict(zip(unused, set(positions), strict=False))
    probed = rendering.render(_insert(rendering.texts, probes))
    if probed is None or "".join(c for c in probed if c not in probes) != rendering.rendered:
        return None
    indices = [index for index, character in enumerate(probed) if character in probes]
    offsets = {probes[probed[index]]: index - before for before, index in enumerate(indices)}
    return offsets if len(offsets) == len(indices) else None


def _insert(texts: Sequence[str], probes: Mapping[str, Position]) -> list[str]:
    """The texts with the probes inserted, from the last position to the first."""
    inserted = list(texts)
    for (index, position), probe in sorted(((position, probe) for probe, position in probes.items()), reverse=True):
        inserted[index] = inserted[index][:position] + probe + inserted[index][position:]
    return inserted
