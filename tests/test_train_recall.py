"""The script that trains a model of another family on the prompts that ship: its tokenizer, and a few of its steps."""

from __future__ import annotations

import re
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch

import tokensal
from tokensal import load
from tokensal.evaluation.prompts.prompt import case_of
from tokensal.evaluation.suites import KINDS
from tokensal.evaluation.suites.acceptance import answers_rightly
from tokensal.evaluation.suites.kind import candidates

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import train_recall

FAMILIES = pytest.mark.parametrize("family", train_recall.FAMILIES)
SHORT = {"agreement": 1}


@pytest.fixture(scope="module")
def coder():
    return train_recall.tokenizer()


def drawn(kind, count=20, seed=0):
    return list(islice(candidates(KINDS[kind], seed), count))


def trained(coder, family, steps):
    torch.manual_seed(0)
    network = train_recall.FAMILIES[family](len(coder), width=16, layers=2)
    train_recall.train(network, coder, steps=steps, seed=0)
    return network


@pytest.mark.parametrize("kind", train_recall.SHARES)
def test_every_word_of_a_prompt_is_a_token_and_no_text_is_altered(coder, kind):
    for prompt in drawn(kind):
        text = f"{prompt.prompt}{prompt.continuation}"
        ids, before = train_recall.encode(coder, prompt)
        assert coder.decode(ids) == f"<s>{text}</s>" and coder.decode(ids[1:before]) == prompt.prompt
        assert coder(text).input_ids == ids[:-1], "an answer that is read by itself has the tokens that it has in a text"
        assert [coder.decode(id) for id in ids[1:-1]] == re.findall(r"\d| ?[a-zA-Z]+| ?[^\w\s]|\s", text)


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
    ids, part = train_recall.padded([([1, 5, 6, 7, 2], 3), ([1, 5, 2], 2)])
    assert ids.tolist() == [[1, 5, 6, 7, 2], [1, 5, 2, 0, 0]]
    assert part.tolist() == [[0, 0, 0, 1, 1], [0, 0, 1, -1, -1]]


@FAMILIES
def test_one_call_and_many_agree_on_who_answers_rightly(coder, family, monkeypatch, tmp_path):
    """In batches with padding, and through the adapter as evaluation asks; of random models some answers are right."""
    monkeypatch.setattr(train_recall, "SHARES", SHORT)
    network = trained(coder, family, 25)
    network.save_pretrained(tmp_path)
    coder.save_pretrained(tmp_path)
    adapted = load(tmp_path, device="cpu")
    prompts = drawn("agreement", 12)
    verdicts = train_recall.answers_rightly(network, coder, prompts)
    for prompt, verdict in zip(prompts, verdicts, strict=True):
        example = case_of(prompt, adapted).example
        likeliest = adapted.model(torch.tensor([[token.id for token in example.sources]])).logits[0, -1].argmax()
        assert verdict is (coder.decode(likeliest) == prompt.continuation)
