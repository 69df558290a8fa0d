"""One self-contained HTML page: running text shaded by score, recoloured in the browser for each generated token.

1. `layout` turns the attribution into a heatmap of cells.
2. Each row becomes a panel: what the page says while that row is shown (`html_panels`).
3. Each source and target becomes a mark of running text (`html_text`), and all scores together a matrix
   (`html_matrix`), if they are not too many.
4. The template draws them. It escapes every string, and loads nothing.

A page of several heatmaps (`html_comparison`) is made of the same parts, and one selection is shown in all of them.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from tokensal.render.html.matrix import CELLS, Matrix, matrix
from tokensal.render.html.numbers import exact
from tokensal.render.html.panels import Panel, panel, source_name
from tokensal.render.html.running_text import Text, running_text
from tokensal.render.labels import PIECE
from tokensal.render.layout import Facts, Heatmap, lay_out
from tokensal.results.attribution import Attribution
from tokensal.types import Role

TOP = 8  # sources in the ranked list
PICTURES = {PIECE: "a further token of the same character", "∅": "a token without text"}


@dataclass(frozen=True, slots=True)
class View:
    """One heatmap as a page shows it: a panel for the sum and one for each target, the text, and the matrix."""

    heatmap: Heatmap
    overview: Panel
    rows: tuple[Panel, ...]
    text: Text
    matrix: Matrix


def page(attribution: Attribution, *, sink: bool = False) -> str:
    """The heatmap as one HTML document that needs no other file and no network.

    Args:
        sink: count the sink token into scales and rankings too.

    Raises:
        NonFiniteScores: a score that causality allows is NaN or infinite.
    """
    heatmap = lay_out(attribution, sink=sink)
    return document("heatmap.html.j2", "Token attribution", [view(heatmap)], heatmap.caption)


def notebook(attribution: Attribution) -> str:
    """The page in a frame of its own, so that its styles and those of a notebook do not meet."""
    return frame("Token attribution", page(attribution), min(720, max(680, 360 + text_height(attribution))))


def view(heatmap: Heatmap, top: int = TOP, cells: int = CELLS) -> View:
    """All that a page says about a heatmap, with so many sources in its ranked lists, and cells in its matrix."""
    overview, *rows = (panel(heatmap, row, top) for row in (heatmap.overview, *heatmap.rows))
    return View(heatmap, overview, tuple(rows), running_text(heatmap), matrix(heatmap, cells))


def document(template: str, title: str, views: Sequence[View], caption: Facts, **more: object) -> str:
    """A page of one view or of several, all of the same tokens; `more` is what the template needs besides."""
    heatmap = views[0].heatmap
    return (
        _environment()
        .get_template(template)
        .render(
            **more,
            title=title,
            views=views,
            caption=caption,
            marks={mark for view in views for mark in view.overview.marks},
            pictures=_pictures(heatmap),
            kinds=_kinds(heatmap),
            data={
                "views": [
                    {"overview": asdict(view.overview), "rows": [asdict(row) for row in view.rows]} for view in views
                ],
                "names": [source_name(heatmap, source) for source in range(len(heatmap.sources))],
            },
        )
    )


def frame(title: str, document: str, height: int) -> str:
    """A document in a frame `height` pixels high, for a notebook."""
    return (
        f'<iframe title="{title}" sandbox="allow-scripts" srcdoc="{html.escape(document)}" '
        f'style="display: block; width: 100%; height: {height}px; border: 0"></iframe>'
    )


def text_height(attribution: Attribution) -> int:
    """About how many pixels the running text takes."""
    return 32 * math.ceil(attribution.text.count("\n") + len(attribution.text) / 60)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tokensal.render.html"),
        autoescape=True,  # for every template, whatever its suffix: tokens are a stranger's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False, "separators": (",", ":")}
    environment.filters["exact"] = exact
    return environment


def _kinds(heatmap: Heatmap) -> dict[str, bool]:
    """What a legend has to explain, whichever row is shown."""
    return {
        "special": any(label.special for label in (*heatmap.sources, *heatmap.targets)),
        "template": any(label.role is Role.TEMPLATE and not label.special for label in heatmap.sources),
        "unit": any(label.unit for label in heatmap.sources),
        "contrasted": heatmap.contrasted,
    }


def _pictures(heatmap: Heatmap) -> list[tuple[str, str]]:
    drawn = {label.text for label in (*heatmap.sources, *heatmap.targets)}
    return [(picture, meaning) for picture, meaning in PICTURES.items() if picture in drawn]
