"""Gradients at the input itself: the plainest question, how does the score react?

1. Take the embeddings of the source tokens as they are.
2. One forward gives the score of every target; the engine differentiates each with respect to every embedding.
3. Reduce each gradient over D: by a norm (`Gradient`), or with the embedding itself (`InputXGradient`).
4. The score of a unit is the sum of those of its tokens.

Where the first sources are not asked about, such as a long system message, they run once without a graph, and every
backward goes through the rest alone. The numbers are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tokensal.engine.reductions import NORMS, Reduction, dot
from tokensal.errors import require_known
from tokensal.methods.method import GradientMethod


@dataclass(frozen=True, kw_only=True)
class Gradient(GradientMethod):
    """The size of the gradient of the score with respect to each token's embedding. Never negative.

    Simonyan, Vedaldi, Zisserman 2014, arXiv:1312.6034. Unit: score per unit of embedding.

    Cost: one forward, and one backward for each target, many at a time.

    Error: none is measured. A derivative says what a small change does, and nothing of the token as a whole.

    Use: where the answer is sensitive. It names copied evidence first in two prompts of three.

    Args:
        norm: over the D numbers of an embedding: "l2" (Euclidean), "l1" (sum of magnitudes), or "max".
    """

    name: ClassVar[str] = "gradient"
    summary: ClassVar[str] = (
        "how strongly the score reacts to a small change of each token's embedding (a norm: no sign)"
    )
    quantity: ClassVar[str] = "size of the gradient of {score}"
    paper: ClassVar[str] = "Simonyan, Vedaldi, Zisserman 2014, arXiv:1312.6034"
    signed: ClassVar[bool] = False

    norm: Literal["l2", "l1", "max"] = "l2"

    def __post_init__(self) -> None:
        require_known("norm", [self.norm], NORMS)

    def reduction(self) -> Reduction:
        return NORMS[self.norm]


@dataclass(frozen=True, kw_only=True)
class InputXGradient(GradientMethod):
    """Gradient times input: Σ_d x_d · ∂y/∂x_d, a first-order estimate of what each token adds. Signed.

    Shrikumar, Greenside, Shcherbina, Kundaje 2016, arXiv:1605.01713. Unit: that of the score.

    Cost: one forward, and one backward for each target, many at a time.

    Error: none is measured. The scores add up to nothing in particular.

    Use: as a baseline for others: signed, it points at copied evidence no better than chance; by magnitude, in one
    prompt of two.
    """

    name: ClassVar[str] = "input_x_gradient"
    summary: ClassVar[str] = "first-order estimate of what each token's embedding adds to the score (signed)"
    quantity: ClassVar[str] = "first-order contribution to {score}"
    paper: ClassVar[str] = "Shrikumar, Greenside, Shcherbina, Kundaje 2016, arXiv:1605.01713"
    signed: ClassVar[bool] = True

    def reduction(self) -> Reduction:
        return dot
