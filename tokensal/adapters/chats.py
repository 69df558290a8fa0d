"""From chat messages to ids, by the model's own template, and from where each id comes.

1. Render the chat as text, and ask the template where it shows what the messages say (see `probes.py`).
2. Everything else is the template's own, and so is what a message says elsewhere (tool calls, reasoning).
3. The tokenizer says which characters each id stands for (see `offsets.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokensal.adapters.marks import check_tokens, labels, unbracketed
from tokensal.adapters.offsets import offsets, restored, spread
from tokensal.adapters.probes import Part, Rendering, Untold, located
from tokensal.errors import InputError
from tokensal.types import Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]
Origin = tuple[Role, int | None]  # whose an id is, and which marked passage it is in

ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}

log = logging.getLogger("tokensal")


def read_chat(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, *, marked: bool
) -> tuple[list[int], list[Origin]]:
    """The ids of a chat, and the origin of each; with `marked`, passages are written [[…]] in the contents.

    Where origins cannot be told, all ids have the role of a plain prompt, and a warning is logged. That is when the
    template alters what is said in ways that probes cannot follow, or when the tokenizer neither says which characters
    its tokens stand for, nor decodes them to the same text.

    Raises:
        InputError: no template or no content, a chat that the template refuses, or passages that are wrongly marked,
            that have no tokens, or whose tokens cannot be told.
    """
    if not tokenizer.chat_template:
        raise InputError("This model's tokenizer has no chat template; give a plain prompt instead of messages.")
    if not messages or not any(message.get("content") for message in messages):
        raise InputError("The prompt is empty: give the chat at least one message with content.")
    texts = [text for message in messages for text in _texts(message)]
    texts, passages = _segmented(texts) if marked else (texts, [])
    ids = list(_applied(tokenizer, _saying(messages, texts), tokenize=True)["input_ids"])
    try:
        origins = _origins(tokenizer, messages, texts, passages, ids)
    except Untold:
        if passages:
            raise InputError(
                "The chat template or the tokenizer does not show where each word of the messages goes, so marked "
                "passages cannot be found in this chat: mark them in a plain prompt."
            ) from None
        log.warning(
            "The chat template or the tokenizer does not show where each word of the messages goes: "
            "all tokens of this chat count as a plain prompt, whoever said them."
        )
        return ids, [(Role.PROMPT, None)] * len(ids)
    check_tokens([texts[part.number][part.start : part.stop] for part in passages], [mark for _, mark in origins])
    return ids, origins


def _segmented(texts: Sequence[str]) -> tuple[list[str], list[Part]]:
    """The texts without brackets, and the passages that those marked."""
    read = [unbracketed(text) for text in texts]
    passages = [Part(number, *span) for number, (_, spans) in enumerate(read) for span in spans]
    if not passages:
        raise InputError("No passage is marked: write [[ and ]] around at least one in the contents of the messages.")
    return [text for text, _ in read], passages


def _origins(
    tokenizer: PreTrainedTokenizerBase,
    messages: Messages,
    texts: Sequence[str],
    passages: Sequence[Part],
    ids: Sequence[int],
) -> list[Origin]:
    """The origin of each id. Raises `Untold`."""

    def render(said: Sequence[str]) -> str | None:
        try:
            return str(_applied(tokenizer, _saying(messages, said), tokenize=False))
        except InputError:  # it refuses to say this
            return None

    whole = str(_applied(tokenizer, _saying(messages, texts), tokenize=False))
    if (spans := offsets(tokenizer, whole, ids, special=False)) is None:
        raise Untold
    contents = [Part(number, 0, len(text)) for number, text in enumerate(texts) if text]
    found = located(Rendering(render, texts, whole), [*contents, *passages])
    speakers = [ROLES.get(message.get("role", ""), Role.PROMPT) for message in messages for _ in _texts(message)]
    speaking = labels(len(whole), found[: len(contents)])
    roles = [Role.TEMPLATE if part is None else speakers[contents[part].number] for part in speaking]
    marks = labels(len(whole), found[len(contents) :])
    return spread(whole, list(zip(roles, marks, strict=True)), spans, (Role.TEMPLATE, None))


# What messages say


def _texts(message: Mapping[str, Any]) -> list[str]:
    """What the content of a message says: one text, or those of its blocks."""
    content = message.get("content")
    blocks: Sequence[Any] = content if isinstance(content, list | tuple) else [{"text": content}]
    return [str(block["text"]) for block in blocks if _is_text(block)]


def _saying(messages: Messages, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The same messages, saying these texts instead."""
    rest = iter(texts)

    def said(content: Any) -> Any:
        if isinstance(content, list | tuple):
            return [{**block, "text": next(rest)} if _is_text(block) else block for block in content]
        return next(rest) if isinstance(content, str) else content

    return [{key: said(value) if key == "content" else value for key, value in one.items()} for one in messages]


def _is_text(block: object) -> bool:
    return isinstance(block, Mapping) and isinstance(block.get("text"), str)


def _applied(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], *, tokenize: bool) -> Any:
    import jinja2

    unfinished = messages[-1].get("role") == "assistant"  # its last words are the beginning of the answer
    try:
        with restored(tokenizer):
            return tokenizer.apply_chat_template(
                messages,
                add_generation_prompt=not unfinished,
                continue_final_message=unfinished,
                tokenize=tokenize,
                return_dict=tokenize,
            )
    except (jinja2.TemplateError, ValueError) as error:
        raise InputError(f"The model's chat template refuses these messages: {error}.") from error
