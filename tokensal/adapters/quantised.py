"""Whether gradients flow through a quantised model: found out by trying, once, when a method first asks for them.

Names do not tell. Of one quantiser, some kernels have a backward and others none, which differs with device, dtype and
version. And a model does not always say so: around a kernel without a backward, its residual stream carries a gradient
that looks like one, and is wrong. So every module is watched during one forward and one backward of two tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tokensal.errors import UnsupportedModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def is_quantised(model: PreTrainedModel) -> bool:
    """Whether transformers says so, or, of a model quantised by hand, its parameters are of another kind."""
    odd = (type(given) is not nn.Parameter or not given.is_floating_point() for given in model.parameters())
    return getattr(model, "is_quantized", False) or any(odd)


def check_gradients(model: PreTrainedModel, embeds: Tensor) -> None:
    """Refuse a quantised model where a gradient does not reach the embeddings, or passes by some of its modules.

    Args:
        model: the model, frozen.
        embeds: (1, n, D) embeddings of any tokens.

    Raises:
        UnsupportedModel: no gradient, or not all of it.
    """
    embeds = embeds.detach().requires_grad_()
    with _watched(model) as blocking:
        try:
            _differentiate(model, embeds)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # each kernel has an error of its own for a backward that it does not have
            raise _refusal(model, str(error) or type(error).__name__) from error
    if blocking:
        raise _refusal(model, f"its {blocking[0]} returns none")


def _differentiate(model: PreTrainedModel, embeds: Tensor) -> None:
    """Two vector-Jacobian products in one backward, as the engine takes them."""
    inputs = {"inputs_embeds": embeds, "use_cache": False}
    if model.config.is_encoder_decoder:
        inputs["decoder_inputs_embeds"] = embeds
    logits = model(**inputs).logits
    if logits.requires_grad:  # else a module is to blame, and has been seen
        torch.autograd.grad(logits, embeds, logits.new_ones(2, *logits.shape), is_grads_batched=True)


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """The kinds of modules that took what carries a gradient, and returned what carries none."""
    blocking: list[str] = []

    def watch(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and _carries(inputs[0]) and _is_floating(output) and not output.requires_grad:
            blocking.append(type(module).__name__)

    with ExitStack() as undo:
        for module in model.modules():
            # BART hands embeddings to a table of positions, for their shape alone
            if not isinstance(module, nn.Embedding) and not list(module.children()):
                undo.enter_context(module.register_forward_hook(watch))
        yield blocking


def _carries(value: Any) -> bool:
    return _is_floating(value) and value.requires_grad


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _refusal(model: PreTrainedModel, why: str) -> UnsupportedModel:
    method = getattr(model, "quantization_method", None)
    name = f"{getattr(method, 'value', method)}-quantised" if method else "quantised"
    return UnsupportedModel(
        f"This method needs gradients, and they do not flow through the {name} {model.config.model_type!r} model: "
        f"{why.splitlines()[0].rstrip('.')}. Choose a method without gradients, such as 'occlusion', or load the "
        "model unquantised, or quantised by other means."
    )
