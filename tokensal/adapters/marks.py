"""Marked passages: [[…]] in a text, or character spans beside it.

The first two of a run of opening brackets open a passage, the last two of a run of closing ones close it, so that
"[[a[0]]]" marks "a[0]". Inside of it, a bar separates what is read from its fillers, which stand in its place where a
method takes it away: "[[Dave|Sarah|Tom]]" is read as "Dave", with two fillers. A bar that is part of the text is
written as "\\|"; those of special tokens, "<|…|>", need no backslash. Outside of passages a bar is a bar, and so it is
where passages are marked by spans.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tokensal.errors import InputError
from tokensal.questions.units import Span

BRACKETS = re.compile(r"\[\[|\]\](?!\])")
BAR = re.compile(r"(?<![<\\])\|(?!>)")
ESCAPED_BAR = r"\|"


@dataclass(frozen=True, slots=True)
class Marked:
    """A text as it is read, and what was marked in it.

    Attributes:
        text: without brackets, fillers and the backslashes before bars.
        passages: the characters (start, stop) of each marked passage in it.
        fillers: for each passage the texts that may stand in its place.
        kept: for each character of the text, its place in what the user wrote.
    """

    text: str
    passages: tuple[Span, ...] = ()
    fillers: tuple[tuple[str, ...], ...] = ()
    kept: Sequence[int] = ()


def read_marks(text: str) -> Marked:
    """What is marked in a text.

    Raises:
        InputError: brackets that are not in pairs, one inside another, or around nothing; or an empty filler.
    """
    kept: list[int] = []
    passages: list[Span] = []
    fillers: list[tuple[str, ...]] = []
    position, opened = 0, None
    for bracket in BRACKETS.finditer(text):
        opens = bracket[0] == "[["
        if opens is (opened is not None):
            raise InputError(_misplaced(text, bracket.start(), nested=opens))
        if opened is None:
            kept += range(position, bracket.start())
            opened = bracket.start()
        else:
            passage, *others = _between_bars(text, range(position, bracket.start()))
            if not passage:
                raise InputError(f"A marked passage is empty, at {_excerpt(text, opened)}: put text behind the [[.")
            if not all(others):
                raise InputError(
                    f"A filler is empty, at {_excerpt(text, opened)}: put text behind each bar of a marked passage, or "
                    rf"write \| for a bar that is part of it."
                )
            passages.append((len(kept), len(kept) + len(passage)))
            fillers.append(tuple("".join(text[index] for index in other) for other in others))
            kept += passage
            opened = None
        position = bracket.end()
    if opened is not None:
        raise InputError(f"A marked passage never ends, at {_excerpt(text, opened)}: write ]] behind it.")
    kept += range(position, len(text))
    return Marked("".join(text[index] for index in kept), tuple(passages), tuple(fillers), kept)


def _between_bars(text: str, places: range) -> list[list[int]]:
    """Which characters there are between bars, without the backslashes before bars that are part of the text."""
    pieces: list[list[int]] = [[]]
    for index in places:
        if BAR.match(text, index):
            pieces.append([])
        elif text[index : index + 2] != ESCAPED_BAR or index + 1 == places.stop:
            pieces[-1].append(index)
    return pieces


def place_among(kept: Sequence[int], span: Span) -> Span:
    """Where a span of the characters that were kept stands in what the user wrote."""
    return kept[span[0]], kept[span[1] - 1] + 1


def _misplaced(text: str, position: int, *, nested: bool) -> str:
    if nested:
        return (
            f"A [[ stands inside a marked passage, at {_excerpt(text, position)}: end that passage with ]] before it."
        )
    return f"A ]] ends no marked passage, at {_excerpt(text, position)}: write [[ where the passage begins."


def _excerpt(text: str, position: int) -> str:
    return repr(text[position : position + 20])


def validate_spans(spans: Sequence[Span], length: int) -> list[Span]:
    """The same spans (start, stop) of a text of `length` characters, in the same order.

    Raises:
        InputError: a span that is not two integers, is empty, reaches out of the text, or overlaps another.
    """
    for span in spans:
        if not _is_within(span, length):
            raise InputError(
                f"The passage {span!r} is no span of the prompt: give (start, stop) with 0 ≤ start < stop ≤ {length}, "
                "the prompt's length in characters."
            )
    passages = [(start, stop) for start, stop in spans]
    for first, second in pairwise(sorted(passages)):
        if second[0] < first[1]:
            raise InputError(f"The passages {first} and {second} overlap: let each begin where the last one ends.")
    return passages


def _is_within(span: object, length: int) -> bool:
    match span:
        case [int(start), int(stop)]:
            return 0 <= start < stop <= length
    return False


def number_characters(length: int, spans: Sequence[Span]) -> list[int | None]:
    """For each of `length` characters the number of the span that it is in, None outside of all."""
    numbers: list[int | None] = [None] * length
    for number, (start, stop) in enumerate(spans):
        numbers[start:stop] = [number] * (stop - start)
    return numbers


def require_tokens(passages: Sequence[str], marks: Sequence[int | None]) -> None:
    """Refuse a marked passage without a token of its own; `passages` are their texts, `marks` those of the tokens.

    Raises:
        InputError: the chat template does not show its characters, or they belong to tokens that begin before it.
    """
    for number, passage in enumerate(passages):
        if number not in marks:
            raise InputError(
                f"The marked passage {passage!r} has no token of its own: the chat template leaves it out, or its "
                "characters are part of a token that begins before it; mark more of the text."
            )
