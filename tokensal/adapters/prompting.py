"""From what the user gives (text, chat messages, token ids) to ids, by the model's own tokenizer, left as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokensal.adapters.chats import Messages as Messages
from tokensal.adapters.chats import read_chat
from tokensal.adapters.marks import check_tokens, checked, labels, unbracketed
from tokensal.adapters.offsets import encoded, offsets, restored, spread
from tokensal.errors import InputError, unknown
from tokensal.questions.units import Span
from tokensal.types import Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Text = str | Sequence[int]  # text to tokenize, or token ids taken as they are
NAMED_TOKENS = ("pad", "eos", "bos", "unk")
TEXT = "text:"  # what follows is tokenized


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the user gives, as the model reads it.

    Attributes:
        ids: the n token ids.
        roles: for each id, where it comes from: of a chat, who says it, or the template; otherwise it is a prompt.
        marks: for each id, the number of the marked passage that it is in; None in none.
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
    """A prompt or a chat; exactly one of the two is given.

    A token that reaches over a boundary, of a message or a passage, belongs where its first character lies that is not
    white space. What a message says has that message's role (a developer's is the system's; of a role that `Role`
    does not know, it is a prompt's), and all that the template adds is the template's. Where the template or the
    tokenizer does not let that be known, a warning is logged, and everything is a prompt's.

    Args:
        prompt: text, or token ids.
        messages: a chat for the model's chat template; the content of a message is a text, or blocks of which some
            have a text. Of a last message by the assistant, the answer is the continuation.
        marked: True where passages are written [[…]] in the text or the contents, without the brackets being part of
            it; they are numbered from 0 through all messages. Or the characters (start, stop) of each in a text.

    Raises:
        InputError: both or neither given, nothing in it, a chat the model's template refuses, or passages that are
            not there, wrongly marked, or without tokens.
    """
    if (prompt is None) == (messages is None):
        raise InputError("Give either a prompt or messages (a chat), and not both.")
    if marked is not False and not isinstance(prompt, str):
        _check_markable(prompt, marked)
    if messages is not None:
        ids, origins = read_chat(tokenizer, messages, marked=marked is True)
        read = Prompt(tuple(ids), tuple(role for role, _ in origins), tuple(mark for _, mark in origins))
    else:
        ids, marks = _read(tokenizer, prompt, marked)
        read = Prompt(tuple(ids), (Role.PROMPT,) * len(ids), tuple(marks))
    if not read.ids:
        raise InputError("The prompt is empty: give it at least one token of text.")
    return read


def _check_markable(ids: Sequence[int] | None, marked: bool | Sequence[Span]) -> None:
    """See that passages can be marked in what is not a text: token ids or, without those, messages."""
    if ids is not None:
        raise InputError("Segments cannot be marked in token ids: give the prompt as a text, with [[…]] around each.")
    if marked is not True:
        raise InputError("Character spans cannot mark passages in messages: write [[…]] around each in the contents.")


def _read(
    tokenizer: PreTrainedTokenizerBase, prompt: Text | None, marked: bool | Sequence[Span]
) -> tuple[list[int], Sequence[int | None]]:
    """The ids of a prompt, and the passage of each."""
    if not isinstance(prompt, str) or not prompt or marked is False:
        ids = _ids(tokenizer, prompt, special=True)
        return ids, [None] * len(ids)
    text, passages = unbracketed(prompt) if marked is True else (prompt, checked(marked, len(prompt)))
    if not passages:
        raise InputError("No passage is marked: write [[ and ]] around at least one in the prompt.")
    ids = encoded(tokenizer, text, special=True)
    if (spans := offsets(tokenizer, text, ids, special=True)) is None:
        raise InputError(
            "Segments cannot be marked with this tokenizer: it does not say which characters its tokens stand for, "
            "and does not decode them to the same text; use a fast tokenizer."
        )
    marks = spread(text, labels(len(text), passages), spans, None)
    check_tokens([text[start:stop] for start, stop in passages], marks)
    return ids, marks


def continuation_ids(tokenizer: PreTrainedTokenizerBase, continuation: Text) -> list[int]:
    """The ids of a continuation, tokenized by itself, so that the prompt's own tokens never change.

    Raises:
        InputError: there is nothing in it.
    """
    ids = _ids(tokenizer, continuation, special=False)
    if not ids:
        raise InputError("The continuation is empty: give at least one token, or leave it out to generate one.")
    return ids


def target_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[int]]:
    """The ids of an answer as an encoder–decoder model writes it, and those that its tokenizer puts behind.

    What comes first, such as a target language, is part of the answer.

    Raises:
        InputError: there is nothing in it, or the tokenizer writes several languages and does not know which.
    """
    if getattr(tokenizer, "tgt_lang", "") is None:  # asked for a target, it would quietly take the source's language
        raise InputError(
            "The tokenizer writes several languages: say which with `tokenizer.tgt_lang = …`, or give token ids."
        )
    with restored(tokenizer):
        whole, bare = (
            list(tokenizer(text_target=text, add_special_tokens=special, verbose=False)["input_ids"])
            for special in (True, False)
        )
    for stop in range(len(whole), len(bare) - 1, -1):
        if bare and whole[stop - len(bare) : stop] == bare:
            return whole[:stop], whole[stop:]
    raise InputError("The continuation is empty: give at least one token, or leave it out to generate one.")


def reference_ids(tokenizer: PreTrainedTokenizerBase, name: str) -> list[int]:
    """The ids of what can stand in for a token: "pad", "eos", "bos", "unk", "space", or any text as "text:…".

    Raises:
        InputError: another name, or one that this tokenizer has no token for.
    """
    if name in NAMED_TOKENS:
        id = getattr(tokenizer, f"{name}_token_id")
        if id is None:
            raise InputError(f"This model's tokenizer has no {name} token; choose another, such as 'zero' or 'space'.")
        return [id]
    if name != "space" and not name.startswith(TEXT):
        raise unknown("replacement", name, ["mean", "zero", "space", f"{TEXT}…", *NAMED_TOKENS])
    ids = _ids(tokenizer, " " if name == "space" else name.removeprefix(TEXT), special=False)
    if not ids:
        raise InputError(f"The replacement {name!r} has no tokens; give it some text, or choose 'zero'.")
    return ids


def _ids(tokenizer: PreTrainedTokenizerBase, text: Text | None, *, special: bool) -> list[int]:
    if isinstance(text, str):
        if not text:  # some tokenizers make a token out of nothing
            return []
        return encoded(tokenizer, text, special=special)
    return [int(id) for id in text or ()]
