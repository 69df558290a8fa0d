"""The engine: scores and contracted gradients of many variants, for all targets at once.

Gradients, step by step:

1. Variants go through the model in chunks. One forward serves every target; its graph is kept.
2. The graph is cut where hidden states enter the head. The score of a target reads its own hidden state alone, so
   one backward through the head gives the cotangent of every target: row g of ∂(Σ y)/∂hidden is ∂y_g/∂hidden_g.
3. The groups (K, G) spread these rows into cotangents (K, R, G, H), and batched vector-Jacobian products carry a
   chunk of groups at a time through the body, in one backward each.
4. Each gradient is contracted over D at once: (K, R, S, D) never exists for more than a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tokensal.contractions import Contraction
from tokensal.engine.adapter import Adapter
from tokensal.engine.budget import Budget, in_chunks
from tokensal.errors import NonFiniteScores
from tokensal.scores import Score, logprob
from tokensal.types import Example, Forward, Variants

Progress = Callable[[int, int], None]  # (pieces done, pieces in all)


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """A chunk of n variants, differentiated.

    Attributes:
        values: (n, K) the score of each group.
        contracted: (n, K, S) its gradient for each source, contracted over D.
    """

    values: Tensor
    contracted: Tensor


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

    def embed(self, example: Example) -> Tensor:
        """The embeddings of the sources, unaltered: (S, D)."""
        with self._differentiable():
            return self.adapter.embed(example)

    def gradients(
        self, example: Example, variants: Variants, contract: Contraction, *, groups: Tensor | None = None
    ) -> Iterator[Gradients]:
        """Differentiate the score of each group with respect to the embeddings of each variant.

        Args:
            example: the tokens.
            variants: R altered copies of the source embeddings.
            contract: what reduces a gradient over D to one number for each source.
            groups: (K, G) weights of the targets in each explained sum; by default each target by itself.

        Yields:
            Gradients of as many variants as went at once, in their order.

        Raises:
            NonFiniteScores: the model returned NaN or infinity.
            MemoryShortage: not even one variant and one group fit the memory.
        """
        groups = torch.eye(len(example.targets)) if groups is None else groups
        tally = Tally(self.progress, len(variants) * len(groups))

        def piece(rows: slice) -> Gradients:
            return self._differentiate(example, variants[rows], contract, groups, tally)

        yield from in_chunks(len(variants), self._variants_at_once(example, len(variants)), piece)

    def _differentiate(
        self, example: Example, variants: Variants, contract: Contraction, groups: Tensor, tally: Tally
    ) -> Gradients:
        with self._differentiable():
            embeds = variants.embeds.detach().requires_grad_()
            forward = self.adapter.forward(example, replace(variants, embeds=embeds))
            values = self._values(example, forward)
            (head,) = torch.autograd.grad(values.sum(), forward.leaf)
            weights = groups.to(head)

            def products(chunk: slice) -> Tensor:
                cotangents = weights[chunk, None, :, None] * head  # (k, n, G, H)
                (gradient,) = torch.autograd.grad(
                    forward.hidden, embeds, cotangents, is_grads_batched=True, retain_graph=True
                )
                tally.add(len(cotangents) * len(values))
                return contract(gradient, embeds.detach())  # (k, n, S)

            size = self._groups_at_once(example, embeds, len(groups))
            contracted = torch.cat(list(in_chunks(len(groups), size, products)))
            return Gradients(values.detach() @ groups.to(values).T, contracted.transpose(0, 1))

    def scores(self, example: Example, variants: Variants, *, groups: Tensor | None = None) -> Tensor:
        """The score of each group for each variant, forward only: (R, K).

        Raises:
            NonFiniteScores, MemoryShortage: as in `gradients`.
        """

        def piece(rows: slice) -> Tensor:
            with self._differentiable(), torch.no_grad():
                return self._values(example, self.adapter.forward(example, variants[rows]))

        size = self._variants_at_once(example, len(variants))
        values = torch.cat(list(in_chunks(len(variants), size, piece)))
        return values if groups is None else values @ groups.to(values).T

    def _values(self, example: Example, forward: Forward) -> Tensor:
        targets = torch.tensor([token.id for token in example.targets], device=forward.logits.device)
        values = self.score(forward.logits, targets)  # (n, G)
        if not values.isfinite().all():
            index = int((~values.isfinite()).nonzero()[0, 1])
            raise NonFiniteScores(
                f"The score of target {index} ({example.targets[index].text!r}) is not a finite number; the model "
                f"overflows in {str(forward.logits.dtype).removeprefix('torch.')}: load it with dtype='float32'."
            )
        return values

    def _variants_at_once(self, example: Example, total: int) -> int:
        sources = len(example.sources)
        return self.budget.variants(total, sources, self.adapter.footprint(sources), self.adapter.device)

    def _groups_at_once(self, example: Example, embeds: Tensor, total: int) -> int:
        rows = embeds[..., 0].numel()
        return self.budget.cotangents(total, rows, self.adapter.footprint(len(example.sources)), embeds.device)

    @contextmanager
    def _differentiable(self) -> Iterator[None]:
        # also under a caller's no_grad or inference_mode
        with torch.inference_mode(False), torch.enable_grad(), self.adapter.prepared():
            yield
