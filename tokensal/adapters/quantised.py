"""Whether gradients flow through a quantised model: tested by one backward, when a method first needs gradients.

The quantiser's name does not decide it: some of its kernels have a backward and others none, depending on device, dtype
and version. Nor does a model always raise an error: around a kernel without a backward, the residual stream still
carries a gradient, which is wrong. So every module is watched during one forward and one backward of two tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tokensal.adapters.frozen import in_this_thread
from tokensal.errors import UnsupportedModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def _is_quantised(model: PreTrainedModel) -> bool:
    """Whether transformers marks it so, or its parameters are not ordinary ones, as after quantising by hand."""
    quantised = (
        type(parameter) is not nn.Parameter or not parameter.is_floating_point() for parameter in model.parameters()
    )
    return getattr(model, "is_quantized", False) or any(quantised)


def check_gradients(model: PreTrainedModel, device: torch.device) -> None:
    """Refuse a quantised model if no gradient reaches the embeddings, or the gradient bypasses some of its modules.

    Args:
        model: the model, with frozen parameters.
        device: where its embeddings are.

    Raises:
        UnsupportedModel: the gradient is missing or incomplete, or the weights can take part in none.
    """
    if any(parameter.is_inference() for parameter in model.parameters()) and not _is_offloaded(model):
        raise UnsupportedModel(
            "This method needs gradients, and the model's weights, made in torch.inference_mode(), take part in none: "
            "load the model outside of it, or choose a method without gradients, such as 'occlusion'."
        )
    if not _is_quantised(model):
        return
    embeds = model.get_input_embeddings()(torch.tensor([[0, 1]], device=device)).detach().requires_grad_()
    with _watched(model) as blocking:
        try:
            _differentiate(model, embeds)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # each kernel without a backward raises its own type of error
            raise _refusal(model, str(error) or type(error).__name__) from error
    if blocking:
        raise _refusal(model, f"its {blocking[0]} returns none")


def _is_offloaded(model: PreTrainedModel) -> bool:
    """Whether accelerate loads weights as modules run: those it left behind are not those of the next forward."""
    return any(hasattr(module, "_hf_hook") for module in model.modules())


def _differentiate(model: PreTrainedModel, embeds: Tensor) -> None:
    """Two vector-Jacobian products in one backward, as the engine takes them."""
    inputs = {"inputs_embeds": embeds, "use_cache": False}
    if model.config.is_encoder_decoder:
        inputs["decoder_inputs_embeds"] = embeds
    logits = model(**inputs).logits
    if logits.requires_grad:  # otherwise the watched modules include one that stops the gradient
        torch.autograd.grad(logits, embeds, logits.new_ones(2, *logits.shape), is_grads_batched=True)


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """Inside, a forward fills the list with the types of modules that receive a gradient graph and return none."""
    blocking: list[str] = []

    def watch(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and _carries(inputs[0]) and _is_floating(output) and not output.requires_grad:
            blocking.append(type(module).__name__)

    with ExitStack() as undo:
        for module in model.modules():
            # BART passes embeddings to a table of positions, only for their shape
            if not isinstance(module, nn.Embedding) and not list(module.children()):
                undo.enter_context(module.register_forward_hook(in_this_thread(watch)))
        yield blocking


def _carries(value: Any) -> bool:
    return _is_floating(value) and value.requires_grad


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _refusal(model: PreTrainedModel, reason: str) -> UnsupportedModel:
    method = getattr(model, "quantization_method", None)
    name = f"{getattr(method, 'value', method)}-quantised" if method else "quantised"
    return UnsupportedModel(
        f"This method needs gradients, and they do not flow through the {name} {model.config.model_type!r} model: "
        f"{reason.splitlines()[0].rstrip('.')}. Choose a method without gradients, such as 'occlusion', or load the "
        "model unquantised, or quantised by other means."
    )
