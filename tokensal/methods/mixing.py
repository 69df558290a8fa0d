"""Methods that chain, through the layers, where each position's state comes from.

1. A forward without a graph, or several, say for each layer how much of each position's state after the layer comes
   from which position before it: a matrix (S, S) whose rows add up to 1.
2. Multiply the layers' matrices, from the highest to the lowest, for the rows of the positions that predict. The scores
   of a target are its row; of several targets explained as one, the sum of their rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.errors import InputError
from tokensal.methods.layers import Layers, check_layers, select_layers
from tokensal.questions.masks import pool_to_units, predictor_mask
from tokensal.types import Diagnostic, Example, Scores


class Mixing(NamedTuple):
    """Where the states that predict come from.

    Attributes:
        rows: (K, S): for each group, which positions the states that predict it come from.
        error: how far the parts that this is made of are from adding up, relatively; None where nothing is taken apart.
    """

    rows: Tensor
    error: float | None = None


@dataclass(frozen=True, kw_only=True)
class MixingMethod(ABC):
    """A method that says what the states are made of, and nothing of the score. Never negative.

    Args:
        layers: see `tokensal.methods.layers`; by default all, as published.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    quantity: ClassVar[str] = "contribution to {score}"
    signed: ClassVar[bool] = False

    layers: Layers = "all"

    def __post_init__(self) -> None:
        check_layers(self.layers)

    @abstractmethod
    def mixing(self, example: Example, engine: Engine, layers: Sequence[int]) -> Mixing:
        """Where the states that predict come from, in those layers of the model."""

    def __call__(self, example: Example, engine: Engine) -> Scores:
        if any(group.against for group in example.groups):
            raise InputError(
                f"{self.name} says where the model's states come from, not what speaks for one text against another: "
                "leave the contrast out, or choose another method, such as 'lrp' or 'occlusion'."
            )
        rows, error = self.mixing(example, engine, select_layers(self.layers, engine.adapter.layer_count))
        values = engine.original(example)
        diagnostics = {} if error is None else {"decomposition_error": Diagnostic(torch.full_like(values, error))}
        return Scores(pool_to_units(rows, example), values, diagnostics)


def chained(example: Example, layers: Tensor) -> Tensor:
    """The rows (K, S) of the positions that predict each group, from matrices (L, S, S), chained (step 2)."""
    rows = predictor_mask(example).to(layers)
    for layer in layers.flip(0):
        rows = rows @ layer
    return rows
