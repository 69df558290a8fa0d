"""Attention weights in blocks of rows: the numbers of weights as one tensor, which never exists."""

from __future__ import annotations

import inspect
import math
import threading
from contextlib import contextmanager, nullcontext
from functools import cache, partial

import accelerate
import pytest
import test_further
import torch
import transformers as hf
from builders import CONTINUATION, PROMPT, every_architecture, exact_scores, tiny, tokenizer_of
from models import CONTEXT, adapter, model
from state import assert_unchanged, model_state, user_state
from torch.utils._python_dispatch import TorchDispatchMode

from tokensal import Budget, adapt, attribute
from tokensal.adapters import attending, attending_modules
from tokensal.adapters.attending_modules import modules_in_blocks
from tokensal.adapters.hooks import eager_attention
from tokensal.adapters.layers import layers_of
from tokensal.engine import Engine, weights
from tokensal.errors import MemoryShortage
from tokensal.methods import Attention, AttentionGradCAM, AttentionRollout, GradientRollout, SmoothGrad
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.questions.masks import visible_sources
from tokensal.types import HookPoint

METHODS = {
    "grad_cam": AttentionGradCAM(),
    "grad_cam, all": AttentionGradCAM(layers="all", rows="all"),
    "grad_cam, head_mean": AttentionGradCAM(layers="all", rule="head_mean"),
    "grad_cam, head_mean, all": AttentionGradCAM(layers="all", rule="head_mean", rows="all"),
    "gradient_rollout": GradientRollout(layers="all"),
    "smooth_grad": SmoothGrad(method=GradientRollout(), samples=2),
    "attention": Attention(),
    "attention, max": Attention(heads="max"),
    "attention, one": Attention(heads=1),
    "rollout": AttentionRollout(),
}
WITHOUT_CONTRAST = {name for name, method in METHODS.items() if isinstance(method, Attention | AttentionRollout)}
# Further architectures whose attention is code of its own, which the library's interface does not reach
OWN = ("Bloom", "CodeGen", "Falcon", "GPT-J", "GPT-Neo", "MPT", "XGLM")

each_kind = pytest.mark.parametrize("name", ["Llama", "T5"])
every_own = pytest.mark.parametrize("name", OWN)
every_method = pytest.mark.parametrize("method", METHODS)
every_further = pytest.mark.parametrize(
    "name", sorted(set(test_further.FURTHER) - {name for name, by in test_further.REFUSED.items() if "attention" in by})
)


@contextmanager
def as_one_tensor(adapted):
    """Inside, the model's weights are read as one tensor a layer."""
    assert adapted.reads_in_blocks
    adapted._findings.reads_in_blocks = False
    try:
        yield
    finally:
        adapted._findings.reads_in_blocks = True


@cache
def as_one(name, method):
    with as_one_tensor(tiny(name)):
        return exact_scores(tiny(name), METHODS[method])


def assert_same(scores, others, example, tolerance=1e-10):
    seen = visible_sources(example)
    largest = float(others.matrix[seen].abs().max())
    assert largest > 1e-3
    assert (scores.matrix - others.matrix)[seen].abs().max() < tolerance * largest
    torch.testing.assert_close(scores.values, others.values, rtol=tolerance, atol=tolerance)


@pytest.mark.slow
@every_architecture
@every_method
def test_numbers_are_those_of_weights_as_one_tensor(name, method):
    example = tiny(name).example(PROMPT, continuation=CONTINUATION)
    for budget in (Budget(), Budget(rows=3), Budget(rows=1, memory=1, rebuild=True)):
        assert_same(exact_scores(tiny(name), METHODS[method], budget=budget), as_one(name, method), example)


@each_kind
@every_method
def test_numbers_are_those_of_one_tensor_in_single_precision(name, method):
    adapted = adapter(name, dtype=torch.float32)
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    blocks = exact_scores(adapted, METHODS[method], budget=Budget(rows=3))
    with as_one_tensor(adapted):
        assert_same(blocks, exact_scores(adapted, METHODS[method]), example, 1e-4)


@each_kind
@pytest.mark.parametrize("method", sorted(set(METHODS) - WITHOUT_CONTRAST))
def test_two_continuations_are_explained_alike(name, method):
    """The gradients of rows that both have read add up before anything is made of them."""
    options = {"continuation": CONTINUATION, "contrast": [9, 8], "method": METHODS[method]}
    with as_one_tensor(tiny(name)):
        expected = attribute(tiny(name), PROMPT, **options).scores
    assert expected.nan_to_num().any()
    for budget in (Budget(rows=3), Budget(rows=1, rebuild=True)):
        scores = attribute(tiny(name), PROMPT, budget=budget, **options).scores
        torch.testing.assert_close(scores, expected, rtol=1e-6, atol=1e-7, equal_nan=True)


def test_rows_of_both_continuations_agree_with_a_twin():
    """Σ ReLU(A ∂y/∂A) by two forwards of the plain model, with gradients added up where both have read the same."""
    other, shared = [9, 8], len(PROMPT)
    network = tiny("Llama", "eager").model
    size = shared + len(CONTINUATION) + len(other) - 2
    runs = []
    for sign, continuation in ((1, CONTINUATION), (-1, other)):
        ids = torch.tensor([[*PROMPT, *continuation[:-1]]])
        output = network(ids, output_attentions=True, use_cache=False)
        score = output.logits[0, shared - 1 :].log_softmax(-1)[range(len(continuation)), continuation].sum()
        gradients = torch.autograd.grad(sign * score, output.attentions)
        own = range(size)[shared:][: len(continuation) - 1] if sign > 0 else range(size)[1 - len(other) :]
        runs.append(([*range(shared), *own], [each.detach()[0] for each in output.attentions], gradients))
    expected = torch.zeros(size, dtype=torch.float64)
    for layer in range(3):
        table = torch.zeros(2, 4, size, size, dtype=torch.float64)
        for places, attentions, gradients in runs:
            index = torch.tensor(places)
            table[0][:, index[:, None], index] = attentions[layer]
            table[1][:, index[:, None], index] += gradients[layer][0]
        expected += table.prod(0).relu().sum((0, 1))
    method = METHODS["grad_cam, all"]
    scores = attribute(tiny("Llama"), PROMPT, continuation=CONTINUATION, contrast=other, method=method).scores
    torch.testing.assert_close(scores[0].double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@every_further
def test_further_architectures(name):
    _, adapted = test_further.build(name)
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    seen = visible_sources(example)
    for method in ("grad_cam, all", "gradient_rollout", "rollout"):
        with as_one_tensor(adapted):
            expected = exact_scores(adapted, METHODS[method]).matrix[seen]
        for budget in (Budget(rows=3), Budget(rows=1, memory=1, rebuild=True)):
            scores = exact_scores(adapted, METHODS[method], budget=budget).matrix[seen]
            torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-6)


# Attention that is code of its own


@cache
def own(name):
    """A further architecture in double precision; some compute their weights in single precision nevertheless."""
    network, _ = test_further.build(name)
    network = network if name == "XGLM" else network.double()  # whose code is of single precision
    adapted = adapt(network, tokenizer_of(name), name=name)
    assert adapted.reads_in_blocks
    return adapted


@pytest.mark.parametrize("name", ["Bloom", "GPT-J"])  # the others are among `test_further_architectures`
@every_method
def test_own_attention_has_the_numbers_of_one_tensor(name, method):
    example = own(name).example(PROMPT, continuation=CONTINUATION)
    with as_one_tensor(own(name)):
        expected = exact_scores(own(name), METHODS[method])
    for budget in (Budget(), Budget(rows=3), Budget(rows=1, memory=1, rebuild=True)):
        assert_same(exact_scores(own(name), METHODS[method], budget=budget), expected, example, 1e-5)


@every_own
def test_gradients_of_own_attention_are_those_of_the_plain_module(name):
    """Of several cotangents at once, and of the residual stream where a module adds that."""
    layer = layers_of(own(name).model)[1].attention
    torch.manual_seed(0)
    hidden = torch.randn(1, 10, 32, dtype=own(name).model.dtype)
    calls = []
    hook = layer.register_forward_pre_hook(lambda module, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    with torch.no_grad(), eager_attention(own(name).model):
        own(name).model(inputs_embeds=hidden, use_cache=False)
    hook.remove()
    [(args, kwargs)] = calls
    cotangents = torch.randn(2, *hidden.shape, dtype=hidden.dtype)
    results = []
    for blocks in (False, True):
        leaves = [hidden.clone().requires_grad_() for _ in range(2)]
        named = {"hidden_states": leaves[0]} | ({"residual": leaves[1]} if name == "Bloom" else {})
        bound = inspect.signature(layer.forward).bind(*args, **kwargs)
        bound.arguments.update(named)
        mode = attending.Attending(lambda rows, width: 3, graph=True, each=None, activations=[])
        running = attending.attending(mode) if blocks else nullcontext()
        with eager_attention(own(name).model), running, modules_in_blocks([layer], 4):
            output, weights = layer(*bound.args, **bound.kwargs)
        assert (weights is None) == blocks
        results.append(
            (
                output,
                *torch.autograd.grad(output, [leaves[0], *leaves[1 : len(named)]], cotangents, is_grads_batched=True),
            )
        )
    for plain, block in zip(*results, strict=True):
        torch.testing.assert_close(block, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["Bloom", "GPT-J"])
@every_method
def test_a_block_of_own_attention_that_does_not_fit_is_halved(name, method, monkeypatch):
    expected, sizes = exact_scores(own(name), METHODS[method]).matrix, []
    monkeypatch.setattr(attending, "ON_GRAPH", 3)
    plain = attending_modules.ModuleCall.run

    def run(call, rows, *arguments):
        sizes.append(rows.stop - rows.start)
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("a block of rows")
        return plain(call, rows, *arguments)

    monkeypatch.setattr(attending_modules.ModuleCall, "run", run)
    torch.testing.assert_close(exact_scores(own(name), METHODS[method]).matrix, expected, rtol=1e-5, atol=1e-7)
    assert max(sizes) > 2 and 2 in sizes


def test_rows_with_gaps_are_read_by_themselves():
    assert list(attending_modules._neighbours([0, 1, 2])) == [slice(0, 3)]
    assert list(attending_modules._neighbours([0, 3, 4, 7])) == [slice(0, 1), slice(3, 5), slice(7, 8)]
    adapted, layers = own("GPT-Neo"), [0, 1]
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    inputs = PerturbedInputs(adapted.embed(example)[None])
    tables = []
    for blocks in (None, lambda rows, width: 3):
        with (
            torch.no_grad(),
            adapted.recorded(HookPoint.ATTENTION_WEIGHTS, layers, graph=False, blocks=blocks) as recorded,
        ):
            adapted.forward(example, inputs)
        tables.append(recorded)
    rows = torch.tensor([0, 2, 3, 6])
    for plain, call in zip(*tables, strict=True):
        weights, gradient = call.read(rows, None)
        assert gradient is None and weights.shape[-2:] == (4, 7)
        torch.testing.assert_close(weights, plain.tensor[..., rows, :7], rtol=1e-4, atol=1e-6)
        assert not plain.tensor[..., rows, 7:].any()


@every_own
@pytest.mark.parametrize("stage", ["success", "forward", "reading", "backward"])
def test_own_attention_is_left_as_it_was(name, stage, monkeypatch):
    adapted = own(name)
    before = user_state(adapted.model, tokenizer_of(name))
    if stage != "success":
        monkeypatch.setattr(attending, "ON_GRAPH", 3)
        place, what = {
            "forward": (attending_modules.ModuleCall, "run"),
            "reading": (attending_modules, "_read_rows"),
            "backward": (attending_modules._InBlocks, "backward"),
        }[stage]
        monkeypatch.setattr(place, what, staticmethod(fail) if stage == "backward" else fail)
    with pytest.raises(ZeroDivisionError) if stage != "success" else nullcontext():
        exact_scores(adapted, METHODS["grad_cam, all"], budget=Budget(rows=3))
    assert_unchanged(before, user_state(adapted.model, tokenizer_of(name)))


def test_own_attention_of_an_offloaded_model_is_left_as_it_was():
    """Accelerate has set its forward, too."""
    network, plain = test_further.build("GPT-J")
    expected = exact_scores(plain, METHODS["grad_cam, all"]).matrix
    offloaded = accelerate.cpu_offload(network, execution_device="cpu")
    adapted, before = adapt(offloaded, tokenizer_of("GPT-J")), model_state(offloaded)
    scores = exact_scores(adapted, METHODS["grad_cam, all"], budget=Budget(rows=3)).matrix
    assert adapted.reads_in_blocks
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-6)
    assert_unchanged(before, model_state(offloaded))


@pytest.mark.parametrize("name", ["OF_ROWS", "OF_CELLS", "CACHES"])
def test_own_attention_that_reads_something_else_is_read_as_one_tensor(name, monkeypatch):
    expected = exact_scores(own("GPT-J"), METHODS["gradient_rollout"]).matrix
    network, _ = test_further.build("GPT-J")
    adapted = adapt(network.double(), tokenizer_of("GPT-J"))
    monkeypatch.setattr(attending_modules, name, {"hidden_states": -2} if name == "OF_ROWS" else set())
    assert not adapted.reads_in_blocks
    torch.testing.assert_close(
        exact_scores(adapted, METHODS["gradient_rollout"]).matrix, expected, rtol=1e-5, atol=1e-7
    )


def test_another_thread_runs_own_attention_meanwhile():
    adapted = own("GPT-J")
    ids = torch.arange(3, 20)[None]
    logits, others = adapted.model(ids).logits, []
    layer = layers_of(adapted.model)[1].attention
    mode = attending.Attending(lambda rows, width: 3, graph=False, each=None, activations=[])
    with attending.attending(mode), modules_in_blocks([layer], 4):
        thread = threading.Thread(target=lambda: others.append(adapted.model(ids, output_attentions=True)))
        thread.start()
        thread.join()
    [output] = others
    torch.testing.assert_close(output.logits, logits)
    assert output.attentions[1] is not None


def test_rows_that_choose_their_columns_are_read_in_blocks():
    """DeepSeek-V3.2, of which each row sees three of the columns before it."""
    config = hf.DeepseekV32Config(**test_further.DEEPSEEK, index_n_heads=2, index_head_dim=16, index_topk=3)
    torch.manual_seed(0)
    network = hf.AutoModelForCausalLM.from_config(config).eval()
    adapted = adapt(network, tokenizer_of("Llama"))
    assert adapted.reads_in_blocks
    with as_one_tensor(adapted):
        expected = exact_scores(adapted, METHODS["grad_cam, all"]).matrix
    for budget in (Budget(), Budget(rows=3)):
        scores = exact_scores(adapted, METHODS["grad_cam, all"], budget=budget).matrix
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-7)
    with torch.no_grad(), eager_attention(network):
        attentions = network(torch.arange(3, 13)[None], output_attentions=True).attentions
    assert ((attentions[0] > 0).sum(-1) <= 3).all()


# Memory


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that an operation returns."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        tensors = result if isinstance(result, tuple | list) else [result]
        sizes = [each.numel() for each in tensors if isinstance(each, torch.Tensor)]
        self.numbers = max([self.numbers, *sizes])
        return result


def small(name):
    return tiny(name) if name not in test_further.FURTHER else test_further.build(name)[1]


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("name", ["Llama", "Gemma 3", "Gemma 2", "gpt-oss", "BART", "Bloom", "GPT-J"])
def test_no_tensor_is_of_all_heads_and_cells(name, rebuild, monkeypatch):
    """Grouped heads, windows, soft caps, sinks, cross-attention, and attention that is code of its own."""
    monkeypatch.setattr(attending, "ON_GRAPH", 3)
    adapted = small(name)
    assert adapted.reads_in_blocks and adapted.rebuilds
    ids = [3 + place % 300 for place in range(CONTEXT - 4)]
    example = adapted.example(ids, continuation=[5, 6, 7])
    heads = adapted.model.config.get_text_config().num_attention_heads
    cells = heads * len(ids) * (len(ids) if adapted.model.config.is_encoder_decoder else len(ids) + 2)
    assert cells > adapted.model.get_input_embeddings().weight.numel()
    for method in ("grad_cam, head_mean, all", "gradient_rollout", "rollout"):
        engine = Engine(adapted, budget=Budget(rows=8, rebuild=rebuild))
        with Largest() as largest:
            METHODS[method](example, engine)
        assert largest.numbers < cells, method
    with as_one_tensor(adapted), Largest() as largest:
        METHODS["rollout"](example, Engine(adapted))
    assert largest.numbers >= cells


class Rows:
    """Which blocks of rows are computed, how many rows fit, and what a block does that does not."""

    def __init__(self, monkeypatch, limit=math.inf):
        self.sizes: list[int] = []
        plain = attending.Call.of

        def of(call, rows, query, key, value):
            self.sizes.append(query.shape[2])
            if query.shape[2] > limit:
                raise torch.OutOfMemoryError("a block of rows")
            return plain(call, rows, query, key, value)

        monkeypatch.setattr(attending.Call, "of", of)


@every_method
def test_a_block_that_does_not_fit_is_halved(method, monkeypatch):
    monkeypatch.setattr(attending, "ON_GRAPH", 3)
    expected, example = as_one("Llama", method), tiny("Llama").example(PROMPT, continuation=CONTINUATION)
    rows = Rows(monkeypatch, limit=2)
    assert_same(exact_scores(tiny("Llama"), METHODS[method]), expected, example)
    assert max(rows.sizes) > 2 and 2 in rows.sizes


def test_not_even_one_row_fits(monkeypatch):
    monkeypatch.setattr(attending, "ON_GRAPH", 0)
    assert tiny("Llama").reads_in_blocks
    Rows(monkeypatch, limit=0)
    with pytest.raises(MemoryShortage):
        exact_scores(tiny("Llama"), Attention())


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"smooth_grad"}))
def test_weights_of_a_short_text_are_computed_once(method, monkeypatch):
    adapted = adapter("Llama")
    assert adapted.reads_in_blocks
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    rows = Rows(monkeypatch)
    METHODS[method](example, Engine(adapted))
    assert rows.sizes == [len(example.sources)] * adapted.layer_count


def test_few_rows_that_look_at_many_columns_are_read_in_blocks(monkeypatch):
    """A decoder's rows are few, but the weights of a long encoder for each of them are not kept."""
    adapted = adapter("T5")
    example = adapted.example(PROMPT, continuation=CONTINUATION[:2])
    decoder = len(example.sources) - example.encoder
    assert decoder < example.encoder
    monkeypatch.setattr(attending, "ON_GRAPH", decoder)
    Attention()(example, Engine(adapted))  # tries the model
    rows = Rows(monkeypatch)
    Attention()(example, Engine(adapted))
    assert rows.sizes.count(decoder) == 3 * adapted.model.config.num_decoder_layers  # of which one reads them


def test_only_rows_that_count_are_computed_again(monkeypatch):
    monkeypatch.setattr(attending, "ON_GRAPH", 3)
    adapted = adapter("Llama")
    assert adapted.reads_in_blocks
    example = adapted.example(PROMPT, continuation=CONTINUATION[:2])  # predicted by the last two of its sources
    sources = len(example.sources)
    for method, again in {Attention(): [2, 2, 2], AttentionRollout(): [2, sources, sources]}.items():
        with monkeypatch.context() as patch:
            rows = Rows(patch)
            method(example, Engine(adapted))
            assert rows.sizes == [sources] * 3 + again


def test_columns_that_no_row_sees_are_left_out():
    """Rows that see nothing look at all columns alike."""
    lowest = torch.finfo(torch.float64).min
    mask = torch.full((1, 1, 4, 6), lowest, dtype=torch.float64)
    mask[..., 0, 0] = mask[..., 1, 1] = mask[..., 2, [0, 4]] = 0
    assert attending._ends(mask, 6).tolist() == [1, 2, 5, 6]
    assert attending._ends(mask, 5).tolist() == [1, 2, 5, 5]


def test_the_budget_decides():
    cpu = torch.device("cpu")
    assert Budget(memory=2**40).blocks(cpu)(9000, 10) == 128
    assert Budget(memory=16 * 8 * 1000 * 7).blocks(cpu)(9000, 1000) == 7
    assert Budget(memory=16 * 8 * 1000 * 8).blocks(cpu, cotangents=3)(9000, 1000) == 2
    assert Budget(memory=1).blocks(cpu)(9000, 1000) == 1
    assert Budget(rows=3).blocks(cpu)(9000, 1) == 3
    assert Budget(memory=2**40).blocks(torch.device("cuda"))(9000, 1) == 9000


# Trials


def test_a_model_whose_attention_reads_something_else_is_read_as_one_tensor(monkeypatch):
    monkeypatch.setattr(attending, "KNOWN", set())
    adapted = adapter("Llama")
    assert not adapted.reads_in_blocks
    scores = exact_scores(adapted, GradientRollout(layers="all"))
    torch.testing.assert_close(scores.matrix, as_one("Llama", "gradient_rollout").matrix)


@pytest.mark.parametrize("output", [True, False])
def test_a_model_whose_blocks_are_not_its_own_is_read_as_one_tensor(output, monkeypatch):
    plain = attending.Call.of

    def of(call, *arguments):
        result, table = plain(call, *arguments)
        return (result * 1.1, table) if output else (result, table * 1.1)

    monkeypatch.setattr(attending.Call, "of", of)
    assert not adapter("Llama").reads_in_blocks


# Nothing of the user's is changed


def fail(*arguments):
    raise ZeroDivisionError


@each_kind
@pytest.mark.parametrize("stage", ["success", "forward", "reading", "backward"])
@pytest.mark.parametrize("method", ["grad_cam, all", "rollout"])
def test_nothing_of_the_users_is_changed(name, stage, method, monkeypatch):
    network = model(name)
    adapted = adapt(network, tokenizer_of(name))
    assert adapted.reads_in_blocks
    before = user_state(network, tokenizer_of(name))
    if stage == "success":
        exact_scores(adapted, METHODS[method], budget=Budget(rows=3))
    elif (stage, method) != ("backward", "rollout"):
        place, what = {
            "forward": (attending, "_in_blocks"),
            "reading": (attending, "_read_rows"),
            "backward": (attending._InBlocks, "backward"),
        }[stage]
        monkeypatch.setattr(attending, "ON_GRAPH", 3)
        monkeypatch.setattr(place, what, staticmethod(fail) if isinstance(place, type) else fail)
        with pytest.raises(ZeroDivisionError):
            exact_scores(adapted, METHODS[method], budget=Budget(rows=3))
    assert_unchanged(before, user_state(network, tokenizer_of(name)))
    assert getattr(attending._RUNNING, "mode", None) is None


def test_another_thread_runs_the_model_meanwhile(monkeypatch):
    """Its forward is as it was, and nothing of it is read."""
    adapted = adapter("Llama")
    expected = exact_scores(adapted, AttentionRollout()).matrix
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        logits = adapted.model(ids).logits
    others: list[torch.Tensor] = []
    thread = threading.Thread(target=lambda: others.append(adapted.model(ids).logits))

    def run_elsewhere(module, arguments):
        if adapted.model.config._attn_implementation == attending.NAME and thread.ident is None:
            thread.start()
            thread.join()

    adapted.model.model.layers[1].register_forward_pre_hook(run_elsewhere)
    torch.testing.assert_close(exact_scores(adapted, AttentionRollout()).matrix, expected, rtol=0, atol=0)
    torch.testing.assert_close(others[0], logits, rtol=1e-3, atol=1e-4)  # eager softmax is of single precision


def test_two_threads_read_two_models():
    names, results = ["Llama", "Gemma 3"], {}

    def run(name):
        for _ in range(3):
            results[name] = exact_scores(tiny(name), METHODS["grad_cam, all"], budget=Budget(rows=2)).matrix

    expected = {name: as_one(name, "grad_cam, all").matrix for name in names}
    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        torch.testing.assert_close(results[name], expected[name])


# Small mistakes, made on purpose


def too_few_columns(patch):
    plain = attending._ends
    patch.setattr(attending, "_ends", lambda mask, columns: (plain(mask, columns) - 1).clamp(min=1))


def gradients_of_the_second_continuation_dropped(patch):
    patch.setattr(weights, "_added", lambda before, columns, gradients: before)


def rows_of_a_mask_not_cut(patch):
    patch.setattr(attending, "cut", lambda tensor, rows, stop: tensor[..., -1:, :stop])


def rows_shifted_by_one(patch):
    plain = attending._read_rows
    patch.setattr(attending, "_read_rows", lambda *call: plain(*call[:-2], (call[-2] - 1).clamp(min=0), call[-1]))


def gradients_of_earlier_keys_dropped(patch):
    plain = attending_modules._rows_of
    patch.setattr(attending_modules, "_rows_of", lambda *call: [each * (each.ndim == 3) for each in plain(*call)])


SINGLE = partial(test_numbers_are_those_of_one_tensor_in_single_precision, "Llama", "grad_cam, all")
GRADIENTS = partial(test_gradients_of_own_attention_are_those_of_the_plain_module, "GPT-J")


@pytest.mark.parametrize(
    ("mistake", "oracle"),
    [
        (too_few_columns, SINGLE),
        (rows_of_a_mask_not_cut, SINGLE),
        (rows_shifted_by_one, SINGLE),
        (gradients_of_earlier_keys_dropped, GRADIENTS),
        (gradients_of_the_second_continuation_dropped, test_rows_of_both_continuations_agree_with_a_twin),
    ],
)
def test_a_mistake_turns_its_oracle_red(mistake, oracle, monkeypatch):
    adapter("Llama", dtype=torch.float32)
    mistake(monkeypatch)
    with pytest.raises(AssertionError):
        oracle()
