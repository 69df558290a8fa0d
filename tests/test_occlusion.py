"""Occlusion against slow twins on every architecture, shared beginnings against full rows, and what it may cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import slow_twins
import torch
from builders import ATTENTION, CONTINUATION, PROMPT, every_attention, tiny
from builders import every_decoder as every_architecture
from counting import CountingAdapter
from models import CONTEXT, adapter
from test_engine import LinearModel

from tokensal import Budget, InputXGradient, IntegratedGradients, Occlusion, attribute
from tokensal.adapters.causal import CausalAdapter
from tokensal.engine import Engine
from tokensal.errors import InputError
from tokensal.scores import logit, logprob

IDS = PROMPT + CONTINUATION
SINGLE = [(source, source + 1) for source in range(len(IDS) - 1)]
PAD = 0
TWINS = {"mask": "mask", "delete": "delete", "pad": PAD}


def exact(model, method, **options):
    """Scores in float64: a result is stored in float32, so the engine is asked itself."""
    example = model.example(PROMPT, continuation=CONTINUATION)
    return method(example, Engine(model, logprob, **options)).matrix


@every_architecture
@every_attention
@pytest.mark.parametrize("replacement", TWINS)
def test_agrees_with_its_slow_twin(name, attention, replacement):
    model = tiny(name, attention)
    expected = slow_twins.occlusion(model.model, PROMPT, CONTINUATION, SINGLE, TWINS[replacement], "logprob")
    found = exact(model, Occlusion(replacement=replacement), budget=Budget(rows=30))
    seen = ~expected.isnan()
    assert expected[seen].abs().min() > 1e-6  # nothing agrees by being zero
    tolerance = 1e-8 if attention == "sdpa" else 1e-5  # transformers' eager attention rounds its softmax to float32
    torch.testing.assert_close(found[seen], expected[seen], rtol=tolerance, atol=tolerance)


@every_architecture
@pytest.mark.parametrize("replacement", TWINS)
@pytest.mark.parametrize(("window", "stride"), [(3, 1), (3, 3)])
def test_windows_agree_with_their_slow_twin(name, replacement, window, stride):
    model = tiny(name)
    spans = [(start, min(start + window, len(IDS) - 1)) for start in range(0, len(IDS) - 1, stride)]
    drops = slow_twins.occlusion(model.model, PROMPT, CONTINUATION, spans, TWINS[replacement], "logprob").nan_to_num()
    expected = torch.zeros(len(CONTINUATION), len(IDS) - 1, dtype=torch.float64)
    for source in range(len(IDS) - 1):
        covering = [index for index, (start, stop) in enumerate(spans) if start <= source < stop]
        expected[:, source] = drops[:, covering].mean(1)
    found = exact(model, Occlusion(replacement=replacement, window=window, stride=stride))
    visible = torch.arange(len(IDS) - 1) < torch.arange(len(PROMPT), len(IDS))[:, None]
    torch.testing.assert_close(found[visible], expected[visible], rtol=1e-8, atol=1e-8)


@every_architecture
@pytest.mark.parametrize("replacement", ["mask", "delete", "mean"])
def test_shared_beginnings_change_no_number(name, replacement, monkeypatch):
    model, method = tiny(name), Occlusion(replacement=replacement, window=2)
    shared = exact(model, method, budget=Budget(rows=40))
    original = CausalAdapter.original
    monkeypatch.setattr(CausalAdapter, "original", lambda *given: replace(original(*given), states=None))
    torch.testing.assert_close(exact(model, method), shared, rtol=1e-9, atol=1e-11)


def test_a_beginning_longer_than_the_window_of_a_layer_is_shared_exactly():
    prompt = [(7 * place) % 300 + 3 for place in range(CONTEXT - 8)]  # Mistral's window is 6, Gemma's 4
    for name in ("Mistral", "Gemma 3"):
        model = tiny(name)
        spans = [(source, source + 1) for source in range(len(prompt) + 1)]
        expected = slow_twins.occlusion(model.model, prompt, [40, 3], spans, "mask", "logprob")
        example = model.example(prompt, continuation=[40, 3])
        found = Occlusion()(example, Engine(model)).matrix
        seen = ~expected.isnan()
        torch.testing.assert_close(found[seen], expected[seen], rtol=1e-8, atol=1e-8)


@every_architecture
@pytest.mark.parametrize("attention", ATTENTION)
def test_the_future_has_no_influence(name, attention):
    found = exact(tiny(name, attention), Occlusion())
    future = torch.arange(len(IDS) - 1) >= torch.arange(len(PROMPT), len(IDS))[:, None]
    assert found[future].abs().max() < 1e-12  # larger batches round a little differently; the result is blank there


# Closed form


def test_on_a_linear_model_the_drop_from_zero_is_input_x_gradient():
    model = LinearModel()
    example = model.example()
    drops = Occlusion(replacement="zero")(example, Engine(model, logit))
    torch.testing.assert_close(drops.matrix, InputXGradient()(example, Engine(model, logit)).matrix)


def test_on_a_square_it_differs_from_integrated_gradients_by_a_known_amount():
    model = LinearModel()
    example = model.example()
    model.slow_twins = lambda name, length: torch.zeros(length, 3, dtype=torch.float64)
    engine = Engine(model, lambda logits, targets: logit(logits, targets).square())
    drops = Occlusion(replacement="zero")(example, engine).matrix
    integrals = IntegratedGradients(keep=())(example, engine).matrix
    parts = InputXGradient()(example, Engine(model, logit)).matrix  # a, where y = (Σ a)²
    torch.testing.assert_close(drops - integrals, parts * (parts.sum(1, keepdim=True) - parts))


@pytest.mark.parametrize("name", ["Llama", "GPT-2"])
def test_replacement_by_zero_is_captums_feature_ablation(name):
    captum = pytest.importorskip("captum.attr", reason="captum comes with the test extra")
    model = tiny(name)
    found = exact(model, Occlusion(replacement="zero"))
    for row, target in enumerate(CONTINUATION):
        before = torch.tensor([PROMPT + CONTINUATION[:row]])
        method = captum.FeatureAblation(
            lambda embeds, target=target: model.model(inputs_embeds=embeds).logits[:, -1].log_softmax(-1)[:, target]
        )
        embeds, places = model.model.get_input_embeddings()(before).detach(), torch.arange(before.shape[1])
        expected = method.attribute(embeds, torch.zeros_like(embeds), feature_mask=places[None, :, None])[0, :, 0]
        torch.testing.assert_close(found[row, : before.shape[1]], expected, rtol=1e-8, atol=1e-9)


# Counts


def test_beginnings_are_run_once_and_the_head_only_where_something_changed():
    model = CountingAdapter(adapter("Llama"))
    example = model.example(PROMPT, continuation=CONTINUATION)
    sources, targets = len(example.sources), len(example.targets)
    Occlusion()(example, Engine(model, logprob, budget=Budget(rows=1)))
    assert model.forwards == 1 + sources  # the example as it is, and one for each source
    assert model.token_rows == sources + sources * (sources + 1) // 2
    after = [sum(predictor >= source for predictor in example.predictors) for source in range(sources)]
    assert model.head_rows == targets + sum(after)


def test_perturbations_go_together_without_running_much_that_they_could_share():
    model = CountingAdapter(adapter("Llama"))
    example = model.example(list(range(3, 53)), continuation=CONTINUATION)
    Occlusion()(example, Engine(model, logprob, budget=Budget(rows=200)))
    sources = len(example.sources)
    least = sources + sources * (sources + 1) // 2
    assert model.forwards < sources / 2
    assert model.token_rows < 1.25 * least


# What a user may ask


def test_words_are_taken_away_whole():
    model = tiny("Llama")
    result = attribute(model, "The hungry cat", continuation=" sat", unit="word", method=Occlusion())
    assert [source.text for source in result.sources] == ["The", " hungry", " cat"]
    assert len(result.sources[1].ids) > 1
    the, hungry, cat = (list(source.ids) for source in result.sources)
    expected = slow_twins.occlusion(
        model.model, the + hungry + cat, result.targets[0].ids, [(len(the), len(the + hungry))], "mask", "logprob"
    )
    assert result.scores[0, 1].item() == pytest.approx(expected[0, 0].item(), rel=1e-5)


def test_a_replacement_can_be_any_text():
    model = tiny("Llama")
    [id] = model.tokenizer(" cat")["input_ids"][:1]
    assert len(model.tokenizer(" cat")["input_ids"]) == 1
    expected = slow_twins.occlusion(model.model, PROMPT, CONTINUATION, SINGLE, id, "logprob")
    found = exact(model, Occlusion(replacement="text: cat"))
    seen = ~expected.isnan()
    torch.testing.assert_close(found[seen], expected[seen], rtol=1e-8, atol=1e-8)


def test_a_longer_text_is_repeated():
    model = tiny("Llama")
    ids = model.tokenizer(" cat sat")["input_ids"]
    assert len(ids) > 1
    table = model.model.get_input_embeddings().weight
    expected = torch.stack([table[ids[place % len(ids)]] for place in range(7)])
    assert model.baseline("text: cat sat", 7).equal(expected)


def test_the_mean_is_that_of_all_tokens():
    model = tiny("Gemma 3")  # whose embeddings are scaled as they are looked up
    found = model.baseline("mean", 3)
    everything = model.model.get_input_embeddings()(torch.arange(320))
    torch.testing.assert_close(found, everything.mean(0).expand(3, -1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replacement": "zeros"}, "did you mean 'zero'"),
        ({"replacement": "unk"}, "no unk token"),
        ({"replacement": "text:"}, "has no tokens"),
    ],
)
def test_a_replacement_that_cannot_be_had(options, message):
    with pytest.raises(InputError, match=message):
        attribute(tiny("Llama"), PROMPT, continuation=CONTINUATION, method=Occlusion(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "sing"}, "did you mean 'sink'"),
        ({"window": 2, "stride": 3}, "gaps"),
        ({"window": 0}, "1 or more"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        Occlusion(**options)


def test_deleting_all_that_could_predict_is_refused():
    for replacement in ("delete", "mask"):
        with pytest.raises(InputError, match="nothing is left that could predict"):
            attribute(tiny("Llama"), [5], continuation=[40], method=Occlusion(replacement=replacement))


def test_progress_counts_perturbations():
    calls = []
    engine = Engine(adapter("Llama"), budget=Budget(rows=30), progress=lambda done, total: calls.append((done, total)))
    Occlusion()(engine.adapter.example(PROMPT, continuation=CONTINUATION), engine)
    assert calls[-1] == (11, 11)
    assert len(calls) > 1
