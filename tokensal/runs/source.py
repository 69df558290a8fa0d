"""Examples from a source, one after another.

An entry that cannot be read has a reason in place of a prompt, and the others are read nevertheless.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from typing import Any, NamedTuple

from tokensal.errors import InputError
from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.evaluation.prompts.records import Record, read_prompts
from tokensal.run_options import Reading

Source = str | PathLike[str] | Iterable[Record]


@dataclass(frozen=True, slots=True)
class Entry:
    """An example as it was read.

    Attributes:
        number: its place in the source, from 0 on.
        id: its name; its number where it has none.
        prompt: what was read; None where that failed.
        error: why it could not be read; empty where it could.
    """

    number: int
    id: str
    prompt: Prompt | None
    error: str = ""


class Opened(NamedTuple):
    """A source that can be read.

    Attributes:
        entries: one after another.
        identity: what tells it from other sources, as plain data: of a file a digest of its bytes.
        total: how many entries there are, where that is known.
    """

    entries: Iterator[Entry]
    identity: dict[str, Any]
    total: int | None


def open_source(source: Source, reading: Reading) -> Opened:
    """The entries of a source.

    Raises:
        InputError: it cannot be read, or it has none of the columns.
    """
    if isinstance(source, str | PathLike):
        raise InputError("Only lists of records are read so far.")  # TODO(helper): files and data sets
    prompts = read_prompts(source)
    entries = (Entry(number, prompt.id, prompt) for number, prompt in enumerate(prompts))
    return Opened(islice(entries, reading.limit), {"source": "records"}, len(prompts))
