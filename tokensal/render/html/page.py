"""One HTML page of one heatmap or of several: running text shaded by score, recoloured in the browser for each target.

1. Each row of a heatmap becomes a panel: what the page says while that row is shown (`panels`).
2. Each source and target becomes a mark of running text (`running_text`), and all scores together a matrix, if they are
   not too many.
3. The template draws them. It escapes every string, and loads nothing.

A page of several heatmaps is made of the same parts, and one selection is shown in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tokensal.drawing import Drawing
from tokensal.render.html.panels import NAME, panel, source_name
from tokensal.render.html.running_text import Text, running_text
from tokensal.render.layout.heatmap import Facts, Heatmap
from tokensal.render.layout.labels import shortened
from tokensal.render.layout.legend import CLIPPED, OF_ROWS, SINK, Entry, Kind
from tokensal.render.layout.matrix import Matrix, lay_out_matrix, matrix_name
from tokensal.render.layout.numbers import exact
from tokensal.render.layout.palette import page_palettes

CELLS = 20_000  # of the matrices on one page; each takes 50 to 80 bytes
STEPS = 200  # of a shade: finer than 8 bits of a colour show on most of the scale
PRINTED_CELLS = 1_000  # of a closed matrix that is printed all the same: two sheets of paper
PRINTED_WIDTH = 115  # characters of a row of numbers that fit on a sheet
STYLED = (*(kind for kind in OF_ROWS if kind is not Kind.CLIPPED), Kind.UNIT, Kind.SPECIAL, Kind.TEMPLATE)


@dataclass(frozen=True, slots=True)
class View:
    """One heatmap as a page shows it: a panel for each aggregation and each target, the text, and the matrix, which is
    None where it is too large."""

    heatmap: Heatmap
    overview: dict[str, Any]
    others: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    text: Text
    matrix: Matrix | None


@dataclass(frozen=True, slots=True)
class Page:
    """What a template draws, as a document of its own or as a part of another."""

    template: str
    context: dict[str, Any]
    palette: str

    def document(self) -> str:
        """A document that holds nothing but the fragment."""
        fragment = Markup(self.fragment(standalone=True))
        return environment(self.palette).get_template("document.html.j2").render(self.context, fragment=fragment)

    def fragment(self, *, standalone: bool = False) -> str:
        """One element for any page.

        It has no empty line, so that Markdown reads all of it as HTML.
        """
        template = environment(self.palette).get_template(self.template)
        fragment = template.render(self.context, standalone=standalone, style=Markup(_style(self.palette)))
        return re.sub(r"\n\s*\n", "\n", fragment)

    def output(self) -> str:
        """The page in a frame, for a notebook, and its opening view as plain HTML for where frames are dropped."""
        return environment(self.palette).get_template("notebook.html.j2").render(self.context, document=self.document())


def page(
    template: str,
    heading: str,
    heatmaps: Sequence[Heatmap],
    caption: Facts,
    entries: Iterable[Entry],
    drawing: Drawing,
    **more: object,
) -> Page:
    """A page of heatmaps of the same tokens, with entries of a legend; `more` is what else the template needs."""
    ranked = 8 if len(heatmaps) == 1 else 5  # of several: as high as the text of a short example
    views = [_view(heatmap, ranked, CELLS // len(heatmaps)) for heatmap in heatmaps]
    names = [f"{number} {_method(heatmap)} " for number, heatmap in enumerate(heatmaps, 1)]
    signed = any(heatmap.signed for heatmap in heatmaps)
    first = heatmaps[0]
    stepped = f", in {first.bins} steps{' for each sign' * signed}" if first.bins else ""
    methods = ", ".join(map(_method, heatmaps))
    return Page(
        template,
        {
            **more,
            "heading": heading,
            "title": " · ".join(part for part in (methods, first.subject, dict(first.heading)["model"]) if part),
            "views": views,
            "signed": signed,
            "stepped": stepped,
            "caption": caption,
            # where the model writes is seen, and numbers that count equal names are in the matrix alone
            "entries": [entry for entry in entries if entry.kind not in (Kind.GENERATED, Kind.ORDINAL)],
            "kinds": {kind for view in views for kind in view.overview["kinds"]},
            "data": {
                "views": [_data(view, name if len(views) > 1 else "") for view, name in zip(views, names, strict=True)],
                "signed": signed,
                "names": [source_name(first, source) for source in range(len(first.sources))],
                "targets": [shortened(label.name, NAME) for label in first.targets],
                "bins": first.bins,
                "stepped": stepped,
            },
        },
        drawing.palette,
    )


def _data(view: View, name: str) -> dict[str, Any]:
    """What the script needs of a view; `name` stands before its numbers where there are several."""
    return {
        "name": name,
        "overview": view.overview,
        "others": view.others,
        "rows": view.rows,
        "columns": list(view.heatmap.scored) if view.matrix else [],
        "limit": view.matrix.scale.limit if view.matrix else 0,
        "signed": view.heatmap.signed,
    }


def _method(heatmap: Heatmap) -> str:
    return dict(heatmap.heading)["method"]


def _view(heatmap: Heatmap, ranked: int, most: int) -> View:
    """All that a page says of a heatmap, with so many sources in its ranked lists, and `most` cells in a matrix."""
    overviews = [panel(heatmap, row, ranked, wide=True) for row in heatmap.overviews]
    rows = [panel(heatmap, row, ranked) for row in heatmap.rows]
    fits = len(heatmap.rows) * len(heatmap.scored) <= most
    matrix = lay_out_matrix(heatmap) if fits else None
    return View(heatmap, overviews[0], overviews[1:], rows, running_text(heatmap), matrix)


def _step(shade: float) -> str:
    """The class of a shade; `paint` in the script is its twin."""
    return f"s{int(abs(shade) * STEPS + 0.5)}"


@cache
def _style(palette: str) -> str:
    """The style sheet of a fragment. A rem is the size of the root of the page around, so it is not written as one."""
    sheet = environment(palette).get_template("fragment.css").render()
    return re.sub(r"(-?\d*\.?\d+)rem\b", r"calc(\1 * var(--rem))", sheet)


@cache
def environment(palette: str) -> Environment:
    """What all templates share, in the colours of a palette: every string is escaped."""
    light, dark = page_palettes(palette)
    environment = Environment(
        loader=PackageLoader("tokensal.render.html"),
        autoescape=True,  # for every template, whatever its suffix: tokens are a stranger's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False, "separators": (",", ":")}
    environment.filters.update(exact=exact, shortened=shortened, step=_step, matrix_name=matrix_name)
    environment.globals.update(SINK=SINK, CLIPPED=CLIPPED, LIGHT=light, DARK=dark, STYLED=STYLED, OF_ROWS=OF_ROWS)
    environment.globals.update(PRINTED_CELLS=PRINTED_CELLS, PRINTED_WIDTH=PRINTED_WIDTH, STEPS=STEPS)
    return environment
