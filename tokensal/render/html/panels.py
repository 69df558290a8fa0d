"""Panels: all that an HTML page says about one row, in words and numbers that are ready to show.

The server writes the overview's panel into the page, and the browser reads the others from JSON, so that what is seen
without JavaScript and with it is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tokensal.render.html.numbers import aligned, exact, rounded
from tokensal.render.html.running_text import whole
from tokensal.render.layout import Facts, Heatmap, Row
from tokensal.render.terminal.cells import abridged

LISTED, NAME, SENTENCE = 18, 32, 80  # letters of a name in the list, of a number read out, and in the sentence


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

    `lead`, `name` and `detail` make the sentence that states what is shown. `considered` is what else the model might
    have written there. `low` and `high` are the ends of the scale. `marks` are the marks that occur in this row, for
    the legend. `sink` is its note on the sink.
    """

    lead: str
    name: str
    detail: str
    considered: str
    low: str
    high: str
    limit: float
    scores: tuple[float | None, ...]
    top: tuple[Rank, ...]
    marks: tuple[str, ...]
    sink: str


def panel(heatmap: Heatmap, row: Row, top: int) -> Panel:
    """What the page says about a row, with so many sources in the list."""
    number = aligned(row.limit, heatmap.signed)
    lead, name, detail = _sentence(heatmap, row)
    zero = not row.limit
    return Panel(
        lead=lead,
        name=abridged(name, SENTENCE),
        detail=detail,
        considered="" if row.target is None else considered(heatmap, row.target),
        low="0" if zero or not heatmap.signed else number(-row.limit),
        high="0" if zero else number(row.limit),
        limit=rounded(row.limit),
        scores=tuple(None if cell.value is None else rounded(cell.value) for cell in row.cells),
        top=tuple(
            Rank(
                cell.source, source_name(heatmap, cell.source, LISTED), round(cell.shade, 3), number(cell.value or 0.0)
            )
            for cell in row.top(top)
        ),
        marks=tuple(_marks(heatmap, row)),
        sink=_sink_note(heatmap, row),
    )


def source_name(heatmap: Heatmap, source: int, width: int = NAME) -> str:
    """What a source is called, in so many letters."""
    return abridged(heatmap.sources[source].name, width)


def considered(heatmap: Heatmap, target: int) -> str:
    """What the model held likely in the place of a target, in words; nothing where that was not asked."""
    options: Facts = heatmap.considered[target] if heatmap.considered else ()
    return "considered " + " · ".join(f"{name} {share}" for name, share in options) if options else ""


def _sentence(heatmap: Heatmap, row: Row) -> tuple[str, str, str]:
    count, noun = len(heatmap.targets), heatmap.noun
    if row.target is None:
        kind = "generated" if whole(heatmap) else "explained"
        return (f"Sum over all {kind} {noun}s", "", f"{count} {noun}{'s' if count != 1 else ''}")
    value = "" if row.value is None else f" · {score_name(heatmap)} {exact(row.value)}"
    return ("Sources of", heatmap.targets[row.target].name, f"{noun} {row.target + 1} of {count}{value}")


def score_name(heatmap: Heatmap) -> str:
    """What is explained."""
    return dict(heatmap.caption).get("score", "score")


def _marks(heatmap: Heatmap, row: Row) -> Iterator[str]:
    scored = set(heatmap.scored)
    if any((cell.value or 0.0) < 0 for cell in row.cells):
        yield "negative"
    if any(cell.clipped for cell in row.cells):
        yield "clipped"
    if heatmap.targets:  # the last one at least
        yield "blank" if row.target is not None else "unseen"
    if len(scored) < len(heatmap.sources):
        yield "left_out"


def _sink_note(heatmap: Heatmap, row: Row) -> str:
    """What is said of the sink: its own score, and how far the scale would reach with it."""
    if heatmap.sink is None or not row.cells:
        return ""
    cell = row.cells[heatmap.sink]
    if cell.value is None:
        return "attention sink"
    number = aligned(max(row.limit, abs(cell.value)), heatmap.signed)(cell.value)
    if not cell.apart:
        return f"attention sink, {number}, counted in"
    reach = aligned(row.full_limit, heatmap.signed)(row.full_limit).replace("+", "±")
    wider = f"; with it, the scale would reach {reach}" if row.full_limit != row.limit else ""
    return f"attention sink, {number}, left out of scale and ranking{wider}"
