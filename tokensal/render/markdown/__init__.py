"""Markdown: a report in text that GitHub and any CommonMark reader show, without colours, HTML, links or images."""

from __future__ import annotations

from collections.abc import Iterator

from tokensal.drawing import Drawing
from tokensal.render.layout import EvaluationTables, SummaryTables
from tokensal.render.layout.comparison import HeatmapComparison
from tokensal.render.layout.heatmap import DEFAULT, Heatmap
from tokensal.render.markdown import evaluation as evaluations
from tokensal.render.markdown import parts
from tokensal.render.markdown import summary as summaries
from tokensal.render.markdown.writing import code, text

Parts = Iterator[tuple[str, parts.Blocks]]


def draw_heatmap(heatmap: Heatmap, drawing: Drawing = DEFAULT) -> str:
    """The heatmap as a Markdown page; a fragment has no title."""
    return parts.page(*_title(heatmap, drawing, heatmap.signed), *_heatmap(heatmap, drawing))


def draw_comparison(comparison: HeatmapComparison, drawing: Drawing = DEFAULT) -> str:
    """The comparison as a Markdown page: the strongest sources by each method, and how far they agree."""
    first = comparison.heatmaps[0]
    signed = any(heatmap.signed for heatmap in comparison.heatmaps)
    return parts.page(*_title(first, drawing, signed), *_comparison(comparison, drawing))


def draw_evaluation(evaluation: EvaluationTables, drawing: Drawing = DEFAULT) -> str:
    """The evaluation as a Markdown page: its tables, and its curves in numbers."""
    heading = "" if drawing.standalone is False else f"# {text(evaluation.title)}"
    return parts.page((heading, [text(f"{evaluation.subject}.")]), *evaluations.sections(evaluation))


def draw_summary(summary: SummaryTables, drawing: Drawing = DEFAULT) -> str:
    """The summary as a Markdown page."""
    heading = "" if drawing.standalone is False else f"# {text(summary.title)}"
    return parts.page((heading, [text(f"{summary.subject}.")]), *summaries.sections(summary))


def _title(heatmap: Heatmap, drawing: Drawing, signed: bool) -> Parts:
    rests = "the answer rests on" if heatmap.complete else "the explained words rest on"
    heading = "" if drawing.standalone is False else f"# What {rests}"
    yield heading, [text(parts.guide(heatmap, signed))]


def _heatmap(heatmap: Heatmap, drawing: Drawing) -> Parts:
    yield "## Text and strongest sources", [
        f"By {code(dict(heatmap.heading)['method'])}.", *parts.strongest(heatmap, drawing),
    ]  # fmt: skip
    yield f"## Each {heatmap.noun}", parts.targets(heatmap)
    if drawing.matrix:
        yield "## All scores", parts.matrix(heatmap)
    yield "## How exact the numbers are", parts.settings(heatmap.exactness)
    yield "## Marks", parts.marks(heatmap.legend.entries)
    yield "## Settings", parts.settings([fact for fact in heatmap.caption if fact not in heatmap.exactness])
    yield "## How to make this again", parts.again(heatmap.recipe)


def _comparison(comparison: HeatmapComparison, drawing: Drawing) -> Parts:
    yield "## Text", parts.answer(comparison.heatmaps[0])
    for title, heatmap, own in zip(comparison.titles, comparison.heatmaps, comparison.own, strict=True):
        yield f"## By {code(title)}", parts.strongest(heatmap, drawing)
        yield f"### Each {heatmap.noun}", parts.targets(heatmap)
        if drawing.matrix:
            yield "### All scores", parts.matrix(heatmap)
        yield "### Settings of this method", parts.settings(own)
    yield "## How far the methods agree", parts.agreement(comparison)
    yield "## Marks", parts.marks(comparison.entries)
    yield "## Settings", parts.settings(comparison.shared)
    yield "## How to make this again", parts.again(comparison.recipe)
