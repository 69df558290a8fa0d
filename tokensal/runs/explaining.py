"""An example becomes rows, one for each method.

What fails is a row, too: with the reason in place of scores. So one example that cannot be explained costs no other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from tokensal.adapters import AnyAdapter
from tokensal.case import Case
from tokensal.engine import Budget
from tokensal.errors import ModelError, TokensalError, reason
from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.options import Generation
from tokensal.runs.answering import answered_ahead
from tokensal.runs.rows import Row, error_row, row_of
from tokensal.runs.source import Entry
from tokensal.runs.task import Task, text_of_prompt

log = logging.getLogger("tokensal")


@dataclass(frozen=True, slots=True)
class Explained:
    """A row, and how long it took.

    Attributes:
        row: of one example and one method.
        seconds: all of it; the first row of an example has the generation of its answer in it, or an
            equal share where the answers of a part are generated together.
        method_seconds: the method alone, as `Provenance.seconds`; 0 where it failed.
    """

    row: Row
    seconds: float
    method_seconds: float = 0.0


def explain_entries(
    entries: Sequence[Entry], model: AnyAdapter, task: Task, budget: Budget | None = None
) -> Iterator[list[Explained]]:
    """The rows of each example of a part, whose answers are generated together."""
    started = time.perf_counter()
    with answered_ahead(entries, model, task, budget):
        share = (time.perf_counter() - started) / max(1, len(entries))
        for entry in entries:
            first, *others = explain_entry(entry, model, task, budget)
            yield [replace(first, seconds=round(first.seconds + share, 3)), *others]


def explain_entry(entry: Entry, model: AnyAdapter, task: Task, budget: Budget | None = None) -> list[Explained]:
    """The rows of an example, in the order of the methods; never an exception that is of the example alone."""
    with model.prepared():  # once for all of an example's forwards
        return list(_explained(entry, model, task, budget))


def _explained(entry: Entry, model: AnyAdapter, task: Task, budget: Budget | None) -> Iterator[Explained]:
    case: Case | None = None
    error = entry.error
    for name, method in task.methods.items():
        started, method_seconds = time.perf_counter(), 0.0
        if not error and entry.prompt is not None:
            try:
                case = case or case_of_entry(entry.prompt, entry.id, model, task, budget)
                attribution = case.explain(method)
                row, method_seconds = row_of(entry, name, attribution), attribution.provenance.seconds
            except Exception as exception:  # an example that fails costs no other, whatever it fails by
                _require_device(entry, exception)
                row = error_row(entry, name, _told(entry, exception))
                error = row["error"] if case is None else ""  # without a case, every method fails alike
        else:
            row = error_row(entry, name, error)
        yield Explained(row, round(time.perf_counter() - started, 3), method_seconds)


def _require_device(entry: Entry, error: BaseException | None) -> None:
    """Refuse to go on where an accelerator has failed: it fails in all that this process does from then on.

    Raises:
        ModelError: it has.
    """
    while error is not None:
        if isinstance(error, torch.AcceleratorError):
            raise ModelError(
                f"The device failed at example {entry.id!r} ({reason(error)}): run the same call again. "
                "If that fails, too, leave this example out: what was finished before is in the folder."
            ) from error
        error = error.__cause__ or error.__context__


def _told(entry: Entry, error: Exception) -> str:
    """What the row says of a failure; of one that is not foreseen, the log has the traceback."""
    if isinstance(error, TokensalError):
        return str(error)
    log.warning("Example %r failed by an error that is not foreseen.", entry.id, exc_info=error)
    name, why = type(error).__name__, reason(error)
    return why if why.startswith(name) else f"{name}: {why}"


def case_of_entry(prompt: Prompt, id: str, model: AnyAdapter, task: Task, budget: Budget | None) -> Case:
    """The case of an example: its own answer and contrast where it has them, else those of the task.

    Raises:
        TokensalError: one sentence about what to put right.
    """
    answer = prompt.continuation
    question = task.question if prompt.contrast is None else replace(task.question, contrast=prompt.contrast)
    text, messages = text_of_prompt(prompt, task)
    return Case.of(
        model,
        text,
        messages=messages,
        template=task.reading.template if messages else None,
        question=question,
        generation=task.generation_of(id) if answer is None else Generation(continuation=answer),
        budget=budget,
    )
