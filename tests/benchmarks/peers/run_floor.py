"""The floor: the seconds that the matrix products alone must take, at the rate this machine has at this moment.

FLOPs over S sources, a multiplication and an addition counted as two:

* a linear layer with N weights: 2·N for each row;
* attention in one layer with A = heads × width of a head: 2·A for Q·Kᵀ and as much for P·V, for each row and key that
  it may look at. A causal model needs half of a square;
* the head with V·H weights: 2·V·H for each target.

`gradients`: one forward and G vector-Jacobian products. Such a product takes as much as a forward in linear layers
(weights are frozen, so that only the gradient of the input is needed), and twice as much in attention (∂P, ∂V, ∂Q and
∂K). The head's backward is done once for all targets together. Nothing is computed twice.

`removals`: one forward, and one more without each source. Everything before the removed source is shared: only the
tokens from there on are rows, which look at all keys before them, and only targets that are predicted from there on
go through the head.

The rate is that of the products of all the linear layers of the body, with the model's own weights, into buffers
that exist already: for S rows as in one forward and for as many times S rows as tokensal does at once. The faster of
the two counts, which makes the floor lower.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from common import Explained, Job, Run, Task, load_model, serve
from torch import nn

from tokensal.engine.budget import CPU_ROWS


@dataclass(frozen=True)
class Costs:
    """FLOPs of a model's parts for one row."""

    body: float  # every linear layer but the head
    key: float  # attention to one key, in all layers
    head: float


def costs(model: nn.Module) -> Costs:
    config = model.config
    width = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    weights = sum(layer.weight.numel() for layer in body(model))
    return Costs(2 * weights, 4 * width * config.num_hidden_layers, 2 * config.vocab_size * config.hidden_size)


def gradients(cost: Costs, sources: int, targets: int) -> float:
    """One forward and a vector-Jacobian product for each target, as counted above."""
    keys = sources**2 / 2
    forward = sources * cost.body + keys * cost.key
    backward = sources * cost.body + 2 * keys * cost.key
    return forward + targets * backward + 2 * targets * cost.head


def removals(cost: Costs, sources: int, targets: int) -> float:
    """One forward, and one more without each source, as counted above."""
    first = sources - targets  # the source that predicts the first target
    needed = 0.0
    for start in (0, *range(sources)):
        rows, keys = sources - start, (sources**2 - start**2) / 2
        needed += rows * cost.body + keys * cost.key + (targets - max(0, start - first)) * cost.head
    return needed


def body(model: nn.Module) -> list[nn.Linear]:
    """Every linear layer but the head."""
    head = model.get_output_embeddings()
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer is not head]


def rate(layers: list[nn.Linear], rows: int) -> float:
    """FLOP/s of these layers' matrix products, each once, for so many rows."""
    inputs = {layer.in_features: torch.randn(rows, layer.in_features) for layer in layers}
    outputs = {layer.out_features: torch.empty(rows, layer.out_features) for layer in layers}
    started = time.perf_counter()
    for layer in layers:
        torch.mm(inputs[layer.in_features], layer.weight.T, out=outputs[layer.out_features])
    seconds = time.perf_counter() - started
    return sum(2 * rows * layer.weight.numel() for layer in layers) / seconds


def prepare(job: Job, tokenizer: Any) -> Run:
    model = load_model(job).requires_grad_(False)
    layers, cost = body(model), costs(model)

    def run(task: Task) -> Explained:
        targets = len(task.target_ids)
        sources = len(task.prompt_ids) + targets - 1
        needed, most = {
            "gradients": (gradients(cost, sources, targets), targets),
            "removals": (removals(cost, sources, targets), sources),
        }[job.method]
        chunk = max(1, min(most, CPU_ROWS // sources))
        rates = {rows: rate(layers, rows) for rows in (sources, chunk * sources)}
        best = max(rates, key=lambda rows: rates[rows])
        note = ", ".join(f"{value / 1e9:.0f} GFLOP/s at {rows} rows" for rows, value in rates.items())
        return Explained(targets, sources, True, f"{needed / 1e9:.0f} GFLOP; {note}", needed / rates[best])

    return run


if __name__ == "__main__":
    serve(prepare)
