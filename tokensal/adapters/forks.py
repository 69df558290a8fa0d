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
from tokensal.types import Example, Forward, Variants


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
