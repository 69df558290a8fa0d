"""Methods that take units away and look at the score alone: what they share.

1. The players are the units that may be absent: those with a source that is neither kept nor left out of the question.
2. A coalition says which players are present. The others are absent, which means what `replacement` says.
3. The engine scores every target of a coalition in one forward, and shares the work on what coalitions have in common.
   None is scored twice.
4. A method makes a number for each player of the scores of coalitions. Units that are no players have no score.
"""

from __future__ import annotations

import math
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
from tokensal.perturbations.removals import Fillers, Removals, check_replacement
from tokensal.questions.masks import unit_membership, visible_units
from tokensal.types import Diagnostic, Diagnostics, Example, Scores
from tokensal.values import store

WITHOUT = ("mask", "delete")  # ways to be absent that need no replacement
MOST_ROUNDS = 64  # of fillers, for a coalition


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
            values = scores_without(self.example, self.engine, absent, self.replacement, self.tally).cpu().double()
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


def game_of(example: Example, engine: Engine, replacement: str, keep: str | Sequence[str]) -> Game:
    """The game whose players are all units but those of the kinds to keep.

    Raises:
        InputError: nobody may be absent.
    """
    leaving = unit_membership(example) & ~protected_sources(example, keep)
    return Game(example, engine, leaving, replacement, {}, Tally(engine.progress, 0))


@dataclass(frozen=True, kw_only=True)
class RemovalMethod(ABC):
    """A method that only asks for scores of coalitions, so that it needs no gradient and works with every model.

    Args:
        replacement: what "absent" means. "mask": attention does not look at it, the others keep their positions (a
            token that itself predicts a target still speaks for itself there, though unseen by all others). "delete":
            it was never there, and later tokens move up. Else what stands in its place: "zero", "mean" (of all
            embeddings), "pad", "eos", "bos", "unk", "space", or any text as "text:…". A passage with fillers
            ("[[Dave|Sarah|Tom]]", see the option `unit`) has one of them in its place instead, and the score is the
            mean over its fillers.
        keep: which sources are never absent, and have no score: any of "sink", "special", "template", "generated".
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    quantity: ClassVar[str] = "contribution to {score}"
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
        return game_of(example, engine, self.replacement, self.keep)

    def __call__(self, example: Example, engine: Engine) -> Scores:
        game = self.game(example, engine)
        return scores_of_units(game, *self.estimate(game))


def scores_of_units(game: Game, scores: Tensor, diagnostics: Diagnostics) -> Scores:
    """Scores of players (K, P), and what is known of their error, as a method returns them."""
    by_unit = {
        name: each if each.values.ndim == 1 else replace(each, values=game.on_units(each.values))
        for name, each in diagnostics.items()
    }
    return Scores(game.on_units(scores), game.engine.original(game.example), by_unit, scored=game.leaving.any(1))


def scores_without(
    example: Example, engine: Engine, absent: Tensor, replacement: str, tally: Tally | None = None
) -> Tensor:
    """The scores (R, K) where those sources (R, S) are absent; those of an absent slot are the mean over its fillers.

    Several absent slots take their first fillers together, then their second ones. Where one has fewer, it begins again
    until all have been through equally often.

    Raises:
        InputError: see `removals`; or slots whose numbers of fillers take too long to go through together.
    """
    slots = [slot for slot in example.slots if slot.start < len(example.sources)]
    if not slots:
        return engine.scores(example, removals(example, engine, absent, replacement), tally)
    absent = absent.cpu().clone()
    for slot in slots:
        absent[:, slot.start : slot.stop] = absent[:, slot.start : slot.stop].any(1, keepdim=True)
    gone = absent[:, [slot.start for slot in slots]].tolist()
    counts = [math.lcm(*(len(slot.fillers) for slot, away in zip(slots, row, strict=True) if away)) for row in gone]
    if max(counts, default=1) > MOST_ROUNDS:
        raise InputError(
            f"Slots of {', '.join(str(len(slot.fillers)) for slot in slots)} fillers go through {max(counts)} "
            f"combinations, but at most {MOST_ROUNDS} are run: give all slots as many fillers."
        )
    sizes = torch.tensor(counts)
    rows = torch.arange(len(absent)).repeat_interleave(sizes)
    rounds = torch.arange(len(rows)) - (sizes.cumsum(0) - sizes)[rows]
    values = engine.scores(example, removals(example, engine, absent[rows], replacement, rounds), tally)
    sums = values.new_zeros(len(absent), values.shape[1]).index_add(0, rows.to(values.device), values)
    return sums / sizes[:, None].to(values)


def removals(
    example: Example, engine: Engine, absent: Tensor, replacement: str, rounds: Tensor | None = None
) -> Removals:
    """The perturbations (R, S) in which those sources are absent, which means what `RemovalMethod.replacement` says.

    Args:
        example: the tokens.
        engine: the model.
        absent: (R, S) bool; slots as a whole.
        replacement: what absent means.
        rounds: (R,) which filler stands in for each absent slot; None for the first.

    Raises:
        InputError: an unknown replacement, or nothing is left that could predict the first target.
    """
    fillers = _fillers(example, engine) if example.slots else None
    if fillers is not None and rounds is None:
        rounds = torch.zeros(len(absent), dtype=torch.int64)
    baseline = None if replacement in WITHOUT else engine.baseline(example, replacement)
    removed = Removals(engine.embed(example), absent, baseline, replacement == "delete", fillers, rounds)
    seen = removed.seen(torch.arange(len(absent)))
    if seen is not None and not seen[:, : example.predictors[0] + 1].any(1).all():
        raise InputError(
            "Where so many units are absent, nothing is left that could predict the first target: "
            "use a smaller window, a longer prompt, or a replacement such as 'zero'."
        )
    return removed


def _fillers(example: Example, engine: Engine) -> Fillers:
    """What stands in for the slots; the last token of a filler in the last place of its slot, next to what follows."""
    size, most = len(example.sources), max(len(slot.fillers) for slot in example.slots)
    tokens, counts = torch.zeros(most, size, dtype=torch.bool), torch.zeros(size, dtype=torch.int64)
    filled = [list(example.sources) for _ in range(most)]
    for slot in example.slots:
        counts[slot.start : slot.stop] = len(slot.fillers)
        for number, filler in enumerate(slot.fillers):
            for place, id in enumerate(filler, start=slot.stop - len(filler)):
                if place < size:
                    filled[number][place] = replace(example.sources[place], id=id)
                    tokens[number, place] = True
    embeds = torch.stack([engine.embed(replace(example, sources=tuple(sources))) for sources in filled])
    return Fillers(embeds, tokens, counts)
