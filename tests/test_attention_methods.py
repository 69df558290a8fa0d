"""Attention, value × gradient, information flow routes and ALTI-Logit: twins, identities, sums, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from builders import (
    CONTINUATION,
    PROMPT,
    every_architecture,
    exact_scores,
    tiny,
    tokenizer_of,
)
from counting import CountingAdapter
from models import ARCHITECTURES, ENCODER_DECODERS, adapter, model
from slow_twins_attention import alti_logit, information_flow
from torch import nn

from tokensal import Budget, adapt, attribute
from tokensal.adapters.layers import layers_of
from tokensal.engine import Engine
from tokensal.engine.contributions import over_contributions
from tokensal.errors import InputError, UnsupportedModel
from tokensal.methods import (
    ALTILogit,
    Attention,
    InformationFlowRoutes,
    SmoothGrad,
    ValueXGradient,
)
from tokensal.methods.alti_logit import Measurement
from tokensal.methods.shares import divided, proximity
from tokensal.perturbations.inputs import PerturbedInputs, Unperturbed
from tokensal.questions.masks import predictor_mask, visible_sources
from tokensal.scores import SCORES, logit
from tokensal.types import AttentionParts, HookPoint, Part

NORMED_SUMS = ("BART", "Marian")  # their layers norm the sum
BY_NAME = ("Llama", "GPT-2", "GPT-NeoX")  # whose modules the twins know by their names

EVERYWHERE = [*ARCHITECTURES, *ENCODER_DECODERS]

ROUTES, LOGIT = InformationFlowRoutes(layers="all"), ALTILogit(layers="all")

every_twin = pytest.mark.parametrize("name", BY_NAME)


def example_of(name):
    return tiny(name).example(PROMPT, continuation=CONTINUATION)


@pytest.fixture
def exact_softmax(monkeypatch):
    """Eager attention in the dtype of the model: transformers rounds it to float32."""
    # torch.softmax, since a mode would be told of the patch itself
    monkeypatch.setattr(nn.functional, "softmax", lambda x, dim, **options: torch.softmax(x, dim))


def biased(name):
    """A model whose biases and norms are not those of an untrained one, which are zero and one."""
    network = model(name, attention="eager")
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if "bias" in parameter_name or "norm" in parameter_name or "ln_" in parameter_name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


# Attention


@pytest.mark.parametrize(
    ("name", "heads"),
    [*((name, "mean") for name in EVERYWHERE), *((name, heads) for name in ("Llama", "T5") for heads in ("max", 2))],
)
def test_attention_is_that_of_the_plain_model(name, heads):
    example, network = example_of(name), tiny(name, "eager").model
    ids = torch.tensor([[token.id for token in example.sources]])
    size = example.encoder
    with torch.no_grad():
        if not size:
            output = network(input_ids=ids, output_attentions=True)
            layers = [layer[0] for layer in output.attentions]
        else:
            output = network(input_ids=ids[:, :size], decoder_input_ids=ids[:, size:], output_attentions=True)
            pairs = zip(output.cross_attentions, output.decoder_attentions, strict=True)
            layers = [torch.cat(pair, dim=-1)[0] / 2 for pair in pairs]
    expected = torch.zeros(len(example.targets), len(example.sources), dtype=torch.float64)
    for target, predictor in enumerate(example.predictors):
        for layer in layers:
            rows = layer[:, predictor - size]  # (heads, S)
            row = rows[heads] if heads == 2 else rows.mean(0) if heads == "mean" else rows.max(0).values
            expected[target] += row / len(layers)
    matrix = exact_scores(tiny(name), Attention(heads=heads)).matrix
    torch.testing.assert_close(matrix, expected, rtol=1e-5, atol=1e-6)
    if heads != "max":
        torch.testing.assert_close(matrix.sum(1), torch.ones_like(matrix[:, 0]), rtol=1e-5, atol=1e-6)


def test_attention_of_what_does_not_predict_is_refused():
    for method in (Attention(layers=":2"), ALTILogit(layers=":2")):
        with pytest.raises(InputError, match="of the encoder alone, but the decoder predicts"):
            exact_scores(tiny("T5"), method)
    with pytest.raises(InputError, match="heads is 4, but the model has 4 heads: choose from 0 to 3"):
        exact_scores(tiny("Llama"), Attention(heads=4))
    for heads in ("men", -1, 1.5, True, None):
        with pytest.raises(InputError, match="heads is"):
            Attention(heads=heads)


@pytest.mark.parametrize(
    ("method", "forwards"),
    [(Attention(), 1), (ROUTES, 1), (LOGIT, 2), (ValueXGradient(), 1)],
)
def test_few_forwards_serve_all_targets(method, forwards):
    counting = CountingAdapter(tiny("Llama"))
    method(counting.example(PROMPT, continuation=CONTINUATION), Engine(counting))
    assert (counting.forwards, counting.backwards) == (forwards, 0)  # none to the embeddings


# Value × gradient


@pytest.mark.usefixtures("exact_softmax")
@pytest.mark.parametrize(
    ("name", "attention"),
    [*((name, "sdpa") for name in EVERYWHERE), *((name, "eager") for name in ("Llama", "GPT-2", "T5"))],
)
def test_value_x_gradient_is_a_finite_difference_of_scaled_values(name, attention):
    adapted, step = tiny(name, attention), 1e-5
    example, engine = example_of(name), Engine(adapted)
    layer = adapted.layer_count - 2
    matrix = ValueXGradient(layers=layer, rule="signed")(example, engine).matrix
    embeds, seen = adapted.embed(example)[None], visible_sources(example)

    def score(source, factor):
        def write(activation):
            values = activation.tensor.clone()
            place = source if activation.rows == "first" else source - example.encoder
            if 0 <= place < values.shape[-2]:
                values[..., place, :] *= factor
            return values

        with adapted.prepared(), torch.no_grad():
            with adapted.edited(frozenset({HookPoint.VALUES}), (layer,), write):
                forward = adapted.forward(example, PerturbedInputs(embeds))
            return engine.values(example, forward)[0]

    for source in (1, 6, len(example.sources) - 2):
        slope = (score(source, 1 + step) - score(source, 1 - step)) / (2 * step)
        visible = seen[:, source]
        rounded = 1e-2 if name in ("Mixtral", "Qwen 3 MoE") else 1e-6  # routers compute in float32
        torch.testing.assert_close(matrix[visible, source], slope[visible], rtol=10 * rounded, atol=rounded)
    assert matrix.abs().max() > 0.01


@every_architecture
def test_value_x_gradient_is_attention_x_gradient_of_all_that_look(name):
    """Σ_rows A ∂y/∂A = ⟨∂y/∂v, v⟩: attention is linear in both."""
    engine, example = Engine(tiny(name, "eager")), example_of(name)
    seen = visible_sources(example)

    def summed(activations, gradients, rows):
        pairs = zip(activations, gradients, strict=True)
        return sum((gradient * activation).sum((-3, -2)) for activation, gradient in pairs)

    for layers in ("all", 1):
        method = ValueXGradient(layers=layers, rule="signed")
        [weights] = engine.gradients(
            example,
            Unperturbed(engine.embed(example)),
            summed,
            at=HookPoint.ATTENTION_WEIGHTS,
            layers=method.selected_layers(engine),
        )
        values = method(example, engine).matrix
        torch.testing.assert_close(values[seen], weights.reduced[0][seen], rtol=1e-9, atol=1e-11)


@every_architecture
def test_recorded_values_change_no_number_and_both_kernels_agree(name):
    example = example_of(name)
    fused, eager = (ValueXGradient(layers="all")(example, Engine(tiny(name, kind))) for kind in ("sdpa", "eager"))
    torch.testing.assert_close(fused.values, Engine(tiny(name)).original(example), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(fused.matrix, eager.matrix, rtol=1e-5, atol=1e-5)
    positive = ValueXGradient(layers=0)(example, Engine(tiny(name)))
    signed = ValueXGradient(layers=0, rule="signed")(example, Engine(tiny(name)))
    torch.testing.assert_close(positive.matrix, signed.matrix.relu())
    assert not ValueXGradient().signed and ValueXGradient(rule="signed").signed


def test_smooth_grad_of_value_x_gradient_without_noise_is_value_x_gradient():
    smooth = exact_scores(tiny("Llama"), SmoothGrad(method="value_x_gradient", samples=2, noise=0.0))
    torch.testing.assert_close(smooth.matrix, exact_scores(tiny("Llama"), ValueXGradient()).matrix)


# Parts


@every_architecture
def test_the_parts_of_every_attention_add_up(name):
    adapted = adapt(biased(name), tokenizer_of(name))
    example, engine, errors = adapted.example(PROMPT, continuation=CONTINUATION), Engine(adapted), []

    def measure(parts):
        beside = 0 if parts.beside is None else parts.beside
        torch.testing.assert_close(parts.before + parts.output + beside, parts.after, rtol=1e-10, atol=1e-10)
        assert (parts.beside is not None) == (name in ("GPT-NeoX", "Phi"))
        table, error = over_contributions(
            parts, lambda vectors, rows: vectors.sum(-1).movedim(1, 0), engine.budget, heads=True
        )
        assert table.shape == parts.weights.shape and error < 1e-9
        total = table.sum((0, 2)) + parts.bias.sum(-1)
        torch.testing.assert_close(total, parts.output.sum(-1), rtol=1e-9, atol=1e-9)
        errors.append(error)
        return parts.weights.sum(0)

    engine.decomposed(example, measure, layers=range(adapted.layer_count))
    assert len(errors) == sum(1 if layer.cross is None else 2 for layer in layers_of(adapted.model))


@pytest.mark.usefixtures("exact_softmax")
@pytest.mark.parametrize("options", [{}, {"together": True}, {"threshold": 0.02}])
@every_twin
def test_information_flow_routes_agree_with_their_slow_twin(name, options):
    adapted = adapt(biased(name), tokenizer_of(name))
    heads = "together" if options.get("together") else "apart"
    matrix = exact_scores(adapted, replace(ROUTES, heads=heads, threshold=options.get("threshold", 0.0))).matrix
    for target in range(len(CONTINUATION)):
        expected = information_flow(adapted.model, PROMPT + CONTINUATION[:target], **options)
        torch.testing.assert_close(matrix[target, : len(expected)], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.usefixtures("exact_softmax")
@pytest.mark.parametrize("score", ["logit", "logprob"])
@every_twin
def test_alti_logit_agrees_with_its_slow_twin(name, score):
    adapted = adapt(biased(name), tokenizer_of(name))
    scores = exact_scores(adapted, LOGIT, score=SCORES[score])
    for target, id in enumerate(CONTINUATION):
        expected, untraced = alti_logit(adapted.model, PROMPT + CONTINUATION[:target], id, score)
        torch.testing.assert_close(scores.matrix[target, : len(expected)], expected, rtol=1e-8, atol=1e-10)
        assert abs(float(scores.diagnostics["untraced"].values[target]) - untraced) < 1e-8
    if score == "logit":
        torch.testing.assert_close(scores.diagnostics["total"].values, scores.values)


@pytest.mark.usefixtures("exact_softmax")
@pytest.mark.parametrize("foil", [[9], [9, 77, 30]])
def test_a_contrast_is_the_difference_of_two_texts(foil):
    adapted, answer = tiny("Llama"), CONTINUATION[: len(foil)]
    result = attribute(adapted, PROMPT, continuation=answer, contrast=foil, method=LOGIT, score="logit")
    for row in range(len(foil)):
        ways = [
            alti_logit(tiny("Llama", "eager").model, PROMPT + text[:row], text[row], "logit")[0]
            for text in (answer, foil)
        ]
        shared = len(PROMPT)
        expected = (ways[0] - ways[1])[:shared].float()
        torch.testing.assert_close(result.scores[row, :shared], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("exact_softmax")
@every_architecture
def test_shares_add_up_to_one_and_scores_to_what_attention_adds(name):
    example = example_of(name)
    rows = exact_scores(tiny(name), replace(ROUTES, threshold=0.01)).matrix
    torch.testing.assert_close(rows.sum(1), torch.ones_like(rows[:, 0]), rtol=1e-9, atol=1e-9)
    if name in NORMED_SUMS:
        with pytest.raises(UnsupportedModel, match="its layers norm the sum"):
            exact_scores(tiny(name), LOGIT)
        return
    scores = exact_scores(tiny(name), LOGIT, score=logit)
    total, untraced, error = (scores.diagnostics[key].values for key in ("total", "untraced", "decomposition_error"))
    torch.testing.assert_close(total, scores.values, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(scores.matrix.sum(1) + untraced, total, rtol=1e-9, atol=1e-9)
    assert (error < 1e-9).all() and (scores.matrix[~visible_sources(example)] == 0).all()


def test_shares_of_vectors_that_do_not_overlap_are_those_of_their_lengths():
    parts = torch.diag(torch.tensor([1.0, 2.0, 5.0]))
    total = parts.sum(0)
    assert divided(proximity(parts, total)).tolist() == [0.125, 0.25, 0.625]
    assert float(proximity(-total, total)) == 0  # what points the other way has no share


def test_shares_of_a_hand_made_attention_in_closed_form():
    """Two positions, one head, no projection: each number of a state has one origin, so shares are of lengths."""
    before = torch.tensor([[1.0, 0, 0, 0], [0, 2, 0, 0]])
    values = torch.tensor([[[0.0, 0, 4, 0], [0, 0, 0, 4]]])
    weights = torch.tensor([[[1.0, 0], [0.25, 0.75]]])
    output = (weights @ values)[0]
    parts = AttentionParts(
        step=0, rows=Part.LAST, columns=Part.LAST, weights=weights, values=values, project=lambda x: x,
        scale=torch.ones(2, 4), bias=torch.zeros(2, 4), output=output, before=before, beside=None,
        after=before + output, additive=True, tolerance=1e-6,
    )  # fmt: skip
    example, engine = tiny("Llama").example([5, 6], continuation=[7]), Engine(tiny("Llama"))
    measurement = Measurement(example, engine, torch.tensor([[1.0, 10, 100, 1000]]))
    torch.testing.assert_close(measurement.shares(parts), torch.tensor([[1.0, 0], [1 / 6, 5 / 6]]))
    assert measurement.added[0].tolist() == [[100, 3000]]  # what each source adds, in the direction of the target
    engine.decomposed = lambda example, measure, layers: [measure(parts)]
    [row] = ROUTES.mixing(example, engine, (0,)).rows
    torch.testing.assert_close(row, torch.tensor([1 / 6, 5 / 6]))
    [row] = replace(ROUTES, threshold=0.2).mixing(example, engine, (0,)).rows
    torch.testing.assert_close(row, torch.tensor([0.0, 1]))


def test_a_position_that_does_not_look_at_itself_keeps_its_stream():
    before, values = torch.tensor([[1.0, 0, 0], [0, 2, 0]]), torch.tensor([[[0.0, 0, 4], [0, 0, 9]]])
    weights = torch.tensor([[[1.0, 0], [1, 0]]])
    output = (weights @ values)[0]
    parts = AttentionParts(
        step=0, rows=Part.LAST, columns=Part.LAST, weights=weights, values=values, project=lambda x: x,
        scale=torch.ones(2, 3), bias=torch.zeros(2, 3), output=output, before=before, beside=None,
        after=before + output, additive=True, tolerance=1e-6,
    )  # fmt: skip
    engine = Engine(tiny("Llama"))
    measurement = Measurement(tiny("Llama").example([5, 6], continuation=[7]), engine, torch.ones(1, 3))
    torch.testing.assert_close(measurement.shares(parts), torch.tensor([[1.0, 0], [2 / 3, 1 / 3]]))


@pytest.mark.parametrize("method", [ROUTES, LOGIT])
def test_attention_that_adds_nothing_leaves_every_position_to_itself(method):
    adapted = adapter("Llama")
    for layer in adapted.model.model.layers:
        nn.init.zeros_(layer.self_attn.o_proj.weight)
    matrix = exact_scores(adapted, method).matrix
    own = predictor_mask(example_of("Llama")).to(matrix)
    torch.testing.assert_close(matrix, own if isinstance(method, InformationFlowRoutes) else 0 * own)


def test_one_layer_of_uniform_attention_in_closed_form():
    """Without queries every position looks at all before it alike; what it adds is the mean of their values."""
    adapted = adapter("Llama", attention="eager")
    network = adapted.model
    network.model.layers = network.model.layers[:1]
    network.config.num_hidden_layers = 1
    nn.init.zeros_(network.model.layers[0].self_attn.q_proj.weight)
    example = adapted.example(PROMPT, continuation=CONTINUATION[:1])
    matrix = LOGIT(example, Engine(adapted, logit)).matrix
    layer, size = network.model.layers[0], len(PROMPT)
    with torch.no_grad():
        embeds = adapted.embed(example)
        values = layer.self_attn.v_proj(layer.input_layernorm(embeds)).view(size, 2, 8).repeat_interleave(2, 1)
        added = layer.self_attn.o_proj(values.flatten(1)) / size  # (S, H)
        state = layer(
            embeds[None], position_embeddings=network.model.rotary_emb(embeds[None], torch.arange(size)[None])
        )
        scale = (state.reshape(size, -1)[-1].pow(2).mean() + network.model.norm.variance_epsilon).rsqrt()
        expected = (added * network.model.norm.weight * scale) @ network.lm_head.weight[CONTINUATION[0]]
    torch.testing.assert_close(matrix[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "method",
    [
        ROUTES,
        replace(ROUTES, heads="together"),
        LOGIT,
    ],
)
def test_few_rows_at_a_time_change_no_number(method):
    pieces = exact_scores(tiny("Llama"), method, budget=Budget(rows=3)).matrix
    torch.testing.assert_close(pieces, exact_scores(tiny("Llama"), method).matrix, rtol=1e-10, atol=1e-12)


# What is refused


def test_a_layer_that_adds_something_else_is_refused_with_numbers():
    adapted = adapter("Llama")
    adapted.model.model.layers[1].self_attn.register_forward_hook(
        lambda module, inputs, output: (output[0] + output[0].flip(-1), *output[1:])
    )
    with pytest.raises(UnsupportedModel, match=r"cannot be read in parts: no sum .* should be 1e-06 at most"):
        exact_scores(adapted, ROUTES)


def test_a_projection_that_is_not_linear_is_refused_with_numbers():
    adapted = adapter("Llama")
    projection = adapted.model.model.layers[1].self_attn.o_proj
    projection.register_forward_hook(lambda module, inputs, output: output + output.pow(2))
    with pytest.raises(UnsupportedModel, match=r"does not add up to what it adds .* should be 1e-06 at most"):
        exact_scores(adapted, ROUTES)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"heads": "appart"}, "did you mean 'apart'"),
        ({"threshold": -0.1}, "threshold is -0.1"),
        ({"threshold": 1}, "shares add up to 1: choose a smaller one"),
        ({"layers": "top"}, "layers is 'top'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        InformationFlowRoutes(**options)


def test_an_unknown_rule_of_value_x_gradient_is_refused():
    with pytest.raises(InputError, match="did you mean 'signed'"):
        ValueXGradient(rule="sign")
