"""Asking a terminal for its background: a child of its own session on a pseudo-terminal, which the test plays."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from tokensal.drawing import Drawing
from tokensal.errors import InputError
from tokensal.render.terminal import background
from tokensal.render.terminal.colours import colours_of

pty = pytest.importorskip("pty")

CHILD = """
import fcntl, importlib.util, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
spec = importlib.util.spec_from_file_location("background", sys.argv[1])
background = importlib.util.module_from_spec(spec)
spec.loader.exec_module(background)
print("ready", flush=True)
if sys.argv[2] == "wait":
    while not background._waiting(0):
        pass
before = termios.tcgetattr(0)
theme = "dark" if background.is_dark(sys.stdout) else "light"
print(theme, "restored" if termios.tcgetattr(0) == before else "changed")
print("typed", repr(sys.stdin.readline()), flush=True)
"""
LIGHT = b"\x1b]11;rgb:ffff/fafa/f0f0"


class Terminal:
    """A pseudo-terminal with a child at its other end: what is typed into it, and all that the child wrote so far."""

    def __init__(self, *, wait=False, colorfgbg="", term="xterm"):
        self.end, theirs = pty.openpty()
        self.written = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, background.__file__, "wait" if wait else "ask"],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**os.environ, "COLORFGBG": colorfgbg, "TERM": term},
        )  # fmt: skip
        os.close(theirs)

    def __enter__(self):
        self.until(b"ready\r\n")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.end)

    def type(self, text):
        os.write(self.end, text)

    def until(self, text, seconds=20.0):
        """Wait for a text from the child."""
        late = time.monotonic() + seconds
        while text not in self.written:
            assert time.monotonic() < late, self.written
            if select.select([self.end], [], [], 0.1)[0]:
                self.written += os.read(self.end, 1024)


@pytest.mark.parametrize("end", [b"\x07", b"\x1b\\"], ids=["BEL", "ST"])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [(LIGHT, b"light"), (b"\x1b]11;rgb:1818/1818/1a1a", b"dark"), (b"\x1b]11;rgba:f/f/f/f", b"light")],
)
def test_the_terminal_says_what_its_background_is(answer, expected, end):
    with Terminal(colorfgbg="15;0" if expected == b"light" else "0;15") as terminal:  # which says the contrary
        terminal.until(background.QUERY)
        terminal.type(answer + end)
        terminal.type(b"next\n")
        terminal.until(b"typed 'next\\n'")
    assert expected + b" restored" in terminal.written
    assert b"rgb" not in terminal.written  # the answer is not echoed


@pytest.mark.parametrize(("colorfgbg", "expected"), [("0;15", b"light"), ("15;0", b"dark"), ("", b"dark")])
def test_a_terminal_that_does_not_answer_keeps_what_is_typed(colorfgbg, expected):
    with Terminal(colorfgbg=colorfgbg) as terminal:
        terminal.until(background.QUERY)
        terminal.type(b"typed\n")
        terminal.until(b"typed 'typed\\n'")
    assert expected + b" restored" in terminal.written


def test_nothing_is_asked_while_typed_characters_wait():
    with Terminal(wait=True, colorfgbg="0;15") as terminal:
        terminal.type(b"ls -la\n")
        terminal.until(b"typed 'ls -la\\n'")
    assert background.QUERY not in terminal.written and b"light restored" in terminal.written


def test_the_linux_console_is_not_asked():
    with Terminal(term="linux") as terminal:
        terminal.type(b"next\n")
        terminal.until(b"typed 'next\\n'")
    assert background.QUERY not in terminal.written


def test_what_is_typed_just_before_the_answer_is_put_back():
    allowed = Path("/proc/sys/dev/tty/legacy_tiocsti")
    if not allowed.exists() or allowed.read_text().strip() != "1":
        pytest.skip("this system does not let a process put characters back")
    with Terminal() as terminal:
        terminal.until(background.QUERY)
        terminal.type(b"l" + LIGHT + b"\x07s\n")
        terminal.until(b"typed 'ls\\n'")
    assert b"light restored" in terminal.written


def test_nothing_is_asked_in_a_pipe():
    command = "import sys, background; background.is_dark(sys.stdout)"
    folder = Path(background.__file__).parent
    result = subprocess.run(
        [sys.executable, "-c", command], cwd=folder, input=b"typed", capture_output=True, check=True
    )
    assert result.stdout == result.stderr == b""


# Themes


def console(**options):
    return Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", no_color=False, **options)


@pytest.mark.parametrize(
    ("theme", "variable", "dark"),
    [
        ("light", "dark", False),
        ("dark", "light", True),
        ("auto", "light", False),
        ("auto", "", True),
        ("auto", "auto", True),
    ],
)
def test_a_theme_goes_before_the_environment(monkeypatch, theme, variable, dark):
    monkeypatch.setenv("TOKENSAL_THEME", variable)
    monkeypatch.delenv("COLORFGBG", raising=False)
    assert colours_of(console(), theme).dark is dark


@pytest.mark.parametrize(("theme", "variable"), [("ligth", ""), ("auto", "ligth")])
def test_an_unknown_theme_is_refused_also_where_there_is_no_colour(monkeypatch, theme, variable):
    monkeypatch.setenv("TOKENSAL_THEME", variable)
    for refuse in (lambda: colours_of(Console(file=io.StringIO()), theme), lambda: Drawing(theme=theme)):
        with pytest.raises(InputError, match=r"'ligth'.*did you mean 'light'"):
            refuse()


def test_a_notebook_is_light_unless_somebody_says_otherwise():
    console = Console(force_jupyter=True)
    assert not colours_of(console).dark and colours_of(console, "dark").dark
