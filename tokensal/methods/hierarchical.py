"""From coarse to fine: explain passages, and then the parts of those that matter, by any method that takes units away.

1. Divide the players into passages of the first level, such as messages. Each passage is one player of a game.
2. The other method explains the passages: it alone decides which coalitions are scored.
3. Open the passages with the largest scores, a few for each target: their parts, which are passages of the next level,
   or at last the units of the question, take their place. Passages that were not opened stay players, so that they are
   present or absent as the other method likes. Go on with step 2; only parts of opened passages are opened further.
4. The scores are those of the last game: what the other method says of these players, errors included. The units of a
   passage that was not opened share its score in equal parts; how much of the credit that is, is a diagnostic.

A level that divides nothing is passed over, and so is one of which a passage is all that a target sees, as a prompt of
one line is. No coalition is scored twice, on whichever levels it is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any, ClassVar

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.errors import InputError, require_known
from tokensal.methods.removal import Game, RemovalMethod, scores_of_units
from tokensal.questions.selection import passages_of_units
from tokensal.questions.units import UNITS, Span
from tokensal.types import Diagnostic, Diagnostics, Example, Scores
from tokensal.values import described, read_whole, store

Part = tuple[int, ...]  # the players of a passage, in order
Estimate = Callable[[Game], tuple[Tensor, Diagnostics]]  # as `RemovalMethod.estimate`


@dataclass(frozen=True, kw_only=True)
class Hierarchical:
    """Another method's scores of passages, and of units within the passages that matter. Signed, as those are.

    From coarse to fine, as Zeiler, Fergus 2014, arXiv:1311.2901 with ever smaller patches. Unit: that of the other
    method. The scores are those of one game, whose players are the units of opened passages, and the other passages as
    one each: what the other method promises, such as a sum, holds for them. A unit of a passage that was not opened has
    an equal share of its score, so that the heatmap shows what the passage is worth.

    Cost: that of the other method for each level, with as many players as there are passages and parts. With
    'occlusion', n sentences of n words and one target: about (1 + opened) · n forwards instead of n².

    Error: that of the other method in the last game. How much of the credit lies in passages that were not opened is
    among the diagnostics, and how many coalitions there were on all levels.

    Use: long prompts, and methods that are too expensive for each word of them. A unit that matters in a passage that
    does not, because the rest of it speaks against, is missed. In prompts of twenty passages, 'occlusion' with two
    opened takes .18 of the forwards of leave-one-out, and names its word in .90 of forty, in all of those where that is
    right. Around 'lime' and 'context_cite' it fails: in as many forwards, they find more by themselves.

    Args:
        method: one that takes units away, or the name of one: "occlusion", "kernel_shap", "lime", "context_cite" …
        options: of that method, where it is a name. What is absent, and what is kept, is among them.
        levels: the passages, from coarse to fine: any of "message", "line", "sentence", "word". After them come the
            units of the question.
        opened: how many passages of each level are opened for each target.
    """

    name: ClassVar[str] = "hierarchical"
    summary: ClassVar[str] = (
        "a method that takes units away, for passages first, and then for the units of those that matter (signed)"
    )
    paper: ClassVar[str] = "after Zeiler, Fergus 2014, arXiv:1311.2901"

    method: str | RemovalMethod = "occlusion"
    options: Mapping[str, Any] | None = None
    levels: Sequence[str] = ("message", "line", "sentence")
    opened: int = 3

    def __post_init__(self) -> None:
        store(
            self,
            method=_read_method(self.method, self.options),
            options=dict(self.options) if self.options else None,
            levels=read_levels(self.levels),
            opened=read_whole("opened", self.opened, least=1),
        )
        _ = self.base  # options that it does not take are refused now

    @property
    def signed(self) -> bool:
        return self.base.signed

    @property
    def quantity(self) -> str:
        """What one of its scores is: as of the other method."""
        return self.base.quantity

    @cached_property
    def base(self) -> RemovalMethod:
        """The method that explains each level."""
        from tokensal.methods import METHODS, build

        built = build(self.method, self.options)
        if not isinstance(built, RemovalMethod):
            names = ", ".join(name for name, member in METHODS.items() if issubclass(member, RemovalMethod))
            raise InputError(
                f"{self.name} is around a method that takes units away and looks at the score alone, which "
                f"{self.method!r} does not: choose one of {names}."
            )
        return built

    def game(self, example: Example, engine: Engine) -> Game:
        """The players, units of the question, and the scores of their coalitions.

        Raises:
            InputError: nobody may be absent.
        """
        return self.base.game(example, engine)

    def __call__(self, example: Example, engine: Engine) -> Scores:
        game = self.game(example, engine)
        return scores_of_units(game, *descend(game, self.levels, self.opened, self.base.estimate))


def _read_method(method: object, options: object) -> object:
    """A name in full, so that the options stand beside it; else a method that has its own.

    Raises:
        InputError: no name and no method, or options that are no table, or that nothing takes.
    """
    from tokensal.methods import build, canonical_name

    if options is not None and not isinstance(options, Mapping):
        raise InputError(
            f"options is {described(options)}, but should be a table of the other method's options, such as "
            "{'samples': 24}."
        )
    if isinstance(method, str):
        return canonical_name(method)
    if options:
        raise InputError(
            f"options are of a method that is a name, but method is {described(method)}: give them to that itself."
        )
    return build(method)  # type: ignore[arg-type]


def read_levels(levels: str | Sequence[str]) -> tuple[str, ...]:
    """The names of levels of passages.

    Raises:
        InputError: an unknown one, or none.
    """
    names = tuple(require_known("level", levels, UNITS))
    if not names:
        raise InputError("There is no level: name at least one, such as 'sentence', or take a method without levels.")
    return names


def descend(game: Game, levels: Sequence[str], opened: int, estimate: Estimate) -> tuple[Tensor, Diagnostics]:
    """The scores of players (K, P) and what is known of their error, from coarse to fine; see the steps of this module.

    Args:
        game: of the units.
        levels: of passages, from coarse to fine.
        opened: how many passages of each level are opened for each target.
        estimate: the scores of a game whose players are passages.
    """
    everybody = tuple(range(len(game.players)))
    by_level = [passages_of_units(game.example, level) for level in levels]
    parts, opening = [everybody], {everybody}
    passages: PassageGame | None = None
    for labels in (*([passages[unit] for unit in game.players] for passages in by_level), everybody):
        new = [part for passage in opening for part in _split(passage, labels)]
        finer = sorted([*new, *(part for part in parts if part not in opening)])
        if finer == parts and (passages or labels is not everybody):
            continue
        if labels is not everybody and _leave_nothing(game, finer):
            parts, opening = finer, set(finer)
            continue
        parts, passages = finer, PassageGame.of(game, finer)
        scores, diagnostics = estimate(passages)
        credit = scores.abs() * passages.visible
        opening = _largest(credit, parts, new, opened)
    sizes = torch.tensor([len(part) for part in parts])
    unopened = credit[:, sizes > 1].sum(1) / credit.sum(1).clamp(min=torch.finfo(credit.dtype).tiny)
    return _shared(scores, sizes), {
        **{name: replace(each, values=_shared(each.values, sizes)) for name, each in diagnostics.items()},
        "coalitions": Diagnostic(torch.full((len(scores),), len(game.known))),
        "unopened": Diagnostic(unopened),
    }


def _leave_nothing(game: Game, parts: Sequence[Part]) -> bool:
    """Whether one of the parts is all that a target sees, as a prompt of one line is: without it there is no text."""
    return any(
        len(part) > 1 and bool(set(row.nonzero()[:, 0].tolist()) <= set(part)) for part in parts for row in game.visible
    )


def _split(passage: Part, labels: Sequence[int]) -> list[Part]:
    return [tuple(part) for _, part in groupby(passage, lambda player: labels[player])]


def _largest(sizes: Tensor, parts: Sequence[Part], among: Sequence[Part], count: int) -> set[Part]:
    """So many parts for each target, of those among which to choose, whose sizes (K, n) are the largest, and not 0."""
    candidates = sorted(among)
    columns = [parts.index(part) for part in candidates]
    best = sizes[:, columns].topk(min(count, len(columns)), dim=1)
    return {candidates[number] for number in best.indices[best.values > 0].tolist()}


def _shared(values: Tensor, sizes: Tensor) -> Tensor:
    """Numbers of passages (K, n) on their players (K, P), in equal parts; numbers of targets (K,) as they are."""
    return values if values.ndim == 1 else (values / sizes).repeat_interleave(sizes, dim=1)


@dataclass(frozen=True, eq=False)
class PassageGame(Game):
    """A game whose players are passages of another game's players. What it scores is known to the other game.

    Attributes:
        units: the other game.
        membership: (n, P) bool, which of its players each passage consists of.
    """

    units: Game = field(repr=False)
    membership: Tensor = field(repr=False)

    @classmethod
    def of(cls, game: Game, parts: Sequence[Part]) -> PassageGame:
        """The game of these parts, which are neighbouring players each."""
        membership = torch.zeros(len(parts), len(game.players), dtype=torch.bool)
        for row, part in zip(membership, parts, strict=True):
            row[list(part)] = True
        example, passages = _in_passages(game, parts)
        leaving = torch.zeros(len(example.units), game.leaving.shape[1], dtype=torch.bool)
        leaving[passages] = (membership.float() @ game.leaving[game.players].float()) > 0
        return cls(example, game.engine, leaving, game.replacement, game.known, game.tally, game, membership)

    def scores(self, present: Tensor) -> Tensor:
        return self.units.scores((present.float() @ self.membership.float()) > 0)

    @cached_property
    def full(self) -> Tensor:
        return self.units.full


def _in_passages(game: Game, parts: Sequence[Part]) -> tuple[Example, list[int]]:
    """The example with parts as units, and which of its units these are. Units that are no players are as they were."""
    ends = {int(game.players[part[0]]): int(game.players[part[-1]]) for part in parts}
    units: list[Span] = []
    credited, passages, unit = [], [], 0
    while unit < len(game.example.units):
        last = ends.get(unit, unit)
        if unit in ends:
            passages.append(len(units))
        units.append((game.example.units[unit][0], game.example.units[last][1]))
        credited.append(game.example.credited[unit])
        unit = last + 1
    return replace(game.example, units=tuple(units), credited=tuple(credited)), passages
