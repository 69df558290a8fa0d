"""The tables of formats, whose rows are the suffixes of files.

A renderer is a module that draws a layout; a store is a module that writes down the result itself, without a layout.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Protocol, cast

from tokensal.drawing import Drawing
from tokensal.render.extras import requiring
from tokensal.render.layout import EvaluationTables, Heatmap, HeatmapComparison, SummaryTables
from tokensal.render.layout.report import Report
from tokensal.results.attribution import Attribution
from tokensal.results.comparison import Comparison
from tokensal.results.evaluation import Evaluation
from tokensal.results.summary import Summary

RENDERERS = {
    ".html": "tokensal.render.html",
    ".md": "tokensal.render.markdown",
    ".pdf": "tokensal.render.vector.pdf",
    ".png": "tokensal.render.vector.png",
    ".svg": "tokensal.render.vector.svg",
    ".tex": "tokensal.render.latex",
    ".txt": "tokensal.render.terminal",
}
REPORTS = {
    ".html": "tokensal.render.html.report",
    ".md": "tokensal.render.markdown.report",
}
STORES = {
    ".csv": "tokensal.render.csv",
    ".json": "tokensal.render.json",
    ".parquet": "tokensal.render.parquet",
}
FIGURES = (".pdf", ".png", ".svg")  # formats that draw no tables
EXTRAS = {".parquet": "data", ".pdf": "figures", ".png": "figures", ".svg": "figures"}  # of tokensal, for a format


class Renderer(Protocol):
    """Draws what the layout has decided; the same layout and the same drawing give the same file."""

    def draw_heatmap(self, heatmap: Heatmap, drawing: Drawing, /) -> str | bytes:
        """A whole document about one heatmap."""
        ...

    def draw_comparison(self, comparison: HeatmapComparison, drawing: Drawing, /) -> str | bytes:
        """A whole document about several heatmaps of the same tokens."""
        ...

    def draw_evaluation(self, evaluation: EvaluationTables, drawing: Drawing, /) -> str | bytes:
        """A whole document about the tables and curves of an evaluation."""
        ...

    def draw_summary(self, summary: SummaryTables, drawing: Drawing, /) -> str | bytes:
        """A whole document about the tables of a summary; formats of figures alone have none."""
        ...


class Reporter(Protocol):
    """Draws a report, as a `Renderer` does a heatmap."""

    def draw_report(self, report: Report, drawing: Drawing, /) -> str:
        """A whole document."""
        ...


class Store(Protocol):
    """Writes down what a result says; the same result gives the same file."""

    def dumps(self, result: Attribution | Comparison | Evaluation | Summary, /) -> str | bytes:
        """A whole document."""
        ...


def reporter(suffix: str) -> Reporter:
    """What draws reports in a format; its module is imported only now."""
    return cast(Reporter, importlib.import_module(REPORTS[suffix]))


def store(suffix: str) -> Store:
    """The store of a format; its module is imported only now.

    Raises:
        InputError: a package that it needs is not installed.
    """
    return cast(Store, module_of(suffix))


def renderer(suffix: str) -> Renderer:
    """The renderer of a format; its module is imported only now.

    Raises:
        InputError: a package that it needs is not installed.
    """
    return cast(Renderer, module_of(suffix))


def module_of(suffix: str) -> ModuleType:
    """The module that writes a format.

    Raises:
        InputError: a package that it needs is not installed.
    """
    name = (STORES | RENDERERS)[suffix]
    if suffix not in EXTRAS:
        return importlib.import_module(name)
    with requiring(EXTRAS[suffix]):
        return importlib.import_module(name)
