"""The report as one HTML page: words and tables of its own around the heatmaps, each of which is a fragment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from tokensal.drawing import Drawing
from tokensal.render.html import fragment
from tokensal.render.html.page import environment
from tokensal.render.layout.heatmap import Heatmap
from tokensal.render.layout.passages import plain_passages
from tokensal.render.layout.report import Report
from tokensal.render.layout.wording import exactness, introduction, settings
from tokensal.render.layout.wording import parts as parts_of

RANKED = 3  # sources of one target


def draw_report(report: Report, drawing: Drawing) -> str:
    """The report as one HTML document, which loads nothing."""
    first = report.first
    measured = exactness(report)
    # how far the methods agree is a part of their heatmaps
    empty = {"agreement", *(() if measured else ("exactness",)), *(() if report.strongest else ("strongest",))}
    return (
        environment(drawing.palette)
        .get_template("report.html.j2")
        .render(
            report=report,
            first=first,
            title=" · ".join(filter(None, ("What the answer rests on", first.subject, dict(first.heading)["model"]))),
            introduction=introduction(report),
            headings=[part for part in parts_of(report) if part[0] not in empty],
            passages=plain_passages(first),
            heatmaps=Markup(fragment(report.layout, drawing)),
            targets=list(_targets(first)),
            traced=None if report.traced is None else Markup(fragment(report.traced, drawing)),
            exactness=measured,
            settings=settings(report),
        )
    )


def _targets(heatmap: Heatmap) -> Iterator[dict[str, Any]]:
    for row, label in zip(heatmap.rows, heatmap.targets, strict=True):
        pairs = ((cell.source, row.scale.write(cell.value)) for cell in row.top(RANKED))
        yield {
            "name": label.name,
            "value": heatmap.value_scale.write(row.value),
            "considered": heatmap.considered[row.target or 0] if heatmap.considered else (),
            "top": [
                (heatmap.sources[source].name + heatmap.sources[source].ordinal, number)
                for source, number in pairs
                if number != "0"
            ],
        }
