"""What the engine needs of a model, and no more. Each room in `tokensal/adapters` fits this shape."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from tokensal.types import Example, Footprint, Forward, Variants


class Adapter(Protocol):
    """A model, seen as a function from source embeddings to the logits that predict the targets."""

    @property
    def device(self) -> torch.device:
        """Where the embeddings live."""
        ...

    def embed(self, example: Example) -> Tensor:
        """The embeddings of the sources, (S, D), without a graph."""
        ...

    def forward(self, example: Example, variants: Variants) -> Forward:
        """One pass over R variants; the graph reaches `variants.embeds` where those require gradients."""
        ...

    def prepared(self) -> AbstractContextManager[None]:
        """Parameters frozen, dropout off; on leaving, everything is as it was."""
        ...

    def footprint(self, sources: int) -> Footprint:
        """The bytes at work for a sequence of that many sources."""
        ...
