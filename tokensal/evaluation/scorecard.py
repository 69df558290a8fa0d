"""A scorecard: how a map did on cheap metrics, stored with the result and shown with it in every format.

1. What all targets of a result come from is one map, the sum of their scores. It is measured on the sum of what is
   explained of them, so that each coalition of units costs one forward for all targets.
2. The score is followed as the best units are masked first, and as they are put back first, in five steps; and so it is
   for rankings by chance, of which the map is better than a certain share. Of a served model, which cannot mask, units
   are deleted instead.
3. The method explains other tokens in the place of the targets: a map that stays the same does not explain these.

A map that is no better than chance shows what the model looks at, at most. One that is says what the model depends on
when text is masked, which is not the only sense of "why" (see `tokensal.evaluation.curves`).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tokensal.case import Case
from tokensal.errors import NonFiniteScores
from tokensal.evaluation.baselines import chance
from tokensal.evaluation.curves import ABPC, Deletion, Insertion
from tokensal.evaluation.metric import Trial
from tokensal.evaluation.randomisation import RandomTarget, with_new_engine
from tokensal.evaluation.removal import score_together
from tokensal.methods import Method
from tokensal.results.attribution import Attribution
from tokensal.types import Diagnostic, Group

STEPS = 5
DRAWS = 19  # rankings by chance: of 20 rankings, the map is the best one by chance in 5 % of all cases


def explain_and_measure(case: Case, method: Method, seed: int = 0) -> Attribution:
    """What a method says of a case, with diagnostics `deletion`, `insertion`, `better_than_chance` and `random_target`.

    They are (K,), the first three the same for all targets, since they are about the sum of these; NaN where the score
    does not change when all units are removed, or none may be removed.

    Args:
        case: the case.
        method: the method.
        seed: of the rankings by chance, and of the other tokens.

    Raises:
        TokensalError: as for `Case.explain`.
    """
    trial = Trial(case, seed=seed)
    attribution = trial.explain(method)
    areas = _areas(_summed(case, seed), _sum_of(attribution))
    measured = {name: area.expand(len(attribution.targets)) for name, area in areas.items()}
    measured["random_target"] = RandomTarget(draws=1)(trial, attribution)
    diagnostics = {name: Diagnostic(values.float()) for name, values in measured.items()}
    request = attribution.provenance.request
    return replace(
        attribution,
        diagnostics={**attribution.diagnostics, **diagnostics},
        provenance=replace(attribution.provenance, request={**request, "check": True} if request else request),
    )


def _summed(case: Case, seed: int) -> Trial:
    """The case with all targets as one."""
    groups = case.example.groups
    group = Group(
        tuple(target for each in groups for target in each.targets),
        tuple(target for each in groups for target in each.against),
    )
    return Trial(with_new_engine(case, replace(case.example, groups=(group,))), seed=seed)


def _sum_of(attribution: Attribution) -> Attribution:
    """The map of all targets together."""
    visible = attribution.visible.any(0, keepdim=True)
    return replace(
        attribution,
        targets=attribution.targets[:1],
        scores=attribution.scores.nansum(0, keepdim=True).masked_fill(~visible, torch.nan),
        visible=visible,
        values=attribution.values.sum(0, keepdim=True),
        diagnostics={},
        alternatives=(),
    )


def _areas(trial: Trial, attribution: Attribution) -> dict[str, Tensor]:
    """(1,) each."""
    removal = trial.case.engine.removal
    deletion, insertion, between = (metric(steps=STEPS, replacement=removal) for metric in (Deletion, Insertion, ABPC))
    try:
        score_together(trial, [attribution], [between])
        by_chance = chance(between, trial, draws=DRAWS)
        area = between(trial, attribution)
    except NonFiniteScores:
        return dict.fromkeys(("deletion", "insertion", "better_than_chance"), torch.full((1,), torch.nan))
    better = (by_chance < area).double().mean(0) + (by_chance == area).double().mean(0) / 2
    return {
        "deletion": deletion(trial, attribution),
        "insertion": insertion(trial, attribution),
        "better_than_chance": torch.where(area.isnan(), torch.nan, better),
    }
