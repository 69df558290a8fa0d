"""Tiny random models of every supported architecture, built from their configurations: nothing is downloaded."""

from __future__ import annotations

import copy
from functools import cache, partial

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tokensal.adapters import CausalAdapter, Seq2SeqAdapter

TEXT = "The cat sat on the mat. The dog sat on the log, and the cat saw the dog. Café 🙂 naïve 東京"
CHAT = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)

VOCABULARY = 320
CONTEXT = 64

COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
GROUPED = {**COMMON, "num_key_value_heads": 2}
_EXPERTS = {**GROUPED, "num_experts_per_tok": 2, "experts_implementation": "eager"}
_IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}

T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 4,
    "num_decoder_layers": 3,  # transformers gives its cache as many layers as the encoder has
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "decoder_start_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_BART = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": CONTEXT,
    "scale_embedding": True,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
    **_IDS,
}

# The README's table of supported architectures is checked against these names, and those below.
ARCHITECTURES = {
    "Llama": lambda: hf.LlamaConfig(**GROUPED),
    "GPT-2": lambda: hf.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, n_positions=CONTEXT, **_IDS),
    "GPT-NeoX": lambda: hf.GPTNeoXConfig(**COMMON),
    "OPT": lambda: hf.OPTConfig(**COMMON, ffn_dim=48, word_embed_proj_dim=16),
    "Gemma 3": lambda: hf.Gemma3TextConfig(
        **GROUPED,
        head_dim=8,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "Qwen 3": lambda: hf.Qwen3Config(**GROUPED, head_dim=8),
    "Mistral": lambda: hf.MistralConfig(**GROUPED, sliding_window=6),
    "Phi": lambda: hf.PhiConfig(**COMMON),
    "Mixtral": lambda: hf.MixtralConfig(**_EXPERTS, num_local_experts=4),
    "Qwen 3 MoE": lambda: hf.Qwen3MoeConfig(**_EXPERTS, head_dim=8, num_experts=4, moe_intermediate_size=16),
}
ENCODER_DECODERS = {
    "T5": lambda: hf.T5Config(**T5),
    "FLAN-T5": lambda: hf.T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "mT5": lambda: hf.MT5Config(**T5),
    "BART": lambda: hf.BartConfig(**{**_BART, "decoder_layers": 5}),
    "mBART": lambda: hf.MBartConfig(**_BART),
    "Marian": lambda: hf.MarianConfig(**_BART),
    "M2M100": lambda: hf.M2M100Config(**_BART),
    "Pegasus": lambda: hf.PegasusConfig(**_BART),
}


@cache
def tokenizer() -> hf.PreTrainedTokenizerFast:
    """A byte-level tokenizer of 320 tokens, trained on one line; rare characters are split into bytes."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<pad>", "<|start|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([TEXT[:70]], trainer)
    fast = hf.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<|start|>", eos_token="<|end|>"
    )
    fast.chat_template = CHAT
    return fast


def model(name: str, *, dtype: torch.dtype = torch.float64, attention: str = "sdpa") -> hf.PreTrainedModel:
    """A fresh tiny model with seeded random weights, large enough that no score is nearly zero."""
    torch.manual_seed(sum(map(ord, name)))
    if name in ENCODER_DECODERS:
        network = hf.AutoModelForSeq2SeqLM.from_config(ENCODER_DECODERS[name](), attn_implementation=attention)
        _set_head(network, name)
    else:
        network = hf.AutoModelForCausalLM.from_config(ARCHITECTURES[name](), attn_implementation=attention)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2 if name in ENCODER_DECODERS else 0.3)
    if dtype == torch.float64:
        _keep_float64(network)
    return network.eval().to(dtype)


def _set_head(network: hf.PreTrainedModel, name: str) -> None:
    """A random bias after the head if there is one, and for FLAN-T5 a head that does not share the embeddings."""
    if hasattr(network, "final_logits_bias"):
        network.final_logits_bias.normal_()
    if name == "FLAN-T5":
        network.lm_head.weight = torch.nn.Parameter(torch.empty_like(network.lm_head.weight))


def _keep_float64(network: hf.PreTrainedModel) -> None:
    """Transformers' RMSNorm rounds to float32 even in a float64 model, which would blunt the oracles."""
    for module in network.modules():
        if type(module).__name__.endswith(("RMSNorm", "T5LayerNorm")):
            offset = 1.0 if type(module).__name__.startswith("Gemma") else 0.0
            epsilon = getattr(module, "variance_epsilon", None) or module.eps
            module.forward = partial(_rms_norm, module, offset, epsilon)


def _rms_norm(module, offset: float, epsilon: float, hidden: torch.Tensor) -> torch.Tensor:
    return (module.weight + offset) * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + epsilon)


@cache
def ending_tokenizer() -> hf.PreTrainedTokenizerFast:
    """The same tokens, for encoder–decoder models: a text ends in <|end|>."""
    ending = copy.deepcopy(tokenizer())
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|end|>", special_tokens=[("<|end|>", 2)]
    )
    return ending


def adapter(name: str = "Llama", **options) -> CausalAdapter | Seq2SeqAdapter:
    """A fresh tiny model of that architecture, adapted, with its tokenizer."""
    if name in ENCODER_DECODERS:
        return Seq2SeqAdapter(model(name, **options), ending_tokenizer(), name=name)
    return CausalAdapter(model(name, **options), tokenizer(), name=name)
