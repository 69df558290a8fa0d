"""Slow twins of the methods that take attentions apart: plain modules by name, loops over heads and positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Seen:
    """One layer of a plain model that has read some ids.

    Attributes:
        before: (S, H) what the layer reads.
        weights: (heads, S, S).
        values: (heads, S, width).
        projections: (heads, width, H).
        beside: (S, H) of an MLP that runs beside the attention; None where it comes behind.
        after: (S, H) the sum.
    """

    before: Tensor
    weights: Tensor
    values: Tensor
    projections: Tensor
    beside: Tensor | None
    after: Tensor


HEADS = 4


def seen_layers(network: nn.Module, ids: list[int]) -> tuple[list[Seen], Tensor, Tensor]:
    """The layers, what the last norm reads (S, H), and the logits (S, V)."""
    kind = type(network).__name__
    stack = network.base_model
    blocks = stack.h if "GPT2" in kind else stack.layers
    reads, returns = {}, {}

    def watch(module, arguments, named, output):
        reads[module] = arguments[0] if arguments else named.get("hidden_states")
        returns[module] = output[0] if isinstance(output, tuple) else output

    inside = [module for module in network.modules() if module is not network]
    hooks = [module.register_forward_hook(watch, with_kwargs=True) for module in inside]
    with torch.no_grad():
        output = network(input_ids=torch.tensor([ids]), output_attentions=True, use_cache=False)
    for hook in hooks:
        hook.remove()
    layers = []
    for block, weights in zip(blocks, output.attentions, strict=True):
        before, beside = reads[block][0], None
        if "GPT2" in kind:
            width = before.shape[1] // HEADS
            values = returns[block.attn.c_attn][0][:, -before.shape[1] :].view(-1, HEADS, width)
            projection, after = block.attn.c_proj.weight, reads[block.ln_2][0]
        elif "NeoX" in kind:
            width = before.shape[1] // HEADS
            values = returns[block.attention.query_key_value][0].view(-1, HEADS, 3 * width)[..., 2 * width :]
            projection = block.attention.dense.weight.T
            beside, after = returns[block.mlp][0], returns[block][0]
        else:
            values = returns[block.self_attn.v_proj][0].view(len(ids), 2, -1).repeat_interleave(HEADS // 2, dim=1)
            projection, after = block.self_attn.o_proj.weight.T, reads[block.post_attention_layernorm][0]
        layers.append(
            Seen(
                before,
                weights[0],
                values.transpose(0, 1),
                projection.detach().reshape(HEADS, values.shape[-1], -1),
                beside,
                after,
            )
        )
    return layers, reads[last_norm(network)][0], output.logits[0]


def last_norm(network: nn.Module) -> nn.Module:
    stack = network.base_model
    return next(getattr(stack, name) for name in ("norm", "ln_f", "final_layer_norm") if hasattr(stack, name))


def proximity(part: Tensor, total: Tensor) -> float:
    return max(0.0, float(total.abs().sum() - (total - part).abs().sum()))


def vector(layer: Seen, head: int, row: int, column: int) -> Tensor:
    return layer.weights[head, row, column] * (layer.values[head, column] @ layer.projections[head])


def information_flow(network: nn.Module, ids: list[int], *, together: bool = False, threshold: float = 0) -> Tensor:
    """The row (S,) of the last position."""
    layers, _, _ = seen_layers(network, ids)
    relevance = torch.eye(len(ids), dtype=torch.float64)
    for layer in layers:
        mixing = torch.zeros(len(ids), len(ids), dtype=torch.float64)
        for row in range(len(ids)):
            shares = [(row, proximity(layer.before[row], layer.after[row]))]
            if layer.beside is not None:
                shares.append((row, proximity(layer.beside[row], layer.after[row])))
            for column in range(row + 1):
                vectors = [vector(layer, head, row, column) for head in range(HEADS)]
                parts = [sum(vectors)] if together else vectors
                shares += [(column, proximity(part, layer.after[row])) for part in parts]
            total = sum(share for _, share in shares)
            kept = [(column, share / total) for column, share in shares if share / total > threshold]
            for column, share in kept:
                mixing[row, column] += share / sum(share for _, share in kept)
        relevance = mixing @ relevance
    return relevance[-1]


def alti_logit(network: nn.Module, ids: list[int], target: int, score: str) -> tuple[Tensor, float]:
    """The scores (S,) of a target after these ids, and what is not traced of it: added up module by module."""
    layers, state, logits = seen_layers(network, ids)
    slopes = -logits[-1].softmax(-1) if score == "logprob" else torch.zeros_like(logits[-1])
    slopes[target] += 1
    norm, head = last_norm(network), network.get_output_embeddings()
    direction = (slopes @ head.weight.detach()) * norm.weight.detach()
    if isinstance(norm, nn.LayerNorm):
        direction = direction / (state[-1].var(unbiased=False) + norm.eps).sqrt()
        direction = direction - direction.mean()
        constant = float(slopes @ head.weight.detach() @ norm.bias.detach())
    else:
        direction = direction / (state[-1].pow(2).mean() + norm.variance_epsilon).sqrt()
        constant = 0.0
    below, scores = torch.eye(len(ids), dtype=torch.float64), torch.zeros(len(ids), dtype=torch.float64)
    streams = [*(layer.before for layer in layers[1:]), state]
    untraced = constant + float(direction @ layers[0].before[-1])
    for layer, stream in zip(layers, streams, strict=True):
        mixing = torch.zeros(len(ids), len(ids), dtype=torch.float64)
        for row in range(len(ids)):
            for column in range(row + 1):
                part = sum(vector(layer, head, row, column) for head in range(HEADS))
                if row == len(ids) - 1:
                    scores += float(direction @ part) * below[column]
                    untraced -= float(direction @ part)
                if row == column:
                    part = part + layer.before[row] + (0 if layer.beside is None else layer.beside[row])
                mixing[row, column] = proximity(part, layer.after[row])
        below = (mixing / mixing.sum(1, keepdim=True)) @ below
        untraced += float(direction @ (stream - layer.before)[-1])
    return scores, untraced
