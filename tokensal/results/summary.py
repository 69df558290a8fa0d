"""A `Summary`: what the attributions of a data set have in common: where credit goes, how far methods agree, failures.

How shares are made: |score| over the sum of the |scores| of its target, the sink left out (see `Attribution.shares`),
is added up over the sources of a category; then the mean over targets, and the mean over examples. So each example
counts as one, however long its answer is. A target whose scores are all 0 is left out. The same of a method that
credits all sources alike is the share of the sources: a category is credited beyond its size where its share is larger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tokensal.drawable import drawable
from tokensal.errors import InputError, require_known
from tokensal.results.result import Result, render_package
from tokensal.results.statistics import Mean

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, slots=True)
class Spread:
    """How a number is spread over examples: its median, what 90 % of the examples are below, and how many there are."""

    median: float
    ninety: float
    examples: int


@dataclass(frozen=True, slots=True)
class SummarizedMethod:
    """A method, over all examples that it explained.

    Attributes:
        name: as the rows call it.
        method_repr: the method with all its options.
        examples: how many it explained.
        targets: how many targets these have.
        seconds: how long it took for an example, where the log tells.
        sink: the sink's own share of the |scores| and its own, which other shares leave out; over examples with one.
        unexplained: the share of the total that the scores miss: the sum of |convergence delta| over targets, over that
            of |total|; of complete methods alone.
    """

    name: str
    method_repr: str
    examples: int
    targets: int
    seconds: Mean
    sink: Mean
    unexplained: Spread


@dataclass(frozen=True, slots=True)
class Category:
    """A category: its name, the share of the sources that it has, and the mean of each method."""

    name: str
    sources: float
    means: tuple[Mean, ...]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Shares of credit by something: its name, what the numbers are, and the categories that occur."""

    name: str
    meaning: str
    categories: tuple[Category, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two methods agree, by their names: Spearman's rank correlation of the |scores|, and the share of the
    most important sources that they have in common; see `Comparison.agreement` and `Comparison.overlap`."""

    first: str
    second: str
    correlation: Mean
    overlap: Mean


@dataclass(frozen=True, slots=True)
class TopSource:
    """A text that is often the most important source.

    Attributes:
        method: the name of the method.
        text: without white space around it.
        targets: of how many targets it is the most important source.
        examples: in how many examples it is that of some target.
        share: its mean share of the credit of those targets.
    """

    method: str
    text: str
    targets: int
    examples: int
    share: float


@dataclass(frozen=True, slots=True)
class FailedRows:
    """How many examples a method could not explain for one reason."""

    method: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Summary(Result):
    """What N examples say of M methods.

    Attributes:
        examples: N.
        methods: M of them, in the order of the run.
        breakdowns: shares of credit: by role, position in the prompt, distance, class of token, and length.
        agreements: of each pair of methods.
        top_sources: the most frequent ones of each method, most frequent first.
        failures: what could not be explained, and why, most frequent first.
        top: how many sources count in `Agreement.overlap`.
        facts: where the numbers came from: model, question, versions.
        config: settings, beside those.

    Raises:
        InputError: two methods of one name, or means of another number of methods.
    """

    examples: int
    methods: tuple[SummarizedMethod, ...]
    breakdowns: tuple[Breakdown, ...]
    agreements: tuple[Agreement, ...]
    top_sources: tuple[TopSource, ...]
    failures: tuple[FailedRows, ...]
    top: int
    facts: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if len(set(names)) < len(names) or not names:
            raise InputError(f"A summary needs methods of different names, but got {names or 'none'}.")
        categories = [each for breakdown in self.breakdowns for each in breakdown.categories]
        if any(len(each.means) != len(names) for each in categories):
            raise InputError(f"A summary needs a mean of each category for each of its {len(names)} methods.")

    def shares(self, breakdown: str, method: str | None = None) -> dict[str, float]:
        """The mean share of each category, such as {"system": 0.2, "user": 0.8}.

        Args:
            breakdown: its name.
            method: its name; None for the share of the sources.

        Raises:
            InputError: there is no such breakdown or method.
        """
        [breakdown] = require_known("breakdown", breakdown, [each.name for each in self.breakdowns])
        [shown] = [each for each in self.breakdowns if each.name == breakdown]
        if method is None:
            return {each.name: each.sources for each in shown.categories}
        names = [each.name for each in self.methods]
        [method] = require_known("method", method, names)
        return {each.name: each.means[names.index(method)].value for each in shown.categories}

    def to_pandas(self) -> DataFrame:
        """All numbers as a long table.

        The columns: table ("methods", the name of a breakdown, "agreement", "top sources" or "failures"), category,
        method ("sources" for the share of the sources), other (of agreement, the other method), measure, value
        (float64), low and high (the ends of its interval; missing without one) and examples (how many it is over).

        Raises:
            InputError: pandas is not installed.
        """
        frame: DataFrame = render_package().frame(self)
        return frame

    def __repr__(self) -> str:
        names = ", ".join(method.name for method in self.methods)
        return drawable(f"Summary({names}: {self.examples} example{'s' * (self.examples != 1)})")
