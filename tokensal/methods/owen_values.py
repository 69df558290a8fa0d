"""Owen values: Shapley values where units arrive in groups: one message after another, and in it sentence by sentence.

1. Put the players into groups of text, and these into larger ones. A group of one player is that player.
2. Only orders count in which the players of a group follow one another, all such orders alike. So a player meets whole
   groups of others, and single members of its own group.
3. Where these are no more coalitions than `samples` permutations have, score them all. A value is the mean contribution
   over which members of its group come before the player, and which groups before that group, on every level.
4. Else draw such orders, each with its reverse, as in `tokensal.methods.shapley_sampling`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.errors import require_known
from tokensal.methods.removal import Game
from tokensal.methods.shapley_sampling import ShapleySampling, from_permutations
from tokensal.methods.shapley_values import size_weights
from tokensal.perturbations.coalitions import Hierarchy, every_coalition
from tokensal.questions.selection import passages_of_units
from tokensal.questions.units import UNITS
from tokensal.types import Diagnostic, Diagnostics, Example
from tokensal.values import store


@dataclass(frozen=True, kw_only=True)
class OwenValues(ShapleySampling):
    """The Shapley value if the units of a sentence or message arrive together. Signed, in units of the score.

    The mean of y(S ∪ i) − y(S) over the orders in which all units of a group follow one another, S the units before i.
    Owen 1977, "Values of games with a priori unions", with several levels of groups. The values of a group's units add
    up to what the group would get as one unit.

    Cost: at most `samples` × P + 1 forwards for P units, and no backward. Where all coalitions of the groups are no
    more than that, all are scored; else random orders, until the tolerance is reached.

    Error: none where exact; else the standard error of each score. The scores add up to the score minus that without
    any unit.

    Use: prompts of several sentences or messages. What is absent are mostly sentences as a whole, so that the model
    reads fewer broken ones. From four orders of tokens, copied evidence came first in 7 of 10 prompts.

    Args:
        levels: the groups, from the largest: any of "message", "sentence", "line", "word".
    """

    name: ClassVar[str] = "owen_values"
    summary: ClassVar[str] = (
        "each unit's share of the score, where messages, sentences and words stay together (signed)"
    )
    quantity: ClassVar[str] = "share of {score} over random orders that keep sentences together"
    paper: ClassVar[str] = "Owen 1977, doi:10.1007/978-3-642-45494-3_7"

    levels: Sequence[str] = ("message", "sentence", "word")

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, levels=tuple(require_known("level", self.levels, UNITS)))

    def estimate(self, game: Game) -> tuple[Tensor, Diagnostics]:
        groups = hierarchy(game.example, game.players.tolist(), self.levels)
        if _coalitions(groups) > self.samples * len(game.players):
            return from_permutations(game, groups, self)
        scores = _exact(game, groups) * game.visible
        count = torch.full((len(scores),), len(game.known))
        return scores, {**game.efficiency(scores), "coalitions": Diagnostic(count)}


def hierarchy(example: Example, players: Sequence[int], levels: Sequence[str]) -> Hierarchy:
    """The players, units of the example, in groups: those whose first tokens are in the same message, sentence, …"""
    by_level = [passages_of_units(example, level) for level in levels]
    return _grouped(range(len(players)), [[passages[unit] for unit in players] for passages in by_level])


def _grouped(players: Sequence[int], levels: Sequence[Sequence[int]]) -> Hierarchy:
    """Groups of players that have the same number on the first level, and in them those of the next levels."""
    if not levels:
        return tuple(players)
    groups = [_grouped(list(group), levels[1:]) for _, group in groupby(players, key=lambda player: levels[0][player])]
    return groups[0] if len(groups) == 1 else tuple(group[0] if len(group) == 1 else group for group in groups)


def _coalitions(group: Hierarchy) -> int:
    """How many coalitions exact values take, inside a group while all others are fixed: none and all included."""
    inside = sum(_coalitions(child) - 2 for child in group if not isinstance(child, int))
    half: int = 2 ** (len(group) - 1)
    return half * (2 + inside)


def _exact(game: Game, groups: Hierarchy) -> Tensor:
    """(K, P): the weighted marginal contributions of each player."""
    players = len(game.players)
    nobody = torch.zeros(1, players, dtype=torch.bool)
    terms = list(_terms(groups, nobody, torch.ones(1, dtype=torch.float64)))
    before = torch.cat([without for _, without, _ in terms])
    arriving = torch.cat([torch.full((len(without),), player) for player, without, _ in terms])
    after = before | torch.nn.functional.one_hot(arriving, players).bool()
    scores = game.scores(torch.cat([after, before]))
    changes = scores[: len(after)] - scores[len(after) :]
    weights = torch.cat([weights for _, _, weights in terms])
    return changes.new_zeros(players, changes.shape[1]).index_add(0, arriving, weights[:, None] * changes).T


def _terms(group: Hierarchy, outside: Tensor, weights: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """For each player of a group: the coalitions (R, P) of others that it meets, and the weight of each (R,).

    Args:
        group: the players and groups in it.
        outside: (n, P) who may have arrived before the whole group.
        weights: (n,) how likely that is.
    """
    members = torch.stack([_members(child, outside.shape[1]) for child in group])
    siblings = every_coalition(len(group) - 1)
    likelihood = torch.outer(weights, size_weights(len(group))[siblings.sum(1)]).flatten()
    for place, child in enumerate(group):
        others = torch.cat([members[:place], members[place + 1 :]])
        arrived = (siblings.float() @ others.float()) > 0
        before = (outside[:, None] | arrived).flatten(0, 1)
        if isinstance(child, int):
            yield child, before, likelihood
        else:
            yield from _terms(child, before, likelihood)


def _members(child: int | Hierarchy, players: int) -> Tensor:
    """Which players are in a group, or a player: (P,) bool."""
    if isinstance(child, int):
        return torch.arange(players) == child
    return torch.stack([_members(each, players) for each in child]).any(0)
