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
from functools import partial

import torch
from torch import Tensor

from tokensal.chunks import in_chunks
from tokensal.errors import UnsupportedModel
from tokensal.layer_call import LayerCall
from tokensal.types import LayerActivation

# From what is recorded in a layer, its gradients for a slice of the cotangents, and the numbers of the layer's calls
Visit = Callable[[Sequence[LayerActivation], Sequence[Tensor], slice, Sequence[int]], None]


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
        tables = [tensor.new_zeros(len(cotangents), *tensor.shape) for tensor in tensors if self.recorded]
        places = self._places()

        def visit(
            inside: Sequence[LayerActivation], gradients: Sequence[Tensor], chunk: slice, numbers: Sequence[int]
        ) -> None:
            for place, gradient in zip((each for number in numbers for each in places[number]), gradients, strict=True):
                tables[place][chunk] = gradient

        *arrived, share = self.walk(hidden, () if self.recorded else tensors, cotangents, visit)
        pairs = zip(arrived, tensors, strict=False)
        return [*tables, *(_dense(gradient, tensor, len(cotangents)) for gradient, tensor in pairs), share]

    def walk(self, hidden: Tensor, roots: Sequence[Tensor], cotangents: Tensor, visit: Visit) -> list[Tensor | None]:
        """Take the cotangents (k, …) of the hidden states from the highest layer to the lowest.

        Args:
            hidden: the hidden states.
            roots: the embeddings, where gradients are to arrive there.
            cotangents: (k, …).
            visit: called for each layer, several times if not all of the cotangents go at once.

        Returns:
            The gradient of each root, and that of the constants; None where nothing arrives.
        """
        constants = [] if self.constants is None else [self.constants]
        leaves = [leaf for call in self.calls for leaf in call.outputs]
        sums = Sums([*leaves, *constants, *roots], self.size)
        sums.add([hidden], [cotangents])
        for numbers in self._layers():
            self._descend(numbers, sums, len(cotangents), visit)
        share = None if self.constants is None else sums.pop(self.constants)
        return [*(sums.pop(root) for root in roots), share]

    def _descend(self, numbers: Sequence[int], sums: Sums, count: int, visit: Visit) -> None:
        """Take the cotangents through the calls of one layer."""
        passages = [self._rebuilt(number, sums) for number in numbers]

        def piece(chunk: slice) -> None:
            gradients = [each for passage in passages for each in passage.take(chunk, count)]
            visit([each for passage in passages for each in passage.recorded], gradients, chunk, numbers)

        for _ in in_chunks(count, self.size, piece):
            pass
        for passage in passages:
            sums.add(passage.ends, passage.below)

    def _layers(self) -> list[list[int]]:
        """The numbers of the calls of each layer, from the highest: of two continuations, each calls it."""
        numbers: dict[int, list[int]] = defaultdict(list)
        for number, call in enumerate(self.calls):
            numbers[call.layer].append(number)
        return [numbers[layer] for layer in sorted(numbers, reverse=True)]

    def _places(self) -> list[list[int]]:
        """For each call, which of the recorded activations are computed in it."""
        queues: dict[int, deque[int]] = defaultdict(deque)
        for place, layer in enumerate(self.recorded):
            queues[layer].append(place)
        called = Counter(call.layer for call in self.calls)
        require_reached(set(queues) <= set(called))
        each = {layer: len(queue) // called[layer] for layer, queue in queues.items()}
        return [[queues[call.layer].popleft() for _ in range(each.get(call.layer, 0))] for call in self.calls]

    def _rebuilt(self, number: int, sums: Sums) -> Passage:
        """The graph of one call, and the cotangents that have arrived at what it returned."""
        call = self.calls[number]
        leaves = [tensor.detach().requires_grad_() for tensor in call.inputs]
        with self.again(number) as recorded:
            outputs = call.run(leaves)
        require_reached(all(activation.tensor.requires_grad for activation in recorded))
        constants = [] if self.constants is None else [self.constants]
        cotangents = [sums.pop(leaf) for leaf in call.outputs]
        return Passage([*call.inputs, *constants], [*leaves, *constants], recorded, outputs, cotangents)


class Passage:
    """The way of cotangents through one call of a layer.

    Args:
        ends: what the layer was called with, and the constants, on the graph outside.
        leaves: the same, on the graph of the layer.
        recorded: what is recorded in it.
        outputs: what it returned.
        cotangents: of the outputs, (k, …); None where that is zero.

    Attributes:
        below: the gradients of the ends, (k, …), as far as they have been taken.
    """

    def __init__(
        self,
        ends: Sequence[Tensor],
        leaves: Sequence[Tensor],
        recorded: Sequence[LayerActivation],
        outputs: Sequence[Tensor],
        cotangents: Sequence[Tensor | None],
    ) -> None:
        self.ends = ends
        self.recorded = recorded
        self.below: list[Tensor | None] = [None] * len(ends)
        self._inputs = [*leaves, *(activation.tensor for activation in recorded)]
        self._pairs = [(out, each) for out, each in zip(outputs, cotangents, strict=True) if each is not None]

    def take(self, chunk: slice, count: int) -> list[Tensor]:
        """Take a slice of the cotangents through; the gradients of what is recorded."""
        gradients = vector_products(self._pairs, self._inputs, chunk)
        for place, gradient in enumerate(gradients[: len(self.ends)]):
            self.below[place] = _stored(self.below[place], gradient, chunk, count)
        inside = zip(gradients[len(self.ends) :], self.recorded, strict=True)
        return [_dense(gradient, each.tensor, chunk.stop - chunk.start) for gradient, each in inside]


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
                passage = Passage(self._ends, self._ends, (), [tensor], [gradient])
                for _ in in_chunks(len(gradient), self._size, partial(passage.take, count=len(gradient))):
                    pass
                self.add(self._ends, passage.below)

    def pop(self, leaf: Tensor) -> Tensor | None:
        """What has arrived at a leaf; None where nothing has."""
        return self._sums.pop(id(leaf), None)

    def _add(self, leaf: Tensor, gradient: Tensor) -> None:
        before = self._sums.get(id(leaf))
        self._sums[id(leaf)] = gradient if before is None else before + gradient


def vector_products(
    pairs: Sequence[tuple[Tensor, Tensor]], inputs: Sequence[Tensor], chunk: slice
) -> Sequence[Tensor | None]:
    """The gradients (k', …) of inputs for a slice of the cotangents (k, …) of each output; None where they are zero."""
    if not pairs:
        return [None] * len(inputs)
    outputs, cotangents = zip(*pairs, strict=True)
    return torch.autograd.grad(
        outputs,
        inputs,
        [each[chunk] for each in cotangents],
        is_grads_batched=True,
        retain_graph=True,
        allow_unused=True,
    )


def _stored(table: Tensor | None, gradient: Tensor | None, chunk: slice, count: int) -> Tensor | None:
    """A table (count, …) with the gradient in its place."""
    if gradient is None or len(gradient) == count:
        return gradient
    if table is None:
        table = gradient.new_empty(count, *gradient.shape[1:])
    table[chunk] = gradient
    return table
