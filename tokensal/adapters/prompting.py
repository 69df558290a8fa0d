"""From text, chat messages or token ids to the ids that a model reads, by its own tokenizer, which is not changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tokensal.adapters.chats import Messages as Messages
from tokensal.adapters.chats import read_chat
from tokensal.adapters.marks import number_characters, remove_brackets, require_tokens, validate_spans
from tokensal.adapters.offsets import encode, label_spans, restoring, token_spans
from tokensal.adapters.tokens import read
from tokensal.errors import InputError, unknown
from tokensal.questions.units import Span
from tokensal.types import Role, Token

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Text = str | Sequence[int]  # text to tokenize, or token ids taken as they are
NAMED_TOKENS = ("pad", "eos", "bos", "unk")
TEXT_PREFIX = "text:"  # what follows is tokenized


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as token ids, with the origin of each.

    Attributes:
        ids: the n token ids.
        roles: for each id, where it comes from: in a chat a speaker or the template, otherwise a prompt.
        marks: for each id, the number of the marked passage that it is in; None outside of all.
    """

    ids: tuple[int, ...]
    roles: tuple[Role, ...]
    marks: tuple[int | None, ...]


def read_prompt(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Text | None,
    messages: Messages | None,
    marked: bool | Sequence[Span] = False,
) -> Prompt:
    """The ids, roles and marks of a prompt or a chat; exactly one of the two must be passed.

    A token that crosses the boundary of a message or a passage belongs to the one that holds its first character that
    is not white space. The content of a message has the role of its speaker: a developer's counts as the system's, and
    that of a speaker whom `Role` does not list as a prompt's. Everything that the template adds has the role of the
    template. If that cannot be determined from the template and the tokenizer, a warning is logged, and every token has
    the role of a prompt.

    Args:
        prompt: text, or token ids.
        messages: a chat for the model's chat template; the content of a message is a text, or blocks of which some
            have a text. If the last message is the assistant's, the answer continues it.
        marked: True if passages are written [[…]] in the text or the contents; the brackets are removed, and the
            passages numbered from 0 through all messages. Or the characters (start, stop) of each in a text.

    Raises:
        InputError: both or neither are passed, the prompt is empty, the template refuses the chat, or passages are
            missing, wrongly marked, or without tokens.
    """
    if (prompt is None) == (messages is None):
        raise InputError("Give either a prompt or messages (a chat), and not both.")
    if marked is not False and not isinstance(prompt, str):
        _check_markable(prompt, marked)
    if messages is not None:
        ids, origins = read_chat(tokenizer, messages, marked=marked is True)
        tokenized = Prompt(tuple(ids), tuple(role for role, _ in origins), tuple(mark for _, mark in origins))
    else:
        ids, marks = _read_text(tokenizer, prompt, marked)
        tokenized = Prompt(tuple(ids), (Role.PROMPT,) * len(ids), tuple(marks))
    if not tokenized.ids:
        raise InputError("The prompt is empty: give it at least one token of text.")
    return tokenized


def _check_markable(ids: Sequence[int] | None, marked: bool | Sequence[Span]) -> None:
    """Refuse marks that token ids (or, where those are None, messages) cannot have."""
    if ids is not None:
        raise InputError("Passages cannot be marked in token ids: give the prompt as a text, with [[…]] around each.")
    if marked is not True:
        raise InputError("Character spans cannot mark passages in messages: write [[…]] around each in the contents.")


def _read_text(
    tokenizer: PreTrainedTokenizerBase, prompt: Text | None, marked: bool | Sequence[Span]
) -> tuple[list[int], Sequence[int | None]]:
    """The ids of a prompt, and the number of the marked passage of each."""
    if not isinstance(prompt, str) or not prompt or marked is False:
        ids = _ids(tokenizer, prompt, special=True)
        return ids, [None] * len(ids)
    text, passages = remove_brackets(prompt) if marked is True else (prompt, validate_spans(marked, len(prompt)))
    if not passages:
        raise InputError("No passage is marked: write [[ and ]] around at least one in the prompt.")
    ids = encode(tokenizer, text, special=True)
    if (spans := token_spans(tokenizer, text, ids, special=True)) is None:
        raise InputError(
            "Passages cannot be marked with this tokenizer: it does not say which characters its tokens stand for, "
            "and does not decode them to the same text; use a fast tokenizer."
        )
    marks = label_spans(text, number_characters(len(text), passages), spans, None)
    require_tokens([text[start:stop] for start, stop in passages], marks)
    return ids, marks


def read_with_answer(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, answer: Sequence[int]
) -> tuple[str, tuple[Token, ...]]:
    """The shown text of a prompt and an answer, and their tokens."""
    roles = [*prompt.roles, *[Role.GENERATED] * len(answer)]
    text, tokens = read(tokenizer, [*prompt.ids, *answer], roles)
    pairs = zip(tokens, prompt.marks, strict=False)
    return text, (*(replace(token, mark=mark) for token, mark in pairs), *tokens[len(prompt.ids) :])


def continuation_ids(tokenizer: PreTrainedTokenizerBase, continuation: Text) -> list[int]:
    """The ids of a continuation, tokenized by itself, so that the prompt's own tokens never change.

    Raises:
        InputError: it is empty.
    """
    ids = _ids(tokenizer, continuation, special=False)
    if not ids:
        raise InputError("The continuation is empty: give at least one token, or leave it out to generate one.")
    return ids


def target_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[int]]:
    """The ids of an answer as an encoder–decoder model writes it, and those that its tokenizer appends.

    What comes first, such as a target language, is part of the answer.

    Raises:
        InputError: it is empty, or the tokenizer has several target languages and none is set.
    """
    if getattr(tokenizer, "tgt_lang", "") is None:  # without an error, such a tokenizer takes the source's language
        raise InputError(
            "The tokenizer writes several languages: say which with `tokenizer.tgt_lang = …`, or give token ids."
        )
    with restoring(tokenizer):
        ids, bare = (
            list(tokenizer(text_target=text, add_special_tokens=special, verbose=False)["input_ids"])
            for special in (True, False)
        )
    for stop in range(len(ids), len(bare) - 1, -1):
        if bare and ids[stop - len(bare) : stop] == bare:
            return ids[:stop], ids[stop:]
    raise InputError("The continuation is empty: give at least one token, or leave it out to generate one.")


def baseline_ids(tokenizer: PreTrainedTokenizerBase, name: str) -> list[int]:
    """The ids of a baseline, which replaces tokens: "pad", "eos", "bos", "unk", "space", or any text as "text:…".

    Raises:
        InputError: an unknown name, or one that this tokenizer has no token for.
    """
    if name in NAMED_TOKENS:
        id = getattr(tokenizer, f"{name}_token_id")
        if id is None:
            raise InputError(f"This model's tokenizer has no {name} token; choose another, such as 'zero' or 'space'.")
        return [id]
    if name != "space" and not name.startswith(TEXT_PREFIX):
        raise unknown("replacement", name, ["mean", "zero", "space", f"{TEXT_PREFIX}…", *NAMED_TOKENS])
    ids = _ids(tokenizer, " " if name == "space" else name.removeprefix(TEXT_PREFIX), special=False)
    if not ids:
        raise InputError(f"The replacement {name!r} has no tokens; give it some text, or choose 'zero'.")
    return ids


def _ids(tokenizer: PreTrainedTokenizerBase, text: Text | None, *, special: bool) -> list[int]:
    if isinstance(text, str):
        if not text:  # some tokenizers make a token out of nothing
            return []
        return encode(tokenizer, text, special=special)
    return [int(id) for id in text or ()]
