"""An `Evaluation`: how methods do on prompts by metrics, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from tokensal.drawable import drawable
from tokensal.errors import InputError, require_known
from tokensal.results.result import Result, render_package
from tokensal.results.statistics import Standing, stand

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, slots=True)
class EvaluatedMethod:
    """A method: what tables call it, the method with all its options, and whether it is a baseline."""

    name: str
    method_repr: str
    signed: bool
    baseline: bool


@dataclass(frozen=True, slots=True)
class EvaluatedMetric:
    """A metric: what tables call it, the metric with all its options, what it measures, and which values are better."""

    name: str
    metric_repr: str
    summary: str
    better: Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class EvaluatedPrompt:
    """A prompt: its id, its kind (empty where it has none), the text that was read, and how many targets it has."""

    id: str
    kind: str
    text: str
    targets: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A method that could not explain a prompt, by their numbers, and why."""

    prompt: int
    method: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation(Result):
    """How M methods do on N prompts by Q metrics.

    Attributes:
        methods: M of them, baselines last.
        metrics: Q of them.
        prompts: N of them.
        values: (N, M, Q) float64, the mean over the targets of a prompt; NaN where a metric is not defined.
        seconds: (N, M) float64, how long a method took for a prompt.
        curves: (N, M, 2, F) float64, the mean over the targets of the normalised score as the best units are absent,
            and as the least relevant ones are, at F evenly spread shares of the units from 0 to 1; NaN where there is
            no curve.
        failures: what could not be explained; its values are NaN.
        facts: where the numbers came from: model, dtype, device, seed, versions.
        config: the settings, beside those of the methods and the metrics.

    Raises:
        InputError: tables of other shapes, an infinite number, two methods or two metrics of one name, or a failure of
            what is not there.
    """

    methods: tuple[EvaluatedMethod, ...]
    metrics: tuple[EvaluatedMetric, ...]
    prompts: tuple[EvaluatedPrompt, ...]
    values: Tensor
    seconds: Tensor
    curves: Tensor
    failures: tuple[Failure, ...]
    facts: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.prompts), len(self.methods), len(self.metrics))
        wanted = {"values": shape, "seconds": shape[:2], "curves": (*shape[:2], 2, self.curves.shape[-1])}
        for name, sizes in wanted.items():
            table = getattr(self, name)
            if tuple(table.shape) != sizes or table.isinf().any():
                raise InputError(
                    f"An evaluation needs {name} of the shape {sizes} without infinite numbers, but got "
                    f"{tuple(table.shape)}: one for each prompt and method."
                )
        for kind, rows in (("methods", self.methods), ("metrics", self.metrics)):
            names = [row.name for row in rows]
            if len(set(names)) < len(names) or not names:
                raise InputError(f"An evaluation needs {kind} of different names, but got {names or 'none'}.")
        for failure in self.failures:
            if not (0 <= failure.prompt < shape[0] and 0 <= failure.method < shape[1]):
                raise InputError(f"There is no prompt {failure.prompt} or no method {failure.method} that could fail.")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the prompts, in their order."""
        return tuple(dict.fromkeys(prompt.kind for prompt in self.prompts))

    def rows(self, kind: str | None = None) -> list[int]:
        """The numbers of the prompts of a kind; of all by default.

        Raises:
            InputError: there is no such kind.
        """
        if kind is not None:
            require_known("kind of prompts", kind, self.kinds)
        return [number for number, prompt in enumerate(self.prompts) if kind in (None, prompt.kind)]

    def standings(self, metric: str, *, kind: str | None = None, level: float = 0.95) -> list[Standing]:
        """How the methods stand by a metric: means with intervals, and which are tied with the best.

        Differences are compared prompt by prompt, see `tokensal.results.statistics`.

        Args:
            metric: its name.
            kind: of the prompts that count; by default all.
            level: of the intervals.

        Raises:
            InputError: there is no such metric or kind.
        """
        names = [each.name for each in self.metrics]
        [metric] = require_known("metric", metric, names)
        number = names.index(metric)
        columns = self.values[self.rows(kind), :, number].T.tolist()
        table = {method.name: column for method, column in zip(self.methods, columns, strict=True)}
        return stand(table, self.metrics[number].better, level=level)

    def to_pandas(self) -> DataFrame:
        """The numbers as a long table: a line for each prompt, each method and each metric, in their order.

        The columns: prompt (its id), kind, targets (how many), method, method_repr, baseline, metric, metric_repr,
        better ("higher" or "lower"), value (float64; missing where the metric is not defined) and seconds (of the
        method on the prompt, the same for all metrics).

        Raises:
            InputError: pandas is not installed.
        """
        frame: DataFrame = render_package().frame(self)
        return frame

    def __repr__(self) -> str:
        names = ", ".join(method.name for method in self.methods)
        return drawable(f"Evaluation({names}: {len(self.prompts)} prompts × {len(self.metrics)} metrics)")
