"""Encoder–decoder models: slow twins, finite differences, masks and chunks, and an encoder that is run once."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache, partial

import pytest
import slow_twins_seq2seq as slow_twins
import torch
import transformers as hf
from builders import tried
from models import CONTEXT, ENCODER_DECODERS, adapter, ending_tokenizer, model
from state import assert_unchanged, user_state

from tokensal import (
    AttentionGradCAM,
    Attribution,
    Budget,
    GradCAM,
    Gradient,
    GradientRollout,
    InputXGradient,
    IntegratedGradients,
    Occlusion,
    adapt,
    attribute,
    compare,
    load,
)
from tokensal.adapters import Seq2SeqAdapter, hooks, seq2seq
from tokensal.adapters.support import check_config
from tokensal.engine import Engine
from tokensal.engine.reductions import dot
from tokensal.errors import InputError, UnsupportedModel
from tokensal.methods.quadrature import RULES
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.render import html, terminal
from tokensal.render.layout import lay_out
from tokensal.scores import SCORES, logprob
from tokensal.types import Role

PROMPT, CONTINUATION = [5, 40, 41, 7, 40, 99, 2], [40, 3, 200, 40]
READ, SOURCES = len(PROMPT), len(PROMPT) + len(CONTINUATION)
VISIBLE = torch.arange(SOURCES) <= torch.arange(READ, SOURCES)[:, None]
SINGLE = [(source, source + 1) for source in range(SOURCES)]
BOS = 1

every_architecture = pytest.mark.parametrize("name", ENCODER_DECODERS)
every_attention = pytest.mark.parametrize("attention", ["sdpa", "eager"])


@cache
def tiny(name: str = "BART", attention: str = "sdpa") -> Seq2SeqAdapter:
    return adapter(name, attention=attention)


def start(made) -> int:
    return made.model.config.decoder_start_token_id


def answer(made) -> list[int]:
    return [start(made), *CONTINUATION]


def exact(made, method, score=logprob, **options):
    """Scores in float64: a result is stored in float32, so the engine is asked itself."""
    return method(made.example(PROMPT, continuation=CONTINUATION), Engine(made, score, **options))


# Examples


@every_architecture
def test_one_axis_of_sources(name):
    made = tiny(name)
    example = made.example(PROMPT, continuation=CONTINUATION)
    assert [token.id for token in example.sources] == [*PROMPT, start(made), *CONTINUATION[:-1]]
    assert [token.id for token in example.targets] == CONTINUATION
    assert example.predictors == (7, 8, 9, 10)
    assert example.encoder == example.sink == READ
    assert [token.role for token in example.sources] == [Role.PROMPT] * READ + [Role.GENERATED] * 4
    assert example.sources[READ].special
    assert example.sources[READ + 1 :] == example.targets[:-1]


def test_source_and_target_are_readable_apart():
    example = tiny("T5").example("The cat sat", continuation=" on the mat")
    assert example.text == "The cat sat<|end|>\n<pad> on the mat"
    for token in (*example.sources, *example.targets):
        assert example.text[token.start : token.stop] == token.text
    result = attribute(tiny("T5"), "The cat sat", continuation=" on the mat", method="input_x_gradient")
    lines = [label.lines for label in lay_out(result).sources]
    assert lines[example.encoder - 1] == 1 and sum(lines) == 1
    page = html.draw_heatmap(lay_out(result))
    assert ">source text <small>" in page and ">answer <small>" in page
    written = terminal.draw_heatmap(lay_out(result)).splitlines()
    source = written.index("── source text ──")
    assert written[source + 1].startswith("The")
    assert written[source + 2] == "── answer ──" and written[source + 3].startswith("›<pad>†")


@every_architecture
def test_generation_explains_the_models_own_ids(name):
    made = tiny(name)
    example = made.example("The cat", max_new_tokens=6)
    ids = ending_tokenizer()("The cat", return_tensors="pt")
    expected = made.model.generate(**ids, max_new_tokens=6, do_sample=False)[0].tolist()
    assert [token.id for token in example.sources[example.encoder :]] == expected[:-1]
    assert [token.id for token in example.targets] == expected[1:]
    assert [token.id for token in example.sources[: example.encoder]] == ids["input_ids"][0].tolist()


def test_a_forced_token_is_a_target_in_its_place():
    made = tiny("M2M100")
    example = made.example("The cat", max_new_tokens=4, generation={"forced_bos_token_id": 60})
    assert example.targets[0].id == example.sources[example.encoder + 1].id == 60
    assert example.targets[0].special
    assert not example.targets[1].special or example.targets[1].id in ending_tokenizer().all_special_ids


def test_text_is_tokenized_as_a_target_without_its_end():
    made = tiny("T5")
    example = made.example("The cat", continuation=" sat")
    assert [token.id for token in example.targets] == ending_tokenizer()(" sat")["input_ids"][:-1]
    ended = made.example("The cat", continuation=[*ending_tokenizer()(" sat")["input_ids"]])
    assert ended.targets[-1].id == 2  # ids are taken as they are


LETTERS = [(letter, -1.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]


def translator(kind, **languages):
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *LETTERS]
    codes = [(code, 0.0) for code in ("en_XX", "de_DE", "fr_XX")]
    return kind(vocab=[*pieces, *codes, ("<mask>", 0.0)], **languages)


def test_a_target_language_is_in_its_place():
    coder = translator(hf.MBart50Tokenizer, src_lang="en_XX", tgt_lang="de_DE")
    english, german = coder.convert_tokens_to_ids(["en_XX", "de_DE"])
    before = coder.backend_tokenizer.to_str()
    example = adapt(model("mBART"), coder).example("a cat", continuation="eine katze")
    assert example.sources[0].id == english and example.sources[0].special
    assert example.targets[0].id == german and example.targets[0].special
    assert [token.id for token in example.sources[example.encoder :][:2]] == [2, german]
    assert example.targets[-1].id != 2
    assert coder.backend_tokenizer.to_str() == before and coder.tgt_lang == "de_DE"


def test_a_language_behind_the_text_is_what_the_decoder_starts_with():
    coder = translator(hf.MBartTokenizer, src_lang="en_XX", tgt_lang="de_DE")
    german = coder.convert_tokens_to_ids("de_DE")
    example = adapt(model("mBART"), coder).example("a cat", continuation="eine katze")
    assert example.sources[example.encoder].id == german
    assert german not in [token.id for token in example.targets]


def test_a_target_language_that_is_not_said_is_asked_for():
    coder = translator(hf.MBart50Tokenizer, src_lang="en_XX")
    adapted = adapt(model("mBART"), coder)
    with pytest.raises(InputError, match=r"tgt_lang = …"):
        adapted.example("a cat", continuation="eine katze")
    assert coder.tgt_lang is None
    adapted.example("a cat", continuation=[9, 10])


# Slow twins


@every_architecture
@every_attention
def test_logits_through_embeddings_equal_logits_through_ids(name, attention):
    made = tiny(name, attention)
    example = made.example(PROMPT, continuation=CONTINUATION)
    with torch.no_grad(), made.prepared():
        found = made.forward(example, PerturbedInputs(made.embed(example)[None])).logits[0]
        steps = slow_twins.each(PROMPT, answer(made))
        expected = [slow_twins.logits(made.model, PROMPT, before) for _, before, _ in steps]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-8, atol=1e-8)


METHODS = {
    ("gradient", "l2"): Gradient(),
    ("gradient", "l1"): Gradient(norm="l1"),
    ("gradient", "max"): Gradient(norm="max"),
    ("input_x_gradient", None): InputXGradient(),
}


@every_architecture
@every_attention
@pytest.mark.parametrize("method", METHODS)
def test_gradients_agree_with_their_slow_twin(name, attention, method):
    made = tiny(name, attention)
    expected = slow_twins.attribution(made.model, PROMPT, answer(made), method, "logprob")
    found = exact(made, METHODS[method])
    assert expected.isnan().equal(~VISIBLE)
    assert expected[VISIBLE].abs().min() > 1e-6
    torch.testing.assert_close(found.matrix[VISIBLE], expected[VISIBLE], rtol=1e-8, atol=1e-8)
    assert (found.matrix[~VISIBLE] == 0).all()


@pytest.mark.parametrize("score", SCORES)
def test_every_score_agrees_with_its_slow_twin(score):
    made = tiny("Marian")
    found = exact(made, InputXGradient(), SCORES[score])
    expected = slow_twins.attribution(made.model, PROMPT, answer(made), ("input_x_gradient", None), score)
    torch.testing.assert_close(found.matrix[VISIBLE], expected[VISIBLE], rtol=1e-8, atol=1e-10)
    values = [
        slow_twins.value(made.model, PROMPT, before, target, score)
        for _, before, target in slow_twins.each(PROMPT, answer(made))
    ]
    torch.testing.assert_close(found.values, torch.stack(values), rtol=1e-8, atol=1e-10)


TWINS = {"mask": "mask", "delete": "delete", "bos": BOS}  # a pad among ids has no position in M2M100


@every_architecture
@every_attention
@pytest.mark.parametrize("replacement", TWINS)
def test_occlusion_agrees_with_its_slow_twin(name, attention, replacement):
    made = tiny(name, attention)
    expected = slow_twins.occlusion(made.model, PROMPT, answer(made), SINGLE, TWINS[replacement], "logprob")
    found = exact(made, Occlusion(replacement=replacement, keep=()), budget=Budget(rows=30)).matrix
    torch.testing.assert_close(found[VISIBLE], expected[VISIBLE], rtol=1e-8, atol=1e-8)
    assert found[~VISIBLE].abs().max() < 1e-12
    own = torch.arange(SOURCES) != READ  # a start token cannot be deleted
    assert found[:, own][VISIBLE[:, own]].abs().min() > 1e-7


@every_architecture
@pytest.mark.parametrize("replacement", ["delete", "bos"])
def test_windows_across_encoder_and_decoder_agree_with_their_slow_twin(name, replacement):
    made = tiny(name)
    spans = [(begin, min(begin + 3, SOURCES)) for begin in range(SOURCES)]
    twin = TWINS[replacement]
    drops = slow_twins.occlusion(made.model, PROMPT, answer(made), spans, twin, "logprob").nan_to_num()
    covering = [[span[0] for span in spans if span[0] <= source < span[1]] for source in range(SOURCES)]
    expected = torch.stack([drops[:, columns].mean(1) for columns in covering], dim=1)
    found = exact(made, Occlusion(replacement=replacement, window=3, keep=())).matrix
    torch.testing.assert_close(found[VISIBLE], expected[VISIBLE], rtol=1e-8, atol=1e-8)


@every_architecture
def test_integrated_gradients_agree_with_their_slow_twin(name):
    made = tiny(name)
    nodes, weights = RULES["gauss_legendre"](5)
    kept = {place for place, id in enumerate([*PROMPT, *answer(made)]) if id in (0, 1, 2) or place == READ}
    baseline = torch.zeros(32, dtype=torch.float64)
    expected = slow_twins.integrated_gradients(
        made.model, PROMPT, answer(made), baseline, kept, nodes, weights, "logprob"
    )
    found = exact(made, IntegratedGradients(steps=5)).matrix
    torch.testing.assert_close(found[VISIBLE], expected[VISIBLE], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["BART", "Marian", "T5"])
def test_the_certificate_holds_and_can_be_checked_from_outside(name):
    made = tiny(name)
    method = IntegratedGradients(baseline="mean", keep=[], tolerance=0.02, max_evaluations=1000)
    found = exact(made, method)
    assert found.diagnostics["convergence_delta"].reached.all()
    mean = made.model.get_input_embeddings()(torch.arange(320)).mean(0)
    ends = []
    for _, before, target in slow_twins.each(PROMPT, answer(made)):
        tables = {part().get_input_embeddings() for part in (made.model.get_encoder, made.model.get_decoder)}
        handles = [table.register_forward_hook(lambda m, i, output: mean.expand_as(output)) for table in tables]
        low = slow_twins.value(made.model, PROMPT, before, target, "logprob")
        for hook in handles:
            hook.remove()
        ends.append(slow_twins.value(made.model, PROMPT, before, target, "logprob") - low)
    torch.testing.assert_close(found.diagnostics["total"].values, torch.stack(ends), rtol=1e-8, atol=1e-8)
    residual = found.matrix.sum(1) - torch.stack(ends)
    torch.testing.assert_close(found.diagnostics["convergence_delta"].values, residual, rtol=1e-6, atol=1e-8)
    assert (residual.abs() <= 0.02 * torch.stack(ends).abs().clamp(min=0.1)).all()


# Finite differences, masks, chunks


@every_architecture
def test_gradients_are_finite_differences(name):
    made = tiny(name)
    example = made.example(PROMPT, continuation=CONTINUATION)
    engine = Engine(made)
    embeds = engine.embed(example)
    direction, step = torch.randn_like(embeds), 1e-6
    ends = engine.scores(example, PerturbedInputs(torch.stack([embeds + step * direction, embeds - step * direction])))
    [found] = engine.gradients(
        example, PerturbedInputs(embeds[None]), lambda activations, gradients, rows: (gradients[0] * direction).sum(-1)
    )
    slopes = (ends[0] - ends[1]) / (2 * step)
    assert slopes.abs().min() > 1e-4
    torch.testing.assert_close(found.reduced[0].sum(-1), slopes, rtol=1e-5, atol=1e-6)


@every_architecture
@pytest.mark.parametrize("rows", [1, 25, 40])
def test_chunks_change_no_number(name, rows):
    deletion = Occlusion(replacement="delete", window=2, keep=())
    for method in (InputXGradient(), Occlusion(keep=()), deletion, IntegratedGradients(steps=3)):
        whole = exact(tiny(name), method, budget=Budget(rows=10**6))
        pieces = exact(tiny(name), method, budget=Budget(rows=rows))
        torch.testing.assert_close(pieces.matrix, whole.matrix, rtol=1e-9, atol=1e-11)


@every_architecture
@pytest.mark.parametrize("source", [3, READ, READ + 1])
def test_a_masked_source_has_no_influence(name, source):
    made = tiny(name)
    example = made.example(PROMPT, continuation=CONTINUATION)
    engine = Engine(made)
    keep = torch.ones(1, SOURCES, dtype=torch.bool)
    keep[0, source] = False
    embeds = engine.embed(example)[None]
    others = torch.tensor([predictor != source for predictor in example.predictors])  # it still speaks for itself
    [found] = engine.gradients(example, PerturbedInputs(embeds, keep), dot)
    assert found.reduced[0, others, source].abs().max() == 0
    altered = embeds.clone()
    altered[0, source] = 7.0
    values = engine.scores(example, PerturbedInputs(altered, keep))
    torch.testing.assert_close(values[0, others], found.values[0, others], rtol=1e-10, atol=1e-12)


# The encoder is run once where it can be


def encodings(made) -> list[int]:
    calls: list[int] = []
    made.model.get_encoder().register_forward_hook(lambda module, inputs, output: calls.append(len(output[0])))
    return calls


@every_architecture
def test_the_encoder_is_not_run_again_where_only_the_decoder_is_altered(name):
    made = adapter(name)
    example = made.example(PROMPT, continuation=CONTINUATION)
    Engine(made).original(example)  # Marian's scale is found out once
    calls = encodings(made)
    Occlusion(keep=())(example, Engine(made, budget=Budget(rows=1)))
    assert calls == [1] * (1 + READ)  # the example as it is, and one for each of the encoder's tokens


@every_architecture
@pytest.mark.parametrize("first", [READ, READ + 2])
def test_a_remembered_encoder_changes_no_number(name, first):
    made = tiny(name)
    example = made.example(PROMPT, continuation=CONTINUATION)
    engine = Engine(made)
    embeds = torch.stack([engine.embed(example)] * 2)
    embeds[:, first:] += torch.randn_like(embeds[:, first:])
    whole, part = PerturbedInputs(embeds), PerturbedInputs(embeds[:, first:], None, first)
    torch.testing.assert_close(engine.scores(example, part), engine.scores(example, whole), rtol=1e-9, atol=1e-11)
    [shared], [apart] = engine.gradients(example, part, dot), engine.gradients(example, whole, dot)
    late = torch.tensor(example.predictors) >= first
    found, expected = shared.reduced[:, late, first:], apart.reduced[:, late, first:]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("replacement", ["mask", "delete", "mean"])
def test_states_that_are_forgotten_change_no_number(replacement, monkeypatch):
    method = Occlusion(replacement=replacement, window=2, keep=())
    shared, original = exact(tiny("T5"), method), Seq2SeqAdapter.original
    monkeypatch.setattr(Seq2SeqAdapter, "original", lambda *given: replace(original(*given), states=None))
    torch.testing.assert_close(exact(tiny("T5"), method).matrix, shared.matrix, rtol=1e-9, atol=1e-11)


# Layers: activations and gradients of each attention, laid on the axis of sources by plain loops


def inside(made, prompt, before, target, place):
    """[(activation, gradient)] of each layer on the axis of sources, the encoder's layers first."""
    own, across = ("self_attn", "SelfAttention"), ("encoder_attn", "EncDecAttention")
    encoder, decoder = made.get_encoder(), made.get_decoder()
    stacks = {"encoder": (encoder, own), "self": (decoder, own), "cross": (decoder, across)}
    found, handles = {key: [] for key in stacks}, []
    for key, (stack, names) in stacks.items():
        handles += [
            _record(module, found[key], place) for path, module in stack.named_modules() if path.endswith(names)
        ]
    result = slow_twins.SCORES["logprob"](slow_twins.logits(made, prompt, before), target)
    for hook in handles:
        hook.remove()
    flat = [*found["encoder"], *found["self"], *(found["cross"] if place == -1 else [])]
    gradients = dict(zip(map(id, flat), torch.autograd.grad(result, flat), strict=True))
    size, read = len(prompt) + len(before), len(prompt)
    layers = [
        [_laid(tensor[0], size, 0, 0) for tensor in (one.detach(), gradients[id(one)])] for one in found["encoder"]
    ]
    for own, cross in zip(found["self"], found["cross"], strict=True):
        pair = [_laid(tensor[0], size, read, read) for tensor in (own.detach(), gradients[id(own)])]
        if place == -1:
            more = [_laid(tensor[0], size, read, 0) for tensor in (cross.detach(), gradients[id(cross)])]
            pair = [one + other for one, other in zip(pair, more, strict=True)]
        layers.append(pair)
    return layers


def _record(module, found, place):
    return module.register_forward_hook(lambda module, inputs, output: found.append(output[place]))


def _laid(tensor, size, row, column):
    if tensor.ndim == 2:
        whole = tensor.new_zeros(size, tensor.shape[1])
        whole[row : row + len(tensor)] = tensor
        return whole
    whole = tensor.new_zeros(len(tensor), size, size)
    whole[:, row : row + tensor.shape[1], column : column + tensor.shape[2]] = tensor
    return whole


def of_encoder(activation, read):
    return not activation[..., read:, :].any()


def outputs_elementwise(pairs, read):
    return sum((activation * gradient).sum(-1).clamp(min=0) for activation, gradient in pairs)


def outputs_by_channel(pairs, read):
    total = 0
    for activation, gradient in pairs:
        part = slice(read) if of_encoder(activation, read) else slice(read, None)
        total = total + (activation @ gradient[part].mean(0)).clamp(min=0)
    return total


def weights_elementwise(pairs, read):
    return sum((activation * gradient).clamp(min=0).sum(0)[-1] for activation, gradient in pairs)


def weights_of_all_rows(pairs, read):
    return sum((activation * gradient).clamp(min=0).sum((0, 1)) for activation, gradient in pairs)


def weights_by_head(pairs, read):
    total = 0
    for activation, gradient in pairs:
        size = activation.shape[-1]
        if of_encoder(activation, read):
            cells = [(row, column) for row in range(read) for column in range(read)]
        else:
            cells = [(row, column) for row in range(read, size) for column in range(row + 1)]
        mean = sum(gradient[:, row, column] for row, column in cells) / len(cells)
        total = total + (mean[:, None, None] * activation).sum(0).clamp(min=0).sum(0)
    return total


def rolled_out(pairs, read):
    relevance = torch.eye(pairs[0][0].shape[-1], dtype=torch.float64)
    for activation, gradient in pairs:
        relevance = relevance + (activation * gradient).clamp(min=0).mean(0) @ relevance
    relevance[-1, -1] -= 1
    return relevance[-1]


LAYERED = {
    "grad_cam": (GradCAM(layers="all"), 0, outputs_elementwise),
    "channel_mean": (GradCAM(layers="all", rule="channel_mean"), 0, outputs_by_channel),
    "attention": (AttentionGradCAM(layers="all"), -1, weights_elementwise),
    "attention, all rows": (AttentionGradCAM(layers="all", rows="all"), -1, weights_of_all_rows),
    "head_mean": (AttentionGradCAM(layers="all", rule="head_mean", rows="all"), -1, weights_by_head),
    "rollout": (GradientRollout(layers="all"), -1, rolled_out),
}


@every_architecture
@pytest.mark.parametrize("method", LAYERED)
def test_layers_agree_with_their_slow_twin(name, method):
    chosen, place, read_off = LAYERED[method]
    made = tiny(name, "eager" if place else "sdpa")
    expected = slow_twins.empty(PROMPT, answer(made))
    for row, before, target in slow_twins.each(PROMPT, answer(made)):
        pairs = inside(made.model, PROMPT, before, target, place)
        expected[row, : READ + len(before)] = read_off(pairs, READ)
    found = exact(tiny(name), chosen).matrix
    assert (expected[VISIBLE] > 1e-6).any()
    assert (expected[:, :READ] > 1e-6).any()
    torch.testing.assert_close(found[VISIBLE], expected[VISIBLE], rtol=1e-8, atol=1e-8)
    assert (found[~VISIBLE] == 0).all()


@every_architecture
@pytest.mark.parametrize(("layer", "read"), [(1, True), (-1, False)])
def test_a_layer_by_itself_is_what_it_adds_to_all(name, layer, read):
    for method in (GradCAM, AttentionGradCAM):
        single = exact(tiny(name), method(layers=layer)).matrix
        count = tiny(name).layer_count
        parts = [exact(tiny(name), method(layers=index)).matrix for index in range(count)]
        torch.testing.assert_close(parts[layer], single)
        torch.testing.assert_close(sum(parts), exact(tiny(name), method(layers="all")).matrix, rtol=1e-9, atol=1e-11)


def test_the_upper_half_looks_by_cross_attention():
    found = exact(tiny("T5"), AttentionGradCAM()).matrix
    assert (found[:, :READ] > 0).any(1).all()


@pytest.mark.parametrize("method", [GradCAM(layers=0), AttentionGradCAM(layers="all"), GradientRollout(layers="2:")])
def test_chunks_change_no_number_of_layers(method):
    whole = exact(tiny("T5"), method, budget=Budget(rows=10**6))
    pieces = exact(tiny("T5"), method, budget=Budget(rows=22))
    torch.testing.assert_close(pieces.matrix, whole.matrix, rtol=1e-9, atol=1e-11)


# Everything works from outside, and nothing of the user's is changed

ALL = ["gradient", "input_x_gradient", IntegratedGradients(steps=3), "occlusion", "grad_cam", "attention_grad_cam"]


@every_architecture
def test_every_method_explains_what_was_generated(name, tmp_path):
    made = adapter(name, dtype=torch.float32)
    found = compare(made, "The cat sat", methods=[*ALL, "gradient_rollout"], max_new_tokens=4)
    for result in found.attributions:
        encoder = result.sink
        visible = torch.arange(len(result.sources)) <= encoder + torch.arange(len(result.targets))[:, None]
        special = torch.tensor([source.special for source in result.sources])
        altered = result.provenance.method == "occlusion"
        assert result.visible.equal(visible & ~special if altered else visible)
        result.save(tmp_path / "result.json")
        assert Attribution.load(tmp_path / "result.json").sources == result.sources


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@every_architecture
def test_lower_precision_is_near(name, dtype):
    rough = exact(adapter(name, dtype=dtype), Gradient(), SCORES["logit"])
    fine = exact(tiny(name), Gradient(), SCORES["logit"])
    error = (rough.matrix - fine.matrix).abs().sum() / fine.matrix.abs().sum()
    assert rough.matrix.dtype == torch.float32
    assert error < (1e-4 if dtype == torch.float32 else 0.15)


@pytest.fixture(params=["T5", "Marian"])
def user(request):
    """A model in the middle of its user's work: training, partly frozen, with hooks of its own."""
    made, coder = model(request.param, dtype=torch.float32), copy.deepcopy(ending_tokenizer())
    made.train()
    made.get_encoder().eval()
    made.get_input_embeddings().weight.requires_grad_(False)
    made.get_output_embeddings().register_forward_pre_hook(lambda head, inputs: None)
    coder.backend_tokenizer.enable_truncation(5)
    coder.backend_tokenizer.enable_padding(length=9)
    return made, coder


def test_after_success(user):
    before = user_state(*user)
    compare(adapt(*user), "The cat sat on the mat", methods=ALL, max_new_tokens=3)
    compare(adapt(*user), "The cat", continuation=" sat", methods=ALL)
    assert_unchanged(before, user_state(*user))


@pytest.mark.parametrize("method", ["input_x_gradient", "occlusion", "grad_cam", "attention_grad_cam"])
@pytest.mark.parametrize("stage", ["forward", "backward"])
def test_after_an_error(user, method, stage):
    def breaking(module, inputs, output):
        if stage == "forward" or not output.requires_grad:
            raise ZeroDivisionError
        output.register_hook(lambda gradient: 1 // 0)

    adapted = tried(adapt(*user))
    user[0].get_output_embeddings().register_forward_hook(breaking)
    before = user_state(*user)
    with pytest.raises((ZeroDivisionError, InputError)):  # a backward through the head may be that of a user's score
        attribute(adapted, "The cat sat", continuation=" on", method=method)
    assert_unchanged(before, user_state(*user))


def test_a_folder_is_loaded_as_what_it_is(tmp_path):
    model("T5", dtype=torch.float32).save_pretrained(tmp_path)
    ending_tokenizer().save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert isinstance(loaded, Seq2SeqAdapter)
    expected = attribute(adapter("T5", dtype=torch.float32), "The cat", continuation=" sat").scores
    torch.testing.assert_close(attribute(loaded, "The cat", continuation=" sat").scores, expected, equal_nan=True)


# Small mistakes, made on purpose: each must turn the oracle beside it red


def scale_forgotten(patch):
    patch.setitem(tiny("Marian", "sdpa").__dict__, "_scale", 1.0)


def gaps_left_open(patch):
    patch.setattr(seq2seq, "_close_gaps", lambda *half: half)


def masks_forgotten(patch):
    original = seq2seq._split_halves
    patch.setattr(
        seq2seq,
        "_split_halves",
        lambda example, perturbed, start: original(example, replace(perturbed, keep=None), start),
    )


def causality_left_to_the_model(patch):
    patch.setattr(seq2seq, "_causal_mask", lambda keep, dtype: keep.long())


def target_shifted_by_one(patch):
    original = seq2seq._split_halves

    def split_inputs(*given):
        *halves, predictors = original(*given)
        return *halves, (predictors - 1).clamp(min=0)

    patch.setattr(seq2seq, "_split_halves", split_inputs)


def stale_encoder(patch):
    original = Seq2SeqAdapter.forward

    def forward(self, example, perturbed, states=None):
        return original(self, example, perturbed, None if states is None else 2 * states)

    patch.setattr(Seq2SeqAdapter, "forward", forward)


def cross_attention_overlooked(patch):
    patch.setattr(hooks, "_recorded_modules", lambda layer, point: iter([(layer.attention, layer.part)]))


def graph_begins_at_the_encoder_alone(patch):
    patch.setattr(hooks, "_graph_starts", lambda layers, lowest: [layers[lowest]])


MASKED = partial(test_a_masked_source_has_no_influence, "T5", READ)
MISTAKES = [
    (scale_forgotten, partial(test_logits_through_embeddings_equal_logits_through_ids, "Marian", "sdpa")),
    (gaps_left_open, partial(test_occlusion_agrees_with_its_slow_twin, "BART", "sdpa", "delete")),
    (masks_forgotten, MASKED),
    (causality_left_to_the_model, partial(test_occlusion_agrees_with_its_slow_twin, "T5", "sdpa", "mask")),
    (target_shifted_by_one, partial(test_gradients_agree_with_their_slow_twin, "T5", "sdpa", ("gradient", "l2"))),
    (stale_encoder, partial(test_a_remembered_encoder_changes_no_number, "T5", READ)),
    (cross_attention_overlooked, partial(test_layers_agree_with_their_slow_twin, "T5", "rollout")),
]


@pytest.mark.parametrize(("mistake", "oracle"), MISTAKES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_mistake_turns_its_oracle_red(mistake, oracle, monkeypatch):
    oracle()  # green as it stands
    mistake(monkeypatch)
    with pytest.raises(AssertionError):
        oracle()


def test_the_graph_begins_at_the_entrance_of_the_decoder_too(monkeypatch):
    exact(tiny("T5"), GradCAM(layers="all"))
    graph_begins_at_the_encoder_alone(monkeypatch)
    with pytest.raises(UnsupportedModel, match="does not follow from what enters"):
        exact(tiny("T5"), GradCAM(layers="all"))


# Refusals


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": "a", "continuation": ""}, "continuation is empty"),
        ({"prompt": "a", "continuation": []}, "continuation is empty"),
        ({"prompt": [5] * (CONTEXT + 1)}, f"prompt has {CONTEXT + 1} tokens, but the model's encoder holds {CONTEXT}"),
        ({"prompt": "a", "max_new_tokens": CONTEXT + 1}, f"at most {CONTEXT} new tokens"),
        ({"prompt": "a", "continuation": [5] * (CONTEXT + 1)}, "exceeds the 64 that the model's decoder holds"),
        ({"prompt": "a", "continuation": "b", "generation": {"forced_bos_token_id": 5}}, "nothing to generate"),
        ({"prompt": "a", "continuation": [320]}, "id 320.*own tokenizer"),
        ({"prompt": "a", "generation": {"num_return_sequences": 2, "do_sample": True}}, "2 sequences"),
    ],
)
def test_bad_input(options, sentence):
    with pytest.raises(InputError, match=sentence):
        tiny("BART").example(**options)


def test_prompt_and_answer_may_each_fill_the_context():
    example = tiny("BART").example([5] * CONTEXT, continuation=[5] * CONTEXT)
    assert len(example.sources) == 2 * CONTEXT
    Gradient()(example, Engine(tiny("BART")))


@pytest.mark.parametrize("replacement", ["mask", "delete"])
def test_an_encoder_without_anything_to_read_is_refused(replacement):
    with pytest.raises(InputError, match="encoder has nothing to read"):
        attribute(tiny("BART"), [5], continuation=[40, 3], method=Occlusion(replacement=replacement, keep=()))


def test_a_model_that_does_not_know_how_to_start_says_so():
    made = model("BART")
    made.generation_config.decoder_start_token_id = made.generation_config.bos_token_id = None
    with pytest.raises(InputError, match="which token its decoder starts with"):
        adapt(made, ending_tokenizer()).example("a", continuation="b")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (hf.LEDConfig, "whole windows"),
        (hf.T5GemmaConfig, "tables of their own"),
    ],
)
def test_what_cannot_be_attributed_is_refused_by_its_configuration(config, why):
    with pytest.raises(UnsupportedModel, match=why):
        check_config(config())


def test_tables_of_their_own_are_refused():
    made = hf.MarianMTModel(hf.MarianConfig(**_SMALL, share_encoder_decoder_embeddings=False))
    with pytest.raises(UnsupportedModel, match="tables of their own"):
        adapt(made, ending_tokenizer())


def test_a_model_that_reads_no_tokens_is_refused():
    made = hf.WhisperForConditionalGeneration(
        hf.WhisperConfig(**_SMALL, num_mel_bins=8, max_source_positions=8, max_target_positions=8)
    )
    with pytest.raises(UnsupportedModel, match="takes no inputs_embeds"):
        adapt(made, ending_tokenizer())


_SMALL = {
    "vocab_size": 64,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
