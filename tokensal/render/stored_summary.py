"""What a JSON summary may hold, and the summary that is made of it; see `tokensal.render.stored`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from tokensal.render.stored_parts import Exact, Index, Stored
from tokensal.results.statistics import Mean
from tokensal.results.summary import (
    Agreement,
    Breakdown,
    Category,
    FailedRows,
    Spread,
    SummarizedMethod,
    Summary,
    TopSource,
)


class StoredMean(Stored):
    value: Exact | None
    low: Exact | None
    high: Exact | None
    prompts: Index
    missing: Index


class StoredSpread(Stored):
    median: Exact | None
    ninety: Exact | None
    examples: Index


class StoredSummarizedMethod(Stored):
    name: str
    method_repr: str
    examples: Index
    targets: Index
    seconds: StoredMean
    sink: StoredMean
    unexplained: StoredSpread


class StoredCategory(Stored):
    name: str
    sources: Exact
    means: list[StoredMean]


class StoredBreakdown(Stored):
    name: str
    meaning: str
    categories: list[StoredCategory]


class StoredAgreement(Stored):
    first: str
    second: str
    correlation: StoredMean
    overlap: StoredMean


class StoredTopSource(Stored):
    method: str
    text: str
    targets: Annotated[Index, Field(ge=1)]
    examples: Index
    share: Exact


class StoredFailedRows(Stored):
    method: str
    reason: str
    count: Index


class SummaryVersion1(Stored):
    kind: Literal["tokensal/summary"] = Field(alias="schema")
    version: Literal[1]
    examples: Index
    methods: Annotated[list[StoredSummarizedMethod], Field(min_length=1)]
    breakdowns: list[StoredBreakdown]
    agreements: list[StoredAgreement]
    top_sources: list[StoredTopSource]
    failures: list[StoredFailedRows]
    top: Index
    facts: dict[str, str]
    config: dict[str, Any]


def summary_of(stored: SummaryVersion1) -> Summary:
    """The summary of a document."""
    return Summary(
        examples=stored.examples,
        methods=tuple(map(_method, stored.methods)),
        breakdowns=tuple(
            Breakdown(each.name, each.meaning, tuple(map(_category, each.categories))) for each in stored.breakdowns
        ),
        agreements=tuple(
            Agreement(each.first, each.second, _mean(each.correlation), _mean(each.overlap))
            for each in stored.agreements
        ),
        top_sources=tuple(TopSource(**each.model_dump()) for each in stored.top_sources),
        failures=tuple(FailedRows(**each.model_dump()) for each in stored.failures),
        top=stored.top,
        facts=stored.facts,
        config=stored.config,
    )


def _method(stored: StoredSummarizedMethod) -> SummarizedMethod:
    unexplained = stored.unexplained
    return SummarizedMethod(
        name=stored.name,
        method_repr=stored.method_repr,
        examples=stored.examples,
        targets=stored.targets,
        seconds=_mean(stored.seconds),
        sink=_mean(stored.sink),
        unexplained=Spread(_number(unexplained.median), _number(unexplained.ninety), unexplained.examples),
    )


def _category(stored: StoredCategory) -> Category:
    return Category(stored.name, stored.sources, tuple(map(_mean, stored.means)))


def _mean(stored: StoredMean) -> Mean:
    return Mean(_number(stored.value), _number(stored.low), _number(stored.high), stored.prompts, stored.missing)


def _number(stored: float | None) -> float:
    return math.nan if stored is None else stored
