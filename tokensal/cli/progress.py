"""Messages on stderr: which stage the work is in, with a progress bar once it takes more than a second."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tokensal.drawable import drawable

PATIENCE = 1.0  # seconds before a bar appears


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
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    bar = Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
    task = bar.add_task("", total=None)

    def stage(name: str, done: int | None = None, total: int | None = None) -> None:
        bar.update(task, description=name, total=total, completed=done or 0)

    timer = threading.Timer(PATIENCE, bar.start)
    timer.daemon = True
    timer.start()
    try:
        with _logging_to(console):
            yield stage
    finally:
        timer.cancel()
        bar.stop()


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
