"""Records as they stand in a source, before it is known whether they can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tokensal.errors import InputError, foreign
from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.evaluation.prompts.records import Unreadable, read_line
from tokensal.values import described, is_whole, plain, read_kind

ROLES = {"human": "user", "gpt": "assistant"}  # as chats of ShareGPT call them


class Records(NamedTuple):
    """What a source holds.

    Attributes:
        values: one record after another, some of which may not be readable.
        identity: what tells the source from others, as plain data.
        total: how many there are, where that is known.
    """

    values: Iterator[Any]
    identity: dict[str, Any]
    total: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of JSON that is not read yet."""

    content: bytes


def as_table(record: Any) -> Mapping[str, Any] | Prompt:
    """A record as a table: of a line what it holds, of a text {"prompt": …}, of a chat {"messages": …}, of a pair both
    of one of these and {"answer": …}.

    Raises:
        InputError: it is none of these, or a line that cannot be read.
    """
    if isinstance(record, Line):
        record = read_line(record.content)
    match record:
        case Prompt():
            return record
        case Unreadable(complaint):
            raise InputError(f"The line {complaint}")
        case str():
            return {"prompt": record}
        case Mapping():
            for name in record:
                read_kind("The name of a column", name, str, "a text")
            return record
        case [str() as prompt, str() as answer]:
            return {"prompt": prompt, "answer": answer}
        case [[*messages], str() as answer] if _is_chat(messages):
            return {"messages": messages, "answer": answer}
        case [*messages] if _is_chat(messages):
            return {"messages": messages}
    raise InputError(
        f"A record is {described(record)}, but should be a table such as {{'prompt': '…'}}, a text, a list of "
        "messages, or a pair of one of these and its answer."
    )


def _is_chat(record: Sequence[Any]) -> bool:
    return len(record) > 0 and all(isinstance(message, Mapping) for message in record)


def with_roles(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields whose messages have no nulls, which tables have for what is missing; those of ShareGPT have roles."""
    messages = fields.get("messages")
    if not isinstance(messages, list | tuple) or not _is_chat(messages):
        return fields
    own = [{name: value for name, value in message.items() if value is not None} for message in messages]
    return {**fields, "messages": [_with_role(message) for message in own]}


def _with_role(message: dict[str, Any]) -> dict[str, Any]:
    if "role" in message or not message.keys() >= {"from", "value"}:
        return message
    return {"role": ROLES.get(message["from"], message["from"]), "content": message["value"]}


def own_id(value: object) -> str | None:
    """An id as a text; None where it is none."""
    text = str(plain(value)) if is_whole(value) else value
    return text if isinstance(text, str) and _is_encodable(text) else None


def required_plain(prompt: Prompt) -> Prompt:
    """The same prompt.

    Raises:
        InputError: it cannot be written into a file: a message holds a date, say, or half a character.
    """
    try:
        text = json.dumps([prompt.id, prompt.kind, *map(dict, prompt.messages)], ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"A message holds what is no JSON ({error}): leave that out.") from error
    if not _is_encodable(text):
        raise InputError("Field 'id', 'kind' or 'messages' holds half a character: write the text in UTF-8.")
    return prompt


def _is_encodable(text: str) -> bool:
    return re.search("[\ud800-\udfff]", text) is None


# Records that a program holds


def records_of_iterable(source: Iterable[Any]) -> Records:
    """The records of a list, or of an iterable that is read once."""
    if isinstance(source, list | tuple):
        # no digest: finished parts are compared with the examples, and a list may grow
        return Records(iter(source), {"source": "records"}, len(source))
    return Records(_guarded(source), {"source": "iterable"}, None)


def _guarded(source: Iterable[Any]) -> Iterator[Any]:
    """The same, where what the source raises is an error of ours."""
    with foreign(InputError, "The source cannot be read on", "What is written so far is complete."):
        yield from source
