"""An example becomes rows, one for each method.

Examples of a part have their answers generated together, and their gradients taken together, where that makes no
difference to any of them; then each is explained by itself.

What fails is a row, too: with the reason in place of scores. So one example that cannot be explained costs no other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from tokensal.adapters import AnyAdapter
from tokensal.engine import Budget
from tokensal.errors import ModelError, TokensalError, reason
from tokensal.runs.answering import answered_ahead
from tokensal.runs.rows import Row, error_row, row_of
from tokensal.runs.source import Entry
from tokensal.runs.task import Task, case_of_entry
from tokensal.runs.together import Prepared, prepared_in_windows

log = logging.getLogger("tokensal")


@dataclass(frozen=True, slots=True)
class Explained:
    """A row, and how long it took.

    Attributes:
        row: of one example and one method.
        seconds: all of it; the first row of an example has the generation of its answer in it. Of what is done
            together for several examples, each has an equal share.
        method_seconds: the method alone, as `Provenance.seconds`, and its share; 0 where it failed.
    """

    row: Row
    seconds: float
    method_seconds: float = 0.0


def explain_entries(
    entries: Sequence[Entry], model: AnyAdapter, task: Task, budget: Budget | None = None
) -> Iterator[tuple[int, list[Explained]]]:
    """The place in a part, and the rows, of each of its examples, in the order in which they are explained."""
    started = time.perf_counter()
    with answered_ahead(entries, model, task, budget):
        share = (time.perf_counter() - started) / max(1, len(entries))
        for prepared in prepared_in_windows(entries, model, task, budget):
            prepared.seconds += share
            yield prepared.place, _explain(prepared, model, task, budget)


def explain_entry(entry: Entry, model: AnyAdapter, task: Task, budget: Budget | None = None) -> list[Explained]:
    """The rows of an example, in the order of the methods; never an exception that is of the example alone."""
    return _explain(Prepared(0, entry), model, task, budget)


def _explain(prepared: Prepared, model: AnyAdapter, task: Task, budget: Budget | None) -> list[Explained]:
    with model.prepared():  # once for all of an example's forwards
        return list(_explained(prepared, model, task, budget))


def _explained(prepared: Prepared, model: AnyAdapter, task: Task, budget: Budget | None) -> Iterator[Explained]:
    entry, case, spent = prepared.entry, prepared.case, prepared.seconds
    error = entry.error
    for name, method in task.methods.items():
        started, method_seconds, share = time.perf_counter(), 0.0, prepared.shares.get(name, 0.0)
        if not error and entry.prompt is not None:
            try:
                case = case or case_of_entry(entry.prompt, entry.id, model, task, budget)
                attribution = case.explain(method)
                row = row_of(entry, name, attribution)
                method_seconds = round(attribution.provenance.seconds + share, 3)
            except Exception as exception:  # an example that fails costs no other, whatever it fails by
                _require_device(entry, exception)
                row = error_row(entry, name, _told(entry, exception))
                error = row["error"] if case is None else ""  # without a case, every method fails alike
        else:
            row = error_row(entry, name, error)
        yield Explained(row, round(time.perf_counter() - started + share + spent, 3), method_seconds)
        spent = 0.0


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
