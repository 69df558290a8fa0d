"""Which characters of a text each of its ids stands for, as the tokenizer reports it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from tokensal.adapters.tokens import decode, read
from tokensal.errors import InputError, foreign
from tokensal.questions.units import Span
from tokensal.types import Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANCHORS = ("a", ".", "\n", "1")  # texts of which at least one keeps its ids whatever follows it
Label = TypeVar("Label")


def encode(tokenizer: PreTrainedTokenizerBase, text: str, *, special: bool) -> list[int]:
    """The ids of a text, with or without the special tokens that the tokenizer adds."""
    with restoring(tokenizer):
        return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])


def encode_following(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text that follows another one, without special tokens and without a space that it does not have.

    Tokenizers such as Llama 2's put a space before every text. Where the ids do not spell the text, it is tokenized
    behind another one, whose ids are taken off again. A text that no ids spell, as where the tokenizer lowers the case,
    is tokenized by itself.
    """
    alone = encode(tokenizer, text, special=False)
    for anchor in ANCHORS:
        before = encode(tokenizer, anchor, special=False)
        if _spells(tokenizer, before, alone, text):
            return alone
        both = encode(tokenizer, anchor + text, special=False)
        if both[: len(before)] == before and _spells(tokenizer, before, both[len(before) :], text):
            return both[len(before) :]
    return alone


def _spells(tokenizer: PreTrainedTokenizerBase, before: list[int], ids: list[int], text: str) -> bool:
    """Whether these ids, behind others, add that text."""
    return decode(tokenizer, before + ids) == decode(tokenizer, before) + text


def token_spans(
    tokenizer: PreTrainedTokenizerBase, text: str, ids: Sequence[int], *, special: bool
) -> list[Span] | None:
    """The characters (start, stop) of each id; none (start = stop) of a special token that the tokenizer added.

    A fast tokenizer reports them itself. They also follow from decoding the ids, where that spells the text; then what
    is reported has to agree, since some tokenizers report empty or shifted spans. None if neither works.
    """
    decoded = _decoded_spans(tokenizer, text, ids)
    if not tokenizer.is_fast:
        return decoded
    with restoring(tokenizer):
        encoding = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True, verbose=False)
    if list(encoding["input_ids"]) != list(ids):
        return decoded
    reported = _without_gaps(encoding["offset_mapping"])
    return reported if decoded is None or _pieces(text, reported) == _pieces(text, decoded) else decoded


def _decoded_spans(tokenizer: PreTrainedTokenizerBase, text: str, ids: Sequence[int]) -> list[Span] | None:
    bare = encode(tokenizer, text, special=False)
    last_start = len(ids) - len(bare)
    before = next((start for start in range(last_start + 1) if list(ids[start : start + len(bare)]) == bare), None)
    shown, tokens = read(tokenizer, bare, [Role.PROMPT] * len(bare))
    if before is None or shown != text:
        return None
    after = len(ids) - len(bare) - before
    return [(0, 0)] * before + [(token.start, token.stop) for token in tokens] + [(0, 0)] * after


def _pieces(text: str, spans: Sequence[Span]) -> list[str]:
    """The texts of the spans, without the white space that either side may count as its own."""
    return [text[start:stop].strip() for start, stop in spans]


def _without_gaps(mapping: Sequence[Span]) -> list[Span]:
    """Offsets that begin where the ones before end: some tokenizers leave out the white space of a token."""
    spans, reached = [], 0
    for start, stop in mapping:
        spans.append((min(start, reached), stop))
        reached = max(reached, stop)
    return spans


def label_spans(text: str, labels: Sequence[Label], spans: Sequence[Span], default: Label) -> list[Label]:
    """The label of each span, from those of the characters: that of its first one which is not white space.

    A span of no character has the label of the characters on both its sides where they agree, `default` otherwise.
    """
    padded = [default, *labels, default]
    span_labels = []
    for start, stop in spans:
        index = next((index for index in range(start, stop) if not text[index].isspace()), start)
        before, label = padded[index], padded[index + 1]
        span_labels.append(label if start < stop or before == label else default)
    return span_labels


@contextmanager
def restoring(
    tokenizer: PreTrainedTokenizerBase, failure: str = "The model's tokenizer cannot read this text"
) -> Iterator[None]:
    """Inside, the tokenizer may be called; on leaving, its truncation and padding are as they were.

    Raises:
        InputError: whatever it raises, as the reason of the failure.
    """
    # A call of a fast tokenizer overwrites the truncation and padding its user may have enabled.
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        with foreign(InputError, failure):
            yield
        return
    truncation, padding = backend.truncation, backend.padding
    try:
        with foreign(InputError, failure):
            yield
    finally:
        backend.no_truncation() if truncation is None else backend.enable_truncation(**truncation)
        backend.no_padding() if padding is None else backend.enable_padding(**padding)
