"""What a report says to a reader who does not know attribution: what each part means, and how its numbers are read."""

from __future__ import annotations

from tokensal.render.layout.comparison import HeatmapComparison
from tokensal.render.layout.heatmap import Facts
from tokensal.render.layout.report import Report

Part = tuple[str, str, str]  # a name, a heading, and a sentence or two about what is seen there


def parts(report: Report) -> tuple[Part, ...]:
    """The parts of a report, in order."""
    considered = ", and what else it considered" if any(report.first.considered) else ""
    one = len(report.heatmaps) == 1
    ranks = "The method ranks" if one else "Each method ranks"
    several = (
        ""
        if one
        else " A part that several methods rank high is more likely to matter than one that a single one points at."
    )
    piece = report.first.noun if report.first.noun != "target" else "piece"
    return (
        ("answer", "The text and the answer", "What the model read, and what it wrote."),
        (
            "strongest", "What mattered most",
            f"{ranks} the parts of the text by how much they influenced the answer: 1 is the strongest.{several}",
        ),
        (
            "methods", "What each method says",
            "The stronger the colour, or the larger the number, the more it counted." if one else "The methods ask in "
            "different ways what the answer came from, and each has a scale of its own. How far they agree follows "
            "after them.",
        ),
        (
            "agreement", "How far the methods agree",
            "Where they agree, the picture does not depend on the method; where they do not, be careful.",
        ),
        (
            "considered", "The answer, piece by piece",
            f"How likely the model held each {piece}, and what that came from by the first method{considered}.",
        ),
        (
            "traced", "Through the answer's own words",
            "A model reads its own answer while it goes on writing. Here the credit of those words is passed on to "
            "what they came from, by the first method, so that all of it rests on the text that the model was given.",
        ),
        (
            "exactness", "How exact the numbers are",
            "What the methods measure about their own errors. A certificate says how much of the explained score the "
            "numbers leave unexplained; a standard error says how much chance there is in a number.",
        ),
        ("settings", "Settings and versions", "Where the numbers came from."),
        ("again", "How to make this again", "The same model, text and versions give the same numbers."),
    )  # fmt: skip


def introduction(report: Report) -> tuple[str, ...]:
    """What the page is about, and how its numbers are read."""
    heatmap = report.first
    model = dict(heatmap.heading)["model"]
    count = len(report.heatmaps)
    methods = "one method says" if count == 1 else f"{count} methods say"
    does = "read a text and answered" if heatmap.complete else "read a text"
    towards, against = ("the answer", "for the contrast") if heatmap.contrasted else ("it", "against it")
    explained = "answer" if heatmap.complete else "words that are explained"
    sign = f" Positive scores speak for {towards}, negative ones {against}." if report.signed else ""
    question = f" The question is {dict(heatmap.heading)['contrast']}." if heatmap.contrasted else ""
    return (
        f"The language model {model} {does}. This report shows what {methods} about where the {explained} came from."
        f"{question}",
        f"Each part of the text has a score: how much it influenced the {explained}.{sign} Scores describe this model "
        "on this text; they do not say whether the answer is true.",
    )


def exactness(report: Report) -> list[tuple[str, str, str]]:
    """What each method measured about its errors: its name, what it measured, and the value in words."""
    pairs = zip(report.names, report.heatmaps, strict=True)
    return [(name, measure, value) for name, heatmap in pairs for measure, value in heatmap.exactness]


def settings(report: Report) -> Facts:
    """Where the numbers of all methods came from."""
    layout = report.layout
    if isinstance(layout, HeatmapComparison):
        return (*(("method", dict(heatmap.caption)["method"]) for heatmap in report.heatmaps), *layout.shared)
    return tuple(fact for fact in layout.caption if fact not in layout.exactness)
