"""Forwards of one adapter for one score, and what is remembered of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tokensal.engine.adapter import Adapter
from tokensal.engine.budget import Budget
from tokensal.engine.differentiation import Graph
from tokensal.engine.reductions import Reduction
from tokensal.errors import NonFiniteScores
from tokensal.scores import Score, logprob, non_finite_cause
from tokensal.surroundings import exact_surroundings
from tokensal.transfers import sent
from tokensal.types import Example, Forward, HookPoint, Progress, Rules, Secants

if TYPE_CHECKING:
    from tokensal.engine.gradients import Gradients


@dataclass(frozen=True, slots=True)
class Asked:
    """Which gradients of an example as it is, from its first source on; two are equal where their numbers are."""

    example: Example
    rules: Rules | None
    at: HookPoint
    layers: tuple[int, ...]
    reduce: Reduction


@dataclass(slots=True)
class Tally:
    """Counts pieces of work and reports them. A piece that is done again after a shortage of memory counts twice."""

    report: Progress
    total: int
    done: int = 0

    def add(self, pieces: int) -> None:
        self.done = min(self.done + pieces, self.total)
        self.report(self.done, self.total)


class Forwards:
    """An adapter, a score, a budget, and the latest forward of an example as it is.

    Args:
        adapter: the model.
        score: what is explained, a function (…, G, V), (G,) → (…, G).
        budget: how much goes at once.
        progress: called with (done, total) as pieces of work are finished.

    Attributes:
        rules: backward rules that gradients follow; None for the exact ones.
        reference: embeddings (S, D) from which gradients are secants, and how those share products; None for gradients.
        kept: the graph of an unperturbed example, which several methods differentiate.
        ahead: gradients of unperturbed examples that are known before a method asks for them, with what it asks.
    """

    def __init__(
        self,
        adapter: Adapter,
        score: Score = logprob,
        *,
        budget: Budget | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.adapter = adapter
        self.score = score
        self.budget = budget or Budget()
        self.progress = progress or (lambda done, total: None)
        self.rules: Rules | None = None
        self.reference: tuple[Tensor, Secants] | None = None
        self._latest: tuple[Example, Tensor, Any] | None = None
        self._unaltered: tuple[Example, Tensor] | None = None
        self.kept: tuple[Example, Graph] | None = None
        self.ahead: list[tuple[Asked, Gradients]] = []

    def with_unaltered(self, example: Example, forward: Forward, values: Tensor) -> Tensor:
        """(n, G), from the scores of the targets that a forward predicts: the others keep theirs."""
        if not forward.start:
            return values
        unaltered = self.unaltered(example)[: forward.start].expand(len(values), -1)
        return torch.cat([unaltered, values], dim=1)

    def unaltered(self, example: Example) -> Tensor:
        """The scores (G,) of the example as it is, from whatever forward of it was run last."""
        if self._unaltered is None or self._unaltered[0] is not example:
            self._unaltered = example, self.remembered(example)[0]
        return self._unaltered[1]

    def remember_scores(self, example: Example, values: Tensor) -> None:
        """Remember the scores (G,) of the example as it is."""
        self._unaltered = example, values.detach()

    def remembered(self, example: Example) -> tuple[Tensor, Any]:
        """The scores (G,) of the example as it is, and the states of its sources: run once, while it is in work."""
        if self._latest is None or self._latest[0] is not example:
            with self.prepared(), torch.no_grad():
                original = self.adapter.original(example)
                self._latest = example, self.values(example, original.forward)[0], original.states
        return self._latest[1:]

    def values(self, example: Example, forward: Forward) -> Tensor:
        """The score of each target that a forward predicts: (R, G - start).

        Raises:
            NonFiniteScores: one of them is NaN or infinite.
        """
        explained = example.targets[forward.start :]
        targets = sent(torch.tensor([token.id for token in explained]), forward.logits.device)
        values = self.score(forward.logits, targets)  # (n, G - start)
        if not values.isfinite().all():
            row, column = (~values.isfinite()).nonzero()[0].tolist()
            target, index = int(targets[column]), forward.start + column
            cause = non_finite_cause(self.score, forward.logits[row, column].detach(), target)
            altered = self._unaltered is not None and self._unaltered[0] is example
            where = " on an altered input (a baseline, a replacement or noise)" if altered else ""
            raise NonFiniteScores(
                f"The score of target {index} ({example.targets[index].text!r}) is not a finite number{where}; {cause}."
            )
        return values

    def vocabulary(self, example: Example) -> int:
        """How many tokens the model tells apart: the width of its logits."""
        with self.prepared(), torch.no_grad():
            return self.adapter.original(example).forward.logits.shape[-1]

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Inside, the adapter is prepared, and nothing the caller switched on for PyTorch alters a number."""
        with exact_surroundings(self.adapter.device), self.adapter.prepared():
            yield
