"""VarGrad: the variance of the gradient over noisy copies of the input, around any method that takes one gradient.

The steps are those of `tokensal.methods.noisy_gradient`, with the variance as the statistic: of each number of the
gradient apart, and only then reduced. The variance of norms is something else.

What a method multiplies the gradient by is held fixed, so that Var(a·g) = a²·Var(g): the reduction gets the variances
in place of the gradient, and the squares of what it multiplies by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from tokensal.engine.reductions import NORMS, Reduction, Rows
from tokensal.errors import require_known
from tokensal.methods.gradient import Gradient
from tokensal.methods.noisy_gradient import NoisyGradientMethod


@dataclass(frozen=True, kw_only=True)
class VarGrad(NoisyGradientMethod):
    """The variance of the gradient over noisy copies of the input, number by number, then added up. Never negative.

    Adebayo, Gilmer, Goodfellow, Kim 2018, arXiv:1810.03307. With v_d the unbiased variance of ∂y/∂x_d over the copies,
    the score of a source is Σ_d v_d for `gradient`, and Σ_d a_d²·v_d for a method that multiplies the gradient by a_d
    (the input, or at layers the mean activation). Unit: that of the other method, squared.

    Cost: a forward, and a backward for each target, for each of `samples` copies, as SmoothGrad.

    Error: the standard error of each score is among the diagnostics; it falls with the square root of `samples`.

    Use: where the score is curved, not where it is high: for small noise it holds second derivatives alone, and
    nothing of the gradient itself (Seo et al. 2018, arXiv:1806.03000). A linear model gets 0 everywhere. Around
    `gradient` it names copied evidence first in 4 of 10 prompts, where `gradient` does in two of three.

    Args:
        norm: how the variances of a source's numbers become one around `gradient`, whose own norm plays no part: "l1"
            adds them up, "l2" takes their Euclidean length, "max" the largest.
    """

    name: ClassVar[str] = "var_grad"
    summary: ClassVar[str] = "how much a gradient varies between noisy copies of the input (no sign)"
    quantity: ClassVar[str] = "variance of the gradient of {score} over noisy copies"
    paper: ClassVar[str] = "Adebayo, Gilmer, Goodfellow, Kim 2018, arXiv:1810.03307"
    signed: ClassVar[bool] = False
    variance: ClassVar[bool] = True
    fewest: ClassVar[int] = 3

    norm: Literal["l1", "l2", "max"] = "l1"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("norm", [self.norm], NORMS)

    def reduction(self) -> Reduction:
        reduce = NORMS[self.norm] if isinstance(self.base, Gradient) else self.base.reduction()

        def reduce_variances(activations: Sequence[Tensor], variances: Sequence[Tensor], rows: Rows) -> Tensor:
            return reduce([activation.square() for activation in activations], variances, rows)

        return reduce_variances
