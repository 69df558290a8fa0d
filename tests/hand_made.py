"""Hand-made games: an engine whose score is any function of which sources are present."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tokensal.engine.forwards import Tally
from tokensal.types import Example, Role, Token

Value = Callable[[Tensor], Tensor]  # from players (R, P) float64, 1 where present, to scores (R, K)


class HandMade:
    """An engine for players behind a first source that is kept, and counts of what is scored.

    Args:
        value: the scores.
        players: P.
        seen: how many players each target sees, ascending; all of them for a single one by default.
        texts: of the tokens, where they matter.
    """

    def __init__(self, value: Value, players: int, seen: Sequence[int] = (), texts: Sequence[str] = ()) -> None:
        self.value, self.players, self.seen = value, players, seen or (players,)
        self.texts = texts or [f" w{index}" for index in range(players)]
        self.listed: list[Tensor] = []
        self.reports: list[tuple[int, int]] = []

    def example(self) -> Example:
        tokens, start = [], 0
        for text in ["The", *self.texts]:
            tokens.append(Token(7, text, start, start + len(text), Role.PROMPT))
            start += len(text)
        targets = tuple(Token(8, "x", start, start + 1, Role.GENERATED) for _ in self.seen)
        return Example("", tuple(tokens), targets, tuple(self.seen))

    def progress(self, done: int, total: int) -> None:
        self.reports.append((done, total))

    def embed(self, example: Example) -> Tensor:
        return torch.zeros(len(example.sources), 1, dtype=torch.float64)

    def original(self, example: Example) -> Tensor:
        return self.value(torch.ones(1, self.players, dtype=torch.float64))[0]

    def scores(self, example: Example, perturbations, tally: Tally | None = None) -> Tensor:
        present = ~perturbations.absent[:, 1:]
        self.listed += list(present)
        if tally is not None:
            tally.add(len(present))
        return self.value(present.double())


def random_game(players: int, targets: int = 1, seed: int = 0, seen: Sequence[int] = ()) -> Value:
    """Any number for each coalition of the players that a target sees, independent of the others."""
    table = torch.randn(2**players, targets, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    powers = 2 ** torch.arange(players)

    def value(present: Tensor) -> Tensor:
        columns = [
            table[(present.long() * powers)[:, :count].sum(1), target]
            for target, count in enumerate(seen or [players] * targets)
        ]
        return torch.stack(columns, dim=1)

    return value


def pairwise_game(players: int, seed: int = 0) -> Value:
    """Σ a_i z_i + Σ b_ij z_i z_j, whose Shapley values are a_i + ½ Σ_j b_ij."""
    weights, pairs = pairwise_weights(players, seed)

    def value(present: Tensor) -> Tensor:
        return (present @ weights + ((present @ pairs) * present).sum(1) / 2)[:, None]

    return value


def pairwise_weights(players: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """a (P,), and b (P, P), symmetric with nothing on its diagonal."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(players, generator=generator, dtype=torch.float64)
    pairs = torch.randn(players, players, generator=generator, dtype=torch.float64).triu(1)
    return weights, pairs + pairs.T
