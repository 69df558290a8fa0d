"""Gradients of many perturbations: reduced a chunk at a time, or averaged first and then reduced."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tokensal.chunks import in_chunks
from tokensal.engine.differentiation import Collect, Graph, head_gradients, turns_of
from tokensal.engine.forwards import Forwards, Tally
from tokensal.engine.moments import Moments, moments_of, unbiased
from tokensal.engine.rebuilding import Rebuilding, require_reached
from tokensal.engine.reductions import LayerReduction, Reduction, Rows
from tokensal.errors import UnsupportedModel
from tokensal.layer_call import BlockSize, LayerCall
from tokensal.perturbations.inputs import Perturbations, PerturbedInputs, Unperturbed
from tokensal.questions.masks import group_weights, pool_to_units
from tokensal.transfers import sent
from tokensal.types import Example, Footprint, HookPoint, LayerActivation


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """A chunk of n perturbations, differentiated; or n averages of them.

    Attributes:
        values: (n, K) the score of each group.
        reduced: (n, K, J) its gradient, reduced to a number for each source, and added up over those of a unit.
        totals: (n, K) with backward rules, ⟨∂y/∂logits, logits⟩: what a decomposition of the logits adds up to. With
            a reference, the change of the score from there.
        constants: (n, K) with backward rules and a single perturbation, the share of it that no source has.
    """

    values: Tensor
    reduced: Tensor
    totals: Tensor | None = None
    constants: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Differentiation:
    """Which gradients are taken, and of what.

    Attributes:
        engine: the model, the score and the budget.
        example: the tokens.
        perturbations: R of them.
        point: the hook point.
        layers: the layers there; none at the embeddings.
        first: at the embeddings, the first source that is asked about; 0 at layers.
    """

    engine: Forwards
    example: Example
    perturbations: Perturbations
    point: HookPoint
    layers: Sequence[int]
    first: int

    def reduced(self, reduce: Reduction, wanted: Tensor | None) -> Iterator[Gradients]:
        """As many perturbations as go at once, in their order; see `Engine.gradients`."""
        if wanted is None:
            wanted = torch.ones(len(self.perturbations), len(self.example.groups), dtype=torch.bool)
        tally = Tally(self.engine.progress, int(wanted.sum()))

        def piece(rows: slice) -> Gradients:
            with self.engine.prepared():
                return self._reduced_chunk(reduce, rows, wanted[rows], tally)

        yield from in_chunks(len(self.perturbations), lambda start: self._perturbations_at_once(wanted[start:]), piece)

    def _reduced_chunk(self, reduce: Reduction, rows: slice, wanted: Tensor, tally: Tally) -> Gradients:
        streamed = reduce if self.layers and isinstance(reduce, LayerReduction) else None
        graph, turns, sources = self._graph(rows, kept=streamed is None), turns_of(wanted), len(self.example.sources)

        def collect(activations: Sequence[Tensor], gradients: Sequence[Tensor], about: Rows) -> list[Tensor]:
            return [reduce(activations, gradients, about)]

        reduced, *shares = self._products(graph, wanted, tally, collect, streamed)
        table = reduced.new_zeros(len(wanted), len(self.example.groups), sources)
        groups = sent(turns, table.device)
        table[torch.arange(len(table), device=table.device), groups, sources - reduced.shape[-1] :] = reduced
        table.masked_fill_(sent(~wanted, table.device)[..., None], 0)
        totals = constants = None
        if graph.totals is not None:
            totals = (graph.totals @ self._groups(graph).T).to(table)  # the head may be on another device
        if shares:
            constants = (graph.head_constants @ self._groups(graph).T).to(table)
            constants[0, groups[:, 0]] += shares[0].to(table)
        return Gradients(self._values(graph), pool_to_units(table, self.example), totals, constants)

    def averaged(self, reduce: Reduction, average: Tensor, *, variance: bool) -> Gradients:
        """Averages of all perturbations, reduced: as many groups at once as have averages that fit the memory.

        With `variance` it is the variance of each number of the gradients that is reduced, and not its mean.
        """
        engine, count, sources = self.engine, len(self.example.groups), len(self.example.sources)
        numbers = len(average) * sources * engine.adapter.width(self.point, sources) * max(len(self.layers), 1)
        size = engine.budget.averages(count, numbers * (1 + variance), engine.adapter.device)
        tally = Tally(engine.progress, len(self.perturbations) * count)
        tables = []
        for start in range(0, count, size):
            groups = torch.arange(start, min(start + size, count))
            moments = self._moments(average, groups, tally, squares=variance)
            statistic = unbiased(moments.squares, average) if variance else moments.gradients
            turns = groups[:, None].expand(-1, len(average))
            rows = Rows(
                self.example, torch.arange(len(average)), turns, self.first, statistic[0].device, self._read_blocks
            )
            tables.append(reduce(moments.activations, statistic, rows))
        table = torch.cat(tables).movedim(0, 1)  # (A, K, S - first)
        table = torch.nn.functional.pad(table, (sources - table.shape[-1], 0))
        return Gradients(moments.values, pool_to_units(table, self.example))

    def _moments(self, average: Tensor, groups: Tensor, tally: Tally, *, squares: bool) -> Moments:
        """Weighted sums over all perturbations, of the gradients of some groups."""
        wanted = torch.zeros(len(self.perturbations), len(self.example.groups), dtype=torch.bool)
        wanted[:, groups] = True

        def piece(rows: slice) -> Moments:
            with self.engine.prepared():
                graph = self._graph(rows)
                weights = sent(average[:, rows], graph.head.device)

                def collect(activations: Sequence[Tensor], gradients: Sequence[Tensor], about: Rows) -> list[Tensor]:
                    return moments_of(gradients, weights, squares=squares)

                values, *activations = [
                    torch.einsum("n...,an->a...", tensor, weights.to(tensor))
                    for tensor in (self._values(graph), *graph.activations(self.example, self._read_blocks))
                ]
                gradients = self._products(graph, wanted[rows], tally, collect)
                layers = len(activations)
                return Moments(
                    weights.sum(1), values, activations, gradients[:layers], gradients[layers : layers * (1 + squares)]
                )

        chunks = in_chunks(len(self.perturbations), lambda start: self._perturbations_at_once(wanted[start:]), piece)
        return functools.reduce(Moments.plus, chunks)

    def _graph(self, rows: slice, *, kept: bool = True) -> Graph:
        """One forward of a chunk, with its graph; that of the unperturbed example serves several methods."""
        engine, index = self.engine, torch.arange(rows.start, rows.stop)
        at_embeddings = self.point is HookPoint.EMBEDDINGS
        shared = at_embeddings and isinstance(self.perturbations, Unperturbed)
        if shared and engine.kept and engine.kept[0] is self.example and engine.kept[1].first == self.first:
            return engine.kept[1]
        engine.kept = None
        self._require_memory(len(index))
        inputs, constants = self.perturbations.rows(index, self.first), None
        if at_embeddings:
            inputs = replace(inputs, embeds=inputs.embeds.detach().requires_grad_())
        if engine.rules is not None and at_embeddings and len(index) == 1:
            constants = torch.ones((), dtype=inputs.embeds.dtype, device=inputs.embeds.device).requires_grad_()
        graph = self._built(index, inputs, constants, kept)
        if shared:
            engine.kept = self.example, graph
        return graph

    def _built(self, index: Tensor, inputs: PerturbedInputs, constants: Tensor | None, kept: bool) -> Graph:
        """The graph of these perturbations, under the rules or secants of the engine; what is recorded may be kept."""
        engine, adapter = self.engine, self.engine.adapter
        states = engine.remembered(self.example)[1] if self.first else None
        before, calls = None, None
        references: Sequence[Callable[[], Any]] = ()
        with ExitStack() as undo:
            if engine.rules is not None:
                undo.enter_context(adapter.ruled(engine.rules, constants))
            if engine.reference is not None:
                before, references = undo.enter_context(self._compared(inputs, states))
            recorded = undo.enter_context(
                adapter.recorded(
                    self.point,
                    self.layers,
                    graph=True,
                    layered=self._rebuilds,
                    kept=kept,
                    blocks=self._blocks,
                )
            )
            if self._rebuilds:
                calls = undo.enter_context(adapter.layered())
            forward = adapter.forward(self.example, inputs, states)
            if before is not None:  # secants are also those of the score, rules of the model alone
                values = engine.values(self.example, forward)
        if before is None:
            values = engine.values(self.example, forward)
        head, totals = head_gradients(forward, values, totals=engine.rules is not None)
        if before is not None:
            totals = (values.detach() - before).to(head)
        tensors = tuple(activation.tensor for activation in recorded) or (inputs.embeds,)
        require_reached(calls is not None or all(tensor.requires_grad for tensor in tensors))
        graph = Graph(index, inputs.first, tensors, tuple(recorded), forward, values, head, totals, constants)
        return graph if calls is None else replace(graph, rebuilding=self._rebuilding(graph, calls, references))

    @contextmanager
    def _compared(self, inputs: PerturbedInputs, states: Any) -> Iterator[tuple[Tensor, Sequence[Callable[[], Any]]]]:
        """Inside, a forward builds secants; yields the scores of the reference, and what runs its layers again."""
        assert self.engine.reference is not None
        (reference, secants), adapter = self.engine.reference, self.engine.adapter
        other = replace(inputs, embeds=reference[self.first :].to(inputs.embeds).expand_as(inputs.embeds))

        def run_reference() -> Tensor:
            return self.engine.values(self.example, adapter.forward(self.example, other, states))

        if self._rebuilds:
            with adapter.compared_by_layer(secants, run_reference) as scores_and_layers:
                yield scores_and_layers
        else:
            with adapter.compared(secants, run_reference) as scores:
                yield scores, ()

    def _rebuilding(
        self, graph: Graph, calls: Sequence[LayerCall], references: Sequence[Callable[[], Any]]
    ) -> Rebuilding:
        """How a backward goes through the layers of a forward of so many perturbations."""
        rules, reference, adapter = self.engine.rules, self.engine.reference, self.engine.adapter

        @contextmanager
        def again(number: int) -> Iterator[list[LayerActivation]]:
            layer = calls[number].layer
            with ExitStack() as undo:
                if rules is not None:
                    undo.enter_context(adapter.ruled(rules, graph.constants, again=True))
                if reference is not None:
                    undo.enter_context(adapter.compared(reference[1], references[number]))
                point = self.point if layer in self.layers else HookPoint.EMBEDDINGS
                yield undo.enter_context(adapter.recorded_again(point, layer, self._blocks))

        rows, footprint = len(graph.index) * (len(self.example.sources) - self.first), self._footprint
        if self.layers:  # the gradient of what is recorded in a layer, and what a reduction makes of it
            point = HookPoint.VALUES if self._in_blocks else self.point  # then, the outputs of all heads
            width = adapter.width(point, len(self.example.sources))
            footprint = replace(footprint, moved=footprint.moved + 8 * width)
        size = self.engine.budget.cotangents(len(self.example.groups), rows, footprint, adapter.device)
        recorded = [self.layers[each.layer] for each in graph.recorded]
        return Rebuilding(calls, again, size, recorded, graph.constants)

    def _products(
        self, graph: Graph, wanted: Tensor, tally: Tally, collect: Collect, streamed: LayerReduction | None = None
    ) -> list[Tensor]:
        """What `collect` makes of the gradients of all turns (T, n), T in front; last the shares of constants, (T,).

        With `streamed`, what that makes of one layer after another.
        """
        groups, turns = self._groups(graph), turns_of(wanted)
        activations = [] if streamed else graph.activations(self.example, self._read_blocks)

        def products(chunk: slice) -> list[Tensor]:
            cotangents = groups[sent(turns[chunk], groups.device)][..., None] * graph.head  # (k, n, G, H)
            rows = Rows(self.example, graph.index, turns[chunk], graph.first, graph.head.device, self._read_blocks)
            if streamed:
                collected = [graph.layers(cotangents, rows, streamed)]
            else:
                collected = graph.products(cotangents, rows, activations, collect)
            tally.add(int(wanted.sum(1).clamp(max=chunk.stop).sub(chunk.start).clamp(min=0).sum()))
            return collected

        at_once = self._groups_at_once(graph, len(turns), placed=streamed is None)
        pieces = in_chunks(len(turns), at_once, products)
        return [torch.cat(piece) for piece in zip(*pieces, strict=True)]

    def _groups(self, graph: Graph) -> Tensor:
        """(K, G - start) the weights of the targets that the forward predicts, in each group."""
        return sent(group_weights(self.example), graph.head)[:, graph.forward.start :]

    def _values(self, graph: Graph) -> Tensor:
        """(n, K) the scores of the groups; what is predicted before the first altered source keeps its score."""
        values = self.engine.with_unaltered(self.example, graph.forward, graph.values.detach())
        return values @ sent(group_weights(self.example), values).T

    # How much goes at once

    @cached_property  # what is free changes meanwhile
    def _rebuilds(self) -> bool:
        """Whether no graph is kept within the layers.

        Raises:
            UnsupportedModel: that is asked for, and cannot be.
        """
        adapter, budget = self.engine.adapter, self.engine.budget
        if not budget.rebuilds(self._rows(1), self._plain_footprint, adapter.device):
            return False
        # secants are of the embeddings alone
        if (self.engine.reference is None or not self.layers) and adapter.rebuilds:
            return True
        if budget.rebuild == "auto":
            return False
        raise UnsupportedModel(
            "budget.rebuild is true, but the graph of this model cannot be rebuilt layer by layer with the same "
            "gradients: leave it at 'auto', and shorten the prompt where the memory is short."
        )

    @property
    def _in_blocks(self) -> bool:
        """Whether attention runs in blocks of rows, whose weights are on no graph."""
        return self.point is HookPoint.ATTENTION_WEIGHTS and self.engine.adapter.reads_in_blocks

    @cached_property
    def _plain_footprint(self) -> Footprint:
        """With a graph in all layers above the lowest that is differentiated."""
        adapter = self.engine.adapter
        if not self.layers:
            return adapter.footprint(len(self.example.sources))
        footprint = adapter.footprint(len(self.example.sources), in_blocks=self._in_blocks)
        above = adapter.layer_count - min(self.layers)
        return replace(footprint, kept=footprint.kept * above // adapter.layer_count)

    @cached_property
    def _footprint(self) -> Footprint:
        """With the graph of one layer alone, where it is rebuilt."""
        footprint = self._plain_footprint
        if not self._rebuilds:
            return footprint
        return replace(footprint, kept=footprint.inputs + footprint.moved)

    def _rows(self, count: int) -> int:
        """The tokens of so many perturbations on the graph; what a reference read is kept, too."""
        return count * (len(self.example.sources) - self.first) * (1 if self.engine.reference is None else 2)

    @cached_property
    def _blocks(self) -> BlockSize:
        """How many rows of attention weights go at once, with the gradients of as many groups as do."""
        adapter, budget, groups = self.engine.adapter, self.engine.budget, len(self.example.groups)
        several = budget.cotangents(groups, self._rows(1), self._footprint, adapter.device)
        return budget.blocks(adapter.device, cotangents=several)

    @cached_property
    def _read_blocks(self) -> BlockSize:
        """How many go at once of which the gradients are counted."""
        return self.engine.budget.blocks(self.engine.adapter.device)

    def _groups_at_once(self, graph: Graph, total: int, *, placed: bool) -> int:
        """How many groups go at once; `placed` where weights are put together as one tensor a layer."""
        budget, device = self.engine.budget, self.engine.adapter.device
        footprint, rows = self._footprint, graph.tensors[0][..., 0].numel()
        if graph.recorded:  # the gradients at all layers are in hand together, on top of what a backward moves
            rows = len(graph.index) * len(self.example.sources)
            recorded = sum(tensor.nbytes for tensor in graph.tensors) // rows
            if placed and self._in_blocks:
                recorded += 4 * len(self.layers) * self.engine.adapter.width(self.point, len(self.example.sources))
            footprint = replace(footprint, moved=footprint.moved + recorded, input=footprint.input + recorded)
        if graph.rebuilding is not None:
            return budget.carried(total, rows, footprint, device)
        return budget.cotangents(total, rows, footprint, device)

    def _require_memory(self, count: int) -> None:
        """Refuse a graph that cannot fit; at layers, it begins at the lowest of them."""
        self.engine.budget.require_graph(self._rows(count), self._footprint, self.engine.adapter.device)

    def _perturbations_at_once(self, wanted: Tensor) -> int:
        adapter, sources = self.engine.adapter, len(self.example.sources)
        return self.engine.budget.perturbations(wanted.sum(1), sources, self._footprint, adapter.device)
