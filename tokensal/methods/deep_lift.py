"""DeepLIFT: the change of the score from a baseline, handed back operation by operation, in one backward.

1. Replace every source by the baseline, but for those that are kept. That is the reference.
2. Run the reference, and then the example through the same operations, with secants between the two in the place of
   derivatives (see `tokensal.adapters.secants`): for each operation, gradient × Δinput adds up to Δoutput.
3. One backward a target gives the multipliers m. The score of a source is Σ_d m_d (x_d − x₀_d), that of a unit the
   sum of its tokens'.
4. By the chain rule, the scores add up to the change of the score. What they miss of it is stored for each target.
5. Several baselines are compared one after another, and their contributions averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.engine.reductions import Reduction, Rows
from tokensal.errors import require_known
from tokensal.methods.baselines import BaselineMethod
from tokensal.perturbations.inputs import Unperturbed
from tokensal.types import Diagnostic, Example, Scores, Secants
from tokensal.values import read_number, store

NORMS = ("mean", "input")
ATTENTIONS = ("mean", "values")
FLOOR = 0.1  # of a change of the score: the tolerance is relative to nothing smaller


@dataclass(frozen=True, kw_only=True, repr=False)
class DeepLift(BaselineMethod):
    """What each token adds to the change of the score from a baseline, y(x) − y(x₀), by secants. Signed.

    Shrikumar, Greenside, Kundaje 2017, arXiv:1704.02685, with the rescale rule: the multiplier of a function of one
    number is (f(x) − f(x₀)) / (x − x₀). The paper has no rule for products: here Δ(a·b) is shared as Δa·(b + b₀)/2 and
    Δb·(a + a₀)/2, in norms, gates and attention. Softmax is exp(s − log Σ exp(s)), and so are the scores "logprob",
    "prob" and "entropy". With norm="input" and attention="values", the scale of a norm and the attention weights get
    only what they do to the reference; from a baseline of zero and without biases that is CP-LRP ('lrp'), of the score
    instead of the logit. Unit: that of the score.

    Cost: two forwards for all targets, the second with its graph and attention written out, so that memory grows with
    the square of the length; and one backward a target.

    Error: the convergence delta, which a tolerance is asked of: rounding, also in float32. A score of your own is
    complete as far as it is written in common operations. With norm="mean", a norm whose reference is nearly zero has a
    large slope there, and rounding grows with every layer. Mixtures of experts are refused where the reference takes
    other experts.

    Use: an exact account of a difference, at a fraction of the cost of integrated gradients. Of forty prompts with
    facts it names copied evidence first in .55 from zero and in .72 from "mean", of forty with a fact hidden in prose
    in .88; with norm="mean" and attention="mean" (the mean of both sides, as published) fewer, from zero .20 of ten.

    Args:
        norm: how a norm shares between its input and its scale: "mean", or "input" (what the scale does to the
            reference alone is credited to the scale).
        attention: how attention shares between weights and values: "mean", or "values" in the same way.
        tolerance: the residual allowed for each target, relative to the change of its score (or to 0.1, where the
            score changes by less).
    """

    name: ClassVar[str] = "deep_lift"
    summary: ClassVar[str] = "what each token adds to the change of the score from a baseline, in one backward (signed)"
    quantity: ClassVar[str] = "contribution to the change of {score} from the baseline"
    paper: ClassVar[str] = "Shrikumar, Greenside, Kundaje 2017, arXiv:1704.02685"
    signed: ClassVar[bool] = True

    norm: Literal["mean", "input"] = "input"
    attention: Literal["mean", "values"] = "values"
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("norm", [self.norm], NORMS)
        require_known("attention", [self.attention], ATTENTIONS)
        store(self, tolerance=read_number("tolerance", self.tolerance, above=0))

    def __call__(self, example: Example, engine: Engine) -> Scores:
        starts, embeds, kept = self.ends(example, engine)
        first = int((~kept).int().argmax())
        parts = [self._compared(example, engine, start, embeds, first) for start in starts]
        matrix, change = (torch.stack(part).mean(0) for part in zip(*parts, strict=True))
        allowed = self.tolerance * change.abs().clamp(min=FLOOR)
        diagnostics = {
            "total": Diagnostic(change),
            "convergence_delta": Diagnostic(matrix.sum(1) - change, allowed),
        }
        return Scores(matrix, engine.original(example), diagnostics)

    def _compared(
        self, example: Example, engine: Engine, reference: Tensor, embeds: Tensor, first: int
    ) -> tuple[Tensor, Tensor]:
        """Contributions (K, J), and the change (K,) that they should add up to."""
        [gradients] = engine.with_reference(reference, Secants(norm=self.norm, attention=self.attention)).gradients(
            example, Unperturbed(embeds), _from(reference), first=first
        )
        assert gradients.totals is not None
        return gradients.reduced[0], gradients.totals[0]


def _from(reference: Tensor) -> Reduction:
    """Multiplier times difference, Σ m·(x − x₀)."""

    def reduce(activations: Sequence[Tensor], gradients: Sequence[Tensor], rows: Rows) -> Tensor:
        return (gradients[0] * (activations[0] - reference[rows.first :].to(activations[0]))).sum(-1)

    return reduce
