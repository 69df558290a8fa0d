"""The tables of `quadrature.md`: what `quadrature_numbers.py` compares, in Markdown, between two marks of the page.

What is written around the marks is by hand, and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from quadrature import INTEGRALS, RULES, STEPS
from quadrature_numbers import (
    BASELINES,
    CERTIFIED,
    LEVEL,
    POOLED,
    STRICTER,
    TITLES,
    Numbers,
    best_baseline,
    best_moved,
    differences,
    integral,
    orders,
    place,
    read,
)

from tokensal.evaluation import METRICS
from tokensal.results.statistics import Mean, mean_of

OWN = tuple(metric.name for metric in INTEGRALS)
FOLDER = re.compile(r"--folder \S+")  # wherever the journals were
BEGIN, END = "<!-- tables -->", "<!-- end -->"
Cells = Sequence[str]


# Tables in Markdown


def table(header: Cells, rows: Sequence[Cells]) -> str:
    """Text columns first, numbers right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(value: float) -> str:
    """Three digits behind the point of small numbers, else three that count; no zero before the point."""
    if value != value:
        return "–"
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:,.3g}" if abs(value) < 1e5 else f"{value:.1e}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def with_interval(mean: Mean, p: float) -> str:
    """A difference, bold where it is significant."""
    value = f"**{mean.value:+.3f}**" if p < LEVEL else f"{mean.value:+.3f}"
    return f"{value} ({mean.low:+.3f} … {mean.high:+.3f})"


def arrow(metric: str) -> str:
    """Which values are better."""
    return "↑" if METRICS[metric].better == "higher" else "↓"


# How large the error is


def error_table(numbers: Numbers, model: str) -> str:
    """A row for each baseline and way to integrate."""
    rows = []
    for baseline, (rule, steps) in product(BASELINES, [(STRICTER, None), *numbers.ways(model)]):
        method = integral(baseline, rule, steps)
        columns = {name: np.array(list(numbers.row(model, name, method).values())) for name in OWN}
        if not len(columns["residual"]):
            continue
        rows.append(
            [
                method,
                *(shown(float(value)) for value in np.quantile(columns["residual"], (0.5, 0.9))),
                shown(float(columns["within"].mean())),
                f"{columns['gradients'].mean():.0f}",
                *(shown(float(value)) for value in np.quantile(columns["rank_agreement"], (0.5, 0.1))),
                *(shown(float(value)) for value in np.quantile(columns["distance"], (0.5, 0.9))),
                shown(float(columns["same_best"].mean())),
            ]
        )
    header = ["integrated gradients", "residual: median", "90 %", "within .05", "gradients", "Spearman: median", "10 %"]
    return table([*header, "distance: median", "90 %", "same best"], rows)


# What it does to metrics


def difference_table(numbers: Numbers, model: str, rule: str) -> str:
    """A row for each metric and baseline."""
    cells = {(each.metric, each.baseline, each.steps): each for each in differences(numbers, model, rule)}
    rows = []
    for metric, baseline in product(numbers.metrics(model), BASELINES):
        of_steps = [cells.get((metric, baseline, steps)) for steps in STEPS]
        if all(of_steps):
            value = numbers.mean(model, metric, integral(baseline, CERTIFIED))
            shown_steps = [with_interval(each.mean, each.p) for each in of_steps if each]
            rows.append([f"{metric} {arrow(metric)}", baseline, shown(value), *shown_steps])
    return table(["metric", "baseline", CERTIFIED, *(f"less that of {steps}" for steps in STEPS)], rows)


def control_table(numbers: Numbers, model: str) -> str:
    """A row for each metric: the certified number less that of the stricter certificate, from each baseline."""
    rows = []
    for metric in numbers.metrics(model):
        pairs = [(integral(baseline, CERTIFIED), integral(baseline, STRICTER)) for baseline in BASELINES]
        means = [mean_of(numbers.differences(model, metric, *pair)) for pair in pairs]
        rows.append([f"{metric} {arrow(metric)}", *(with_interval(mean, 1) for mean in means)])
    return table(["metric", *BASELINES], rows)


# What it does to rankings


def place_table(numbers: Numbers, model: str) -> str:
    """A row for each metric; for each baseline the places, certified and by each fixed rule."""
    measured = numbers.ways(model)
    rows = []
    for metric in numbers.metrics(model):
        cells = []
        for baseline in BASELINES:
            places = [place(numbers, model, metric, integral(baseline, *way)) for way in measured]
            cells.append(" ".join(_marked(each, places[0]) for each in places))
        rows.append([f"{metric} {arrow(metric)}", *cells])
    order = ", ".join(CERTIFIED if steps is None else f"{TITLES[rule]} {steps}" for rule, steps in measured)
    return f"Places in this order: {order}.\n\n{table(['metric', *BASELINES], rows)}"


def _marked(position: int | None, certified: int | None) -> str:
    text = "–" if position is None else str(position)
    return text if position == certified else f"**{text}**"


def summary_table(numbers: Numbers) -> str:
    """A row for each model and fixed rule."""
    rows = []
    for model in numbers.models:
        for rule, steps in product(numbers.rules(model), STEPS):
            pairs = [each for each in differences(numbers, model, rule) if each.steps == steps]
            verdicts = [each.verdict for each in pairs]
            counts = orders(numbers, model, rule, steps)
            rows.append(
                [
                    f"{model}, {TITLES[rule]} {steps}",
                    f"{verdicts.count(1)} of {len(pairs)}",
                    f"{verdicts.count(-1)} of {len(pairs)}",
                    f"{counts.moved} of {counts.places}",
                    f"{counts.turned} of {counts.pairs}",
                    f"{counts.surely} of {counts.pairs}",
                    f"{len(best_moved(numbers, model, rule, steps))} of {len(numbers.metrics(model))}",
                ]
            )
    header = ["model, rule", "certified better", "certified worse", "other place", "pairs turned", "significantly"]
    return table([*header, "other best baseline"], rows)


# What the baseline does


def baseline_table(numbers: Numbers, model: str) -> str:
    """A row for each metric: how far the baselines are apart, beside how far fixed rules are from the certificate."""
    fixed = numbers.ways(model)[1:]
    rows = []
    for metric in numbers.metrics(model):
        certified = {name: numbers.mean(model, metric, integral(name, CERTIFIED)) for name in BASELINES}
        apart = [
            max(abs(numbers.mean(model, metric, integral(name, *way)) - certified[name]) for name in BASELINES)
            for way in fixed
        ]
        spread = max(certified.values()) - min(certified.values())
        best = best_baseline(numbers, model, metric, CERTIFIED)
        rows.append(
            [f"{metric} {arrow(metric)}", *map(shown, certified.values()), best, shown(spread), *map(shown, apart)]
        )
    titles = [f"{TITLES[rule]} {steps}" for rule, steps in fixed]
    return table(["metric", *BASELINES, "best", "spread of baselines", *titles], rows)


# The page


def run_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """A row for each journal, and the versions."""
    rows = [
        [
            run["journal"],
            f"{run['prompts']} of {run['wanted']}",
            str(run["tried"]),
            f"{run['seconds'] / 60:.0f}",
            f"`{FOLDER.sub('--folder journals', run['command'])}`",
        ]
        for run in runs
    ]
    made = {f"{run['machine']}; {', '.join(' '.join(pair) for pair in run['versions'].items())}" for run in runs}
    journals = table(["journal", "prompts", "drawn", "minutes", "command"], rows)
    return f"{journals}\n\nMade by {' and by '.join(sorted(made))}."


def sections(numbers: Numbers, again: Numbers) -> Iterator[str]:
    """The tables under their headings: of the metrics of maps, then of those that explain again."""
    yield f"## What was run\n\n{run_table([*numbers.runs, *again.runs])}"
    yield f"## In numbers\n\n{summary_table(numbers)}"
    single = [model for model in numbers.models if model != POOLED]
    for model in single:
        yield f"## How large the error is: {model}\n\n{error_table(numbers, model)}"
    for model in numbers.models:
        yield f"## What it does to metrics: {model}, Gauss–Legendre\n\n{difference_table(numbers, model, RULES[0])}"
        for rule in numbers.rules(model)[1:]:
            title = f"<summary>{model}, {TITLES[rule]}</summary>"
            yield f"<details>{title}\n\n{difference_table(numbers, model, rule)}\n\n</details>"
    for model in single:
        if numbers.row(model, "residual", integral("zero", STRICTER)):
            yield f"## Certified less stricter: {model}\n\n{control_table(numbers, model)}"
    for model in numbers.models:
        yield f"## The place among five methods: {model}\n\n{place_table(numbers, model)}"
    for model in numbers.models:
        yield f"## Baseline or quadrature: {model}\n\n{baseline_table(numbers, model)}"
    for model in again.models:
        yield f"## Metrics that explain again: {model}\n\n{difference_table(again, model, RULES[0])}"
        yield place_table(again, model)
        yield baseline_table(again, model)


def write(page: Path, folder: Path) -> None:
    """Put the tables of the journals of a folder between the marks of a page; what is written around them stays."""
    text = page.read_text("utf-8") if page.exists() else f"{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    body = "\n\n".join(sections(read(folder), read(folder, again=True)))
    page.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}", "utf-8")
