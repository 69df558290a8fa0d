"""Gradients inside the model: every target differentiated at chosen layers, after one forward.

1. Tap the layers. The graph begins at the lowest of them, and the embeddings carry none: nothing below is kept.
2. One forward serves every target, and one backward through the head gives each its cotangent (as in `engine.py`).
3. Batched vector-Jacobian products carry a chunk of groups at a time down to all tapped layers at once, and stop at
   the lowest. Each gradient is that of the whole score, along every path above its layer.
4. What a layer returned is brought on the axis of all sources: zero where it is about others (an encoder's layer says
   nothing of the decoder's inputs). Activations and gradients of a chunk are then contracted to (k, S) at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tokensal.engine.budget import in_chunks
from tokensal.engine.engine import Engine, Tally
from tokensal.sites import Site
from tokensal.types import Example, Part, Scores, Tap, Variants

# From the activation of each layer, (S, H) or (heads, S, S); its gradient for each of k groups, with k in front;
# and the last predictor of each group, (k,): to (k, S).
LayerContraction = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], Tensor]


def layer_gradients(
    engine: Engine,
    example: Example,
    site: Site,
    layers: Sequence[int],
    contract: LayerContraction,
    *,
    groups: Tensor | None = None,
) -> Scores:
    """Differentiate the score of each group with respect to what the layers return, and contract.

    Args:
        engine: the model, the score and the budget.
        example: the tokens.
        site: what is looked at in a layer.
        layers: indices of layers, ascending.
        contract: see `LayerContraction`; it is given at least float32.
        groups: (K, G) weights of the targets in each explained sum; by default each target by itself.

    Raises:
        UnsupportedModel: the model's layers cannot be read.
        NonFiniteScores: the model returned NaN or infinity.
        MemoryShortage: not even one group fits the memory.
    """
    groups = torch.eye(len(example.targets)) if groups is None else groups

    def whole(_: slice) -> Scores:
        return _differentiate(engine, example, site, layers, contract, groups)

    [found] = in_chunks(1, 1, whole)  # the forward is one piece: it fits, or there is a shortage of memory
    return found


def _differentiate(
    engine: Engine, example: Example, site: Site, layers: Sequence[int], contract: LayerContraction, groups: Tensor
) -> Scores:
    tally = Tally(engine.progress, len(groups))
    with engine.differentiable(), engine.adapter.tapped(site, layers) as taps:
        forward = engine.adapter.forward(example, Variants(engine.embed(example)[None]))
        values = engine.values(example, forward)  # (1, G)
        (head,) = torch.autograd.grad(values.sum(), forward.leaf)
        weights, last = groups.to(head), _last_predictors(example, groups).to(head.device)
        tensors, sources = [tap.tensor for tap in taps], len(example.sources)
        activations = _layers(taps, [tensor.detach()[0] for tensor in tensors], sources, head.device)

        def products(chunk: slice) -> Tensor:
            cotangents = weights[chunk, None, :, None] * head  # (k, 1, G, H)
            found = torch.autograd.grad(forward.hidden, tensors, cotangents, is_grads_batched=True, retain_graph=True)
            tally.add(len(cotangents))
            gradients = _layers(taps, [gradient[:, 0] for gradient in found], sources, head.device)
            return contract(activations, gradients, last[chunk])

        size = _groups_at_once(engine, example, tensors, len(groups))
        matrix = torch.cat(list(in_chunks(len(groups), size, products)))
        return Scores(matrix, values.detach()[0] @ groups.to(values).T)


def _last_predictors(example: Example, groups: Tensor) -> Tensor:
    """The last source that each group may look at: (K,)."""
    return torch.where(groups != 0, torch.tensor(example.predictors), 0).amax(-1)


def _layers(taps: Sequence[Tap], tensors: Sequence[Tensor], sources: int, device: torch.device) -> list[Tensor]:
    """For each layer, from the lowest, the tensors of its taps on the axis of all sources: (…, S, H) or (…, S, S)."""
    found: dict[int, Tensor] = {}
    for tap, tensor in zip(taps, tensors, strict=True):
        placed = _placed(tap, _at_hand(tensor, device), sources)
        found[tap.layer] = found[tap.layer] + placed if tap.layer in found else placed
    return [found[layer] for layer in sorted(found)]


def _placed(tap: Tap, tensor: Tensor, sources: int) -> Tensor:
    """A tensor about some sources, with zeros for the others."""
    rows = _margins(tap.rows, tensor.shape[-2], sources)
    columns = (0, 0) if tap.columns is None else _margins(tap.columns, tensor.shape[-1], sources)
    return torch.nn.functional.pad(tensor, (*columns, *rows)) if any((*columns, *rows)) else tensor


def _margins(part: Part, size: int, sources: int) -> tuple[int, int]:
    """How many sources stand before and behind a part of that size."""
    return (0, sources - size) if part is Part.FIRST else (sources - size, 0)


def _at_hand(tensor: Tensor, device: torch.device) -> Tensor:
    # layers may be spread over devices, and half precision loses too much in a sum
    return tensor.to(device, torch.promote_types(tensor.dtype, torch.float32))


def _groups_at_once(engine: Engine, example: Example, tensors: Sequence[Tensor], total: int) -> int:
    # the gradients at all taps are in hand together, on top of what a backward moves
    sources = len(example.sources)
    footprint = engine.adapter.footprint(sources)
    tapped = sum(tensor.nbytes for tensor in tensors) // sources
    footprint = replace(footprint, moved=footprint.moved + tapped)
    return engine.budget.cotangents(total, sources, footprint, engine.adapter.device)
