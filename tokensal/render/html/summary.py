"""A summary as a page or a fragment: tables with small bars, without a script and a network.

Its styles are those of an evaluation (see `tokensal.render.html.evaluation`).
"""

from __future__ import annotations

from markupsafe import Markup

from tokensal.render.html.page import environment
from tokensal.render.layout.summary import Entry, SummaryTables

BAR = 100  # the length of a full bar


def fragment(summary: SummaryTables, palette: str) -> str:
    """One element for the body of any page."""
    return environment(palette).get_template("summary.html.j2").render(summary=summary, bar=bar)


def document(summary: SummaryTables, palette: str) -> str:
    """A document that holds nothing but the fragment."""
    title = f"{summary.title} · {summary.subject}"
    template = environment(palette).get_template("evaluation_document.html.j2")
    return template.render(title=title, fragment=Markup(fragment(summary, palette)))


def bar(entry: Entry) -> dict[str, float] | None:
    """How far a bar is filled, and where its interval begins and how long it is, from 0 to `BAR`; None without one."""
    if entry.filled is None:
        return None
    low, high = entry.span or (entry.filled, entry.filled)
    return {
        "filled": round(BAR * entry.filled, 1),
        "start": round(BAR * low, 1),
        "length": round(BAR * (high - low), 1),
    }
