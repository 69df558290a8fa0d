"""The order in which the words of a line are seen: a short form of the Unicode bidirectional algorithm.

1. A word is read from the right if its first letter is (Hebrew, Arabic), from the left if that is, and else neutral.
2. Neutral words between two of one direction have that direction, and otherwise that of the paragraph. Numbers are
   read from the left, but do not end what is read from the right.
3. Neighbours of one direction are a stretch. In a paragraph that is read from the right, so are its stretches.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

RIGHT, LEFT, NEUTRAL = "R", "L", "N"
STRONG = {"R": RIGHT, "AL": RIGHT, "L": LEFT}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Words `start` to `stop` of a line, all read `backwards` (from the right) or not."""

    start: int
    stop: int
    backwards: bool


def direction(text: str) -> str:
    """That of its first letter."""
    return next((STRONG[kind] for kind in map(unicodedata.bidirectional, text) if kind in STRONG), NEUTRAL)


def is_backwards(texts: Iterable[str]) -> bool:
    """Whether a paragraph is read from the right: its first letter is."""
    return next((each for each in map(direction, texts) if each != NEUTRAL), LEFT) == RIGHT


def stretches(texts: Sequence[str], *, backwards: bool) -> list[Stretch]:
    """The stretches of a line as they are seen, from left to right."""
    base = RIGHT if backwards else LEFT
    strong = [direction(text) for text in texts]
    resolved = [
        each if each != NEUTRAL else before if before == _first(strong[index:], base) else base
        for index, (each, before) in enumerate(zip(strong, _before(strong, base), strict=True))
    ]
    parts, end = [], 0
    for each, group in groupby(resolved):
        start, end = end, end + len(list(group))
        parts.append(Stretch(start, end, each == RIGHT))
    return parts[::-1] if backwards else parts


def _first(directions: Iterable[str], base: str) -> str:
    return next((each for each in directions if each != NEUTRAL), base)


def _before(directions: Iterable[str], base: str) -> list[str]:
    """For each place, the last direction before it."""
    last, result = base, []
    for each in directions:
        result.append(last)
        last = last if each == NEUTRAL else each
    return result
