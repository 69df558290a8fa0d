"""Hooks: reading a model's layers on the graph of one forward, and leaving the model as it was.

1. Find the layers: in the decoder, the list of as many as the configuration says; and in each the first module that
   calls itself an attention. Of an encoder–decoder model, the layers of the encoder are the lower ones, and those of
   the decoder the upper ones; the latter have two attentions, of which the second looks at the encoder.
2. Where the attention weights are wanted, let every configuration ask for eager attention: no other computes them.
3. At the lowest recorded layer a hook cuts the graph: hidden states go on as a fresh leaf. The graph starts there, so
   that nothing is kept below, and no backward goes below. From an encoder's layer it goes on in all of the decoder.
4. Hooks record what the recorded attentions return. Where a module of the layer reads precisely that, as the norm
   behind the attention of Gemma 3 does, its output is recorded instead: that is what enters the residual stream.
   (The score does not depend on the scale of what such a norm reads, so gradient × activation before it is zero.)
5. Weights are on the whole axis of sources only where there is no encoder: else each tensor says which part it is of.
   Of a decoder's layer with an encoder below, its look at the encoder is recorded among the weights, and left out of
   the outputs, which are about the decoder's own inputs.
6. On leaving, hooks are removed and configurations restored, come what may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from tokensal.errors import UnsupportedModel
from tokensal.types import HookPoint, LayerActivation, Part

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Where an attention module of transformers returns it, and with how many dimensions
PLACES = {HookPoint.ATTENTION_OUTPUT: (0, 3), HookPoint.ATTENTION_WEIGHTS: (-1, 4)}


@dataclass(frozen=True, slots=True)
class Block:
    """A layer, the self-attention in it, the attention that looks at an encoder, and which sources the layer reads."""

    whole: nn.Module
    attention: nn.Module
    cross: nn.Module | None = None
    part: Part = Part.LAST


@contextmanager
def recorded(model: PreTrainedModel, hook_point: HookPoint, layers: Sequence[int]) -> Iterator[list[LayerActivation]]:
    """Inside, a forward adds to the list what the layers return, from the lowest to the highest, on its graph.

    Yields:
        After a forward of R perturbations, one for each layer; two for weights of a layer that also looks at an
        encoder.

    Raises:
        UnsupportedModel: no layers were found, or (in the forward) they do not return what is asked for.
    """
    found = blocks(model)
    activations: list[LayerActivation] = []
    with ExitStack() as undo:
        if hook_point is HookPoint.ATTENTION_WEIGHTS:
            undo.enter_context(_eager(model))
        for beginning in _beginnings(found, min(layers)):
            undo.enter_context(beginning.register_forward_pre_hook(_cutting, with_kwargs=True))
        for index, block in enumerate(found[layer] for layer in layers):
            for attention, columns in _looking(block, hook_point):
                record = _recording(activations, hook_point, index, block.part, columns)
                undo.enter_context(attention.register_forward_hook(record))
            for child in block.whole.children():
                undo.enter_context(child.register_forward_hook(_following(activations)))
        yield activations


def _beginnings(found: Sequence[Block], lowest: int) -> list[nn.Module]:
    """The attentions where the graph begins: a decoder's inputs, which carry none, enter above those of an encoder."""
    first = found[lowest]
    entrances = [block for block in found if block.part is Part.LAST][:1] if first.part is Part.FIRST else []
    return [block.attention for block in (first, *entrances)]


def _looking(block: Block, hook_point: HookPoint) -> Iterator[tuple[nn.Module, Part | None]]:
    """The attentions of a layer that are recorded, and the part of the sources each looks at, where that is asked."""
    if hook_point is HookPoint.ATTENTION_OUTPUT:
        yield block.attention, None
        return
    yield block.attention, block.part
    if block.cross is not None:
        yield block.cross, Part.FIRST


def blocks(model: PreTrainedModel) -> list[Block]:
    """The layers of the decoder, from the lowest to the highest; those of an encoder before them.

    Raises:
        UnsupportedModel: there is no list of layers with an attention module in each.
    """
    if not model.config.is_encoder_decoder:
        count = model.config.get_text_config().num_hidden_layers
        return [Block(layer, _attentions(layer)[0]) for layer in _layers(model, model.get_decoder(), 1, count)]
    lower = [Block(layer, _innermost(layer)[0], part=Part.FIRST) for layer in _layers(model, model.get_encoder(), 1)]
    pairs = [(layer, *_innermost(layer)) for layer in _layers(model, model.get_decoder(), 2)]
    return lower + [Block(layer, attention, cross) for layer, attention, cross, *_ in pairs]


def _layers(model: PreTrainedModel, stack: nn.Module, attentions: int, count: int | None = None) -> nn.ModuleList:
    """The outermost list of layers with as many attentions in each; of `count` layers, where the count is known."""
    for candidate in stack.modules():
        if not isinstance(candidate, nn.ModuleList) or len(candidate) != (count or len(candidate)):
            continue
        if len(candidate) and all(len(_innermost(layer)) >= attentions for layer in candidate):
            return candidate
    wanted = "an attention module" if attentions == 1 else "two attention modules"
    raise UnsupportedModel(
        f"The layers of the {model.config.model_type!r} model cannot be read: it has no list of "
        f"{f'{count} layers' if count else 'layers'} with {wanted} in each. "
        "Choose a method that works on the embeddings, such as 'input_x_gradient'."
    )


def _attentions(layer: nn.Module) -> list[nn.Module]:
    inside = (module for module in layer.modules() if module is not layer)
    return [module for module in inside if "Attention" in type(module).__name__]


def _innermost(layer: nn.Module) -> list[nn.Module]:
    """The attentions of a layer that hold no other: T5 wraps each in a module that adds the residual stream."""
    return [module for module in _attentions(layer) if not _attentions(module)]


def _cutting(
    module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if arguments:
        return (_leaf(arguments[0]), *arguments[1:]), named
    return arguments, {**named, "hidden_states": _leaf(named["hidden_states"])}


def _leaf(hidden: Tensor) -> Tensor:
    return hidden.detach().requires_grad_()


def _recording(
    activations: list[LayerActivation], hook_point: HookPoint, layer: int, rows: Part, columns: Part | None
) -> Callable[..., None]:
    def record(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        activations.append(LayerActivation(layer, _read(module, output, hook_point), rows, columns))

    return record


def _following(activations: list[LayerActivation]) -> Callable[..., None]:
    def follow(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        if activations and arguments and arguments[0] is activations[-1].tensor:
            activations[-1] = replace(activations[-1], tensor=output)

    return follow


def _read(module: nn.Module, output: Any, hook_point: HookPoint) -> Tensor:
    place, dimensions = PLACES[hook_point]
    found = output[place] if isinstance(output, tuple) and len(output) > place else None
    if not isinstance(found, Tensor) or found.ndim != dimensions:
        raise UnsupportedModel(
            f"The layers of this model cannot be read: {type(module).__name__} does not return its "
            f"{hook_point.replace('_', ' ')}. Choose a method that works on the embeddings, such as 'input_x_gradient'."
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
