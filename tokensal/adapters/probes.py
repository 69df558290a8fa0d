"""Where a template shows what it was given, found out without searching for it in the text.

A template never says where it puts the words of a message. It may strip a content, cut it at "</think>", leave it out,
or look different for what it says. So it is asked, with *probes*:

1. Put a character that occurs nowhere else into a text, and render again. Where the rendering is the same but for
   that character, it stands where that place of the text stands. Else that place is not shown.
2. One rendering, with probes at both ends of every part that is asked for, nearly always answers for all of them.
3. Where it does not, the first and the last place that are shown are sought: from the ends inward in steps that
   double, then by halves. All that lies between the two counts as the part.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tokensal.questions.units import Span

Place = tuple[int, int]  # which of the texts, and before which of its characters
PRIVATE = range(0xF0000, 0xFFFFE)  # characters that mean nothing to anyone


@dataclass(frozen=True, slots=True)
class Part:
    """The characters from `start` to `stop` of one of the texts."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Rendering:
    """Texts, the function that renders them (it returns None where it refuses), and what they look like rendered."""

    render: Callable[[Sequence[str]], str | None]
    texts: Sequence[str]
    whole: str


class Untold(Exception):
    """A text is altered in a way that probes cannot follow."""


def located(rendering: Rendering, parts: Sequence[Part]) -> list[Span]:
    """Where each part stands in the rendering, as (start, stop); start = stop for what is not shown.

    Raises:
        Untold: a part is shown backwards; or with a probe in it the rendering is another one, wherever that is put.
    """
    places = [(part.number, end) for part in parts for end in (part.start, part.stop)]
    found = _probed(rendering, places) or {}
    spans = []
    for part in parts:
        start, stop = found.get((part.number, part.start)), found.get((part.number, part.stop))
        spans.append(_sought(rendering, part) if start is None or stop is None else (start, stop))
    if any(start > stop for start, stop in spans):
        raise Untold
    return spans


def _sought(rendering: Rendering, part: Part) -> Span:
    """The first and the last place of a part that are shown, found from one between them, of which more are tried."""

    @cache
    def place(position: int) -> int | None:
        return (_probed(rendering, [(part.number, position)]) or {}).get((part.number, position))

    text = rendering.texts[part.number][part.start : part.stop]
    left = part.stop - len(text.lstrip())  # what stands between white space
    right = max(left, part.start + len(text.rstrip()))
    ranges = range(left, right + 1), range(left, part.start - 1, -1), range(right, part.stop + 1)
    between = next(filter(None, (_first(place, one) for one in ranges)), None)
    if between is None:
        return _left_out(rendering, [(part.number, left), (part.number, right)])
    first = _first(place, range(part.start, between[0] + 1)) or between
    last = _first(place, range(part.stop, between[0] - 1, -1)) or between
    return first[1], last[1]


def _first(place: Callable[[int], int | None], positions: Sequence[int]) -> tuple[int, int] | None:
    """The first of the positions that is shown, and where; once one is, those after it are taken to be."""
    missed, index = -1, 0
    while index < len(positions) - 1 and place(positions[index]) is None:
        missed, index = index, min(2 * index + 1, len(positions) - 1)
    index = bisect_left(range(index), True, lo=missed + 1, key=lambda index: place(positions[index]) is not None)
    where = place(positions[index])
    return None if where is None else (positions[index], where)


def _left_out(rendering: Rendering, places: Sequence[Place]) -> Span:
    """Nowhere, for a part that shows no probe; but one that shows neither it nor the same rendering is altered."""
    if any(_probed(rendering, [place]) is None for place in places):
        raise Untold
    return 0, 0


def _probed(rendering: Rendering, places: Iterable[Place]) -> dict[Place, int] | None:
    """Where those of the places that are shown stand; None if, apart from the probes, the rendering is another one."""
    taken = {*rendering.whole}.union(*rendering.texts)
    free = (character for character in map(chr, PRIVATE) if character not in taken)
    probes = dict(zip(free, set(places), strict=False))
    rendered = rendering.render(_with(rendering.texts, probes))
    if rendered is None or "".join(c for c in rendered if c not in probes) != rendering.whole:
        return None
    seen = [index for index, character in enumerate(rendered) if character in probes]
    found = {probes[rendered[index]]: index - before for before, index in enumerate(seen)}
    return found if len(found) == len(seen) else None  # otherwise something is shown twice


def _with(texts: Sequence[str], probes: Mapping[str, Place]) -> list[str]:
    """The texts with the probes put in, from the last place to the first."""
    written = list(texts)
    for (number, position), probe in sorted(((place, probe) for probe, place in probes.items()), reverse=True):
        written[number] = written[number][:position] + probe + written[number][position:]
    return written
