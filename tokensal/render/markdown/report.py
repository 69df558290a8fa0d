"""The report in Markdown: the parts of the page that HTML has, in the same order."""

from __future__ import annotations

from tokensal.drawing import Drawing
from tokensal.render.layout.comparison import HeatmapComparison
from tokensal.render.layout.report import Report
from tokensal.render.layout.wording import exactness, introduction, settings
from tokensal.render.layout.wording import parts as parts_of
from tokensal.render.markdown import parts
from tokensal.render.markdown.writing import code, table, text


def draw_report(report: Report, drawing: Drawing) -> str:
    """The report as a Markdown page."""
    first = report.first
    title = (
        [] if drawing.standalone is False else [("# What the answer rests on", list(map(text, introduction(report))))]
    )
    sections = {
        "answer": parts.answer(first),
        "strongest": _strongest(report),
        "methods": [block for index in range(len(report.heatmaps)) for block in _method(report, index, drawing)],
        "agreement": parts.agreement(report.layout) if isinstance(report.layout, HeatmapComparison) else [],
        "considered": parts.targets(first),
        "traced": [text(report.untraced)] if report.traced is None else parts.strongest(report.traced, drawing),
        "exactness": _exactness(report),
        "settings": parts.settings(settings(report)),
        "again": parts.again(report.recipe),
    }
    pairs = ((f"## {head}", [text(note), *sections[name]]) for name, head, note in parts_of(report) if sections[name])
    return parts.page(*title, *pairs, ("## Marks", parts.marks(first.legend.entries)))


def _strongest(report: Report) -> parts.Blocks:
    heads = [report.first.source_noun, "place", *map(code, report.names)]
    rows = [
        [
            parts.name_of_source(report.first, each.source), str(each.source),
            *("" if rank is None else str(rank) for rank in each.ranks),
        ]
        for each in report.strongest
    ]  # fmt: skip
    return [table(heads, rows, "lr" + "r" * len(report.names))] if rows else []


def _method(report: Report, index: int, drawing: Drawing) -> parts.Blocks:
    heatmap = report.heatmaps[index]
    facts = dict(heatmap.caption)
    return [f"### {code(facts['method'])}", *parts.strongest(heatmap, drawing)]


def _exactness(report: Report) -> parts.Blocks:
    rows = [[code(name), text(measure), text(value)] for name, measure, value in exactness(report)]
    return [table(["method", "measure", "value"], rows, "lll")] if rows else []
