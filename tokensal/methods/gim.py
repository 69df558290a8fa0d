"""Gradient interaction modifications: input × gradient, with other gradients where tensors interact.

1. Run the example once, with other backward rules for its operations (see `tokensal.adapters.rules`): the scale of a
   norm is constant; a product gives each factor half, so that queries and keys get a quarter of the gradient, values
   half, and so do a gate and what it gates.
2. The derivative of the attention's softmax is taken at scores divided by the temperature. The fused kernel stays:
   the gradient of queries and keys goes through a second call of it.
3. The score of a source is Σ_d x_d · ∂y/∂x_d under these rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tokensal.engine import Engine
from tokensal.engine.reductions import Reduction, dot
from tokensal.methods.method import GradientMethod
from tokensal.types import Rules
from tokensal.values import read_number, store


@dataclass(frozen=True, kw_only=True)
class GIM(GradientMethod):
    """Input × gradient, with norms frozen, a warmer softmax in the backward, and gradients halved at products. Signed.

    Edin, Csordás, Ruotsalo, Wu, Maistro, Christensen, Huang, Maaløe 2025, arXiv:2505.17630. Against self-repair: where
    attention already holds one key with certainty, its plain gradient is nearly zero. Where softmax(s) has the gradient
    A ∘ (g − ⟨g, A⟩), GIM has the same with A = softmax(s / temperature). Unit: that of the score.

    The authors' code does so for decoders of TransformerLens; a later package of theirs leaves the temperature out in
    fused attention and the halves in eager attention. Both multiply by x minus the embedding of a space; here it is x.

    Cost: one forward for all targets, with the attention's kernel called twice, and one backward a target.

    Error: none is measured; the scores add up to nothing.

    Use: to see what attention decides by a token as well as what it carries on. It names copied evidence first on
    every prompt tried (forty of each kind), as 'lrp' does; that one adds up to the logit.

    Args:
        temperature: of the softmax of attention, in the backward alone; 1 is its own.
    """

    name: ClassVar[str] = "gim"
    summary: ClassVar[str] = "input × gradient that corrects for self-repair, by other gradients of attention (signed)"
    quantity: ClassVar[str] = "contribution to {score} with corrected gradients"
    paper: ClassVar[str] = "Edin, Csordás, Ruotsalo, Wu, Maistro, Christensen, Huang, Maaløe 2025, arXiv:2505.17630"
    signed: ClassVar[bool] = True

    temperature: float = 2.0

    def __post_init__(self) -> None:
        store(self, temperature=read_number("temperature", self.temperature, above=0))

    def reduction(self) -> Reduction:
        return dot

    def prepared(self, engine: Engine) -> Engine:
        return engine.with_rules(Rules(norm="constant", product="half", attention="half", temperature=self.temperature))
