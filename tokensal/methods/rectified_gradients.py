"""Gradients whose negative part stops at every activation function: deconvnet and guided backpropagation.

1. Run the example once, with another backward rule for its activation functions (see `tokensal.adapters.rules`): what
   flows back into one from above is cut to its positive part.
2. "deconvnet" hands that part on as it is. "guided" multiplies it by the derivative, and only where the input of the
   function was positive.
3. Reduce the gradient at the embeddings: by a norm, or with the embedding itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tokensal.engine import Engine
from tokensal.engine.reductions import NORMS, Reduction, dot
from tokensal.errors import require_known
from tokensal.methods.method import GradientMethod
from tokensal.types import Rules
from tokensal.values import read_flag, store


@dataclass(frozen=True, kw_only=True)
class _RectifiedGradient(GradientMethod):
    """A gradient that is cut at activation functions by a rule.

    Args:
        norm: over the D numbers of an embedding: "l2" (Euclidean), "l1" (sum of magnitudes), or "max".
        times_input: multiply with the embedding instead, Σ_d x_d R_d; the scores then have a sign.
    """

    rule: ClassVar[Literal["positive", "guided"]]

    norm: Literal["l2", "l1", "max"] = "l2"
    times_input: bool = False

    def __post_init__(self) -> None:
        require_known("norm", [self.norm], NORMS)
        store(self, times_input=read_flag("times_input", self.times_input))

    @property
    def signed(self) -> bool:
        return self.times_input

    def reduction(self) -> Reduction:
        return dot if self.times_input else NORMS[self.norm]

    def prepared(self, engine: Engine) -> Engine:
        return engine.with_rules(Rules(activation=self.rule))


@dataclass(frozen=True, kw_only=True)
class Deconvnet(_RectifiedGradient):
    """The gradient with ReLU applied to it at every activation function: R ← max(R, 0). A norm of it; no sign.

    Zeiler, Fergus 2014, arXiv:1311.2901, for ReLU, whose place in the backward a ReLU of the gradient takes. So it does
    here for SiLU, GELU and their like: the input of the function plays no part. Attention, norms, gates and soft caps
    (tanh) keep their exact gradients. Unit: score per unit of embedding; with `times_input` that of the score.

    Cost: one forward for all targets, and one backward a target.

    Error: none is measured; the scores add up to nothing.

    Use: to compare with the literature. In a causal model it never points at copied evidence (none of eighty
    prompts); in a small encoder–decoder it does. The paper on sanity checks (Adebayo et al. 2018, arXiv:1810.03292)
    is about methods like this one: choose 'lrp'.
    """

    name: ClassVar[str] = "deconvnet"
    summary: ClassVar[str] = "the gradient, cut to its positive part at every activation function (a norm: no sign)"
    quantity: ClassVar[str] = "size of the rectified gradient of {score}"
    paper: ClassVar[str] = "Zeiler, Fergus 2014, arXiv:1311.2901"
    rule: ClassVar[Literal["positive", "guided"]] = "positive"


@dataclass(frozen=True, kw_only=True)
class GuidedBackprop(_RectifiedGradient):
    """The gradient, cut at every activation function f to max(R, 0) · f′(x) where x > 0. A norm of it; no sign.

    Springenberg, Dosovitskiy, Brox, Riedmiller 2014, arXiv:1412.6806, for ReLU, where f′(x) = 1; for SiLU, GELU and
    their like it is the derivative. Attention, norms, gates and soft caps (tanh) keep their exact gradients. Unit:
    score per unit of embedding; with `times_input` that of the score.

    Cost: one forward for all targets, and one backward a target.

    Error: none is measured; the scores add up to nothing.

    Use: to compare with the literature. In a causal model it never points at copied evidence (none of eighty
    prompts); in a small encoder–decoder it does. The paper on sanity checks (Adebayo et al. 2018, arXiv:1810.03292)
    is about methods like this one: choose 'lrp'.
    """

    name: ClassVar[str] = "guided_backprop"
    summary: ClassVar[str] = (
        "the gradient, cut to its positive part where activation functions had positive input (a norm: no sign)"
    )
    quantity: ClassVar[str] = "size of the guided gradient of {score}"
    paper: ClassVar[str] = "Springenberg, Dosovitskiy, Brox, Riedmiller 2014, arXiv:1412.6806"
    rule: ClassVar[Literal["positive", "guided"]] = "guided"
