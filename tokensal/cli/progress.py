"""Messages on stderr: which stage the work is in, with a progress bar once it takes more than a second."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.logging import RichHandler

from tokensal.drawable import drawable
from tokensal.progress import delayed_bar


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
