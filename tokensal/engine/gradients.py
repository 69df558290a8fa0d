"""Gradients of many perturbations: reduced a chunk at a time, or averaged first and then reduced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tokensal.engine.budget import in_chunks
from tokensal.engine.differentiation import Collect, Graph, head_gradients, turns_of
from tokensal.engine.forwards import Forwards, Tally
from tokensal.engine.reductions import Reduction, Rows
from tokensal.perturbations.inputs import Perturbations, Unperturbed
from tokensal.questions.masks import group_weights
from tokensal.types import Example, HookPoint


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """A chunk of n perturbations, differentiated; or n averages of them.

    Attributes:
        values: (n, K) the score of each group.
        reduced: (n, K, S) its gradient, reduced to a number for each source.
        totals: (n, K) with backward rules, ⟨∂y/∂logits, logits⟩: what a decomposition of the logits adds up to.
        constants: (n, K) with backward rules and a single perturbation, the share of it that no source has.
    """

    values: Tensor
    reduced: Tensor
    totals: Tensor | None = None
    constants: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where gradients are taken: a hook point, layers there, and the first source that is asked about."""

    point: HookPoint
    layers: Sequence[int]
    first: int


def reduced_gradients(
    engine: Forwards,
    example: Example,
    perturbations: Perturbations,
    reduce: Reduction,
    place: Place,
    wanted: Tensor | None,
) -> Iterator[Gradients]:
    """The gradients of as many perturbations as go at once, reduced, in their order; see `Engine.gradients`."""
    if wanted is None:
        wanted = torch.ones(len(perturbations), len(example.groups), dtype=torch.bool)
    tally = Tally(engine.progress, int(wanted.sum()))

    def piece(rows: slice) -> Gradients:
        return _reduced_chunk(engine, example, perturbations, reduce, place, rows, wanted[rows], tally)

    yield from in_chunks(
        len(perturbations), lambda start: _perturbations_at_once(engine, example, wanted[start:]), piece
    )


def _reduced_chunk(
    engine: Forwards,
    example: Example,
    perturbations: Perturbations,
    reduce: Reduction,
    place: Place,
    rows: slice,
    wanted: Tensor,
    tally: Tally,
) -> Gradients:
    """The gradients of a chunk, reduced."""
    with engine.prepared():
        graph = _graph(engine, example, perturbations, place, rows)
        turns = turns_of(wanted)
        reduced, *shares = _products(
            engine,
            example,
            graph,
            turns,
            wanted,
            tally,
            lambda activations, gradients, of: [reduce(activations, gradients, of)],
        )
        table = reduced.new_zeros(len(turns[0]), len(example.groups), len(example.sources))
        table[torch.arange(len(table)), turns, len(example.sources) - reduced.shape[-1] :] = reduced
        table[~wanted] = 0
        groups = group_weights(example).to(graph.head)[:, graph.forward.start :]
        totals = constants = None
        if graph.totals is not None:
            totals = graph.totals @ groups.T
            if shares:
                constants = graph.head_constants @ groups.T
                constants[0, turns[:, 0]] += shares[0]
        return Gradients(_values(engine, example, graph), table, totals, constants)


def averaged_gradients(
    engine: Forwards, example: Example, perturbations: Perturbations, reduce: Reduction, place: Place, average: Tensor
) -> Gradients:
    """Averages of the gradients, reduced: as many groups at once as their averages fit the memory."""
    count, sources = len(example.groups), len(example.sources)
    numbers = len(average) * sources * engine.adapter.width(place.point, sources) * max(len(place.layers), 1)
    size = engine.budget.averages(count, numbers, engine.adapter.device)
    tally = Tally(engine.progress, len(perturbations) * count)
    values, tables = None, []
    for start in range(0, count, size):
        groups = torch.arange(start, min(start + size, count))
        values, activations, gradients = _sums(engine, example, perturbations, place, average, groups, tally)
        device = gradients[0].device
        rows = Rows(example, torch.arange(len(average)), groups[:, None].expand(-1, len(average)), place.first, device)
        tables.append(reduce(activations, gradients, rows))
    table = torch.cat(tables).movedim(0, 1)  # (A, K, S - first)
    assert values is not None
    return Gradients(values, torch.nn.functional.pad(table, (sources - table.shape[-1], 0)))


def _sums(
    engine: Forwards,
    example: Example,
    perturbations: Perturbations,
    place: Place,
    average: Tensor,
    groups: Tensor,
    tally: Tally,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Weighted sums over the perturbations: of scores (A, K), of activations (A, …), of gradients (k, A, …)."""
    wanted = torch.zeros(len(perturbations), len(example.groups), dtype=torch.bool)
    wanted[:, groups] = True

    def piece(rows: slice) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        with engine.prepared():
            graph = _graph(engine, example, perturbations, place, rows)
            weights = average[:, rows].to(graph.head.device)

            def collect(activations: Sequence[Tensor], gradients: Sequence[Tensor], of: Rows) -> list[Tensor]:
                return [torch.einsum("kn...,an->ka...", tensor, weights.to(tensor)) for tensor in gradients]

            turns = turns_of(wanted[rows])
            sums = _products(engine, example, graph, turns, wanted[rows], tally, collect)
            activations = [
                torch.einsum("n...,an->a...", tensor, weights.to(tensor)) for tensor in graph.activations(example)
            ]
            values = _values(engine, example, graph)
            return weights.to(values) @ values, activations, sums[: len(activations)]

    pieces = in_chunks(len(perturbations), lambda start: _perturbations_at_once(engine, example, wanted[start:]), piece)
    values, activations, gradients = next(pieces)
    for more_values, more_activations, more_gradients in pieces:
        values = values + more_values
        activations = [total + more for total, more in zip(activations, more_activations, strict=True)]
        gradients = [total + more for total, more in zip(gradients, more_gradients, strict=True)]
    return values, activations, gradients


def _graph(engine: Forwards, example: Example, perturbations: Perturbations, place: Place, rows: slice) -> Graph:
    """One forward of a chunk, with its graph; that of the unperturbed example serves several methods."""
    plain = isinstance(perturbations, Unperturbed) and place.point is HookPoint.EMBEDDINGS
    if plain and engine.kept is not None and engine.kept[0] is example and engine.kept[1].first == place.first:
        return engine.kept[1]
    engine.kept = None
    index = torch.arange(rows.start, rows.stop)
    _check_memory(engine, example, place, len(index))
    states = engine.remembered(example)[1] if place.first else None
    with ExitStack() as undo:
        embeds = perturbations.rows(index, place.first)
        if place.point is HookPoint.EMBEDDINGS:
            embeds = replace(embeds, embeds=embeds.embeds.detach().requires_grad_())
        constants = None
        if engine.rules is not None:
            if len(index) == 1 and place.point is HookPoint.EMBEDDINGS:
                constants = torch.ones((), dtype=embeds.embeds.dtype, device=engine.adapter.device).requires_grad_()
            undo.enter_context(engine.adapter.ruled(engine.rules, constants))
        recorded = undo.enter_context(engine.adapter.recorded(place.point, place.layers, graph=True))
        forward = engine.adapter.forward(example, embeds, states)
    values = engine.values(example, forward)
    head, totals = head_gradients(forward, values, totals=engine.rules is not None)
    tensors = tuple(activation.tensor for activation in recorded) or (embeds.embeds,)
    graph = Graph(index, embeds.first, tensors, tuple(recorded), forward, values, head, totals, constants)
    if plain:
        engine.kept = example, graph
    return graph


def _products(
    engine: Forwards, example: Example, graph: Graph, turns: Tensor, wanted: Tensor, tally: Tally, collect: Collect
) -> list[Tensor]:
    """What `collect` makes of the gradients of all turns (T, n), T in front; last the shares of constants, (T,)."""
    groups = group_weights(example).to(graph.head)[:, graph.forward.start :]
    activations = graph.activations(example)

    def products(chunk: slice) -> list[Tensor]:
        cotangents = groups[turns[chunk]][..., None] * graph.head  # (k, n, G, H); turns stays on the CPU: an index
        rows = Rows(example, graph.index, turns[chunk], graph.first, graph.head.device)
        collected = graph.products(example, cotangents, rows, activations, collect)
        tally.add(int(wanted.sum(1).clamp(max=chunk.stop).sub(chunk.start).clamp(min=0).sum()))
        return collected

    size = _groups_at_once(engine, example, graph, len(turns))
    pieces = zip(*in_chunks(len(turns), size, products), strict=True)
    return [torch.cat(piece) for piece in pieces]


def _values(engine: Forwards, example: Example, graph: Graph) -> Tensor:
    """(n, K) the scores of the groups; what is predicted before the first altered source keeps its score."""
    values = graph.values.detach()
    if graph.forward.start:
        values = engine.with_unaltered(example, graph.forward, values)
    return values @ group_weights(example).to(values).T


def _groups_at_once(engine: Forwards, example: Example, graph: Graph, total: int) -> int:
    sources = len(example.sources)
    footprint = engine.adapter.footprint(sources)
    if graph.recorded:  # the gradients at all layers are in hand together, on top of what a backward moves
        rows = len(graph.index) * sources
        footprint = replace(footprint, moved=footprint.moved + sum(tensor.nbytes for tensor in graph.tensors) // rows)
    else:
        rows = graph.tensors[0][..., 0].numel()
    return engine.budget.cotangents(total, rows, footprint, engine.adapter.device)


def _check_memory(engine: Forwards, example: Example, place: Place, count: int) -> None:
    """Refuse a graph that cannot fit; at layers, it begins at the lowest of them."""
    sources = len(example.sources) - place.first
    footprint = engine.adapter.footprint(len(example.sources))
    if place.layers:
        layers = engine.adapter.layer_count
        footprint = replace(footprint, kept=footprint.kept * (layers - min(place.layers)) // layers)
    engine.budget.require_graph(count * sources, footprint, engine.adapter.device)


def _perturbations_at_once(engine: Forwards, example: Example, wanted: Tensor) -> int:
    sources = len(example.sources)
    footprint = engine.adapter.footprint(sources)
    return engine.budget.perturbations(wanted.sum(1), sources, footprint, engine.adapter.device)
