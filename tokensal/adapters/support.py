"""Which models can be attributed, and the reason for those that cannot."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from tokensal.adapters.placement import device_of
from tokensal.errors import InputError, UnsupportedModel

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

OTHERS = "Choose another transformer, such as Llama, Qwen, Gemma, Mistral, T5 or BART."

# Where a wrapper keeps the model: torch.compile, DataParallel, PEFT
WRAPPERS = ("_orig_mod", "module", "get_base_model")

# Types of encoder–decoder models that cannot be attributed, with the reason
REFUSED = {
    "led": "which of its encoder's tokens look at all others is chosen anew in each call, and it pads to whole windows",
    "t5gemma": "its encoder and decoder look tokens up in tables of their own, and sources need one for both",
    "t5gemma2": "its decoder looks at the encoder and at its own inputs in one attention",
}


def unwrapped(model: Any) -> PreTrainedModel:
    """The transformers model inside what compiles, parallelises or adapts it (`torch.compile`, DataParallel, PEFT).

    Raises:
        InputError: there is none.
    """
    inner = model
    while wrapper := next((name for name in WRAPPERS if getattr(inner, name, None) is not None), None):
        wrapped = getattr(inner, wrapper)
        inner = wrapped if isinstance(wrapped, nn.Module) else wrapped()
    if not (isinstance(inner, nn.Module) and hasattr(inner, "get_output_embeddings")):
        remedy = "load one by its name with tokensal.load"
        if hasattr(model, "model"):
            remedy = "of a pipeline, adapt(pipeline.model, pipeline.tokenizer)"
        raise InputError(
            "The model to adapt should be a HuggingFace causal or sequence-to-sequence language model, "
            f"but is of the type {type(model).__name__}: {remedy}."
        )
    return inner


def check_config(config: PretrainedConfig) -> None:
    """Refuse an unsupported model by its configuration, before its weights are loaded.

    Raises:
        UnsupportedModel: per-layer embeddings, a recurrent model, or an encoder–decoder model of a type in `REFUSED`.
    """
    if config.model_type in REFUSED:
        refuse(config, REFUSED[config.model_type])
    text = config.get_text_config()
    if getattr(text, "hidden_size_per_layer_input", 0):
        refuse(config, "it looks tokens up again in every layer (per-layer embeddings), past the input embeddings")
    if any("linear" in layer or "mamba" in layer for layer in getattr(text, "layer_types", None) or ()):
        refuse(config, "some of its layers are recurrent, and attribution of recurrent states is not supported")


def check_model(model: PreTrainedModel) -> None:
    """Refuse an unsupported model that is loaded.

    Raises:
        UnsupportedModel: as `check_config`, or the model is recurrent, takes no embeddings, has no language head, or
            looks the tokens of its encoder and decoder up in different tables.
    """
    check_config(model.config)
    if getattr(model, "_is_stateful", False):
        refuse(model.config, "it is recurrent, and attribution of recurrent states is not supported")
    accepted = inspect.signature(model.forward).parameters
    for name in ("inputs_embeds", "decoder_inputs_embeds")[: 1 + model.config.is_encoder_decoder]:
        if name not in accepted:
            refuse(model.config, f"its forward takes no {name}, so its embeddings cannot be varied")
    if model.get_output_embeddings() is None:
        refuse(model.config, "it has no language-model head (load it with AutoModelForCausalLM or …ForSeq2SeqLM)")
    if model.config.is_encoder_decoder and not _shares_table(model):
        refuse(model.config, REFUSED["t5gemma"])


def _shares_table(model: PreTrainedModel) -> bool:
    stacks = (model, model.get_encoder(), model.get_decoder())
    table, *others = (stack.get_input_embeddings() for stack in stacks)
    return all(table.weight is other.weight or torch.equal(_some_rows(table), _some_rows(other)) for other in others)


def _some_rows(table: nn.Embedding) -> Tensor:
    """The embeddings of some tokens, to compare tables by: looked up, since the weights may be offloaded."""
    ids = torch.arange(min(table.num_embeddings, 1000), device=device_of(table))
    with torch.no_grad():
        return table(ids).cpu()


def refuse(config: PretrainedConfig, reason: str, remedy: str = OTHERS) -> NoReturn:
    """Say why a model cannot be attributed, and what to do instead.

    Raises:
        UnsupportedModel: always.
    """
    raise UnsupportedModel(f"The {config.model_type!r} model cannot be attributed: {reason}. {remedy}")
