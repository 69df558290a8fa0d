"""A summary as a long table: a line for each number, in the order of the tables that are drawn of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tokensal.render.files import storable
from tokensal.results.columns import Column
from tokensal.results.statistics import Mean
from tokensal.results.summary import Summary

Array = np.ndarray[Any, Any]
COLUMNS = (
    Column("table", "str", "methods, role, position, …, agreement, top sources or failures"),
    Column("category", "str", "the category; of top sources the text, of failures the reason"),
    Column("method", "str", "what rows call the method; 'sources' for the share of the sources"),
    Column("other", "str", "of agreement, the other method"),
    Column("measure", "str", "what the value is"),
    Column("value", "float64", "a share, a number of seconds, a correlation or a count; missing where there is none"),
    Column("low", "float64", "the lower end of its interval; missing without one"),
    Column("high", "float64", "the upper end"),
    Column("examples", "int64", "how many examples it is over"),
)
TEXTS = 5  # of the columns, the first ones
Numbers = tuple[float, float, float, int]


def columns_of_summary(summary: Summary) -> dict[str, Array]:
    """The columns by name, as arrays of one length."""
    lines = list(_lines(summary))
    columns: dict[str, Array] = {}
    for number, column in enumerate(COLUMNS):
        values = [line[number] for line in lines]
        if column.dtype == "str":
            columns[column.name] = np.array([storable(str(value)) for value in values], dtype=object)
        else:
            columns[column.name] = np.array(values, dtype=column.dtype)
    return columns


def _lines(summary: Summary) -> Iterator[tuple[Any, ...]]:
    for method in summary.methods:
        about = ("methods", "", method.name, "")
        unexplained = method.unexplained
        yield *about, "targets", *_exact(method.targets, method.examples)
        yield *about, "seconds", *_mean(method.seconds)
        yield *about, "sink", *_mean(method.sink)
        yield *about, "unexplained, median", *_exact(unexplained.median, unexplained.examples)
        yield *about, "unexplained, 90 %", *_exact(unexplained.ninety, unexplained.examples)
    for breakdown in summary.breakdowns:
        for category in breakdown.categories:
            named = (breakdown.name, category.name)
            yield *named, "sources", "", "share", *_exact(category.sources, max(m.prompts for m in category.means))
            for method, mean in zip(summary.methods, category.means, strict=True):
                yield *named, method.name, "", "share", *_mean(mean)
    for each in summary.agreements:
        about = ("agreement", "", each.first, each.second)
        yield *about, "rank correlation", *_mean(each.correlation)
        yield *about, f"top {summary.top} in common", *_mean(each.overlap)
    for source in summary.top_sources:
        about = ("top sources", source.text, source.method, "")
        yield *about, "targets", *_exact(source.targets, source.examples)
        yield *about, "share", *_exact(source.share, source.examples)
    for failure in summary.failures:
        yield "failures", failure.reason, failure.method, "", "count", *_exact(failure.count, failure.count)


def _mean(mean: Mean) -> Numbers:
    return mean.value, mean.low, mean.high, mean.prompts


def _exact(value: float, examples: int) -> Numbers:
    """A number without an interval."""
    return value, math.nan, math.nan, examples
