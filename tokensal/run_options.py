"""The options of runs over data sets, each written once (see `tokensal.options`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokensal.errors import InputError, unknown
from tokensal.options import option
from tokensal.values import described, read_flag, read_kind, read_text, read_whole, store

FIELDS = ("prompt", "messages", "answer", "gold", "contrast", "id", "kind")  # of a record
PART_SIZE = 16  # examples; what an interruption loses at most


@dataclass(frozen=True, slots=True)
class Shard:
    """The parts whose number leaves the remainder `number` when divided by `total`."""

    number: int = 0
    total: int = 1

    def within(self, other: Shard) -> Shard:
        """The shard of a shard: `other` divides what this one has."""
        return Shard(self.number + self.total * other.number, self.total * other.total)

    def holds(self, part: int) -> bool:
        """Whether the part of that number belongs to it."""
        return part % self.total == self.number


def read_shard(text: str | None) -> Shard:
    """The shard that "2/8" means: the third of eight; all without a text.

    Raises:
        InputError: it is no such text, or the number is not below the count.
    """
    if text is None:
        return Shard()
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise InputError(f"shard is {described(text)}, but should be i/n with 0 ≤ i < n, such as 0/8.")
    return Shard(int(match[1]), int(match[2]))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Which examples are read from a source, and what their columns are.

    Raises:
        InputError: a value of the wrong type, or an unknown field.
    """

    columns: Mapping[str, str] | None = option(
        None, "The column of a field, as in prompt=question; or a text with columns in braces, as in "
        "'prompt=Question: {question} Answer:'. The fields are prompt or messages, and answer, contrast, gold, id and "
        "kind; a field that is not named is read from the column of its own name.",
        kind=dict, flag="--column", metavar="FIELD=COLUMN",
    )  # fmt: skip
    split: str | None = option(None, "The split of a data set, such as test; train if left out.")
    subset: str | None = option(None, "The configuration of a data set on the hub, where it has several.")
    chat: bool = option(False, "Put each prompt through the model's chat template.", flag="--chat/--raw")
    system: str | None = option(None, "A system message before each prompt; the flag implies --chat.")
    template: Mapping[str, Any] | None = option(
        None, "Argument of the chat template, such as enable_thinking=false; the flag implies --chat.",
        kind=dict, metavar="KEY=VALUE",
    )  # fmt: skip
    limit: int | None = option(None, "Read the first examples only, so many.", kind=int)
    shard: str | None = option(
        None, "Do the i-th of n shares of the work, such as 0/8: each machine another one, into the same folder.",
        metavar="I/N",
    )  # fmt: skip

    def __post_init__(self) -> None:
        read_kind("columns", self.columns, Mapping, "a table, such as {'prompt': 'question'}", optional=True)
        for field, column in (self.columns or {}).items():
            if field not in FIELDS:
                raise unknown("field of a record:", field, FIELDS)
            read_text(f"The column of {field!r}", column)
        for name in ("split", "subset", "system"):
            read_text(name, getattr(self, name), optional=True)
        read_flag("chat", self.chat)
        store(self, limit=read_whole("limit", self.limit, least=1, optional=True))
        read_text("shard", self.shard, optional=True)
        read_shard(self.shard)
        if (self.system is not None or self.template) and not self.chat:
            raise InputError("A system message, or an argument of the chat template, needs the template: add chat.")

    def content(self) -> dict[str, Any]:
        """What decides which text an example is; limit and shard only decide whether it is read."""
        names = ("columns", "split", "subset", "chat", "system", "template")
        return {name: getattr(self, name) for name in names if getattr(self, name)}
