"""Marked passages: [[…]] in a text, or character spans beside it.

The first two of a run of opening brackets open a passage, the last two of a run of closing ones close it, so that
"[[a[0]]]" marks "a[0]".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from tokensal.errors import InputError
from tokensal.questions.units import Span

BRACKETS = re.compile(r"\[\[|\]\](?!\])")


def remove_brackets(text: str) -> tuple[str, list[Span]]:
    """The text without the brackets that mark its passages, and the characters of each passage in it.

    Raises:
        InputError: brackets that are not in pairs, one inside another, or around nothing.
    """
    pieces: list[str] = []
    passages: list[Span] = []
    consumed, length = 0, 0  # how many characters of the text are read, and of the pieces written
    passage_start: int | None = None
    for bracket in BRACKETS.finditer(text):
        opens = bracket[0] == "[["
        if opens is (passage_start is not None):
            raise InputError(_misplaced(text, bracket.start(), nested=opens))
        pieces.append(text[consumed : bracket.start()])
        consumed, length = bracket.end(), length + len(pieces[-1])
        if passage_start == length:
            excerpt = _excerpt(text, bracket.start() - 2)
            raise InputError(f"A marked passage is empty, at {excerpt}: put text between [[ and ]].")
        if passage_start is not None:
            passages.append((passage_start, length))
        passage_start = length if opens else None
    if passage_start is not None:
        raise InputError(f"A marked passage never ends, at {_excerpt(text, text.rindex('[['))}: write ]] behind it.")
    return "".join([*pieces, text[consumed:]]), passages


def kept_characters(text: str) -> list[int]:
    """Which characters of a text are none of the brackets that mark passages."""
    brackets = {index for bracket in BRACKETS.finditer(text) for index in range(*bracket.span())}
    return [index for index in range(len(text)) if index not in brackets]


def place_among(kept: Sequence[int], span: Span) -> Span:
    """Where a span of the characters that were kept stands in the text with all of them."""
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
