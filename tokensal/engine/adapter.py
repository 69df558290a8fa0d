"""What the engine needs of a model, and no more. Each adapter in `tokensal/adapters` fits this shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from tokensal.layer_call import LayerCall
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.types import (
    AttentionParts,
    Example,
    Footprint,
    Forward,
    HookPoint,
    LayerActivation,
    Original,
    Rules,
    Secants,
)


class Adapter(Protocol):
    """A model, seen as a function from source embeddings to the logits that predict the targets."""

    @property
    def device(self) -> torch.device:
        """Where the embeddings live."""
        ...

    def embed(self, example: Example) -> Tensor:
        """The embeddings of the sources, (S, D), without a graph."""
        ...

    def shifted(self, shift: Tensor) -> Self:
        """The same model, with a shift (S, D) added to the embeddings of an example wherever they are read."""
        ...

    def baseline(self, name: str, length: int) -> Tensor:
        """Embeddings (length, D) of a named baseline: "mean", "pad", "eos", "bos", "unk", "space" or "text:…"."""
        ...

    def original(self, example: Example) -> Original:
        """The example as it is: its forward, and the states that perturbations can share."""
        ...

    def forward(self, example: Example, perturbed: PerturbedInputs, states: Any = None) -> Forward:
        """One pass over R perturbations; the graph reaches `perturbed.embeds` where those require gradients.

        With the `states` of `original`, or of perturbations that begin alike, the sources before `perturbed.first` are
        not run again.
        """
        ...

    def runs_together(self, examples: Sequence[Example]) -> bool:
        """Whether one forward can run these examples, each as if by itself."""
        ...

    def forward_together(self, examples: Sequence[Example], embeds: Sequence[Tensor]) -> Forward:
        """One pass over N examples; the graph reaches those of their `embeds`, (S, D), that require gradients.

        Of each continuation, the targets of an example come first; others have more.
        """
        ...

    def continues(self, example: Example) -> bool:
        """Whether perturbations can go on from the `states` of others."""
        ...

    def skips(self, example: Example) -> bool:
        """Whether sources that attention does not see need not be run, where the others keep their positions."""
        ...

    def states(self, example: Example, perturbed: PerturbedInputs, states: Any = None) -> Any:
        """What R perturbations of sources before the first predictor, and no others, leave for those that go on."""
        ...

    @property
    def layer_count(self) -> int:
        """How many layers there are to choose from."""
        ...

    def recorded(
        self,
        point: HookPoint,
        layers: Sequence[int],
        *,
        graph: bool,
        layered: bool = False,
        kept: bool = True,
        each: Callable[[Tensor], Tensor] | None = None,
    ) -> AbstractContextManager[list[LayerActivation]]:
        """Inside, a forward fills the list with what the layers compute; with a graph, it starts at the lowest."""
        ...

    def layered(self) -> AbstractContextManager[list[LayerCall]]:
        """Inside, a forward keeps no graph within its layers, and fills the list with how each was called."""
        ...

    def recorded_again(self, point: HookPoint, layer: int) -> AbstractContextManager[list[LayerActivation]]:
        """Inside, a layer that is run again fills the list with what it computes, on its own graph."""
        ...

    @property
    def rebuilds(self) -> bool:
        """Whether gradients through layers that are run again are those of the plain graph."""
        ...

    def edited(
        self, points: frozenset[HookPoint], layers: Sequence[int], write: Callable[[LayerActivation], Tensor]
    ) -> AbstractContextManager[None]:
        """Inside, a forward goes on with what `write` makes of the activations at these points."""
        ...

    def decomposed(
        self, layers: Sequence[int], measure: Callable[[AttentionParts], Tensor]
    ) -> AbstractContextManager[list[LayerActivation]]:
        """Inside, a forward of one example fills the list with what `measure` makes of each attention's parts."""
        ...

    def linear_head(self) -> AbstractContextManager[list[Tensor]]:
        """Inside, a forward fills the list with what the highest layer returns, as a leaf of a linear graph."""
        ...

    def ruled(self, rules: Rules, constants: Tensor | None, *, again: bool = False) -> AbstractContextManager[None]:
        """Inside, a forward builds the graph of the rules; constants are multiplied by the leaf `constants`, a one.

        Or a layer that is run `again`.
        """
        ...

    def compared(self, secants: Secants, run_reference: Callable[[], Any]) -> AbstractContextManager[Any]:
        """Inside, a forward builds the graph of secants from what `run_reference` runs first; yields its result."""
        ...

    def compared_by_layer(
        self, secants: Secants, run_reference: Callable[[], Tensor]
    ) -> AbstractContextManager[tuple[Tensor, Sequence[Callable[[], Any]]]]:
        """As `compared`, for a `layered` forward: also yields what runs each layer on the reference's arguments."""
        ...

    def prepared(self) -> AbstractContextManager[None]:
        """Parameters frozen, dropout off; on leaving, everything is as it was."""
        ...

    def footprint(self, sources: int) -> Footprint:
        """The bytes at work for a sequence of that many sources."""
        ...

    def width(self, point: HookPoint, sources: int) -> int:
        """How many numbers there are for each source, in one layer, at a hook point."""
        ...
