"""Explain a data set: `run`.

1. Examples are read one after another, and cut into parts of a fixed size.
2. A process does the parts of its shard: those of `shard`, and of these its share by the rank that a launcher, such as
   `accelerate launch`, tells in the environment. Processes never wait for one another.
3. A part that is complete is passed over; of another, each example is explained, and the part is written.
4. An example that fails is a row with its error. If all of them fail, the run says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from os import PathLike
from typing import Any

from tokensal.adapters import AnyAdapter
from tokensal.case import adapter_of
from tokensal.engine import Budget
from tokensal.errors import InputError
from tokensal.methods import Method
from tokensal.options import Generation, flattened
from tokensal.progress import reporting
from tokensal.questions.question import Question
from tokensal.run_options import PART_SIZE, Reading, Shard, read_shard
from tokensal.runs.explaining import Explained, explain_entries
from tokensal.runs.folder import Folder, require_parquet
from tokensal.runs.rows import key_of
from tokensal.runs.source import Entry, Opened, Source, open_source
from tokensal.runs.stored import Run
from tokensal.runs.task import Task, methods_by_name
from tokensal.types import Progress
from tokensal.values import read_flag, read_whole

Watch = Callable[[int, int, Sequence[Explained]], None]


@flattened(reading=Reading, question=Question, generation=Generation)
def run(
    model: AnyAdapter | str | PathLike[str],
    source: Source,
    out: str | PathLike[str],
    *,
    methods: Iterable[str | Method | type[Method]] = ("lrp",),
    reading: Reading,
    question: Question,
    generation: Generation,
    part_size: int = PART_SIZE,
    retry: bool = False,
    budget: Budget | None = None,
    progress: Progress | bool | None = None,
) -> Run:
    """Explain the answers to many prompts, into a folder; the same call goes on where it stopped.

        >>> import tempfile, tokensal
        >>> folder = tempfile.mkdtemp()
        >>> records = [{"id": "a", "prompt": "the 3rd of March, 1987"}, {"id": "b", "prompt": "3 May 1999"}]
        >>> run = tokensal.run("dates", records, folder, methods=["occlusion"])
        >>> [attribution[0].top(1)[0][0].text for attribution in run]
        [' 1987', ' 1999']
        >>> run.failures()
        Counter()

    The numbers do not depend on how often a run was interrupted, nor on which process explains which example: an answer
    that is sampled has a seed of its own, of the id of the example and `seed`. On one machine, with the same number of
    threads (`torch.set_num_threads`), the same `part_size` and enough memory, they are equal to the bit: examples of a
    part share forwards (`tokensal.runs.together`), of which a lack of memory makes smaller ones.

    Args:
        model: as for `tokensal.attribute`, and so are budget and progress, which counts the examples of this process.
        source: a file, a data set, or an iterable of records; see `tokensal.runs.source`.
        out: the folder; see `tokensal.runs.folder`.
        methods: names from `tokensal.METHODS`, or methods with options.
        {reading}
        {question}
        {generation}
        part_size: how many examples a file holds: what an interruption loses at most.
        retry: explain parts with examples that failed once more, such as for lack of memory; else errors stay.

    Returns:
        The rows of the folder.

    Raises:
        InputError: the folder has other settings or examples; or all examples failed, and the most frequent reason.
        TokensalError: one sentence about what to put right; see `tokensal.errors`.
    """
    require_parquet()
    part_size, retry = read_whole("part_size", part_size, least=1), read_flag("retry", retry)
    task = Task(methods_by_name(methods), question, generation, reading, part_size)
    opened = open_source(source, reading)
    with reporting(progress) as report:
        watch: Watch | None = None if report is None else lambda done, total, _: report(done, total)
        stored = explain_source(adapter_of(model), opened, out, task, retry=retry, budget=budget, watch=watch)
    if shard_of_task(task).total == 1:  # a process that does a share of the work does not know of the others
        _require_scores(stored)
    return stored


def explain_source(
    model: AnyAdapter,
    opened: Opened,
    out: str | PathLike[str],
    task: Task,
    *,
    retry: bool = False,
    budget: Budget | None = None,
    watch: Watch | None = None,
) -> Run:
    """Do a task with the examples of a source that belong to this process, into a folder.

    Args:
        retry: see `run`.
        watch: called after each example with how many are done, how many there are, and its rows; none where its part
            was complete before.

    Raises:
        TokensalError: one sentence about what to put right; see `tokensal.errors`.
    """
    folder = Folder.begin(out, task.settings(model, opened.identity))
    shard = shard_of_task(task)
    done, total = 0, shard.share(opened.total or 0, task.part_size)
    for part, entries in parts_of(opened.entries, task.part_size, shard):
        complete = folder.holds(part, [key_of(each, name) for each in entries for name in task.methods], retry=retry)
        rows: dict[int, list[Explained]] = {}
        unchanged = ((place, list[Explained]()) for place in range(len(entries)))
        for place, explained in unchanged if complete else explain_entries(entries, model, task, budget):
            rows[place] = explained
            done += 1
            if watch is not None:
                watch(done, max(done, total), explained)
        if not complete:
            folder.write(part, [row for place in sorted(rows) for row in rows[place]])
    return Run(folder)


def _require_scores(stored: Run) -> None:
    """Refuse to call a run finished in which nothing could be explained; its rows stay."""
    if not any(row["error"] is None for row in stored.rows(["error"])) and (failures := stored.failures()):
        [(error, count)] = failures.most_common(1)
        raise InputError(
            f"No example could be explained. {count} of {failures.total()} rows in {str(stored.path)!r} say: {error}"
        )


def parts_of(entries: Iterable[Entry], size: int, shard: Shard) -> Iterator[tuple[int, tuple[Entry, ...]]]:
    """The parts of a shard, each with its number."""
    entries = iter(entries)
    for part in count():
        several = tuple(islice(entries, size))
        if not several:
            return
        if shard.holds(part):
            yield part, several


def shard_of_task(task: Task) -> Shard:
    """The share of this process in the shard that was named."""
    return read_shard(task.reading.shard).within(shard_of_process())


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
