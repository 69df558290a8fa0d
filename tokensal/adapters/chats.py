"""From chat messages to token ids, by the model's own template, with the origin of each id.

1. Render the chat as text, and locate the texts of the messages in it (see `probes.py`).
2. Everything else is the template's own. So is what a message holds outside its content (tool calls, reasoning).
3. The tokenizer reports which characters each id stands for (see `offsets.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tokensal.adapters.marks import Marked, number_characters, place_among, read_marks, require_tokens
from tokensal.adapters.messages import Messages, Template, content_texts, read_messages, with_texts
from tokensal.adapters.offsets import label_spans, token_spans
from tokensal.adapters.probes import Rendering, TextNotLocated, TextSpan, locate
from tokensal.adapters.slots import read_slots
from tokensal.errors import InputError
from tokensal.questions.units import Span
from tokensal.types import Role, Slot

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}

log = logging.getLogger("tokensal")


class Origin(NamedTuple):
    """Where an id comes from: its role, its marked passage, and which characters of the content of which message."""

    role: Role
    mark: int | None = None
    in_prompt: Span | None = None
    message: int | None = None


def read_chat(
    tokenizer: PreTrainedTokenizerBase,
    messages: Messages,
    *,
    marked: bool,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[list[int], list[Origin], tuple[Slot, ...]]:
    """The ids of a chat, the origin of each, and its slots; with `marked`, passages are written [[…]] in the contents.

    If origins cannot be determined, all ids have the role of a plain prompt, and a warning is logged. That happens when
    the template alters contents in ways that probes cannot follow, or when the tokenizer neither reports which
    characters its tokens stand for, nor decodes them to the same text.

    Args:
        tokenizer: whose template is used.
        messages: see `tokensal.adapters.messages.read_messages`.
        marked: whether passages are marked.
        arguments: further ones of the template.

    Raises:
        InputError: no template or no content, a chat or an argument that the template refuses, or passages that are
            wrongly marked, that have no tokens, or whose tokens cannot be determined; or fillers that do not fit.
    """
    template = Template(tokenizer, dict(arguments or {}))
    chat = template.readable(read_messages(messages))
    own = [text for message in chat for text in content_texts(message)]
    marks = [read_marks(text) if marked else Marked(text) for text in own]
    texts = [each.text for each in marks]
    passages = [TextSpan(index, *span) for index, each in enumerate(marks) for span in each.passages]
    if marked and not passages:
        raise InputError("No passage is marked: write [[ and ]] around at least one in the contents of the messages.")

    def encode(texts: Sequence[str]) -> list[int]:
        return list(template.apply(with_texts(chat, texts), tokenize=True)["input_ids"])

    ids = encode(texts)
    try:
        origins = _origins(template, chat, texts, passages, ids)
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
        return ids, [Origin(Role.PROMPT)] * len(ids), ()
    numbers = [origin.mark for origin in origins]
    require_tokens([texts[span.index][span.start : span.stop] for span in passages], numbers)
    fillers = [of_passage for text in marks for of_passage in text.fillers]
    slots = read_slots(texts, passages, fillers, ids, numbers, encode)
    return ids, _with_brackets(origins, chat) if marked else origins, slots


def _origins(
    template: Template,
    chat: Sequence[dict[str, Any]],
    texts: Sequence[str],
    passages: Sequence[TextSpan],
    ids: Sequence[int],
) -> list[Origin]:
    """The origin of each id; characters count those of the texts. Raises `TextNotLocated`."""

    def render(texts: Sequence[str]) -> str | None:
        try:
            return str(template.apply(with_texts(chat, texts), tokenize=False))
        except InputError:  # the template refuses these texts
            return None

    rendered = str(template.apply(with_texts(chat, texts), tokenize=False))
    if (id_spans := token_spans(template.tokenizer, rendered, ids, special=False)) is None:
        raise TextNotLocated
    contents = [TextSpan(index, 0, len(text)) for index, text in enumerate(texts) if text]
    located = locate(Rendering(render, texts, rendered), [*contents, *passages])
    messages = [number for number, message in enumerate(chat) for _ in content_texts(message)]
    numbers = number_characters(len(rendered), located[: len(contents)])
    marks = number_characters(len(rendered), located[len(contents) :])
    origins = []
    labels = label_spans(rendered, list(zip(numbers, marks, strict=True)), id_spans, (None, None))
    for span, (number, mark) in zip(id_spans, labels, strict=True):
        if number is None:
            origins.append(Origin(Role.TEMPLATE, mark))
            continue
        index, shown = contents[number].index, located[number]
        role = ROLES.get(chat[messages[index]].get("role", ""), Role.PROMPT)
        characters = _own_characters(texts[index], rendered, shown, span)
        shift = sum(map(len, texts[messages.index(messages[index]) : index]))  # of the blocks before, in one message
        own = None if characters is None else (characters[0] + shift, characters[1] + shift)
        origins.append(Origin(role, mark, own, messages[index]))
    return origins


def _own_characters(text: str, rendered: str, shown: Span, span: Span) -> Span | None:
    """Which characters of a text those of a span of the rendering are; None where the template altered the text."""
    excerpt = rendered[slice(*shown)]
    before = len(text) - len(excerpt) if text.endswith(excerpt) else text.find(excerpt)
    start, stop = max(span[0], shown[0]), min(span[1], shown[1])
    return None if before < 0 or start >= stop else (start - shown[0] + before, stop - shown[0] + before)


def _with_brackets(origins: Sequence[Origin], chat: Sequence[dict[str, Any]]) -> list[Origin]:
    """The same origins, whose characters count the brackets too that mark passages."""
    kept = []
    for message in chat:
        places, shift = [], 0
        for text in content_texts(message):
            places += [shift + place for place in read_marks(text).kept]
            shift += len(text)
        kept.append(places)
    return [
        origin
        if origin.in_prompt is None or origin.message is None
        else origin._replace(in_prompt=place_among(kept[origin.message], origin.in_prompt))
        for origin in origins
    ]
