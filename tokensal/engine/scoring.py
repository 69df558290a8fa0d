"""Scores of perturbations, forward only, with the work shared on what they have in common.

1. Perturbations are sorted (see `tokensal.engine.prefixes`). Those whose unaltered sources end at nearly the same place
   go together, and start from the states of the example.
2. Where there are cuts, the different prefixes up to the first cut are run a chunk at a time. For each chunk, those
   perturbations that begin so go on from its states: up to the next cut in the same way, and from the last to the end.
3. Sources that attention does not see are not run at all, where the model's numbers do not depend on it. Perturbations
   of about as many tokens go together: as many as it takes for their padding to cost as much as a further forward.
4. Targets that are predicted before the first altered source keep the score they had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tokensal.chunks import in_chunks
from tokensal.engine.forwards import Forwards, Tally
from tokensal.engine.prefixes import Prefixes, by_pattern, by_start, with_best_cuts
from tokensal.perturbations.inputs import Patterned, Perturbations, PerturbedInputs
from tokensal.transfers import sent
from tokensal.types import Example


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """States that perturbations go on from.

    Attributes:
        states: of some prefixes; None for those of the example itself.
        parents: (n,) the prefix of each of the perturbations.
        stop: the source that the prefixes end before; 0 for the example itself.
    """

    states: Any = None
    parents: Tensor | None = None
    stop: int = 0

    def of(self, rows: Tensor | slice) -> Origin:
        return replace(self, parents=None if self.parents is None else self.parents[rows])


EXAMPLE = Origin()
NEAR = 3  # starts that differ by less than this part of what a further forward costs, in tokens, count as one


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """The scores of perturbations of an example; rows are their numbers in the order of `prefixes`."""

    forwards: Forwards
    example: Example
    perturbations: Perturbations
    prefixes: Prefixes
    skips: bool
    tally: Tally

    @classmethod
    def of(
        cls, forwards: Forwards, example: Example, perturbations: Perturbations, tally: Tally | None = None
    ) -> Scoring:
        """How the work is shared; by default, the tally counts these perturbations alone."""
        adapter, starts = forwards.adapter, _starts(example, perturbations)
        tally = tally or Tally(forwards.progress, len(perturbations))
        patterned = perturbations if isinstance(perturbations, Patterned) else None
        pattern = None if patterned is None else patterned.pattern
        seen = None if patterned is None else patterned.seen(torch.arange(len(perturbations)))
        if pattern is None or not adapter.continues(example):
            lengths = _lengths(example, len(starts), seen if pattern is None else None)  # no pattern: gaps are closed
            return cls(forwards, example, perturbations, by_start(starts, lengths), False, tally)
        skips = adapter.skips(example)
        prefixes = by_pattern(starts, pattern.cpu(), _lengths(example, len(starts), seen if skips else None))
        # both continuations of a contrast read what comes before the first predictor
        prefixes = with_best_cuts(prefixes, latest=example.predictors[0], fixed=forwards.budget.fixed(adapter.device))
        return cls(forwards, example, perturbations, prefixes, skips, tally)

    def scores(self) -> Tensor:
        """(R, G), in the order of the perturbations."""
        values = self._scored(torch.arange(len(self.perturbations)), self.prefixes.cuts, EXAMPLE)
        return values[sent(self.prefixes.order.argsort(), values.device)]

    def _scored(self, rows: Tensor, cuts: Sequence[int], origin: Origin) -> Tensor:
        """(n, G) of consecutive rows that go on from an origin."""
        if not cuts:
            return self._to_the_end(rows, origin)
        cut, later = cuts[0], cuts[1:]
        altered = int((self.prefixes.starts[rows] < cut).sum())  # the first ones
        values = []
        if altered:
            values.append(self._by_prefix(rows[:altered], cut, later, origin.of(slice(altered))))
        if altered < len(rows):
            values.append(self._scored(rows[altered:], later, EXAMPLE))
        return torch.cat(values)

    def _by_prefix(self, rows: Tensor, cut: int, later: Sequence[int], origin: Origin) -> Tensor:
        """(n, G) of rows that alter a source before the cut: those with the same sources up to it go on together."""
        new = self.prefixes.shared[rows] < cut
        new[0] = True
        prefix, different = new.cumsum(0) - 1, rows[new]
        parents = origin.of(new)

        def piece(chunk: slice) -> Tensor:
            grown = Origin(self._states(different[chunk], cut, parents.of(chunk)), prefix, cut)
            members = (prefix >= chunk.start) & (prefix < chunk.stop)
            return self._scored(rows[members], later, replace(grown, parents=prefix[members] - chunk.start))

        begins, ends = self._tokens(different, origin, cut)
        # whatever their padding: what goes on from few prefixes at a time could not be sorted by its length
        size = self._size(begins, ends.max().expand_as(ends), cut)
        return torch.cat(list(in_chunks(len(different), size, piece)))

    def _to_the_end(self, rows: Tensor, origin: Origin) -> Tensor:
        """(n, G) of rows from their origin on: of those that begin nearly alike, those that end nearly alike."""
        budget, device = self.forwards.budget, self.forwards.adapter.device
        begins, ends = self._tokens(rows, origin)
        order = _by_ends(begins, ends, budget.fixed(device) // NEAR)

        def piece(chunk: slice) -> Tensor:
            values = self._values(self._inputs(rows[order[chunk]], origin.of(order[chunk])), origin.states)
            self.tally.add(len(values))
            return values

        values = torch.cat(list(in_chunks(len(rows), self._size(begins[order], ends[order]), piece)))
        return values[sent(order.argsort(), values.device)]

    # Forwards

    def _inputs(self, rows: Tensor, origin: Origin) -> PerturbedInputs:
        first = origin.stop or int(self.prefixes.starts[rows].min())
        perturbed = self.perturbations.rows(self.prefixes.order[rows], first)
        return replace(perturbed, skip=self.skips, parents=origin.parents)

    def _values(self, perturbed: PerturbedInputs, states: Any) -> Tensor:
        """(n, G)."""
        forwards, example = self.forwards, self.example
        with forwards.prepared(), torch.no_grad():
            forward = forwards.adapter.forward(example, perturbed, self._given(perturbed, states))
            return forwards.with_unaltered(example, forward, forwards.values(example, forward))

    def _states(self, rows: Tensor, cut: int, origin: Origin) -> Any:
        """The states of the sources before the cut."""
        perturbed = self._inputs(rows, origin)
        length = cut - perturbed.first
        keep = None if perturbed.keep is None else perturbed.keep[:, :length]
        perturbed = replace(perturbed, embeds=perturbed.embeds[:, :length], keep=keep)
        with self.forwards.prepared(), torch.no_grad():
            return self.forwards.adapter.states(self.example, perturbed, self._given(perturbed, origin.states))

    def _given(self, perturbed: PerturbedInputs, states: Any) -> Any:
        if states is None and perturbed.first:
            return self.forwards.remembered(self.example)[1]
        return states

    # How much goes at once

    def _tokens(self, rows: Tensor, origin: Origin, cut: int | None = None) -> tuple[Tensor, Tensor]:
        """(n,) (n,) where the tokens of each row begin that are run up to a cut or to the end, and where they end."""
        begins = torch.full_like(rows, origin.stop) if origin.stop else self.prefixes.starts[rows]
        stop = len(self.example.sources) if cut is None else cut
        return begins, begins + self.prefixes.lengths[rows, stop] - self.prefixes.lengths[rows, begins]

    def _size(self, begins: Tensor, ends: Tensor, cut: int | None = None) -> Callable[[int], int]:
        """From where a chunk of rows starts to how many go into one forward: as fit, and need little padding."""
        sources, adapter, budget = len(self.example.sources), self.forwards.adapter, self.forwards.budget
        footprint, targets = adapter.footprint(sources), 0 if cut else len(self.example.targets)

        def size(start: int) -> int:
            alike = budget.padded_alike(begins[start:], ends[start:], adapter.device)
            rows = slice(start, start + alike)
            first = int(begins[rows].min())
            held = (cut or sources) if cut or first else 0
            longest = max(1, int(ends[rows].max()) - first)
            return budget.rows_at_once(alike, longest, targets, footprint, adapter.device, held=held)

        return size


def _by_ends(begins: Tensor, ends: Tensor, near: int) -> Tensor:
    """The order of rows by where their tokens begin, in steps of `near`; then where they end, the last first."""
    order = begins.argsort(stable=True)
    order = order[ends[order].argsort(stable=True, descending=True)]
    return order[(begins[order] // max(1, near)).argsort(stable=True)]


def _lengths(example: Example, rows: int, seen: Tensor | None) -> Tensor:
    """(R, S + 1) how many tokens of each perturbation are run for the sources before each, and for all.

    Those that attention does not see (R, S) are not run; None where all are.
    """
    run = torch.ones(rows, len(example.sources), dtype=torch.bool) if seen is None else seen.cpu().clone()
    run[:, list(example.predictors)] = True
    return torch.nn.functional.pad(run.cumsum(1, dtype=torch.int32), (1, 0))


def _starts(example: Example, perturbations: Perturbations) -> Tensor:
    """(R,) how many sources of each perturbation need not run again.

    None where an encoder reads an altered one, since all its tokens see it; and no more than both continuations of a
    contrast read. The last predictor always runs.
    """
    most = max(example.predictors) if example.branch is None else example.predictors[0]
    starts = perturbations.altered_from.clamp(max=most)
    return torch.where(starts >= example.encoder, starts, 0)
