"""Reductions: how activations and gradients at a hook point become one number for each source.

A reduction is a function of three:

    activations   one tensor a layer, (n, S, H), or (n, heads, S, S) for attention weights; of the embeddings a single
                  one, (n, S - first, D)
    gradients     one tensor a layer of the same shapes, with k cotangents in front: (k, n, …)
    rows          which perturbations the n are, which groups the k × n, and who sees what there

and returns (k, n, S), or (k, n, S - first). Half precision is raised to float32 before it is called.

Names are the field's: l1 and l2 are norms, `max_norm` the largest magnitude (called `max` in the literature), `dot` the
signed inner product of "gradient × input".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from tokensal.engine.activations import by_layer
from tokensal.engine.weights import LayerWeights, placed_weights, weights_of
from tokensal.layer_call import BlockSize
from tokensal.questions.masks import attention_mask, predictor_mask, visible_sources
from tokensal.transfers import sent
from tokensal.types import Example, LayerActivation


@dataclass(frozen=True, eq=False)
class Rows:
    """What the gradients that a reduction sees are about.

    Attributes:
        example: the tokens.
        index: (n,) int64, the number of each perturbation; or of each average, where perturbations were averaged.
        groups: (k, n) int64, the group that each gradient is of.
        first: the source that the tensors begin with.
        device: where the tensors are.
        size: how many rows of attention weights go at once.
    """

    example: Example
    index: Tensor
    groups: Tensor
    first: int
    device: torch.device
    size: BlockSize

    @cached_property
    def visible(self) -> Tensor:
        """(k, n, S) bool, the sources that each group sees."""
        return sent(visible_sources(self.example)[self.groups], self.device)

    @cached_property
    def predictors(self) -> Tensor:
        """(k, n, S) bool, the sources that predict a target of each group."""
        return sent(predictor_mask(self.example)[self.groups], self.device)

    def part(self, chunk: slice) -> Rows:
        """About a slice of the gradients; the same object where that is all."""
        groups = self.groups[chunk]
        return self if len(groups) == len(self.groups) else replace(self, groups=groups)

    def allowed(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(r, c) bool, whether each of some sources (rows) may attend to each of others (columns)."""
        return sent(attention_mask(self.example, rows.cpu())[:, columns.cpu()], self.device)


Reduction = Callable[[Sequence[Tensor], Sequence[Tensor], Rows], Tensor]


@dataclass(frozen=True, slots=True)
class FromTheTop:
    """A reduction that takes one layer after another, so that those of the others need not be in memory.

    Attributes:
        step: from what the layers above came to, (k, n, S), which is zero above the highest, the activations of a
            layer, its gradients, and the rows, to (k, n, S).
    """

    step: Callable[[Tensor, Tensor, Tensor, Rows], Tensor]

    def __call__(self, activations: Sequence[Tensor], gradients: Sequence[Tensor], rows: Rows) -> Tensor:
        total = activations[0].new_zeros(*rows.groups.shape, len(rows.example.sources))
        for activation, gradient in zip(reversed(activations), reversed(gradients), strict=True):
            total = self.step(total, activation, gradient, rows)
        return total

    def after(
        self, total: Tensor, recorded: Sequence[LayerActivation], gradients: Sequence[Tensor], rows: Rows
    ) -> Tensor:
        """What a layer makes of what the layers above came to.

        Args:
            total: that, (k, n, S).
            recorded: what is recorded of the layer.
            gradients: for each of that, (k, …).
            rows: as a reduction gets them.
        """
        tensors = [activation.tensor.detach() for activation in recorded]
        [activation] = by_layer(rows.example, recorded, tensors, rows.device, add=False)
        [gradient] = by_layer(rows.example, recorded, gradients, rows.device, add=True)
        return self.step(total, activation, gradient, rows)


@dataclass(frozen=True, slots=True)
class OverWeights:
    """A reduction that takes the attention weights of one layer after another, a block of rows at a time.

    Attributes:
        step: as that of `FromTheTop`, from the weights of a layer with their gradients.
    """

    step: Callable[[Tensor, LayerWeights, Rows], Tensor]

    def __call__(self, activations: Sequence[Tensor], gradients: Sequence[Tensor], rows: Rows) -> Tensor:
        total = activations[0].new_zeros(*rows.groups.shape, len(rows.example.sources))
        for weights, slopes in zip(reversed(activations), reversed(gradients), strict=True):
            total = self.step(total, placed_weights(weights, slopes, rows.size), rows)
        return total

    def after(
        self, total: Tensor, recorded: Sequence[LayerActivation], gradients: Sequence[Tensor], rows: Rows
    ) -> Tensor:
        """As that of `FromTheTop`."""
        return self.step(total, weights_of(rows.example, recorded, gradients, rows.device, rows.size), rows)


LayerReduction = FromTheTop | OverWeights


def l1(activations: Sequence[Tensor], gradients: Sequence[Tensor], rows: Rows) -> Tensor:
    """Sum of magnitudes, Σ|g|. Never negative."""
    return gradients[0].abs().sum(-1)


def l2(activations: Sequence[Tensor], gradients: Sequence[Tensor], rows: Rows) -> Tensor:
    """Euclidean length, √Σg². Never negative."""
    norm: Tensor = torch.linalg.vector_norm(gradients[0], dim=-1)
    return norm


def max_norm(activations: Sequence[Tensor], gradients: Sequence[Tensor], rows: Rows) -> Tensor:
    """Largest magnitude, max|g|: the "max" of Simonyan et al. (2014). Never negative."""
    return gradients[0].abs().amax(-1)


def dot(activations: Sequence[Tensor], gradients: Sequence[Tensor], rows: Rows) -> Tensor:
    """Inner product with the embedding, Σ g·x. Signed."""
    return (gradients[0] * activations[0]).sum(-1)


NORMS: Mapping[str, Reduction] = {"l2": l2, "l1": l1, "max": max_norm}
