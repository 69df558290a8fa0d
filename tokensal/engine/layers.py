"""Gradients inside the model: every target differentiated at chosen layers, after one forward.

1. Tap the layers. The graph begins at the lowest of them, and the embeddings carry none: nothing below is kept.
2. One forward serves every target, and one backward through the head gives each its cotangent (as in `engine.py`).
3. Batched vector-Jacobian products carry a chunk of groups at a time down to all recorded layers at once, and stop at
   the lowest. Each gradient is that of the whole score, along every path above its layer.
4. What a layer returned is brought on the axis of all sources: zero where it is about others (an encoder's layer says
   nothing of the decoder's inputs). Activations and gradients of a chunk are then reduced to (k, S) at once, and
   added up to (k, J).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tokensal.engine.budget import in_chunks
from tokensal.engine.engine import Engine, Tally, at_the_head
from tokensal.questions.masks import (
    attention_mask,
    branch_sources,
    group_weights,
    pool_to_units,
    predictor_mask,
    visible_sources,
)
from tokensal.types import Example, HookPoint, LayerActivation, Part, PerturbedInputs, Scores


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """Who looks where.

    Attributes:
        rows: (S, S) bool, which sources each source may look at.
        reach: (k, S) bool, which sources each of k groups sees.
        predicting: (k, S) bool, which sources predict it.
    """

    rows: Tensor
    reach: Tensor
    predicting: Tensor

    def __getitem__(self, groups: slice) -> Masks:
        return Masks(self.rows, self.reach[groups], self.predicting[groups])


# From the activation of each layer, (S, H) or (heads, S, S); its gradient for each of k groups, with k in front;
# and what those see: to (k, S).
LayerReduction = Callable[[Sequence[Tensor], Sequence[Tensor], Masks], Tensor]


def layer_gradients(
    engine: Engine, example: Example, hook_point: HookPoint, layers: Sequence[int], reduce: LayerReduction
) -> Scores:
    """Differentiate the score of each group with respect to what the layers return, and reduce.

    Args:
        engine: the model, the score and the budget.
        example: the tokens.
        site: what is looked at in a layer.
        layers: indices of layers, ascending.
        reduce: see `LayerContraction`; it is given at least float32.

    Raises:
        UnsupportedModel: the model's layers cannot be read.
        NonFiniteScores: the model returned NaN or infinity.
        MemoryShortage: not even one group fits the memory.
    """

    def whole(_: slice) -> Scores:
        return _differentiate(engine, example, hook_point, layers, reduce)

    [found] = in_chunks(1, 1, whole)  # the forward is one piece: it fits, or there is a shortage of memory
    return found


def _differentiate(
    engine: Engine, example: Example, hook_point: HookPoint, layers: Sequence[int], reduce: LayerReduction
) -> Scores:
    tally = Tally(engine.progress, len(example.groups))
    with engine.differentiable(), engine.adapter.recorded(hook_point, layers) as activations:
        _check(engine, example, layers)
        forward = engine.adapter.forward(example, PerturbedInputs(engine.embed(example)[None]))
        values = engine.values(example, forward)  # (1, G)
        head = at_the_head(forward, values)
        groups, tensors = group_weights(example).to(head), [activation.tensor for activation in activations]
        masks = Masks(
            *(
                part.to(head.device)
                for part in (attention_mask(example), visible_sources(example), predictor_mask(example))
            )
        )
        values_at_layers = _layers(
            example, activations, [tensor.detach()[0] for tensor in tensors], head.device, _either
        )

        def products(chunk: slice) -> Tensor:
            cotangents = groups[chunk, None, :, None] * head  # (k, 1, G, H)
            found = torch.autograd.grad(forward.hidden, tensors, cotangents, is_grads_batched=True, retain_graph=True)
            tally.add(len(cotangents))
            gradients = _layers(example, activations, [gradient[:, 0] for gradient in found], head.device, torch.add)
            return reduce(values_at_layers, gradients, masks[chunk])

        size = _groups_at_once(engine, example, tensors, len(groups))
        matrix = torch.cat(list(in_chunks(len(groups), size, products)))
        return Scores(pool_to_units(matrix, example), values.detach()[0] @ groups.to(values).T)


def _check(engine: Engine, example: Example, layers: Sequence[int]) -> None:
    """See that the graph fits, which begins at the lowest of the layers."""
    footprint, count = engine.adapter.footprint(len(example.sources)), engine.adapter.layer_count
    kept = footprint.kept * (count - min(layers)) // count
    engine.budget.check(len(example.sources), replace(footprint, kept=kept), engine.adapter.device)


def _layers(
    example: Example,
    activations: Sequence[LayerActivation],
    tensors: Sequence[Tensor],
    device: torch.device,
    together: Callable[[Tensor, Tensor], Tensor],
) -> list[Tensor]:
    """For each layer, from the lowest, the tensors of its hooks on the axis of all sources: (…, S, H) or (…, S, S).

    Where an example branches, the hooks of one continuation follow those of the other.
    """
    axes = branch_sources(example)
    found: dict[int, Tensor] = {}
    for index, (activation, tensor) in enumerate(zip(activations, tensors, strict=True)):
        placed = _placed(example, activation, _at_hand(tensor, device), axes[index * len(axes) // len(activations)])
        found[activation.layer] = together(found[activation.layer], placed) if activation.layer in found else placed
    return [found[layer] for layer in sorted(found)]


def _either(one: Tensor, other: Tensor) -> Tensor:
    """Activations of parts: they are apart, or, before a branch, the same."""
    return torch.where(one != 0, one, other)


def _placed(example: Example, activation: LayerActivation, tensor: Tensor, axis: Tensor) -> Tensor:
    """A tensor about some sources, with zeros for the others."""
    sources = len(example.sources)
    for dimension, part in ((-2, activation.rows), (-1, activation.columns)):
        if part is not None and tensor.shape[dimension] < sources:
            places = axis[: example.encoder] if part is Part.FIRST else axis[example.encoder :]
            shape = [*tensor.shape]
            shape[dimension] = sources
            tensor = tensor.new_zeros(shape).index_copy(dimension, places.to(tensor.device), tensor)
    return tensor


def _at_hand(tensor: Tensor, device: torch.device) -> Tensor:
    # layers may be spread over devices, and half precision loses too much in a sum
    return tensor.to(device, torch.promote_types(tensor.dtype, torch.float32))


def _groups_at_once(engine: Engine, example: Example, tensors: Sequence[Tensor], total: int) -> int:
    # the gradients at all hooks are in hand together, on top of what a backward moves
    sources = len(example.sources)
    footprint = engine.adapter.footprint(sources)
    recorded = sum(tensor.nbytes for tensor in tensors) // sources
    footprint = replace(footprint, moved=footprint.moved + recorded)
    return engine.budget.cotangents(total, sources, footprint, engine.adapter.device)
