"""Attention rollout: attention weights chained through the layers, without any gradient.

1. One forward without a graph gives the attention weights of the layers.
2. Average them over heads, and add the identity for the residual stream. Each row is divided by its sum, so that it
   says where one position's state after the layer comes from.
3. Chain the layers (see `tokensal.methods.mixing`).

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
from tokensal.engine.activations import raised
from tokensal.methods.mixing import Mixing, MixingMethod
from tokensal.perturbations.inputs import Unperturbed
from tokensal.types import Example, HookPoint


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
        def read(weights: Sequence[Tensor], index: Tensor) -> Tensor:
            return torch.stack([*weights], 1)

        unperturbed = Unperturbed(engine.embed(example))
        [chunk] = engine.activations(
            example,
            unperturbed,
            read,
            at=HookPoint.ATTENTION_WEIGHTS,
            layers=layers,
            each=lambda weights: raised(weights).mean(1),
        )
        attention = chunk[0]
        mixed = attention + torch.eye(attention.shape[-1], dtype=attention.dtype, device=attention.device)
        return Mixing(mixed / mixed.sum(-1, keepdim=True))
