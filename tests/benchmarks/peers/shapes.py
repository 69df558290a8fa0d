"""Models of known shapes with random weights, which are created on their device: nothing is downloaded.

Speed and memory depend on the shape of a model, and on its dtype, and not on its weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from common import SENTENCES

VOCABULARY = 1024  # of the tokenizer: every byte, and some frequent pieces
SPECIAL = ("<pad>", "<start>", "<end>")
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def llama_8b() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        **IDS,
    )


def qwen_1_7b() -> Any:
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=151936,
        hidden_size=2048,
        intermediate_size=6144,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40960,
        tie_word_embeddings=True,
        **IDS,
    )


def tiny() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        **IDS,
    )


SHAPES: dict[str, Callable[[], Any]] = {"tiny": tiny, "qwen-1.7b": qwen_1_7b, "llama-8b": llama_8b}


def build(shape: str, device: str, dtype: torch.dtype) -> Any:
    """A model of that shape, with random weights, on the device; "meta" is a device without memory."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(SHAPES[shape](), dtype=dtype, attn_implementation="sdpa")
    return model.eval()


def tokenizer() -> Any:
    """A byte-level tokenizer that is trained on the passage of the benchmarks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([" ".join(SENTENCES)], trainer)
    pad, start, end = SPECIAL
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=pad, bos_token=start, eos_token=end)
