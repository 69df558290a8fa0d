"""One self-contained HTML page: running text shaded by score, recoloured in the browser for each generated token.

1. `layout` turns the attribution into a heatmap of cells.
2. Each row becomes a `Panel`: all that the page says about one target, in words and numbers that are ready to show.
   The server writes the overview's panel into the page, and the browser reads the others from JSON, so that what
   is seen without JavaScript and with it is the same.
3. Each token becomes a `Mark` of running text. A generated token is drawn once and plays two parts: a target to be
   selected, and, for the tokens after it, a source.
4. The template draws them. It escapes every string, and loads nothing.

A page of several heatmaps (`html_comparison`) is made of the same parts, and one selection is shown in all of them.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from tokensal.attribution import Attribution
from tokensal.render.layout import PIECE, Cell, Facts, Heatmap, Label, Row, lay_out
from tokensal.types import Role

TOP = 8  # sources in the ranked list
MINUS, TIMES = "\u2212", "\u00d7"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PICTURES = {PIECE: "a further token of the same character", "∅": "a token without text"}


@dataclass(frozen=True, slots=True)
class Rank:
    """One line of the ranked list; `shade` within [-1, 1] is the length of its bar."""

    source: int
    name: str
    shade: float
    number: str


@dataclass(frozen=True, slots=True)
class Panel:
    """What the page says while one row is shown.

    `lead`, `name` and `detail` make the sentence that states what is shown. `low` and `high` are the ends of the
    scale. `marks` are the marks that occur in this row, for the legend. `sink` is its note on the sink.
    """

    lead: str
    name: str
    detail: str
    low: str
    high: str
    limit: float
    scores: tuple[float | None, ...]
    top: tuple[Rank, ...]
    marks: tuple[str, ...]
    sink: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One token in the running text: `gap`, the spaces it begins with, is left uncoloured so that words stand apart."""

    gap: str
    body: str
    label: Label
    cell: Cell | None
    target: int | None


@dataclass(frozen=True, slots=True)
class View:
    """One heatmap as a page shows it: a panel for the sum and one for each target, and the tokens in two parts."""

    heatmap: Heatmap
    overview: Panel
    rows: tuple[Panel, ...]
    before: list[Mark]
    after: list[Mark]


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


def view(heatmap: Heatmap, top: int = TOP) -> View:
    """All that a page says about a heatmap, with so many sources in its ranked lists."""
    overview, *rows = (_panel(heatmap, row, top) for row in (heatmap.overview, *heatmap.rows))
    return View(heatmap, overview, tuple(rows), *_running_text(heatmap))


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
            labels=("prompt", "generated") if _whole(heatmap) else ("sources", "explained"),
            marks={mark for view in views for mark in view.overview.marks},
            pictures=_pictures(heatmap),
            special=any(label.special for label in (*heatmap.sources, *heatmap.targets)),
            data={
                "views": [
                    {"overview": asdict(view.overview), "rows": [asdict(row) for row in view.rows]} for view in views
                ],
                "names": [label.name for label in heatmap.sources],
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
        loader=PackageLoader("tokensal.render"),
        autoescape=True,  # for every template, whatever its suffix: tokens are a stranger's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False, "separators": (",", ":")}
    environment.filters["exact"] = _exact
    return environment


# ── panels ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _panel(heatmap: Heatmap, row: Row, top: int) -> Panel:
    number = _numbers(row.limit, heatmap.signed)
    lead, name, detail = _sentence(heatmap, row)
    zero = not row.limit
    return Panel(
        lead=lead,
        name=name,
        detail=detail,
        low="0" if zero or not heatmap.signed else number(-row.limit),
        high="0" if zero else number(row.limit),
        limit=_rounded(row.limit),
        scores=tuple(None if cell.value is None else _rounded(cell.value) for cell in row.cells),
        top=tuple(
            Rank(cell.source, heatmap.sources[cell.source].name, round(cell.shade, 3), number(cell.value or 0.0))
            for cell in row.top(top)
        ),
        marks=tuple(_marks(heatmap, row)),
        sink=_sink_note(heatmap, row),
    )


def _sentence(heatmap: Heatmap, row: Row) -> tuple[str, str, str]:
    count = len(heatmap.targets)
    if row.target is None:
        kind = "generated" if _whole(heatmap) else "explained"
        return (f"Sum over all {kind} tokens", "", f"{count} tokens" if count != 1 else "1 token")
    value = "" if row.value is None else f" · {_score(heatmap)} {_exact(row.value)}"
    return ("Sources of", heatmap.targets[row.target].name, f"token {row.target + 1} of {count}{value}")


def _score(heatmap: Heatmap) -> str:
    return dict(heatmap.caption).get("score", "score")


def _marks(heatmap: Heatmap, row: Row) -> Iterator[str]:
    if any((cell.value or 0.0) < 0 for cell in row.cells):
        yield "negative"
    if any(cell.clipped for cell in row.cells):
        yield "clipped"
    if heatmap.targets:  # the last one at least
        yield "blank" if row.target is not None else "unseen"


def _sink_note(heatmap: Heatmap, row: Row) -> str:
    """What is said of the sink: its own score, and how far the scale would reach with it."""
    if heatmap.sink is None or not row.cells:
        return ""
    cell = row.cells[heatmap.sink]
    if cell.value is None:
        return "attention sink"
    number = _numbers(max(row.limit, abs(cell.value)), heatmap.signed)(cell.value)
    if not cell.apart:
        return f"attention sink, {number}, counted in"
    reach = _numbers(row.full_limit, heatmap.signed)(row.full_limit).replace("+", "±")
    wider = f"; with it, the scale would reach {reach}" if row.full_limit != row.limit else ""
    return f"attention sink, {number}, left out of scale and ranking{wider}"


# ── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _rounded(value: float) -> float:
    """`value` to 4 significant digits, and never -0: short in JSON, and finer than any eye."""
    return float(f"{value:.4g}") + 0.0


def _exact(value: float) -> str:
    """A number of 4 significant digits with a true minus sign, as in tooltips; `exact` in the script is its twin."""
    mantissa, _, power = f"{value:.4g}".partition("e")
    return (f"{mantissa}e{int(power)}" if power else mantissa).replace("-", MINUS)


def _numbers(limit: float, signed: bool) -> Callable[[float], str]:
    """How the numbers of one scale are written: three digits for its limit, and decimals that align."""
    power = math.floor(math.log10(_rounded(limit))) if limit else 0
    inside = -4 <= power <= 4
    unit = 1.0 if inside else 10.0**power
    decimals = max(0, 2 - power) if inside else 2
    times = "" if inside else f"{TIMES}10{str(power).translate(SUPERSCRIPT)}"
    sign = "+" if signed else ""
    return lambda value: f"{value / unit:{sign}.{decimals}f}{times}".replace("-", MINUS)


# ── running text ────────────────────────────────────────────────────────────────────────────────────────────────────


def _running_text(heatmap: Heatmap) -> tuple[list[Mark], list[Mark]]:
    """The marks before the targets, and those of the targets."""
    cells = heatmap.overview.cells or (None,) * len(heatmap.sources)
    first = _first_shared(heatmap)
    before = [_mark(label, cell, None) for label, cell in zip(heatmap.sources[:first], cells[:first], strict=True)]
    after = [
        _mark(heatmap.targets[target], cells[first + target] if first + target < len(cells) else None, target)
        for target in range(len(heatmap.targets))
    ]
    return before, after


def _first_shared(heatmap: Heatmap) -> int:
    """The source that is also the first target: the last K - 1 sources are the targets but for the last one.

    Where they are not (the explained tokens leave others out between them), all sources are drawn before the targets.
    """
    first = len(heatmap.sources) - len(heatmap.targets) + 1
    if first < 0:
        return len(heatmap.sources)
    pairs = list(zip(heatmap.sources[first:], heatmap.targets, strict=False))
    same = all(source.role is Role.GENERATED and source.text == target.text for source, target in pairs)
    return first if same else len(heatmap.sources)


def _whole(heatmap: Heatmap) -> bool:
    """Whether all that was generated is explained, so that what is drawn before it is the prompt and no more."""
    before = heatmap.sources[: _first_shared(heatmap)]
    return all(
        label.role is not Role.GENERATED or label.sink for label in before
    )  # a decoder's start token was not generated


def _mark(label: Label, cell: Cell | None, target: int | None) -> Mark:
    body = label.text.lstrip(" ") or label.text
    return Mark(label.text[: len(label.text) - len(body)], body, label, cell, target)


def _pictures(heatmap: Heatmap) -> list[tuple[str, str]]:
    drawn = {label.text for label in (*heatmap.sources, *heatmap.targets)}
    return [(picture, meaning) for picture, meaning in PICTURES.items() if picture in drawn]
