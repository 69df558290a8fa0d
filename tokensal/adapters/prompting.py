"""From what the user gives (text, chat messages, token ids) to ids, by the model's own tokenizer, left as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokensal.errors import InputError, unknown
from tokensal.types import Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Text = str | Sequence[int]  # text to tokenize, or token ids taken as they are
NAMED_TOKENS = ("pad", "eos", "bos", "unk")
TEXT = "text:"  # what follows is tokenized
Messages = Sequence[Mapping[str, str]]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Text | None, messages: Messages | None) -> list[int]:
    """The ids of a prompt or of a chat; exactly one of the two is given.

    Raises:
        InputError: both or neither given, nothing in it, or a chat the model's template refuses.
    """
    if (prompt is None) == (messages is None):
        raise InputError("Give either a prompt or messages (a chat), and not both.")
    ids = _chat_ids(tokenizer, messages) if messages is not None else _ids(tokenizer, prompt, special=True)
    if not ids:
        raise InputError("The prompt is empty: give it at least one token of text.")
    return ids


@dataclass(frozen=True, slots=True)
class Prompt:
    ids: tuple[int, ...]
    roles: tuple[Role, ...]
    marks: tuple[int | None, ...]


def read_prompt(tokenizer, prompt, messages, marked=False):
    ids = prompt_ids(tokenizer, prompt, messages)
    return Prompt(tuple(ids), (Role.PROMPT,) * len(ids), (None,) * len(ids))


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
    with _restored(tokenizer):
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
        with _restored(tokenizer):
            return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])
    return [int(id) for id in text or ()]


def _chat_ids(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> list[int]:
    import jinja2

    if not tokenizer.chat_template:
        raise InputError("This model's tokenizer has no chat template; give a plain prompt instead of messages.")
    if not messages or not any(message.get("content") for message in messages):
        raise InputError("The prompt is empty: give the chat at least one message with content.")
    unfinished = messages[-1].get("role") == "assistant"  # its last words are the beginning of the answer
    try:
        with _restored(tokenizer):
            encoded = tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                add_generation_prompt=not unfinished,
                continue_final_message=unfinished,
                tokenize=True,
                return_dict=True,
            )
    except (jinja2.TemplateError, ValueError) as error:
        raise InputError(f"The model's chat template refuses these messages: {error}.") from error
    return list(encoded["input_ids"])


@contextmanager
def _restored(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
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
