"""How far integrated gradients are from the truth, certified and with uniform nodes: prints Markdown tables.

    python tests/benchmarks/integrals.py [--prompts 20] [--targets 2] [--maps 2] [--baseline zero]
    python tests/benchmarks/integrals.py --passage 60x10 --ladder 256,512,1024 --maps 0

1. Let SmolLM2-135M-Instruct answer each prompt, and integrate with the defaults: nodes and seconds for each target,
   and what its certificate leaves unexplained.
2. Find, for the same targets, what uniform Gauss–Legendre leaves unexplained at each number of steps of a ladder. Its
   slopes are taken by central differences, which costs two forwards a node whatever the number of targets, and
   flatters uniform nodes where a step of the score is sharper than the difference.
3. For the first prompts, compare the scores themselves, source by source, with a reference of 4096 Gauss–Legendre
   nodes: Spearman's rank correlation and the relative L1 distance, sink left out.

With `--passage`, the one prompt is that of `speed.py`, and the ladder shows how many steps its peers would need.

A share is a residual relative to the change of the score, or to 0.1 where it changes by less, as the tolerance is.
Nothing here fails on a number.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor

import tokensal
from tokensal.engine import Engine
from tokensal.methods import IntegratedGradients
from tokensal.methods.integrated_gradients import FLOOR
from tokensal.methods.quadrature import gauss_legendre

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from common import cut  # a folder of scripts, not a package

LADDER = (32, 64, 128, 256, 512)
REACH = 0.05  # of a node's weight: how far to both sides its slope is measured
PROMPTS = (
    "In 1969, Neil Armstrong became the first person to",
    "The capital of France is",
    "The chef added salt, pepper and a little lemon juice to the soup, then",
    "Tom lives in Paris. Anna lives in Rome. Where does Anna live? Anna lives in",
    "def add(a, b):\n    return a +",
    "Water boils at 100 degrees",
    "She opened the door slowly, because she was afraid of the",
    "The largest planet in the solar system is",
    "To make bread you need flour, water, salt and",
    "My sister has two cats. Their names are Milo and",
    "The opposite of hot is",
    "Dear Dr. Smith,\n\nThank you for your letter of",
    "The train from Berlin to Munich was late, so we missed the",
    "Monday, Tuesday, Wednesday, Thursday,",
    "If it rains tomorrow, the match will be",
    "The author of Romeo and Juliet is William",
    "He was born in Spain, so his first language is",
    "A triangle has three sides, and a square has",
    "The patient complained of a headache and a high",
    "Roses are red, violets are",
)


@dataclass(frozen=True)
class Case:
    """A prompt with the model's answer, and what the defaults make of it: K targets."""

    example: Any
    engine: Engine
    method: IntegratedGradients
    scores: Any
    seconds: float

    @property
    def shares(self) -> Tensor:
        """(K,) what is left unexplained."""
        return share(self.scores.diagnostics["convergence_delta"].values, self.scores.diagnostics["total"].values)


def examples(model: Any, options: argparse.Namespace) -> Iterator[Any]:
    """The prompts with the model's answers, or the passage with its own continuation."""
    if options.passage:
        task = cut(model.tokenizer, *options.passage)
        yield model.example(task.prompt_ids, continuation=task.target_ids)
    else:
        yield from (model.example(prompt, max_new_tokens=options.targets) for prompt in PROMPTS[: options.prompts])


def cases(model: Any, options: argparse.Namespace) -> Iterator[Case]:
    for example in examples(model, options):
        engine, method = Engine(model), IntegratedGradients(baseline=options.baseline)
        started = time.perf_counter()
        scores = method(example, engine)
        yield Case(example, engine, method, scores, time.perf_counter() - started)


def share(residual: Tensor, change: Tensor) -> Tensor:
    return residual.abs() / change.abs().clamp(min=FLOOR)


def uniform(case: Case, steps: int) -> Tensor:
    """(K,) the share that so many Gauss–Legendre nodes leave unexplained."""
    line = case.method.path(case.example, case.engine, case.method.baseline)
    nodes, weights = gauss_legendre(steps)
    points = torch.cat([nodes - REACH * weights, nodes + REACH * weights])
    before, after = line.scores(points).chunk(2)
    integral = ((after - before) / (2 * REACH)).sum(0)  # the weight of a node and that of its step cancel
    change = case.scores.diagnostics["total"].values
    return share(integral - change, change)


# The maps


def map_errors(case: Case, matrix: Tensor, reference: Tensor) -> list[tuple[float, float]]:
    """For each target, the rank correlation with the reference and the relative L1 distance, sink left out."""
    errors = []
    for row, truth, predictor in zip(matrix, reference, case.example.predictors, strict=True):
        ours, truth = row[1 : predictor + 1], truth[1 : predictor + 1]
        ranks = torch.stack([values.argsort().argsort().double() for values in (ours, truth)])
        distance = (ours - truth).abs().sum() / truth.abs().sum()
        errors.append((float(torch.corrcoef(ranks)[0, 1]), float(distance)))
    return errors


def maps(cases: list[Case], reference: int, ladder: tuple[int, ...]) -> list[str]:
    """Rows of Markdown: the certified scores and those of uniform nodes, beside the reference."""
    errors: dict[str, list[tuple[float, float]]] = {}
    spent: dict[str, list[float]] = {}
    for case in cases:
        truth = fixed(case, reference).matrix
        certified = case.scores.diagnostics["gradients"].values.double().mean().item()
        errors.setdefault("certified", []).extend(map_errors(case, case.scores.matrix, truth))
        spent.setdefault("certified", []).append(certified)
        for steps in (50, *ladder):
            name = f"uniform, {steps}"
            errors.setdefault(name, []).extend(map_errors(case, fixed(case, steps).matrix, truth))
            spent.setdefault(name, []).append(steps)
        say(f"reference for {case.example.text!r}")
    lines = [
        "| nodes | gradients a target | Spearman, median | lowest | relative L1, median | highest |",
        "|---|" + "---:|" * 5,
    ]
    for name, pairs in errors.items():
        ranks, distances = zip(*pairs, strict=True)
        lines.append(
            f"| {name} | {mean(spent[name]):.0f} | {median(ranks):.3f} | {min(ranks):.3f} "
            f"| {median(distances):.1%} | {max(distances):.1%} |"
        )
    return lines


def fixed(case: Case, steps: int) -> Any:
    return IntegratedGradients(baseline=case.method.baseline, steps=steps)(case.example, case.engine)


# The report


def residuals(cases: list[Case], ladder: tuple[int, ...], tolerance: float) -> list[str]:
    """Rows of Markdown: what the certified integral and uniform nodes leave unexplained."""
    nodes = torch.cat([case.scores.diagnostics["gradients"].values for case in cases]).double()
    lines = [
        "| nodes | gradients a target | median share | 95 % of targets within | targets ≤ 5 % |",
        "|---|" + "---:|" * 4,
    ]
    lines.append(row("certified", nodes.mean().item(), torch.cat([case.shares for case in cases]), tolerance))
    for steps in ladder:
        shares = torch.cat([uniform(case, steps) for case in cases])
        lines.append(row(f"uniform, {steps}", steps, shares, tolerance))
        say(f"uniform, {steps}: done")
    return lines


def row(name: str, gradients: float, shares: Tensor, tolerance: float) -> str:
    reached = (shares <= tolerance).double().mean().item()
    return f"| {name} | {gradients:.0f} | {shares.median():.1%} | {shares.quantile(0.95):.1%} | {reached:.0%} |"


def say(text: str) -> None:
    """Talk goes to standard error; the tables alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def size(text: str) -> tuple[int, int]:
    prompt, generated = map(int, text.split("x"))
    return prompt, generated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS), help="how many, at most twenty")
    parser.add_argument("--targets", type=int, default=2, help="tokens to generate and explain for each")
    parser.add_argument("--passage", type=size, help="prompt x generated tokens of the passage of speed.py instead")
    parser.add_argument("--baseline", default=IntegratedGradients().baseline)
    parser.add_argument("--ladder", type=numbers, default=LADDER, help="numbers of uniform steps")
    parser.add_argument("--maps", type=int, default=2, help="prompts whose scores are compared with the reference")
    parser.add_argument("--reference", type=int, default=4096, help="its nodes")
    options = parser.parse_args()
    model = tokensal.load(dtype="float32")
    measured = []
    for case in cases(model, options):
        measured.append(case)
        nodes = case.scores.diagnostics["gradients"].values.tolist()
        say(f"{case.seconds:5.1f} s, nodes {nodes}, {case.shares.max():.1%} at most: {case.example.text!r}")
    tolerance = measured[0].method.tolerance
    print(f"## Residuals, baseline {options.baseline}, {sum(len(case.shares) for case in measured)} targets\n")
    print("\n".join(residuals(measured, options.ladder, tolerance)), flush=True)
    if options.maps:
        print(f"\n## Scores against {options.reference} nodes, {options.maps} prompts\n")
        print("\n".join(maps(measured[: options.maps], options.reference, options.ladder)), flush=True)


if __name__ == "__main__":
    main()
