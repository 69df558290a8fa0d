"""Gradients that several examples have taken together are those of each by itself, or are left to be taken so."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace

import pytest
import torch
import transformers as hf
from builders import every_architecture, tiny, tried
from models import GROUPED, adapter
from runs_by_hand import ANSWERED, parts
from test_trials import adapted

import tokensal
from tokensal import Case, Generation, Question
from tokensal.adapters import ModelAdapter, trials
from tokensal.engine import Budget
from tokensal.engine.together import gradients_together
from tokensal.errors import MemoryShortage, NonFiniteScores, UnsupportedModel
from tokensal.methods import (
    GIM,
    LRP,
    AttentionGradCAM,
    GradCAM,
    Gradient,
    GradientRollout,
    GuidedBackprop,
    InputXGradient,
    ValueXGradient,
)
from tokensal.perturbations.inputs import Unperturbed
from tokensal.runs import together
from tokensal.types import HookPoint

TEXTS = [
    ("The cat sat on the mat", " on the"),
    ("The dog sat", " sat on the log"),
    ("the dog on the log and a cat", "!"),
]
TOKENS = Question()
WORDS = Question(targets="output", unit="word")
CONTRAST = Question(contrast=" dog ran")
METHODS = [
    Gradient(norm="l1"),
    InputXGradient(),
    LRP(),
    LRP(epsilon=0.1, gamma=0.3),
    GIM(),
    GuidedBackprop(),
    GradCAM(layers="all", rule="channel_mean"),
    AttentionGradCAM(layers="all"),
    AttentionGradCAM(rule="head_mean", rows="all"),
    GradientRollout(),
    ValueXGradient(rule="signed"),
]
# Where tokens of all examples are the rows of one matrix, constants cannot be told apart by example
FLAT = {
    "OPT": ("lrp", "gim", "guided_backprop"),
    "GPT-2": ("lrp, shared",),
    "Mixtral": ("lrp, shared",),
    "Qwen 3 MoE": ("lrp, shared",),
}
FIELDS = ("values", "reduced", "totals", "constants")


def cases_of(model, question=None, texts=TEXTS, **options):
    return [
        Case.of(model, prompt, question=question, generation=Generation(continuation=answer), **options)
        for prompt, answer in texts
    ]


def in_one_forward(cases, method):
    engine = method.prepared(cases[0].engine)
    layers = method.selected_layers(engine)
    examples = [case.example for case in cases]
    return gradients_together(engine, examples, method.reduction(), at=method.at, layers=layers)


def alone(case, method):
    engine = method.prepared(case.engine)
    points, layers = Unperturbed(engine.embed(case.example)), method.selected_layers(engine)
    [gradients] = engine.gradients(case.example, points, method.reduction(), at=method.at, layers=layers)
    return gradients


def agree(cases, method):
    # eager attention rounds its weights to float32
    tolerance = 1e-5 if method.at is HookPoint.ATTENTION_WEIGHTS else 1e-10
    for gradients, case in zip(in_one_forward(cases, method), cases, strict=True):
        expected = alone(case, method)
        for name in FIELDS:
            found, right = getattr(gradients, name), getattr(expected, name)
            assert (found is None) == (right is None)
            if right is not None:
                # constants are what is left of the totals
                size = (expected.totals if name == "constants" else right).abs().max().clamp(min=1e-3)
                assert found.shape == right.shape and (found - right).abs().max() < tolerance * size, (name, method)


def refused(name, method):
    shared = method.name == "lrp" and method.epsilon > 0
    return bool({method.name, f"{method.name}, shared" if shared else method.name} & set(FLAT.get(name, ())))


@every_architecture
def test_gradients_in_one_forward_are_those_of_each_example(name):
    model = tiny(name)
    for question in (TOKENS, WORDS, CONTRAST):
        cases = cases_of(model, question)
        assert model.runs_together([case.example for case in cases])
        for method in METHODS:
            if refused(name, method):
                with pytest.raises(UnsupportedModel, match="What constants add to each of several examples"):
                    in_one_forward(cases, method)
            else:
                agree(cases, method)


def test_gradients_of_a_model_with_biases_and_two_continuations():
    for question in (WORDS, CONTRAST):
        cases = cases_of(tiny("GPT-2"), question)
        for method in (InputXGradient(), LRP(), AttentionGradCAM(rule="head_mean", rows="all")):
            agree(cases, method)


def test_a_method_gets_what_it_asks_for_and_nothing_else():
    known, others = cases_of(tiny()), cases_of(tiny())
    methods = [
        InputXGradient(),
        LRP(),
        LRP(rule="attn"),
        GradCAM(),
        GradCAM(layers="all"),
        GradCAM(rule="channel_mean"),
    ]
    for method in methods:
        together._remember(known, method)
    for case, other in zip(known, others, strict=True):
        assert len(case.engine.ahead) == len(methods)
        for method in (*methods[::-1], Gradient(), GIM()):
            found, expected = case.explain(method), other.explain(method)
            assert torch.allclose(found.scores, expected.scores, rtol=1e-5, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("budget", [Budget(rows=1), Budget(rows=60)])
def test_few_gradients_at_once_are_the_same(budget):
    agree(cases_of(tiny("Phi"), budget=budget), LRP())


def test_the_order_makes_no_difference():
    cases = cases_of(tiny())
    first, second, third = in_one_forward(cases, LRP())
    for one, other in zip((third, first, second), in_one_forward([cases[2], *cases[:2]], LRP()), strict=True):
        assert torch.allclose(one.reduced, other.reduced, rtol=1e-12) and torch.allclose(one.values, other.values)


def test_a_score_of_the_users_own():
    agree(cases_of(tiny(), Question(score=lambda logits: logits.max(-1).values)), InputXGradient())


# What is not taken together


def with_a_broken_token(text):
    """A model that answers with NaN where it reads that token."""
    model = adapter(dtype=torch.float32)
    assert model.runs_together([case.example for case in cases_of(model)])  # tried before it is broken
    [broken] = model.tokenizer(text)["input_ids"]
    with torch.no_grad():
        model.model.get_input_embeddings().weight[broken] = math.nan
    return model


def test_a_score_that_is_not_a_number_is_an_error():
    texts = [*TEXTS, ("The cat sat!", " on")]
    with pytest.raises(NonFiniteScores, match=r"The score of target 0 \(' on'\) is not a finite number"):
        in_one_forward(cases_of(with_a_broken_token("!"), texts=texts[::-1]), Gradient())


def test_a_model_whose_numbers_depend_on_the_others_is_not_run_together():
    model = adapter()
    plain = type(model)._called

    def mixing(inputs, predictors, start):
        forward, output = plain(model, inputs, predictors, start)
        return replace(forward, logits=forward.logits + len(forward.logits)), output

    model._called = mixing
    assert not model.runs_together([case.example for case in cases_of(tiny())])


def test_positions_that_are_scaled_by_the_longest_text_keep_examples_apart():
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    model = adapted(hf.LlamaConfig(**{**GROUPED, "max_position_embeddings": 16}, rope_parameters=rope))
    short, long = (case.example for case in cases_of(tiny(), texts=[TEXTS[0], (3 * TEXTS[0][0], " on")]))
    assert len(short.sources) < 16 < len(long.sources)
    assert model.runs_together([short, short]) and not model.runs_together([short, long])


def test_the_trial_is_run_once(monkeypatch):
    model, runs = adapter(), []
    plain = trials._logits_together
    monkeypatch.setattr(trials, "_logits_together", lambda adapter: runs.append(adapter) or plain(adapter))
    examples = [case.example for case in cases_of(tiny())]
    assert model.runs_together(examples) and model.runs_together(examples[:2]) and len(runs) == 1


@pytest.mark.parametrize(
    ("lengths", "groups", "budget", "count"),
    [
        ([40] * 20, [1] * 20, Budget(), 12),  # 512 tokens
        ([20, 20, 400], [1, 1, 1], Budget(), 2),
        ([300, 300], [1, 1], Budget(), 1),
        ([20, 20, 20], [1, 1, 1], Budget(rows=40), 2),
        ([20, 20, 40], [1, 1, 1], Budget(), 2),  # 40 tokens of padding to 80
        ([40, 40, 20], [4, 4, 4], Budget(), 3),  # 20 to 100
        ([20, 20], [1, 2], Budget(), 1),  # a backward for nothing
        ([20, 20], [1, 1], Budget(rebuild=True), 1),
    ],
)
def test_how_many_go_together_is_decided_by_their_sizes(lengths, groups, budget, count):
    assert budget.together(torch.tensor(lengths), torch.tensor(groups), torch.device("cpu")) == count
    assert replace(budget, memory=1).together(torch.tensor(lengths), torch.tensor(groups), torch.device("cpu")) == count


# Runs

PROMPTS = [
    {"id": f"{number}", "prompt": f"The {beast} sat on the {place}.", "answer": " on the"}
    for number, (beast, place) in enumerate(
        zip("cat dog cat and dog cat café dog".split(), "mat log dog mat cat log mat log".split(), strict=True)  # noqa: SIM905
    )
]


@pytest.fixture
def forwards(monkeypatch):
    """How many rows each forward of examples has, those of one example as 1."""
    rows = []
    plain, single = ModelAdapter.forward_together, ModelAdapter.forward

    def counting(self, examples, embeds):
        rows.append(len(examples))
        return plain(self, examples, embeds)

    def counting_one(self, example, perturbed, states=None):
        rows.append(1)
        return single(self, example, perturbed, states)

    monkeypatch.setattr(ModelAdapter, "forward_together", counting)
    monkeypatch.setattr(ModelAdapter, "forward", counting_one)
    return rows


@pytest.fixture(scope="module")
def float32():
    """Tried before anything is counted."""
    model = tried(adapter(dtype=torch.float32))
    assert model.rebuilds and model.runs_together([case.example for case in cases_of(model)])
    return model


def explained(model, folder, records=PROMPTS, part_size=16, **options):
    return list(tokensal.run(model, records, folder, part_size=part_size, **options))


def same(several, others):
    return len(several) == len(others) and all(
        one.scores.shape == other.scores.shape
        and torch.allclose(one.scores, other.scores, rtol=1e-3, atol=1e-5, equal_nan=True)
        for one, other in zip(several, others, strict=True)
    )


def test_a_part_has_few_forwards_and_the_rows_of_one_by_one(float32, forwards, tmp_path):
    methods = ["input_x_gradient", "lrp", AttentionGradCAM()]
    rows = explained(float32, tmp_path / "together", methods=methods)
    assert len(rows) == 3 * len(PROMPTS)
    assert sorted(forwards) == [1, 1, 1, 7, 7, 7]  # of one the text is longer
    forwards.clear()
    assert same(rows, explained(float32, tmp_path / "alone", methods=methods, part_size=1))
    assert forwards == [1] * 3 * len(PROMPTS)


def test_the_bytes_do_not_depend_on_who_explains_a_part(float32, tmp_path):
    records = PROMPTS * 3
    records = [{**record, "id": str(number)} for number, record in enumerate(records)]
    for shard in ("1/2", "0/2"):
        explained(float32, tmp_path / "shards", records, 6, shard=shard)
    explained(float32, tmp_path / "one", records, 6)
    assert parts(tmp_path / "shards") == parts(tmp_path / "one")


def test_the_bytes_are_those_of_a_run_that_was_interrupted(float32, tmp_path):
    def interrupted(done, total):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explained(float32, tmp_path / "twice", PROMPTS, 3, progress=interrupted)
    assert len(parts(tmp_path / "twice")) == 2
    assert explained(float32, tmp_path / "twice", PROMPTS, 3) == explained(float32, tmp_path / "once", PROMPTS, 3)
    assert parts(tmp_path / "twice") == parts(tmp_path / "once")


def test_rows_keep_their_order_and_progress_counts_each(float32, tmp_path):
    done = []
    run = tokensal.run(
        float32,
        sorted(PROMPTS, key=lambda record: -len(record["prompt"])),
        tmp_path,
        progress=lambda number, total: done.append(number),
    )
    lengths = [row["shape"][1] for row in run.rows()]
    assert lengths == sorted(lengths, reverse=True) and lengths[0] > lengths[-1]
    assert done == list(range(1, len(PROMPTS) + 1))


def test_one_example_that_fails_costs_no_other(forwards, tmp_path):
    model = with_a_broken_token("!")
    records = [*PROMPTS, {"id": "fails", "prompt": "The cat sat on the mat!", "answer": " on the"}]
    expected = explained(model, tmp_path / "alone", PROMPTS, 1)
    forwards.clear()
    run = tokensal.run(model, records, tmp_path / "part")
    assert list(run) == expected  # by themselves, and so to the bit
    assert sorted(forwards) == [*[1] * 9, 8] and [row["id"] for row in run.rows() if row["error"]] == ["fails"]


def test_memory_that_is_short_halves_a_window(float32, forwards, monkeypatch, tmp_path):
    expected = explained(float32, tmp_path / "alone", part_size=1)
    forwards.clear()
    plain = Budget.require_together

    def short(self, rows, footprint, device):
        if rows > 30:
            raise MemoryShortage("too many")
        return plain(self, rows, footprint, device)

    monkeypatch.setattr(Budget, "require_together", short)
    assert same(explained(float32, tmp_path / "halved"), expected)
    assert sorted(forwards) == [1, 1, 3, 3]


def test_no_memory_for_several_leaves_one_by_one(float32, forwards, tmp_path):
    expected = explained(float32, tmp_path / "alone", part_size=1, budget=Budget(memory=1))
    each = [*forwards]
    forwards.clear()
    assert explained(float32, tmp_path / "short", budget=Budget(memory=1)) == expected
    assert forwards == each


@dataclass(frozen=True, kw_only=True)
class Closure(InputXGradient):
    """Its reduction is another one each time."""

    name = "closure"

    def reduction(self):
        return lambda activations, gradients, rows: gradients[0].sum(-1)


@dataclass(frozen=True, kw_only=True)
class Shifted(InputXGradient):
    """It differentiates at other embeddings."""

    name = "shifted"

    def prepared(self, engine):
        return engine.with_shift(torch.ones(1, 1))


def test_what_two_cases_do_not_ask_for_alike_is_taken_one_by_one(float32, forwards, tmp_path):
    for method in (Closure(), Shifted()):
        forwards.clear()
        run = tokensal.run(float32, PROMPTS[:3], tmp_path / method.name, methods=[method])
        assert all(size == 1 for size in forwards), run.failures()


def test_a_method_that_is_refused_is_not_tried_with_every_window(forwards, tmp_path, monkeypatch):
    model = adapter("OPT", dtype=torch.float32)
    assert model.runs_together([case.example for case in cases_of(model)])
    expected = explained(model, tmp_path / "alone", methods=["lrp"], part_size=1)
    monkeypatch.setattr(together, "AT_ONCE", 3)
    forwards.clear()
    assert explained(model, tmp_path / "part", methods=["lrp"]) == expected
    assert forwards == [3, *[1] * len(PROMPTS)]


def test_sources_that_are_run_apart_are_explained_one_by_one(float32, forwards, tmp_path):
    records = [
        {"id": str(n), "prompt": "The cat sat on the mat. The dog sat on the log. Yes " * 2, "answer": " a cat sat"}
        for n in range(3)
    ]
    explained(float32, tmp_path, records, methods=["gradient"], sources="generated")
    assert set(forwards) == {1}


def test_what_is_done_together_is_shared_in_equal_parts(float32, tmp_path, monkeypatch):
    def slow(cases, method):
        if len(cases) > 1:
            time.sleep(0.4)

    monkeypatch.setattr(together, "_remember", slow)
    tokensal.run(float32, PROMPTS[:2], tmp_path)
    [log] = [json.loads(path.read_text()) for path in tmp_path.rglob("*.json") if "method_seconds" in path.read_text()]
    assert all(seconds > 0.2 for seconds in (*log["seconds"], *log["method_seconds"]))
    assert sum(log["method_seconds"]) < 0.8


def test_encoder_decoders_go_together_too(forwards, tmp_path):
    model = tokensal.load("dates")
    assert model.runs_together(
        [case.example for case in cases_of(model, texts=[("3 May 1999", "1999"), ("May", "19")])]
    )
    expected = explained(model, tmp_path / "alone", ANSWERED[:4], 1)
    forwards.clear()
    assert same(explained(model, tmp_path / "part", ANSWERED[:4]), expected) and max(forwards) > 1
