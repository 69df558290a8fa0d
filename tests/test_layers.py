"""Methods that look inside the layers: slow twins on every architecture, counts, and a model left as it was."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache, partial

import pytest
import slow_twins
import torch
import transformers as hf
from builders import tried
from models import ARCHITECTURES, adapter, model, tokenizer
from state import assert_unchanged, user_state

from tokensal import Budget, adapt
from tokensal.adapters import hooks
from tokensal.adapters.layers import layers_of
from tokensal.engine import Engine
from tokensal.engine.reductions import Rows
from tokensal.errors import InputError, UnsupportedModel
from tokensal.methods.grad_cam import AttentionGradCAM, GradCAM, GradientRollout
from tokensal.methods.layers import select_layers
from tokensal.perturbations.inputs import Unperturbed
from tokensal.types import Group, HookPoint

PROMPT, CONTINUATION = [5, 40, 41, 7, 40, 99, 12], [40, 3, 200, 40, 8]
RECORDED = (HookPoint.ATTENTION_OUTPUT, HookPoint.ATTENTION_WEIGHTS)
OUTPUT, WEIGHTS = 0, 1  # where an attention module returns them

every_architecture = pytest.mark.parametrize("name", ARCHITECTURES)


@cache
def tiny(name: str, attention: str = "sdpa"):
    return adapter(name, attention=attention)


def exact(model, method, **options):
    return method(model.example(PROMPT, continuation=CONTINUATION), Engine(model, **options))


# Slow twins: a fresh forward for each target, by ids, with eager attention of the model's own, and plain loops


def twin(made, place, layers, read):
    """Scores (G, S) of `read` for each token of the continuation; NaN after the token that predicts it."""
    ids = PROMPT + CONTINUATION
    table = torch.full((len(CONTINUATION), len(ids) - 1), float("nan"), dtype=torch.float64)
    for row, target in enumerate(CONTINUATION):
        before = ids[: len(PROMPT) + row]
        pairs = [pair for layer, pair in enumerate(inside(made, before, target, place)) if layer in layers]
        table[row, : len(before)] = torch.tensor(read(pairs), dtype=torch.float64)
    return table


def inside(made, before, target, place):
    """(activation, gradient) of each attention, the score being the log-probability of `target`."""
    found = []
    normed = place == OUTPUT and "Gemma" in type(made).__name__  # here a norm stands before the residual stream
    handles = [
        module.register_forward_hook(lambda module, inputs, output: found.append(output if normed else output[place]))
        for path, module in made.named_modules()
        if (path.endswith("post_attention_layernorm") if normed else type(module).__name__.endswith("Attention"))
    ]
    logits = made(input_ids=torch.tensor([before]), use_cache=False).logits[0, -1]
    for hook in handles:
        hook.remove()
    assert len(found) == 3
    gradients = torch.autograd.grad(slow_twins.SCORES["logprob"](logits, target), found)
    return [(one.detach()[0], gradient[0]) for one, gradient in zip(found, gradients, strict=True)]


def outputs_elementwise(pairs):
    size = len(pairs[0][0])
    return [sum(max(0.0, float((g[i] * h[i]).sum())) for h, g in pairs) for i in range(size)]


def outputs_by_channel(pairs):
    size = len(pairs[0][0])
    return [sum(max(0.0, float((g.mean(0) * h[i]).sum())) for h, g in pairs) for i in range(size)]


def weights_elementwise(pairs, *, rows):
    size = pairs[0][0].shape[-1]
    scores = [0.0] * size
    for attention, gradient in pairs:
        product = (attention * gradient).tolist()
        for head in product:
            for looking in range(size) if rows == "all" else [size - 1]:
                for source in range(looking + 1):
                    scores[source] += max(0.0, head[looking][source])
    return scores


def weights_by_head(pairs, *, rows):
    size = pairs[0][0].shape[-1]
    cells = [(looking, source) for looking in range(size) for source in range(looking + 1)]
    scores = [0.0] * size
    for attention, gradient in pairs:
        means = [sum(float(head[cell]) for cell in cells) / len(cells) for head in gradient]
        for looking, source in cells:
            if rows == "all" or looking == size - 1:
                heads = zip(means, attention[:, looking, source].tolist(), strict=True)
                scores[source] += max(0.0, sum(mean * weight for mean, weight in heads))
    return scores


def rolled_out(pairs):
    relevance = torch.eye(pairs[0][0].shape[-1], dtype=torch.float64)
    for attention, gradient in pairs:
        relevance = relevance + (attention * gradient).clamp(min=0).mean(0) @ relevance
    relevance[-1, -1] -= 1
    return relevance[-1].tolist()


ALL, LOWEST, MIDDLE, HIGHEST, UPPER = (0, 1, 2), (0,), (1,), (2,), (1, 2)
METHODS = {
    "grad_cam": (GradCAM(), OUTPUT, (0, 1), outputs_elementwise),  # six tenths of three layers
    "grad_cam low": (GradCAM(layers=0.5), OUTPUT, MIDDLE, outputs_elementwise),
    "grad_cam top": (GradCAM(layers=-1), OUTPUT, HIGHEST, outputs_elementwise),
    "channel_mean": (GradCAM(rule="channel_mean", layers=0), OUTPUT, LOWEST, outputs_by_channel),
    "channel_mean all": (GradCAM(rule="channel_mean", layers="0:3"), OUTPUT, ALL, outputs_by_channel),
    "attention": (AttentionGradCAM(), WEIGHTS, UPPER, partial(weights_elementwise, rows="predictor")),
    "attention, all": (
        AttentionGradCAM(layers="all", rows="all"),
        WEIGHTS,
        ALL,
        partial(weights_elementwise, rows="all"),
    ),
    "attention, row": (
        AttentionGradCAM(layers=0, rows="predictor"),
        WEIGHTS,
        LOWEST,
        partial(weights_elementwise, rows="predictor"),
    ),
    "head_mean": (
        AttentionGradCAM(rule="head_mean", layers="all", rows="all"),
        WEIGHTS,
        ALL,
        partial(weights_by_head, rows="all"),
    ),
    "head_mean, row": (
        AttentionGradCAM(rule="head_mean", layers="all", rows="predictor"),
        WEIGHTS,
        ALL,
        partial(weights_by_head, rows="predictor"),
    ),
    "rollout": (GradientRollout(layers="all"), WEIGHTS, ALL, rolled_out),
    "rollout top": (GradientRollout(), WEIGHTS, UPPER, rolled_out),
}
every_method = pytest.mark.parametrize("method", METHODS)
FAMILIES = [GradCAM(), AttentionGradCAM(), GradientRollout()]
every_family = pytest.mark.parametrize("method", FAMILIES, ids=lambda method: type(method).__name__)


@every_architecture
@every_method
def test_agrees_with_its_slow_twin(name, method):
    made, place, layers, read = METHODS[method]
    expected = twin(tiny(name, "sdpa" if place == OUTPUT else "eager").model, place, layers, read)
    found = exact(tiny(name), made).matrix
    seen = ~expected.isnan()
    assert (expected[seen] > 1e-3).any()  # nothing agrees by being zero
    tolerance = 1e-8 if place == OUTPUT else 1e-5  # transformers' eager attention rounds its softmax to float32
    torch.testing.assert_close(found[seen], expected[seen], rtol=tolerance, atol=tolerance)


@every_architecture
@every_method
def test_the_future_is_blank_and_nothing_is_negative(name, method):
    found = exact(tiny(name), METHODS[method][0])
    visible = torch.tensor([[source < 7 + target for source in range(11)] for target in range(5)])
    assert (found.matrix[~visible] == 0).all()
    assert (found.matrix >= 0).all()


def test_the_values_are_the_scores_themselves():
    made = tiny("Llama")
    ids = PROMPT + CONTINUATION
    expected = [slow_twins.value(made.model, ids[: 7 + row], ids[7 + row], "logprob") for row in range(5)]
    torch.testing.assert_close(exact(made, GradCAM()).values, torch.stack(expected), rtol=1e-8, atol=1e-10)


def test_the_highest_layer_credits_the_predicting_position_alone():
    found = exact(tiny("Llama"), GradCAM(layers=-1)).matrix
    elsewhere = torch.tensor([[source != 6 + target for source in range(11)] for target in range(5)])
    assert (found[elsewhere] == 0).all()
    assert (found[~elsewhere] > 0).any()


# One forward, and no further down than the layers that are asked for


@every_family
@every_architecture
def test_one_forward_serves_all_targets(name, method):
    made, forwards = tried(adapter(name)), []
    made.model.register_forward_hook(lambda module, inputs, output: forwards.append(1))
    exact(made, method, budget=Budget(rows=11))
    assert len(forwards) == 1


@every_architecture
@pytest.mark.parametrize("hook_point", RECORDED)
def test_nothing_below_the_lowest_layer_is_on_the_graph(name, hook_point):
    made, seen = tried(adapter(name)), []
    for layer in layers_of(made.model):
        layer.attention.register_forward_hook(lambda module, inputs, output: _watch(output[0], seen))
    engine = Engine(made, budget=Budget(rows=11))
    layer_gradients(engine, made.example(PROMPT, continuation=CONTINUATION), hook_point, (1,), _plain_sum)
    assert seen.count("off the graph") == 1
    upper = seen.count("backward")
    seen.clear()
    layer_gradients(engine, made.example(PROMPT, continuation=CONTINUATION), hook_point, (0,), _plain_sum)
    assert seen.count("off the graph") == 0 and seen.count("backward") > upper


def layer_gradients(engine, example, hook_point, layers, reduce):
    """The gradients of the unperturbed example at layers, reduced: (K, S), and the scores (K,)."""
    perturbations = Unperturbed(engine.embed(example))
    [found] = engine.gradients(example, perturbations, reduce, at=hook_point, layers=layers)
    return found.reduced[0], found.values[0]


def _watch(output, seen):
    if output.requires_grad:
        output.register_hook(lambda gradient: seen.append("backward"))
    else:
        seen.append("off the graph")


def _plain_sum(activations, gradients, rows):
    """Linear in the gradient, so that groups must add up."""
    products = [activation * gradient for activation, gradient in zip(activations, gradients, strict=True)]
    return sum(product.flatten(2, -2).sum(2) if product.ndim == 5 else product.sum(-1) for product in products)


@pytest.mark.parametrize("hook_point", RECORDED)
def test_a_group_is_the_sum_of_its_targets(hook_point):
    made = tiny("Llama")
    example, engine = made.example(PROMPT, continuation=CONTINUATION), Engine(made)
    groups, reaches, predicting = torch.tensor([[1.0, 1, 0, 0, 0], [0, 0, 1, -1, 1]]), [], []

    def reduce(activations, gradients, rows):
        reaches.extend(rows.visible[:, 0].sum(1).tolist())
        predicting.extend(row.nonzero()[:, 0].tolist() for row in rows.predictors[:, 0])
        return _plain_sum(activations, gradients, rows)

    each = layer_gradients(engine, example, hook_point, (1, 2), _plain_sum)
    asked = replace(example, groups=(Group((0, 1)), Group((2, 4), (3,))))
    grouped = layer_gradients(engine, asked, hook_point, (1, 2), reduce)
    for found, expected in zip(grouped, each, strict=True):
        torch.testing.assert_close(found, groups.double() @ expected, rtol=1e-9, atol=1e-9)
    assert (reaches, predicting) == ([8, 11], [[6, 7], [8, 9, 10]])


@every_family
def test_chunks_change_no_number_and_report_progress(method):
    steps = []
    whole = exact(tiny("Llama"), method, budget=Budget(rows=10**6))
    pieces = exact(tiny("Llama"), method, budget=Budget(rows=22), progress=lambda *step: steps.append(step))
    torch.testing.assert_close(pieces.matrix, whole.matrix, rtol=1e-9, atol=1e-11)
    assert steps == [(2, 5), (4, 5), (5, 5)]


@every_family
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_is_near(method, dtype):
    rough, fine = exact(adapter("Llama", dtype=dtype), method).matrix, exact(tiny("Llama"), method).matrix
    assert rough.dtype == torch.float32
    assert (rough - fine).abs().sum() / fine.abs().sum() < (1e-4 if dtype == torch.float32 else 0.15)


# The model is left as it was


@pytest.fixture
def user():
    made = model("Llama", dtype=torch.float32)
    made.train()
    made.model.layers[0].self_attn.register_forward_pre_hook(lambda attention, inputs: None)
    made.model.embed_tokens.weight.requires_grad_(False)
    return made, copy.deepcopy(tokenizer())


@every_family
def test_after_success(user, method):
    before = user_state(*user)
    exact(adapt(*user), method)
    assert_unchanged(before, user_state(*user))


@every_family
@pytest.mark.parametrize("stage", ["forward", "backward"])
def test_after_an_error(user, method, stage):
    def breaking(module, inputs, output):
        if stage == "forward":
            raise ZeroDivisionError
        output.register_hook(lambda gradient: 1 // 0)

    adapted = tried(adapt(*user))
    user[0].model.layers[1].mlp.register_forward_hook(breaking)
    before = user_state(*user)
    with pytest.raises(ZeroDivisionError):
        exact(adapted, method)
    assert_unchanged(before, user_state(*user))


def test_configurations_inside_a_configuration_are_restored_one_by_one():
    config = hf.Gemma3Config()
    config._attn_implementation = {"": "sdpa", "text_config": "eager", "vision_config": "flash_attention_2"}
    owner, inner = torch.nn.Module(), torch.nn.Module()
    owner.config, inner.config, owner.inner = config, config.text_config, inner
    three = [config, config.text_config, config.vision_config]
    before = [one._attn_implementation for one in three]
    assert before == ["sdpa", "eager", "flash_attention_2"]
    with hooks.eager_attention(owner):
        assert [one._attn_implementation for one in three] == ["eager"] * 3
    assert [one._attn_implementation for one in three] == before


@every_family
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_the_user_switched_gradients_off(method, mode):
    expected = exact(tiny("GPT-2"), method).matrix
    with mode():
        found = exact(tiny("GPT-2"), method).matrix
    torch.testing.assert_close(found, expected)


# What cannot be done says so


def test_a_model_without_attention_in_its_layers_is_refused():
    made = tiny("Llama").model
    bare = copy.deepcopy(made)
    bare.model.layers = torch.nn.ModuleList(layer.mlp for layer in bare.model.layers)
    with pytest.raises(UnsupportedModel, match="no list of 3 layers with an attention module in each"):
        layers_of(bare)


def test_an_attention_that_keeps_its_weights_to_itself_is_refused():
    made = adapter("Llama")
    made.model.model.layers[1].self_attn.register_forward_hook(lambda module, inputs, output: (output[0], None))
    with pytest.raises(UnsupportedModel, match="LlamaAttention does not return its attention weights"):
        exact(made, GradientRollout())


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("all", (0, 1, 2, 3, 4)),
        (0, (0,)),
        (-1, (4,)),
        (-5, (0,)),
        (0.5, (2,)),
        (0.999, (3,)),
        (0.01, (0,)),
        ("1:3", (1, 2)),
        (":2", (0, 1)),
        ("3:", (3, 4)),
        ("-2:", (3, 4)),
        (":-3", (0, 1)),
        (":", (0, 1, 2, 3, 4)),
        ("0.5:", (2, 3, 4)),  # the layer in the middle belongs to both halves
        (":0.5", (0, 1, 2)),
        (":0.6", (0, 1, 2)),
        ("0.2:-1", (1, 2, 3)),
        ("1:0.8", (1, 2, 3)),
    ],
)
def test_layers_are_chosen(layers, expected):
    assert select_layers(layers, 5) == expected


@pytest.mark.parametrize("layers", [5, -6, "5:", "3:3", "3:1", ":6", "-6:", ":0", "0.8:0.6"])
def test_layers_that_the_model_does_not_have_are_refused(layers):
    with pytest.raises(InputError, match=f"layers is {layers!r}, but the model has 5 layers: choose from 0 to 4"):
        select_layers(layers, 5)


@every_family
@pytest.mark.parametrize("layers", [0.0, 1.0, 1.5, -0.5, "top", "", "3", "1:2:3", "a:b", "1.5:", "-0.5:", True, None])
def test_what_cannot_mean_layers_is_refused_before_anything_runs(method, layers):
    with pytest.raises(InputError, match="should be an index such as 3 or -1"):
        type(method)(layers=layers)


def test_unknown_rules_are_refused():
    with pytest.raises(InputError, match="did you mean 'channel_mean'"):
        GradCAM(rule="chanel_mean")
    with pytest.raises(InputError, match="did you mean 'head_mean'"):
        AttentionGradCAM(rule="heads_mean")
    with pytest.raises(InputError, match="did you mean 'predictor'"):
        AttentionGradCAM(rows="predictors")


# Small mistakes, made on purpose: each must turn its twin red


def absolute_gradients(activations, gradients, rows):
    return activations, [gradient.abs() for gradient in gradients], rows


def layers_upside_down(activations, gradients, rows):
    return activations[::-1], gradients[::-1], rows


class ShiftedRows(Rows):
    visible = property(lambda self: Rows.visible.func(self).roll(-1, 2))
    predictors = property(lambda self: Rows.predictors.func(self).roll(-1, 2))


def predictor_shifted_by_one(activations, gradients, rows):
    return (
        activations,
        gradients,
        ShiftedRows(rows.example, rows.index, rows.groups, rows.first, rows.device, rows.size),
    )


@pytest.mark.parametrize(
    ("mistake", "method"),
    [*((absolute_gradients, method) for method in METHODS), (layers_upside_down, "rollout")]
    + [(predictor_shifted_by_one, name) for name in ("channel_mean", "attention, row", "head_mean", "rollout")],
)
def test_a_mistake_turns_its_twin_red(mistake, method, monkeypatch):
    made = type(METHODS[method][0])
    original = made.reduction
    monkeypatch.setattr(made, "reduction", lambda self: lambda *given: original(self)(*mistake(*given)))
    with pytest.raises(AssertionError):
        test_agrees_with_its_slow_twin("Llama", method)


def test_an_output_read_before_its_norm_turns_its_twin_red(monkeypatch):
    monkeypatch.setattr(hooks, "_follower", lambda activations, followed: lambda module, arguments, output: None)
    with pytest.raises(AssertionError):
        test_agrees_with_its_slow_twin("Gemma 3", "grad_cam")
