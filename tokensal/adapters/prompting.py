"""From text, chat messages or token ids to the ids that a model reads, by its own tokenizer, which is not changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tokensal.adapters.chats import Origin, read_chat
from tokensal.adapters.marks import (
    Marked,
    number_characters,
    place_among,
    read_marks,
    require_tokens,
    validate_spans,
)
from tokensal.adapters.messages import Messages as Messages
from tokensal.adapters.offsets import encode, encode_following, label_spans, restoring, token_spans
from tokensal.adapters.probes import TextSpan
from tokensal.adapters.slots import read_slots
from tokensal.adapters.tokens import read
from tokensal.errors import InputError
from tokensal.perturbations.removals import NAMED_TOKENS, TEXT_PREFIX, check_replacement
from tokensal.questions.units import Span
from tokensal.types import Role, Slot, Token
from tokensal.values import read_kind, read_text_or_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Text = str | Sequence[int]  # text to tokenize, or token ids taken as they are

log = logging.getLogger("tokensal")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as token ids, with the origin of each.

    Attributes:
        ids: the n token ids.
        roles: for each id, where it comes from: in a chat a speaker or the template, otherwise a prompt.
        marks: for each id, the number of the marked passage that it is in; None outside of all.
        places: for each id, its characters in the user's own text (in_prompt), and in which message of a chat that is;
            empty if the prompt is ids.
        slots: the passages with fillers.
    """

    ids: tuple[int, ...]
    roles: tuple[Role, ...]
    marks: tuple[int | None, ...]
    places: tuple[tuple[Span | None, int | None], ...] = field(default=(), compare=False)
    slots: tuple[Slot, ...] = ()

    @classmethod
    def of(cls, ids: Sequence[int], origins: Sequence[Origin], slots: tuple[Slot, ...] = ()) -> Prompt:
        """The prompt of ids and their origins."""
        places = [(origin.in_prompt, origin.message) for origin in origins]
        roles, marks = [origin.role for origin in origins], [origin.mark for origin in origins]
        return cls(tuple(ids), tuple(roles), tuple(marks), tuple(places), slots)


def read_prompt(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Text | None,
    messages: Messages | None,
    marked: bool | Sequence[Span] = False,
    template: Mapping[str, Any] | None = None,
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
            passages numbered from 0 through all messages; fillers may follow, as in [[Dave|Sarah]] (see `marks.py`). Or
            the characters (start, stop) of each in a text.
        template: further arguments of the chat template, such as tools.

    Raises:
        InputError: both or neither are passed, the prompt is empty, the template refuses the chat, or passages are
            missing, wrongly marked, or without tokens, or a filler does not fit.
    """
    if (prompt is None) == (messages is None):
        raise InputError("Give either a prompt or messages (a chat), and not both.")
    if template is not None and messages is None:
        raise InputError("Arguments of the chat template need messages: give a chat, or leave them out.")
    read_kind("template", template, Mapping, "a table of arguments", optional=True)
    text = None if prompt is None else read_text_or_ids("prompt", prompt)
    if marked is not False and not isinstance(text, str):
        _check_markable(text, marked)
    if messages is not None:
        tokenized = Prompt.of(*read_chat(tokenizer, messages, marked=marked is True, arguments=template))
    elif text and isinstance(text, str):
        tokenized = _read_text(tokenizer, text, marked)
    else:
        ids = tuple(map(int, text or ()))
        tokenized = Prompt(ids, (Role.PROMPT,) * len(ids), (None,) * len(ids))
    if not tokenized.ids:
        raise InputError("The prompt is empty: give it at least one token of text.")
    return tokenized


def _check_markable(ids: Sequence[int] | None, marked: bool | Sequence[Span]) -> None:
    """Refuse marks that token ids (or, where those are None, messages) cannot have."""
    if ids is not None:
        raise InputError("Passages cannot be marked in token ids: give the prompt as a text, with [[…]] around each.")
    if marked is not True:
        raise InputError("Character spans cannot mark passages in messages: write [[…]] around each in the contents.")


def _read_text(tokenizer: PreTrainedTokenizerBase, prompt: str, marked: bool | Sequence[Span]) -> Prompt:
    """A prompt that is a text."""
    marking = _read_marks(prompt, marked)
    text, passages = marking.text, marking.passages
    ids = encode(tokenizer, text, special=True)
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        log.warning("The tokenizer adds %r to the prompt, which begins with it: leave it out.", tokenizer.bos_token)
    if (spans := token_spans(tokenizer, text, ids, special=True)) is None:
        if passages:
            raise InputError(
                "Passages cannot be marked with this tokenizer: it does not say which characters its tokens stand for, "
                "and does not decode them to the same text; use a fast tokenizer."
            )
        return Prompt.of(ids, [Origin(Role.PROMPT)] * len(ids))
    marks = label_spans(text, number_characters(len(text), passages), spans, None)
    require_tokens([text[start:stop] for start, stop in passages], marks)
    places = [place_among(marking.kept, span) if span[0] < span[1] else None for span in spans]
    slots = read_slots(
        [text],
        [TextSpan(0, *passage) for passage in passages],
        marking.fillers,
        ids,
        marks,
        lambda texts: encode(tokenizer, texts[0], special=True),
    )
    return Prompt.of(ids, [Origin(Role.PROMPT, *origin) for origin in zip(marks, places, strict=True)], slots)


def _read_marks(prompt: str, marked: bool | Sequence[Span]) -> Marked:
    """What is marked in a prompt."""
    if marked is True:
        marking = read_marks(prompt)
    else:
        passages = [] if marked is False else validate_spans(marked, len(prompt))
        marking = Marked(prompt, tuple(passages), ((),) * len(passages), range(len(prompt)))
    if marked is not False and not marking.passages:
        raise InputError("No passage is marked: write [[ and ]] around at least one in the prompt.")
    return marking


def read_with_answer(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, answer: Sequence[int]
) -> tuple[str, tuple[Token, ...]]:
    """The shown text of a prompt and an answer, and their tokens."""
    roles = [*prompt.roles, *[Role.GENERATED] * len(answer)]
    text, tokens = read(tokenizer, [*prompt.ids, *answer], roles)
    places = prompt.places or ((None, None),) * len(prompt.ids)
    own = [
        replace(token, mark=mark, in_prompt=in_prompt, message=message)
        for token, mark, (in_prompt, message) in zip(tokens, prompt.marks, places, strict=False)
    ]
    return text, (*own, *tokens[len(own) :])


def continuation_ids(tokenizer: PreTrainedTokenizerBase, continuation: Text) -> list[int]:
    """The ids of a continuation, tokenized by itself, so that the prompt's own tokens never change.

    Raises:
        InputError: it is empty.
    """
    read = read_text_or_ids("continuation", continuation)
    ids = encode_following(tokenizer, read) if read and isinstance(read, str) else list(map(int, read))
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
    check_replacement("replacement", name)
    text = " " if name == "space" else name.removeprefix(TEXT_PREFIX)
    ids = encode(tokenizer, text, special=False) if text else []  # some tokenizers make a token out of nothing
    if not ids:
        raise InputError(f"The replacement {name!r} has no tokens; give it some text, or choose 'zero'.")
    return ids
