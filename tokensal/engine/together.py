"""Gradients of several examples at once: one forward, and backwards that carry a cotangent of each.

1. The examples are the rows of one forward. Shorter ones are padded behind their end, where nothing of theirs looks.
2. The score of each reads the logits of its own targets, and one backward through the head serves all.
3. At turn t each example is differentiated for its group t; one that has fewer groups gets a cotangent of zeros.
4. The gradients of each example are cut to its own sources, and reduced as those of an example by itself.

With backward rules, constants are multiplied by a leaf of ones, one for each example, whose gradient is their share.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tokensal.engine.activations import by_layer, raised
from tokensal.engine.budget import in_chunks
from tokensal.engine.differentiation import Graph, head_gradients
from tokensal.engine.forwards import Forwards
from tokensal.engine.gradients import Gradients
from tokensal.engine.rebuilding import require_reached
from tokensal.engine.reductions import Reduction, Rows
from tokensal.questions.masks import branch_sources, group_weights, pool_to_units
from tokensal.transfers import sent
from tokensal.types import Example, Footprint, Forward, HookPoint, Part


def gradients_together(
    engine: Forwards, examples: Sequence[Example], reduce: Reduction, *, at: HookPoint, layers: Sequence[int]
) -> list[Gradients]:
    """The gradients of each example as it is, as `Engine.gradients` yields those of one from its first source on.

    Args:
        engine: the model, the score, the budget, and the backward rules.
        examples: which the adapter `runs_together`; all of them branch, or none does.
        reduce, at, layers: as in `Engine.gradients`.

    Raises:
        UnsupportedModel: as there; or constants cannot be told apart by example.
        NonFiniteScores: the score of one of them is NaN or infinite.
        MemoryShortage: they do not fit the memory together.
    """
    joint = _Joint(engine, tuple(examples), at, layers)
    with engine.prepared():
        return joint.gradients(reduce)


@dataclass(frozen=True, eq=False)
class _Joint:
    """Several examples, and what is differentiated."""

    engine: Forwards
    examples: tuple[Example, ...]
    at: HookPoint
    layers: Sequence[int]

    def gradients(self, reduce: Reduction) -> list[Gradients]:
        self.engine.budget.require_together(self._rows, self._footprint, self.engine.adapter.device)
        graph, values = self._graph()
        tables, shares = self._reduced(graph, reduce)
        return [self._of_example(graph, row, values[row], table, shares) for row, table in enumerate(tables)]

    def _graph(self) -> tuple[Graph, list[Tensor]]:
        """Steps 1 and 2: the graph of all, and the scores (1, G) of the targets of each."""
        engine, adapter, examples = self.engine, self.engine.adapter, self.examples
        embeds, constants = [adapter.embed(example) for example in examples], None
        if self.at is HookPoint.EMBEDDINGS:
            embeds = [each.detach().requires_grad_() for each in embeds]
            if engine.rules is not None:
                constants = embeds[0].new_ones(len(examples)).requires_grad_()
        with ExitStack() as undo:
            if engine.rules is not None:
                undo.enter_context(adapter.ruled(engine.rules, constants))
            recorded = undo.enter_context(adapter.recorded(self.at, self.layers, graph=True))
            forward = adapter.forward_together(examples, embeds)
        values = [
            engine.values(example, Forward(forward.hidden, forward.leaves, forward.logits[row, columns][None]))
            for row, (example, columns) in enumerate(zip(examples, self._columns, strict=True))
        ]
        each = torch.cat([value.flatten() for value in values])
        head, totals = head_gradients(forward, each, totals=engine.rules is not None)
        tensors = tuple(activation.tensor for activation in recorded) or tuple(embeds)
        require_reached(all(tensor.requires_grad for tensor in tensors))
        index = torch.arange(len(examples))
        return Graph(index, 0, tensors, tuple(recorded), forward, each, head, totals, constants), values

    def _reduced(self, graph: Graph, reduce: Reduction) -> tuple[list[Tensor], Tensor | None]:
        """Steps 3 and 4: a number for each group and source of each example, (K, S), and the shares of constants."""
        groups = [len(example.groups) for example in self.examples]
        weights = self._weights(graph)
        tensors = [tensor.detach() for tensor in graph.tensors]
        activations = [self._own(graph, row, tensors, 0) for row in range(len(groups))]

        def piece(turns: slice) -> tuple[list[Tensor | None], Tensor | None]:
            cotangents = weights[turns][..., None] * graph.head  # (k, N, G, H)
            *gradients, share = graph.gradients(cotangents)
            tables: list[Tensor | None] = []
            for row, count in enumerate(groups):
                about = torch.arange(count)[turns, None]  # (k, 1), of an example with fewer groups fewer turns
                rows = Rows(self.examples[row], torch.zeros(1, dtype=torch.int64), about, 0, graph.head.device)
                own = self._own(graph, row, [gradient[: len(about)] for gradient in gradients], 1)
                tables.append(reduce(activations[row], own, rows)[:, 0] if len(about) else None)
            return tables, share

        pieces = list(in_chunks(max(groups), self._turns_at_once(graph, max(groups)), piece))
        tables = [
            torch.cat([table for table in each if table is not None])
            for each in zip(*(tables for tables, _ in pieces), strict=True)
        ]
        shares = [share for _, share in pieces if share is not None]
        return tables, torch.cat(shares) if shares else None

    def _own(self, graph: Graph, row: int, tensors: Sequence[Tensor], dimension: int) -> list[Tensor]:
        """One tensor a layer of an example alone, which has the rows of a forward in that dimension."""
        example = self.examples[row]
        if not graph.recorded:
            return [raised(tensors[row]).unsqueeze(dimension)]
        axes, own = branch_sources(example), []
        for number, (activation, tensor) in enumerate(zip(graph.recorded, tensors, strict=True)):
            decoder = len(axes[number * len(axes) // len(tensors)]) - example.encoder
            tensor = tensor.narrow(dimension, row, 1)
            for place, part in ((-2, activation.rows), (-1, activation.columns)):
                if part is not None:
                    tensor = tensor.narrow(place, 0, example.encoder if part is Part.FIRST else decoder)
            own.append(tensor)
        return by_layer(example, graph.recorded, own, graph.head.device, add=dimension == 1)

    def _of_example(self, graph: Graph, row: int, values: Tensor, table: Tensor, shares: Tensor | None) -> Gradients:
        """What `Engine.gradients` yields of an example, from its numbers (K, S) and those of all."""
        example, columns = self.examples[row], self._columns[row]
        weights = sent(group_weights(example), table.device).T
        reduced = pool_to_units(table[None], example)
        scores = values.detach() @ weights.to(values)
        if graph.totals is None:
            return Gradients(scores, reduced)
        totals = graph.totals[row, columns][None] @ weights.to(graph.totals)
        if graph.constants is None:
            return Gradients(scores, reduced, totals.to(table))
        constants = graph.head_constants[row, columns][None] @ weights.to(graph.head)
        if shares is not None:
            constants = constants + shares[: len(table), row].to(constants)
        return Gradients(scores, reduced, totals.to(table), constants.to(table))

    def _weights(self, graph: Graph) -> Tensor:
        """(K, N, G) the weight of each target, by the number of its group, for as many groups as one has at most."""
        examples = self.examples
        most = max(len(example.groups) for example in examples)
        table = torch.zeros(len(examples), most, graph.head.shape[1])
        for weights, example, columns in zip(table, examples, self._columns, strict=True):
            weights[: len(example.groups), columns] = group_weights(example)
        return sent(table.transpose(0, 1), graph.head)

    @property
    def _columns(self) -> list[Tensor]:
        """(G,) where the targets of each example are in a forward of all (see `Adapter.forward_together`)."""
        firsts = [len(each.targets) if each.branch is None else each.branch.target for each in self.examples]
        targets = [torch.arange(len(each.targets)) for each in self.examples]
        most = max(firsts)
        return [each + (each >= first) * (most - first) for each, first in zip(targets, firsts, strict=True)]

    # How much goes at once

    @property
    def _longest(self) -> int:
        return max(len(example.sources) for example in self.examples)

    @property
    def _rows(self) -> int:
        """Tokens of the forward, with the padding."""
        return len(self.examples) * self._longest

    @property
    def _footprint(self) -> Footprint:
        return self.engine.adapter.footprint(self._longest)

    def _turns_at_once(self, graph: Graph, total: int) -> int:
        footprint = self._footprint
        if graph.recorded:  # the gradients at all layers are in hand together
            recorded = sum(tensor.nbytes for tensor in graph.tensors) // self._rows
            footprint = replace(footprint, moved=footprint.moved + recorded)
        return self.engine.budget.cotangents(total, self._rows, footprint, self.engine.adapter.device)
