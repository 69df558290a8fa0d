"""Slow twins for encoder–decoder models: one fresh forward for each target, by token ids, no code of tokensal.

Sources are the ids that the encoder reads and then those that the decoder reads, of which the first is its start token.
"""

from __future__ import annotations

import torch
from slow_twins import METHODS, SCORES


def logits(model, prompt, before, masks=(None, None)):
    """The logits (V,) after the decoder's inputs `before`; masks are lists of 0 and 1 for both."""
    seen, seen_before = (None if mask is None else torch.tensor([mask]) for mask in masks)
    return model(
        input_ids=torch.tensor([prompt]),
        decoder_input_ids=torch.tensor([before]),
        attention_mask=seen,
        decoder_attention_mask=seen_before,
        use_cache=False,
    ).logits[0, -1]


def value(model, prompt, before, target, score, masks=(None, None)):
    """The score of `target` after the decoder's inputs `before`."""
    with torch.no_grad():
        return SCORES[score](logits(model, prompt, before, masks), target)


def each(prompt, answer):
    """(row, what the decoder has read, target) for each target; `answer` begins with the start token."""
    return [(row, answer[: row + 1], answer[row + 1]) for row in range(len(answer) - 1)]


def empty(prompt, answer):
    return torch.full((len(answer) - 1, len(prompt) + len(answer) - 1), float("nan"), dtype=torch.float64)


def gradients(model, prompt, before, target, score, alter=None):
    """The gradient of the score at what both tables return, and that: two tensors (S, D).

    `alter` changes what the tables return, (S, D), before it goes on.
    """
    found, done = [], 0

    def leaf(module, inputs, output):
        nonlocal done
        output = output.detach()
        if alter is not None:
            output = alter(output[0], done)[None]
        done += output.shape[1]
        found.append(output.requires_grad_())
        return found[-1]

    tables = {model.get_encoder().get_input_embeddings(), model.get_decoder().get_input_embeddings()}
    hooks = [table.register_forward_hook(leaf) for table in tables]
    result = SCORES[score](logits(model, prompt, before), target)
    for hook in hooks:
        hook.remove()
    assert len(found) == 2
    gradient = torch.autograd.grad(result, found)
    return torch.cat([part[0] for part in gradient]), torch.cat([part.detach()[0] for part in found])


def attribution(model, prompt, answer, method, score):
    """Scores (G, S) of the method for each target; NaN after what predicts it."""
    table = empty(prompt, answer)
    for row, before, target in each(prompt, answer):
        pairs = zip(*gradients(model, prompt, before, target, score), strict=True)
        for source, (gradient, embedding) in enumerate(pairs):
            table[row, source] = METHODS[method](gradient, embedding)
    return table


def occlusion(model, prompt, answer, spans, replacement, score):
    """The drop (G, R) of each target when the sources of a span are masked, deleted, or replaced by a token's id."""
    table = torch.full((len(answer) - 1, len(spans)), float("nan"), dtype=torch.float64)
    for row, before, target in each(prompt, answer):
        for column, (start, stop) in enumerate(spans):
            if start < len(prompt) + len(before):
                whole = value(model, prompt, before, target, score)
                table[row, column] = whole - without(
                    model, prompt, before, range(start, stop), replacement, target, score
                )
    return table


def without(model, prompt, before, span, replacement, target, score):
    """The score of `target`, with the sources of `span` taken away."""
    size = len(prompt)
    if replacement == "delete":  # the start token stays
        left = [id for place, id in enumerate(prompt) if place not in span]
        left_before = [id for place, id in enumerate(before) if place == 0 or size + place not in span]
        return value(model, left, left_before, target, score)
    if replacement != "mask":
        other = [replacement if place in span else id for place, id in enumerate(prompt)]
        other_before = [replacement if size + place in span else id for place, id in enumerate(before)]
        return value(model, other, other_before, target, score)
    seen = [int(place not in span) for place in range(size)]
    seen_before = [int(size + place not in span) for place in range(len(before))]
    if not any(seen_before):  # with nothing else to look at, what predicts looks at itself
        before, seen_before = before[-1:], [1]
        assert len(span) == 1, "only the start token by itself stands where it stood"
    return value(model, prompt, before, target, score, (seen, seen_before))


def integrated_gradients(model, prompt, answer, baseline, kept, nodes, weights, score):
    """Contributions (G, S) on the line from `baseline` (D,), with the sources in `kept` unaltered, by a given rule."""
    table = empty(prompt, answer)
    for row, before, target in each(prompt, answer):
        total = 0.0
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):

            def towards(embeds, done, node=node):
                steps = [1.0 if done + place in kept else node for place in range(len(embeds))]
                steps = torch.tensor(steps, dtype=embeds.dtype)[:, None]
                return baseline + steps * (embeds - baseline)

            total = total + weight * gradients(model, prompt, before, target, score, towards)[0]
        whole = gradients(model, prompt, before, target, score)[1]
        changed = torch.tensor([place not in kept for place in range(len(whole))])[:, None]
        table[row, : len(whole)] = (total * (whole - baseline) * changed).sum(-1)
    return table
