"""Units: which tokens belong together, as spans (start, stop) of their indices that partition all tokens in order.

A unit of text is found in three steps:

1. A *stretch* is as many tokens of one role as follow one another; a special token is a stretch of its own. No unit is
   larger than a stretch. (A character whose bytes the prompt begins and the answer ends is therefore in two.)
2. The text of a stretch is divided into words, sentences or lines. Words and sentences are those of Unicode (UAX #29).
   That knows no dictionary: it takes each Chinese character and each Thai consonant with its marks for a word.
3. A token belongs where its first character that is not white space lies, and one that reaches into the next unit joins
   the two. Tokens without a text of their own, such as the later ones of a split character, never begin a unit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from tokensal.types import Token

Span = tuple[int, int]


def tokens(run: Sequence[Token]) -> list[Span]:
    """Each token by itself."""
    return [(index, index + 1) for index in range(len(run))]


def words(run: Sequence[Token]) -> list[Span]:
    """Words, and punctuation by itself; white space is part of the word after it, at the end of the one before."""
    return _divide(run, _word_starts)


def sentences(run: Sequence[Token]) -> list[Span]:
    """Sentences, with the white space after them; a line break ends one too."""
    return _divide(run, _sentence_starts)


def lines(run: Sequence[Token]) -> list[Span]:
    """Lines, with the line break that ends them and the blank lines after that."""
    return _divide(run, _line_starts)


def messages(run: Sequence[Token]) -> list[Span]:
    """Whole stretches of one role; special tokens by themselves."""
    return _spans_of_equal([(token.role, index if token.special else None) for index, token in enumerate(run)])


def marked(run: Sequence[Token], marks: Sequence[int | None]) -> list[Span]:
    """Each marked passage, and each stretch, or part of one, between them; one mark (or None) for each token."""
    stretches = [number for number, (start, stop) in enumerate(messages(run)) for _ in range(start, stop)]
    return _spans_of_equal(
        [(mark, stretch if mark is None else None) for mark, stretch in zip(marks, stretches, strict=True)]
    )


UNITS: Mapping[str, Callable[[Sequence[Token]], list[Span]]] = {
    "token": tokens,
    "word": words,
    "sentence": sentences,
    "line": lines,
    "message": messages,
}


# From units of text to spans of tokens


def _divide(run: Sequence[Token], starts_of: Callable[[str], list[int]]) -> list[Span]:
    """The units of each stretch, whose text `starts_of` divides: it tells at which characters units begin."""
    cuts = []
    for start, stop in messages(run):
        texts = [token.text for token in run[start:stop]]
        cuts += [start, *(start + cut for cut in _cuts(texts, starts_of("".join(texts))))]
    return list(pairwise([*cuts, len(run)]))


def _cuts(texts: Sequence[str], starts: Sequence[int]) -> list[int]:
    """Which tokens begin a unit that none before them reaches into; the first token, which always does, is left out."""
    cuts, reached, position = [], None, 0
    for index, text in enumerate(texts):
        if text:
            first, last = (bisect_right(starts, position + end) for end in _visible_ends(text))
            if reached is not None and first != reached:
                cuts.append(index)
            reached = last
        position += len(text)
    return cuts


def _visible_ends(text: str) -> tuple[int, int]:
    """The first and the last character that is not white space; of mere white space the first, twice."""
    bare = text.strip()
    first = len(text) - len(text.lstrip()) if bare else 0
    return first, first + max(len(bare), 1) - 1


def _spans_of_equal(labels: Sequence[object]) -> list[Span]:
    """Spans of equal labels."""
    starts = [index for index in range(len(labels)) if index == 0 or labels[index] != labels[index - 1]]
    return list(pairwise([*starts, len(labels)]))


# Where units of text begin


def _word_starts(text: str) -> list[int]:
    from uniseg.wordbreak import word_boundaries  # its tables take a while, and the command line imports this module

    pieces = pairwise(sorted({0, *word_boundaries(text)}))
    end = len(text.rstrip())
    return [0, *(stop for start, stop in pieces if stop < end and not text[start:stop].isspace())]


def _sentence_starts(text: str) -> list[int]:
    from uniseg.sentencebreak import sentence_boundaries

    return _starts_without_blanks(text, sorted({0, *sentence_boundaries(text)}))


def _line_starts(text: str) -> list[int]:
    ends = (index + 1 for index, character in enumerate(text) if character == "\n")
    return _starts_without_blanks(text, sorted({0, *ends, len(text)}))


def _starts_without_blanks(text: str, edges: Sequence[int]) -> list[int]:
    """Where the pieces between edges begin; blank ones are part of the one before, at the beginning of the next."""
    begin = len(text) - len(text.lstrip())
    return [0, *(start for start, stop in pairwise(edges) if start > begin and not text[start:stop].isspace())]
