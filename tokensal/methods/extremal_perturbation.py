"""Extremal perturbations: the few units that keep the score as high as possible, found by gradients.

1. A mask m has a number within [0, 1] for each unit: the embeddings of its sources are m·x + (1 − m)·b. There is one
   mask for each target and area; its numbers add up to the area, a share of the units that the target sees.
2. The gradient of the score for the mask is ⟨∂y/∂x, x − b⟩ at the masked input. Divide it by its largest magnitude, and
   keep a running mean of it.
3. The mask is the logistic function of the running mean, less the threshold at which the area is right. It becomes
   sharper from step to step, so that in the end hardly any unit is kept by halves. Neighbours are smoothed.
4. The scores are the means of the masks over the areas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.engine.reductions import Rows
from tokensal.errors import InputError
from tokensal.perturbations.blends import Blends
from tokensal.perturbations.protection import check_keep, protected_sources
from tokensal.perturbations.removals import check_replacement
from tokensal.questions.masks import unit_membership, visible_units
from tokensal.types import Diagnostic, Example, Scores
from tokensal.values import described, plain, read_number, read_whole, store

SHARPNESS = 4.0, 100.0  # of the logistic function, in the first step and at the end
MEMORY = 0.8  # of the running mean of gradients
BISECTIONS = 60  # for a threshold
MOST_STEPS = 10_000


@dataclass(frozen=True, kw_only=True)
class ExtremalPerturbation:
    """How much of each unit is kept where a share of the units keeps the score as high as possible. Never negative.

    Fong, Patrick, Vedaldi 2019, arXiv:1910.08485. Unit: the share of the areas at which a unit is kept, within [0, 1].
    The paper pulls a mask towards its area by a penalty; here the area holds in every step, and no weight of a penalty
    depends on the scale of the score.

    Cost: one forward and one backward for each target, area and step.

    Error: the score that is left at each area, as `score_at_5%`; none is certified. Another mask may keep more.

    Use: which few words the answer can do with, where the diagnostics say that it can. It does not point at copied
    evidence: first in none of five prompts, and in one of three with "mean". Much depends on the baseline: on one
    prompt "space" left more of the score than "mean" and "eos", and a blend with zeros is no removal for a model that
    normalises its embeddings.

    Args:
        baseline: what a unit is blended with: "zero", "mean" (of all embeddings), "pad", "eos", "bos", "unk", "space",
            any text as "text:…", or embeddings of your own (D,) or (S, D).
        keep: which sources are always kept, and have no score: any of "sink", "special", "template", "generated".
        areas: shares of the units that a target sees; at least one unit is kept.
        steps: how often the masks are improved.
        smoothing: standard deviation of the Gaussian that masks are smoothed with, in units of text; 0 for none.
    """

    name: ClassVar[str] = "extremal_perturbation"
    summary: ClassVar[str] = "how much of each token is kept where a few keep the score as high as possible"
    quantity: ClassVar[str] = "how much of it is kept where {score} stays high"
    paper: ClassVar[str] = "Fong, Patrick, Vedaldi 2019, arXiv:1910.08485"
    signed: ClassVar[bool] = False

    baseline: str | Tensor = "space"
    keep: Sequence[str] = ("sink", "special", "template")
    areas: Sequence[float] = (0.05, 0.1, 0.2, 0.5)
    steps: int = 20
    smoothing: float = 0.4

    def __post_init__(self) -> None:
        check_replacement("baseline", self.baseline)
        store(
            self,
            keep=check_keep(self.keep),
            areas=_read_areas(self.areas),
            steps=read_whole("steps", self.steps, least=1, most=MOST_STEPS),
            smoothing=read_number("smoothing", self.smoothing, least=0),
        )

    def __call__(self, example: Example, engine: Engine) -> Scores:
        blending = self._blending(example, engine)
        budgets = _budgets(self.areas, blending.visible)  # (A, K)
        smoothing = torch.stack([_smoothing(seen, self.smoothing) for seen in blending.visible])
        direction = torch.zeros(*budgets.shape, len(blending.players), dtype=torch.float64)

        def masks(step: int) -> Tensor:
            sharpness = SHARPNESS[0] * (SHARPNESS[1] / SHARPNESS[0]) ** (step / self.steps)
            return torch.einsum(
                "kpq,akq->akp", smoothing, _thresholded(sharpness * direction, budgets, blending.visible)
            )

        for step in range(self.steps):
            slopes = torch.einsum("kpq,akp->akq", smoothing, blending.slopes(masks(step)))
            slopes = slopes / slopes.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(slopes.dtype).tiny)
            direction = MEMORY * direction + (1 - MEMORY) * slopes
        final = masks(self.steps)
        kept = zip(self.areas, blending.scores(final), strict=True)
        diagnostics = {f"score_at_{100 * area:g}%": Diagnostic(scores) for area, scores in kept}
        return Scores(blending.on_units(final.mean(0)), engine.original(example), diagnostics, scored=blending.altered)

    def _blending(self, example: Example, engine: Engine) -> Blending:
        kept = protected_sources(example, self.keep)
        embeds = engine.embed(example)
        baseline = torch.where(kept[:, None].to(embeds.device), embeds, engine.baseline(example, self.baseline))
        return Blending(example, engine, baseline, embeds, unit_membership(example) & ~kept)


@dataclass(frozen=True, slots=True, eq=False)
class Blending:
    """Scores of an example under masks (A, K, P), A of them for each target, and how they change with the masks.

    Attributes:
        baseline: (S, D) b.
        embeds: (S, D) x.
        leaving: (J, S) bool, which sources of each unit are blended.
    """

    example: Example
    engine: Engine
    baseline: Tensor
    embeds: Tensor
    leaving: Tensor

    @property
    def altered(self) -> Tensor:
        """(J,) bool, the units with a source that is blended."""
        return self.leaving.any(1)

    @property
    def players(self) -> Tensor:
        """(P,) their numbers."""
        return self.altered.nonzero()[:, 0]

    @property
    def visible(self) -> Tensor:
        """(K, P) bool, which of them each target sees."""
        return visible_units(self.example)[:, self.players]

    def slopes(self, masks: Tensor) -> Tensor:
        """(A, K, P) how the score of each target changes with its own masks."""
        areas, targets, _ = masks.shape
        wanted = torch.eye(targets, dtype=torch.bool).repeat(areas, 1)
        blends = self._blends(masks)

        def along_the_mask(activations: Sequence[Tensor], gradients: Sequence[Tensor], rows: Rows) -> Tensor:
            return (gradients[0] * (self.embeds - self.baseline)[rows.first :].to(gradients[0])).sum(-1)

        chunks = self.engine.gradients(self.example, blends, along_the_mask, first=blends.first, wanted=wanted)
        reduced = torch.cat([chunk.reduced.double().cpu() for chunk in chunks])  # (A · K, K, J)
        return reduced[wanted].view(areas, targets, -1)[..., self.players] * self.visible

    def scores(self, masks: Tensor) -> Tensor:
        """(A, K) the score of each target under its own masks."""
        areas, targets, _ = masks.shape
        scores = self.engine.scores(self.example, self._blends(masks)).cpu()
        return scores.view(areas, targets, targets).diagonal(dim1=1, dim2=2)

    def on_units(self, scores: Tensor) -> Tensor:
        """Scores (K, P) on the axis of units (K, J), 0 elsewhere."""
        return scores.new_zeros(len(scores), len(self.leaving)).index_copy(1, self.players, scores)

    def _blends(self, masks: Tensor) -> Blends:
        removed = (1 - masks.flatten(0, 1)) * self.visible.repeat(len(masks), 1)
        shares = 1 - removed @ self.leaving[self.players].to(removed)
        first = int(self.leaving.any(0).int().argmax())
        return Blends(self.baseline, self.embeds, shares, first)


def _read_areas(areas: object) -> tuple[float, ...]:
    values = plain(areas)
    numbers = [
        read_number("areas", area, above=0) for area in (values if isinstance(values, list | tuple) else [values])
    ]
    if not numbers or max(numbers) > 1 or len(set(numbers)) < len(numbers):
        raise InputError(
            f"areas is {described(areas)}, but should be different shares of the units, such as 0.05, 0.5."
        )
    return tuple(numbers)


def _budgets(areas: Sequence[float], visible: Tensor) -> Tensor:
    """(A, K) how many units a mask keeps: its area of those that the target sees, and at least one."""
    return (torch.tensor(areas, dtype=torch.float64)[:, None] * visible.sum(1)).clamp(min=1)


def _thresholded(direction: Tensor, budgets: Tensor, visible: Tensor) -> Tensor:
    """The logistic function of (A, K, P), less the threshold at which the numbers of a mask add up to its budget."""
    low = direction.amin(-1) - 50
    high = direction.amax(-1) + 50
    for _ in range(BISECTIONS):
        threshold = (low + high) / 2
        masks = (direction - threshold[..., None]).sigmoid() * visible
        too_large = masks.sum(-1) > budgets
        low, high = torch.where(too_large, threshold, low), torch.where(too_large, high, threshold)
    return masks


def _smoothing(seen: Tensor, deviation: float) -> Tensor:
    """(P, P) a Gaussian filter over the units that a target sees, reflected at both ends, so that it keeps the area."""
    table = torch.zeros(len(seen), len(seen), dtype=torch.float64)
    count = int(seen.sum())
    if not count:
        return table
    place = torch.arange(count, dtype=torch.float64)
    distances = [place[:, None] - place, place[:, None] + place + 1, 2 * count - 1 - place[:, None] - place]
    weights = torch.stack([(-((distance / max(deviation, 1e-9)) ** 2) / 2).exp() for distance in distances]).sum(0)
    table[seen.nonzero(), seen.nonzero()[:, 0]] = weights / weights.sum(1, keepdim=True)
    return table
