"""Branches: an example that goes on in two ways is two examples, run one after the other on the same perturbations.

1. The trunk is what both read: all sources up to the first predictor.
2. Each continuation reads the trunk and its own sources, and has its own targets.
3. A perturbation alters sources of the trunk and of both; each continuation gets its part of it.
4. Their forwards are put beside each other: targets of the second follow those of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from tokensal.questions.masks import branch_sources
from tokensal.types import Branch, Example, Forward, Group, PerturbedInputs, Token


def with_contrast(example: Example, explained: range, others: Sequence[Token]) -> Example:
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
        branch=Branch(last + 1, len(targets)) if len(targets) + len(others) > 2 else None,
    )


def split_branches(example: Example) -> tuple[Example, Example]:
    """The two continuations as examples of their own."""
    branch, trunk = example.branch, example.predictors[0] + 1
    assert branch is not None
    back = branch.source - trunk  # how far the sources of the second one move up
    second = [place if place < trunk else place - back for place in example.predictors[branch.target :]]
    parts = (
        (slice(None, branch.target), example.predictors[: branch.target]),
        (slice(branch.target, None), tuple(second)),
    )
    one, other = (
        Example(
            text=example.text,
            sources=tuple(example.sources[index] for index in axis.tolist()),
            targets=example.targets[targets],
            predictors=tuple(predictors),
            sink=example.sink,
            encoder=example.encoder,
        )
        for axis, (targets, predictors) in zip(branch_sources(example), parts, strict=True)
    )
    return one, other


def split_inputs(example: Example, perturbed: PerturbedInputs) -> Iterator[PerturbedInputs]:
    """The part of each continuation in perturbations that begin in the trunk."""
    for axis in branch_sources(example):
        index = (axis[axis >= perturbed.first] - perturbed.first).to(perturbed.embeds.device)
        keep = None if perturbed.keep is None else perturbed.keep[:, index.to(perturbed.keep.device)]
        yield replace(perturbed, embeds=perturbed.embeds[:, index], keep=keep)


def join_forwards(forwards: Sequence[Forward]) -> Forward:
    """The forwards of the continuations as one."""
    return Forward(
        hidden=torch.cat([forward.hidden for forward in forwards], dim=1),
        leaves=tuple(leaf for forward in forwards for leaf in forward.leaves),
        logits=torch.cat([forward.logits for forward in forwards], dim=1),
    )
