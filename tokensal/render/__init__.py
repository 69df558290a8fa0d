"""Draw and store results: a pure function of the result for each format, chosen by the file's suffix."""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from tokensal.errors import OutputError
from tokensal.results.attribution import Attribution
from tokensal.results.comparison import Comparison

Result = Attribution | Comparison


def _html(result: Result, sink: bool) -> str:
    from tokensal.render.html import comparison as html_comparison
    from tokensal.render.html import heatmap as html

    if isinstance(result, Comparison):
        return html_comparison.page(result, sink=sink)
    return html.page(result, sink=sink)


def _json(result: Result, sink: bool) -> str:
    from tokensal.render import json

    return json.dumps(result)


def _text(result: Result, sink: bool) -> str:
    from tokensal.render.terminal import comparison as terminal_comparison
    from tokensal.render.terminal import heatmap as terminal

    if isinstance(result, Comparison):
        return terminal_comparison.text(result, sink=sink)
    return terminal.text(result, sink=sink)


FORMATS: dict[str, Callable[[Result, bool], str]] = {".html": _html, ".json": _json, ".txt": _text}


def check(path: str | PathLike[str]) -> Path:
    """Make sure, before any work is done, that `path` can be written in a known format; returns it as a `Path`.

    Raises:
        OutputError: unknown suffix, missing folder, or no permission to write there.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        known = ", ".join(FORMATS)
        raise OutputError(f"Cannot tell the format of output {str(path)!r}: its suffix should be one of {known}.")
    if path.is_dir():
        raise OutputError(f"Output {str(path)!r} is a folder; name a file in it, such as {path / 'heatmap.html'}.")
    if not path.parent.is_dir():
        raise OutputError(f"Output {str(path)!r} is in a folder that does not exist; make {str(path.parent)!r} first.")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise OutputError(f"No permission to write output {str(path)!r}; choose another place.")
    return path


def save(result: Result, path: str | PathLike[str], *, sink: bool = False) -> None:
    """Write the result in the format of the suffix: aside first, then renamed into place.

    Raises:
        OutputError: as `check`, or the disk refused while writing.
    """
    path = check(path)
    document = FORMATS[path.suffix.lower()](result, sink)
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    try:
        aside.write_text(document, encoding="utf-8", newline="\n")
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OutputError(f"Could not write output {str(path)!r}: {error.strerror}.") from error


def load(path: str | PathLike[str]) -> Attribution:
    """Read an attribution from a .json file.

    Raises:
        FormatError: a missing or damaged file, one that holds something else, or an unknown schema version.
    """
    from tokensal.render import json

    return json.read(path, Attribution)


def load_comparison(path: str | PathLike[str]) -> Comparison:
    """Read a comparison from a .json file.

    Raises:
        FormatError: as `load`.
    """
    from tokensal.render import json

    return json.read(path, Comparison)
