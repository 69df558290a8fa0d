"""Slow twins: every method written again as plainly as can be. One fresh forward for each target, by token ids,
no shared graph, no batch, no cut at the head, no code of tokensal."""

from __future__ import annotations

import torch

SCORES = {
    "logit": lambda logits, target: logits[target],
    "logprob": lambda logits, target: torch.log_softmax(logits, -1)[target],
    "prob": lambda logits, target: torch.softmax(logits, -1)[target],
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
