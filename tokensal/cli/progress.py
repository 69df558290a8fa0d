"""Messages on stderr: which stage the work is in, with a progress bar once it takes more than a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console
from rich.logging import RichHandler

from tokensal.drawable import drawable
from tokensal.progress import delayed_bar
from tokensal.quantities import counted, duration, per_minute


class _DrawableFormatter(logging.Formatter):
    """A message names files and models, whose names may hold anything."""

    def format(self, record: logging.LogRecord) -> str:
        return drawable(super().format(record))


class Stage(Protocol):
    """Says that a stage has begun, or how far it has come."""

    def __call__(self, name: str, done: int | None = None, total: int | None = None) -> None: ...


@contextmanager
def stages(*, quiet: bool = False) -> Iterator[Stage]:
    """Show the stages of the work on stderr while inside; nothing remains of the bar afterwards."""
    console = Console(stderr=True, quiet=quiet)
    with delayed_bar(console, hidden=quiet or not console.is_terminal) as bar, _logging_to(console):
        task = bar.add_task("", total=None)

        def stage(name: str, done: int | None = None, total: int | None = None) -> None:
            bar.update(task, description=name, total=total, completed=done or 0)

        yield stage


@contextmanager
def _logging_to(console: Console) -> Iterator[None]:
    handler = RichHandler(console=console, show_time=False, show_level=False, show_path=False)
    handler.setFormatter(_DrawableFormatter())
    log = logging.getLogger("tokensal")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


INTERVAL = 60.0  # seconds between the lines of a log


@dataclass
class Pace:
    """How far a run has come, and how fast it goes.

    Attributes:
        done: examples that are finished, of those of this process.
        total: how many there are; as many as are done where that is not known.
        explained: those that were not finished before.
        failed: those that have an error.
        clock: what time it is, in seconds.
    """

    done: int = 0
    total: int = 0
    explained: int = 0
    failed: int = 0
    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def step(self, done: int, total: int, errors: list[str | None]) -> None:
        """Count an example with the errors of its rows; without rows it was finished before."""
        self.done, self.total = done, total
        if errors:
            self.explained += 1
            self.failed += any(errors)
        elif not self.explained:
            self.started = self.clock()  # what was finished before took no time

    @property
    def seconds(self) -> float:
        """Since the first example that was not finished before."""
        return self.clock() - self.started

    def __str__(self) -> str:
        """Such as "34 a minute · 2 min left · 3 failed"; the time left where it can be known."""
        facts = []
        if self.explained:
            facts.append(per_minute(self.explained, self.seconds))
            if self.total > self.done:
                facts.append(f"{duration(self.seconds / self.explained * (self.total - self.done))} left")
        if self.failed:
            facts.append(f"{self.failed:,} failed")
        return " · ".join(facts)


Watched = Callable[[int, int, list[str | None]], None]


@contextmanager
def following(pace: Pace, *, quiet: bool = False) -> Iterator[Watched]:
    """Show on stderr how far a run has come: a bar on a terminal; elsewhere a line a minute, for a log."""
    console = Console(stderr=True, quiet=quiet)
    with _bar(console, quiet) as bar, _logging_to(console):
        task = bar.add_task("explaining", total=None, pace="")
        told, known = pace.clock(), False

        def step(done: int, total: int, errors: list[str | None]) -> None:
            nonlocal told, known
            known = known or total > done  # else as many as are done
            pace.step(done, total, errors)
            bar.update(task, completed=done, total=total if known else None, pace=str(pace))
            if not console.is_terminal and pace.clock() - told >= INTERVAL:
                told = pace.clock()
                share = f"{done:,} of {counted(total, 'example')}" if total > done else counted(done, "example")
                console.print(drawable(f"{share} · {pace}"), soft_wrap=True, highlight=False, markup=False)

        yield step


def _bar(console: Console, quiet: bool) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}")
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
