"""Measure methods on prompts: `evaluate`.

1. Prompts are those of a suite that the model answers from known words, or the caller's own.
2. Each prompt becomes a trial, on which all methods are measured: what one of them needs is known to the others.
3. Each method explains it; the coalitions that the metrics need of all methods are scored together.
4. Each metric gives a number for each target, and the mean over the targets is that of the prompt. Metrics that need to
   know the right words say nothing of prompts without them.
5. Chance, recency and attention are always measured, too; chance as the mean over a random ranking and its opposite.
6. A prompt that is finished is written to a journal, if there is one, and not measured again by the same settings.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from tokensal.adapters import AnyAdapter
from tokensal.case import adapter_of, versions
from tokensal.engine import Budget
from tokensal.errors import InputError, TokensalError
from tokensal.evaluation.baselines import BASELINES, Random, chances
from tokensal.evaluation.building import named_methods, named_metrics
from tokensal.evaluation.curves import curves
from tokensal.evaluation.journal import Accepted, Journal, Line
from tokensal.evaluation.metric import Metric, Trial, trial_of
from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.evaluation.prompts.records import Record, read_prompts
from tokensal.evaluation.removal import score_together
from tokensal.evaluation.suites import prompts_of, require_suite
from tokensal.evaluation.suites import suite as draw_suite
from tokensal.methods import Method
from tokensal.options import EVALUATED, MEASURED, Measuring, flattened
from tokensal.progress import reporting
from tokensal.questions.question import Question
from tokensal.results.attribution import Attribution
from tokensal.results.evaluation import EvaluatedMethod, EvaluatedMetric, EvaluatedPrompt, Evaluation, Failure
from tokensal.results.statistics import mean_over_targets
from tokensal.types import Progress

FRACTIONS = 21  # points of a curve
PAIRS = 1  # of opposite random rankings of a prompt, whose mean is chance; each costs as much as a method


@dataclass(frozen=True)
class Study:
    """What is measured: methods and metrics by the names that tables call them, and the seed of all that is drawn."""

    methods: Mapping[str, Method]
    metrics: Mapping[str, Metric]
    seed: int


@flattened(measuring=Measuring)
def evaluate(
    model: AnyAdapter | str | PathLike[str],
    prompts: Iterable[Record] | str | PathLike[str] | None = None,
    *,
    methods: Iterable[str | Method | type[Method]] = EVALUATED,
    metrics: Iterable[str | Metric] = MEASURED,
    replacements: Sequence[str] = ("mask",),
    measuring: Measuring,
    budget: Budget | None = None,
    progress: Progress | bool | None = None,
    config: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Measure whether the maps of methods are worth believing, on many prompts and by several metrics.

    Args:
        model: as for `tokensal.attribute`, and so are budget and progress, which counts prompts.
        prompts: of the caller's own: see `tokensal.evaluation.prompts.records`; or the path of a .jsonl or .csv file.
            Else those of a suite.
        methods: names from `tokensal.METHODS`, or methods with options. Baselines need not be named.
        metrics: names from `tokensal.evaluation.METRICS`, or metrics with options.
        replacements: what "absent" means in those metrics that take units away and are given by name; each of them is
            measured for each, since each favours some methods.
        {measuring}
        config: recorded in the result.

    Returns:
        The evaluation; see `tokensal.results.evaluation.Evaluation`.

    Raises:
        TokensalError: one sentence about what to put right; see `tokensal.errors`.
    """
    question = Question(unit=measuring.unit, sources=measuring.sources, score=measuring.score)
    study = Study(named_methods(methods), named_metrics(metrics, replacements), measuring.seed)
    if (prompts is None) == (measuring.suite is None):
        raise InputError("Give either prompts or the name of a suite, such as 'copy', and not both.")
    if measuring.suite is not None:
        require_suite(measuring.suite)
    own = None if prompts is None else read_prompts(prompts)
    model = adapter_of(model)
    with reporting(progress) as report:
        measured_prompts: list[Any] = [repr(each) for each in own] if own else [measuring.suite, measuring.count]
        notes = Journal.of(measuring.journal, settings_of(study, model, question, measured_prompts))
        accepted = None if own else notes.accepted or notes.accept(_accepted(model, measuring, report))
        drawn = own or prompts_of(accepted.ids if accepted else ())
        lines: list[Line] = []
        for number, prompt in enumerate(drawn):
            if report is not None:
                report(number, len(drawn))
            if (line := notes.finished.get(prompt.id)) is None:
                trial = trial_of(prompt, model, seed=study.seed, question=question, budget=budget)
                line = notes.add(measured(prompt.id, trial, study))
            lines.append(line)
        if report is not None:
            report(len(drawn), len(drawn))
    described = {"score": str(question.score), **question.differences()}
    facts = {**facts_of(study, model, described), **_acceptance(drawn, accepted)}
    return evaluation_of(study, drawn, lines, facts, config or {})


def _accepted(model: AnyAdapter, measuring: Measuring, report: Progress | None) -> Accepted:
    """The prompts of a suite that the model answers from the evidence."""
    samples = list(draw_suite(measuring.suite or "", model, measuring.count, measuring.seed, progress=report))
    accepted = Accepted(
        [prompt.id for sample in samples for prompt in sample.prompts],
        {sample.kind: sample.tried for sample in samples},
    )
    if not accepted.ids:
        raise InputError(
            f"{model.name} answers no prompt of {measuring.suite!r} from the evidence, so there is none to measure: "
            "choose another suite, or give prompts of your own."
        )
    return accepted


def _acceptance(prompts: Sequence[Prompt], accepted: Accepted | None) -> dict[str, str]:
    """How many of the prompts that were drawn of each kind are answered from the evidence."""
    if accepted is None:
        return {}
    counts = Counter(prompt.kind for prompt in prompts)
    return {"answered": ", ".join(f"{counts[kind]} of {tried} {kind}" for kind, tried in accepted.tried.items())}


def measured(id: str, trial: Trial, study: Study) -> Line:
    """All numbers of one prompt, by the name that its line has."""
    metrics = {name: each for name, each in study.metrics.items() if trial.gold is not None or not each.needs_gold}
    with trial.case.engine.prepared():  # once for all of a prompt's forwards
        maps, seconds, failures = _explained(trial, study.methods)
        score_together(trial, [attribution for each in maps for attribution in each], list(metrics.values()))
        values = {name: [_value(trial, metric, each) for each in maps] for name, metric in metrics.items()}
        drawn = [_curve(trial, study.metrics, each) for each in maps]
    missing = [torch.nan] * len(study.methods)
    return Line(
        id=id,
        text=trial.case.example.text,
        targets=len(trial.case.example.groups),
        values=[values.get(name, missing) for name in study.metrics],
        seconds=seconds,
        curves=drawn,
        failures=failures,
    )


def _explained(
    trial: Trial, methods: Mapping[str, Method]
) -> tuple[list[list[Attribution]], list[float], dict[int, str]]:
    """The maps of each method, several of chance and else one, how long that took, and why some have none."""
    maps: list[list[Attribution]] = []
    seconds, failures = [], {}
    for number, method in enumerate(methods.values()):
        started = time.perf_counter()
        try:
            attribution = trial.explain(method)
            seconds.append(attribution.provenance.seconds)
            maps.append(chances(trial, PAIRS) if isinstance(method, Random) else [attribution])
        except TokensalError as error:
            seconds.append(round(time.perf_counter() - started, 3))
            maps.append([])
            failures[number] = str(error)
    return maps, seconds, failures


def _value(trial: Trial, metric: Metric, maps: Sequence[Attribution]) -> float:
    """The mean over the targets, of those where the metric is defined, and over the maps; NaN without one."""
    return mean_over_targets(torch.stack([metric(trial, each) for each in maps])) if maps else torch.nan


def _curve(trial: Trial, metrics: Mapping[str, Metric], maps: Sequence[Attribution]) -> list[list[float]] | None:
    """The curves (2, F), means over targets and maps, where a metric of curves has scored them."""
    metric = next((each for each in metrics.values() if each.name == "abpc"), None)
    if metric is None:
        return None
    at = torch.linspace(0, 1, FRACTIONS, dtype=torch.float64)
    lists = [curves(trial, each, metric) for each in maps]  # type: ignore[arg-type]
    rows = [curve.at(at) for each in lists for curve in each if curve is not None]
    if not rows:
        return None
    tables = torch.stack([torch.stack([row.most_first, row.least_first]) for row in rows])
    mean: list[list[float]] = tables.nanmean(0).tolist()
    return mean


def settings_of(study: Study, model: AnyAdapter, question: Question, prompts: Sequence[Any]) -> dict[str, Any]:
    """What decides the numbers, prompts as plain data; two calls with the same settings measure the same."""
    return {
        "model": {name: str(value) for name, value in model.describe().items()},
        "methods": [[name, repr(method)] for name, method in study.methods.items()],  # in the order of the numbers
        "metrics": [[name, repr(metric)] for name, metric in study.metrics.items()],
        "question": {"score": str(question.score), **question.differences()},
        "seed": study.seed,
        "chance": 2 * PAIRS,
        "version": versions()["tokensal"],
        "prompts": list(prompts),
    }


def facts_of(study: Study, model: AnyAdapter, question: Mapping[str, str]) -> dict[str, str]:
    """Where the numbers come from."""
    described = {name: str(value) for name, value in model.describe().items() if value}
    return {**described, **question, "seed": str(study.seed), **versions()}


def evaluation_of(
    study: Study,
    prompts: Sequence[Prompt],
    lines: Sequence[Line],
    facts: Mapping[str, str],
    config: Mapping[str, Any],
) -> Evaluation:
    """The evaluation that the lines of the prompts make."""
    missing = torch.full((2, FRACTIONS), torch.nan, dtype=torch.float64).tolist()
    return Evaluation(
        methods=tuple(
            EvaluatedMethod(name, repr(method), method.signed, name in BASELINES)
            for name, method in study.methods.items()
        ),
        metrics=tuple(
            EvaluatedMetric(name, repr(metric), metric.summary, metric.better) for name, metric in study.metrics.items()
        ),
        prompts=tuple(
            EvaluatedPrompt(prompt.id, prompt.kind, line.text, line.targets)
            for prompt, line in zip(prompts, lines, strict=True)
        ),
        values=_table([line.values for line in lines]).transpose(1, 2),
        seconds=_table([line.seconds for line in lines]),
        curves=_table([[curve or missing for curve in line.curves] for line in lines]),
        failures=tuple(
            Failure(number, method, reason)
            for number, line in enumerate(lines)
            for method, reason in line.failures.items()
        ),
        facts=facts,
        config=dict(config),
    )


def _table(rows: Any) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)
