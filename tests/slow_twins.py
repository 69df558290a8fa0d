"""Slow twins: every method written again as plainly as can be. One fresh forward for each target, by token ids,
no shared graph, no batch, no cut at the head, no code of tokensal."""

from __future__ import annotations

import torch

SCORES = {
    "logit": lambda logits, target: logits[target],
    "logprob": lambda logits, target: torch.log_softmax(logits, -1)[target],
    "prob": lambda logits, target: torch.softmax(logits, -1)[target],
    "entropy": lambda logits, target: -(torch.softmax(logits, -1) * torch.log_softmax(logits, -1)).sum(),
}

METHODS = {
    ("gradient", "l2"): lambda gradient, embedding: gradient.pow(2).sum().sqrt(),
    ("gradient", "l1"): lambda gradient, embedding: gradient.abs().sum(),
    ("gradient", "max"): lambda gradient, embedding: gradient.abs().max(),
    ("input_x_gradient", None): lambda gradient, embedding: (gradient * embedding).sum(),
}


def attribution(model, prompt, continuation, method, score):
    """Scores (G, S) of the method for each token of the continuation; NaN after the token that predicts it."""
    ids = [*prompt, *continuation]
    table = torch.full((len(continuation), len(ids) - 1), float("nan"), dtype=torch.float64)
    for row, target in enumerate(continuation):
        before = ids[: len(prompt) + row]
        for source, (gradient, embedding) in enumerate(zip(*gradients(model, before, target, score), strict=True)):
            table[row, source] = METHODS[method](gradient, embedding)
    return table


def gradients(model, before, target, score):
    """The gradient of the score of `target` after the tokens `before`, and the embeddings: two tensors (S, D)."""
    embeds = model.get_input_embeddings()(torch.tensor([before])).detach().requires_grad_()
    logits = model(inputs_embeds=embeds, use_cache=False).logits[0, -1]
    (gradient,) = torch.autograd.grad(SCORES[score](logits, target), embeds)
    return gradient[0], embeds.detach()[0]


def value(model, before, target, score):
    """The score of `target` after the tokens `before`, read off by ids."""
    with torch.no_grad():
        return SCORES[score](model(input_ids=torch.tensor([before]), use_cache=False).logits[0, -1], target)


def occlusion(model, prompt, continuation, spans, replacement, score):
    """The drop of each target's score (G, R) when a span (start, stop) of the tokens before it is taken away.

    `replacement` is "mask", "delete", or the id of the token that takes the place of each; NaN where the whole span
    comes later than what predicts the target.
    """
    ids = [*prompt, *continuation]
    table = torch.full((len(continuation), len(spans)), float("nan"), dtype=torch.float64)
    for row, target in enumerate(continuation):
        before = ids[: len(prompt) + row]
        for column, (start, stop) in enumerate(spans):
            if start < len(before):
                left = value(model, before, target, score) - without(
                    model, before, range(start, min(stop, len(before))), replacement, target, score
                )
                table[row, column] = left
    return table


def without(model, before, span, replacement, target, score):
    """The score of `target` after the tokens `before`, with those of `span` taken away."""
    if replacement == "delete":
        return value(model, [id for place, id in enumerate(before) if place not in span], target, score)
    if replacement != "mask":
        return value(model, [replacement if place in span else id for place, id in enumerate(before)], target, score)
    mask = torch.tensor([[int(place not in span) for place in range(len(before))]])
    places = torch.arange(len(before))[None]  # as they were: some models would else count only the tokens that are seen
    with torch.no_grad():
        output = model(input_ids=torch.tensor([before]), attention_mask=mask, use_cache=False, position_ids=places)
        return SCORES[score](output.logits[0, -1], target)


def integrated_gradients(model, prompt, continuation, baseline, kept, nodes, weights, score):
    """Contributions (G, S) on the line from `baseline` (D,), with the sources in `kept` unaltered, by a given rule."""
    ids = [*prompt, *continuation]
    table = torch.full((len(continuation), len(ids) - 1), float("nan"), dtype=torch.float64)
    for row, target in enumerate(continuation):
        before = ids[: len(prompt) + row]
        end = model.get_input_embeddings()(torch.tensor([before])).detach()
        start = torch.stack([end[0, place] if place in kept else baseline for place in range(len(before))])[None]
        total = torch.zeros_like(end)
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
            point = (start + node * (end - start)).requires_grad_()
            logits = model(inputs_embeds=point, use_cache=False).logits[0, -1]
            total += weight * torch.autograd.grad(SCORES[score](logits, target), point)[0]
        table[row, : len(before)] = (total * (end - start))[0].sum(-1)
    return table
