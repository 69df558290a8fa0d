"""Attention rollout: attention weights chained through the layers, without any gradient.

1. One forward without a graph gives what the attentions of the layers are called with.
2. Average the weights of a block of rows over heads, and add the identity for the residual stream. Each row is divided
   by its sum, so that it says where one position's state after the layer comes from.
3. Chain the layers from the highest to the lowest, for the rows of the positions that predict (see
   `tokensal.methods.mixing`). Rows of which none comes are not computed.

In an encoder–decoder model, a row of a decoder's layer has a share for its self-attention, one for its cross-attention,
and one for the residual stream; a row of the encoder in it, and of the decoder in an encoder's layer, stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tokensal.engine import Engine
from tokensal.engine.activations import raised
from tokensal.engine.weights import Block, LayerWeights
from tokensal.methods.mixing import Mixing, MixingMethod
from tokensal.questions.masks import predictor_mask
from tokensal.types import Example


@dataclass(frozen=True, kw_only=True)
class AttentionRollout(MixingMethod):
    """Attention chained through the layers. Never negative; the row of a single target adds up to 1.

    Abnar, Zuidema 2020, arXiv:2005.00928. It says where the model looks and nothing of what for: the score of a target
    plays no part, and all targets that the same position predicts have the same row. It needs no gradient, so it works
    with every quantised model.

    Cost: one forward for all targets, and no backward; attention is eager.

    Error: none is measured.

    Use: on encoder–decoder models, where it finds the aligned word nearly always. On causal ones it fails: the first
    token collects everything, and copied evidence is never named first.

    Args:
        layers: see `tokensal.methods.layers`; by default all, as published.
    """

    name: ClassVar[str] = "attention_rollout"
    summary: ClassVar[str] = "attention weights chained through the layers, without gradients (no sign)"
    quantity: ClassVar[str] = "attention weight, chained through the layers"
    paper: ClassVar[str] = "Abnar, Zuidema 2020, arXiv:2005.00928"

    def mixing(self, example: Example, engine: Engine, layers: Sequence[int]) -> Mixing:
        def read(several: Sequence[LayerWeights]) -> Tensor:
            rows = predictor_mask(example).to(raised(engine.embed(example)))
            for layer in reversed(several):
                rows = _before(layer, rows)
            return rows

        return Mixing(engine.attention(example, read, layers=layers, each=lambda weights: raised(weights).mean(1)))


def _before(layer: LayerWeights, rows: Tensor) -> Tensor:
    """Which positions (K, S) below a layer those above it come from: rows × (A + I), each row divided by its sum."""

    def share(block: Block) -> tuple[Block, Tensor, Tensor]:
        weights = block.weights[0]
        shares = rows[:, block.rows] / (1 + weights.sum(-1))  # (K, r), of what stays where it is
        return block, shares, shares @ weights

    result = rows.clone()
    for block, own, others in layer.over(rows.any(0), share):
        result[:, block.rows] += own - rows[:, block.rows]
        result[:, block.columns] += others
    return result
