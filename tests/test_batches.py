"""Answers that are generated together are those of each prompt by itself, or are left to be generated so."""

from __future__ import annotations

from functools import wraps

import pytest
import torch
from builders import every_architecture
from models import adapter, model, tokenizer
from runs_by_hand import RECORDS

import tokensal
from tokensal import Generation, adapt
from tokensal.adapters.batches import Steps, is_batchable, pad
from tokensal.adapters.model import _key
from tokensal.errors import MemoryShortage
from tokensal.questions.question import Question
from tokensal.run_options import Reading
from tokensal.runs.answering import answered_ahead
from tokensal.runs.source import open_source
from tokensal.runs.task import Task

PROMPTS = [[5, 40, 41, 7, 40, 99, 12], [7, 8], [40, 99, 12, 200], [41, 7, 40, 5]]
LENGTHS = {len(prompt) for prompt in PROMPTS}


def answers(adapted, options, limit=6):
    """One by one, and what is known after a batch."""
    alone = [adapted._generate(prompt, options, limit, None) for prompt in PROMPTS]
    adapted.generate_ahead(PROMPTS, options, limit)
    together = [adapted._answers.get(_key(prompt, options, limit)) for prompt in PROMPTS]
    adapted.forget_answers()
    return alone, together


def agree(alone, together):
    """Whether answers are the same; at most one may be left out, for rounding."""
    known = [pair for pair in zip(alone, together, strict=True) if pair[1] is not None]
    return len(known) >= len(PROMPTS) - 1 and all(one == other for one, other in known)


@every_architecture
def test_a_batch_answers_as_each_prompt_alone(name):
    """In float32, with padding; and where answers end at different lengths."""
    adapted = adapter(name, dtype=torch.float32)
    assert adapted.generates_together(LENGTHS, {}, 6)
    alone, together = answers(adapted, {})
    assert agree(alone, together)
    third = alone[0][3 if adapted.model.config.is_encoder_decoder else len(PROMPTS[0]) + 2]
    ending = {"eos_token_id": third}
    alone, together = answers(adapted, ending)
    assert agree(alone, together) and alone[0][-1] == third


@pytest.mark.real
def test_twenty_prompts_of_the_real_model():
    smol = tokensal.load()
    countries = "France Peru Japan Kenya Norway Chile India Spain Cuba Iran Mali Nepal Oman Qatar Togo".split()  # noqa: SIM905
    texts = [f"The capital of {country} is" for country in countries]
    texts += [
        "Once upon a time there was a",
        "1 2 3 4",
        "Dear Sir or Madam, I write to you since",
        "Red, green and",
        "A",
    ]
    prompts = [tuple(smol.tokenizer(text)["input_ids"]) for text in texts]
    assert smol.generates_together({len(prompt) for prompt in prompts}, {}, 12)
    smol.generate_ahead(prompts, {}, 12)
    together = {ids: answer for (ids, *_), answer in smol._answers.items()}
    smol.forget_answers()
    assert len(together) >= 15  # few are decided by rounding
    assert all(smol._generate(ids, {}, 12, None) == answer for ids, answer in together.items())


def test_a_close_step_is_not_clear():
    steps = Steps(0.01)
    steps.watch(torch.tensor([[0.0, 10.0, 9.0], [0.0, 10.0, 9.95]]))
    assert steps.are_clear(0, 1) and not steps.are_clear(1, 1) and steps.are_clear(1, 0)
    steps.watch(torch.tensor([[-torch.inf, 10.0, -torch.inf], [torch.nan, 1.0, 0.0]]))
    steps.watch(torch.tensor([[5.0, 5.0, -torch.inf], [0.0, 1.0, 0.0]]))
    assert steps.are_clear(0, 2) and not steps.are_clear(0, 3)


def test_what_rounding_may_decide_is_left_out(monkeypatch):
    adapted = adapter("Llama", dtype=torch.float32)
    monkeypatch.setitem(tokensal.adapters.batches.MARGINS, torch.float32, 1.0)
    _, together = answers(adapted, {})
    assert together == [None] * len(PROMPTS)


def test_prompts_are_padded():
    ids, mask = pad([[1, 2, 3], [4]], left=True)
    assert ids[1, -1] == 4 and mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    ids, mask = pad([[1, 2, 3], [4]], left=False)
    assert ids[1, 0] == 4 and mask.tolist() == [[1, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"do_sample": False, "max_new_tokens": 3}, True),
        ({"num_beams": 1, "temperature": 0.5, "min_new_tokens": 2}, True),
        ({"do_sample": True}, False),
        ({"num_beams": 2}, False),
        ({"repetition_penalty": 1.2}, False),  # it would count padding
        ({"stop_strings": "a"}, False),
        ({"eos_token_id": None}, False),
    ],
)
def test_which_options_allow_a_batch(options, expected):
    assert is_batchable(adapter("Llama", dtype=torch.float32).model, options) is expected


def test_the_models_own_configuration_may_forbid_a_batch_and_so_does_half_precision():
    network = model("Llama", dtype=torch.float32)
    network.generation_config.no_repeat_ngram_size = 2
    assert not is_batchable(network, {})
    assert not is_batchable(model("Llama", dtype=torch.bfloat16), {})


def test_a_model_that_padding_alters_gets_prompts_of_one_length():
    network = model("GPT-2", dtype=torch.float32)
    plain = type(network).forward

    class Altered(type(network)):
        @wraps(plain)
        def forward(self, *arguments, **named):
            mask = named.pop("attention_mask", None)
            return plain(self, *arguments, **named, attention_mask=None if mask is None else torch.ones_like(mask))

    network.__class__ = Altered
    adapted = adapt(network, tokenizer(), name="altered")
    assert not adapted.generates_together({2, 3}, {}, 6)
    assert adapted.generates_together({3}, {}, 6)


# A part of a run


def part_of(records, **generation):
    task = Task({}, Question(), Generation(**generation), Reading())
    return list(open_source(records, Reading()).entries), task


@pytest.fixture(scope="module")
def dates():
    """A model whose trials are done."""
    loaded = tokensal.load("dates")
    assert loaded.generates_together({3, 4}, {}, 2) and loaded.generates_together({3}, {}, 2)
    return loaded


@pytest.fixture
def batches(monkeypatch):
    """The rows of each call of `generate` in a run."""
    calls = []
    plain = tokensal.adapters.ModelAdapter.generate

    def counting(self, ids, mask, options, seed=None):
        calls.append(len(ids))
        return plain(self, ids, mask, options, seed)

    monkeypatch.setattr(tokensal.adapters.ModelAdapter, "generate", counting)
    return calls


def test_a_part_is_one_batch_and_its_rows_are_those_of_one_by_one(dates, batches, tmp_path):
    records = [
        *RECORDS[:4],
        {"id": "answered", "prompt": "May 5, 2001", "answer": "2001"},
        {"id": "same", **RECORDS[0]},
    ]
    records[-1] = {**records[-1], "id": "same"}
    together = tokensal.run(dates, records, tmp_path / "together", methods=["occlusion"], part_size=6)
    assert batches == [4] and not dates._answers
    alone = tokensal.run(dates, records, tmp_path / "alone", methods=["occlusion"], part_size=1)
    assert batches == [4, 1, 1, 1, 1, 1]
    assert list(together) == list(alone)


def test_memory_that_is_short_halves_a_batch(dates, batches, monkeypatch):
    plain = type(dates).generate_ahead

    def short(self, prompts, options, limit):
        if len(prompts) > 2:
            raise MemoryShortage("too many")
        return plain(self, prompts, options, limit)

    monkeypatch.setattr(type(dates), "generate_ahead", short)
    entries, task = part_of(RECORDS[:4])
    with answered_ahead(entries, dates, task):
        assert batches == [2, 2] and len(dates._answers) == 4


@pytest.mark.parametrize(
    "generation", [{"generation": {"do_sample": True}}, {"generation": {"num_beams": 2}}, {"max_new_tokens": 1}]
)
def test_what_is_not_generated_together(dates, batches, generation):
    entries, task = part_of(RECORDS[:3], **generation)
    with answered_ahead(entries, dates, task):
        assert batches == ([3] if "max_new_tokens" in generation else [])
