"""Which models can be attributed, and a sentence of why for those that cannot."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from tokensal.errors import UnsupportedModel

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def check_config(config: PretrainedConfig) -> None:
    """Refuse by configuration, before any weight is loaded.

    Raises:
        UnsupportedModel: an encoder–decoder model, per-layer embeddings, or a recurrent model.
    """
    text = config.get_text_config()
    if config.is_encoder_decoder:
        _refuse(config, "it is an encoder–decoder model, and only decoder-only models are supported so far")
    if getattr(text, "hidden_size_per_layer_input", 0):
        _refuse(config, "it looks tokens up again in every layer (per-layer embeddings), past the input embeddings")
    if any("linear" in kind or "mamba" in kind for kind in getattr(text, "layer_types", None) or ()):
        _refuse(config, "some of its layers are recurrent, and attribution of recurrent states is not supported")


def check_model(model: PreTrainedModel) -> None:
    """Refuse by the loaded model.

    Raises:
        UnsupportedModel: as `check_config`, or the model is recurrent, takes no embeddings, or has no language head.
    """
    check_config(model.config)
    if getattr(model, "_is_stateful", False):
        _refuse(model.config, "it is recurrent, and attribution of recurrent states is not supported")
    if "inputs_embeds" not in inspect.signature(model.forward).parameters:
        _refuse(model.config, "its forward takes no inputs_embeds, so its embeddings cannot be varied")
    if model.get_output_embeddings() is None:
        _refuse(model.config, "it has no language-model head (load it with AutoModelForCausalLM)")


def _refuse(config: PretrainedConfig, why: str) -> None:
    raise UnsupportedModel(
        f"The {config.model_type!r} model cannot be attributed: {why}. "
        "Choose a decoder-only transformer, such as Llama, Qwen, Gemma, Mistral or GPT-2."
    )
