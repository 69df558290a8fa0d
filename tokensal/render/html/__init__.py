"""Self-contained HTML pages: one file that needs no other and no network, and works without JavaScript, too."""

from __future__ import annotations

from tokensal.render.html.page import Page, page
from tokensal.render.layout import Heatmap, HeatmapComparison


def draw_heatmap(heatmap: Heatmap) -> str:
    """The heatmap as one HTML document."""
    return _page(heatmap).draw("heatmap.html.j2")


def draw_comparison(comparison: HeatmapComparison) -> str:
    """The comparison as one HTML document. A target that is selected in one heatmap is selected in all."""
    return _page(comparison).draw("comparison.html.j2")


def notebook(layout: Heatmap | HeatmapComparison) -> str:
    """The document in a frame of its own, and its opening view as plain HTML for where frames are dropped."""
    document = draw_heatmap(layout) if isinstance(layout, Heatmap) else draw_comparison(layout)
    return _page(layout).draw("notebook.html.j2", document=document)


def _page(layout: Heatmap | HeatmapComparison) -> Page:
    if isinstance(layout, Heatmap):
        return page("Token attribution", [layout], layout.caption, layout.legend.entries, own=())
    return page(
        "Token attribution compared", layout.heatmaps, layout.shared, layout.entries, comparison=layout, own=layout.own
    )
