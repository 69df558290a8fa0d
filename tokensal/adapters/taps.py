"""Taps: reading a model's layers on the graph of one forward, and leaving the model as it was.

1. Find the layers: in the decoder, the list of as many as the configuration says; and in each the first module that
   calls itself an attention.
2. Where the attention weights are wanted, let every configuration ask for eager attention: no other computes them.
3. At the lowest tapped layer a hook cuts the graph: hidden states go on as a fresh leaf. The graph starts there, so
   that nothing is kept below, and no backward goes below.
4. Hooks record what the tapped attentions return. Where a module of the layer reads precisely that, as the norm
   behind the attention of Gemma 3 does, its output is recorded instead: that is what enters the residual stream.
   (The score does not depend on the scale of what such a norm reads, so gradient × activation before it is zero.)
5. On leaving, hooks are removed and configurations restored, come what may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from tokensal.errors import UnsupportedModel
from tokensal.sites import Site

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Where an attention module of transformers returns it, and with how many dimensions
PLACES = {Site.ATTENTION_OUTPUT: (0, 3), Site.ATTENTION_WEIGHTS: (1, 4)}


@dataclass(frozen=True, slots=True)
class Block:
    """A layer of the decoder, and the attention in it."""

    whole: nn.Module
    attention: nn.Module


@contextmanager
def tapped(model: PreTrainedModel, site: Site, layers: Sequence[int]) -> Iterator[list[Tensor]]:
    """Inside, a forward fills the list with what the layers return, from the lowest to the highest, on its graph.

    Yields:
        After a forward of R variants, a tensor for each layer: (R, S, H) or, for the weights, (R, heads, S, S).

    Raises:
        UnsupportedModel: no layers were found, or (in the forward) they do not return what is asked for.
    """
    found = blocks(model)
    taps: list[Tensor] = []
    with ExitStack() as undo:
        if site is Site.ATTENTION_WEIGHTS:
            undo.enter_context(_eager(model))
        lowest = found[min(layers)].attention
        undo.enter_context(lowest.register_forward_pre_hook(_cutting(taps), with_kwargs=True))
        for layer in layers:
            undo.enter_context(found[layer].attention.register_forward_hook(_recording(taps, site)))
            for child in found[layer].whole.children():
                undo.enter_context(child.register_forward_hook(_following(taps)))
        yield taps


def blocks(model: PreTrainedModel) -> list[Block]:
    """The layers of the decoder, from the lowest to the highest.

    Raises:
        UnsupportedModel: there is no list of layers with an attention module in each.
    """
    count = model.config.get_text_config().num_hidden_layers
    for candidate in model.get_decoder().modules():
        if isinstance(candidate, nn.ModuleList) and len(candidate) == count:
            found = [Block(layer, inside) for layer in candidate if (inside := _attention(layer)) is not None]
            if len(found) == count:
                return found
    raise UnsupportedModel(
        f"The layers of the {model.config.model_type!r} model cannot be read: it has no list of {count} layers with an "
        "attention module in each. Choose a method that works on the embeddings, such as 'input_x_gradient'."
    )


def _attention(layer: nn.Module) -> nn.Module | None:
    inside = (module for module in layer.modules() if module is not layer)
    return next((module for module in inside if "Attention" in type(module).__name__), None)


def _cutting(taps: list[Tensor]) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
    def cut(
        module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        taps.clear()  # of a forward before this one
        if arguments:
            return (_leaf(arguments[0]), *arguments[1:]), named
        return arguments, {**named, "hidden_states": _leaf(named["hidden_states"])}

    return cut


def _leaf(hidden: Tensor) -> Tensor:
    return hidden.detach().requires_grad_()


def _recording(taps: list[Tensor], site: Site) -> Callable[..., None]:
    def record(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        taps.append(_read(module, output, site))

    return record


def _following(taps: list[Tensor]) -> Callable[..., None]:
    def follow(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        if taps and arguments and arguments[0] is taps[-1]:
            taps[-1] = output

    return follow


def _read(module: nn.Module, output: Any, site: Site) -> Tensor:
    place, dimensions = PLACES[site]
    found = output[place] if isinstance(output, tuple) and len(output) > place else None
    if not isinstance(found, Tensor) or found.ndim != dimensions:
        raise UnsupportedModel(
            f"The layers of this model cannot be read: {type(module).__name__} does not return its "
            f"{site.replace('_', ' ')}. Choose a method that works on the embeddings, such as 'input_x_gradient'."
        )
    return found


@contextmanager
def _eager(model: PreTrainedModel) -> Iterator[None]:
    """Every attention of the model computes its weights."""
    owners = {id(config): config for module in model.modules() if (config := _config(module)) is not None}
    before = [
        (config, config._attn_implementation) for owner in owners.values() for config in _with_those_inside(owner)
    ]
    try:
        for config, _ in before:
            config._attn_implementation = "eager"
        yield
    finally:
        for config, implementation in before:  # also sets the configurations inside, which therefore come later
            config._attn_implementation = implementation


def _config(module: nn.Module) -> PretrainedConfig | None:
    config = getattr(module, "config", None)
    return config if hasattr(config, "_attn_implementation") else None


def _with_those_inside(config: PretrainedConfig) -> Iterator[PretrainedConfig]:
    yield config
    for name in config.sub_configs:
        inner = getattr(config, name, None)
        if inner is not None:
            yield from _with_those_inside(inner)
