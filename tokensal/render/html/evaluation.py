"""An evaluation as a page or a fragment: tables, and the curves as small figures, without a script and a network.

Its styles are those of one class, so that a page around it keeps its own. Without styles, tables can still be read.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tokensal.render.html.page import environment
from tokensal.render.layout.evaluation import CURVE_NAMES, MARK, Cell, Curves, EvaluationTables
from tokensal.render.layout.numbers import exact, percent

WIDTH, HEIGHT = 240, 150  # of a figure, and of its plot below
LEFT, RIGHT, TOP, BOTTOM = 34, 6, 6, 20  # around the plot
BAR = 100  # the length of the bar of an interval


def fragment(evaluation: EvaluationTables, palette: str) -> str:
    """One element for the body of any page."""
    template = environment(palette).get_template("evaluation.html.j2")
    return template.render(evaluation=evaluation, mark=MARK, names=CURVE_NAMES, plot=plot, bar=bar)


def document(evaluation: EvaluationTables, palette: str) -> str:
    """A document that holds nothing but the fragment."""
    title = f"{evaluation.title} · {evaluation.subject}"
    template = environment(palette).get_template("evaluation_document.html.j2")
    return template.render(title=title, fragment=Markup(fragment(evaluation, palette)))


def bar(cell: Cell, limits: tuple[float, float]) -> dict[str, float] | None:
    """Where the interval of a cell, its mean and 0 are on a bar, from 0 to `BAR`; None without a mean."""
    if cell.value is None:
        return None
    low, high = limits
    places = [_place(value, low, high, 0, BAR) for value in (*cell.span, cell.value, 0.0)]
    start, stop, mean, zero = (round(place, 1) for place in places)
    return {"start": start, "length": round(stop - start, 1), "mean": mean, "zero": zero}


def plot(evaluation: EvaluationTables, curves: Curves) -> dict[str, object]:
    """What the figure of a method consists of, in its own coordinates."""
    low, high = evaluation.limits
    chance = evaluation.chance if curves is not evaluation.chance else None
    lines = {"most": curves.most_first, "least": curves.least_first}
    others = {"chance_most": chance.most_first, "chance_least": chance.least_first} if chance else {}
    drawn = {name: _line(evaluation.shares, values, low, high) for name, values in (lines | others).items()}
    middle = len(evaluation.shares) // 2
    return {
        **{"chance_most": "", "chance_least": ""},
        **drawn,
        "between": f"{drawn['most']} {' '.join(reversed(drawn['least'].split()))}",
        "rows": [(round(_height(tick, low, high), 1), exact(tick)) for tick in evaluation.ticks],
        "columns": [(round(_across(share), 1), percent(share)) for share in (0.0, 0.5, 1.0)],
        "size": (WIDTH, HEIGHT),
        "frame": (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM),
        "said": curves.described(middle, evaluation.shares[middle]),
    }


def _line(shares: Sequence[float], values: Sequence[float], low: float, high: float) -> str:
    """Points as an attribute of SVG has them."""
    pairs = zip(shares, values, strict=True)
    return " ".join(f"{_across(share):.1f},{_height(value, low, high):.1f}" for share, value in pairs)


def _across(share: float) -> float:
    return _place(share, 0, 1, LEFT, WIDTH - RIGHT)


def _height(value: float, low: float, high: float) -> float:
    return _place(value, low, high, HEIGHT - BOTTOM, TOP)


def _place(value: float, low: float, high: float, start: float, stop: float) -> float:
    return start + (stop - start) * ((value - low) / (high - low) if high > low else 0.5)
