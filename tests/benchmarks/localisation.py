"""Do the methods point at the evidence? A table of localisation on the default model, or a sweep of options.

    python tests/benchmarks/localisation.py [--prompts 40] [--seed 1] [--kinds facts,needle] [--methods random,grad*]
    python tests/benchmarks/localisation.py --sweep grad_cam [--methods '*layers=all']

The answers rest on known words of the prompt, which `tokensal.evaluation.suites` proves by swapping them. The metrics
are those of `tokensal.evaluation.localisation`; where a prompt has several targets, their mean counts.

* top-1, the pointing game: whether the best source is gold, with a bootstrap 95 % interval.
* recall: how much of the gold is among the best tenth of the sources.
* † beside them: the same with the first token in the ranking, where attention collects; it is otherwise left out.
* Signed methods are ranked by their scores, and once more by magnitude: |…|.
* `random` is exact, since ties count by their expected value; `recency` prefers what is nearer to the answer.

Defaults are chosen from sweeps, and reported from the table, which draws its prompts from another seed.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from statistics import fmean, median
from typing import Any, ClassVar

import torch
from torch import Tensor

import tokensal
from tokensal.engine import Engine
from tokensal.evaluation.localisation import PointingGame, Recall
from tokensal.evaluation.metric import Trial, trial_of
from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.evaluation.suites import suite
from tokensal.methods import (
    LRP,
    RISE,
    ALTILogit,
    Attention,
    AttentionGradCAM,
    DeepLift,
    GradCAM,
    Gradient,
    GradientRollout,
    GradientSHAP,
    InformationFlowRoutes,
    InputXGradient,
    IntegratedGradients,
    KernelSHAP,
    Method,
    Occlusion,
    OwenValues,
    ShapleySampling,
    SmoothGrad,
    ValueXGradient,
)
from tokensal.types import Diagnostics, Example, Scores

KINDS = ["facts", "needle"]
SWEEP_SEED, TABLE_SEED = 0, 1
DRAWS = 2000  # of the bootstrap
AS_IS, MAGNITUDE = "{}", "\\|{}\\|"  # how a ranking is written, around the name of the method


# What is compared


@dataclass(frozen=True)
class Random:
    """Every source the same: a ranking by chance, since ties count by their expected value."""

    signed: ClassVar[bool] = False

    def __call__(self, example: Example, engine: Engine) -> Scores:
        return _the_same_for_all(torch.zeros(len(example.sources)), example)


@dataclass(frozen=True)
class Recency:
    """The later, the better."""

    signed: ClassVar[bool] = False

    def __call__(self, example: Example, engine: Engine) -> Scores:
        return _the_same_for_all(torch.arange(len(example.sources)), example)


def _the_same_for_all(scores: Tensor, example: Example) -> Scores:
    targets = len(example.targets)
    return Scores(scores.expand(targets, -1), torch.zeros(targets))


def grid(method: Callable[..., Method], **options: Sequence[Any]) -> dict[str, Method]:
    """A method with every combination of the options, named after them."""
    methods = {}
    for values in itertools.product(*options.values()):
        combination = dict(zip(options, values, strict=True))
        methods[" ".join(f"{name}={value}" for name, value in combination.items())] = method(**combination)
    return methods


METHODS: Mapping[str, Method] = {
    "random": Random(),
    "recency": Recency(),
    **{name: method() for name, method in tokensal.METHODS.items() if name != "shapley_values"},  # of 12 units at most
    # with fewer samples than by default, since a prompt would take minutes
    "shapley_sampling": ShapleySampling(samples=4),
    "kernel_shap": KernelSHAP(samples=512),
    "owen_values": OwenValues(samples=4),
    "gradient_shap": GradientSHAP(samples=32),
    "rise": RISE(samples=256),
    # with other options
    "lrp attn": LRP(rule="attn"),
    "lrp gate constant": LRP(gate="constant"),
    "lrp gamma": LRP(gamma=0.1),
    "deep_lift from the mean": DeepLift(baseline="mean"),
    "smooth_grad grad_cam": SmoothGrad(method="grad_cam"),
    "value_x_gradient signed": ValueXGradient(rule="signed"),
    "attention upper": Attention(layers="0.67:"),
    "information_flow_routes all": InformationFlowRoutes(layers="all"),
    "alti_logit all": ALTILogit(layers="all"),
}
DEPTHS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, "all", ":0.33", ":0.5", ":0.6", "0.33:0.67", "0.5:")
REPLACEMENTS = ("mask", "delete", "zero", "mean", "pad", "space")
BASELINES = ("zero", "mean", "pad", "eos", "space")
SWEEPS: Mapping[str, Mapping[str, Method]] = {
    "gradient": {**grid(Gradient, norm=("l2", "l1", "max")), "input_x_gradient": InputXGradient()},
    "grad_cam": grid(GradCAM, rule=("elementwise", "channel_mean"), layers=DEPTHS),
    "attention_grad_cam": {
        **grid(
            AttentionGradCAM,
            rule=("elementwise", "head_mean"),
            rows=("all", "predictor"),
            layers=("all", ":0.5", "0.33:0.67", "0.33:", "0.5:", "0.67:"),
        ),
        **{
            f"gradient_rollout {name}": method for name, method in grid(GradientRollout, layers=("all", "0.5:")).items()
        },
    },
    "smooth_grad": {
        f"{base} noise={noise}": SmoothGrad(method=base, noise=noise)
        for base in ("gradient", "input_x_gradient", "grad_cam")
        for noise in (0.05, 0.1, 0.2, 0.4)
    },
    "lrp": grid(LRP, rule=("cp", "attn"), gate=("half", "constant")),
    "occlusion": {
        **grid(Occlusion, replacement=REPLACEMENTS),
        **grid(Occlusion, window=(3,), replacement=("mask", "delete")),
    },
    "integrated_gradients": {
        **grid(IntegratedGradients, baseline=BASELINES, steps=(16, 32, 64)),
        **{f"{name} adaptive": method for name, method in grid(IntegratedGradients, baseline=BASELINES).items()},
    },
}


# How it is measured


@dataclass(frozen=True, slots=True)
class Hit:
    """How well one ranking points at the gold: both between 0 and 1."""

    top: float
    recall: float


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One method on one prompt: with and without the first token, by score and (where signed) by magnitude."""

    hits: Mapping[str, tuple[Hit, Hit]]
    seconds: float
    diagnostics: Diagnostics


def read(model: tokensal.CausalAdapter, method: Method, prompt: Prompt) -> Reading:
    """Explain the answer."""
    trial = trial_of(prompt, model)
    result = trial.case.explain(method)
    return Reading(hits(trial, result), result.provenance.seconds, result.diagnostics)


def hits(trial: Trial, result: tokensal.Attribution) -> dict[str, tuple[Hit, Hit]]:
    """Each ranking, by score and by magnitude where that differs: without the first token, and with it."""

    def hit(**options: bool) -> Hit:
        return Hit(*(float(metric(**options)(trial, result).nanmean()) for metric in (PointingGame, Recall)))

    rankings = {AS_IS: False, MAGNITUDE: True} if result.signed else {AS_IS: False}
    return {
        name: (hit(magnitude=magnitude), hit(magnitude=magnitude, sink=True)) for name, magnitude in rankings.items()
    }


# The report


def rows(name: str, readings: Sequence[Reading]) -> Iterator[str]:
    """Markdown rows of one method: one, or two where it is signed."""
    for ranking in readings[0].hits:
        free, full = zip(*(reading.hits[ranking] for reading in readings), strict=True)
        cells = [
            ranking.format(name),
            f"{fmean(hit.top for hit in free):.2f} ({interval([hit.top for hit in free])})",
            f"{fmean(hit.recall for hit in free):.2f}",
            f"{fmean(hit.top for hit in full):.2f}",
            f"{fmean(hit.recall for hit in full):.2f}",
            f"{fmean(reading.seconds for reading in readings):.2f}",
            certified([reading.diagnostics for reading in readings if "convergence_delta" in reading.diagnostics]),
        ]
        yield f"| {' | '.join(cells)} |"


def interval(values: Sequence[float]) -> str:
    """The bootstrap 95 % interval of the mean."""
    sample = torch.tensor(values)
    picks = torch.randint(len(sample), (DRAWS, len(sample)), generator=torch.Generator().manual_seed(0))
    low, high = sample[picks].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return f"{low:.2f}–{high:.2f}"


def certified(diagnostics: Sequence[Diagnostics]) -> str:
    """How much of the change of the score is missed, in the median, and how often that is tolerated."""
    if not diagnostics:
        return ""
    missed = median(
        float((entry["convergence_delta"].values.abs() / entry["total"].values.abs()).median()) for entry in diagnostics
    )
    reached = fmean(float(entry["convergence_delta"].reached.float().mean()) for entry in diagnostics)
    return f"{missed:.1%}, {reached:.0%} reached"


def table(model: tokensal.CausalAdapter, methods: Mapping[str, Method], prompts: Sequence[Prompt]) -> None:
    """Print Markdown, the rows of a method as soon as they are there."""
    print("| method | top-1 | recall | top-1 † | recall † | s | residual |")
    print("|---|---|---:|---:|---:|---:|---|")
    for name, method in methods.items():
        readings = [read(model, method, prompt) for prompt in prompts]
        print(*rows(name, readings), sep="\n", flush=True)


def matching(methods: Mapping[str, Method], patterns: Sequence[str]) -> dict[str, Method]:
    """The methods whose name fits one of the patterns."""
    matches = {name: method for name, method in methods.items() if any(fnmatchcase(name, one) for one in patterns)}
    if not matches:
        raise SystemExit(f"None of {', '.join(patterns)} is among: {', '.join(methods)}.")
    return matches


def names(text: str) -> list[str]:
    """`a,b` as a list."""
    return text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=40, help="accepted prompts of each kind")
    parser.add_argument("--seed", type=int, help=f"{TABLE_SEED} by default, and {SWEEP_SEED} for sweeps")
    parser.add_argument("--kinds", type=names, default=KINDS, help="of tokensal.evaluation.suites.KINDS")
    parser.add_argument("--methods", type=names, default=["*"], help="patterns of names, such as grad*")
    parser.add_argument("--sweep", choices=SWEEPS)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else SWEEP_SEED if options.sweep else TABLE_SEED
    methods = matching(SWEEPS[options.sweep] if options.sweep else METHODS, options.methods)
    model = tokensal.load(dtype="float32")
    for kind in options.kinds:
        for sample in suite(kind, model, options.prompts, seed):
            print(f"\n## {kind}: {len(sample.prompts)} prompts of {sample.tried} drawn, seed {seed}\n")
            table(model, methods, sample.prompts)


if __name__ == "__main__":
    main()
