"""How a layer was called in a forward, so that it can be run again on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class LayerCall:
    """One call of a layer, by its number, in a forward that keeps no graph within its layers.

    Attributes:
        inputs: the tensors that it was called with, on the graph of what ran before.
        outputs: the tensors that it returned, as leaves of the graph of what runs after.
        run: from leaves in the place of the inputs to the outputs, on the layer's own graph.
    """

    layer: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    run: Callable[[list[Tensor]], tuple[Tensor, ...]]
