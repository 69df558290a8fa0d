"""Prompts of the user's own, from records: a list of tables, a .jsonl file with one a line, or a .csv file.

A record has these fields, all but the first optional:

    prompt, or messages   a text, or the messages of a chat, each with a role and a content that is a text
    answer                the answer as it continues the prompt, mostly with a leading space; else one is generated
    gold                  where in the prompt the words stand that the answer rests on: characters [start, stop], or
                          several of these; of a chat, [message, start, stop]. As text, as in a .csv file: "4:9 12:17",
                          of a chat "0:4:9"
    contrast              what the answer is explained against
    id, kind              names; an id is the number of the line where there is none

Without the field gold, the words may be marked in the prompt as [[…]]; the brackets are removed. A record that is a
text is a prompt. Other fields are left alone, but one that looks like a slip for one of these is an error.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from tokensal.adapters.marks import read_marks
from tokensal.adapters.messages import read_messages
from tokensal.errors import InputError, foreign, reason
from tokensal.evaluation.prompts.prompt import Gold, Prompt
from tokensal.run_options import FIELDS
from tokensal.values import described, is_whole, plain, read_kind, read_text, read_text_or_ids

SUFFIXES = (".jsonl", ".csv")

Record = Mapping[str, Any] | str | Prompt


def read_prompts(records: Iterable[Record] | str | PathLike[str]) -> list[Prompt]:
    """The prompts of records, or of a file of them.

        >>> [prompt] = read_prompts([{"prompt": "Tom lives in [[Paris]]. Tom lives in", "answer": " Paris"}])
        >>> prompt.prompt, prompt.gold
        ('Tom lives in Paris. Tom lives in', (Gold(start=13, stop=18, message=None, target=None),))

    Args:
        records: tables, texts, or prompts that are read already; or the path of a .jsonl or .csv file, which has a
            first line of names, in UTF-8.

    Raises:
        InputError: one sentence that names the line (or the number of the record, from 0 on) and the field.
    """
    located = _of_file(Path(records)) if isinstance(records, str | PathLike) else _of_list(records)
    prompts: list[Prompt] = []
    places: dict[str, str] = {}
    for place, name, record in located:
        try:
            prompt = record if isinstance(record, Prompt) else read_record(record, name)
            if prompt.id in places:
                raise InputError(f"Field 'id' is {prompt.id!r}, as in {places[prompt.id]}: give each record its own.")
        except InputError as error:
            raise InputError(f"{place}: {lowered(str(error))}") from error
        places[prompt.id] = place
        prompts.append(prompt)
    if not prompts:
        raise InputError("There are no records: give at least one with a prompt.")
    return prompts


def lowered(sentence: str) -> str:
    """A sentence as it goes on behind a colon."""
    return sentence[0].lower() + sentence[1:]


# Where records come from: (how errors call the place, the id of a record without one, the record)


def _of_list(records: object) -> Iterator[tuple[str, str, Any]]:
    if isinstance(records, Mapping) or not isinstance(records, Iterable):
        raise InputError(
            f"The records are {described(records)}, but should be a list such as [{{'prompt': '…', 'answer': '…'}}], "
            "or the path of a .jsonl or .csv file."
        )
    for number, record in enumerate(records):
        yield f"Record {number}", str(number), record


def _of_file(path: Path) -> Iterator[tuple[str, str, Any]]:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"Records are read from {' and '.join(SUFFIXES)} files, but got {fspath(path)!r}.")
    read = _of_lines if path.suffix.lower() == ".jsonl" else _of_table
    with foreign(InputError, f"Could not read {fspath(path)!r}", "It should be a file of records in UTF-8."):
        text = path.read_text("utf-8-sig")
    for line, record in read(path.name, text):
        yield f"Line {line} of {path.name}", str(line), record


def _of_lines(name: str, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, _required(read_line(line), f"Line {number} of {name}")


def _of_table(name: str, text: str) -> Iterator[tuple[int, Any]]:
    for number, record in table_rows(io.StringIO(text, newline=""), name):
        yield number, _required(record, f"Line {number} of {name}")


def _required(record: Any, place: str) -> Any:
    if isinstance(record, Unreadable):
        raise InputError(f"{place} {record.complaint}")
    return record


# Lines: what cannot be read is told, and the next ones are read nevertheless


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that holds no record.

    Attributes:
        complaint: what is wrong with it, and the remedy, as it goes on behind "Line 3".
    """

    complaint: str


def read_line(line: str | bytes) -> Any:
    """What a line of JSON holds."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:  # what is no UTF-8 is a ValueError, too
        told = error.msg if isinstance(error, json.JSONDecodeError) else reason(error)
        return Unreadable(f'is no JSON ({told}): write one record a line, such as {{"prompt": "…", "answer": "…"}}.')


def table_rows(
    lines: Iterable[str], name: str, *, delimiter: str = ","
) -> Iterator[tuple[int, dict[str, Any] | Unreadable]]:
    """The rows of a table whose first line has the names; an empty cell is None.

    Args:
        lines: with their ends as they are in the file.
        name: of the file, for errors.
        delimiter: what stands between cells.

    Yields:
        The number of the line, from 1 on, and the row; of a row that takes several lines, the last one's number.

    Raises:
        InputError: the first line is no CSV, or has a name twice.
    """
    rows = csv.reader(lines, strict=True, delimiter=delimiter)
    header: list[str] | None = None
    while True:
        row: dict[str, Any] | Unreadable
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            row = Unreadable(f"is no CSV: {reason(error)}.")
            if header is None:
                raise InputError(f"Line {rows.line_num} of {name} {row.complaint}") from error
        else:
            if header is None:
                header = _header(cells, name)
                continue
            if not cells:
                continue
            row = _row(cells, header)
        yield rows.line_num, row


def _header(names: list[str], file: str) -> list[str]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"Line 1 of {file} has the name {twice[0]!r} twice: name each column once.")
    return names


def _row(cells: list[str], header: list[str]) -> dict[str, Any] | Unreadable:
    if len(cells) != len(header):
        return Unreadable(
            f"has {len(cells)} cells, but the first line has {len(header)} names: put cells with commas or quotes in "
            '"…".'
        )
    return {name: cell or None for name, cell in zip(header, cells, strict=True)}


# A record


def read_record(record: Any, number: str, *, marks: bool = True) -> Prompt:
    """The prompt of a record.

    Args:
        record: a table with the fields above, or a text.
        number: its id, where it has none.
        marks: whether gold may be marked as [[…]]; else brackets are text.

    Raises:
        InputError: one sentence that names the field.
    """
    fields = _fields(record)
    if (fields.get("prompt") is None) == (fields.get("messages") is None):
        raise InputError("Give either a field 'prompt' or a field 'messages' (a chat), and not both.")
    text = _own_text(fields, "prompt")
    messages = () if fields.get("messages") is None else _messages(fields["messages"])
    if text is not None and not text:
        raise InputError("Field 'prompt' is empty: give it some text.")
    spans = fields.get("gold")
    gold: tuple[Gold, ...] = ()
    if spans is not None:
        gold = _gold(spans, chat=bool(messages))
    elif marks:
        text, messages, gold = _without_marks(text, messages)
    answer, contrast = (_own_text(fields, name) for name in ("answer", "contrast"))
    for name, value in (("answer", answer), ("contrast", contrast)):
        if value == "":
            raise InputError(f"Field {name!r} is empty: give it some text, or leave it out.")
    id, kind = (fields.get(name) for name in ("id", "kind"))
    id = str(plain(id)) if is_whole(id) else read_text("Field 'id'", id, optional=True)
    read_text("Field 'kind'", kind, optional=True)
    try:
        return Prompt(
            id=number if id is None else id,
            kind=kind or "",
            prompt=text,
            messages=messages,
            continuation=answer,
            contrast=contrast,
            gold=gold,
        )
    except InputError as error:
        raise InputError(f"Field 'gold': {lowered(str(error))}") from error


def _fields(record: Any) -> Mapping[str, Any]:
    if isinstance(record, str):
        return {"prompt": record}
    if not isinstance(record, Mapping):
        raise InputError(
            f"A record is {described(record)}, but should be a table such as {{'prompt': '…'}}, or a text."
        )
    for name in record:
        read_kind("The name of a field", name, str, "a text")
        near = difflib.get_close_matches(name.strip().lower(), FIELDS, n=1, cutoff=0.75)
        if name not in FIELDS and near:
            raise InputError(f"Unknown field {name!r}: did you mean {near[0]!r}? Known: {', '.join(FIELDS)}.")
    return record


def _own_text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None:
        read_kind(f"Field {name!r}", value, str, "a text")
        read_text_or_ids(f"field {name!r}", value)  # refuses half characters
    return value


def _messages(value: object) -> tuple[Mapping[str, str], ...]:
    try:
        messages = read_messages(value)
    except InputError as error:
        raise InputError(f"Field 'messages': {lowered(str(error))}") from error
    for number, message in enumerate(messages):
        read_kind(f"Field 'messages': the content of message {number}", message.get("content"), str, "a text")
    return tuple(messages)


def _without_marks(
    text: str | None, messages: Sequence[Mapping[str, str]]
) -> tuple[str | None, tuple[Mapping[str, str], ...], tuple[Gold, ...]]:
    """The texts without brackets, and what was between them."""
    gold: list[Gold] = []

    def read(content: str, message: int | None) -> str:
        try:
            marked = read_marks(content)
        except InputError as error:
            place = "Field 'prompt'" if message is None else f"Message {message} of field 'messages'"
            raise InputError(f"{place}: {lowered(str(error))}") from error
        if any(marked.fillers):
            raise InputError(
                "A marked passage of gold has fillers behind a bar, which gold does not take: write \\| for a bar that "
                "is part of it."
            )
        gold.extend(Gold(start, stop, message) for start, stop in marked.passages)
        return marked.text

    plain_text = None if text is None else read(text, None)
    contents = [{**each, "content": read(each["content"], number)} for number, each in enumerate(messages)]
    return plain_text, tuple(contents), tuple(gold)


def _gold(value: object, *, chat: bool) -> tuple[Gold, ...]:
    """Spans as they are written in a record."""
    width = 3 if chat else 2
    spans = _numbers_in(value) if isinstance(value, str) else plain(value)
    if isinstance(spans, list | tuple) and len(spans) == width and all(map(is_whole, spans)):
        spans = [spans]
    if not isinstance(spans, list | tuple) or not spans or not all(_is_span(plain(span), width) for span in spans):
        form = "[message, start, stop]" if chat else "[start, stop]"
        raise InputError(
            f"Field 'gold' is {described(value)}, but should be characters {form} of the "
            f"{'content of that message' if chat else 'prompt'}, with 0 ≤ start < stop, or several of these."
        )
    return tuple(Gold(span[-2], span[-1], span[0] if chat else None) for span in map(plain, spans))


def _is_span(span: object, width: int) -> bool:
    if not isinstance(span, list | tuple) or len(span) != width or not all(map(is_whole, span)):
        return False
    return bool(0 <= span[-2] < span[-1] and span[0] >= 0)


def _numbers_in(text: str) -> list[list[int]]:
    """ "4:9 12:17" as [[4, 9], [12, 17]]; nothing where it is written in another way."""
    pieces = re.split(r"[\s,;]+", text.strip())
    if not all(re.fullmatch(r"\d+(:\d+)+", piece) for piece in pieces):
        return []
    return [list(map(int, piece.split(":"))) for piece in pieces]
