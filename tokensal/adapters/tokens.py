"""From ids to tokens with readable texts, without tokenizing again.

1. Decode a growing window of ids; what a token adds to the decoded text is the token's text.
2. A window that ends in U+FFFD is in the middle of a character: wait until the character is complete; its tokens
   share its span. The first shows the character; the others have an empty text.
3. A token that decodes to nothing may begin a character as well: ByT5 leaves unfinished ones out. It does if as many
   tokens as the character has bytes decode to that one character.
4. Advance the window after each complete token, but keep one token of context: some tokenizers drop the space before
   the first token they decode.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tokensal.types import Role, Token

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNFINISHED = "\ufffd"
MOST_BYTES = 4  # of a character in UTF-8
LONGEST_CHARACTER = 8  # tokens; a longer run that does not become a character is shown as it is


def read(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], roles: Sequence[Role]
) -> tuple[str, tuple[Token, ...]]:
    """The shown text of `ids`, and their tokens; one role for each id.

    Raises:
        ValueError: the numbers of roles and ids differ.
    """
    special = set(tokenizer.all_special_ids) | {
        id for id, added in tokenizer.added_tokens_decoder.items() if added.special
    }
    shown = [
        (text if index == 0 else "", start, start + len(text))
        for text, start, run in _positioned(_pieces(tokenizer, ids))
        for index in range(len(run))
    ]
    tokens = tuple(
        Token(id, text, start, stop, role, id in special)
        for id, (text, start, stop), role in zip(ids, shown, roles, strict=True)
    )
    return "".join(token.text for token in tokens), tokens


def _positioned(pieces: Iterable[tuple[str, Sequence[int]]]) -> Iterator[tuple[str, int, Sequence[int]]]:
    position = 0
    for text, run in pieces:
        yield text, position, run
        position += len(text)


def _pieces(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> Iterator[tuple[str, Sequence[int]]]:
    """(text, the run of ids that makes it up), in order; a run has several ids if they split a character."""
    context, start, complete = 0, 0, 0  # the window is ids[context:]; ids[start:] are not yet shown
    for stop in range(1, len(ids) + 1):
        if stop < complete:
            continue
        shown = decode(tokenizer, ids[context:start])
        window = decode(tokenizer, ids[context:stop])
        incomplete = stop < len(ids) and stop - start < LONGEST_CHARACTER
        if window.endswith(UNFINISHED) and incomplete:
            continue
        text = window[len(shown) :]
        if not text and (size := _silent_character(tokenizer, ids[context:], start - context, len(shown))):
            complete = start + size
            continue
        if UNFINISHED in text and stop - start > 1:  # the tokens before the last one are no character
            broken = decode(tokenizer, ids[context : stop - 1])[len(shown) :]
            yield broken, ids[start : stop - 1]
            text, start = text[len(broken) :], stop - 1
        yield text, ids[start:stop]
        context, start = start, stop


def _silent_character(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], start: int, shown: int) -> int:
    """How many tokens from `start` on are the bytes of one character, if all but the last of them decode to nothing."""
    for size in range(2, min(MOST_BYTES, len(ids) - start) + 1):
        if text := decode(tokenizer, ids[: start + size])[shown:]:
            return size if len(text) == 1 and text != UNFINISHED and len(text.encode()) == size else 0
    return 0


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of ids, special tokens and spaces as they are."""
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text
