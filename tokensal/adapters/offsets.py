"""Which characters of a text each of its ids stands for, by the tokenizer's own account of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from tokensal.adapters.tokens import read
from tokensal.questions.units import Span
from tokensal.types import Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Label = TypeVar("Label")


def encoded(tokenizer: PreTrainedTokenizerBase, text: str, *, special: bool) -> list[int]:
    """The ids of a text, with or without the special tokens that the tokenizer adds."""
    with restored(tokenizer):
        return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])


def offsets(tokenizer: PreTrainedTokenizerBase, text: str, ids: Sequence[int], *, special: bool) -> list[Span] | None:
    """The characters (start, stop) of each id; none (start = stop) of a special token that the tokenizer added.

    A fast tokenizer says it itself. Of another one the ids are decoded, which tells it where they spell the text.
    None where neither does.
    """
    if tokenizer.is_fast:
        with restored(tokenizer):
            found = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True, verbose=False)
        return _whole(found["offset_mapping"]) if list(found["input_ids"]) == list(ids) else None
    bare = encoded(tokenizer, text, special=False)
    before = next((at for at in range(len(ids) - len(bare) + 1) if list(ids[at : at + len(bare)]) == bare), None)
    shown, tokens = read(tokenizer, bare, [Role.PROMPT] * len(bare))
    if before is None or shown != text:
        return None
    after = len(ids) - len(bare) - before
    return [(0, 0)] * before + [(token.start, token.stop) for token in tokens] + [(0, 0)] * after


def _whole(mapping: Sequence[Span]) -> list[Span]:
    """Offsets that begin where the ones before end: some tokenizers leave out the white space of a token."""
    whole, reached = [], 0
    for start, stop in mapping:
        whole.append((min(start, reached), stop))
        reached = max(reached, stop)
    return whole


def spread(text: str, labels: Sequence[Label], spans: Sequence[Span], nowhere: Label) -> list[Label]:
    """The label of each span, from those of the characters: that of its first one which is not white space.

    A span of no character has the label of the characters on both its sides where they agree, `nowhere` otherwise.
    """
    padded = [nowhere, *labels, nowhere]
    found = []
    for start, stop in spans:
        place = next((place for place in range(start, stop) if not text[place].isspace()), start)
        before, here = padded[place], padded[place + 1]
        found.append(here if start < stop or before == here else nowhere)
    return found


@contextmanager
def restored(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Inside, the tokenizer may be called; afterwards it is as it was."""
    # A call of a fast tokenizer overwrites the truncation and padding its user may have enabled.
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        yield
        return
    truncation, padding = backend.truncation, backend.padding
    try:
        yield
    finally:
        backend.no_truncation() if truncation is None else backend.enable_truncation(**truncation)
        backend.no_padding() if padding is None else backend.enable_padding(**padding)
