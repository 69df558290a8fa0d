"""A summary before it is drawn: tables of texts, with a bar where a number is a share.

1. The methods: how many examples and targets, seconds, the sink, and what is unexplained.
2. A table for each breakdown: a row for each category, the share of the sources, and a column for each method.
3. The agreement of each pair of methods, and the most frequent top sources of each.
4. Notes say how the numbers are made; sentences say what failed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tokensal.drawable import drawable
from tokensal.render.layout.heatmap import Facts
from tokensal.render.layout.numbers import MINUS, PERCENT, exact
from tokensal.results.statistics import Mean
from tokensal.results.summary import Breakdown, Category, SummarizedMethod, Summary, TopSource

NOTHING = "–"  # in the place of a number that there is none of
REASONS = 10  # of failures that are listed; the others are counted
LONGEST = 40  # characters of a text that is listed
SOURCES = "sources"


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell: its text, its interval as text, and for a bar which part of it is filled, and its interval; or None."""

    text: str
    interval: str = ""
    filled: float | None = None
    span: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A row: its name, what it is in detail, and its cells."""

    name: str
    detail: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class SummaryTable:
    """A table: its title, what its numbers are, the head of the names, the heads of the columns, and its rows."""

    title: str
    note: str
    kind: str
    heads: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class SummaryTables:
    """All that formats show of a summary: title, subject, tables, notes, sentences about failures, and facts."""

    title: str
    subject: str
    tables: tuple[SummaryTable, ...]
    notes: tuple[str, ...]
    failures: tuple[str, ...]
    facts: Facts


@lru_cache(maxsize=1)
def lay_out_summary(summary: Summary) -> SummaryTables:
    """Turn a summary into tables."""
    model = drawable(summary.facts.get("model", ""))
    methods = _counted(len(summary.methods), "method")
    return SummaryTables(
        title="Summary of a run",
        subject=f"{methods}, {_counted(summary.examples, 'example')}" + f", {model}" * bool(model),
        tables=tuple(_tables(summary)),
        notes=tuple(_notes(summary)),
        failures=tuple(_failures(summary)),
        facts=tuple((drawable(name), drawable(text)) for name, text in summary.facts.items()),
    )


def _tables(summary: Summary) -> Iterator[SummaryTable]:
    yield _methods(summary)
    for breakdown in summary.breakdowns:
        if breakdown.categories:
            yield _breakdown(summary, breakdown)
    if summary.agreements:
        yield _agreements(summary)
    for method in summary.methods:
        sources = [each for each in summary.top_sources if each.method == method.name]
        if sources:
            yield _top_sources(method, sources)


def _methods(summary: Summary) -> SummaryTable:
    heads = ("examples", "targets", "s / example", "sink", "unexplained", "unexplained, 90 %")
    return SummaryTable("methods", "", "method", heads, tuple(map(_method, summary.methods)))


def _method(method: SummarizedMethod) -> Line:
    entries = (
        Entry(f"{method.examples:,}"),
        Entry(f"{method.targets:,}"),
        Entry(exact(float(f"{method.seconds.value:.3g}")) or NOTHING),
        _share(method.sink),
        Entry(_percent(method.unexplained.median)),
        Entry(_percent(method.unexplained.ninety)),
    )
    return Line(drawable(method.name), drawable(method.method_repr), entries)


def _breakdown(summary: Summary, breakdown: Breakdown) -> SummaryTable:
    heads = (SOURCES, *(drawable(method.name) for method in summary.methods))
    numbers = [number for each in breakdown.categories for number in (each.sources, *map(_end, each.means))]
    largest = max((number for number in numbers if not math.isnan(number)), default=0.0)
    lines = tuple(_category(each, largest) for each in breakdown.categories)
    return SummaryTable(f"by {breakdown.name}", f"{breakdown.meaning}.", breakdown.name, heads, lines)


def _category(category: Category, largest: float) -> Line:
    entries = (Entry(_percent(category.sources)), *(_share(mean, largest) for mean in category.means))
    return Line(drawable(category.name), "", entries)


def _end(mean: Mean) -> float:
    return mean.value if math.isnan(mean.high) else mean.high


def _share(mean: Mean, largest: float = 0.0) -> Entry:
    """A share; with a bar where the largest one of its table is known, at which the bar is full."""
    if math.isnan(mean.value):
        return Entry(NOTHING)
    known = not math.isnan(mean.low)
    interval = f"[{100 * mean.low:.1f}, {100 * mean.high:.1f}]" if known else ""
    if not largest:
        return Entry(_percent(mean.value), interval)
    low, high = (mean.low, mean.high) if known else (mean.value, mean.value)
    return Entry(_percent(mean.value), interval, mean.value / largest, (low / largest, high / largest))


def _agreements(summary: Summary) -> SummaryTable:
    lines = tuple(
        Line(f"{drawable(each.first)} · {drawable(each.second)}", "", (_number(each.correlation), _share(each.overlap)))
        for each in summary.agreements
    )
    note = (
        f"Spearman's rank correlation of the |scores|, and the share of the {summary.top} most important sources that "
        "both methods have in common: of each target, the sink left out; then the mean over targets, and over examples."
    )
    return SummaryTable("agreement", note, "methods", ("rank correlation", f"top {summary.top} in common"), lines)


def _top_sources(method: SummarizedMethod, sources: list[TopSource]) -> SummaryTable:
    most = max(source.targets for source in sources)
    lines = tuple(
        Line(
            _shortened(drawable(source.text)),
            drawable(source.text),
            (
                Entry(f"{source.targets:,}", "", source.targets / most),
                Entry(_percent(source.targets / method.targets)),
                Entry(f"{source.examples:,}"),
                Entry(_percent(source.share)),
            ),
        )
        for source in sources
    )
    note = "Texts that are most often the most important source of a target, and their mean share of its credit then."
    heads = ("targets", "of all", "examples", "share")
    return SummaryTable(f"top sources of {drawable(method.name)}", note, "text", heads, lines)


def _notes(summary: Summary) -> Iterator[str]:
    yield (
        "A share is |score| over the sum of the |scores| of its target, the sink left out: the mean over the targets "
        "of an example, then over examples. In brackets is its 95\u00a0% interval (bootstrap over examples, "
        "bias-corrected and accelerated)."
    )
    yield (
        f"{SOURCES.capitalize()} is the share that a method would have which credits all sources alike: a category "
        "with a larger share is credited beyond its size. What a method does not score has none of its credit."
    )
    yield (
        "Sink is the share of the sink among all |scores|, its own included; where a method does not score it, there "
        "is none. Unexplained is what the scores of a complete method miss of the total: the median over examples, "
        "and what 90\u00a0% of them are below."
    )


def _failures(summary: Summary) -> Iterator[str]:
    for failure in summary.failures[:REASONS]:
        name = drawable(failure.method)
        yield f"{name} could not explain {_counted(failure.count, 'example')}: {drawable(failure.reason)}"
    if len(summary.failures) > REASONS:
        yield f"There were {len(summary.failures) - REASONS} further reasons; the JSON has them."


def _number(mean: Mean) -> Entry:
    if math.isnan(mean.value):
        return Entry(NOTHING)
    interval = "" if math.isnan(mean.low) else f"[{_decimal(mean.low)}, {_decimal(mean.high)}]"
    return Entry(_decimal(mean.value), interval)


def _decimal(value: float) -> str:
    return f"{value + 0.0:.2f}".replace("-0.00", "0.00").replace("-", MINUS)


def _percent(share: float) -> str:
    return NOTHING if math.isnan(share) else f"{100 * share:.1f}{PERCENT}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
