"""Reading, differentiating and editing a model's layers in one forward, and leaving the model as it was.

1. Find the layers (see `layers.py`).
2. Where the attention weights are read, let every configuration ask for eager attention: no other computes them. It
   runs in blocks of rows where the model allows (see `attending.py` and `attending_modules.py`).
3. For gradients, a hook at the lowest recorded layer cuts the graph: hidden states go on as a fresh leaf. The graph
   starts there, so that nothing is kept below, and no backward goes below. From an encoder's layer it goes on in all
   of the decoder.
4. Hooks record what the layers compute. Where a module of the layer reads precisely what an attention returned, as the
   norm behind the attention of Gemma 3 does, its output is recorded instead: that is what enters the residual stream.
   (The score does not depend on the scale of what such a norm reads, so gradient × activation before it is zero.)
5. Weights are on the whole axis of sources only where there is no encoder: else each tensor says which part it is of.
   Of a decoder's layer with an encoder below, its cross-attention is recorded among the weights and the values, and
   left out of the outputs, which are about the decoder's own inputs. Values are recorded where attention multiplies
   them. Those that do not follow from the lowest layer, which are of an encoder below it, are leaves of their own.
6. An edit replaces what the model goes on with: a layer's output by a hook, value vectors where the attention
   multiplies them (see `operations.py`).
7. Where a forward keeps no graph in its layers (see `layered.py`), what is recorded is without a graph, too, and the
   graph starts where the lowest recorded layer is entered. When that layer runs again, its activations are recorded
   once more, now on its own graph.
8. On leaving, hooks are removed and configurations restored, come what may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tokensal.adapters.attending import NAME, Attending, Each, attending, register
from tokensal.adapters.attending_modules import modules_in_blocks
from tokensal.adapters.frozen import in_this_thread
from tokensal.adapters.layers import Layer, layers_of
from tokensal.adapters.operations import EditedValues
from tokensal.adapters.rules import RuleMode
from tokensal.errors import UnsupportedModel
from tokensal.layer_call import BlockSize
from tokensal.transfers import sent
from tokensal.types import HookPoint, LayerActivation, Part, Rules

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Write = Callable[[LayerActivation], Tensor]
Label = Callable[[Tensor], LayerActivation]  # names the layer, and the sources, that a tensor is about

# Where a module of transformers returns it, and with how many dimensions
OUTPUTS = {HookPoint.ATTENTION_OUTPUT: (0, 3), HookPoint.ATTENTION_WEIGHTS: (-1, 4), HookPoint.RESIDUAL: (0, 3)}


@contextmanager
def recorded(
    model: PreTrainedModel,
    point: HookPoint,
    selected: Sequence[int],
    *,
    graph: bool,
    layered: bool = False,
    kept: bool = True,
    each: Each | None = None,
    blocks: BlockSize | None = None,
) -> Iterator[list[LayerActivation]]:
    """Inside, a forward adds to the list what the selected layers compute, from the lowest to the highest.

    Args:
        model: the model.
        point: what is recorded.
        selected: indices of layers, ascending.
        graph: whether the graph begins at the lowest of them, and the tensors are on it.
        layered: whether no graph is kept within the layers: the tensors are not on it, then.
        kept: whether of a layered forward the tensors are kept; they are recorded again when a layer is run again.
        each: what is recorded in place of a tensor, such as a mean over heads; by default the tensor itself.
        blocks: how many rows of attention weights are computed at once, of which `AttentionCall` are recorded; None
            for weights as one tensor.

    Yields:
        After a forward of R perturbations, one activation for each layer; two for the weights of a layer that also
        attends to an encoder.

    Raises:
        UnsupportedModel: no layers were found, or (in the forward) they do not return what is asked for.
    """
    layers = layers_of(model)
    activations: list[LayerActivation] = []
    with ExitStack() as undo:
        if graph:
            undo.enter_context(_graph_from(layers, min(selected), layered))
        read = [layers[index] for index in selected]
        undo.enter_context(_recorded(model, point, read, activations, graph, each, blocks))
        for index in selected if layered else ():
            hook = in_this_thread(_detacher(activations) if kept else _dropper(activations))
            undo.enter_context(layers[index].block.register_forward_hook(hook))
        yield activations


@contextmanager
def recorded_again(
    model: PreTrainedModel, point: HookPoint, selected: int, blocks: BlockSize | None = None
) -> Iterator[list[LayerActivation]]:
    """Inside, one layer that is run again adds to the list what it computes, on the graph of what it is run on."""
    activations: list[LayerActivation] = []
    with _recorded(model, point, [layers_of(model)[selected]], activations, graph=True, blocks=blocks):
        yield activations


@contextmanager
def _recorded(
    model: PreTrainedModel,
    point: HookPoint,
    layers: Sequence[Layer],
    activations: list[LayerActivation],
    graph: bool,
    each: Each | None = None,
    blocks: BlockSize | None = None,
) -> Iterator[None]:
    with ExitStack() as undo:
        if point is HookPoint.VALUES:
            undo.enter_context(_values(model, layers, _values_recorder(activations, graph)))
            yield
            return
        if point is HookPoint.ATTENTION_WEIGHTS and blocks is not None:
            undo.enter_context(_attending(model, layers, Attending(blocks, graph, each, activations)))
            yield
            return
        if point is HookPoint.ATTENTION_WEIGHTS:
            undo.enter_context(eager_attention(model))
        followed: set[int] = set()
        for number, layer in enumerate(layers):
            for module, columns in _recorded_modules(layer, point):
                label = partial(LayerActivation, point, number, rows=layer.part, columns=columns)
                hook = in_this_thread(_recorder(activations, point, label, each))
                undo.enter_context(module.register_forward_hook(hook))
            if point is HookPoint.ATTENTION_OUTPUT:
                for child in layer.block.children():
                    undo.enter_context(child.register_forward_hook(in_this_thread(_follower(activations, followed))))
        yield


@contextmanager
def _attending(model: PreTrainedModel, layers: Sequence[Layer], mode: Attending) -> Iterator[None]:
    """Inside, attention runs in blocks, and that of some layers is recorded."""
    register()
    point = HookPoint.ATTENTION_WEIGHTS
    every = [module for layer in layers_of(model) for module, _ in _recorded_modules(layer, point)]
    heads = model.config.get_text_config().num_attention_heads
    with eager_attention(model, NAME), attending(mode), modules_in_blocks(every, heads), ExitStack() as undo:
        for number, layer in enumerate(layers):
            for module, columns in _recorded_modules(layer, point):
                about = {"point": point, "layer": number, "rows": layer.part, "columns": columns}
                undo.enter_context(module.register_forward_pre_hook(in_this_thread(mode.entering(about))))
                undo.enter_context(module.register_forward_hook(in_this_thread(mode.leaving)))
        yield


@contextmanager
def edited(
    model: PreTrainedModel, points: frozenset[HookPoint], selected: Sequence[int], write: Write
) -> Iterator[None]:
    """Inside, a forward goes on with what `write` makes of the activations at those points of the selected layers.

    Enter it after `recorded`: what is recorded then is what the model computed, not what replaced it.

    Raises:
        UnsupportedModel: no layers were found, or (in the forward) the attention's values cannot be reached.
    """
    every = layers_of(model)
    layers = [every[index] for index in selected]
    with ExitStack() as undo:
        if HookPoint.VALUES in points:
            undo.enter_context(_values(model, layers, write))
        if HookPoint.RESIDUAL in points:
            for number, layer in enumerate(layers):
                label = partial(LayerActivation, HookPoint.RESIDUAL, number, rows=layer.part)
                undo.enter_context(layer.block.register_forward_hook(in_this_thread(_replacer(write, label))))
        yield


@contextmanager
def linear_head(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Inside, a forward fills the list with what the highest layer returns, (R, S, H), on which the graph begins.

    What follows is linear in it, with the scale of the last norm constant. No layer has a graph or needs a gradient, so
    that quantised ones do as well.
    """
    leaves: list[Tensor] = []

    def cut(activation: LayerActivation) -> Tensor:
        leaves.append(_leaf(activation.tensor))
        return leaves[-1]

    highest = (len(layers_of(model)) - 1,)
    with edited(model, frozenset({HookPoint.RESIDUAL}), highest, cut), RuleMode(Rules(norm="constant"), model):
        yield leaves


@contextmanager
def _values(model: PreTrainedModel, layers: Sequence[Layer], write: Write) -> Iterator[None]:
    """Inside, the attentions of the layers multiply what `write` makes of their value vectors."""
    expected = 0
    with ExitStack() as undo:
        values = undo.enter_context(EditedValues(write, model.config.get_text_config().num_attention_heads))
        for number, layer in enumerate(layers):
            for module, part in _recorded_modules(layer, HookPoint.VALUES):
                label = partial(LayerActivation, HookPoint.VALUES, number, rows=part or layer.part)
                undo.enter_context(module.register_forward_pre_hook(in_this_thread(values.entering(label))))
                undo.enter_context(module.register_forward_hook(in_this_thread(values.leaving)))
                expected += 1
        yield
    if values.count < expected:
        raise UnsupportedModel(
            f"The value vectors of the {model.config.model_type!r} model cannot be reached: of {expected} attentions, "
            f"{values.count} showed them. Load the model with attention='sdpa' or attention='eager'."
        )


def _values_recorder(activations: list[LayerActivation], graph: bool) -> Write:
    def record(activation: LayerActivation) -> Tensor:
        if graph and not activation.tensor.requires_grad:
            activation = replace(activation, tensor=_leaf(activation.tensor))
        activations.append(activation)
        return activation.tensor

    return record


@contextmanager
def cut_at_the_head(head: nn.Module, predictors: Tensor) -> Iterator[list[Tensor]]:
    """Inside, a forward fills the list with the hidden states that predict targets, and their copies behind the cut.

    Only those rows (R, n) enter the head, so that logits of other positions are never computed; the graph is cut there
    (see `tokensal.types.Forward`). Whatever the model does after its head (soft caps, scales, biases) applies to them.
    """
    cut: list[Tensor] = []

    def at_the_head(head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        rows = torch.arange(len(predictors), device=inputs[0].device)[:, None]
        hidden = inputs[0][rows, sent(predictors, inputs[0].device)]
        leaf = hidden.detach().requires_grad_(hidden.requires_grad)
        cut[:] = hidden, leaf
        return leaf, *inputs[1:]

    hook = head.register_forward_pre_hook(in_this_thread(at_the_head))
    try:
        yield cut
    finally:
        hook.remove()


@contextmanager
def _graph_from(layers: Sequence[Layer], lowest: int, layered: bool) -> Iterator[None]:
    """Inside, the graph of a forward begins at the attention of a layer, or where the layer is entered."""
    with ExitStack() as undo:
        for layer in _graph_starts(layers, lowest):
            module = layer.block if layered else layer.attention
            undo.enter_context(module.register_forward_pre_hook(in_this_thread(_cut_graph), with_kwargs=True))
        yield


def _graph_starts(layers: Sequence[Layer], lowest: int) -> list[Layer]:
    """The layers where the graph begins: a decoder's inputs, which carry none, enter above those of an encoder."""
    first = layers[lowest]
    decoder = [layer for layer in layers if layer.part is Part.LAST][:1] if first.part is Part.FIRST else []
    return [first, *decoder]


def _recorded_modules(layer: Layer, point: HookPoint) -> Iterator[tuple[nn.Module, Part | None]]:
    """The modules of a layer that are recorded, and the part of the sources each attends to, where that is asked."""
    if point is HookPoint.RESIDUAL:
        yield layer.block, None
    elif point is HookPoint.ATTENTION_OUTPUT:
        yield layer.attention, None
    else:
        yield layer.attention, layer.part
        if layer.cross is not None:
            yield layer.cross, Part.FIRST


def _cut_graph(
    module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if arguments:
        leaf = _leaf(arguments[0])  # CTRL passes the hidden states three times
        return tuple(leaf if argument is arguments[0] else argument for argument in arguments), named
    return arguments, {**named, "hidden_states": _leaf(named["hidden_states"])}


def _leaf(hidden: Tensor) -> Tensor:
    return hidden.detach().requires_grad_()


def _recorder(
    activations: list[LayerActivation], point: HookPoint, label: Label, each: Each | None
) -> Callable[..., None]:
    def record(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        tensor = _read(module, output, point)
        activations.append(label(tensor if each is None else each(tensor)))

    return record


def _follower(activations: list[LayerActivation], followed: set[int]) -> Callable[..., None]:
    def follow(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        place = len(activations) - 1
        if activations and place not in followed and arguments and arguments[0] is activations[place].tensor:
            followed.add(place)  # no further: Bloom's MLP reads what its norm returned, and the next layer reads that
            activations[place] = replace(activations[place], tensor=output)

    return follow


def _detacher(activations: list[LayerActivation]) -> Callable[..., None]:
    def detach(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        activations[:] = [replace(each, tensor=each.tensor.detach()) for each in activations]

    return detach


def _dropper(activations: list[LayerActivation]) -> Callable[..., None]:
    def drop(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        activations.clear()

    return drop


def _replacer(write: Write, label: Label) -> Callable[..., Any]:
    def replace_output(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        tensor = write(label(_read(module, output, HookPoint.RESIDUAL)))
        return tensor if isinstance(output, Tensor) else (tensor, *output[1:])

    return replace_output


def _read(module: nn.Module, output: Any, point: HookPoint) -> Tensor:
    place, dimensions = OUTPUTS[point]
    if isinstance(output, Tensor) and point is HookPoint.RESIDUAL:
        output = (output,)
    tensor = output[place] if isinstance(output, tuple) and len(output) > place else None
    if not isinstance(tensor, Tensor) or tensor.ndim != dimensions:
        raise UnsupportedModel(
            f"The layers of this model cannot be read: {type(module).__name__} does not return its "
            f"{point.replace('_', ' ')}. Choose a method that works on the embeddings, such as 'input_x_gradient'."
        )
    return tensor


@contextmanager
def eager_attention(model: PreTrainedModel, name: str = "eager") -> Iterator[None]:
    """Every attention of the model computes its weights: by the function that the library knows by this name."""
    owners = {id(config): config for module in model.modules() if (config := _config(module)) is not None}
    before = [
        (config, config._attn_implementation) for owner in owners.values() for config in _with_those_inside(owner)
    ]
    try:
        for config, _ in before:
            config._attn_implementation = name
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
