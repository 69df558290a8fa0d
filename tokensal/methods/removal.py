"""Methods that take units away and look at the score alone: what they share.

1. The players are the units that may be absent: those with a source that is neither kept nor left out of the question.
2. A coalition says which players are present. The others are absent, which means what `replacement` says.
3. The engine scores every target of a coalition in one forward, and shares the work on what coalitions have in common.
   None is scored twice.
4. A method makes a number for each player of the scores of coalitions. Units that are no players have no score.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.engine.forwards import Tally
from tokensal.errors import InputError
from tokensal.perturbations.protection import check_keep, protected_sources
from tokensal.perturbations.removals import Removals, check_replacement
from tokensal.questions.masks import unit_membership, visible_units
from tokensal.types import Diagnostic, Diagnostics, Example, Scores
from tokensal.values import store

WITHOUT = ("mask", "delete")  # ways to be absent that need no replacement


@dataclass(frozen=True, eq=False)
class Game:
    """The score of each target as a function of which players are present.

    Attributes:
        example: the tokens.
        engine: the model.
        leaving: (J, S) bool, which sources of each unit are absent when it is.
        replacement: what absent means, see `RemovalMethod`.
        known: the scores (K,) of the coalitions so far; none is scored twice.
        tally: counts coalitions, as often as they are listed. A method that lists them in several calls sets its total
            before the first, so that the progress of all is reported as one.
    """

    example: Example
    engine: Engine
    leaving: Tensor = field(repr=False)
    replacement: str
    known: dict[bytes, Tensor] = field(repr=False)
    tally: Tally = field(repr=False)

    @cached_property
    def players(self) -> Tensor:
        """(P,) int64, the units that are players."""
        return self.leaving.any(1).nonzero()[:, 0]

    @cached_property
    def visible(self) -> Tensor:
        """(K, P) bool, which players each target sees. The others make no difference to it: their score is 0."""
        return visible_units(self.example)[:, self.players]

    def scores(self, present: Tensor) -> Tensor:
        """The scores of coalitions (R, P) bool, in any order and as often as they are listed: (R, K) float64, CPU.

        Raises:
            InputError: a coalition leaves nothing that could predict the first target.
        """
        unique, inverse = torch.unique(present, dim=0, return_inverse=True)
        keys = [row.numpy().tobytes() for row in unique]
        if unique.all(1).any():
            self.known[keys[-1]] = self.full  # rows are sorted
        new = [index for index, key in enumerate(keys) if key not in self.known]
        if new:
            self.tally.total = max(self.tally.total, self.tally.done + len(present))
        self.tally.add(len(present) - len(new))
        if new:
            absent = ((~unique[new]).float() @ self.leaving[self.players].float()) > 0
            perturbations = removals(self.example, self.engine, absent, self.replacement)
            values = self.engine.scores(self.example, perturbations, self.tally).cpu().double()
            self.known.update(zip((keys[index] for index in new), values, strict=True))
        return torch.stack([self.known[key] for key in keys])[inverse]

    @cached_property
    def full(self) -> Tensor:
        """(K,) the scores of the full coalition: of the example as it is."""
        return self.engine.original(self.example).cpu().double()

    @cached_property
    def empty(self) -> Tensor:
        """(K,) the scores of the empty coalition."""
        return self.scores(torch.zeros(1, len(self.players), dtype=torch.bool))[0]

    def efficiency(self, scores: Tensor) -> Diagnostics:
        """What scores of players (K, P) should add up to, the change from the empty to the full coalition; and do."""
        total = torch.where(self.visible.any(1), self.full - self.empty, 0)
        return {"total": Diagnostic(total), "convergence_delta": Diagnostic(scores.sum(1) - total)}

    def on_units(self, scores: Tensor) -> Tensor:
        """Scores of players (K, P) on the axis of units (K, J), 0 elsewhere."""
        return scores.new_zeros(len(scores), len(self.leaving)).index_copy(1, self.players, scores)


@dataclass(frozen=True, kw_only=True)
class RemovalMethod(ABC):
    """A method that only asks for scores of coalitions, so that it needs no gradient and works with every model.

    Args:
        replacement: what "absent" means. "mask": attention does not look at it, the others keep their positions (a
            token that itself predicts a target still speaks for itself there, though unseen by all others). "delete":
            it was never there, and later tokens move up. Else what stands in its place: "zero", "mean" (of all
            embeddings), "pad", "eos", "bos", "unk", "space", or any text as "text:…".
        keep: which sources are never absent, and have no score: any of "sink", "special", "template", "generated".
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    signed: ClassVar[bool] = True

    replacement: str = "mask"
    keep: Sequence[str] = ("sink", "special", "template")

    def __post_init__(self) -> None:
        check_replacement("replacement", self.replacement, WITHOUT)
        store(self, keep=check_keep(self.keep))

    @abstractmethod
    def estimate(self, game: Game) -> tuple[Tensor, Diagnostics]:
        """The score of each player (K, P), and what is known of its error; diagnostics by source are (K, P) too."""

    def game(self, example: Example, engine: Engine) -> Game:
        """The players, and the scores of their coalitions.

        Raises:
            InputError: nobody may be absent.
        """
        leaving = unit_membership(example) & ~protected_sources(example, self.keep)
        return Game(example, engine, leaving, self.replacement, {}, Tally(engine.progress, 0))

    def __call__(self, example: Example, engine: Engine) -> Scores:
        game = self.game(example, engine)
        scores, diagnostics = self.estimate(game)
        by_unit = {
            name: each if each.values.ndim == 1 else replace(each, values=game.on_units(each.values))
            for name, each in diagnostics.items()
        }
        return Scores(game.on_units(scores), engine.original(example), by_unit, scored=game.leaving.any(1))


def removals(example: Example, engine: Engine, absent: Tensor, replacement: str) -> Removals:
    """The perturbations (R, S) in which those sources are absent, which means what `RemovalMethod.replacement` says.

    Raises:
        InputError: an unknown replacement, or nothing is left that could predict the first target.
    """
    if replacement in WITHOUT:
        if absent[:, : example.predictors[0] + 1].all(1).any():
            raise InputError(
                "Where so many units are absent, nothing is left that could predict the first target: "
                "use a smaller window, a longer prompt, or a replacement such as 'zero'."
            )
        return Removals(engine.embed(example), absent, closed=replacement == "delete")
    return Removals(engine.embed(example), absent, engine.baseline(example, replacement))
