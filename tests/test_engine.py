"""The engine against closed forms, and what it may cost: counts, not seconds."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest
import torch
from builders import CONTINUATION, PROMPT
from counting import CountingAdapter
from models import adapter

from tokensal import AttentionGradCAM, Budget, Gradient, InputXGradient
from tokensal.engine import Engine, budget
from tokensal.engine.activations import raised
from tokensal.engine.reductions import NORMS, dot
from tokensal.errors import MemoryShortage, NonFiniteScores
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.scores import logit, logprob
from tokensal.types import Example, Footprint, Forward, Original, Role, Token

# A model whose attributions are known: hidden_p = Σ_{s ≤ p} c_s · x_s, logits = hidden · headᵀ


@dataclass
class LinearModel:
    sources: int = 6
    size: int = 3
    vocabulary: int = 10
    limit: int | None = None  # more rows at once than this run out of memory
    nan: bool = False
    forwards: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device = torch.device("cpu")
        generator = torch.Generator().manual_seed(1)
        self.table = torch.randn(self.vocabulary, self.size, generator=generator, dtype=torch.float64)
        self.weights = torch.randn(self.sources, generator=generator, dtype=torch.float64)
        self.head = torch.randn(self.vocabulary, self.size, generator=generator, dtype=torch.float64)

    def example(self) -> Example:
        tokens = [Token(s % self.vocabulary, f"t{s}", s, s + 1, Role.PROMPT) for s in range(self.sources + 1)]
        prompt = self.sources - 2
        return Example("", tuple(tokens[:-1]), tuple(tokens[prompt:]), tuple(range(prompt - 1, self.sources)))

    def embed(self, example):
        return self.table[[token.id for token in example.sources]]

    def original(self, example):
        return Original(self.forward(example, PerturbedInputs(self.embed(example)[None])), None)

    def forward(self, example, perturbed, states=None):
        if self.limit is not None and len(perturbed) > self.limit:
            raise torch.OutOfMemoryError("too many rows")
        self.forwards.append(len(perturbed))
        before = self.embed(example)[: perturbed.first].expand(len(perturbed), -1, -1)
        embeds = torch.cat([before, perturbed.embeds], dim=1)
        predictors = [predictor for predictor in example.predictors if predictor >= perturbed.first]
        hidden = (self.weights[:, None] * embeds).cumsum(1)[:, predictors]
        leaf = hidden.detach().requires_grad_(hidden.requires_grad)
        logits = leaf @ self.head.T * (float("nan") if self.nan else 1)
        return Forward(hidden, (leaf,), logits, len(example.predictors) - len(predictors))

    def continues(self, example):
        return False

    def prepared(self):
        return nullcontext()

    def footprint(self, sources):
        return Footprint(kept=100, moved=10)

    def recorded(self, point, layers, *, graph, layered=False, kept=True, each=None, blocks=None):
        return nullcontext([])

    def width(self, point, sources):
        return self.size


def test_a_linear_model_is_attributed_in_closed_form():
    model = LinearModel()
    example = model.example()
    heads = model.head[[token.id for token in example.targets]]
    causal = torch.arange(6) <= torch.tensor(example.predictors)[:, None]
    gradients = model.weights[:, None] * heads[:, None] * causal[..., None]  # (K, S, D)
    embeds = model.embed(example)
    found = InputXGradient()(example, Engine(model, logit))
    torch.testing.assert_close(found.matrix, (gradients * embeds).sum(-1))
    torch.testing.assert_close(found.values, found.matrix.sum(-1))  # a linear score is exactly the sum of its parts
    for norm, power in (("l1", 1), ("l2", 2), ("max", float("inf"))):
        found = Gradient(norm=norm)(example, Engine(model, logit))
        torch.testing.assert_close(found.matrix, torch.linalg.vector_norm(gradients, power, dim=-1))


def test_half_precision_is_raised_before_a_reduction():
    half = torch.full((1, 3000), 1.0, dtype=torch.bfloat16)  # a bfloat16 sum would stop at 256
    gradients = [raised(half)]
    assert NORMS["l1"](gradients, gradients, None).item() == dot(gradients, gradients, None).item() == 3000
    assert NORMS["l2"](gradients, gradients, None).dtype == torch.float32


# Memory


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_chunk_that_does_not_fit_is_halved(limit):
    model, roomy = LinearModel(limit=limit), LinearModel()
    example = model.example()
    perturbed = PerturbedInputs(torch.randn(7, 6, 3, dtype=torch.float64))
    pieces = list(Engine(model).gradients(example, perturbed, dot))
    [whole] = Engine(roomy).gradients(example, perturbed, dot)
    assert max(model.forwards) <= limit
    assert sum(model.forwards) == 7  # nothing that fitted is done twice
    torch.testing.assert_close(torch.cat([piece.reduced for piece in pieces]), whole.reduced)
    torch.testing.assert_close(Engine(model).scores(example, perturbed), whole.values)


def test_not_even_one_perturbation_fits():
    model = LinearModel(limit=0)
    with pytest.raises(MemoryShortage, match="smallest piece"):
        InputXGradient()(model.example(), Engine(model))


def test_another_error_of_the_model_is_not_taken_for_a_shortage(monkeypatch):
    model = LinearModel()
    monkeypatch.setattr(model, "forward", lambda example, perturbed, states: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        InputXGradient()(model.example(), Engine(model))


def test_the_budget_follows_memory_and_rows():
    footprint, cpu = Footprint(kept=1000, moved=100), torch.device("cpu")
    alike = torch.ones(10, dtype=torch.int64)
    assert Budget(memory=22_000 * 3, rows=10**9).perturbations(alike, 20, footprint, cpu) == 3
    assert Budget(memory=10**9, rows=50).perturbations(alike, 20, footprint, cpu) == 2
    assert Budget(memory=20_000 + 2000 * 4, rows=10**9).cotangents(10, 20, footprint, cpu) == 4
    assert Budget(memory=10**9, rows=50).cotangents(10, 20, footprint, cpu) == 2
    assert Budget(memory=0, rows=0).cotangents(10, 20, footprint, cpu) == 1  # one always goes; the allocator decides
    assert Budget(memory=10**12, rows=10**9).cotangents(10, 20, footprint, cpu) == 10


def test_perturbations_share_a_graph_only_if_they_want_nearly_as_many_gradients():
    roomy, footprint = Budget(memory=10**12, rows=10**9), Footprint(kept=1, moved=1)

    def together(wanted, device="cpu"):
        return roomy.perturbations(torch.tensor(wanted), 20, footprint, torch.device(device))

    assert together([5, 5, 5, 5]) == 4
    assert together([1, 1, 10]) == 2  # all three would take 30 turns for 12 gradients
    assert together([10, 1, 1]) == 1
    assert together([4, 5, 5, 6]) == 4  # 24 turns for 20 gradients
    assert together([0, 0]) == 2
    assert together([1, 1, 10], "meta") == 3  # as any device but a CPU


# Errors


def test_scores_that_are_not_finite_are_an_error_that_names_the_target():
    model = LinearModel(nan=True)
    with pytest.raises(NonFiniteScores, match=r"target 0 \('t4'\).*the model itself returns such numbers"):
        InputXGradient()(model.example(), Engine(model))


# Counts: what a method may cost on a real architecture


@pytest.mark.parametrize(("rows", "backwards"), [(11, 5), (25, 3), (10**6, 1)])
@pytest.mark.parametrize("method", [Gradient(), InputXGradient()])
def test_one_forward_serves_all_targets(method, rows, backwards):
    model = CountingAdapter(adapter("Llama"))
    example = model.example(PROMPT, continuation=CONTINUATION)
    method(example, Engine(model, logprob, budget=Budget(rows=rows)))
    assert (model.forwards, model.token_rows, model.head_rows) == (1, 11, 5)
    assert model.backwards == backwards  # ⌈K / cotangents that go at once⌉


def test_the_head_runs_on_target_rows_only():
    model = adapter("Llama")
    seen = []
    hook = model.model.lm_head.register_forward_hook(lambda head, inputs, logits: seen.append(logits.shape[:2]))
    InputXGradient()(model.example(PROMPT, continuation=CONTINUATION), Engine(model))
    hook.remove()
    assert seen == [(1, 5)]


def test_scores_alone_build_no_graph():
    model = CountingAdapter(adapter("Llama"))
    example = model.example(PROMPT, continuation=CONTINUATION)
    engine = Engine(model)
    values = engine.scores(example, PerturbedInputs(engine.embed(example)[None]))
    assert not values.requires_grad and model.backwards == 0
    assert values.shape == (1, 5)


def test_progress_reaches_its_total():
    calls = []
    engine = Engine(adapter("Llama"), budget=Budget(rows=22), progress=lambda done, total: calls.append((done, total)))
    InputXGradient()(engine.adapter.example(PROMPT, continuation=CONTINUATION), engine)
    assert calls == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize("method", [Gradient(), AttentionGradCAM()])
def test_a_graph_that_cannot_fit_is_refused_before_it_is_begun(method, monkeypatch):
    monkeypatch.setattr(budget, "free_memory", lambda device: 1000)
    model = CountingAdapter(adapter("Llama"))
    with pytest.raises(MemoryShortage, match=r"GiB, but 0\.0 are free"):
        method(model.example(PROMPT, continuation=CONTINUATION), Engine(model))
    assert model.forwards == 0
