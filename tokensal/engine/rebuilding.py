"""A graph of which one layer's is there at a time: the memory of long contexts.

1. The forward keeps what each layer was called with, and no graph in it. Its results are leaves (see `LayerCall`).
2. Cotangents at the hidden states go through what is behind the highest layer, down to leaves.
3. From the highest layer to the lowest: the layer is run again, under the same rules and hooks. The cotangents of its
   results go through its graph, a few at a time, to what it was called with and to what is recorded in it. Then the
   graph is dropped.
4. What a layer was called with is a leaf of a layer below, or follows from leaves: from several, where an encoder's
   output enters every layer of a decoder. Gradients add up at leaves until their layer's turn comes.

The numbers are those of the plain graph to rounding. For one more forward, memory grows with layers × tokens × width.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.engine.budget import in_chunks
from tokensal.errors import UnsupportedModel
from tokensal.types import LayerActivation, LayerCall


@dataclass(frozen=True, slots=True, eq=False)
class Rebuilding:
    """How a backward goes through a forward that keeps no graph within its layers.

    Attributes:
        calls: of the layers, in the order in which they ran.
        again: from the number of a call; inside, it is run again, and fills the list with what is recorded in it.
        size: how many cotangents go through a layer at once.
        recorded: the layer of each activation that is recorded, in the order in which they were.
        constants: with backward rules, the leaf of one that constants are multiplied by.
    """

    calls: Sequence[LayerCall]
    again: Callable[[int], AbstractContextManager[list[LayerActivation]]]
    size: int
    recorded: Sequence[int]
    constants: Tensor | None

    def gradients(self, hidden: Tensor, tensors: Sequence[Tensor], cotangents: Tensor) -> list[Tensor | None]:
        """Gradients (k, …) for k cotangents of the hidden states.

        Args:
            hidden: the hidden states.
            tensors: what is differentiated: what is recorded, or else the embeddings.
            cotangents: (k, …).

        Returns:
            One for each of the tensors; last, that of the constants, (k,), or None where they have none.
        """
        constants = [] if self.constants is None else [self.constants]
        leaves = [leaf for call in self.calls for leaf in call.outputs]
        sums = Sums([*leaves, *constants, *(() if self.recorded else tensors)], self.size)
        inside: dict[int, Tensor | None] = {}
        sums.add([hidden], [cotangents])
        places = self._places()
        for number in reversed(range(len(self.calls))):
            call = self.calls[number]
            below = self._through(number, [sums.pop(leaf) for leaf in call.outputs])
            count = len(call.inputs)
            inside.update(zip(places[number], below[count:], strict=False))
            sums.add([*call.inputs, *constants], [*below[:count], *below[len(below) - len(constants) :]])
        results = [inside.get(place) if self.recorded else sums.pop(tensor) for place, tensor in enumerate(tensors)]
        share = None if self.constants is None else sums.pop(self.constants)
        pairs = zip(results, tensors, strict=True)
        return [*(_dense(result, tensor, len(cotangents)) for result, tensor in pairs), share]

    def _places(self) -> list[list[int]]:
        """For each call, which of the recorded activations are computed in it."""
        queues: dict[int, deque[int]] = defaultdict(deque)
        for place, layer in enumerate(self.recorded):
            queues[layer].append(place)
        called = Counter(call.layer for call in self.calls)
        require_reached(set(queues) <= set(called))
        each = {layer: len(queue) // called[layer] for layer, queue in queues.items()}
        return [[queues[call.layer].popleft() for _ in range(each.get(call.layer, 0))] for call in self.calls]

    def _through(self, number: int, cotangents: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Gradients of what a layer was called with, of what is recorded in it, and of the constants."""
        call = self.calls[number]
        leaves = [tensor.detach().requires_grad_() for tensor in call.inputs]
        with self.again(number) as recorded:
            outputs = call.run(leaves)
        inside = [activation.tensor for activation in recorded]
        require_reached(all(tensor.requires_grad for tensor in inside))
        inputs = [*leaves, *inside, *([] if self.constants is None else [self.constants])]
        return products(outputs, inputs, cotangents, self.size)


def require_reached(reached: bool) -> None:
    """Refuse a model in which what is recorded has no gradient.

    Raises:
        UnsupportedModel: it has none.
    """
    if not reached:
        raise UnsupportedModel(
            "The layers of this model cannot be read: what is recorded there does not follow from what enters the "
            "lowest of them. Choose a method that works on the embeddings, such as 'input_x_gradient'."
        )


def _dense(gradient: Tensor | None, tensor: Tensor, count: int) -> Tensor:
    return tensor.new_zeros(count, *tensor.shape) if gradient is None else gradient


class Sums:
    """Gradients (k, …) that have arrived at leaves, and add up there.

    Args:
        ends: the leaves.
        size: how many cotangents go through a graph at once.
    """

    def __init__(self, ends: Sequence[Tensor], size: int) -> None:
        self._ends = ends
        self._size = size
        self._sums: dict[int, Tensor] = {}

    def add(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
        """Add gradients at leaves, and of other tensors at the leaves that they follow from."""
        places = {id(end) for end in self._ends}
        for tensor, gradient in zip(tensors, gradients, strict=True):
            if gradient is not None and id(tensor) in places:
                self._add(tensor, gradient)
            elif gradient is not None:
                below = products([tensor], self._ends, [gradient], self._size)
                for end, part in zip(self._ends, below, strict=True):
                    if part is not None:
                        self._add(end, part)

    def pop(self, leaf: Tensor) -> Tensor | None:
        """What has arrived at a leaf; None where nothing has."""
        return self._sums.pop(id(leaf), None)

    def _add(self, leaf: Tensor, gradient: Tensor) -> None:
        before = self._sums.get(id(leaf))
        self._sums[id(leaf)] = gradient if before is None else before + gradient


def products(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Tensor | None], size: int
) -> list[Tensor | None]:
    """Vector-Jacobian products of the inputs for k cotangents (k, …) of each output, `size` at a time.

    None of an output counts as zero, and stands for an input that no output follows from.
    """
    pairs = [(output, each) for output, each in zip(outputs, cotangents, strict=True) if each is not None]
    result: list[Tensor | None] = [None] * len(inputs)
    if not pairs:
        return result
    count = len(pairs[0][1])

    def piece(chunk: slice) -> None:
        gradients = torch.autograd.grad(
            [output for output, _ in pairs],
            inputs,
            [each[chunk] for _, each in pairs],
            is_grads_batched=True,
            retain_graph=True,
            allow_unused=True,
        )
        for place, gradient in enumerate(gradients):
            if gradient is None or len(gradient) == count:
                result[place] = gradient
            else:
                table = result[place]
                if table is None:
                    table = result[place] = gradient.new_empty(count, *gradient.shape[1:])
                table[chunk] = gradient

    for _ in in_chunks(count, size, piece):
        pass
    return result
