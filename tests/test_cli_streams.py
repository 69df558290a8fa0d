"""The standard streams of the command line: closed, full, binary, or of another encoding."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TOKENSAL = f"{shlex.quote(sys.executable)} -m tokensal"
GOLDEN = shlex.quote(str(Path(__file__).parent / "golden" / "diagnostics.v3.json"))


def shell(command, stdin=b""):
    """Run a command of the shell in which `tokensal` is ours."""
    return subprocess.run(
        ["bash", "-c", command.replace("tokensal ", f"{TOKENSAL} ")], input=stdin, capture_output=True, timeout=120
    )


@pytest.mark.parametrize(
    ("command", "stdin", "sentence"),
    [
        ("tokensal attribute <&-", b"", "The prompt is empty"),
        ("tokensal attribute", b"", "The prompt is empty"),
        ("tokensal attribute", b"\n", "The prompt is empty"),
        ("tokensal attribute -", b"a\xff", "not UTF-8 text: invalid start byte (0xff at byte 1)"),
        ("tokensal attribute", "a".encode("utf-16"), "Standard input is not UTF-8 text"),
        ("tokensal attribute", b"a\0b", "has a NUL character"),
        ("tokensal attribute </dev/zero", b"", "Standard input is larger than 10 MB"),
        ("tokensal attribute x >&-", b"", "Standard output is closed"),
        ("tokensal attribute x >&- <&-", b"", "Standard output is closed"),
        ("tokensal show -", b"\xff", "Cannot read result '<stdin>': it is not JSON"),
        ("tokensal show - <&-", b"", "it is not JSON"),
        (f"tokensal show {GOLDEN} >/dev/full", b"", "Could not write to standard output: No space left on device"),
        (f"tokensal show {GOLDEN} -o - --format html >/dev/full", b"", "No space left on device"),
        ("tokensal methods >/dev/full", b"", "No space left on device"),
        ("tokensal --help >/dev/full", b"", "No space left on device"),
    ],
)
def test_what_cannot_be_read_or_written_is_told_in_a_sentence(command, stdin, sentence):
    done = shell(command, stdin)
    assert (done.returncode, done.stdout) == (2, b"")
    assert sentence in done.stderr.decode() and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        f"tokensal show {GOLDEN} 2>&-",
        f"tokensal show {GOLDEN} | true",
        f"tokensal show {GOLDEN} -o - --format html | true",
        f"PYTHONIOENCODING=ascii tokensal show {GOLDEN}",
        "PYTHONIOENCODING=ascii tokensal methods",
        "PYTHONIOENCODING=ascii tokensal attribute --help",
        "tokensal --help >&-",
    ],
)
def test_streams_that_are_closed_or_cannot_encode_are_no_failure(command):
    done = shell(command)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_file_is_written_where_standard_output_is_closed(tmp_path):
    out = shlex.quote(str(tmp_path / "r.html"))
    done = shell(f"tokensal show {GOLDEN} -o {out} >&-")
    assert (done.returncode, done.stderr.decode()) == (0, f"Wrote {tmp_path / 'r.html'}\n")
    assert (tmp_path / "r.html").stat().st_size > 1000
    done = shell(f"tokensal show {GOLDEN} -o {out} >&- 2>/dev/full")
    assert done.returncode == 0
    done = shell(f"tokensal show {GOLDEN} -o {out} >&- 2>&-")  # and what is told does not end up in the file
    assert done.returncode == 0 and (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("argument", ["$'--\\x1b\\u202e'", "$'\\x1b\\u202e'", "attribute $'--\\x1b\\u202e'"])
def test_errors_of_usage_are_drawable(argument):
    done = shell(f"tokensal {argument}")
    assert done.returncode == 2
    assert all(line.isprintable() for line in done.stderr.decode().splitlines())
