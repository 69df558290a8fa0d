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
        targets = len(example.targets)
        groups = torch.eye(targets) if groups is None else groups
        footprint, device = self.adapter.footprint(len(example.sources)), self.adapter.device
        size = self.budget.variants(len(variants), len(example.sources), footprint, device)
        total, finished = len(variants) * len(groups), 0

        def piece(rows: slice) -> Gradients:
            nonlocal finished
            found = self._differentiate(example, variants[rows], contract, groups, lambda n: report(finished + n))
            finished += len(found.values) * len(groups)
            return found

        def report(done: int) -> None:
            self.progress(done, total)

        yield from in_chunks(len(variants), size, piece)

    def _differentiate(
        self, example: Example, variants: Variants, contract: Contraction, groups: Tensor, report: Callable[[int], None]
    ) -> Gradients:
        with self._differentiable():
            embeds = variants.embeds.detach().requires_grad_()
            forward = self.adapter.forward(example, replace(variants, embeds=embeds))
            values = self._values(example, forward)
            (head,) = torch.autograd.grad(values.sum(), forward.leaf)
            groups = groups.to(head)
            done = 0

            def vector_jacobian_products(chunk: slice) -> Tensor:
                nonlocal done
                cotangents = groups[chunk, None, :, None] * head  # (k, n, G, H)
                (gradient,) = torch.autograd.grad(
                    forward.hidden, embeds, cotangents, is_grads_batched=True, retain_graph=True
                )
                done += len(cotangents) * len(values)
                report(done)
                return contract(gradient, embeds.detach())  # (k, n, S)

            footprint = self.adapter.footprint(len(example.sources))
            size = self.budget.cotangents(len(groups), embeds[..., 0].numel(), footprint, embeds.device)
            contracted = torch.cat(list(in_chunks(len(groups), size, vector_jacobian_products)))
            return Gradients(values.detach() @ groups.to(values).T, contracted.transpose(0, 1))

    def scores(self, example: Example, variants: Variants, *, groups: Tensor | None = None) -> Tensor:
        """The score of each group for each variant, forward only: (R, K).

        Raises:
            NonFiniteScores, MemoryShortage: as in `gradients`.
        """
        footprint, device = self.adapter.footprint(len(example.sources)), self.adapter.device
        size = self.budget.variants(len(variants), len(example.sources), footprint, device)

        def piece(rows: slice) -> Tensor:
            with self._differentiable(), torch.no_grad():
                return self._values(example, self.adapter.forward(example, variants[rows]))

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

    @contextmanager
    def _differentiable(self) -> Iterator[None]:
        # also under a caller's no_grad or inference_mode
        with torch.inference_mode(False), torch.enable_grad(), self.adapter.prepared():
            yield
