"""How a layer, or an attention in it, was called in a forward, so that it can be run again on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokensal.types import LayerActivation

if TYPE_CHECKING:
    from torch import Tensor

BlockSize = Callable[[int, int], int]  # from how many rows there are, of so many numbers each, to how many go at once


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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AttentionCall(LayerActivation):
    """One call of an attention whose weights, (R, heads, rows, columns), are not kept: some rows are had at a time.

    In the place of weights, `tensor` is what they make of the values, (R, rows, …), from whose gradient that of the
    weights follows; without a graph it is empty.

    Attributes:
        read: from the numbers (r,) of some rows, ascending, and the gradient (k, R, rows, …) of `tensor` or None, to
            the weights (R, heads, r, c) of the first c columns, after which none of these rows looks at any, and their
            gradient (k, R, heads, r, c) or None.
        width: how many numbers the weights of a row are, (R × heads × columns).
    """

    read: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
    width: int
