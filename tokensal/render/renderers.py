"""The table of formats: a renderer is a module that draws a layout, and its row here is the suffix of its files.

JSON is none of them: it stores the result itself (see `json`).
"""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from tokensal.drawing import Drawing
from tokensal.render.layout import Heatmap, HeatmapComparison

RENDERERS = {
    ".html": "tokensal.render.html",
    ".pdf": "tokensal.render.vector.pdf",
    ".png": "tokensal.render.vector.png",
    ".svg": "tokensal.render.vector.svg",
    ".tex": "tokensal.render.latex",
    ".txt": "tokensal.render.terminal",
}


class Renderer(Protocol):
    """Draws what the layout has decided; the same layout and the same drawing give the same file."""

    def draw_heatmap(self, heatmap: Heatmap, drawing: Drawing, /) -> str | bytes:
        """A whole document about one heatmap."""
        ...

    def draw_comparison(self, comparison: HeatmapComparison, drawing: Drawing, /) -> str | bytes:
        """A whole document about several heatmaps of the same tokens."""
        ...


def renderer(suffix: str) -> Renderer:
    """The renderer of a format; its module is imported only now."""
    return cast(Renderer, importlib.import_module(RENDERERS[suffix]))
