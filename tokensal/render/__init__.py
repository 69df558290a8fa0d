"""Draw and store results: a pure function of the result for each format, selected by the suffix of the file."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TypeVar

from tokensal.errors import OutputError
from tokensal.render.layout import Heatmap, HeatmapComparison, lay_out, lay_out_comparison
from tokensal.render.renderers import RENDERERS, renderer
from tokensal.results.attribution import Attribution
from tokensal.results.comparison import Comparison

Loaded = TypeVar("Loaded", Attribution, Comparison)

JSON = ".json"


def show(result: Attribution | Comparison, *, matrix: bool = False, sink: bool = False, theme: str = "auto") -> None:
    """Print the result to the terminal; the options are those of `Result.show`."""
    from tokensal.render import terminal

    terminal.show(_layout(result, sink), matrix=matrix, theme=theme)


def notebook(result: Attribution | Comparison) -> str:
    """The result as HTML for the output of a notebook's cell."""
    from tokensal.render import html

    return html.notebook(_layout(result, sink=False))


def check_output(path: str | PathLike[str]) -> Path:
    """Make sure, before any work is done, that `path` can be written in a known format; returns it as a `Path`.

    Raises:
        OutputError: unknown suffix, missing folder, or no permission to write there.
    """
    path = Path(path)
    if path.suffix.lower() not in (JSON, *RENDERERS):
        suffixes = ", ".join(sorted((JSON, *RENDERERS)))
        raise OutputError(f"Cannot tell the format of output {str(path)!r}: its suffix should be one of {suffixes}.")
    if path.is_dir():
        raise OutputError(f"Output {str(path)!r} is a folder; name a file in it, such as {path / 'heatmap.html'}.")
    if not path.parent.is_dir():
        raise OutputError(f"Output {str(path)!r} is in a folder that does not exist; make {str(path.parent)!r} first.")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise OutputError(f"No permission to write output {str(path)!r}; choose another place.")
    return path


def save(result: Attribution | Comparison, path: str | PathLike[str], *, sink: bool = False) -> None:
    """Write the result in the format of the suffix: aside first, then renamed into place.

    Raises:
        OutputError: as `check_output`, or the disk refused while writing.
    """
    path = check_output(path)
    document = _document(result, path.suffix.lower(), sink)
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    try:
        aside.write_bytes(document.encode() if isinstance(document, str) else document)
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OutputError(f"Could not write output {str(path)!r}: {error.strerror}.") from error


def load(path: str | PathLike[str], kind: type[Loaded]) -> Loaded:
    """Read a result of that kind from a .json file.

    Raises:
        FormatError: a missing or damaged file, one that holds something else, or an unknown schema version.
    """
    from tokensal.render import json

    return json.read(path, kind)


def _document(result: Attribution | Comparison, suffix: str, sink: bool) -> str | bytes:
    if suffix == JSON:
        from tokensal.render import json

        return json.dumps(result)
    layout, draw = _layout(result, sink), renderer(suffix)
    return draw.draw_heatmap(layout) if isinstance(layout, Heatmap) else draw.draw_comparison(layout)


def _layout(result: Attribution | Comparison, sink: bool) -> Heatmap | HeatmapComparison:
    return lay_out_comparison(result, sink=sink) if isinstance(result, Comparison) else lay_out(result, sink=sink)
