"""What many tests use: a prompt and its continuation as token ids, shared tiny models, exact scores."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from models import ARCHITECTURES, ENCODER_DECODERS, adapter, ending_tokenizer, model, tokenizer

from tokensal.adapters import ModelAdapter
from tokensal.engine import Engine
from tokensal.scores import Score, logprob
from tokensal.types import HookPoint, Scores

PROMPT, CONTINUATION = [5, 40, 41, 7, 40, 99, 12], [40, 3, 200, 40, 8]
ATTENTION = ("sdpa", "eager")

every_decoder = pytest.mark.parametrize("name", ARCHITECTURES)
every_encoder_decoder = pytest.mark.parametrize("name", ENCODER_DECODERS)
every_architecture = pytest.mark.parametrize("name", [*ARCHITECTURES, *ENCODER_DECODERS])
every_attention = pytest.mark.parametrize("attention", ATTENTION)


@cache
def tiny(name: str = "Llama", attention: str = "sdpa") -> ModelAdapter:
    """A tiny model in float64, built once: for tests that do not change it."""
    return adapter(name, attention=attention)


def tried(adapted: ModelAdapter) -> ModelAdapter:
    """An adapter whose trials are all done, so that whoever counts or breaks forwards sees none of them."""
    with adapted.recorded(HookPoint.ATTENTION_WEIGHTS, (0,), graph=False):
        return adapted


def tokenizer_of(name: str):
    """The tokenizer that goes with a tiny model."""
    return ending_tokenizer() if name in ENCODER_DECODERS else tokenizer()


def model_and_tokenizer(name: str, dtype: torch.dtype = torch.float32):
    """A fresh tiny model and its tokenizer."""
    return model(name, dtype=dtype), tokenizer_of(name)


def exact_scores(
    adapted: ModelAdapter,
    method,
    *,
    prompt=PROMPT,
    continuation=CONTINUATION,
    score: Score = logprob,
    **engine_options,
) -> Scores:
    """What a method returns, in the dtype of the model: an `Attribution` rounds to float32."""
    return method(adapted.example(prompt, continuation=continuation), Engine(adapted, score, **engine_options))
