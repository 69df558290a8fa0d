"""Forks: an example that goes on in two ways is two examples, run one after the other on the same variants.

1. The trunk is what both read: all sources up to the first predictor.
2. Each continuation reads the trunk and its own sources, and has its own targets.
3. A variant alters sources of the trunk and of both; each continuation gets its part of it.
4. Their forwards are put beside each other: targets of the second follow those of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from tokensal.asking import continuations
from tokensal.types import Example, Fork, Forward, Group, Token, Variants


def forked(example: Example, explained: range, others: Sequence[Token]) -> Example:
    """The example that goes on with some of its targets, one after another, or with other tokens in their place.

    Where both are as many, each target is a group against the token at its place; else all against all.
    """
    first, last = example.predictors[explained.start], example.predictors[explained.stop - 1]
    targets = example.targets[explained.start : explained.stop]
    one, other = range(len(targets)), range(len(targets), len(targets) + len(others))
    pairs = [((target,), (foil,)) for target, foil in zip(one, other, strict=False)]
    apart = len(example.text) + 1 - others[0].start
    moved = tuple(replace(token, start=token.start + apart, stop=token.stop + apart) for token in others)
    return Example(
        text=f"{example.text}\n{''.join(token.text for token in others)}",
        sources=(*example.sources[: last + 1], *moved[:-1]),
        targets=(*targets, *moved),
        predictors=(*example.predictors[explained.start : explained.stop], first, *range(last + 1, last + len(others))),
        sink=example.sink,
        encoder=example.encoder,
        groups=tuple(Group(*pair) for pair in (pairs if len(one) == len(other) else [(tuple(one), tuple(other))])),
        # two single tokens are two questions to one place, and nothing follows either
        fork=Fork(last + 1, len(targets)) if len(targets) + len(others) > 2 else None,
    )


def branches(example: Example) -> tuple[Example, Example]:
    """The two continuations as examples of their own."""
    fork, trunk = example.fork, example.predictors[0] + 1
    assert fork is not None
    back = fork.source - trunk  # how far the sources of the second one move up
    second = [place if place < trunk else place - back for place in example.predictors[fork.target :]]
    parts = (slice(None, fork.target), example.predictors[: fork.target]), (slice(fork.target, None), tuple(second))
    one, other = (
        Example(
            text=example.text,
            sources=tuple(example.sources[index] for index in axis.tolist()),
            targets=example.targets[targets],
            predictors=tuple(predictors),
            sink=example.sink,
            encoder=example.encoder,
        )
        for axis, (targets, predictors) in zip(continuations(example), parts, strict=True)
    )
    return one, other


def parted(example: Example, variants: Variants) -> Iterator[Variants]:
    """The part of each continuation in variants that begin in the trunk."""
    for axis in continuations(example):
        index = (axis[axis >= variants.first] - variants.first).to(variants.embeds.device)
        keep = None if variants.keep is None else variants.keep[:, index.to(variants.keep.device)]
        yield replace(variants, embeds=variants.embeds[:, index], keep=keep)


def joined(forwards: Sequence[Forward]) -> Forward:
    """The forwards of the continuations as one."""
    return Forward(
        hidden=torch.cat([forward.hidden for forward in forwards], dim=1),
        leaves=tuple(leaf for forward in forwards for leaf in forward.leaves),
        logits=torch.cat([forward.logits for forward in forwards], dim=1),
    )
