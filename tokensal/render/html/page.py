"""One HTML page of one heatmap or of several: running text shaded by score, recoloured in the browser for each target.

1. Each row of a heatmap becomes a panel: what the page says while that row is shown (`panels`).
2. Each source and target becomes a mark of running text (`running_text`), and all scores together a table (`table`), if
   they are not too many.
3. The template draws them. It escapes every string, and loads nothing.

A page of several heatmaps is made of the same parts, and one selection is shown in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from tokensal.render.html.panels import Panel, panel, source_name
from tokensal.render.html.running_text import Text, running_text
from tokensal.render.html.table import Table, table
from tokensal.render.layout import CLIPPED, SINK, Entry, Facts, Heatmap, Kind
from tokensal.render.layout.legend import OF_ROWS
from tokensal.render.layout.numbers import exact
from tokensal.render.layout.palette import DARK, LIGHT

CELLS = 6_000  # of the matrices on one page; each takes about a hundred bytes
STYLED = (*(kind for kind in OF_ROWS if kind is not Kind.CLIPPED), Kind.UNIT, Kind.SPECIAL, Kind.TEMPLATE)


@dataclass(frozen=True, slots=True)
class View:
    """One heatmap as a page shows it: a panel for the sum and one for each target, the text, and the matrix."""

    heatmap: Heatmap
    overview: Panel
    rows: tuple[Panel, ...]
    text: Text
    table: Table


def page(
    template: str, title: str, caption: Facts, heatmaps: Sequence[Heatmap], entries: Iterable[Entry], **more: object
) -> str:
    """A page of heatmaps of the same tokens.

    Args:
        template: the name of the template.
        title: the title of the page.
        caption: the facts at its foot.
        heatmaps: what is drawn, each in a view.
        entries: the entries of the legend.
        more: what else the template needs.
    """
    ranked = 8 if len(heatmaps) == 1 else 5  # of several: as high as the text of a short example
    views = [_view(heatmap, ranked, CELLS // len(heatmaps)) for heatmap in heatmaps]
    first = heatmaps[0]
    return (
        _environment()
        .get_template(template)
        .render(
            **more,
            title=title,
            views=views,
            caption=caption,
            entries=[entry for entry in entries if entry.kind is not Kind.GENERATED],  # seen by where it stands
            kinds={kind for view in views for kind in view.overview.kinds},
            data={
                "views": [
                    {"overview": asdict(view.overview), "rows": [asdict(row) for row in view.rows]} for view in views
                ],
                "names": [source_name(first, source) for source in range(len(first.sources))],
            },
        )
    )


def _view(heatmap: Heatmap, ranked: int, cells: int) -> View:
    """All that a page says of a heatmap, with so many sources in its ranked lists, and cells in its matrix."""
    overview, *rows = (panel(heatmap, row, ranked) for row in (heatmap.overview, *heatmap.rows))
    return View(heatmap, overview, tuple(rows), running_text(heatmap), table(heatmap, cells))


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
    environment.globals.update(SINK=SINK, CLIPPED=CLIPPED, LIGHT=LIGHT, DARK=DARK, STYLED=STYLED, OF_ROWS=OF_ROWS)
    return environment
