"""Explain a data set: `run`.

1. Examples are read one after another, and cut into parts of a fixed size.
2. A process does the parts of its shard: those of `shard`, and of these its share by the rank that a launcher, such as
   `accelerate launch`, tells in the environment. Processes never wait for one another.
3. A part that is complete is passed over; of another, each example is explained, and the part is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import count, islice
from os import PathLike
from typing import Any

from tokensal.adapters import ModelAdapter
from tokensal.case import adapter_of
from tokensal.engine import Budget
from tokensal.errors import InputError
from tokensal.methods import Method
from tokensal.options import Generation, flattened
from tokensal.progress import reporting
from tokensal.questions.question import Question
from tokensal.run_options import PART_SIZE, Reading, Shard, read_shard
from tokensal.runs.explaining import explain_entry
from tokensal.runs.folder import Folder
from tokensal.runs.source import Entry, Source, open_source
from tokensal.runs.stored import Run
from tokensal.runs.task import Task, methods_by_name
from tokensal.types import Progress
from tokensal.values import read_whole


@flattened(reading=Reading, question=Question, generation=Generation)
def run(
    model: ModelAdapter | str | PathLike[str],
    source: Source,
    out: str | PathLike[str],
    *,
    methods: Iterable[str | Method | type[Method]] = ("lrp",),
    reading: Reading,
    question: Question,
    generation: Generation,
    part_size: int = PART_SIZE,
    budget: Budget | None = None,
    progress: Progress | bool | None = None,
) -> Run:
    """Explain the answers to many prompts, into a folder; the same call goes on where it stopped.

    Args:
        model: as for `tokensal.attribute`, and so are budget and progress, which counts examples.
        source: a file, a data set, or an iterable of records; see `tokensal.runs.source`.
        out: the folder; see `tokensal.runs.folder`.
        methods: names from `tokensal.METHODS`, or methods with options.
        {reading}
        {question}
        {generation}
        part_size: how many examples a file holds: what an interruption loses at most.

    Returns:
        The rows of the folder.

    Raises:
        TokensalError: one sentence about what to put right; see `tokensal.errors`.
    """
    part_size = read_whole("part_size", part_size, least=1)
    task = Task(methods_by_name(methods), question, generation, reading, part_size)
    opened = open_source(source, reading)
    model = adapter_of(model)
    folder = Folder.begin(out, task.settings(model, opened.identity))
    with reporting(progress) as report:
        done = 0
        for part, entries in parts_of(opened.entries, part_size, read_shard(reading.shard).within(shard_of_process())):
            if folder.examples_in(part) < len(entries):
                folder.write(part, [row for entry in entries for row in explain_entry(entry, model, task, budget)])
            done += len(entries)
            if report is not None:
                report(done, max(done, opened.total or 0))
    return Run(folder)


def parts_of(entries: Iterable[Entry], size: int, shard: Shard) -> Iterator[tuple[int, tuple[Entry, ...]]]:
    """The parts of a shard, each with its number."""
    entries = iter(entries)
    for part in count():
        several = tuple(islice(entries, size))
        if not several:
            return
        if shard.holds(part):
            yield part, several


def shard_of_process(environment: Mapping[str, str] = os.environ) -> Shard:
    """The share of this process among those that a launcher started, by RANK and WORLD_SIZE.

    Raises:
        InputError: they are no numbers, or do not fit one another.
    """
    values: list[Any] = [environment.get("RANK", "0"), environment.get("WORLD_SIZE", "1")]
    if not all(value.isdecimal() for value in values) or not int(values[0]) < int(values[1]):
        raise InputError(
            f"RANK is {values[0]!r} and WORLD_SIZE is {values[1]!r} in the environment, but should be numbers with "
            "0 ≤ RANK < WORLD_SIZE: set both, or none."
        )
    return Shard(int(values[0]), int(values[1]))
