"""What a command hands over: files that it writes, what it shows, and the sentences about what failed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tokensal
from tokensal.cli.streams import stdout_is_closed, writing_to_stdout
from tokensal.config import STDOUT, Output
from tokensal.drawable import drawable
from tokensal.drawing import Drawing
from tokensal.errors import InputError, OutputError, TokensalError
from tokensal.options import values_of

if TYPE_CHECKING:
    from tokensal import Attribution, Comparison, Evaluation, Summary

    AnyResult = Attribution | Comparison | Evaluation | Summary

NOT_TRACED = "--trace shows credit through an answer, and an evaluation has none: leave it out."
SUMMARY_NOT_TRACED = NOT_TRACED.replace("an evaluation", "a summary")


def tell(*sentences: object) -> int:
    """Print what went wrong, and return the exit code."""
    for sentence in sentences:
        _print(f"tokensal: {sentence}")
    return 2


def print_lines(text: str) -> None:
    """Print lines to standard output, each safe to draw.

    Raises:
        OutputError: the system refuses to write.
    """
    with suppress(BrokenPipeError), writing_to_stdout():
        print("\n".join(map(drawable, text.splitlines())))


def _print(message: str) -> None:
    with suppress(OSError):  # where stderr is full, nothing can be told, and nothing else is lost
        print(message, file=sys.stderr)


def require_reader(output: Output) -> None:
    """Refuse to show what nobody could read.

    Raises:
        OutputError: standard output is closed, and wanted.
    """
    if stdout_is_closed() and (not output.output or STDOUT in output.output):
        raise OutputError("Standard output is closed, so nothing could be shown: open it, or write a file with '-o'.")


def require_places(output: Output, *, reported: bool = False) -> None:
    """Refuse outputs that could not be written, before any work is done.

    Raises:
        OutputError: an unknown suffix, a format that has no reports where these are wanted, or a place that cannot be
            written.
        InputError: an unknown format.
    """
    from tokensal.render import check_output, check_report, suffix_of

    for path in output.output:
        if reported:
            check_report(path, output.format)
        if path == STDOUT:
            suffix_of(path, output.format)
        else:
            check_output(path, output.format)


def deliver(
    result: AnyResult,
    output: Output,
    drawing: Drawing,
    *,
    shown: bool = True,
    reported: bool = False,
) -> None:
    """Write every output, and show the result; only then tell what failed, so that one failure costs nothing else."""
    result, failures = _with_trace(result) if output.trace else (result, [])
    steps: list[Callable[[], None]] = [
        partial(_write, result, path, output, drawing, reported=reported) for path in output.output
    ]
    if shown and STDOUT not in output.output:
        steps.append(partial(_show, result, drawing))
    for step in steps:
        try:
            step()
        except BrokenPipeError:  # nobody reads any further, as after `head`
            pass
        except Exception as error:
            failures.append(error)
    bugs = [error for error in failures if not isinstance(error, TokensalError)]
    if failures:
        code = tell(*(error for error in failures if error not in bugs))
        raise bugs[0] if bugs else SystemExit(code)


def _with_trace(result: AnyResult) -> tuple[AnyResult, list[Exception]]:
    """The result beside its credit through the answer; or by itself, and why that cannot be told."""
    if isinstance(result, tokensal.Evaluation | tokensal.Summary):
        return result, [InputError(NOT_TRACED if isinstance(result, tokensal.Evaluation) else SUMMARY_NOT_TRACED)]
    attributions = result.attributions if isinstance(result, tokensal.Comparison) else [result]
    try:
        return tokensal.Comparison.of_traced(attributions), []
    except InputError as error:
        return result, [error]


def _write(result: AnyResult, path: str, output: Output, drawing: Drawing, *, reported: bool = False) -> None:
    from tokensal import render

    encode, save = (render.encode_report, render.save_report) if reported else (render.encode, render.save)
    if path == STDOUT:
        with writing_to_stdout():
            sys.stdout.buffer.write(encode(result, path, drawing, format=output.format))
        return
    written = save(result, path, drawing, format=output.format)
    if not output.quiet:
        link = f", to which {path} points" if str(written) != str(Path(path)) else ""
        _print(drawable(f"Wrote {written}{link}"))


def _show(result: AnyResult, drawing: Drawing) -> None:
    # where nobody reads any further rich ends the process, but there may be a failure to tell
    with writing_to_stdout(), suppress(SystemExit):
        result.show(**values_of(drawing))
