"""How far the work has come: a bar on stderr, once the work takes more than a second, of which nothing remains."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tokensal.errors import InputError
from tokensal.types import Progress
from tokensal.values import described

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar

PATIENCE = 1.0  # seconds before a bar appears


@contextmanager
def reporting(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """What is called as the work goes on: the function that was passed, or one that moves a bar; None for neither.

    Args:
        progress: a function; True for a bar, False for none; None for a bar where stderr is a terminal or a notebook.

    Raises:
        InputError: something else.
    """
    if not isinstance(progress, bool | None):
        if not callable(progress):
            raise InputError(
                f"progress is {described(progress)}, but should be a function of (done, total), true or false."
            )
        yield progress
        return
    if progress is False:
        yield None
        return
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter:
        with _notebook_bar() as report:
            yield report
    elif progress is None and not getattr(sys.stderr, "isatty", bool)():
        yield None
    else:
        with delayed_bar(console) as bar:
            task = bar.add_task("attributing", total=None)
            yield lambda done, total: bar.update(task, total=total, completed=done)


@contextmanager
def _notebook_bar() -> Iterator[Progress]:
    """A widget where there are any, else a line that is written again, without the codes that rich erases by."""
    module = importlib.import_module("tqdm.notebook" if importlib.util.find_spec("ipywidgets") else "tqdm.std")
    with module.tqdm(desc="attributing", leave=False, delay=PATIENCE) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report


@contextmanager
def delayed_bar(console: Console, *, hidden: bool = False) -> Iterator[Bar]:
    """A bar that appears after a second inside, and disappears afterwards."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    bar = Bar(*columns, console=console, transient=True, disable=hidden)
    timer = threading.Timer(PATIENCE, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield bar
    finally:
        timer.cancel()
        timer.join()  # it may be about to draw
        bar.stop()
