"""What the engine needs of a model, and no more. Each room in `tokensal/adapters` fits this shape."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor

from tokensal.types import Example, Footprint, Forward, HookPoint, LayerActivation, Original, PerturbedInputs


class Adapter(Protocol):
    """A model, seen as a function from source embeddings to the logits that predict the targets."""

    @property
    def device(self) -> torch.device:
        """Where the embeddings live."""
        ...

    def embed(self, example: Example) -> Tensor:
        """The embeddings of the sources, (S, D), without a graph."""
        ...

    def baseline(self, name: str, length: int) -> Tensor:
        """Embeddings (length, D) of a named reference: "mean", "pad", "eos", "bos", "unk", "space" or "text:…"."""
        ...

    def original(self, example: Example) -> Original:
        """The example as it is: its forward, and the states that perturbations can share."""
        ...

    def forward(self, example: Example, perturbed: PerturbedInputs, states: Any = None) -> Forward:
        """One pass over R perturbations; the graph reaches `perturbations.embeds` where those require gradients.

        With the `states` of `original`, the sources before `perturbations.first` are not run again.
        """
        ...

    @property
    def layer_count(self) -> int:
        """How many layers there are to choose from."""
        ...

    def recorded(self, hook_point: HookPoint, layers: Sequence[int]) -> AbstractContextManager[list[LayerActivation]]:
        """Inside, a forward starts its graph at the lowest of the layers, and fills the list with what they return."""
        ...

    def prepared(self) -> AbstractContextManager[None]:
        """Parameters frozen, dropout off; on leaving, everything is as it was."""
        ...

    def footprint(self, sources: int) -> Footprint:
        """The bytes at work for a sequence of that many sources."""
        ...
