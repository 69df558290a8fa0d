"""The options of runs over data sets, each written once (see `tokensal.options`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokensal.errors import InputError, unknown
from tokensal.options import Generation, option, same_option
from tokensal.values import described, read_flag, read_kind, read_text, read_whole, store

FIELDS = ("prompt", "messages", "answer", "gold", "contrast", "id", "kind")  # of a record
PART_SIZE = 16  # examples; what an interruption loses at most
TRIALS = 6  # examples that a plan explains


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

    def share(self, examples: int, part_size: int) -> int:
        """How many of so many examples belong to it, where parts have that size."""
        parts = range(self.number, -(-examples // part_size), self.total)
        return sum(min(part_size, examples - part * part_size) for part in parts)


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
        "'prompt=Question: {question} Answer:'; answers.text.0 leads into a column. The fields are prompt or messages, "
        "and answer, contrast, gold, id and kind; a field that is not named is read from the column of its own name, "
        "and one that is named as empty, as in answer=, is not read.",
        kind=dict, flag="--column", metavar="FIELD=COLUMN",
    )  # fmt: skip
    split: str | None = option(None, "The split of a data set, such as test; train if left out.")
    subset: str | None = option(None, "The configuration of a data set on the hub, where it has several.")
    marks: bool = option(
        False, "Read [[…]] in a prompt as its gold, for evaluate, and leave out the brackets; else they are text.",
        flag="--marks/--no-marks",
    )  # fmt: skip
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
        for name in ("marks", "chat"):
            read_flag(name, getattr(self, name))
        store(self, limit=read_whole("limit", self.limit, least=1, optional=True))
        read_text("shard", self.shard, optional=True)
        read_shard(self.shard)
        if (self.system is not None or self.template) and not self.chat:
            raise InputError("A system message, or an argument of the chat template, needs the template: add chat.")

    def content(self) -> dict[str, Any]:
        """What decides which text an example is; limit and shard only decide whether it is read."""
        names = ("columns", "split", "subset", "marks", "chat", "system", "template")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


@dataclass(frozen=True, kw_only=True)
class Generating:
    """How the answer of an example is generated that has none: `Generation`, without one text for all examples."""

    max_new_tokens: int | None = same_option(Generation, "max_new_tokens")
    generation: Mapping[str, Any] | None = same_option(Generation, "generation")
    seed: int | None = option(
        None, "Seed for sampling, 0 if left out; with the id of an example it makes the seed of the example.", kind=int
    )


@dataclass(frozen=True, kw_only=True)
class Running:
    """Where the results of a run go, and what it says.

    Raises:
        InputError: a value of the wrong type, or out of bounds, or options of a plan without one.
    """

    output: str | None = option(
        None, "The folder of the results. The same command goes on there where it stopped.",
        flag="--output -o", metavar="FOLDER",
    )  # fmt: skip
    part_size: int = option(
        PART_SIZE, "How many examples a file of the folder holds: what an interruption loses at most."
    )
    plan: bool = option(
        False, "Only say how many examples and tokens there are, and how much time and memory they take, from a few "
        "trials; nothing is written.",
    )  # fmt: skip
    trials: int = option(TRIALS, "How many examples a plan explains to measure time and memory.")
    processes: int = option(1, "How many processes a plan divides the time among.")
    retry: bool = option(
        False, "Explain parts once more that have examples which failed, such as for lack of memory.", flag="--retry"
    )
    push_to_hub: str | None = option(
        None, "Upload the folder to this data set on the hub at the end, such as me/maps.", metavar="REPO"
    )
    quiet: bool = option(False, "No messages and no progress on stderr.", flag="--quiet -q")

    def __post_init__(self) -> None:
        for name in ("output", "push_to_hub"):
            read_text(name, getattr(self, name), optional=True)
        for name in ("plan", "retry", "quiet"):
            read_flag(name, getattr(self, name))
        least = {"part_size": 1, "trials": 2, "processes": 1}
        store(self, **{name: read_whole(name, getattr(self, name), least=number) for name, number in least.items()})
        if self.output == "" or (self.output is None and not self.plan):
            raise InputError("There is no folder for the results: name one, such as '-o maps/'.")
        if self.plan and self.push_to_hub is not None:
            raise InputError("A plan writes nothing, so there is nothing to upload: leave --push-to-hub out.")
        if not self.plan and (self.trials != TRIALS or self.processes != 1):
            raise InputError("--trials and --processes are of a plan: add --plan, or leave them out.")
