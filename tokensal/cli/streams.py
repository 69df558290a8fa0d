"""The standard streams, any of which can be closed, full, of another encoding, or read by nobody."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tokensal.errors import OutputError


def open_streams() -> None:
    """Put an empty file in the place of each stream that is closed, and let none fail on a character."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def stdout_is_closed() -> bool:
    """Whether standard output was closed when the process began (see `open_streams`)."""
    return getattr(sys.stdout, "name", None) == os.devnull


@contextmanager
def writing_to_stdout() -> Iterator[None]:
    """Around what does nothing but print: what fails ends in a sentence.

    Raises:
        OutputError: the system refuses to write.
        BrokenPipeError: nobody reads any further.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        # what is left to be written goes nowhere, so that Python does not fail again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError(f"Could not write to standard output: {error.strerror}.") from error
