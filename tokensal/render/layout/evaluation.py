"""An evaluation before it is drawn: tables of means with intervals, which methods are best, and curves.

1. A table for all prompts, and one for each kind where there are several.
2. A row for each method, baselines last; a column for each metric, with an arrow that says which values are better.
3. A cell is the mean over prompts and its interval. Of each column, the best mean is marked, and so are those that are
   not significantly different from it (see `tokensal.results.statistics`).
4. The curves of each method: the mean over all prompts that have one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from tokensal.drawable import drawable
from tokensal.render.layout.heatmap import Facts
from tokensal.render.layout.numbers import TIMES, Scale, exact, percent
from tokensal.results.evaluation import Evaluation
from tokensal.results.statistics import Standing

LEVEL = 0.95  # of the intervals
MARK = "*"  # of the best and those that are tied with it
ARROWS = {"higher": "↑", "lower": "↓"}
NOTHING = "–"  # in the place of a mean that is over no prompt
FAILURES = 5  # reasons that are listed; the others are counted
STEPS = [digit * 10.0**power for power in range(-1, 300) for digit in (5, 10, 20)]  # between ticks
CURVE_NAMES = ("most relevant first", "least relevant first")
CURVE_METRIC = "abpc"  # whose curves are kept
CURVE_AXES = ("share of the units that are absent", "score, from the empty prompt (0) to the full one (±1)")


@dataclass(frozen=True, slots=True)
class Cell:
    """The mean of a method by a metric.

    Attributes:
        value: the mean; None over no prompt.
        mean: it as text.
        interval: its interval as text; empty over fewer than two prompts.
        best: whether no mean is better.
        tied: whether it is the best, or its difference from the best is not significant.
        prompts: how many the mean is over.
        span: the ends of the interval; of the mean alone, twice that.
    """

    value: float | None
    mean: str
    interval: str
    best: bool
    tied: bool
    prompts: int
    span: tuple[float, float]

    @property
    def mark(self) -> str:
        """What follows the mean, also where there is neither colour nor bold type."""
        return MARK if self.tied else ""


@dataclass(frozen=True, slots=True)
class Head:
    """A metric as the head of a column: its name and its arrow, and for the legend what it measures, which values are
    better, and all of its options."""

    name: str
    arrow: str
    better: str
    summary: str
    detail: str


@dataclass(frozen=True, slots=True)
class Row:
    """A method: its name, all of its options, whether it is a baseline, its cells, and its seconds a prompt as text."""

    name: str
    detail: str
    baseline: bool
    cells: tuple[Cell, ...]
    seconds: str


@dataclass(frozen=True, slots=True)
class Table:
    """How methods do on some prompts. `title` says on which, `count` is how many; `notes` hold for it alone."""

    title: str
    count: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def range(self, column: int) -> tuple[float, float]:
        """From the lowest to the highest end of the intervals of a column, and 0."""
        ends = [end for row in self.rows for end in row.cells[column].span if not math.isnan(end)]
        return min(0.0, *ends, 0.0), max(0.0, *ends, 0.0)


@dataclass(frozen=True, slots=True)
class Curves:
    """The mean curves of a method over `prompts` prompts: the score as the most and the least relevant units are absent
    first, at the shares of the evaluation."""

    name: str
    baseline: bool
    most_first: tuple[float, ...]
    least_first: tuple[float, ...]
    prompts: int

    def described(self, point: int, share: float) -> str:
        """What both curves are at a point, in a sentence."""
        most, least = exact(self.most_first[point]), exact(self.least_first[point])
        return (
            f"{self.name}, with {percent(share)} of the units absent: {most} {CURVE_NAMES[0]}, {least} "
            f"{CURVE_NAMES[1]}; mean over {_counted(self.prompts, 'prompt')}."
        )


@dataclass(frozen=True, slots=True)
class EvaluationTables:
    """All that formats show of an evaluation.

    Attributes:
        title: what it is.
        subject: on what.
        heads: of the columns.
        tables: of all prompts, then of each kind where there are several.
        curves: of each method that has some.
        curve_note: what the curves are.
        shares: of absent units, at which the curves are.
        notes: what the numbers and marks mean.
        failures: what could not be explained, and why.
        facts: where the numbers came from.
    """

    title: str
    subject: str
    heads: tuple[Head, ...]
    tables: tuple[Table, ...]
    curves: tuple[Curves, ...]
    curve_note: str
    shares: tuple[float, ...]
    notes: tuple[str, ...]
    failures: tuple[str, ...]
    facts: Facts

    @property
    def description(self) -> str:
        """The curves in words, for who cannot see them."""
        middle = len(self.shares) // 2
        return " ".join([f"{self.subject}.", *(each.described(middle, self.shares[middle]) for each in self.curves)])

    @property
    def limits(self) -> tuple[float, float]:
        """The values between which all curves are, and 0 and 1."""
        values = [value for each in self.curves for value in (*each.most_first, *each.least_first)]
        return min(0.0, *values, 0.0), max(1.0, *values, 1.0)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Round values within the limits, at most seven."""
        low, high = self.limits
        step = next(step for step in STEPS if (high - low) / step <= 6)
        return tuple(number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1))

    @property
    def chance(self) -> Curves | None:
        """The curves of random rankings, if there are any."""
        return next((each for each in self.curves if each.baseline and each.name == "random"), None)

    @property
    def caption(self) -> tuple[str, ...]:
        """What is said below a table in a paper, sentence by sentence."""
        return (f"{self.title}: {self.subject}.", *self.notes)


@lru_cache(maxsize=1)  # several formats are drawn of one, and intervals take their time
def lay_out_evaluation(evaluation: Evaluation) -> EvaluationTables:
    """Turn an evaluation into tables and curves."""
    kinds: list[str | None] = [None, *(evaluation.kinds if len(evaluation.kinds) > 1 else ())]
    points = evaluation.curves.shape[-1]
    return EvaluationTables(
        title="Evaluation of attribution methods",
        subject=_subject(evaluation),
        heads=tuple(
            Head(
                drawable(metric.name),
                ARROWS[metric.better],
                f"{metric.better} is better",
                drawable(metric.summary),
                drawable(metric.metric_repr),
            )
            for metric in evaluation.metrics
        ),
        tables=tuple(_table(evaluation, kind) for kind in kinds),
        curves=tuple(_curves(evaluation)),
        curve_note=_curve_note(evaluation),
        shares=tuple(torch.linspace(0, 1, points, dtype=torch.float64).tolist()),
        notes=_notes(evaluation),
        failures=tuple(_failures(evaluation)),
        facts=tuple((drawable(name), drawable(text)) for name, text in evaluation.facts.items()),
    )


def _subject(evaluation: Evaluation) -> str:
    baselines = sum(method.baseline for method in evaluation.methods)
    methods = _counted(len(evaluation.methods) - baselines, "method")
    beside = f" and {_counted(baselines, 'baseline')}" if baselines else ""
    counts = Counter(prompt.kind for prompt in evaluation.prompts)
    kinds = ", ".join(f"{count} {drawable(kind) or 'of no kind'}" for kind, count in counts.items())
    if len(counts) == 1:
        kinds = drawable(evaluation.kinds[0])
    of_kinds = f" ({kinds})" if kinds else ""
    model = drawable(evaluation.facts.get("model", ""))
    return f"{methods}{beside} on {_counted(len(evaluation.prompts), 'prompt')}{of_kinds}" + f", {model}" * bool(model)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


# Tables


def _table(evaluation: Evaluation, kind: str | None) -> Table:
    prompts = evaluation.rows(kind)
    columns = [evaluation.standings(metric.name, kind=kind, level=LEVEL) for metric in evaluation.metrics]
    scales = [_scale(standings) for standings in columns]
    seconds = evaluation.seconds[prompts].nanmean(0).tolist()
    longest = Scale(max([number for number in seconds if not math.isnan(number)], default=0.0), False)
    rows = tuple(
        Row(
            name=drawable(method.name),
            detail=drawable(method.method_repr),
            baseline=method.baseline,
            cells=tuple(_cell(column[number], scale) for column, scale in zip(columns, scales, strict=True)),
            seconds=longest.write(seconds[number]) or NOTHING,
        )
        for number, method in enumerate(evaluation.methods)
    )
    title = "all prompts" if kind is None else drawable(kind) or "of no kind"
    return Table(title, len(prompts), rows, tuple(_table_notes(evaluation, columns, len(prompts))))


def _scale(standings: Sequence[Standing]) -> Scale:
    """One number of decimals for a column."""
    numbers = [number for each in standings for number in (each.mean.value, each.mean.low, each.mean.high)]
    return Scale(max([abs(number) for number in numbers if not math.isnan(number)], default=0.0), False)


def _cell(standing: Standing, scale: Scale) -> Cell:
    mean = standing.mean
    if not mean.prompts:
        return Cell(None, NOTHING, "", False, False, 0, (math.nan, math.nan))
    interval = "" if math.isnan(mean.low) else f"[{_written(mean.low, scale)}, {_written(mean.high, scale)}]"
    best = standing.tied and standing.difference is None
    span = (mean.low, mean.high) if interval else (mean.value, mean.value)
    return Cell(mean.value, _written(mean.value, scale), interval, best, standing.tied, mean.prompts, span)


def _written(value: float, scale: Scale) -> str:
    """A number of a column, 0 with as many decimals as the others."""
    text = scale.write(value)
    if text != "0":
        return text
    return "0." + "0" * len(scale.high.partition(".")[2].partition(TIMES)[0]) if "." in scale.high else text


def _table_notes(evaluation: Evaluation, columns: Sequence[Sequence[Standing]], count: int) -> Iterator[str]:
    """What holds for this table alone: numbers that are missing, and whether there are enough prompts."""
    least = _least_prompts(len(evaluation.methods))
    if count < least and len(evaluation.methods) > 1:
        yield (
            f"With {_counted(count, 'prompt')} no difference can be significant, so all are marked: at least {least} "
            f"are needed to tell {len(evaluation.methods)} methods apart."
        )
    yield from _missing(evaluation, columns, count)


def _missing(evaluation: Evaluation, columns: Sequence[Sequence[Standing]], count: int) -> Iterator[str]:
    """Metrics that are not defined on all prompts, and methods that lack numbers which others have."""
    of_metrics: dict[int, list[str]] = {}
    of_methods: dict[tuple[str, int], list[str]] = {}
    for metric, standings in zip(evaluation.metrics, columns, strict=True):
        most = max(each.mean.prompts for each in standings)
        if most < count:
            of_metrics.setdefault(most, []).append(drawable(metric.name))
        for each in standings:
            if each.mean.prompts < most:
                of_methods.setdefault((each.name, most - each.mean.prompts), []).append(drawable(metric.name))
    for most, names in of_metrics.items():
        yield f"Defined on {most or 'none'} of {_counted(count, 'prompt')}: {', '.join(names)}."
    for (method, lacking), names in of_methods.items():
        metrics = ", ".join(names) if len(names) < len(evaluation.metrics) else "every metric"
        yield f"{drawable(method)} lacks {_counted(lacking, 'prompt')} of {metrics}."


def _least_prompts(methods: int) -> int:
    """So many prompts are needed for a p-value below 1 − level, where all differences have one sign."""
    prompts = 2
    while (methods - 1) * 2.0 ** (1 - prompts) >= 1 - LEVEL:
        prompts += 1
    return prompts


# What is said beside the tables


def _notes(evaluation: Evaluation) -> tuple[str, ...]:
    level = percent(LEVEL)
    notes = [
        f"A number is the mean over prompts, of each the mean over its targets; in brackets is its {level} interval "
        "(bootstrap over prompts, bias-corrected and accelerated).",
        f"{MARK} marks the best method of a column, in bold, and those tied with it: compared prompt by prompt, their "
        f"difference from it is not significant (p ≥ {1 - LEVEL:.2g}, corrected by Holm for the number of methods).",
    ]
    if any(method.baseline for method in evaluation.methods):
        notes.append(
            "Baselines stand last: rankings at random (the mean over several), by how late a unit comes, and by "
            "attention. What a method gains over them is what it knows."
        )
    notes.append("Seconds are the mean time of an explanation, on the machine of the evaluation.")
    return tuple(notes)


def _curve_note(evaluation: Evaluation) -> str:
    """What the curves are."""
    scored = next((metric for metric in evaluation.metrics if metric.name.split()[0] == CURVE_METRIC), None)
    by = f" by {drawable(scored.metric_repr)}" if scored is not None else ""
    return (
        f"The score as units are taken away{by}, the mean over the targets, then over prompts. "
        f"Across: {CURVE_AXES[0]}. Upwards: {CURVE_AXES[1]}."
    )


def _failures(evaluation: Evaluation) -> Iterator[str]:
    reasons = Counter((failure.method, failure.reason) for failure in evaluation.failures)
    for (method, reason), count in reasons.most_common(FAILURES):
        name = drawable(evaluation.methods[method].name)
        yield f"{name} could not explain {count} of {_counted(len(evaluation.prompts), 'prompt')}: {drawable(reason)}"
    if len(reasons) > FAILURES:
        yield f"There were {len(reasons) - FAILURES} further reasons; the JSON has them."


# Curves


def _curves(evaluation: Evaluation) -> Iterator[Curves]:
    for number, method in enumerate(evaluation.methods):
        curves = evaluation.curves[:, number]
        defined = curves[~curves.isnan().flatten(1).any(1)]
        if len(defined):
            most, least = defined.mean(0).tolist()
            yield Curves(drawable(method.name), method.baseline, tuple(most), tuple(least), len(defined))
