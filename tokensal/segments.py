"""Segments: which sources belong together, as spans (start, stop) of their indices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tokensal.types import Token

Span = tuple[int, int]


def tokens(sources: Sequence[Token]) -> list[Span]:
    """Each token by itself."""
    return [(index, index + 1) for index in range(len(sources))]


def words(sources: Sequence[Token]) -> list[Span]:
    """What stands between white space, which belongs to the word after it; special tokens and the answer part words."""
    starts = [index for index in range(len(sources)) if index == 0 or _parted(sources[index - 1], sources[index])]
    return list(pairwise([*starts, len(sources)]))


def _parted(before: Token, token: Token) -> bool:
    if before.special or token.special or before.role is not token.role:
        return True
    return not before.text.isspace() and (token.text[:1].isspace() or before.text[-1:].isspace())


def windows(spans: Sequence[Span], size: int, stride: int) -> list[Span]:
    """Windows of `size` consecutive spans, a new one every `stride` spans; the last ones may be shorter."""
    starts = range(0, len(spans), stride)
    return [(spans[start][0], spans[min(start + size, len(spans)) - 1][1]) for start in starts]


UNITS = {"token": tokens, "word": words}
UNITS["sentence"] = UNITS["line"] = UNITS["message"] = words


def marked(tokens, marks):
    return words(tokens)
