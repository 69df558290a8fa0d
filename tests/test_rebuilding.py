"""Graphs that are rebuilt layer by layer: the numbers of the plain graph, counted, in less memory, or refused."""

from __future__ import annotations

import weakref
from collections import Counter
from functools import cache

import pytest
import torch
import transformers as hf
from battery import ROWS
from builders import CONTINUATION, PROMPT, every_architecture, exact_scores, tiny, tokenizer_of, tried
from models import CONTEXT, GROUPED, adapter, model, tokenizer
from state import assert_unchanged, user_state

from tokensal import (
    LRP,
    Attention,
    AttentionRollout,
    Budget,
    DeepLift,
    GradCAM,
    Gradient,
    InputXGradient,
    adapt,
    attribute,
)
from tokensal.adapters.layers import layers_of
from tokensal.engine import Engine
from tokensal.errors import InputError, UnsupportedModel
from tokensal.questions.masks import visible_sources

each_kind = pytest.mark.parametrize("name", ["Llama", "T5"])

PLAIN, REBUILT = Budget(rebuild=False), Budget(rebuild=True)
# One of each kind: at the embeddings and at each hook point, with rules, constants, averages, variances and secants
GRADIENTS = (
    "gradient",
    "input_x_gradient",
    "integrated_gradients",
    "smooth_grad of grad_cam",
    "var_grad",
    "lrp",
    "lrp, attn",
    "lrp, epsilon and gamma",
    "gim",
    "guided_backprop",
    "deep_lift",
    "grad_cam",
    "attention_grad_cam",
    "gradient_rollout",
    "value_x_gradient",
)


def assert_same(rebuilt, plain, example):
    """Scores, values and diagnostics agree to rounding, relative to the largest, and are not nothing."""
    seen = visible_sources(example)
    largest = float(plain.matrix[seen].abs().max())
    assert largest > 1e-3
    assert (rebuilt.matrix - plain.matrix)[seen].abs().max() < 1e-9 * largest
    torch.testing.assert_close(rebuilt.values, plain.values, rtol=1e-10, atol=1e-10)
    assert rebuilt.diagnostics.keys() == plain.diagnostics.keys()
    for name, diagnostic in plain.diagnostics.items():
        torch.testing.assert_close(rebuilt.diagnostics[name].values, diagnostic.values, rtol=1e-8, atol=1e-8)


@pytest.mark.slow
@every_architecture
def test_gradients_are_those_of_the_plain_graph(name):
    assert tiny(name).rebuilds
    example = tiny(name).example(PROMPT, continuation=CONTINUATION)
    for row in GRADIENTS:
        if name not in ROWS[row].refused:
            plain, rebuilt = (exact_scores(tiny(name), ROWS[row].method, budget=budget) for budget in (PLAIN, REBUILT))
            assert_same(rebuilt, plain, example)


@each_kind
@pytest.mark.parametrize("rows", [1, 30])
def test_chunks_change_no_number(name, rows):
    example = tiny(name).example(PROMPT, continuation=CONTINUATION)
    for row in ("lrp", "integrated_gradients", "attention_grad_cam", "deep_lift"):
        method = ROWS[row].method
        pieces = exact_scores(tiny(name), method, budget=Budget(rows=rows, memory=1, rebuild=True))
        assert_same(pieces, exact_scores(tiny(name), method, budget=PLAIN), example)


@each_kind
@pytest.mark.parametrize("method", [InputXGradient(), LRP(), GradCAM(), DeepLift()], ids=lambda method: method.name)
def test_two_continuations_are_explained_alike(name, method):
    """A contrast of another length runs the model twice."""
    plain, rebuilt = (
        attribute(tiny(name), PROMPT, continuation=CONTINUATION, contrast=[9, 8], method=method, budget=budget)
        for budget in (PLAIN, REBUILT)
    )
    assert plain.scores.nan_to_num().any()
    torch.testing.assert_close(rebuilt.scores, plain.scores, rtol=1e-6, atol=1e-7, equal_nan=True)


@each_kind
def test_sources_that_are_not_asked_about_keep_their_states(name):
    options = {"prompt": [*PROMPT, *PROMPT], "continuation": CONTINUATION, "sources": ["generated"]}
    plain, rebuilt = (
        attribute(tiny(name), method=InputXGradient(), budget=budget, **options) for budget in (PLAIN, REBUILT)
    )
    torch.testing.assert_close(rebuilt.scores, plain.scores, rtol=1e-6, atol=1e-7, equal_nan=True)


class Counts:
    """How often each layer of a model ran."""

    def __init__(self, adapted):
        self.layers: Counter[int] = Counter()
        for number, layer in enumerate(layers_of(adapted.model)):
            layer.block.register_forward_hook(self._counter(number))

    def _counter(self, number):
        return lambda *arguments: self.layers.update([number])


@each_kind
def test_each_layer_runs_twice_whatever_the_chunks(name):
    adapted = adapter(name)
    assert adapted.rebuilds
    counts, every_layer = Counts(adapted), range(adapted.layer_count)
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    engine = Engine(adapted, budget=Budget(rows=1, rebuild=True))
    Gradient()(example, engine)
    assert counts.layers == dict.fromkeys(every_layer, 2)
    InputXGradient()(example, engine)  # goes on from the same forward
    assert counts.layers == dict.fromkeys(every_layer, 3)
    counts.layers.clear()
    Gradient()(example, Engine(adapted, budget=PLAIN))
    assert counts.layers == dict.fromkeys(every_layer, 1)


def test_layers_below_those_that_are_read_run_once():
    adapted = adapter("Llama")
    assert adapted.rebuilds
    counts = Counts(adapted)
    GradCAM(layers="1:2")(adapted.example(PROMPT, continuation=CONTINUATION), Engine(adapted, budget=REBUILT))
    assert counts.layers == {0: 1, 1: 2, 2: 2}


@cache
def deep_model():
    """Eight layers, a context of some length: what is kept of them is most of the memory."""
    torch.manual_seed(0)
    config = hf.LlamaConfig(**{**GROUPED, "num_hidden_layers": 8})
    return adapt(hf.AutoModelForCausalLM.from_config(config).eval(), tokenizer())


class Saved:
    """The most bytes that graphs hold at a time for their backwards, of storages that are no weights."""

    def __init__(self, network):
        self.weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
        self.alive: Counter[int] = Counter()
        self.sizes: dict[int, int] = {}
        self.most = 0

    def pack(self, tensor):
        held = Held(tensor.detach())  # else a result that is saved would hold its own graph
        pointer = tensor.untyped_storage().data_ptr()
        if pointer not in self.weights:
            self.alive[pointer] += 1
            self.sizes[pointer] = tensor.untyped_storage().nbytes()
            weakref.finalize(held, self.release, pointer)
            self.most = max(self.most, sum(self.sizes.values()))
        return held

    def release(self, pointer):
        self.alive[pointer] -= 1
        if not self.alive[pointer]:
            self.sizes.pop(pointer, None)


class Held:
    """A tensor that a graph holds."""

    def __init__(self, tensor):
        self.tensor = tensor


@pytest.mark.parametrize("row", ["input_x_gradient", "lrp", "attention_grad_cam", "value_x_gradient", "deep_lift"])
def test_one_layer_is_on_the_graph_at_a_time(row):
    adapted = deep_model()
    assert adapted.rebuilds
    example = adapted.example(list(range(3, CONTEXT - 4)), continuation=[5, 6, 7])
    most = {}
    for budget in (PLAIN, REBUILT):
        saved = Saved(adapted.model)
        with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda held: held.tensor):
            ROWS[row].method(example, Engine(adapted, budget=budget))
        most[budget.rebuild] = saved.most
    assert most[True] < most[False] / 3


@pytest.mark.parametrize("method", [Attention(), Attention(heads=1), AttentionRollout()], ids=repr)
def test_weights_that_are_not_read_in_blocks_are_of_one_layer_at_a_time(method):
    adapted = tried(adapter("Llama"))
    assert adapted.reads_in_blocks
    adapted._findings.reads_in_blocks = False
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    seen: list[weakref.ref] = []

    def watch(module, arguments, output):
        assert all(reference() is None for reference in seen)
        seen.append(weakref.ref(output[1]))

    for layer in layers_of(adapted.model):
        layer.attention.register_forward_hook(watch)
    method(example, Engine(adapted))
    assert len(seen) == adapted.layer_count


def test_the_budget_decides():
    adapted = adapter("Llama")
    assert adapted.rebuilds
    counts, example = Counts(adapted), adapted.example(PROMPT, continuation=CONTINUATION)
    needed = len(example.sources) * adapted.footprint(len(example.sources)).kept
    for memory, runs in ((needed, 1), (needed - 1, 2)):
        counts.layers.clear()
        Gradient()(example, Engine(adapted, budget=Budget(memory=memory)))
        assert set(counts.layers.values()) == {runs}


@pytest.mark.parametrize("rebuild", ["yes", 1, None])
def test_it_is_asked_for_in_so_many_words(rebuild):
    with pytest.raises(InputError, match=r"budget\.rebuild is .*, but should be true, false or 'auto'"):
        Budget(rebuild=rebuild)


def forgetful():
    """A model whose first layer scales its output by how often it has run: run again, it computes something else."""
    adapted = adapter("Llama")
    block, runs = layers_of(adapted.model)[0].block, Counter()
    plain = block.forward

    def forward(*args, **kwargs):
        runs["first"] += 1
        return plain(*args, **kwargs) * runs["first"]

    block.forward = forward
    return adapted


def test_a_model_that_cannot_be_rebuilt_has_the_plain_graph_or_is_refused():
    adapted = forgetful()
    assert not adapted.rebuilds
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    assert Gradient()(example, Engine(adapted, budget=Budget(memory=1))).matrix.any()
    with pytest.raises(UnsupportedModel, match=r"budget\.rebuild is true, but .* leave it at 'auto'"):
        Gradient()(example, Engine(adapted, budget=REBUILT))


@each_kind
@pytest.mark.parametrize("row", ["lrp", "attention_grad_cam", "deep_lift", "value_x_gradient"])
def test_nothing_of_the_users_is_changed(name, row):
    network = model(name)
    before = user_state(network, tokenizer_of(name))
    adapted = adapt(network, tokenizer_of(name))
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    ROWS[row].method(example, Engine(adapted, budget=REBUILT))
    assert_unchanged(before, user_state(network, tokenizer_of(name)))
    with pytest.raises(RuntimeError, match="a fault"):
        ROWS[row].method(example, Engine(adapted, broken, budget=REBUILT))
    assert_unchanged(before, user_state(network, tokenizer_of(name)))


def broken(logits, targets):
    raise RuntimeError("a fault")
