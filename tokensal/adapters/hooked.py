"""A model inside a forward: what its layers compute is read, edited and differentiated, by rules or secants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tokensal.adapters.attending import Each
from tokensal.adapters.decomposed import decomposed
from tokensal.adapters.footprints import footprint_of
from tokensal.adapters.frozen import frozen
from tokensal.adapters.hooks import edited, linear_head, recorded, recorded_again
from tokensal.adapters.layered import layered
from tokensal.adapters.layers import layers_of
from tokensal.adapters.placement import device_of
from tokensal.adapters.quantised import check_gradients
from tokensal.adapters.rules import ruled
from tokensal.adapters.secants import compared
from tokensal.adapters.secants_by_layer import compared_by_layer
from tokensal.layer_call import BlockSize, LayerCall
from tokensal.types import AttentionParts, Footprint, HookPoint, LayerActivation, Rules, Secants

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class HookedModel(ABC):
    """A HuggingFace model and its hook points; nothing of it is changed when a context is left.

    Args:
        model: the model, without wrappers.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self._gradients_flow = False  # not known yet

    @abstractmethod
    def _require_eager(self) -> None:
        """Refuse a model that computes something else with eager attention, which has weights to look at."""

    @property
    @abstractmethod
    def reads_in_blocks(self) -> bool:
        """Whether attention weights can be had for some rows at a time."""

    @property
    def device(self) -> torch.device:
        """Where the embeddings live (with accelerate's offloading: where they are computed)."""
        return device_of(self.model.get_input_embeddings())

    @property
    def layer_count(self) -> int:
        """How many layers `recorded` can choose from: an encoder's, then a decoder's."""
        return len(layers_of(self.model))

    def recorded(
        self,
        point: HookPoint,
        layers: Sequence[int],
        *,
        graph: bool,
        layered: bool = False,
        kept: bool = True,
        each: Each | None = None,
        blocks: BlockSize | None = None,
    ) -> AbstractContextManager[list[LayerActivation]]:
        """Inside, a forward fills the list with what the layers compute; see `tokensal.adapters.hooks`."""
        if point is HookPoint.EMBEDDINGS:
            return nullcontext([])
        if graph:
            self._check_gradients()
        if point is HookPoint.ATTENTION_WEIGHTS:
            self._require_eager()
            blocks = blocks if self.reads_in_blocks else None
        return recorded(self.model, point, layers, graph=graph, layered=layered, kept=kept, each=each, blocks=blocks)

    def layered(self) -> AbstractContextManager[list[LayerCall]]:
        """Inside, a forward keeps no graph in its layers; see `tokensal.adapters.layered`."""
        return layered(self.model)

    def recorded_again(
        self, point: HookPoint, layer: int, blocks: BlockSize | None = None
    ) -> AbstractContextManager[list[LayerActivation]]:
        """Inside, a layer that is run again fills the list with what it computes, on its graph."""
        if point is HookPoint.EMBEDDINGS:
            return nullcontext([])
        if point is HookPoint.ATTENTION_WEIGHTS:
            blocks = blocks if self.reads_in_blocks else None
        return recorded_again(self.model, point, layer, blocks)

    def edited(
        self, points: frozenset[HookPoint], layers: Sequence[int], write: Callable[[LayerActivation], Tensor]
    ) -> AbstractContextManager[None]:
        """Inside, a forward goes on with what `write` makes of the activations; see `tokensal.adapters.hooks`."""
        return edited(self.model, points, layers, write)

    def decomposed(
        self, layers: Sequence[int], measure: Callable[[AttentionParts], Tensor]
    ) -> AbstractContextManager[list[LayerActivation]]:
        """Inside, a forward of one example is measured in parts; see `tokensal.adapters.decomposed`."""
        self._require_eager()
        return decomposed(self.model, layers, measure)

    def linear_head(self) -> AbstractContextManager[list[Tensor]]:
        """Inside, a forward has a graph above its layers alone; see `tokensal.adapters.hooks`."""
        return linear_head(self.model)

    def ruled(self, rules: Rules, constants: Tensor | None, *, again: bool = False) -> AbstractContextManager[None]:
        """Inside, a forward, or a layer that is run again, builds the graph of the rules."""
        self._check_gradients()
        return ruled(self.model, rules, constants, again=again)

    def compared(self, secants: Secants, run_reference: Callable[[], Any]) -> AbstractContextManager[Any]:
        """Inside, a forward builds the graph of secants from a reference; see `tokensal.adapters.secants`."""
        self._check_gradients()
        return compared(self.model, secants, run_reference)

    def compared_by_layer(
        self, secants: Secants, run_reference: Callable[[], Tensor]
    ) -> AbstractContextManager[tuple[Tensor, Sequence[Callable[[], Any]]]]:
        """Inside, a layered forward builds the graph of secants; see `tokensal.adapters.secants_by_layer`."""
        self._check_gradients()
        return compared_by_layer(self.model, secants, run_reference)

    def _check_gradients(self) -> None:
        """Once, when they are first asked for: what needs none works with every quantised model."""
        if not self._gradients_flow:
            check_gradients(self.model, self.device)
        self._gradients_flow = True

    def prepared(self) -> AbstractContextManager[None]:
        """Parameters frozen, dropout off; everything as it was on leaving."""
        return frozen(self.model)

    def footprint(self, sources: int, *, in_blocks: bool = False) -> Footprint:
        """Estimated from the model's widths; where attention runs `in_blocks`, its weights are not counted."""
        return footprint_of(self.model, sources, self._depth, in_blocks)

    def width(self, point: HookPoint, sources: int) -> int:
        """How many numbers there are for each source, in one layer, at a hook point."""
        config = self.model.config.get_text_config()
        return int(config.num_attention_heads * sources if point is HookPoint.ATTENTION_WEIGHTS else config.hidden_size)

    @property
    def _depth(self) -> int:
        """How many layers a token passes."""
        depth: int = self.model.config.get_text_config().num_hidden_layers
        return depth
