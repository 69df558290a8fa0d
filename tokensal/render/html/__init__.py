"""Self-contained HTML pages: one file that needs no other and no network, and works without JavaScript, too."""

from __future__ import annotations

from tokensal.drawing import Drawing
from tokensal.render.html import evaluation as evaluations
from tokensal.render.html import summary as summaries
from tokensal.render.html.page import Page, page
from tokensal.render.layout import EvaluationTables, Heatmap, HeatmapComparison, SummaryTables
from tokensal.render.layout.heatmap import DEFAULT


def draw_heatmap(heatmap: Heatmap, drawing: Drawing = DEFAULT) -> str:
    """The heatmap as one HTML document, or as a fragment for one."""
    return _drawn(heatmap, drawing)


def draw_comparison(comparison: HeatmapComparison, drawing: Drawing = DEFAULT) -> str:
    """The comparison as one HTML document, or as a fragment for one. A target that is selected in one heatmap is
    selected in all."""
    return _drawn(comparison, drawing)


def draw_evaluation(evaluation: EvaluationTables, drawing: Drawing = DEFAULT) -> str:
    """The evaluation as one HTML document, or as a fragment for one."""
    if drawing.standalone is False:
        return evaluations.fragment(evaluation, drawing.palette)
    return evaluations.document(evaluation, drawing.palette)


def draw_summary(summary: SummaryTables, drawing: Drawing = DEFAULT) -> str:
    """The summary as one HTML document, or as a fragment for one."""
    drawn = summaries.fragment if drawing.standalone is False else summaries.document
    return drawn(summary, drawing.palette)


def fragment(layout: Heatmap | HeatmapComparison, drawing: Drawing = DEFAULT) -> str:
    """One element for the body of any HTML page, which may hold several.

    It has no identifier and no style that another part of the page sees, and the styles of the page do not reach into
    it. It follows the system's theme, or the attribute data-theme ("light" or "dark") of the element.
    """
    return _page(layout, drawing).fragment()


def notebook(layout: Heatmap | HeatmapComparison | EvaluationTables | SummaryTables, drawing: Drawing = DEFAULT) -> str:
    """The output of a notebook's cell."""
    if isinstance(layout, EvaluationTables):
        return evaluations.fragment(layout, drawing.palette)
    if isinstance(layout, SummaryTables):
        return summaries.fragment(layout, drawing.palette)
    return _page(layout, drawing).output()


def _drawn(layout: Heatmap | HeatmapComparison, drawing: Drawing) -> str:
    return fragment(layout, drawing) if drawing.standalone is False else _page(layout, drawing).document()


def _page(layout: Heatmap | HeatmapComparison, drawing: Drawing) -> Page:
    if isinstance(layout, Heatmap):
        entries = layout.legend.entries
        return page("heatmap.html.j2", "Token attribution", [layout], layout.caption, entries, drawing, titles=())
    heading, titles = "Token attribution compared", layout.titles
    entries, caption = layout.entries, layout.shared
    return page(
        "comparison.html.j2", heading, layout.heatmaps, caption, entries, drawing, comparison=layout, titles=titles
    )
