"""The engine: scores, gradients and activations of many perturbations, for all targets at once.

Gradients, step by step:

1. Perturbations go through the model in chunks. One forward serves every target; its graph is kept.
2. The graph is cut where hidden states enter the head. The score of a target reads its own hidden state alone, so
   one backward through the head gives the cotangent of every target: row g of ∂(Σ y)/∂hidden is ∂y_g/∂hidden_g.
3. The groups (K, G) spread these rows into cotangents (K, R, G, H), and batched vector-Jacobian products carry a
   chunk of groups at a time through the body, in one backward each, down to the embeddings or to layers.
4. Each gradient is reduced to a number for each source at once: (K, R, S, D) never exists for more than a chunk.
   Where averages over perturbations are asked for, the gradients are averaged first, and the averages reduced; or the
   variances of their numbers.

Scores alone: the example itself goes through the model once. Its scores, and the states of its sources, are remembered,
and perturbations share them, and the work on sources that they alter alike (see `tokensal.engine.scoring`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.engine.activations import by_layer
from tokensal.engine.budget import in_chunks
from tokensal.engine.differentiation import head_directions, head_gradients
from tokensal.engine.forwards import Asked, Forwards, Tally
from tokensal.engine.gradients import Differentiation, Gradients
from tokensal.engine.reductions import Reduction
from tokensal.engine.scoring import Scoring
from tokensal.errors import InputError, UnsupportedModel, foreign
from tokensal.perturbations.inputs import Perturbations, PerturbedInputs, Unperturbed
from tokensal.questions.masks import group_weights
from tokensal.transfers import sent
from tokensal.types import AttentionParts, Edit, Example, HookPoint, Rules, Secants

Read = Callable[
    [Sequence[Tensor], Tensor], Tensor
]  # activations (one tensor a layer) and their numbers (n,), to (n, …)


class Engine(Forwards):
    """Scores, gradients and activations for one adapter, one score and one budget.

    Args:
        adapter: the model.
        score: what is explained, a function (…, G, V), (G,) → (…, G).
        budget: how much goes at once.
        progress: called with (done, total) as pieces of work are finished.

    Attributes:
        removal: what "absent" means where nobody says; see `tokensal.Occlusion`.
    """

    removal: ClassVar[str] = "mask"

    def with_rules(self, rules: Rules) -> Engine:
        """An engine whose gradients follow other backward rules; its scores are the same."""
        engine = copy.copy(self)
        engine.rules, engine.kept = rules, None
        return engine

    def with_reference(self, reference: Tensor, secants: Secants) -> Engine:
        """An engine whose gradients are secants: gradient × (embedding − reference) adds up to the change of a score.

        Args:
            reference: embeddings (S, D) that the example is compared to.
            secants: how products are shared.
        """
        engine = copy.copy(self)
        engine.reference, engine.kept = (reference, secants), None
        return engine

    def with_shift(self, shift: Tensor) -> Engine:
        """An engine of the same model at other embeddings: a shift (S, D) is added to those of an example."""
        return type(self)(self.adapter.shifted(shift), self.score, budget=self.budget, progress=self.progress)

    def embed(self, example: Example) -> Tensor:
        """The embeddings of the sources, unaltered: (S, D)."""
        with self.prepared():
            return self.adapter.embed(example)

    def baseline(self, example: Example, baseline: str | Tensor) -> Tensor:
        """What can stand in for an absent source: embeddings (S, D).

        Args:
            example: the tokens.
            baseline: "zero", the name of one that the adapter knows, or embeddings (D,) or (S, D).

        Raises:
            InputError: an unknown name, one that the tokenizer has no token for, or embeddings of another shape.
        """
        with self.prepared():
            embeds = self.adapter.embed(example)
            if isinstance(baseline, Tensor):
                if baseline.shape not in (embeds.shape, embeds.shape[1:]):
                    raise InputError(
                        f"The baseline's embeddings have shape {tuple(baseline.shape)}, but should have "
                        f"{tuple(embeds.shape)}, or {tuple(embeds.shape[1:])} for every source alike."
                    )
                return baseline.detach().to(embeds).expand_as(embeds)
            return torch.zeros_like(embeds) if baseline == "zero" else self.adapter.baseline(baseline, len(embeds))

    # Gradients

    def gradients(
        self,
        example: Example,
        perturbations: Perturbations,
        reduce: Reduction,
        *,
        at: HookPoint = HookPoint.EMBEDDINGS,
        layers: Sequence[int] = (),
        first: int = 0,
        wanted: Tensor | None = None,
        average: Tensor | None = None,
        variance: bool = False,
    ) -> Iterator[Gradients]:
        """Differentiate the score of each group with respect to the embeddings, or to what layers compute.

        Args:
            example: the tokens.
            perturbations: R altered copies of the source embeddings.
            reduce: what makes a number for each source of a gradient.
            at: where the gradients are taken.
            layers: indices of layers, ascending; none for the embeddings.
            first: gradients at the embeddings are asked for from this source on; those before get 0.
            wanted: (R, K) bool, which groups to differentiate for each perturbation, by default all; others stay 0.
            average: (A, R) weights of A averages, each of which is reduced instead of the perturbations themselves.
                Those of each add up to 1, and those that are not 0 are equal.
            variance: of the gradients, it is not the averages that are reduced, but the unbiased variances of each
                number over the perturbations of an average.

        Yields:
            Gradients of as many perturbations as went at once, in their order; or once, of all averages. Those of the
            example as it is may be known `ahead`.

        Raises:
            UnsupportedModel: the layers cannot be read, or the rules cannot be applied.
            NonFiniteScores: the model returned NaN or infinity.
            MemoryShortage: not even one perturbation and one group fit the memory.
        """
        start = 0
        if at is HookPoint.EMBEDDINGS:
            start = min(first, int(perturbations.altered_from.min()), len(example.sources) - 1)
        as_it_is = isinstance(perturbations, Unperturbed) and len(perturbations) == 1 and wanted is average is None
        if as_it_is and start == 0 and self.reference is None:
            asked = Asked(example, self.rules, at, tuple(layers), reduce)
            if known := [gradients for each, gradients in self.ahead if each == asked]:
                Tally(self.progress, len(example.groups)).add(len(example.groups))
                yield known[0]
                return
        differentiation = Differentiation(self, example, perturbations, at, layers, start)
        if average is not None:
            yield differentiation.averaged(reduce, average, variance=variance)
        else:
            yield from differentiation.reduced(reduce, None if wanted is None else wanted.cpu())

    # Scores

    def scores(self, example: Example, perturbations: Perturbations, tally: Tally | None = None) -> Tensor:
        """The score of each group for each perturbation, forward only: (R, K).

        Args:
            example: the tokens.
            perturbations: R altered copies of the source embeddings.
            tally: counts them together with those of other calls; by default, they are all there is.

        Raises:
            NonFiniteScores, MemoryShortage: as in `gradients`.
        """
        self.kept = None
        values = Scoring.of(self, example, perturbations, tally).scores()
        return values @ sent(group_weights(example), values).T

    def original(self, example: Example) -> Tensor:
        """The score of each group as things are: (K,)."""
        values = self.unaltered(example)
        return values @ sent(group_weights(example), values).T

    def likeliest(self, example: Example, count: int) -> tuple[Tensor, Tensor]:
        """The tokens that the model held most likely in the place of each target: ids and probabilities (G, count)."""
        with self.prepared(), torch.no_grad():
            original = self.adapter.original(example)
            self._latest = example, self.values(example, original.forward)[0], original.states
            [logits] = original.forward.logits
            if count > logits.shape[-1]:
                raise InputError(f"alternatives is {count}, but the model's vocabulary has {logits.shape[-1]} tokens.")
            top = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1).topk(count)
            return top.indices.cpu(), top.values.cpu()

    # Activations

    def activations(
        self,
        example: Example,
        perturbations: Perturbations,
        read: Read,
        *,
        at: HookPoint,
        layers: Sequence[int],
        edit: Edit | None = None,
        each: Callable[[Tensor], Tensor] | None = None,
    ) -> Iterator[Tensor]:
        """Read what layers compute, forward only and without a graph, so that quantised models work too.

        Args:
            example: the tokens.
            perturbations: R altered copies of the source embeddings.
            read: from one tensor a layer, (n, S, H) or (n, heads, S, S), and the numbers (n,) of the perturbations.
            at: what is read.
            layers: indices of layers, ascending.
            edit: changes activations of the same layers on the way.
            each: applied to what each layer computes as soon as it is computed, such as a mean of attention weights
                (n, heads, rows, columns) over heads; (n, …, rows, columns) of all layers are in memory together.

        Yields:
            What `read` returns, of as many perturbations as went at once, in their order.

        Raises:
            UnsupportedModel: the layers cannot be read or edited.
            MemoryShortage: not even one perturbation fits the memory.
        """
        self.kept = None
        tally = Tally(self.progress, len(perturbations))
        sources = len(example.sources)

        def piece(rows: slice) -> Tensor:
            index = torch.arange(rows.start, rows.stop)
            with self.prepared(), torch.no_grad(), ExitStack() as undo:
                recorded = undo.enter_context(self.adapter.recorded(at, layers, graph=False, each=each))
                if edit is not None:
                    undo.enter_context(
                        self.adapter.edited(edit.points, layers, lambda activation: edit.write(activation, index))
                    )
                forward = self.adapter.forward(example, perturbations.rows(index, 0))
                if isinstance(perturbations, Unperturbed) and edit is None:
                    self.remember_scores(example, self.values(example, forward)[0])
                tensors = [activation.tensor for activation in recorded]
                return read(by_layer(example, recorded, tensors, self.adapter.device, add=False), index)

        footprint = self.adapter.footprint(sources)
        kept = 4 * len(layers) * self.adapter.width(at, sources)
        size = self.budget.rows_at_once(
            len(perturbations),
            sources,
            len(example.targets),
            replace(footprint, moved=footprint.moved + kept),
            self.adapter.device,
        )
        for result in in_chunks(len(perturbations), size, piece):
            tally.add(len(result))
            yield result

    def decomposed(
        self, example: Example, measure: Callable[[AttentionParts], Tensor], *, layers: Sequence[int]
    ) -> list[Tensor]:
        """What is made of the parts of each attention, in one forward of the example as it is, without a graph.

        Args:
            example: the tokens.
            measure: from the parts of one attention to (rows, columns). Of an example that branches it is called for
                the attentions of one continuation, then for those of the other.
            layers: indices of layers, ascending.

        Returns:
            For each attention, from the lowest: (S, S) on the axis of all sources, zero where it does not look.

        Raises:
            UnsupportedModel: the layers cannot be read in parts.
        """
        self.kept = None
        tally = Tally(self.progress, 1)
        with self.prepared(), torch.no_grad():
            with self.adapter.decomposed(layers, measure) as recorded:
                forward = self.adapter.forward(example, PerturbedInputs(self.adapter.embed(example)[None]))
            self.remember_scores(example, self.values(example, forward)[0])
            tensors = [activation.tensor for activation in recorded]
            tables = by_layer(example, recorded, tensors, self.adapter.device, add=False)
        tally.add(1)
        return [table[0] for table in tables]

    def directions(self, example: Example) -> tuple[Tensor, Tensor]:
        """What the score of each target reads of the highest layer's output, with the scale of the last norm constant.

        Returns:
            Directions (G, H): a score that is linear in the logits is the inner product of the output at the position
            that predicts it, and a constant. And (G,) the score as a linear function of the logits (see `Gradients`).

        Raises:
            InputError: the score or the head has no gradient.
            UnsupportedModel: nor has the norm below the head.
        """
        self.kept = None
        with self.prepared():
            with self.adapter.linear_head() as leaves:
                forward = self.adapter.forward(example, PerturbedInputs(self.adapter.embed(example)[None]))
            values = self.values(example, forward)
            self.remember_scores(example, values[0])
            head, totals = head_gradients(forward, values, totals=True)
            assert totals is not None
            with foreign(UnsupportedModel, "The norm below the head of this model cannot be differentiated"):
                return head_directions(example, forward, head, leaves), totals[0]
