"""Self-contained HTML pages: one file that needs no other and no network, and works without JavaScript, too."""

from __future__ import annotations

import html
import math

from tokensal.render.html.page import page
from tokensal.render.layout import Heatmap, HeatmapComparison

TITLE, COMPARED = "Token attribution", "Token attribution compared"


def draw_heatmap(heatmap: Heatmap) -> str:
    """The heatmap as one HTML document."""
    return page("heatmap.html.j2", TITLE, heatmap.caption, [heatmap], heatmap.legend.entries)


def draw_comparison(comparison: HeatmapComparison) -> str:
    """The comparison as one HTML document. A target that is selected in one heatmap is selected in all."""
    heatmaps, shared = comparison.heatmaps, comparison.shared
    return page("comparison.html.j2", COMPARED, shared, heatmaps, comparison.entries, comparison=comparison)


def notebook(layout: Heatmap | HeatmapComparison) -> str:
    """The document in a frame of its own, so that its styles and those of a notebook do not meet."""
    if isinstance(layout, Heatmap):
        return _frame(TITLE, draw_heatmap(layout), min(720, max(680, 360 + _text_height(layout))))
    height = 360 + len(layout.heatmaps) * (120 + _text_height(layout.heatmaps[0]))
    return _frame(COMPARED, draw_comparison(layout), min(900, height))


def _frame(title: str, document: str, height: int) -> str:
    return (
        f'<iframe title="{title}" sandbox="allow-scripts" srcdoc="{html.escape(document)}" '
        f'style="display: block; width: 100%; height: {height}px; border: 0"></iframe>'
    )


def _text_height(heatmap: Heatmap) -> int:
    """About how many pixels the running text takes."""
    lines = sum(label.lines for label in heatmap.sources)
    characters = sum(len(label.text) for label in heatmap.sources)
    return 32 * math.ceil(lines + characters / 60)
