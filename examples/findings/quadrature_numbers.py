"""What the journals of `quadrature.py` say: numbers by model, metric and method, and how they are compared.

1. Read the numbers of all journals, one for each prompt.
2. The certified number less that of a fixed rule, prompt by prompt, with the bootstrap's interval and p-value
   (`tokensal.results.statistics`). Holm's correction is over all metrics, baselines and numbers of nodes of a model and
   a rule.
3. The order among methods: the place of integrated gradients by their mean, the pairs that change their order, and
   those of them where both orders are more than chance. Holm's correction is over all pairs of a model and a rule.
4. Which baseline is the best one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from quadrature import AGAIN, OTHERS, RULES, STEPS
from torch import Tensor

from tokensal.evaluation import METRICS
from tokensal.results.statistics import Mean, holm, mean_of, p_value

POOLED = "all models"
CERTIFIED, STRICTER = "certified", "stricter"
BASELINES = ("zero", "mean", "token")
TITLES = {"gauss_legendre": "Gauss–Legendre", "riemann": "middles", "trapezoid": "trapezoid"}
LEVEL = 0.05

Row = Mapping[str, float]  # prompts and their numbers


def integral(baseline: str, rule: str, steps: int | None = None) -> str:
    """How tables call a way to integrate: "zero, certified", "mean, Gauss–Legendre 20"."""
    return f"{baseline}, {rule}" if steps is None else f"{baseline}, {TITLES[rule]} {steps}"


def name_of(method: str) -> str:
    """What tables call a method of a journal, whose options are written behind its name."""
    name, *pairs = method.split(" ")
    if name != "integrated_gradients":
        return method
    options = dict(pair.split("=") for pair in pairs)
    baseline = options.get("baseline", "zero")
    baseline = baseline if baseline in BASELINES else "token"
    if "steps" in options:
        return integral(baseline, options.get("rule", "gauss_legendre"), int(options["steps"]))
    return integral(baseline, STRICTER if "tolerance" in options else CERTIFIED)


# The numbers


@dataclass(frozen=True, eq=False)
class Numbers:
    """Of models, metrics and methods: a number for each prompt, by its id.

    Attributes:
        rows: by model, metric and method.
        runs: what is beside each journal, and how many prompts it holds.
    """

    rows: Mapping[tuple[str, str, str], Row]
    runs: Sequence[Mapping[str, Any]]

    @property
    def models(self) -> list[str]:
        """In the order of the journals; all together last, where there are several."""
        names = list(dict.fromkeys(model for model, _, _ in self.rows))
        return [*names, POOLED] if len(names) > 1 else names

    def metrics(self, model: str) -> list[str]:
        """Those of `METRICS` that a model, or each of all models, was measured by, in their order."""
        keys = {(name, metric) for name, metric, _ in self.rows}
        return [metric for metric in METRICS if all((each, metric) in keys for each in self._single(model))]

    def rules(self, model: str) -> list[str]:
        """The fixed rules that a model, or each of all models, was measured with."""
        firsts = {rule: integral("zero", rule, STEPS[0]) for rule in RULES}
        keys = {(name, method) for name, _, method in self.rows}
        return [rule for rule, first in firsts.items() if all((each, first) in keys for each in self._single(model))]

    def ways(self, model: str) -> list[tuple[str, int | None]]:
        """The certificate, then the fixed rules and their numbers of nodes."""
        return [(CERTIFIED, None), *product(self.rules(model), STEPS)]

    def _single(self, model: str) -> list[str]:
        return [name for name in self.models if name != POOLED] if model == POOLED else [model]

    def row(self, model: str, metric: str, method: str) -> Row:
        """NaN is left out; pooled prompts are those of all models."""
        if model != POOLED:
            return self.rows.get((model, metric, method), {})
        rows = ((name, self.row(name, metric, method)) for name in self._single(POOLED))
        return {f"{name}/{prompt}": value for name, row in rows for prompt, value in row.items()}

    def differences(self, model: str, metric: str, first: str, second: str) -> Tensor:
        """(N,) of the prompts that have both."""
        one, other = self.row(model, metric, first), self.row(model, metric, second)
        return torch.tensor([one[prompt] - other[prompt] for prompt in one if prompt in other], dtype=torch.float64)

    def mean(self, model: str, metric: str, method: str) -> float:
        """NaN where there is no number."""
        row = self.row(model, metric, method)
        return fmean(row.values()) if row else float("nan")


def read(folder: Path, *, again: bool = False) -> Numbers:
    """The numbers of the journals of a folder, finished or not: of metrics of maps, or of those that explain again.

    The two are of different prompts, so that each is a family of its own.
    """
    rows: dict[tuple[str, str, str], dict[str, float]] = {}
    runs = []
    for journal in sorted(folder.glob("*.jsonl")):
        run = json.loads(journal.with_suffix(".run.json").read_text("utf-8"))
        if again != (set(run["metrics"]) <= set(AGAIN)):
            continue
        text = journal.read_text("utf-8")
        _, *lines = (json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines())
        methods, metrics = [name_of(name) for name in run["methods"]], run["metrics"]
        for line in lines:
            for metric, values in zip(metrics, line["values"], strict=True):
                for method, value in zip(methods, values, strict=True):
                    if value is not None:
                        rows.setdefault((run["model"], metric, method), {})[line["id"]] = value
        runs.append({**run, "prompts": len(lines), "journal": journal.stem})
    return Numbers(rows, runs)


def sign(metric: str) -> int:
    return 1 if METRICS[metric].better == "higher" else -1


# Certified or fixed


@dataclass(frozen=True)
class Difference:
    """The certified number less that of a fixed rule, over prompts, and its corrected p-value."""

    metric: str
    baseline: str
    steps: int
    mean: Mean
    p: float

    @property
    def verdict(self) -> int:
        """1 where the certified map is significantly better, −1 where it is worse, else 0."""
        if not self.p < LEVEL:
            return 0
        return sign(self.metric) * (1 if self.mean.value > 0 else -1)


@cache
def differences(numbers: Numbers, model: str, rule: str) -> Sequence[Difference]:
    """Of all metrics, baselines and numbers of nodes: one family for Holm's correction."""
    pairs: dict[tuple[str, ...], Tensor] = {}
    for metric, baseline, steps in product(numbers.metrics(model), BASELINES, STEPS):
        names = (integral(baseline, CERTIFIED), integral(baseline, rule, steps))
        row = numbers.differences(model, metric, *names)
        if len(row):
            pairs[metric, baseline, str(steps)] = row
    corrected = holm({key: p_value(row) for key, row in pairs.items()})
    return [
        Difference(metric, baseline, int(steps), mean_of(row), corrected[metric, baseline, steps])
        for (metric, baseline, steps), row in pairs.items()
    ]


# The order among methods


@dataclass(frozen=True)
class Orders:
    """How a fixed rule orders integrated gradients among the other methods, compared with the certificate.

    Attributes:
        pairs: how many pairs there are, of integrated gradients with another method by a metric.
        turned: in how many of them the better one is another.
        surely: in how many of these the better one is significantly better, by the rule and by the certificate.
        places: how many places there are, by metrics and baselines.
        moved: how many of them are others.
    """

    pairs: int
    turned: int
    surely: int
    places: int
    moved: int


def place(numbers: Numbers, model: str, metric: str, method: str) -> int | None:
    """The place of a method among the others by means of differences in pairs, from 1; None where one has no number."""
    rows = [numbers.differences(model, metric, other, method) for other in OTHERS]
    return 1 + sum(float(sign(metric) * row.mean()) > 0 for row in rows) if all(map(len, rows)) else None


@cache
def _leads(numbers: Numbers, model: str, rule: str, steps: int | None) -> Mapping[tuple[str, ...], tuple[float, float]]:
    """By metric, baseline and other method: by how much integrated gradients are better, and the corrected p-value."""
    leads: dict[tuple[str, ...], Tensor] = {}
    for metric, baseline, other in product(numbers.metrics(model), BASELINES, OTHERS):
        row = numbers.differences(model, metric, integral(baseline, rule, steps), other)
        if len(row):
            leads[metric, baseline, other] = sign(metric) * row
    corrected = holm({key: p_value(row) for key, row in leads.items()})
    return {key: (float(row.mean()), corrected[key]) for key, row in leads.items()}


def orders(numbers: Numbers, model: str, rule: str, steps: int) -> Orders:
    """How a fixed rule changes the order among methods."""
    certified, fixed = _leads(numbers, model, CERTIFIED, None), _leads(numbers, model, rule, steps)
    pairs = [(certified[key], fixed[key]) for key in certified if key in fixed]
    turned = [(one, other) for one, other in pairs if one[0] * other[0] < 0]
    places = [
        (place(numbers, model, metric, integral(baseline, CERTIFIED)), place(numbers, model, metric, method))
        for metric, baseline in product(numbers.metrics(model), BASELINES)
        for method in [integral(baseline, rule, steps)]
    ]
    places = [pair for pair in places if None not in pair]
    return Orders(
        len(pairs),
        len(turned),
        sum(one[1] < LEVEL and other[1] < LEVEL for one, other in turned),
        len(places),
        sum(one != other for one, other in places),
    )


# The order among baselines


def best_baseline(numbers: Numbers, model: str, metric: str, rule: str, steps: int | None = None) -> str:
    """The baseline with the best mean."""
    means = {name: sign(metric) * numbers.mean(model, metric, integral(name, rule, steps)) for name in BASELINES}
    return max(means, key=lambda name: means[name])


def best_moved(numbers: Numbers, model: str, rule: str, steps: int) -> list[str]:
    """The metrics by which another baseline is the best one than with the certificate."""
    pairs = {
        metric: {best_baseline(numbers, model, metric, *way) for way in ((CERTIFIED, None), (rule, steps))}
        for metric in numbers.metrics(model)
    }
    return [metric for metric, names in pairs.items() if len(names) > 1]
