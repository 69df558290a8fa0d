"""Attention rollout: attention weights chained through the layers, without any gradient.

1. One forward without a graph gives the attention weights of the layers.
2. Average them over heads, and add the identity for the residual stream. Each row is divided by its sum, so that it
   says where one position's state after the layer comes from.
3. Multiply the layers' matrices, from the lowest to the highest. The scores of a target are the row of the position
   that predicts it; of several targets explained as one, the sum of their rows.

In an encoder–decoder model, a row of a decoder's layer has a share for its self-attention, one for its cross-attention,
and one for the residual stream; a row of the encoder in it, and of the decoder in an encoder's layer, stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.methods.layers import Layers, check_layers, select_layers
from tokensal.methods.method import refuse_contrast
from tokensal.perturbations.inputs import Unperturbed
from tokensal.questions.masks import pool_to_units, predictor_mask
from tokensal.types import Example, HookPoint, Scores


@dataclass(frozen=True, kw_only=True)
class AttentionRollout:
    """Attention chained through the layers. Never negative; the row of a single target adds up to 1.

    Abnar, Zuidema 2020, arXiv:2005.00928. It says where the model looks and nothing of what for: the score of a target
    plays no part, and all targets that the same position predicts have the same row. It needs no gradient, so it works
    with every quantised model.

    Args:
        layers: see `tokensal.methods.layers`; by default all, as published.
    """

    name: ClassVar[str] = "attention_rollout"
    summary: ClassVar[str] = "attention weights chained through the layers, without gradients (no sign)"
    paper: ClassVar[str] = "Abnar, Zuidema 2020, arXiv:2005.00928"
    signed: ClassVar[bool] = False

    layers: Layers = "all"

    def __post_init__(self) -> None:
        check_layers(self.layers)

    def __call__(self, example: Example, engine: Engine) -> Scores:
        refuse_contrast(example, self.name)
        layers = select_layers(self.layers, engine.adapter.layer_count)
        predictors = predictor_mask(example)

        def read(weights: Sequence[Tensor], index: Tensor) -> Tensor:
            return rolled_out([heads[0].mean(0) for heads in weights], predictors.to(weights[0]))

        unperturbed = Unperturbed(engine.embed(example))
        [matrix] = engine.activations(example, unperturbed, read, at=HookPoint.ATTENTION_WEIGHTS, layers=layers)
        return Scores(pool_to_units(matrix, example), engine.original(example))


def rolled_out(attention: Sequence[Tensor], rows: Tensor) -> Tensor:
    """Rows (K, S) of the product of the layers, each (S, S) with the residual stream added; from the highest down."""
    for layer in reversed(attention):
        mixing = layer + torch.eye(len(layer), dtype=layer.dtype, device=layer.device)
        rows = rows @ (mixing / mixing.sum(-1, keepdim=True))
    return rows
