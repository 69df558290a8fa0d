"""From chat messages to token ids, by the model's own template, with the origin of each id.

1. Render the chat as text, and locate the texts of the messages in it (see `probes.py`).
2. Everything else is the template's own. So is what a message holds outside its content (tool calls, reasoning).
3. The tokenizer reports which characters each id stands for (see `offsets.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokensal.adapters.marks import number_characters, remove_brackets, require_tokens
from tokensal.adapters.offsets import label_spans, restoring, token_spans
from tokensal.adapters.probes import Rendering, TextNotLocated, TextSpan, locate
from tokensal.errors import InputError
from tokensal.types import Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]
Origin = tuple[Role, int | None]  # whose words an id is part of, and the number of its marked passage

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

    If origins cannot be determined, all ids have the role of a plain prompt, and a warning is logged. That happens when
    the template alters contents in ways that probes cannot follow, or when the tokenizer neither reports which
    characters its tokens stand for, nor decodes them to the same text.

    Raises:
        InputError: no template or no content, a chat that the template refuses, or passages that are wrongly marked,
            that have no tokens, or whose tokens cannot be determined.
    """
    if not tokenizer.chat_template:
        raise InputError("This model's tokenizer has no chat template; give a plain prompt instead of messages.")
    if not messages or not any(message.get("content") for message in messages):
        raise InputError("The prompt is empty: give the chat at least one message with content.")
    texts = [text for message in messages for text in _content_texts(message)]
    texts, passages = _read_marks(texts) if marked else (texts, [])
    ids = list(_apply_template(tokenizer, _with_texts(messages, texts), tokenize=True)["input_ids"])
    try:
        origins = _origins(tokenizer, messages, texts, passages, ids)
    except TextNotLocated:
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
    require_tokens([texts[span.index][span.start : span.stop] for span in passages], [mark for _, mark in origins])
    return ids, origins


def _read_marks(texts: Sequence[str]) -> tuple[list[str], list[TextSpan]]:
    """The texts without brackets, and the passages that the brackets marked."""
    parsed = [remove_brackets(text) for text in texts]
    passages = [TextSpan(index, *span) for index, (_, spans) in enumerate(parsed) for span in spans]
    if not passages:
        raise InputError("No passage is marked: write [[ and ]] around at least one in the contents of the messages.")
    return [text for text, _ in parsed], passages


def _origins(
    tokenizer: PreTrainedTokenizerBase,
    messages: Messages,
    texts: Sequence[str],
    passages: Sequence[TextSpan],
    ids: Sequence[int],
) -> list[Origin]:
    """The origin of each id. Raises `TextNotLocated`."""

    def render(texts: Sequence[str]) -> str | None:
        try:
            return str(_apply_template(tokenizer, _with_texts(messages, texts), tokenize=False))
        except InputError:  # the template refuses these texts
            return None

    rendered = str(_apply_template(tokenizer, _with_texts(messages, texts), tokenize=False))
    if (id_spans := token_spans(tokenizer, rendered, ids, special=False)) is None:
        raise TextNotLocated
    contents = [TextSpan(index, 0, len(text)) for index, text in enumerate(texts) if text]
    located = locate(Rendering(render, texts, rendered), [*contents, *passages])
    text_roles = [
        ROLES.get(message.get("role", ""), Role.PROMPT) for message in messages for _ in _content_texts(message)
    ]
    numbers = number_characters(len(rendered), located[: len(contents)])
    roles = [Role.TEMPLATE if number is None else text_roles[contents[number].index] for number in numbers]
    marks = number_characters(len(rendered), located[len(contents) :])
    return label_spans(rendered, list(zip(roles, marks, strict=True)), id_spans, (Role.TEMPLATE, None))


# The texts of messages


def _content_texts(message: Mapping[str, Any]) -> list[str]:
    """The texts in the content of a message: one, or those of its blocks."""
    content = message.get("content")
    blocks: Sequence[Any] = content if isinstance(content, list | tuple) else [{"text": content}]
    return [str(block["text"]) for block in blocks if _is_text(block)]


def _with_texts(messages: Messages, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The same messages with these texts instead of their own."""
    remaining = iter(texts)

    def replace_texts(content: Any) -> Any:
        if isinstance(content, list | tuple):
            return [{**block, "text": next(remaining)} if _is_text(block) else block for block in content]
        return next(remaining) if isinstance(content, str) else content

    return [
        {key: replace_texts(value) if key == "content" else value for key, value in message.items()}
        for message in messages
    ]


def _is_text(block: object) -> bool:
    return isinstance(block, Mapping) and isinstance(block.get("text"), str)


def _apply_template(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, Any]], *, tokenize: bool) -> Any:
    import jinja2

    unfinished = messages[-1].get("role") == "assistant"  # the answer continues its last words
    try:
        with restoring(tokenizer):
            return tokenizer.apply_chat_template(
                messages,
                add_generation_prompt=not unfinished,
                continue_final_message=unfinished,
                tokenize=tokenize,
                return_dict=tokenize,
            )
    except (jinja2.TemplateError, ValueError) as error:
        raise InputError(f"The model's chat template refuses these messages: {error}.") from error
