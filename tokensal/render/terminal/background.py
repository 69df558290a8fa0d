"""Whether a terminal is dark or light: what it answers, or else what it wrote into the environment.

A terminal is asked for its background with the control sequence OSC 11, which most of today's answer at once. Nothing
is asked where the answer would be read by somebody else, or somebody else's input by us: in a pipe, in the background,
and while typed characters wait to be read.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

QUERY = b"\x1b]11;?\x1b\\"
ANSWER = re.compile(rb"\x1b\]11;rgba?:([0-9a-f]+)/([0-9a-f]+)/([0-9a-f]+)[^\x07\x1b]*(?:\x07|\x1b\\)", re.IGNORECASE)
SHORTEST = len(b"\x1b]11;rgb:0/0/0\x07")
TIMEOUT, PAUSE = 0.3, 0.005  # seconds; a later answer would be read by the shell


def is_dark(file: IO[str]) -> bool:
    """Whether the terminal that `file` writes to has a dark background; so it is taken to be where nothing says so."""
    luminance = _luminance(file)
    if luminance is not None:
        return luminance < 0.5
    # "foreground;background" as numbers of the 16 colours
    return os.environ.get("COLORFGBG", "").rpartition(";")[2] not in ("7", "15")


def _luminance(file: IO[str]) -> float | None:
    """What the terminal answers, from 0 (black) to 1; None where it is not asked, or says nothing."""
    with suppress(ImportError, OSError, ValueError, AttributeError):  # no POSIX terminal, a closed or replaced stream
        if not (sys.stdin.isatty() and file.isatty()) or os.environ.get("TERM") == "linux":  # which never answers
            return None
        keyboard, screen = sys.stdin.fileno(), file.fileno()
        if os.tcgetpgrp(keyboard) != os.getpgrp():  # a job in the background would be stopped
            return None
        file.flush()
        with _unbuffered(keyboard):
            return _ask(keyboard, screen)
    return None


def _ask(keyboard: int, screen: int) -> float | None:
    if _waiting(keyboard):
        return None
    os.write(screen, QUERY)
    match = _answer(keyboard)
    if match is None:
        return None
    red, green, blue = (int(digits, 16) / (16 ** len(digits) - 1) for digits in match.groups())
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


@contextmanager
def _unbuffered(keyboard: int) -> Iterator[None]:
    """A terminal that hands over characters at once and does not show them; what is typed meanwhile is kept."""
    import termios

    before = termios.tcgetattr(keyboard)
    changed = termios.tcgetattr(keyboard)
    changed[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(keyboard, termios.TCSANOW, changed)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)


def _answer(keyboard: int) -> re.Match[bytes] | None:
    """The terminal's answer; what is shorter than one is typed by the user, and is not even read."""
    end, received, match = time.monotonic() + TIMEOUT, b"", None
    while match is None and time.monotonic() < end:
        if _waiting(keyboard) >= (1 if received else SHORTEST):
            received += os.read(keyboard, 1024)
            match = ANSWER.search(received)
        else:
            time.sleep(PAUSE)
    _put_back(keyboard, ANSWER.sub(b"", received))
    return match


def _put_back(keyboard: int, typed: bytes) -> None:
    """What was typed between question and answer, for who reads next."""
    import fcntl
    import termios

    with suppress(OSError):  # some systems do not allow it
        for byte in typed:
            fcntl.ioctl(keyboard, termios.TIOCSTI, bytes([byte]))


def _waiting(keyboard: int) -> int:
    """How many bytes can be read."""
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(keyboard, termios.FIONREAD, bytes(4)), sys.byteorder)
