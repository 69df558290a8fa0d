"""Contrasts: an example with two continuations is run as two examples, one after the other.

1. Both continuations read the shared sources: all those up to the first predictor.
2. Each continuation also reads its own sources, and has its own targets.
3. A perturbation alters shared sources and those of both continuations; each continuation gets its part of it.
4. Their forwards are joined: the targets of the second continuation follow those of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.questions.masks import branch_sources
from tokensal.transfers import sent
from tokensal.types import Branch, Example, Forward, Group, Token


def with_contrast(example: Example, explained: range, foils: Sequence[Token]) -> Example:
    """The example that continues with consecutive targets of its own, or with the foils in their place.

    With as many foils as targets, each target is a group against the foil at its position; else all are one group
    against all.
    """
    first, last = example.predictors[explained.start], example.predictors[explained.stop - 1]
    targets = example.targets[explained.start : explained.stop]
    target_indices = range(len(targets))
    foil_indices = range(len(targets), len(targets) + len(foils))
    if len(targets) == len(foils):
        groups = tuple(Group((target,), (foil,)) for target, foil in zip(target_indices, foil_indices, strict=True))
    else:
        groups = (Group(tuple(target_indices), tuple(foil_indices)),)
    shift = len(example.text) + 1 - foils[0].start
    shifted = tuple(replace(token, start=token.start + shift, stop=token.stop + shift) for token in foils)
    return Example(
        text=f"{example.text}\n{''.join(token.text for token in foils)}",
        sources=(*example.sources[: last + 1], *shifted[:-1]),
        targets=(*targets, *shifted),
        predictors=(*example.predictors[explained.start : explained.stop], first, *range(last + 1, last + len(foils))),
        sink=example.sink,
        encoder=example.encoder,
        groups=groups,
        # one target and one foil have the same predictor, and no source of their own
        branch=Branch(last + 1, len(targets)) if len(targets) + len(foils) > 2 else None,
        slots=example.slots,
    )


def split_branches(example: Example) -> tuple[Example, Example]:
    """The two continuations as examples of their own."""
    branch, shared = example.branch, example.predictors[0] + 1
    assert branch is not None
    shift = branch.source - shared  # the second continuation's own sources follow the shared ones directly
    foil_predictors = example.predictors[branch.target :]
    parts = (
        (slice(None, branch.target), example.predictors[: branch.target]),
        (
            slice(branch.target, None),
            tuple(source if source < shared else source - shift for source in foil_predictors),
        ),
    )
    first, second = (
        Example(
            text=example.text,
            sources=tuple(example.sources[index] for index in axis.tolist()),
            targets=example.targets[targets],
            predictors=predictors,
            sink=example.sink,
            encoder=example.encoder,
        )
        for axis, (targets, predictors) in zip(branch_sources(example), parts, strict=True)
    )
    return first, second


def split_inputs(example: Example, perturbed: PerturbedInputs) -> Iterator[PerturbedInputs]:
    """Each continuation's part of perturbations whose first altered source is a shared one."""
    for axis in branch_sources(example):
        index = axis[axis >= perturbed.first] - perturbed.first
        keep = None if perturbed.keep is None else perturbed.keep[:, index.to(perturbed.keep.device)]
        yield replace(perturbed, embeds=perturbed.embeds[:, sent(index, perturbed.embeds.device)], keep=keep)


def join_forwards(forwards: Sequence[Forward]) -> Forward:
    """The forwards of both continuations as one."""
    return Forward(
        hidden=torch.cat([forward.hidden for forward in forwards], dim=1),
        leaves=tuple(leaf for forward in forwards for leaf in forward.leaves),
        logits=torch.cat([forward.logits for forward in forwards], dim=1),
    )
