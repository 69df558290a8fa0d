"""Results as text: for a terminal of any width and any number of colours, and for .txt files."""

from __future__ import annotations

from typing import IO

from rich.console import Console
from rich.segment import Segment, Segments

from tokensal.drawing import Drawing
from tokensal.render.layout import EvaluationTables, Heatmap, HeatmapComparison, SummaryTables
from tokensal.render.layout.heatmap import DEFAULT
from tokensal.render.layout.numbers import MINUS, PERCENT
from tokensal.render.terminal.colours import Colours, colours_of
from tokensal.render.terminal.comparison import comparison_lines
from tokensal.render.terminal.evaluation import evaluation_lines
from tokensal.render.terminal.heatmap import heatmap_lines
from tokensal.render.terminal.lines import Line, Run, plain
from tokensal.render.terminal.matrix import matrix_of
from tokensal.render.terminal.page import page_of
from tokensal.render.terminal.summary import EIGHTHS, summary_lines

WIDTH = 100  # cells of a .txt file
BARS = str.maketrans(dict.fromkeys(EIGHTHS[4:] + "█", "#") | dict.fromkeys(EIGHTHS[1:4], " "))


def draw_heatmap(heatmap: Heatmap, drawing: Drawing = DEFAULT, *, width: int = WIDTH) -> str:
    """The heatmap as plain text `width` cells wide; with the full matrix where the width holds it."""
    page = page_of(heatmap, Colours(), width)
    return plain(heatmap_lines(page, matrix_of(page, panels=1)))


def draw_comparison(comparison: HeatmapComparison, drawing: Drawing = DEFAULT, *, width: int = WIDTH) -> str:
    """The comparison as plain text `width` cells wide."""
    return plain(comparison_lines(comparison, Colours(), width))


def draw_evaluation(evaluation: EvaluationTables, drawing: Drawing = DEFAULT, *, width: int = WIDTH) -> str:
    """The evaluation as plain text `width` cells wide."""
    return plain(evaluation_lines(evaluation, Colours(), width))


def draw_summary(summary: SummaryTables, drawing: Drawing = DEFAULT, *, width: int = WIDTH) -> str:
    """The summary as plain text `width` cells wide."""
    return plain(summary_lines(summary, Colours(), width))


def show(
    layout: Heatmap | HeatmapComparison | EvaluationTables | SummaryTables,
    drawing: Drawing = DEFAULT,
    *,
    file: IO[str] | None = None,
    console: Console | None = None,
) -> None:
    """Print a layout to `console`, or else to `file`, or else to the standard output.

    Args:
        layout: what to print.
        drawing: with the matrix, the full table of sources and targets as well, in as many panels as it takes; unless
            told otherwise, the alignment of an encoder–decoder model is printed where it fits one.
        file: a text file.
        console: what decides on width and colours.

    """
    console = console or Console(file=file)
    colours = colours_of(console, drawing.theme, drawing.palette)
    if isinstance(layout, EvaluationTables):
        return _print(console, evaluation_lines(layout, colours, console.width))
    if isinstance(layout, SummaryTables):
        return _print(console, summary_lines(layout, colours, console.width))
    if isinstance(layout, HeatmapComparison):
        return _print(console, comparison_lines(layout, colours, console.width, matrix=bool(drawing.matrix)))
    page = page_of(layout, colours, console.width)
    wanted = bool(layout.encoder) if drawing.matrix is None else drawing.matrix
    table = matrix_of(page, panels=None if drawing.matrix else 1) if wanted else []
    return _print(console, heatmap_lines(page, table))


def _print(console: Console, lines: list[Line]) -> None:
    """Print lines as they are: neither wrapped nor cropped."""
    segments = [Segment(run.text, run.style) for line in lines for run in [*line, Run("\n")]]
    if not console.encoding.startswith("utf"):  # better a question mark than a crash
        segments = [Segment(_encodable(text, console.encoding), style) for text, style, _ in segments]
    console.print(Segments(segments), crop=False, end="")


def _encodable(text: str, encoding: str) -> str:
    """The text with a question mark for what the encoding lacks, but for a bar, and the sign and unit of a number."""
    return text.replace(MINUS, "-").replace(PERCENT, " %").translate(BARS).encode(encoding, "replace").decode(encoding)
