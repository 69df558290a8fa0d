"""SmoothGrad: the gradient averaged over noisy copies of the input, around any method that takes one gradient.

The steps are those of `tokensal.methods.noisy_gradient`, with the mean as the statistic. Gradients are averaged as
vectors, and only then reduced: the norm of a mean is not the mean of norms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tokensal.engine.reductions import Reduction
from tokensal.methods.noisy_gradient import NoisyGradientMethod


@dataclass(frozen=True, kw_only=True)
class SmoothGrad(NoisyGradientMethod):
    """The mean gradient over noisy copies of the input, reduced as another method does. Signed if that method is.

    Smilkov, Thorat, Kim, Viégas, Wattenberg 2017, arXiv:1706.03825. Unit: that of the other method.

    Cost: a forward, and a backward for each target, for each of `samples` copies.

    Error: the standard error of each score is among the diagnostics; it falls with the square root of `samples`.

    Use: a calmer map where a method's own gradient jumps from one input to the next. It points where the other method
    points: around `gradient` at the word that an answer is copied from in .68 of the prompts, as `gradient` does.
    """

    name: ClassVar[str] = "smooth_grad"
    summary: ClassVar[str] = "a gradient method, its gradient averaged over noisy copies of the input"
    quantity: ClassVar[str] = "mean gradient of {score} over noisy copies, reduced"
    paper: ClassVar[str] = "Smilkov, Thorat, Kim, Viégas, Wattenberg 2017, arXiv:1706.03825"

    @property
    def signed(self) -> bool:
        return self.base.signed

    def reduction(self) -> Reduction:
        return self.base.reduction()
