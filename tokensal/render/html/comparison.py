"""One self-contained HTML page for a comparison: the heatmap of each method, and how far their rankings agree.

The heatmaps are those of `html`. A generated token that is selected in one of them is selected in all.
"""

from __future__ import annotations

from tokensal.render.html.heatmap import document, frame, text_height, view
from tokensal.render.html.matrix import CELLS
from tokensal.render.layout import lay_out_comparison
from tokensal.results.comparison import Comparison

TOP = 5  # sources in each ranked list: as high as the text of a short example
TITLE = "Token attribution compared"


def page(comparison: Comparison, *, sink: bool = False) -> str:
    """The comparison as one HTML document that needs no other file and no network.

    Args:
        sink: count the sink token into scales and rankings too.

    Raises:
        NonFiniteScores: a score that causality allows is NaN or infinite.
    """
    drawn = lay_out_comparison(comparison, sink=sink)
    cells = CELLS // len(drawn.heatmaps)
    views = [view(heatmap, TOP, cells) for heatmap in drawn.heatmaps]
    return document("comparison.html.j2", TITLE, views, drawn.shared, drawn=drawn)


def notebook(comparison: Comparison) -> str:
    """The page in a frame of its own, so that its styles and those of a notebook do not meet."""
    first, *_ = comparison.attributions
    return frame(TITLE, page(comparison), min(900, 360 + len(comparison.attributions) * (120 + text_height(first))))
