"""Slots: marked passages with fillers, and the ids of each filler where the passage stood.

1. Tokenize the whole prompt again with a filler in the place of its passage, as if it had been written so.
2. What comes before and after has to have the same ids as before. What is left between are those of the filler.
3. They take the places of the passage's own, so they can be no more than these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tokensal.adapters.probes import TextSpan
from tokensal.errors import InputError
from tokensal.types import Slot


def read_slots(
    texts: Sequence[str],
    passages: Sequence[TextSpan],
    fillers: Sequence[Sequence[str]],
    ids: Sequence[int],
    marks: Sequence[int | None],
    encode: Callable[[Sequence[str]], Sequence[int]],
) -> tuple[Slot, ...]:
    """The passages that have fillers.

    Args:
        texts: what the prompt consists of.
        passages: where each passage is in these.
        fillers: of each passage.
        ids: of the prompt.
        marks: for each id, the number of the passage that it is in.
        encode: from such texts to the ids of the prompt.

    Raises:
        InputError: a filler has more tokens than its passage, or none, or changes tokens around it.
    """
    slots = []
    for number, (passage, others) in enumerate(zip(passages, fillers, strict=True)):
        start, stop = marks.index(number), len(marks) - marks[::-1].index(number)
        text, filled = texts[passage.index], list(texts)
        read = text[passage.start : passage.stop]
        by_filler = []
        for filler in others:
            filled[passage.index] = text[: passage.start] + filler + text[passage.stop :]
            by_filler.append(_between(ids, start, stop, list(encode(filled)), filler, read))
        if by_filler:
            slots.append(Slot(start, stop, tuple(by_filler), tuple(others)))
    return tuple(slots)


def _between(
    ids: Sequence[int], start: int, stop: int, filled: list[int], filler: str, passage: str
) -> tuple[int, ...]:
    """The ids of a filler, from those of the prompt and those of the prompt with it."""
    end = len(filled) - (len(ids) - stop)
    if end <= start or [*filled[:start], *filled[end:]] != [*ids[:start], *ids[stop:]]:
        raise InputError(
            f"The filler {filler!r} changes the tokens around {passage!r}, so it cannot stand in its place: mark whole "
            "words, with all that is written together with them."
        )
    if end - start > stop - start:
        raise InputError(
            f"The filler {filler!r} has {end - start} tokens, but {passage!r}, in whose place it stands, has "
            f"{stop - start}: choose one of at most as many, or let the longest text come first."
        )
    return tuple(filled[start:end])
