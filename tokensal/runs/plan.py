"""What a run would take: `plan_run`. It explains a few examples, and writes nothing.

1. Examples are read and cut into parts as in a run, at most `READ` of them. Those of complete parts are finished.
2. The tokens of the prompts that remain are counted: of all, or of `COUNTED` that are spread evenly over the source.
3. Trials: examples from the shortest prompt to the longest, spread evenly over the order of lengths, are explained as a
   run explains them. The shortest is explained once before, since what is first is slower.
4. Time is fitted as a + b · tokens of the prompt, a and b not negative, by least squares of the relative errors; then
   it is added up over the prompts that remain.
5. Its range is two standard errors to either side, by the jackknife (Quenouille 1956; Tukey 1958): the fit without each
   of the trials in turn; at least `LEAST_RANGE`.
6. Memory is the most that the process has taken, in loading and in the trials; the longest prompt is one of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from pathlib import Path

import numpy as np

from tokensal.adapters import AnyAdapter
from tokensal.adapters.prompting import read_prompt
from tokensal.case import adapter_of
from tokensal.engine import Budget
from tokensal.engine.memory import peak_memory
from tokensal.errors import TokensalError
from tokensal.methods import Method
from tokensal.options import Generation, flattened
from tokensal.quantities import counted, duration, gibibytes
from tokensal.questions.question import Question
from tokensal.run_options import PART_SIZE, TRIALS, Reading
from tokensal.runs.explaining import explain_entries, explain_entry
from tokensal.runs.folder import SETTINGS, Folder
from tokensal.runs.running import parts_of, shard_of_task
from tokensal.runs.source import Entry, Opened, Source, open_source
from tokensal.runs.task import Task, methods_by_name, text_of_prompt
from tokensal.values import read_whole

READ = 10_000  # examples at most; of a larger source, these tell about the rest
COUNTED = 1_000  # prompts whose tokens are counted
LEAST_RANGE = 0.1  # of the time: no machine is steadier


@dataclass(frozen=True)
class Trial:
    """An example that was explained: tokens of its prompt, seconds by all methods, and why it failed, if it did."""

    id: str
    tokens: int
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Plan:
    """What a run would take; `print(plan)` tells it.

    Attributes:
        examples: how many belong to the shard; None where the source does not say, and has more than were read.
        finished: how many of these are in the folder.
        unreadable: how many of those read cannot be used, each with an error row.
        tokens: in the prompts that remain, of the text or chat as the model reads it; None with examples.
        longest: tokens of the longest prompt.
        seconds: for what remains, by one process; None with examples.
        seconds_each: for one example, on average.
        spread: the factor of the range: from seconds / spread to seconds · spread.
        parts: how many parts remain, and are what processes divide; None with examples.
        processes: how many share the work.
        memory: bytes, the most that the process has taken.
        device_memory: the same on an accelerator; 0 without one.
        trials: from which all of this is known.
    """

    examples: int | None
    finished: int
    unreadable: int
    tokens: float | None
    longest: int
    seconds: float | None
    seconds_each: float
    spread: float
    parts: int | None
    processes: int
    memory: int
    device_memory: int
    trials: tuple[Trial, ...]

    @property
    def remaining(self) -> int | None:
        """How many examples remain."""
        return None if self.examples is None else self.examples - self.finished

    @property
    def seconds_of_a_process(self) -> float | None:
        """How long the process with the most parts takes, where none slows another one down."""
        if self.seconds is None or not self.parts:
            return self.seconds
        return self.seconds * -(-self.parts // self.processes) / self.parts

    @property
    def failures(self) -> tuple[Trial, ...]:
        """The trials that failed."""
        return tuple(trial for trial in self.trials if trial.error)

    def __str__(self) -> str:
        lines = [("Examples", self._examples()), ("Time", self._time())]
        if self.longest:
            lines.insert(1, ("Tokens", self._tokens()))
        if self.processes > 1 and self.seconds_of_a_process:
            each = duration(self.seconds_of_a_process)
            lines.append(("", f"about {each} by {self.processes} processes, if none slows another one down"))
        lines.append(("Memory", self._memory()))
        if self.unreadable:
            lines.append(("Unreadable", counted(self.unreadable, "example") + " of those read"))
        lines += [("Failed", f"example {trial.id!r}: {trial.error}") for trial in self.failures]
        return "\n".join(f"{name:<12}{text}".rstrip() for name, text in lines)

    def _examples(self) -> str:
        if self.remaining is None:
            return f"more than {READ:,}; the source does not say how many"
        done = f"; {self.finished:,} of them are finished, {self.remaining:,} remain" if self.finished else ""
        return f"{self.examples:,}{done}"

    def _tokens(self) -> str:
        longest = f"{self.longest:,} in the longest prompt"
        if self.tokens is None or not self.remaining:
            return longest
        return f"{self.tokens:,.0f} in the prompts, {self.tokens / self.remaining:,.0f} in one, {longest}"

    def _time(self) -> str:
        if self.remaining == 0:
            return "nothing remains to be done"
        if len(self.failures) == len(self.trials):
            return "not known, since no trial succeeded"
        by = f"by {counted(len(self.trials) - len(self.failures), 'trial')}"
        if self.seconds is None:
            each = self.seconds_each
            return f"about {duration(1000 * each)} for every 1,000 examples ({self._range(1000 * each)}), {by}"
        return f"about {duration(self.seconds)} ({self._range(self.seconds)}), {by}"

    def _range(self, seconds: float) -> str:
        return f"{duration(seconds / self.spread)} to {duration(seconds * self.spread)}"

    def _memory(self) -> str:
        device = f", and {gibibytes(self.device_memory)} of the accelerator's" if self.device_memory else ""
        return f"{gibibytes(self.memory)} at most in a process{device}, the model included"


@flattened(reading=Reading, question=Question, generation=Generation)
def plan_run(
    model: AnyAdapter | str | PathLike[str],
    source: Source,
    out: str | PathLike[str] | None = None,
    *,
    methods: Iterable[str | Method | type[Method]] = ("lrp",),
    reading: Reading,
    question: Question,
    generation: Generation,
    part_size: int = PART_SIZE,
    trials: int = TRIALS,
    processes: int = 1,
    budget: Budget | None = None,
) -> Plan:
    """Estimate the time and the memory of a run from a few examples, which are explained; nothing is written.

    Args:
        model: as for `tokensal.run`, and so are source, methods, part_size and budget.
        out: the folder of the run, whose complete parts are finished; None for a new one.
        {reading}
        {question}
        {generation}
        trials: how many examples are explained, at least 2.
        processes: how many processes share the work.

    Raises:
        TokensalError: one sentence about what to put right; see `tokensal.errors`.
    """
    task = Task(methods_by_name(methods), question, generation, reading, read_whole("part_size", part_size, least=1))
    trials, processes = read_whole("trials", trials, least=2), read_whole("processes", processes, least=1)
    opened = open_source(source, reading)
    return plan_of(adapter_of(model), opened, out, task, trials=trials, processes=processes, budget=budget)


def plan_of(
    model: AnyAdapter,
    opened: Opened,
    out: str | PathLike[str] | None,
    task: Task,
    *,
    trials: int = TRIALS,
    processes: int = 1,
    budget: Budget | None = None,
) -> Plan:
    """The plan of a task with the examples of a source that is open; see `plan_run`."""
    read = _read(opened, _folder(out, task, model, opened), task)
    usable = [entry for entry in read.remaining if entry.prompt is not None]
    sample = usable[:: max(1, -(-len(usable) // COUNTED))]
    longest = max(usable, key=_characters, default=None)
    lengths = {entry.number: _tokens(entry, model, task) for entry in [*sample, *([longest] if longest else [])]}
    by_length = sorted((entry for entry in usable if entry.number in lengths), key=lambda each: lengths[each.number])
    tried = _try(_spread(by_length, trials), lengths, model, task, budget)
    mean, spread = _estimate(
        np.array([lengths[entry.number] for entry in sample], dtype=np.float64),
        [trial for trial in tried if not trial.error],
    )
    share = len(usable) / max(1, len(read.remaining))
    remaining = None if read.examples is None else read.examples - read.finished
    average = float(np.mean([lengths[entry.number] for entry in sample])) if sample else 0.0
    memory, device_memory = peak_memory(model.device)
    return Plan(
        examples=read.examples,
        finished=read.finished,
        unreadable=len(read.remaining) - len(usable),
        tokens=None if remaining is None else remaining * share * average,
        longest=max(lengths.values(), default=0),
        seconds=None if remaining is None else remaining * share * mean,
        seconds_each=share * mean,
        spread=spread,
        parts=None if remaining is None else -(-remaining // task.part_size),
        processes=processes,
        memory=memory,
        device_memory=device_memory,
        trials=tuple(tried),
    )


@dataclass(frozen=True)
class _Read:
    """How many examples there are, how many of them are finished, and those read that are not."""

    examples: int | None
    finished: int
    remaining: Sequence[Entry]


def _folder(out: str | PathLike[str] | None, task: Task, model: AnyAdapter, opened: Opened) -> Folder | None:
    """The folder of a run that has begun; None where none has."""
    if out is None or not (Path(out) / SETTINGS).exists():
        return None
    folder = Folder.of(out)
    folder.require_settings(task.settings(model, opened.identity))
    return folder


def _read(opened: Opened, folder: Folder | None, task: Task) -> _Read:
    """Step 1."""
    shard = shard_of_task(task)
    read, finished, remaining = 0, 0, list[Entry]()
    for part, entries in parts_of(opened.entries, task.part_size, shard):
        if read >= READ:
            total = None if opened.total is None else shard.share(opened.total, task.part_size)
            return _Read(total, finished, remaining)
        read += len(entries)
        if folder is not None and folder.examples_in(part) >= len(entries):
            finished += len(entries)
        else:
            remaining += entries
    return _Read(read, finished, remaining)


def _characters(entry: Entry) -> int:
    assert entry.prompt is not None
    return len(entry.prompt.prompt or "") + sum(len(message["content"]) for message in entry.prompt.messages)


def _tokens(entry: Entry, model: AnyAdapter, task: Task) -> int:
    """Step 2: the tokens of a prompt; of one that the model cannot read, as many as its characters would make."""
    assert entry.prompt is not None
    text, messages = text_of_prompt(entry.prompt, task)
    template = task.reading.template if messages else None
    try:
        return len(read_prompt(model.tokenizer, text, messages, task.question.unit == "marked", template).ids)
    except TokensalError:
        return _characters(entry) // 4


def _spread(entries: Sequence[Entry], count: int) -> list[Entry]:
    """So many of them, from the first to the last, evenly."""
    places = np.linspace(0, len(entries) - 1, min(count, len(entries))).round().astype(int)
    return [entries[place] for place in places]


def _try(
    entries: Sequence[Entry], lengths: dict[int, int], model: AnyAdapter, task: Task, budget: Budget | None
) -> list[Trial]:
    """Step 3."""
    trials = []
    for entry in islice(entries, 1):
        explain_entry(entry, model, task, budget)
    explanations = sorted(explain_entries(entries, model, task, budget), key=lambda each: each[0])
    for entry, (_, explained) in zip(entries, explanations, strict=True):
        errors = [each.row["error"] for each in explained if each.row["error"]]
        seconds = sum(each.seconds for each in explained)
        trials.append(Trial(entry.id, lengths[entry.number], seconds, errors[0] if errors else ""))
    return trials


def _estimate(lengths: np.ndarray, trials: Sequence[Trial]) -> tuple[float, float]:
    """Steps 4 and 5: the mean seconds of examples of these lengths, and the factor of its range."""
    if not trials or not len(lengths):
        return 0.0, 1.0
    tokens = np.array([trial.tokens for trial in trials], dtype=np.float64)
    seconds = np.array([max(trial.seconds, 1e-3) for trial in trials])
    mean = _mean(lengths, tokens, seconds)
    number = len(trials)
    if number < 3:
        return mean, 2.0  # so few trials cannot tell
    without = np.array([_mean(lengths, np.delete(tokens, each), np.delete(seconds, each)) for each in range(number)])
    error = np.sqrt((number - 1) / number * ((without - without.mean()) ** 2).sum())
    return mean, 1 + max(LEAST_RANGE, 2 * float(error) / mean)


def _mean(lengths: np.ndarray, tokens: np.ndarray, seconds: np.ndarray) -> float:
    """The mean of a + b · length, where a and b fit the seconds of trials."""
    fits = []
    for columns in ((0, 1), (0,), (1,)):  # where one of both would be negative, it is 0
        design = np.stack([np.ones_like(tokens), tokens], 1)[:, columns] / seconds[:, None]
        values, _, rank, _ = np.linalg.lstsq(design, np.ones_like(seconds), rcond=1e-9)
        if rank == len(columns) and (values >= 0).all():
            coefficients = np.zeros(2)
            coefficients[list(columns)] = values
            fits.append((float(((design @ values - 1) ** 2).sum()), coefficients))
    _, (fixed, each) = min(fits, key=lambda fit: fit[0])
    return float(fixed + each * lengths.mean())
