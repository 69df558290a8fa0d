"""The floor: the seconds that the matrix products alone must take, at the rate this machine has at this moment.

FLOPs of one forward and G vector-Jacobian products over S sources, a multiplication and an addition counted as two:

* a linear layer with N weights: 2·S·N forward, and 2·S·N for each vector-Jacobian product (weights are frozen, so
  that only the gradient of the input is needed);
* attention in one layer with A = heads × width of a head: Q·Kᵀ and P·V, 2·S²·A each forward; ∂P, ∂V, ∂Q and ∂K for
  each vector-Jacobian product. A causal model needs half of each square. Nothing is computed twice;
* the head with V·H weights: 2·G·V·H forward, and the same once for the backward of all targets together.

The rate is that of the products of all the linear layers of the body, with the model's own weights, into buffers
that exist already: for S rows as in the forward and for chunk × S rows as in tokensal's batched vector-Jacobian
products. The faster of the two counts, which makes the floor lower.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from common import Explained, Job, Run, Task, load_model, serve
from torch import nn

from tokensal.engine.budget import CPU_ROWS


def flops(model: nn.Module, sources: int, targets: int) -> float:
    """One forward and `targets` vector-Jacobian products, as counted above."""
    config = model.config
    weights = sum(layer.weight.numel() for layer in body(model))
    width = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    product = 2 * sources**2 * width / 2 * config.num_hidden_layers  # one causal attention product, all layers
    forward = 2 * sources * weights + 2 * product
    backward = 2 * sources * weights + 4 * product
    head = 2 * 2 * targets * config.vocab_size * config.hidden_size
    return forward + targets * backward + head


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
    layers = body(model)

    def run(task: Task) -> Explained:
        targets = len(task.target_ids)
        sources = len(task.prompt_ids) + targets - 1
        chunk = max(1, min(targets, CPU_ROWS // sources))
        rates = {rows: rate(layers, rows) for rows in (sources, chunk * sources)}
        best = max(rates, key=lambda rows: rates[rows])
        needed = flops(model, sources, targets)
        note = ", ".join(f"{value / 1e9:.0f} GFLOP/s at {rows} rows" for rows, value in rates.items())
        return Explained(targets, sources, True, f"{needed / 1e9:.0f} GFLOP; {note}", needed / rates[best])

    return run


if __name__ == "__main__":
    serve(prepare)
