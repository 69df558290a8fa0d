"""Integrated gradients: what each source adds to the score on the straight way from a baseline to the input.

1. Replace every source by the baseline, but for those that are kept; the line from there to the input is the path.
2. The contribution of a source is the integral, over the path, of its part in the slope of the score.
3. Without `steps`, the nodes of the integral are placed where its error is, and as many as the tolerance asks for
   (see `tokensal.methods.adaptive_quadrature`). With `steps`, they are those of a fixed rule.
4. The contributions should add up to the change of the score from one end of the path to the other. What they miss
   is stored for each target, beside what the tolerance allows.
5. Several baselines are integrated one after another, and their contributions averaged (expected gradients).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.errors import require_known
from tokensal.methods.adaptive_quadrature import FEWEST, integrate
from tokensal.methods.baselines import BaselineMethod
from tokensal.methods.path_integral import PathIntegral
from tokensal.methods.quadrature import RULES
from tokensal.types import Diagnostic, Example, Scores
from tokensal.values import read_number, read_whole, store

MOST_EVALUATIONS = 65_536
MOST_STEPS = 1024  # the nodes of more are not found in seconds
FLOOR = 0.1  # of a change of the score: the tolerance is relative to nothing smaller


@dataclass(frozen=True, kw_only=True, repr=False)
class IntegratedGradients(BaselineMethod):
    """Integrated gradients over the embeddings, which add up to the change of the score. Signed, in units of the score.

    Sundararajan, Taly, Yan 2017, arXiv:1703.01365; several baselines: Erion et al. 2021, arXiv:1906.10670.

    Cost: a forward and a backward for each node; about a hundred nodes for each target, or `steps`.

    Error: the convergence delta of each target, beside its tolerance; that of a single source can be larger.

    Use: where scores are to add up to the change from a stated baseline. It names copied evidence first in two
    prompts of three, and takes minutes where others take seconds.

    Args:
        tolerance: the residual allowed for each target, relative to the change of its score (or to 0.1, where the
            score changes by less).
        max_evaluations: the most nodes that any target may use, at least nine.
        steps: as many nodes of a fixed rule instead.
        rule: that rule: "gauss_legendre", "riemann" (middles) or "trapezoid".
    """

    name: ClassVar[str] = "integrated_gradients"
    summary: ClassVar[str] = (
        "what each token adds to the score on the way from a baseline; its error is measured (signed)"
    )
    quantity: ClassVar[str] = "contribution to the change of {score} from the baseline"
    paper: ClassVar[str] = "Sundararajan, Taly, Yan 2017, arXiv:1703.01365"
    signed: ClassVar[bool] = True

    tolerance: float = 0.05
    max_evaluations: int = 256
    steps: int | None = None
    rule: str = "gauss_legendre"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("rule", [self.rule], RULES)
        store(
            self,
            tolerance=read_number("tolerance", self.tolerance, above=0),
            max_evaluations=read_whole("max_evaluations", self.max_evaluations, least=FEWEST, most=MOST_EVALUATIONS),
            steps=read_whole("steps", self.steps, least=1, most=MOST_STEPS, optional=True),
        )

    def __call__(self, example: Example, engine: Engine) -> Scores:
        starts, embeds, kept = self.ends(example, engine)
        first = int((~kept).int().argmax())
        integrals = [self._along(PathIntegral(example, engine, start, embeds, first)) for start in starts]
        matrix, change, nodes = (torch.stack(part) for part in zip(*integrals, strict=True))
        return _certified(matrix.mean(0), change.mean(0), nodes.sum(0), self._allowed(change.mean(0)), engine, example)

    def _along(self, path: PathIntegral) -> tuple[Tensor, Tensor, Tensor]:
        """Contributions (K, J), the change they should add up to (K,), and the nodes of each target (K,)."""
        start, stop = path.scores(torch.tensor([0.0, 1.0], dtype=torch.float64))
        if self.steps is None:
            matrix, nodes = integrate(path, self.tolerance, self._allowed(stop - start), self.max_evaluations)
            return matrix, stop - start, nodes
        points, weights = RULES[self.rule](self.steps)
        return path.integral(points, weights), stop - start, torch.full((len(stop),), self.steps)

    def _allowed(self, change: Tensor) -> Tensor:
        return self.tolerance * change.abs().clamp(min=FLOOR)


def _certified(
    matrix: Tensor, change: Tensor, nodes: Tensor, allowed: Tensor, engine: Engine, example: Example
) -> Scores:
    diagnostics = {
        "total": Diagnostic(change),
        "convergence_delta": Diagnostic(matrix.sum(1) - change, allowed),
        "gradients": Diagnostic(nodes),
    }
    return Scores(matrix, engine.original(example), diagnostics)
