"""Information flow routes: what share of each state comes from where, by how close each part is to the sum.

1. One forward without a graph takes each attention apart: the vector Σ_heads A_ij · v_j W_O that source j adds to
   position i, or that of each head (see `tokensal.engine.contributions`).
2. Make shares of the vectors and the residual stream by their proximity to the sum (see `tokensal.methods.shares`).
   Shares up to a threshold are cut, and the others divided by their sum.
3. Chain the attentions (see `tokensal.methods.mixing`).

In an encoder–decoder model, the self-attention and the cross-attention of a decoder's layer are two steps: the stream
that the cross-attention adds to is what the self-attention returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.engine.activations import raised
from tokensal.engine.contributions import over_contributions
from tokensal.errors import InputError, require_known
from tokensal.methods.layers import Layers
from tokensal.methods.mixing import Mixing, MixingMethod, chained
from tokensal.methods.shares import completed, divided, own_parts, proximity
from tokensal.types import AttentionParts, Example
from tokensal.values import read_number, store

HEADS = ("apart", "together")


@dataclass(frozen=True, kw_only=True)
class InformationFlowRoutes(MixingMethod):
    """The shares that sources have in the states, by their proximity to the sum, chained through the layers.

    Proximity of a part x to the sum y is max(0, ‖y‖₁ − ‖y − x‖₁). Never negative; the row of a single target adds up to
    1. Ferrando, Voita 2024, arXiv:2403.00824, whose graph is summed here over all routes. As attention rollout, it says
    what the states are made of and nothing of the score, but it looks at the vectors that attention adds, not at its
    weights. It needs no gradient, so it works with every quantised model.

    Cost: one forward, under eager attention, and no backward; apart from it (heads × S² × H) numbers for each layer, a
    few rows at a time.

    Error: that the parts of each attention add up to what it adds is verified while it runs; the largest error,
    relative to the largest number of a position, is the diagnostic `decomposition_error`. Models whose layers do not
    consist of such parts are refused.

    Use: where there is one place to look: copied evidence comes first in all of forty prompts with a fact hidden in
    prose, and in .38 of forty with facts about several people. With all layers, as published, in .12 of the latter.

    Args:
        layers: see `tokensal.methods.layers`; by default the upper half; "all" as published.
        heads: "apart", as published, makes a share of each head's vector and adds them up; "together" makes one of the
            sum of all heads' vectors.
        threshold: shares up to this are cut; 0 cuts none. The paper cuts to keep its graphs small.
    """

    name: ClassVar[str] = "information_flow_routes"
    summary: ClassVar[str] = (
        "shares of the vectors that attention adds, by closeness to their sum, chained through the layers (no sign)"
    )
    quantity: ClassVar[str] = "share of what attention adds, chained through the layers"
    paper: ClassVar[str] = "Ferrando, Voita 2024, arXiv:2403.00824"

    layers: Layers = "0.5:"
    heads: Literal["apart", "together"] = "apart"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("heads", [self.heads], HEADS)
        store(self, threshold=read_number("threshold", self.threshold, least=0))
        if self.threshold >= 1:
            raise InputError(
                f"threshold is {self.threshold}, but shares add up to 1: choose a smaller one, such as 0.01."
            )

    def mixing(self, example: Example, engine: Engine, layers: Sequence[int]) -> Mixing:
        errors = []

        def measure(parts: AttentionParts) -> Tensor:
            total = raised(parts.after)

            def read(vectors: Tensor, rows: slice) -> Tensor:
                return proximity(vectors, total[rows, None, None]).movedim(1, 0)

            table, error = over_contributions(parts, read, engine.budget, heads=self.heads == "apart")
            errors.append(error)
            return self._shares(table, proximity(own_parts(parts), total))

        shares = engine.decomposed(example, measure, layers=layers)
        return Mixing(chained(example, torch.stack([completed(each) for each in shares])), max(errors))

    def _shares(self, table: Tensor, own: Tensor) -> Tensor:
        """(rows, columns) from the proximities of what is looked at (heads, rows, columns) and the rest (n, rows)."""
        heads, rows, columns = table.shape
        shares = divided(torch.cat([table.movedim(1, 0).flatten(1), own.T], 1))  # (rows, heads × columns + n)
        if self.threshold:
            shares = divided(torch.where(shares > self.threshold, shares, 0))
        return shares[:, : heads * columns].view(rows, heads, columns).sum(1)
