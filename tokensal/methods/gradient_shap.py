"""Gradient SHAP, or expected gradients: gradients at random points between random baselines and the input, averaged.

1. For each sample draw a baseline b of the list, a point t within [0, 1), and noise for the input, if any is wanted.
2. Take the gradient at b + t (x − b), and multiply it by that sample's own x − b: over all samples, this is the
   integral of integrated gradients, averaged over the baselines.
3. Go on, a batch at a time, until the largest standard error of every target is within the tolerance, or all samples
   are taken; the error is stored beside what the tolerance allows, so that a miss is said wherever the result is shown.
4. In expectation the scores add up to the change of the score from the baselines to the input. What they miss of it by
   chance is stored too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.engine.activations import raised
from tokensal.engine.reductions import Rows
from tokensal.methods.baselines import BaselineMethod
from tokensal.methods.sampling import SMALLEST_CHANGE, RunningMean
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.perturbations.paths import RandomPoints
from tokensal.types import Diagnostic, Example, Scores
from tokensal.values import read_number, read_whole, store

BATCH = 16  # samples between two looks at the standard error
MOST_SAMPLES = 65_536


@dataclass(frozen=True, kw_only=True, repr=False)
class GradientSHAP(BaselineMethod):
    """Expected gradients: (x − b)·∂y/∂x at b + t (x − b), averaged over random b and t. Signed, in units of the score.

    Lundberg, Lee 2017, arXiv:1705.07874; Erion, Janizek, Sturmfels, Lundberg, Lee 2021, arXiv:1906.10670.

    Cost: a forward, and a backward for each target, for each sample; a forward for each baseline.

    Error: the standard error of each score is measured, and compared with `tolerance`. The scores add up to the change
    of the score from the baselines to the input in expectation alone; the convergence delta is what they miss by chance
    (and, with noise, by what the noise does to the score).

    Use: many baselines at the price of one, where integrated gradients would follow each to the end; with few, those
    are more exact. Language models are so curved on the way that the error stays large: after 48 samples from "zero",
    the scores of SmolLM2 missed their total many times over; from "mean", by half of it. It does not point at copied
    evidence there (none of 10 prompts); in a small encoder–decoder it does.

    Args:
        samples: the most samples.
        tolerance: the standard error allowed for each score, relative to the change of the target's score (or to 0.1,
            where the score changes by less).
        noise: standard deviation of noise on the input of each sample, relative to the root mean square of the
            embeddings.
        seed: of the draws.
    """

    name: ClassVar[str] = "gradient_shap"
    summary: ClassVar[str] = (
        "what each token adds to the score on the way from random baselines; its error is measured (signed)"
    )
    quantity: ClassVar[str] = "contribution to the change of {score} from random baselines"
    paper: ClassVar[str] = "Lundberg, Lee 2017, arXiv:1705.07874"
    signed: ClassVar[bool] = True

    baseline: str | Tensor | Sequence[str | Tensor] = "mean"
    samples: int = 256
    tolerance: float = 0.05
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        store(
            self,
            samples=read_whole("samples", self.samples, least=2, most=MOST_SAMPLES),
            tolerance=read_number("tolerance", self.tolerance, above=0),
            noise=read_number("noise", self.noise, least=0),
            seed=read_whole("seed", self.seed, most=2**32 - 1),
        )

    def __call__(self, example: Example, engine: Engine) -> Scores:
        starts, embeds, kept = self.ends(example, engine)
        first = int((~kept).int().argmax())
        values = engine.original(example)
        total = values.double().cpu() - _scores(example, engine, starts, first).mean(0)
        allowed = self.tolerance * total.abs().clamp(min=SMALLEST_CHANGE)
        deviation = self.noise * float(raised(embeds).pow(2).mean().sqrt())
        points = RandomPoints(starts, embeds, ~kept, deviation, torch.arange(self.samples), self.seed)
        running = _until_precise(example, engine, points, allowed)
        scores = running.value
        diagnostics = {
            "total": Diagnostic(total),
            "convergence_delta": Diagnostic(scores.sum(1) - total),
            "gradients": Diagnostic(torch.full((len(scores),), running.count)),
            "standard_error": Diagnostic(running.error, allowed),
        }
        return Scores(scores, values, diagnostics)


def _scores(example: Example, engine: Engine, starts: Tensor, first: int) -> Tensor:
    """(B, K) the scores of the baselines."""
    return engine.scores(example, PerturbedInputs(starts[:, first:], first=first)).double().cpu()


def _until_precise(example: Example, engine: Engine, points: RandomPoints, allowed: Tensor) -> RunningMean:
    """The mean of the samples (K, J), of as many as make every standard error allowed (K,), or of all."""
    running = RunningMean()
    for batch in torch.split(points.numbers, BATCH):
        for contributions in _contributions(example, engine, points.numbered(batch)):
            for sample in contributions.double().cpu():
                running.add(sample)
        if (running.error.amax(1) <= allowed).all():
            break
    return running


def _contributions(example: Example, engine: Engine, points: RandomPoints) -> Iterator[Tensor]:
    """What each unit adds at each point, as if the whole path were as there: (n, K, J) for each chunk of points."""

    def along_its_path(activations: Sequence[Tensor], gradients: Sequence[Tensor], rows: Rows) -> Tensor:
        return (gradients[0] * points.steps(rows.index, rows.first).to(gradients[0])).sum(-1)

    first = int(points.altered_from[0])
    for chunk in engine.gradients(example, points, along_its_path, first=first):
        yield chunk.reduced
