"""Answers that the examples of a part lack, generated together before they are explained one by one.

1. The prompts are read; examples with an answer, those that are sampled (each has a seed of its own) and those that
   cannot be read take no part.
2. They are sorted by length, the longest first, and cut into windows: of as many prompts as the memory holds, or where
   the model's padding would alter an answer, of prompts of one length.
3. Each window is one batch; one that does not fit the memory is halved.
4. What a batch cannot answer for certain (see `tokensal.adapters.batches`) is generated with its example, as all would
   be without this module: so no result depends on which examples were together.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from tokensal.adapters import AnyAdapter, ModelAdapter
from tokensal.case import marks_of
from tokensal.chunks import in_chunks
from tokensal.engine import Budget
from tokensal.errors import TokensalError
from tokensal.options import values_of
from tokensal.runs.source import Entry
from tokensal.runs.task import Task, text_of_prompt
from tokensal.surroundings import exact_surroundings

Ids = tuple[int, ...]

log = logging.getLogger("tokensal")


@contextmanager
def answered_ahead(
    entries: Sequence[Entry], model: AnyAdapter, task: Task, budget: Budget | None = None
) -> Iterator[None]:
    """Inside, the model knows the answers to examples of a part; on leaving, it forgets them."""
    if not isinstance(model, ModelAdapter) or _is_answered(task):
        yield
        return
    try:
        with exact_surroundings(model.device):
            for limit, prompts in _prompts(entries, model, task).items():
                _generate(prompts, model, dict(task.generation.generation or {}), limit, budget or Budget())
        yield
    finally:
        model.forget_answers()


def _is_answered(task: Task) -> bool:
    options = task.generation.generation or {}
    return task.question.explain == "prompt" or bool(options.get("do_sample"))


def _prompts(entries: Sequence[Entry], model: ModelAdapter, task: Task) -> dict[int, list[Ids]]:
    """Step 1: different prompts by how many tokens may follow."""
    prompts: dict[int, dict[Ids, None]] = defaultdict(dict)
    with _unlogged():  # each is read again when it is explained
        for entry in entries:
            if entry.error or entry.prompt is None or entry.prompt.continuation is not None:
                continue
            text, messages = text_of_prompt(entry.prompt, task)
            template = task.reading.template if messages else None
            options, marked = values_of(task.generation), marks_of(task.question)
            try:
                ids, limit = model.unanswered(text, messages=messages, template=template, marked=marked, **options)
            except Exception:  # its row will say so
                continue
            prompts[limit][ids] = None
    return {limit: sorted(several, key=len, reverse=True) for limit, several in prompts.items()}


def _generate(prompts: Sequence[Ids], model: ModelAdapter, options: dict[str, Any], limit: int, budget: Budget) -> None:
    """Steps 2 and 3, of prompts from the longest to the shortest."""
    try:
        for several in _alike(prompts, model, options, limit):

            def rows(start: int, several: Sequence[Ids] = several) -> int:
                length = len(several[start])
                footprint = model.footprint(length)
                return budget.rows_at_once(len(several), length, 1, footprint, model.device, held=length + limit)

            def answer(window: slice, several: Sequence[Ids] = several) -> None:
                if len(several[window]) > 1:
                    model.generate_ahead(several[window], options, limit)

            for _ in in_chunks(len(several), rows, answer):
                pass
    except TokensalError as error:  # each example says what is wrong with it
        log.debug("Answers are not generated together: %s", error)


def _alike(prompts: Sequence[Ids], model: ModelAdapter, options: dict[str, Any], limit: int) -> Iterator[Sequence[Ids]]:
    """Prompts that may be in one batch: all, or those of each length."""
    lengths = {len(prompt) for prompt in prompts}
    if len(prompts) > 1 and len(lengths) > 1 and model.generates_together(lengths, options, limit):
        yield prompts
        return
    for length, group in groupby(prompts, key=len):
        several = list(group)
        if len(several) > 1 and model.generates_together({length}, options, limit):
            yield several


@contextmanager
def _unlogged() -> Iterator[None]:
    """Inside, warnings of this thread are dropped."""
    thread = threading.get_ident()

    def passes(record: logging.LogRecord) -> bool:
        return record.thread != thread

    log.addFilter(passes)
    try:
        yield
    finally:
        log.removeFilter(passes)
