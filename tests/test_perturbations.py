"""Perturbations are pure by row: in any order, any subset, asked twice, after a shortage of memory, equal numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from builders import CONTINUATION, PROMPT, tiny
from test_battery import Scarce

from tokensal import Budget
from tokensal.engine import Engine
from tokensal.engine.reductions import dot
from tokensal.perturbations.inputs import PerturbedInputs, Unperturbed
from tokensal.perturbations.noise import Noise
from tokensal.perturbations.paths import Path, RandomPoints
from tokensal.perturbations.removals import Removals

KINDS = ("mask", "delete", "replace", "path", "noise", "random points", "tensors", "unperturbed")
ROWS = 6


def perturbations(kind, example, embeds, order):
    """Some perturbations of one kind, in an order of their numbers; each alters other sources first."""
    sources = len(embeds)
    if kind in ("mask", "delete", "replace"):
        absent = torch.zeros(ROWS, sources, dtype=torch.bool)
        for row, source in enumerate([5, 1, 8, 3, sources - 1, 2]):  # the second alters an earlier one than the first
            absent[row, source] = True
        absent[3, 6] = True
        return Removals(embeds, absent[order], 0 * embeds if kind == "replace" else None, closed=kind == "delete")
    if kind == "path":
        return Path(0.5 * embeds, embeds, torch.linspace(0, 1, ROWS, dtype=torch.float64)[order])
    if kind == "noise":
        noisy = torch.arange(sources) > 1
        noise = Noise(embeds, noisy, 0.3, ROWS, seed=7)
        return Reordered(noise, torch.tensor(order))
    if kind == "random points":
        starts, altered = torch.stack([0 * embeds, 0.5 * embeds]), torch.arange(sources) > 1
        starts[:, :2] = embeds[:2]
        return RandomPoints(starts, embeds, altered, 0.1, torch.tensor(order), seed=7)
    if kind == "unperturbed":
        return Unperturbed(embeds, count=ROWS)
    scales = torch.linspace(0.5, 1.5, ROWS, dtype=torch.float64)[order]
    return PerturbedInputs(scales[:, None, None] * embeds)


class Reordered:
    """The rows of other perturbations in another order."""

    def __init__(self, inner, order):
        self.inner, self.order = inner, order

    def __len__(self):
        return len(self.order)

    @property
    def altered_from(self):
        return self.inner.altered_from[self.order]

    def rows(self, index, first):
        return self.inner.rows(self.order[index], first)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["Llama", "GPT-2", "Gemma 3", "T5", "BART"])
def test_any_order_gives_the_same_numbers(name, kind):
    adapted = tiny(name)
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    engine, embeds = Engine(adapted), adapted.embed(example)
    natural, shuffled = list(range(ROWS)), [4, 0, 5, 2, 1, 3]
    each = torch.cat(  # by itself, in an engine that remembers nothing
        [Engine(adapted).scores(example, perturbations(kind, example, embeds, [row])) for row in natural]
    )
    if kind not in ("unperturbed",):
        assert (each - each[0]).abs().max() > 1e-3  # the rows differ
    for order in (natural, shuffled, shuffled[:3], [3, 3, 1]):
        asked = perturbations(kind, example, embeds, order)
        if kind == "unperturbed":
            asked = replace(asked, count=len(order))
        for run in (engine, engine, Engine(Scarce(adapted), budget=Budget(rows=10**6))):
            found = run.scores(example, asked)
            torch.testing.assert_close(found, each[order], rtol=1e-8, atol=1e-10)
        pieces = list(engine.gradients(example, asked, dot))
        torch.testing.assert_close(torch.cat([piece.values for piece in pieces]), each[order], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS[:7])
def test_gradients_in_any_order_are_the_same(kind):
    adapted = tiny("Llama")
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    engine, embeds = Engine(adapted), adapted.embed(example)

    def gradients(order):
        asked = perturbations(kind, example, embeds, order)
        return torch.cat([piece.reduced for piece in engine.gradients(example, asked, dot)])

    shuffled = [4, 0, 5, 2, 1, 3]
    torch.testing.assert_close(gradients(shuffled), gradients(list(range(ROWS)))[shuffled], rtol=1e-8, atol=1e-10)


def test_averages_are_those_of_the_gradients_before_the_reduction():
    adapted = tiny("Llama")
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    engine, embeds = Engine(adapted), adapted.embed(example)
    noise = Noise(embeds, torch.ones(len(embeds), dtype=torch.bool), 0.3, ROWS, seed=7)
    weights = torch.tensor([[1 / ROWS] * ROWS, [0.5, 0.5, 0, 0, 0, 0]], dtype=torch.float64)
    for budget in (None, Budget(memory=1, rows=1)):  # a group at a time, a perturbation at a time
        vectors = []

        def keep(activations, gradients, rows, vectors=vectors):
            vectors.append(gradients[0])
            return gradients[0].norm(dim=-1)

        list(engine.gradients(example, noise, keep))
        each = torch.cat(vectors, 1)  # (K, R, S, D)
        [averages] = Engine(adapted, budget=budget).gradients(
            example, noise, lambda activations, gradients, rows: gradients[0].norm(dim=-1), average=weights
        )
        expected = torch.einsum("krsd,ar->aksd", each, weights).norm(dim=-1)
        torch.testing.assert_close(averages.reduced, expected, rtol=1e-8, atol=1e-10)


def test_a_reduction_sees_which_perturbations_its_rows_are():
    """As gradients multiplied by each row's own x − b need it."""
    adapted = tiny("Llama")
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    embeds = adapted.embed(example)
    path = Path(0 * embeds, embeds, torch.linspace(0.2, 1, ROWS, dtype=torch.float64))
    steps = torch.randn(ROWS, *embeds.shape, dtype=torch.float64)

    def along_own_step(activations, gradients, rows):
        return (gradients[0] * steps[rows.index]).sum(-1)

    def reduced(**options):
        chunks = Engine(adapted, **options).gradients(example, path, along_own_step)
        return torch.cat([chunk.reduced for chunk in chunks])

    vectors = []
    list(
        Engine(adapted).gradients(
            example, path, lambda a, gradients, r: vectors.append(gradients[0]) or gradients[0].sum(-1)
        )
    )
    expected = (torch.cat(vectors, 1) * steps).sum(-1).movedim(0, 1)
    for options in ({}, {"budget": Budget(rows=1)}, {"budget": Budget(rows=60)}):
        torch.testing.assert_close(reduced(**options), expected, rtol=1e-9, atol=1e-11)
