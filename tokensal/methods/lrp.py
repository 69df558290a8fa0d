"""Layer-wise relevance propagation: input × gradient under backward rules, one backward a target.

1. Run the example once, with other backward rules for its operations (see `tokensal.adapters.operations`): the scale of
   a norm is constant, an activation function f has the derivative f(x) / x, a product gives each factor half.
   Attention is linear in its values, with its weights constant ("cp"), or gives each factor of both its products half
   ("attn").
2. Under "cp" the model is a linear function of its embeddings, whose numbers are those of the model. One backward a
   target therefore decomposes the logits exactly; what biases and learned positions add is their own share.
3. The score of a source is Σ_d x_d · ∂y/∂x_d under these rules; that of a unit is the sum of its tokens'.
4. What the scores should add up to is y as a linear function of the logits, ⟨∂y/∂logits, logits⟩: of the score "logit"
   the logit itself, under a contrast the difference of two. What they miss of it is stored for each target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tokensal.engine import Engine
from tokensal.engine.reductions import Reduction, dot
from tokensal.errors import require_known
from tokensal.methods.method import GradientMethod
from tokensal.perturbations.inputs import Unperturbed
from tokensal.types import Diagnostic, Example, Rules, Scores
from tokensal.values import read_number, store

ATTENTION: dict[str, Literal["constant", "half"]] = {"cp": "constant", "attn": "half"}
GATES: dict[str, Literal["half", "constant"]] = {"half": "half", "constant": "constant"}
TOLERANCE = 1e-3  # of the total: float32 and a fused kernel stay well below it


@dataclass(frozen=True, kw_only=True)
class LRP(GradientMethod):
    """Layer-wise relevance propagation for transformers. Signed, in units of logits.

    Bach et al. 2015, doi:10.1371/journal.pone.0130140; norms: Binder et al. 2016, arXiv:1604.00825; transformers: Ali
    et al. 2022, arXiv:2202.07304 ("cp"), and Achtibat et al. 2024, arXiv:2402.05602 ("attn"). Some uses of LRP may need
    a licence from the holder of a patent.

    Linear layers follow LRP-0 as in the papers for transformers, or with `epsilon` and `gamma` the rules of those names
    (Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10; for inputs of either sign as in zennit), the head included.

    With "cp", the scores of all sources and the `constants` among the diagnostics add up to the logit (or, for another
    score y, to ⟨∂y/∂logits, logits⟩); the convergence delta says how nearly. With "attn" they do not, and the delta
    says by how much. A source is credited for what flows through values, gates and the residual stream, and with "cp"
    not for what attention decides by it.

    Cost: one forward, and one backward for each target, many at a time; with "cp" cheaper ones than those of the
    gradient.

    Error: the convergence delta: with "cp" zero to rounding; "attn" misses about two thirds of the total.

    Use: first. It names copied evidence first on every prompt tried, with its sign.

    Args:
        rule: "cp" holds attention weights constant, "attn" is the uniform rule through softmax and products.
        gate: how a gate shares with what it gates: "half" to each, or "constant" for the gate, which then gets none.
        epsilon: of linear layers, what the outputs are kept away from zero by where relevance is divided by them. What
            that leaves out is missed by the sum.
        gamma: of linear layers, how much more those contributions weigh that have the sign of the output.
    """

    name: ClassVar[str] = "lrp"
    summary: ClassVar[str] = (
        "exact decomposition of the logit among the tokens, by one backward under other rules (signed)"
    )
    quantity: ClassVar[str] = "relevance for {score}"
    paper: ClassVar[str] = "Ali, Schnake, Eberle, Montavon, Müller, Wolf 2022, arXiv:2202.07304"
    signed: ClassVar[bool] = True

    rule: Literal["cp", "attn"] = "cp"
    gate: Literal["half", "constant"] = "half"
    epsilon: float = 0.0
    gamma: float = 0.0

    def __post_init__(self) -> None:
        require_known("rule", [self.rule], ATTENTION)
        require_known("gate", [self.gate], GATES)
        store(
            self,
            epsilon=read_number("epsilon", self.epsilon, least=0),
            gamma=read_number("gamma", self.gamma, least=0),
        )

    def reduction(self) -> Reduction:
        return dot

    def prepared(self, engine: Engine) -> Engine:
        return engine.with_rules(
            Rules(
                norm="constant",
                activation="ratio",
                product=GATES[self.gate],
                attention=ATTENTION[self.rule],
                router="constant",
                epsilon=self.epsilon,
                gamma=self.gamma,
            )
        )

    def __call__(self, example: Example, engine: Engine) -> Scores:
        # from the first source on, whatever is credited: only all of them add up
        [gradients] = self.prepared(engine).gradients(example, Unperturbed(engine.embed(example)), dot)
        totals, constants = gradients.totals, gradients.constants
        assert totals is not None and constants is not None
        delta = gradients.reduced[0].sum(1) + constants[0] - totals[0]
        diagnostics = {
            "total": Diagnostic(totals[0]),
            "convergence_delta": Diagnostic(delta, TOLERANCE * totals[0].abs().clamp(min=1)),
            "constants": Diagnostic(constants[0]),
        }
        return Scores(gradients.reduced[0], gradients.values[0], diagnostics)
