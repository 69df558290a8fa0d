"""Draw and store results: a pure function of the result for each format, selected by the suffix of the file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from tokensal.drawing import Drawing
from tokensal.errors import InputError, OutputError, require_known
from tokensal.render.files import storable, writable_place, write
from tokensal.render.layout import (
    EvaluationTables,
    Heatmap,
    HeatmapComparison,
    SummaryTables,
    lay_out,
    lay_out_comparison,
    lay_out_evaluation,
    lay_out_summary,
)
from tokensal.render.layout.report import lay_out_report
from tokensal.render.renderers import EXTRAS, FIGURES, RENDERERS, REPORTS, STORES, module_of, renderer, reporter, store
from tokensal.results.attribution import Attribution
from tokensal.results.comparison import Comparison
from tokensal.results.evaluation import Evaluation
from tokensal.results.row import Row
from tokensal.results.summary import Summary

if TYPE_CHECKING:
    from pandas import DataFrame

AnyResult = Attribution | Comparison | Evaluation | Summary
Drawn = TypeVar("Drawn", bound=AnyResult)
Loaded = TypeVar("Loaded", Attribution, Comparison, Evaluation, Summary)

DEFAULT = Drawing()


def show(result: AnyResult, drawing: Drawing = DEFAULT) -> None:
    """Print the result to the terminal."""
    from tokensal.render import terminal

    terminal.show(_layout(_drawn(result, drawing), drawing), drawing)


def notebook(result: AnyResult) -> str:
    """The result as HTML for the output of a notebook's cell."""
    from tokensal.render import html

    return html.notebook(_layout(result, DEFAULT))


def frame(result: AnyResult) -> DataFrame:
    """The result as a long table; see `tokensal.results.result.Result.to_pandas`."""
    from tokensal.render import tables

    return tables.frame(tables.columns_of(result))


def frame_of_row(row: Row) -> DataFrame:
    """A row as a table; see `tokensal.results.row.Row.to_pandas`."""
    from tokensal.render import tables

    return tables.frame(tables.columns_of_row(row))


def check_output(path: str | PathLike[str], format: str | None = None) -> Path:
    """Make sure, before any work is done, that `path` can be written in a known format.

    Args:
        path: the file.
        format: a suffix without its dot, such as "html", in place of that of the path.

    Returns:
        Where it is written: where a symbolic link points to, or else the path.

    Raises:
        OutputError: unknown suffix, missing folder, a place that is no file, or no permission to write there.
        InputError: an unknown format, or one whose packages are not installed.
    """
    suffix_of(path, format)
    return writable_place(Path(path))


def save(
    result: AnyResult,
    path: str | PathLike[str],
    drawing: Drawing = DEFAULT,
    *,
    format: str | None = None,
) -> Path:
    """Write the result in the format of the suffix: aside first, then renamed into place.

    Args:
        result: what is written.
        path: the file; a symbolic link is followed, and stays.
        drawing: how it is drawn.
        format: a suffix without its dot, such as "html", in place of that of the path.

    Returns:
        The file that was written, as `check_output`.

    Raises:
        OutputError: as `check_output`, or the disk refused while writing.
    """
    place = check_output(path, format)
    write(place, encode(result, path, drawing, format=format))
    return place


def encode(
    result: AnyResult,
    path: str | PathLike[str],
    drawing: Drawing = DEFAULT,
    *,
    format: str | None = None,
) -> bytes:
    """What `save` writes to a file of that name; half of a surrogate pair, which no file can hold, becomes U+FFFD.

    Raises:
        OutputError: no format is named, and the suffix is unknown.
        InputError: an unknown format, or one whose packages are not installed.
    """
    document = _document(_drawn(result, drawing), suffix_of(path, format), drawing)
    return document if isinstance(document, bytes) else storable(document).encode()


def save_report(
    result: AnyResult,
    path: str | PathLike[str],
    drawing: Drawing = DEFAULT,
    *,
    format: str | None = None,
) -> Path:
    """Write the report on a result, as `save` does the result; see `encode_report`."""
    check_report(path, format)
    place = writable_place(Path(path))
    write(place, encode_report(result, path, drawing, format=format))
    return place


def encode_report(
    result: AnyResult,
    path: str | PathLike[str],
    drawing: Drawing = DEFAULT,
    *,
    format: str | None = None,
) -> bytes:
    """The report on a result, in the format of the suffix; where that only stores, the result itself.

    Raises:
        OutputError: a format that has no reports, or an unknown suffix.
        InputError: an unknown format, or a result that is not about one answer.
    """
    suffix = check_report(path, format)
    if isinstance(result, Evaluation | Summary):
        noun = "an evaluation" if isinstance(result, Evaluation) else "a summary"
        raise InputError(f"A report is about an answer, but this is {noun}: write it by 'tokensal render'.")
    if suffix in STORES:
        return encode(result, path, drawing, format=format)
    report = lay_out_report(_drawn(result, drawing), drawing)
    return storable(reporter(suffix).draw_report(report, drawing)).encode()


def check_report(path: str | PathLike[str], format: str | None = None) -> str:
    """The suffix of a report's format, or of one that stores the result.

    Raises:
        OutputError: a format that has no reports, or an unknown suffix.
        InputError: an unknown format.
    """
    suffix = suffix_of(path, format)
    if suffix not in (*REPORTS, *STORES):
        raise OutputError(
            f"There are no reports in format {suffix[1:]!r}: write {' or '.join(REPORTS)}, or .json, which stores "
            "the result, so that a report can be made of it later."
        )
    return suffix


def suffix_of(path: str | PathLike[str], format: str | None) -> str:
    """The suffix of a format, by default that of the path."""
    suffixes = sorted((*STORES, *RENDERERS))
    if format is not None:
        [format] = require_known("format", format.lower(), [suffix[1:] for suffix in suffixes])
        return _ready(f".{format}")
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        raise OutputError(
            f"Cannot tell the format of output {str(path)!r}: its suffix should be one of {', '.join(suffixes)}."
        )
    return _ready(suffix)


def require_tables(suffix: str) -> None:
    """Refuse formats of figures, where there are tables alone.

    Raises:
        OutputError: it is one.
    """
    if suffix in FIGURES:
        raise OutputError(f"A summary has tables and no figure, so it is no {suffix[1:]}: write .html, .md or .tex.")


def _ready(suffix: str) -> str:
    """The suffix, of a format whose packages are installed."""
    if suffix in EXTRAS:
        module_of(suffix)
    return suffix


def load(source: str | PathLike[str] | BinaryIO, kind: type[Loaded] | None = None) -> Loaded:
    """Read a result, by default of any kind, from a .json file or a stream.

    Raises:
        FormatError: a missing or damaged file, one that holds something else, or an unknown schema version.
    """
    from tokensal.render import json

    return json.read(source, kind)


def _document(result: AnyResult, suffix: str, drawing: Drawing) -> str | bytes:
    if suffix in STORES:
        return store(suffix).dumps(result)
    if isinstance(result, Summary):
        require_tables(suffix)
    layout, draw = _layout(result, drawing), renderer(suffix)
    if isinstance(layout, SummaryTables):
        return draw.draw_summary(layout, drawing)
    if isinstance(layout, EvaluationTables):
        return draw.draw_evaluation(layout, drawing)
    return draw.draw_heatmap(layout, drawing) if isinstance(layout, Heatmap) else draw.draw_comparison(layout, drawing)


def _drawn(result: Drawn, drawing: Drawing) -> Drawn:
    """The result that is drawn or stored: before anything is written of it, names are left out where that is asked."""
    return cast(Drawn, result.anonymous()) if drawing.anonymous else result


def _layout(result: AnyResult, drawing: Drawing) -> Heatmap | HeatmapComparison | EvaluationTables | SummaryTables:
    if isinstance(result, Evaluation):
        return lay_out_evaluation(result)
    if isinstance(result, Summary):
        return lay_out_summary(result)
    return lay_out_comparison(result, drawing) if isinstance(result, Comparison) else lay_out(result, drawing)
