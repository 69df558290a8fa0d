"""An example becomes rows, one for each method.

What fails is a row, too: with the reason in place of scores. So one example that cannot be explained costs no other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tokensal.adapters import ModelAdapter
from tokensal.case import Case
from tokensal.engine import Budget
from tokensal.errors import TokensalError, reason
from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.options import Generation
from tokensal.runs.rows import Row, error_row, row_of
from tokensal.runs.source import Entry
from tokensal.runs.task import Task

log = logging.getLogger("tokensal")


@dataclass(frozen=True, slots=True)
class Explained:
    """A row, and how many seconds it took."""

    row: Row
    seconds: float


def explain_entry(entry: Entry, model: ModelAdapter, task: Task, budget: Budget | None = None) -> list[Explained]:
    """The rows of an example, in the order of the methods; never an exception that is of the example alone."""
    return list(_explained(entry, model, task, budget))


def _explained(entry: Entry, model: ModelAdapter, task: Task, budget: Budget | None) -> Iterator[Explained]:
    case: Case | None = None
    error = entry.error
    for name, method in task.methods.items():
        started = time.perf_counter()
        if not error and entry.prompt is not None:
            try:
                case = case or case_of_entry(entry.prompt, entry.id, model, task, budget)
                row = row_of(entry, name, case.explain(method))
            except Exception as exception:  # an example that fails costs no other, whatever it fails by
                row = error_row(entry, name, _told(entry, exception))
                error = row["error"] if case is None else ""  # without a case, every method fails alike
        else:
            row = error_row(entry, name, error)
        yield Explained(row, round(time.perf_counter() - started, 3))


def _told(entry: Entry, error: Exception) -> str:
    """What the row says of a failure; of one that is not foreseen, the log has the traceback."""
    if isinstance(error, TokensalError):
        return str(error)
    log.warning("Example %r failed by an error that is not foreseen.", entry.id, exc_info=error)
    return f"{type(error).__name__}: {reason(error)}"


def case_of_entry(prompt: Prompt, id: str, model: ModelAdapter, task: Task, budget: Budget | None) -> Case:
    """The case of an example: its own answer and contrast where it has them, else those of the task.

    Raises:
        TokensalError: one sentence about what to put right.
    """
    answer = prompt.continuation
    question = task.question if prompt.contrast is None else replace(task.question, contrast=prompt.contrast)
    messages, text = list(prompt.messages), prompt.prompt
    if task.reading.chat and text is not None:
        system = [] if task.reading.system is None else [{"role": "system", "content": task.reading.system}]
        messages, text = [*system, {"role": "user", "content": text}], None
    return Case.of(
        model,
        text,
        messages=messages or None,
        template=task.reading.template if messages else None,
        question=question,
        generation=task.generation_of(id) if answer is None else Generation(continuation=answer),
        budget=budget,
    )
