"""Attention weights: where the position that predicts a target looks. A baseline for methods that say more.

1. One forward without a graph gives what the attentions of the layers are called with.
2. Of each layer, compute the weights of the predicting position, and take the mean or the maximum over heads, or one
   head. Other rows are not computed again.
3. Take the mean over layers.

In an encoder–decoder model, the layers of the decoder are read: the mean of the self- and the cross-attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.engine.activations import raised
from tokensal.engine.weights import LayerWeights, looked_at
from tokensal.errors import InputError
from tokensal.methods.mixing import Mixing, MixingMethod
from tokensal.questions.masks import predictor_mask
from tokensal.types import Example
from tokensal.values import is_whole, read_whole, store

HEADS = ("mean", "max")


@dataclass(frozen=True, kw_only=True)
class Attention(MixingMethod):
    """The attention weight with which the predicting position looks at each source, as a mean over layers and heads.

    Never negative; of the mean, or of one head, the row of a single target adds up to 1 at most. Bahdanau, Cho, Bengio
    2014, arXiv:1409.0473. That weights explain nothing by themselves is argued by Jain and Wallace 2019,
    arXiv:1902.10186: it is here as the baseline that other methods have to beat. The score of a target plays no part,
    and all targets that the same position predicts have the same row.

    Cost: one forward, under eager attention; no gradient, so it works with every quantised model.

    Error: none is measured; the numbers are the model's own.

    Use: a baseline. In a causal model most weight lies on the first token, and the mean over all layers hides what a
    few heads look at: copied evidence never comes first, even without that token in the ranking; in the upper third
    of the layers ("0.67:") it does in .25 of forty prompts with facts. Of an encoder–decoder, cross-attention finds
    the aligned word nearly always.

    Args:
        layers: see `tokensal.methods.layers`; by default all.
        heads: "mean" or "max" over the heads of each layer, or the number of one head, from 0.
    """

    name: ClassVar[str] = "attention"
    summary: ClassVar[str] = "the attention weights of the predicting position, a mean over layers and heads (no sign)"
    quantity: ClassVar[str] = "attention weight"
    paper: ClassVar[str] = "Bahdanau, Cho, Bengio 2014, arXiv:1409.0473"

    heads: Literal["mean", "max"] | int = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if is_whole(self.heads):
            store(self, heads=read_whole("heads", self.heads))
        elif self.heads not in HEADS:
            raise InputError(
                f"heads is {self.heads!r}, but should be 'mean', 'max', or the number of a head, such as 0."
            )

    def mixing(self, example: Example, engine: Engine, layers: Sequence[int]) -> Mixing:
        def read(several: Sequence[LayerWeights]) -> Tensor:
            predictors = predictor_mask(example)
            predicting = [layer for layer in several if (layer.rows & predictors.any(0)).any()]
            if not predicting:
                raise InputError(
                    f"layers is {self.layers!r}, of the encoder alone, but the decoder predicts: choose the last "
                    "layers."
                )
            looking = predictors.to(raised(engine.embed(example)))
            rows = [looked_at(layer, looking, lambda block: block.weights[0]) for layer in predicting]
            return torch.stack(rows).mean(0) / (2 if example.encoder else 1)

        return Mixing(engine.attention(example, read, layers=layers, each=self._over_heads))

    def _over_heads(self, weights: Tensor) -> Tensor:
        """(n, r, c) of some rows of the weights of a layer, (n, heads, r, c)."""
        if isinstance(self.heads, int):
            if self.heads >= weights.shape[1]:
                count = weights.shape[1]
                raise InputError(
                    f"heads is {self.heads}, but the model has {count} heads: choose from 0 to {count - 1}."
                )
            return weights[:, self.heads].clone()  # not a view, which would keep all heads
        weights = raised(weights)
        return weights.mean(1) if self.heads == "mean" else weights.amax(1)
