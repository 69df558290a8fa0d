"""Gradients at the input itself: the plainest question, how does the score react?

1. Take the embeddings of the source tokens as they are: one perturbation, R = 1.
2. One forward gives the score of every target; the engine differentiates each with respect to every embedding.
3. Contract each gradient over D: by a norm (`Gradient`), or with the embedding itself (`InputXGradient`).
4. The score of a unit is the sum of those of its tokens.

Where the first sources are not asked about, such as a long system message, they run once without a graph, and every
backward goes through the rest alone. The numbers are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tokensal.engine import Engine
from tokensal.engine.reductions import NORMS, Reduction, dot
from tokensal.errors import unknown
from tokensal.questions.masks import first_credited, pool_to_units
from tokensal.types import Example, PerturbedInputs, Scores


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """The size of the gradient of the score with respect to each token's embedding. Never negative.

    Simonyan, Vedaldi, Zisserman 2014, arXiv:1312.6034. Unit: score per unit of embedding.

    Args:
        norm: over the D numbers of an embedding: "l2" (Euclidean), "l1" (sum of magnitudes), or "max".
    """

    norm: Literal["l2", "l1", "max"] = "l2"
    signed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise unknown("norm", self.norm, NORMS)

    def __call__(self, example: Example, engine: Engine) -> Scores:
        return _at_the_input(example, engine, NORMS[self.norm])


@dataclass(frozen=True, kw_only=True)
class InputXGradient:
    """Gradient times input: Σ_d x_d · ∂y/∂x_d, a first-order estimate of what each token adds. Signed.

    Shrikumar, Greenside, Shcherbina, Kundaje 2016, arXiv:1605.01713. Unit: that of the score.
    """

    signed: ClassVar[bool] = True

    def __call__(self, example: Example, engine: Engine) -> Scores:
        return _at_the_input(example, engine, dot)


def _at_the_input(example: Example, engine: Engine, reduce: Reduction) -> Scores:
    first = first_credited(example)
    if first * len(example.groups) <= len(example.sources):
        first = 0  # to run what comes before once more, without a graph, would cost more than it spares
    perturbed = PerturbedInputs(engine.embed(example)[None, first:], first=first)
    [found] = engine.gradients(example, perturbed, reduce)
    return Scores(pool_to_units(found.reduced[0], example), found.values[0])
