"""The script that trains a model of another family on the prompts that ship: its tokenizer, and a few of its steps."""

from __future__ import annotations

import random
import re
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from tokensal import load
from tokensal.evaluation.suites import KINDS, acceptance
from tokensal.evaluation.suites.kind import candidates

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import train_recall

FAMILIES = pytest.mark.parametrize("family", train_recall.FAMILIES)


@pytest.fixture(scope="module")
def coder():
    return train_recall.tokenizer()


def drawn(kind, count=20, seed=0):
    return list(islice(candidates(KINDS[kind], seed), count))


def untrained(coder, family):
    torch.manual_seed(0)
    return train_recall.FAMILIES[family](len(coder), width=32, layers=2)


def trained(coder, family, steps):
    network = untrained(coder, family)
    train_recall.train(network, coder, steps=steps, seed=0)
    return network


@pytest.mark.parametrize("kind", train_recall.SHARES)
def test_every_word_of_a_prompt_is_a_token_and_no_text_is_altered(coder, kind):
    for prompt in drawn(kind):
        text = f"{prompt.prompt}{prompt.continuation}"
        ids, answers = train_recall.encode(coder, train_recall.parts(prompt))
        before = answers.index(1)
        assert coder.decode(ids) == f"<s>{text}</s>" and coder.decode(ids[1:before]) == prompt.prompt
        assert all(answers[before:])
        assert coder(text).input_ids == ids[:-1], (
            "an answer that is read by itself has the tokens that it has in a text"
        )
        assert [coder.decode(id) for id in ids[1:-1]] == re.findall(r"\d| ?->| ?[a-zA-Z]+| ?[^\w\s]|\s", text)


@pytest.mark.parametrize("text", [" It's  Märzen 🙂\t東京,\n\n1850? ", "Zanzibar lives in Kelby."])
def test_what_is_unknown_is_spelled_in_bytes(coder, text):
    assert coder.decode(coder(text).input_ids) == f"<s>{text}"


def test_the_prompts_of_training_are_no_others(coder):
    """Nor those of other seeds of training; kinds with few prompts repeat themselves."""
    for kind in ("facts", "retrieval", "redundant", "needle", "reordering"):
        training = {prompt.prompt for prompt in drawn(kind, 200, train_recall.TRAINING_SEED)}
        for seed in (0, train_recall.WORDS_SEED):
            assert not training & {prompt.prompt for prompt in drawn(kind, 200, seed)}


def test_answers_are_marked_and_what_fills_up_is_not_read(coder):
    ids, part = train_recall.padded([([1, 5, 6, 7, 2], [0, 0, 0, 1, 1]), ([1, 5, 2], [0, 0, 1])])
    assert ids.tolist() == [[1, 5, 6, 7, 2], [1, 5, 2, 0, 0]]
    assert part.tolist() == [[0, 0, 0, 1, 1], [0, 0, 1, -1, -1]]


@pytest.mark.parametrize("draw", train_recall.EXERCISES, ids=lambda draw: draw.__name__)
def test_the_answers_of_an_exercise_stand_before_their_questions(draw):
    for seed in range(20):
        text = draw(random.Random(seed))
        answers = [number for number, (_, answer) in enumerate(text) if answer]
        assert len(answers) >= 2 and answers[-1] == len(text) - 1
        for number in answers:
            before = "".join(part for part, _ in text[:number])
            assert re.findall(r"\w+", text[number][0])[0] in re.findall(r"\w+", before)


@pytest.mark.slow
@FAMILIES
def test_training_learns_and_what_it_saves_is_read_by_evaluation(coder, family, monkeypatch, tmp_path):
    """Whoever answers rightly does so in batches with padding, and alone through the adapter; some do, some do not."""
    monkeypatch.setattr(train_recall, "SHARES", {"agreement": 1})
    monkeypatch.setattr(train_recall, "EXERCISED", 1e-9)
    monkeypatch.setattr(train_recall, "RATE", 1e-2)
    network = trained(coder, family, 80)
    prompts = drawn("agreement", 40)
    texts = [train_recall.encode(coder, train_recall.parts(prompt)) for prompt in prompts]
    losses = [train_recall.loss(each, texts).item() for each in (untrained(coder, family), network)]
    assert losses[1] < losses[0] / 2
    network.save_pretrained(tmp_path)
    coder.save_pretrained(tmp_path)
    adapted = load(tmp_path, device="cpu")
    assert adapted.example(prompts[0].prompt).sink == 0
    verdicts = train_recall.answers_rightly(network, coder, prompts)
    assert len(set(verdicts)) == 2, verdicts
    assert verdicts == [acceptance.answers_rightly(adapted, prompt) for prompt in prompts]
    plain = [replace(prompt, contrast=None) for prompt in prompts]
    expected = [acceptance.answers_rightly(adapted, prompt) for prompt in plain]
    assert train_recall.answers_rightly(network, coder, plain) == expected and len(set(expected)) == 2
