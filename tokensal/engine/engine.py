"""The engine: scores and reduced gradients of many perturbations, for all targets at once.

Gradients, step by step:

1. Perturbations go through the model in chunks. One forward serves every target; its graph is kept.
2. The graph is cut where hidden states enter the head. The score of a target reads its own hidden state alone, so
   one backward through the head gives the cotangent of every target: row g of ∂(Σ y)/∂hidden is ∂y_g/∂hidden_g.
3. The groups (K, G) spread these rows into cotangents (K, R, G, H), and batched vector-Jacobian products carry a
   chunk of groups at a time through the body, in one backward each.
4. Each gradient is reduced over D at once: (K, R, S, D) never exists for more than a chunk.

Scores alone, step by step:

1. The example itself goes through the model once. Its scores, and the states of its sources, are remembered.
2. Perturbations with as many unaltered sources at their beginning, or nearly, go together, and start from those states.
3. Targets that are predicted before the first altered source keep the score they had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tokensal.engine.adapter import Adapter
from tokensal.engine.budget import Budget, in_chunks
from tokensal.engine.reductions import Reduction
from tokensal.errors import InputError, NonFiniteScores
from tokensal.questions.masks import group_weights
from tokensal.scores import Score, logprob
from tokensal.types import Example, Forward, Perturbations, PerturbedInputs

Progress = Callable[[int, int], None]  # (pieces done, pieces in all)


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """A chunk of n perturbations, differentiated.

    Attributes:
        values: (n, K) the score of each group.
        reduced: (n, K, S) its gradient for each source, reduced over D.
    """

    values: Tensor
    reduced: Tensor


@dataclass(slots=True)
class Tally:
    """Counts pieces of work and reports them. A piece that is done again after a shortage of memory counts twice."""

    report: Progress
    total: int
    done: int = 0

    def add(self, pieces: int) -> None:
        self.done = min(self.done + pieces, self.total)
        self.report(self.done, self.total)


class Engine:
    """Scores and gradients for one adapter, one score and one budget.

    Args:
        adapter: the model.
        score: what is explained, a function (…, G, V), (G,) → (…, G).
        budget: how much goes at once.
        progress: called with (done, total) as pieces of work are finished.
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
        self._latest: tuple[Example, Tensor, Any] | None = None

    def embed(self, example: Example) -> Tensor:
        """The embeddings of the sources, unaltered: (S, D)."""
        with self.differentiable():
            return self.adapter.embed(example)

    def reference(self, example: Example, given: str | Tensor) -> Tensor:
        """What can stand in for an absent source: embeddings (S, D).

        Args:
            example: the tokens.
            given: "zero", the name of a reference that the adapter knows, or embeddings (D,) or (S, D).

        Raises:
            InputError: an unknown name, one that the tokenizer has no token for, or embeddings of another shape.
        """
        with self.differentiable():
            embeds = self.adapter.embed(example)
            if isinstance(given, Tensor):
                if given.shape not in (embeds.shape, embeds.shape[1:]):
                    raise InputError(
                        f"The baseline's embeddings have shape {tuple(given.shape)}, but should have "
                        f"{tuple(embeds.shape)}, or {tuple(embeds.shape[1:])} for every source alike."
                    )
                return given.detach().to(embeds).expand_as(embeds)
            return torch.zeros_like(embeds) if given == "zero" else self.adapter.baseline(given, len(embeds))

    def gradients(
        self,
        example: Example,
        perturbed: Perturbations,
        reduce: Reduction,
        *,
        wanted: Tensor | None = None,
    ) -> Iterator[Gradients]:
        """Differentiate the score of each group with respect to the embeddings of each perturbation.

        Args:
            example: the tokens.
            perturbations: R altered copies of the source embeddings.
            reduce: what reduces a gradient over D to one number for each source.
            wanted: (R, K) bool, which groups to differentiate for each perturbation, by default all; others stay 0.

        Yields:
            Gradients of as many perturbations as went at once, in their order.

        Raises:
            NonFiniteScores: the model returned NaN or infinity.
            MemoryShortage: not even one perturbation and one group fit the memory.
        """
        everything = torch.ones(len(perturbed), len(example.groups), dtype=torch.bool)
        wanted = everything if wanted is None else wanted.cpu()
        tally = Tally(self.progress, int(wanted.sum()))

        def piece(rows: slice) -> Gradients:
            return self._differentiate(example, perturbed[rows], reduce, wanted[rows], tally)

        def size(start: int) -> int:
            return self._variants_at_once(example, wanted[start:].sum(1))

        yield from in_chunks(len(perturbed), size, piece)

    def _differentiate(
        self,
        example: Example,
        perturbed: PerturbedInputs,
        reduce: Reduction,
        wanted: Tensor,
        tally: Tally,
    ) -> Gradients:
        original, states = self._remembered(example) if perturbed.first else (None, None)
        with self.differentiable():
            embeds = perturbed.embeds.detach().requires_grad_()
            self.budget.check(embeds[..., 0].numel(), self.adapter.footprint(len(example.sources)), embeds.device)
            forward = self.adapter.forward(example, replace(perturbed, embeds=embeds), states)
            values = self.values(example, forward)
            head = at_the_head(forward, values)
            groups = group_weights(example).to(head)
            turns = _turns(wanted)  # stays on the CPU: it is an index into tensors of several devices

            def products(chunk: slice) -> Tensor:
                cotangents = groups[:, forward.start :][turns[chunk]][..., None] * head  # (k, n, G, H)
                (gradient,) = torch.autograd.grad(
                    forward.hidden, embeds, cotangents, is_grads_batched=True, retain_graph=True
                )
                tally.add(int(wanted.sum(1).clamp(max=chunk.stop).sub(chunk.start).clamp(min=0).sum()))
                return reduce(gradient, embeds.detach())  # (k, n, S - first)

            size = self._groups_at_once(example, embeds, len(turns))
            found = torch.cat(list(in_chunks(len(turns), size, products)))
            reduced = found.new_zeros(len(values), len(groups), len(example.sources))
            reduced[torch.arange(len(values)), turns, perturbed.first :] = found
            reduced[~wanted] = 0
            whole = values.detach()
            if original is not None:
                whole = torch.cat([original[: forward.start].expand(len(values), -1), whole], dim=1)
            return Gradients(whole @ groups.to(whole).T, reduced)

    def scores(self, example: Example, perturbed: Perturbations) -> Tensor:
        """The score of each group for each perturbation, forward only: (R, K).

        Raises:
            NonFiniteScores, MemoryShortage: as in `gradients`.
        """
        tally = Tally(self.progress, len(perturbed))

        def piece(rows: slice) -> Tensor:
            found = self._scores(example, perturbed[rows])
            tally.add(len(found))
            return found

        def size(start: int) -> int:
            return self._rows_at_once(example, perturbed, start)

        values = torch.cat(list(in_chunks(len(perturbed), size, piece)))
        return values @ group_weights(example).to(values).T

    def original(self, example: Example) -> Tensor:
        """The score of each group as things are: (K,)."""
        values = self._remembered(example)[0]
        return values @ group_weights(example).to(values).T

    def likeliest(self, example: Example, count: int) -> tuple[Tensor, Tensor]:
        """The tokens that the model held most likely in the place of each target: ids and probabilities (G, count)."""
        with self.differentiable(), torch.no_grad():
            [logits] = self.adapter.original(example).forward.logits
            found = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1).topk(count)
            return found.indices.cpu(), found.values.cpu()

    def _scores(self, example: Example, perturbed: PerturbedInputs) -> Tensor:
        with self.differentiable(), torch.no_grad():
            if not perturbed.first:
                return self.values(example, self.adapter.forward(example, perturbed))
            original, states = self._remembered(example)
            forward = self.adapter.forward(example, perturbed, states)
            unaltered = original[: forward.start].expand(len(perturbed), -1)
            return torch.cat([unaltered, self.values(example, forward)], dim=1)

    def _remembered(self, example: Example) -> tuple[Tensor, Any]:
        """The scores (G,) of the example as it is, and the states of its sources: run once, while it is in work."""
        if self._latest is None or self._latest[0] is not example:
            with self.differentiable(), torch.no_grad():
                original = self.adapter.original(example)
                self._latest = example, self.values(example, original.forward)[0], original.states
        return self._latest[1:]

    def values(self, example: Example, forward: Forward) -> Tensor:
        """The score of each target that a forward predicts: (R, G - start).

        Raises:
            NonFiniteScores: one of them is NaN or infinite.
        """
        explained = example.targets[forward.start :]
        targets = torch.tensor([token.id for token in explained], device=forward.logits.device)
        values = self.score(forward.logits, targets)  # (n, G - start)
        if not values.isfinite().all():
            index = forward.start + int((~values.isfinite()).nonzero()[0, 1])
            raise NonFiniteScores(
                f"The score of target {index} ({example.targets[index].text!r}) is not a finite number; the model "
                f"overflows in {str(forward.logits.dtype).removeprefix('torch.')}: load it with dtype='float32'."
            )
        return values

    def _variants_at_once(self, example: Example, wanted: Tensor) -> int:
        sources = len(example.sources)
        return self.budget.perturbed(wanted, sources, self.adapter.footprint(sources), self.adapter.device)

    def _rows_at_once(self, example: Example, perturbed: Perturbations, start: int) -> int:
        """How many perturbations from `start` on go into one forward: as fit, and begin near the first."""
        shared = _shared(example, perturbed, start)
        sources = len(example.sources) - shared
        footprint, targets = self.adapter.footprint(len(example.sources)), len(example.targets)
        most = self.budget.rows_at_once(len(perturbed) - start, sources, targets, footprint, self.adapter.device)
        near = shared + self.budget.spare(sources, self.adapter.device)
        rows = range(start + 1, start + most)
        return next((row - start for row in rows if _shared(example, perturbed, row) > near), most)

    def _groups_at_once(self, example: Example, embeds: Tensor, total: int) -> int:
        rows = embeds[..., 0].numel()
        return self.budget.cotangents(total, rows, self.adapter.footprint(len(example.sources)), embeds.device)

    @contextmanager
    def differentiable(self) -> Iterator[None]:
        """Inside, the adapter is prepared, and gradients flow even under a caller's no_grad or inference_mode."""
        with torch.inference_mode(False), torch.enable_grad(), self.adapter.prepared():
            yield


def at_the_head(forward: Forward, values: Tensor) -> Tensor:
    """The gradient of each target's score where its hidden state enters the head: (R, G, H)."""
    return torch.cat(torch.autograd.grad(values.sum(), forward.leaves), dim=1)


def _shared(example: Example, perturbed: Perturbations, row: int) -> int:
    """How many sources need not run again.

    None where an encoder reads an altered one, since all its tokens see it; and no more than both continuations read.
    """
    shared = perturbed.shared(row)
    if example.branch is not None:
        shared = min(shared, example.predictors[0])
    return shared if shared >= example.encoder else 0


def _turns(wanted: Tensor) -> Tensor:
    """Which group each perturbation is differentiated for at each turn: (T, n), from (n, K) wanted.

    A backward treats perturbations apart, so one cotangent can ask each for another group. A perturbation that wants
    fewer groups than there are turns is asked for one that it does not want, and the answer is dropped.
    """
    order = (~wanted).to(torch.uint8).argsort(dim=1, stable=True)
    return order[:, : max(1, int(wanted.sum(1).max()))].T
