"""One forward with its graph, and the vector-Jacobian products through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tokensal.engine.activations import by_layer, layers_of, raised
from tokensal.engine.rebuilding import Rebuilding
from tokensal.engine.reductions import LayerReduction, Rows
from tokensal.engine.weights import place_weights, weights_of
from tokensal.errors import InputError, foreign
from tokensal.layer_call import BlockSize
from tokensal.questions.masks import predictor_places
from tokensal.types import Example, Forward, HookPoint, LayerActivation

# From activations, gradients and rows (as a reduction gets them) to tensors with the k cotangents in front
Collect = Callable[[Sequence[Tensor], Sequence[Tensor], Rows], Sequence[Tensor]]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """The graph of n perturbations, from the tensors that are differentiated to the scores.

    Attributes:
        index: (n,) their numbers.
        first: the source that the tensors begin with.
        tensors: the embeddings, or what the layers computed.
        recorded: which layers these are of; empty for the embeddings.
        forward: the forward.
        values: (n, G - start) the scores of the targets.
        head: (n, G - start, H) the gradient of each score where its hidden state enters the head.
        totals: (n, G - start) with backward rules, the score as a linear function of the logits, ⟨∂y/∂logits, logits⟩;
            with a reference, the change of the score from there.
        constants: with backward rules, the leaf of one that constants are multiplied by.
        rebuilding: how a backward goes through layers that keep no graph; None where all is on one graph.
    """

    index: Tensor
    first: int
    tensors: tuple[Tensor, ...]
    recorded: tuple[LayerActivation, ...]
    forward: Forward
    values: Tensor
    head: Tensor
    totals: Tensor | None = None
    constants: Tensor | None = None
    rebuilding: Rebuilding | None = None

    @property
    def head_constants(self) -> Tensor:
        """(n, G - start) the share of the totals that is of the head's own biases."""
        assert self.totals is not None
        return self.totals - (self.head * self.forward.hidden.detach()).sum(-1)

    def activations(self, example: Example, size: BlockSize) -> list[Tensor]:
        """The tensors without their graph, one a layer on the axis of all sources."""
        if self._of_weights:
            layers = layers_of(self.recorded, self.tensors)
            return [place_weights(weights_of(example, calls, None, self.head.device, size))[0] for calls, _ in layers]
        return self._by_layer(example, [tensor.detach() for tensor in self.tensors], add=False)

    def products(self, cotangents: Tensor, rows: Rows, activations: Sequence[Tensor], collect: Collect) -> list[Tensor]:
        """What `collect` makes of the gradients for k cotangents (k, n, G - start, H); last, those of the constants."""
        *tensors, share = self.gradients(cotangents)
        if self._of_weights:
            layers = layers_of(self.recorded, tensors)
            gradients = [place_weights(weights_of(rows.example, *each, rows.device, rows.size))[1] for each in layers]
        else:
            gradients = self._by_layer(rows.example, tensors, add=True)
        collected = list(collect(activations, gradients, rows))
        if self.constants is not None:  # a model without biases has none
            collected.append(cotangents.new_zeros(len(cotangents)) if share is None else share)
        return collected

    def gradients(self, cotangents: Tensor) -> list[Any]:
        """Those of the tensors (k, …) for k cotangents; last, that of the constants (k,), or None."""
        if self.rebuilding is not None:
            return self.rebuilding.gradients(self.forward.hidden, self.tensors, cotangents)
        inputs = self.tensors if self.constants is None else (*self.tensors, self.constants)
        gradients = torch.autograd.grad(
            self.forward.hidden,
            inputs,
            cotangents,
            is_grads_batched=True,
            retain_graph=True,
            allow_unused=self.constants is not None,
        )
        return [*gradients, *([None] if self.constants is None else [])]

    def layers(self, cotangents: Tensor, rows: Rows, reduce: LayerReduction) -> Tensor:
        """What is made of the gradients at one layer after another, from the top, (k, n, S), for k cotangents.

        Of a graph that is rebuilt, only one layer has its activations and gradients in memory.
        """
        totals = raised(self.head.new_zeros(*rows.groups.shape, len(rows.example.sources)))

        def visit(
            recorded: Sequence[LayerActivation], gradients: Sequence[Tensor], chunk: slice, numbers: Sequence[int]
        ) -> None:
            if recorded:
                totals[chunk] = reduce.after(totals[chunk], recorded, gradients, rows.part(chunk))

        if self.rebuilding is not None:
            self.rebuilding.walk(self.forward.hidden, (), cotangents, visit)
            return totals
        *gradients, _ = self.gradients(cotangents)
        for recorded, tensors in reversed(layers_of(self.recorded, gradients)):
            visit(recorded, tensors, slice(len(cotangents)), ())
        return totals

    @property
    def _of_weights(self) -> bool:
        return bool(self.recorded) and self.recorded[0].point is HookPoint.ATTENTION_WEIGHTS

    def _by_layer(self, example: Example, tensors: Sequence[Tensor], *, add: bool) -> list[Tensor]:
        if not self.recorded:
            return [raised(tensor) for tensor in tensors]
        return by_layer(example, self.recorded, tensors, self.head.device, add=add)


def head_gradients(forward: Forward, values: Tensor, *, totals: bool) -> tuple[Tensor, Tensor | None]:
    """The gradient of each target's score where its hidden state enters the head, (n, G, H); and the `Graph.totals`."""
    with foreign(InputError, "The score cannot be differentiated"):
        if not totals:
            return torch.cat(torch.autograd.grad(values.sum(), forward.leaves), dim=1), None
        *leaves, logits = torch.autograd.grad(values.sum(), (*forward.leaves, forward.logits))
    head = torch.cat(leaves, dim=1)
    return head, (logits * forward.logits.detach()).sum(-1).to(head)


def head_directions(example: Example, forward: Forward, head: Tensor, leaves: Sequence[Tensor]) -> Tensor:
    """The gradient of each score at the position that predicts it, (G, H), from `head` (1, G, H) down to the leaves.

    A position that predicts several targets, as with a contrast, has a backward for each.
    """
    places = torch.tensor(predictor_places(example), device=leaves[0].device)  # (G, 2) the branch, and the row in it
    earlier = (places[:, None] == places).all(-1).tril(-1).sum(1)  # how many targets before it share the position
    directions = leaves[0].new_zeros(len(places), leaves[0].shape[-1])
    for turn in range(int(earlier.max()) + 1):
        now = earlier == turn
        gradients = torch.autograd.grad(
            forward.hidden, leaves, head * now[:, None].to(head), retain_graph=True, allow_unused=True
        )
        for branch, gradient in enumerate(gradients):
            here = now & (places[:, 0] == branch)
            if gradient is not None:
                directions[here] = gradient[0, places[here, 1]].to(directions)
    return raised(directions)


def turns_of(wanted: Tensor) -> Tensor:
    """Which group each perturbation is differentiated for at each turn: (T, n), from (n, K) wanted.

    A backward treats perturbations apart, so one cotangent can ask each for another group. A perturbation that wants
    fewer groups than there are turns is asked for one that it does not want, and the answer is dropped.
    """
    order = (~wanted).to(torch.uint8).argsort(dim=1, stable=True)
    return order[:, : max(1, int(wanted.sum(1).max()))].T
