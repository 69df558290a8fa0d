"""Is what is published of integrated gradients in part quadrature error? Measures it, and writes the page that tells.

    python examples/findings/quadrature.py --model dates --kinds dates --prompts 100 --folder journals
    python examples/findings/quadrature.py --model dates --kinds dates --prompts 24 --metrics again --folder journals
    python examples/findings/quadrature.py --folder journals --page examples/findings/quadrature.md

1. Draw prompts whose evidence is proved (`tokensal.evaluation.suites`), all of one kind in one journal.
2. Explain each by integrated gradients from three baselines: certified, which places nodes until the tolerance is met,
   and with fixed numbers of nodes by fixed rules; and by other methods, among which they are ranked.
3. Measure all maps by the metrics of `tokensal.evaluation` (`--metrics maps`; `few` of them where a forward takes
   long), and how far each map is from the certified one; or by the metrics that let a method explain again, which cost
   several times as much (`--metrics again`).
4. Every prompt is in its journal at once, so that the same command goes on after an interruption. The page reads
   whatever prompts the journals hold; see `quadrature_page.py`.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

import tokensal
from tokensal.adapters import ModelAdapter
from tokensal.case import versions
from tokensal.evaluation.building import named_methods, named_metrics
from tokensal.evaluation.metric import Metric, Trial
from tokensal.evaluation.prompts.prompt import Prompt, case_of
from tokensal.evaluation.similarity import similarity
from tokensal.evaluation.suites import KINDS, answers_rightly
from tokensal.evaluation.suites.acceptance import Sample, sample
from tokensal.methods import IntegratedGradients, Method
from tokensal.results.attribution import Attribution

STEPS = (20, 50)
RULES = ("gauss_legendre", "riemann", "trapezoid")
STRICTER = {"tolerance": 0.01, "max_evaluations": 2048}  # how far the certified maps are from the limit
OTHERS = ("lrp", "gradient", "input_x_gradient", "occlusion")
LOCALISATION = ("pointing_game", "top_k_hit", "recall", "gold_mass", "mrr")
REMOVAL = ("deletion", "insertion", "abpc", "comprehensiveness", "sufficiency", "top_k_drop", "lds", "infidelity")
FEW = ("deletion", "insertion", "abpc", "lds", "infidelity")  # of these, where a forward takes long
AGAIN = ("max_sensitivity", "randomisation", "random_target")
FLOOR = 0.1  # of a change of the score, as in `IntegratedGradients`


# How far a map of integrated gradients is from what it should be: metrics, so that they are in the journals


@dataclass(frozen=True, kw_only=True)
class IntegralMetric:
    """A number for each target (K,) of a map of integrated gradients; NaN of other methods."""

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str] = ""
    better: ClassVar[str] = "lower"
    needs_gold: ClassVar[bool] = False

    def __call__(self, trial: Trial, attribution: Attribution) -> Tensor:
        method = trial.method_of(attribution)
        if not isinstance(method, IntegratedGradients):
            return torch.full((len(attribution.targets),), torch.nan, dtype=torch.float64)
        return self.measured(trial, attribution, method)

    def measured(self, trial: Trial, attribution: Attribution, method: IntegratedGradients) -> Tensor:
        raise NotImplementedError


class Residual(IntegralMetric):
    """|Σ scores − change| / |change|, where the change is at least 0.1: what the certificate bounds by .05."""

    name = "residual"
    summary = "convergence delta relative to the change of the score"

    def measured(self, trial: Trial, attribution: Attribution, method: IntegratedGradients) -> Tensor:
        delta, change = (attribution.diagnostics[name].values.double() for name in ("convergence_delta", "total"))
        return delta.abs() / change.abs().clamp(min=FLOOR)


class Within(IntegralMetric):
    """1 where the convergence delta is within the tolerance of the method, else 0."""

    name = "within"
    summary = "whether the convergence delta is within the tolerance"
    better = "higher"

    def measured(self, trial: Trial, attribution: Attribution, method: IntegratedGradients) -> Tensor:
        return (Residual()(trial, attribution) <= method.tolerance).double()


class Gradients(IntegralMetric):
    """How many gradients a target took."""

    name = "gradients"
    summary = "gradients of a target"

    def measured(self, trial: Trial, attribution: Attribution, method: IntegratedGradients) -> Tensor:
        return attribution.diagnostics["gradients"].values.double()


class RankAgreement(IntegralMetric):
    """Spearman's correlation of the scores with those of the certified map from the same baseline."""

    name = "rank_agreement"
    summary = "rank correlation with the certified map"
    better = "higher"

    def measured(self, trial: Trial, attribution: Attribution, method: IntegratedGradients) -> Tensor:
        own, certified = _with_certified(trial, attribution, method)
        return similarity(own, certified).signed


class Distance(IntegralMetric):
    """Σ |score − certified| / Σ |certified|, over the units that a metric may take away."""

    name = "distance"
    summary = "distance from the certified map, relative to it"

    def measured(self, trial: Trial, attribution: Attribution, method: IntegratedGradients) -> Tensor:
        own, certified = (scores.nan_to_num().double() for scores in _with_certified(trial, attribution, method))
        return (own - certified).abs().sum(1) / certified.abs().sum(1)


class SameBest(IntegralMetric):
    """1 where the unit with the best score is that of the certified map, else 0."""

    name = "same_best"
    summary = "whether the best unit is that of the certified map"
    better = "higher"

    def measured(self, trial: Trial, attribution: Attribution, method: IntegratedGradients) -> Tensor:
        own, certified = (scores.nan_to_num(nan=-torch.inf) for scores in _with_certified(trial, attribution, method))
        return (own.argmax(1) == certified.argmax(1)).double()


INTEGRALS = (Residual(), Within(), Gradients(), RankAgreement(), Distance(), SameBest())


def _with_certified(trial: Trial, attribution: Attribution, method: IntegratedGradients) -> tuple[Tensor, Tensor]:
    """Scores (K, P) of a map and of the certified one from its baseline."""
    certified, players = IntegratedGradients(baseline=method.baseline), trial.game().players
    [reference] = [other for other, by in trial.explained.values() if by == certified]
    return attribution.scores[:, players], reference.scores[:, players]


# What is measured


def token_of(model: ModelAdapter) -> str:
    """The baseline that is a token: "unk" where the tokenizer has one, which is Inseq's default; else "pad"."""
    return "unk" if model.tokenizer.unk_token_id is not None else "pad"


def integrals(token: str, rules: Sequence[str], *, stricter: bool) -> list[IntegratedGradients]:
    """Integrated gradients from each baseline: certified, by each rule, and by a stricter certificate."""
    methods = []
    for baseline in ("zero", "mean", token):
        methods.append(IntegratedGradients(baseline=baseline))
        methods += [IntegratedGradients(baseline=baseline, **STRICTER)] if stricter else []
        methods += [IntegratedGradients(baseline=baseline, steps=steps, rule=rule) for rule in rules for steps in STEPS]
    return methods


def metrics_of(group: str) -> list[str | Metric]:
    """The metrics of a journal: of the maps as they are, few of them, or those that let a method explain again."""
    if group == "again":
        return list(AGAIN)
    return [*LOCALISATION, *(FEW if group == "few" else REMOVAL), *INTEGRALS]


def draw(kind: str, model: ModelAdapter, count: int, seed: int, longest: int | None) -> Sample:
    """The first prompts of a kind that the model answers from the evidence, of at most so many tokens."""

    def answers(prompt: Prompt) -> bool:
        short = longest is None or len(case_of(prompt, model).example.sources) <= longest
        return short and answers_rightly(model, prompt)

    return sample(KINDS[kind], answers, count, seed)


@dataclass(frozen=True)
class Run:
    """What is beside a journal: how its numbers were made, and what they are of.

    Attributes:
        wanted: how many prompts.
        tried: how many were drawn for them.
        methods: names, in the order of the numbers; so are the metrics.
        seconds: of all calls that wrote to the journal.
    """

    command: str
    model: str
    kind: str
    wanted: int
    tried: int
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    machine: str
    versions: dict[str, str]
    seconds: float = 0.0


def measure(
    model: ModelAdapter,
    kind: str,
    folder: Path,
    *,
    prompts: int,
    group: str = "maps",
    rules: Sequence[str] = RULES,
    stricter: bool = True,
    longest: int | None = None,
    seed: int = 0,
    command: str = "",
) -> tokensal.Evaluation:
    """Measure the prompts of a kind, and keep them in the journal `model-kind-group-seed.jsonl` of a folder."""
    started = time.perf_counter()
    name = Path(model.name).name  # of a folder, the last part of its path
    journal = folder / f"{name}-{kind}-{group}-{seed}.jsonl"
    beside = journal.with_suffix(".run.json")
    drawn = draw(kind, model, prompts, seed, longest)
    methods: list[str | Method] = [*integrals(token_of(model), rules, stricter=stricter), *OTHERS]
    names = tuple(named_methods(methods)), tuple(named_metrics(metrics_of(group), ["mask"]))
    before = json.loads(beside.read_text())["seconds"] if beside.exists() else 0.0

    def note(done: int, total: int) -> None:
        seconds = round(before + time.perf_counter() - started, 1)
        machine = f"{platform.machine()}, {torch.get_num_threads()} thread(s)"
        run = Run(command, name, kind, prompts, drawn.tried, *names, machine, dict(versions()), seconds)
        beside.write_text(json.dumps(asdict(run), indent=1) + "\n")
        print(f"{journal.stem}: {done} of {total} prompts, {seconds:.0f} s", file=sys.stderr, flush=True)

    return tokensal.evaluate(
        model, drawn.prompts, methods=methods, metrics=metrics_of(group), seed=seed, journal=journal, progress=note
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or write the page."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the journals are")
    parser.add_argument(
        "--page", type=Path, help="write the tables of all journals into this page, and measure nothing"
    )
    parser.add_argument("--model", help="as for tokensal.load; the default model if left out")
    parser.add_argument("--kinds", default="facts", help="kinds of prompts, with commas")
    parser.add_argument("--prompts", type=int, default=25, help="of each kind")
    parser.add_argument("--metrics", choices=("maps", "few", "again"), default="maps")
    parser.add_argument("--rules", default=",".join(RULES), help="of fixed numbers of nodes, with commas")
    parser.add_argument("--no-stricter", action="store_true", help="leave out the stricter certificate")
    parser.add_argument("--longest", type=int, help="leave out prompts of more tokens")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.page:
        import quadrature_page  # which imports this module

        quadrature_page.write(options.page, options.folder)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    model = tokensal.load(options.model)
    for kind in options.kinds.split(","):
        measure(
            model,
            kind,
            options.folder,
            prompts=options.prompts,
            group=options.metrics,
            rules=options.rules.split(","),
            stricter=not options.no_stricter,
            longest=options.longest,
            seed=options.seed,
            command=f"python examples/findings/quadrature.py {shlex.join(arguments)}",
        )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted: what was measured is in the folder, and the same command goes on.")
