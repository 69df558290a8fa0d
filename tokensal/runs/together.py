"""Gradients that several examples of a part have taken together, before they are explained one by one.

1. Examples are taken so many at a time, in their order, and made into cases; those that cannot be stay without.
2. Those whose methods differentiate the example as it is are sorted by their numbers of groups and of tokens, and cut
   into windows that go into one forward (`Budget.together`). The part alone decides which: so whoever explains it, and
   however often, does the same arithmetic.
3. For each such method, the gradients of a window are taken together (`tokensal.engine.together`), and the engine of
   each case knows them when the method asks.
4. What cannot be taken together is not: a window in which one example fails, a model or a method that does not allow
   it. Its examples are explained as all would be without this module. One that does not fit the memory is halved.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from tokensal.adapters import AnyAdapter, ModelAdapter
from tokensal.case import Case
from tokensal.engine import Budget
from tokensal.engine.budget import in_chunks
from tokensal.engine.forwards import Asked
from tokensal.engine.together import gradients_together
from tokensal.errors import UnsupportedModel
from tokensal.methods.method import GradientMethod, first_on_the_graph
from tokensal.runs.source import Entry
from tokensal.runs.task import Task, case_of_entry

AT_ONCE = 64  # examples that are cases at a time: enough to find some of one length, few enough for the memory

log = logging.getLogger("tokensal")


@dataclass(slots=True)
class Prepared:
    """An example that is about to be explained.

    Attributes:
        place: in its part.
        entry: the example.
        case: None where it is yet to be made, or cannot be.
        seconds: what was spent on it before it is explained, but for gradients.
        shares: seconds of gradients that were taken with others, by the name of the method.
    """

    place: int
    entry: Entry
    case: Case | None = None
    seconds: float = 0.0
    shares: dict[str, float] = field(default_factory=dict)


def prepared_in_windows(
    entries: Sequence[Entry], model: AnyAdapter, task: Task, budget: Budget | None = None
) -> Iterator[Prepared]:
    """The examples of a part, those of a window after one another; each is explained before the next is asked for."""
    methods = {name: method for name, method in task.methods.items() if isinstance(method, GradientMethod)}
    waiting = [Prepared(place, entry) for place, entry in enumerate(entries)]
    if not methods or not isinstance(model, ModelAdapter) or len(entries) < 2:
        yield from waiting
        return
    for start in range(0, len(waiting), AT_ONCE):
        several = waiting[start : start + AT_ONCE]
        with model.prepared():
            for prepared in several:
                _make_case(prepared, model, task, budget)
        for window in _windows(several, model, budget or Budget()):
            with model.prepared():
                for name, method in list(methods.items()):
                    if not _take_together(window, name, method):
                        del methods[name]
            yield from window


def _make_case(prepared: Prepared, model: AnyAdapter, task: Task, budget: Budget | None) -> None:
    """Step 1."""
    entry, started = prepared.entry, time.perf_counter()
    if entry.error or entry.prompt is None:
        return
    try:
        prepared.case = case_of_entry(entry.prompt, entry.id, model, task, budget)
    except Exception:  # its row will say so
        return
    prepared.seconds = time.perf_counter() - started


def _windows(several: Sequence[Prepared], model: ModelAdapter, budget: Budget) -> Iterator[Sequence[Prepared]]:
    """Step 2; an example that is explained by itself is a window of its own."""
    alike: dict[bool, list[tuple[int, int, Prepared]]] = {False: [], True: []}  # by whether they branch
    for prepared in several:
        if prepared.case is None or first_on_the_graph(prepared.case.example):
            yield [prepared]
        else:
            example = prepared.case.example
            alike[example.branch is not None].append((len(example.groups), len(example.sources), prepared))
    for members in alike.values():
        members.sort(key=lambda member: member[:2])
        while members:
            groups, lengths, window = zip(*members, strict=True)
            count = budget.together(torch.tensor(lengths), torch.tensor(groups), model.device)
            yield window[:count]
            del members[:count]


def _take_together(window: Sequence[Prepared], name: str, method: GradientMethod) -> bool:
    """Steps 3 and 4; whether it is worth trying with other windows."""
    started = time.perf_counter()
    cases = [prepared.case for prepared in window if prepared.case is not None]
    try:
        for _ in in_chunks(len(cases), len(cases), lambda rows: _remember(cases[rows], method)):
            pass
    except Exception as error:  # each example says what is wrong with it
        log.debug("The gradients of %s are not taken together: %s", name, error)
        return not isinstance(error, UnsupportedModel)
    finally:
        for prepared in window:
            prepared.shares[name] = (time.perf_counter() - started) / len(window)
    return True


def _remember(cases: Sequence[Case], method: GradientMethod) -> None:
    """Take the gradients of several cases, so that the engine of each knows its own."""
    if len(cases) < 2:
        return
    engine, reduce, examples = method.prepared(cases[0].engine), method.reduction(), [case.example for case in cases]
    if method.reduction() != reduce:
        return  # what one case asks for is not what is known
    if engine.reference is not None or engine.adapter is not cases[0].engine.adapter:
        return  # another model, or other embeddings, than those of the cases
    if not engine.adapter.runs_together(examples):
        return
    layers = tuple(method.selected_layers(engine))
    several = gradients_together(engine, examples, reduce, at=method.at, layers=layers)
    for case, gradients in zip(cases, several, strict=True):
        case.engine.ahead.append((Asked(case.example, engine.rules, method.at, layers, reduce), gradients))
