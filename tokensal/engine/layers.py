"""Gradients inside the model: every target differentiated at chosen layers, after one forward.

1. Tap the layers. The graph begins at the lowest of them, and the embeddings carry none: nothing below is kept.
2. One forward serves every target, and one backward through the head gives each its cotangent (as in `engine.py`).
3. Batched vector-Jacobian products carry a chunk of groups at a time down to all tapped layers at once, and stop at
   the lowest. Each gradient is that of the whole score, along every path above its layer.
4. Activations and gradients of a chunk are contracted to (k, S) at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tokensal.engine.budget import in_chunks
from tokensal.engine.engine import Engine, Tally
from tokensal.sites import Site
from tokensal.types import Example, Scores, Variants

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
        activations = [_at_hand(tap.detach()[0], head.device) for tap in taps]

        def products(chunk: slice) -> Tensor:
            cotangents = weights[chunk, None, :, None] * head  # (k, 1, G, H)
            gradients = torch.autograd.grad(forward.hidden, taps, cotangents, is_grads_batched=True, retain_graph=True)
            tally.add(len(cotangents))
            return contract(activations, [_at_hand(one[:, 0], head.device) for one in gradients], last[chunk])

        size = _groups_at_once(engine, example, taps, len(groups))
        matrix = torch.cat(list(in_chunks(len(groups), size, products)))
        return Scores(matrix, values.detach()[0] @ groups.to(values).T)


def _last_predictors(example: Example, groups: Tensor) -> Tensor:
    """The last source that each group may look at: (K,)."""
    return torch.where(groups != 0, torch.tensor(example.predictors), 0).amax(-1)


def _at_hand(tensor: Tensor, device: torch.device) -> Tensor:
    # layers may be spread over devices, and half precision loses too much in a sum
    return tensor.to(device, torch.promote_types(tensor.dtype, torch.float32))


def _groups_at_once(engine: Engine, example: Example, taps: Sequence[Tensor], total: int) -> int:
    # the gradients at all taps are in hand together, on top of what a backward moves
    sources = len(example.sources)
    footprint = engine.adapter.footprint(sources)
    tapped = sum(tap.nbytes for tap in taps) // sources
    footprint = replace(footprint, moved=footprint.moved + tapped)
    return engine.budget.cotangents(total, sources, footprint, engine.adapter.device)
