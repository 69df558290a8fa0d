"""Which columns of a source the fields of an example are read from.

A field (prompt, messages, answer, gold, contrast, id, kind) is read

1. from the column that is named for it: `{"prompt": "question"}`;
2. from a part of one, by a path of names and, in lists, of numbers from 0 on: `{"answer": "answers.text.0"}`;
3. from a text with columns or paths in braces, where {{ and }} stand for braces:
   `{"prompt": "Question: {question}\\nAnswer:", "answer": " {answers.text.0}"}`. Numbers are written out. It is also
   how an answer gets the space that it begins with;
4. from nowhere, if an empty text is named: with `{"answer": ""}`, answers are generated although there are some;
5. from the column of its own name, if none is named. A named prompt takes the place of a column `messages`, and the
   other way round.

A value that is missing, or null, is a field that the example does not have; in a text with braces it is an error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokensal.errors import InputError, unknown
from tokensal.run_options import FIELDS
from tokensal.values import described

Record = Mapping[str, Any]

BRACES = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")
TEXTS = ("prompt", "messages")  # one of the two is what is explained
SIMILAR = ("answer", "contrast", "gold")  # without one of these, an example means something else


class _WrongColumn(InputError):
    """A column that cannot be what the field needs, in whatever example."""


@dataclass(frozen=True)
class Columns:
    """The columns of fields.

    Attributes:
        named: for a field its column, its path, or its text with braces; empty where it is not read.

    Raises:
        InputError: a text has a brace without the other one.
    """

    named: Mapping[str, str]

    def __post_init__(self) -> None:
        for field, column in self.named.items():
            for match in BRACES.finditer(column):
                if match[0] in ("{", "}"):
                    raise InputError(
                        f"The column of {field!r} has a {match[0]} without the other brace: write {{column}}, or "
                        f"{match[0] * 2} for a brace that is part of the text."
                    )

    def fields(self, record: Record) -> dict[str, Any]:
        """The fields of a record, without those that it does not have.

        Raises:
            InputError: a column is not what the field needs, or one in braces is empty.
        """
        columns = {field: column for field, column in self._columns(record).items() if column}
        values = {field: _value(record, column) for field, column in columns.items()}
        return {field: value for field, value in values.items() if value is not None}

    def value(self, record: Record, field: str) -> Any:
        """One field of a record; None where it cannot be read."""
        try:
            column = self._columns(record).get(field)
            return _value(record, column) if column else None
        except InputError:
            return None

    def needed(self, names: Iterable[str]) -> list[str]:
        """Those of the columns that are read.

        Raises:
            InputError: a column that is named is not among them, there is no prompt, or a column has nearly the name of
                a field.
        """
        names = list(names)
        columns = [path for column in self._columns(names).values() for path in _paths(column)]
        for path in columns:
            if _column_of(path, names) not in names:
                raise unknown("column", _column_of(path, names), names)
        self._require_text(names)
        needed = {_column_of(path, names) for path in columns}
        self._require_no_slip(names, needed)
        return sorted(needed)

    def require(self, records: Sequence[Record]) -> None:
        """Refuse columns that do not fit the first records of a source, before a model is loaded.

        Raises:
            InputError: as `needed`; or the columns cannot be what the fields need in any of the records.
        """
        if not records:
            return
        self.needed(dict.fromkeys(name for record in records for name in record))
        wrong: list[_WrongColumn] = []
        for record in records:
            try:
                self._require_one_text(self.fields(record))
            except _WrongColumn as error:
                wrong.append(error)
            except InputError:
                continue  # of this record alone
            else:
                return
        if wrong:
            raise wrong[0]

    def _columns(self, names: Iterable[str]) -> dict[str, str]:
        """For each field its column, of those that there are."""
        own = set(names) & set(FIELDS)
        if any(self.named.get(text) for text in TEXTS):
            own -= {*TEXTS}
        return {field: field for field in FIELDS if field in own} | dict(self.named)

    def _require_text(self, names: Sequence[str]) -> None:
        columns = self._columns(names)
        if not any(columns.get(text) for text in TEXTS):
            near = [match for text in TEXTS for match in difflib.get_close_matches(text, names, n=1)]
            example = (near or list(names) or ["question"])[0]
            raise InputError(
                f"There is no column 'prompt' or 'messages', but {', '.join(map(repr, names)) or 'none at all'}: name "
                f"the one to read, as in --column prompt={example}."
            )

    def _require_one_text(self, fields: Mapping[str, Any]) -> None:
        if all(text in fields for text in TEXTS):
            raise _WrongColumn(
                "There are both a column 'prompt' and a column 'messages': name the one to read, as in --column "
                "prompt=prompt."
            )

    def _require_no_slip(self, names: Sequence[str], needed: Container[str]) -> None:
        """Of the columns that are not read, none may look like a field that there is not."""
        others = {name.strip().lower(): name for name in names if name not in needed}
        for field in SIMILAR:
            near = difflib.get_close_matches(field, others, n=1, cutoff=0.8)
            if near and field not in self.named and field not in names:
                name = others[near[0]]
                raise InputError(
                    f"The column {name!r} has nearly the name of the field {field!r}: say --column {field}={name} to "
                    f"read it, or --column {field}= to leave it."
                )


def _paths(column: str) -> list[str]:
    """The paths of a column, or of a text with braces."""
    if "{" in column or "}" in column:
        return [match[1] for match in BRACES.finditer(column) if match[1]]
    return [column] if column else []


def _column_of(path: str, names: Iterable[str]) -> str:
    """The column that a path begins with: one of that very name, or else up to the first dot."""
    return path if path in names else path.split(".")[0]


def _value(record: Record, column: str) -> Any:
    if "{" not in column and "}" not in column:
        return _part(record, column)

    def written(match: re.Match[str]) -> str:
        return match[0][0] if match[1] is None else _written(match[1], _part(record, match[1]))

    return BRACES.sub(written, column)


def _written(path: str, value: object) -> str:
    """A value in a text."""
    if value is None:
        raise InputError(f"Column {path!r} is empty, but stands in a text.")
    if isinstance(value, Mapping | list | tuple | bytes):
        parts = [f"{path}.{name}" for name in (value if isinstance(value, Mapping) else range(len(value)))]
        hint = f"name a part of it, such as {parts[0]!r}." if parts else "it has no parts."
        raise _WrongColumn(f"Column {path!r} is {described(value)}, but should be a text or a number: {hint}")
    return str(value)


def _part(record: Record, path: str) -> Any:
    """What a path leads to; None where something on it is missing or null."""
    name = _column_of(path, record)
    value, steps = record.get(name), path.removeprefix(name).split(".")[1:]
    for step in steps:
        if value is None:
            return None
        value, name = _step(value, step, name), f"{name}.{step}"
    return value


def _step(value: Any, step: str, path: str) -> Any:
    if isinstance(value, Mapping):
        if step not in value:
            raise _as_wrong(unknown(f"part of column {path!r}:", step, map(str, value)))
        return value[step]
    if not isinstance(value, list | tuple):
        raise _WrongColumn(f"Column {path!r} is {described(value)}, so it has no part {step!r}: name the column alone.")
    if not step.isdecimal():
        raise _WrongColumn(f"Column {path!r} is a list: name an entry of it by its number, as in '{path}.0'.")
    if int(step) >= len(value):
        raise InputError(f"Column {path!r} has {len(value)} entries, so none of the number {step}.")
    return value[int(step)]


def _as_wrong(error: InputError) -> _WrongColumn:
    return _WrongColumn(str(error))
