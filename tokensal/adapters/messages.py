"""Messages of a chat, and the template that makes a text of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokensal.adapters.offsets import restoring
from tokensal.errors import InputError
from tokensal.values import described, read_text_or_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Iterable[Mapping[str, Any]]

# Arguments of `apply_chat_template` that are set here
RESERVED = (
    "conversation", "messages", "tokenize", "add_generation_prompt", "continue_final_message", "padding", "truncation",
    "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs",
)  # fmt: skip


def read_messages(messages: object) -> list[dict[str, Any]]:
    """The messages as a list of tables; those of {"messages": …} too.

    Each has a role, and a content that is a text, a list of blocks ({"type": "text", "text": …}, or texts), or missing.

    Raises:
        InputError: something else, or no content at all.
    """
    if isinstance(messages, Mapping) and "messages" in messages:
        messages = messages["messages"]
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        raise InputError(
            f"The messages are {described(messages)}, but should be a list such as "
            "[{'role': 'user', 'content': '…'}]."
        )
    chat = [_read_message(number, message) for number, message in enumerate(messages)]
    if not any(message.get("content") for message in chat):
        raise InputError("The prompt is empty: give the chat at least one message with content.")
    return chat


def _read_message(number: int, message: object) -> dict[str, Any]:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise InputError(
            f"Message {number} is {described(message)}, but should be a table with a role, such as "
            "{'role': 'user', 'content': '…'}."
        )
    content = message.get("content")
    if isinstance(content, list | tuple):
        content = [{"type": "text", "text": block} if isinstance(block, str) else block for block in content]
    blocks = content if isinstance(content, list) else []
    if not isinstance(content, str | list | None) or not all(isinstance(block, Mapping) for block in blocks):
        raise InputError(
            f"The content of message {number} is {described(content)}, but should be a text, or a list of blocks such "
            "as {'type': 'text', 'text': '…'}."
        )
    for text in content_texts({"content": content}):
        read_text_or_ids(f"content of message {number}", text)
    return {**message, "content": content} if "content" in message else dict(message)


# The texts of messages


def content_texts(message: Mapping[str, Any]) -> list[str]:
    """The texts in the content of a message: one, or those of its blocks."""
    content = message.get("content")
    blocks: Sequence[Any] = content if isinstance(content, list) else [{"text": content}]
    return [block["text"] for block in blocks if _is_text(block)]


def with_texts(messages: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> list[dict[str, Any]]:
    """The same messages with these texts instead of their own."""
    remaining = iter(texts)

    def replace_texts(content: Any) -> Any:
        if isinstance(content, list):
            return [{**block, "text": next(remaining)} if _is_text(block) else block for block in content]
        return next(remaining) if isinstance(content, str) else content

    return [
        {key: replace_texts(value) if key == "content" else value for key, value in message.items()}
        for message in messages
    ]


def _is_text(block: Mapping[str, Any]) -> bool:
    return isinstance(block.get("text"), str)


# The template


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """The chat template of a tokenizer, and what it is called with besides messages, such as tools.

    Raises:
        InputError: no template, or an argument that it does not use.
    """

    tokenizer: PreTrainedTokenizerBase
    arguments: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.tokenizer.chat_template and "chat_template" not in self.arguments:
            raise InputError("This model's tokenizer has no chat template; give a plain prompt instead of messages.")
        with restoring(self.tokenizer, "The model's chat template cannot be read"):
            text = self.tokenizer.get_chat_template(self.arguments.get("chat_template"), self.arguments.get("tools"))
            words = set(re.findall(r"[A-Za-z_]\w*", text))
        for name in self.arguments:
            if name in RESERVED:
                raise InputError(f"The argument {name!r} of the chat template follows from the messages: leave it out.")
            if name not in words and name != "chat_template":
                near = difflib.get_close_matches(str(name), words, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "leave it out."
                raise InputError(f"The model's chat template does not use the argument {name!r}: {hint}")

    def apply(self, messages: list[dict[str, Any]], *, tokenize: bool) -> Any:
        """The messages as text, or what the tokenizer makes of it; the answer continues an assistant's last words.

        Raises:
            InputError: the template refuses them.
        """
        unfinished = messages[-1]["role"] == "assistant"
        with restoring(self.tokenizer, "The model's chat template refuses these messages"):
            return self.tokenizer.apply_chat_template(
                messages,
                **self.arguments,
                add_generation_prompt=not unfinished,
                continue_final_message=unfinished,
                tokenize=tokenize,
                return_dict=tokenize,
            )

    def readable(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages; with a text for blocks where the template takes none, or a block for texts that it leaves out.

        Raises:
            InputError: it takes no blocks, and some are no texts.
        """
        rendered, texts = self._rendered(messages), ["".join(content_texts(message)) for message in messages]
        contents = [message["content"] for message in messages if isinstance(message.get("content"), list)]
        if contents:
            if rendered is not None and not _is_printed(rendered, texts):
                return messages
            if all(_is_text(block) for content in contents for block in content):
                return _with_contents(messages, list, texts)
            if rendered is not None:
                raise InputError("The model's chat template takes texts alone, but some contents have other blocks.")
        elif rendered is not None and not any(text.strip() in rendered for text in texts if text.strip()):
            blocks = _with_contents(messages, str, [[{"type": "text", "text": text}] for text in texts])
            again = self._rendered(blocks)
            if again and not _is_printed(again, texts) and all(text.strip() in again for text in texts):
                return blocks
        return messages

    def _rendered(self, messages: list[dict[str, Any]]) -> str | None:
        """The messages as text; None where the template refuses them."""
        try:
            return str(self.apply(messages, tokenize=False))
        except InputError:
            return None


def _with_contents(messages: list[dict[str, Any]], kind: type, contents: Sequence[Any]) -> list[dict[str, Any]]:
    """The messages, with these contents where theirs are of that kind."""
    return [
        {**message, "content": content} if isinstance(message.get("content"), kind) else message
        for message, content in zip(messages, contents, strict=True)
    ]


def _is_printed(rendered: str, texts: Sequence[str]) -> bool:
    """Whether a rendering shows a list of blocks as Python prints it, in place of their texts."""
    beginning = "[{'type'"
    return rendered.count(beginning) > sum(text.count(beginning) for text in texts)
