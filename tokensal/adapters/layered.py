"""A forward that keeps no graph within its layers, each of which can be run again to have it.

1. Before a layer runs, those of its arguments that are on the graph are kept, and copies of them begin a new graph.
2. What the layer returns goes on as leaves, so that its own graph ends with it. Numbers are those of the plain forward,
   since the same operations run on the same numbers.
3. `LayerCall.run` runs the layer once more on what it was called with. The vector-Jacobian product of a layer is had
   from there; what happens between layers stays on a graph of its own, from leaves to arguments.

A cache of keys and values is copied before a layer adds to it, so that each run begins with the same one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from tokensal.adapters.frozen import in_this_thread
from tokensal.adapters.layers import layers_of
from tokensal.adapters.operations import varies
from tokensal.layer_call import LayerCall

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@contextmanager
def layered(model: PreTrainedModel) -> Iterator[list[LayerCall]]:
    """Inside, a forward fills the list with the calls of its layers that have gradients, and keeps no graph in them.

    Enter it after contexts that read or edit what layers compute.

    Raises:
        UnsupportedModel: the layers of the model cannot be read.
    """
    calls: list[LayerCall] = []
    with ExitStack() as undo:
        for number, block in enumerate(dict.fromkeys(layer.block for layer in layers_of(model))):
            cut = _Cut(number, calls)
            undo.enter_context(block.register_forward_pre_hook(in_this_thread(cut.before), with_kwargs=True))
            undo.enter_context(block.register_forward_hook(in_this_thread(cut.after)))
        yield calls


class _Cut:
    """The hooks of one layer: its arguments begin a graph, and its results end it.

    Args:
        layer: its number.
        calls: to which each call is added.
    """

    def __init__(self, layer: int, calls: list[LayerCall]) -> None:
        self.layer = layer
        self.calls = calls
        self.arguments: Arguments | None = None
        self.inputs: tuple[Tensor, ...] = ()

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        self.inputs = tuple({id(each): each for each in _tensors((args, kwargs)) if varies(each)}.values())
        if not self.inputs:
            return None
        self.arguments = with_copied_caches((args, kwargs))
        return called_with(self.arguments, self.inputs, [_leaf(each) for each in self.inputs])

    def after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not self.inputs:
            return None
        arguments, inputs = self.arguments, self.inputs
        self.arguments, self.inputs = None, ()
        assert arguments is not None
        returned = list(_tensors(output))
        places = tuple(place for place, tensor in enumerate(returned) if varies(tensor))
        leaves = {id(returned[place]): _leaf(returned[place]) for place in places}

        def run(copies: list[Tensor]) -> tuple[Tensor, ...]:
            again, named = called_with(arguments, inputs, copies)
            tensors = list(_tensors(module(*again, **named)))
            return tuple(tensors[place] for place in places)

        self.calls.append(LayerCall(self.layer, inputs, tuple(leaves[id(returned[place])] for place in places), run))
        return _replaced(output, lambda value: leaves.get(id(value), value))


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_()


def called_with(arguments: Arguments, inputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> Arguments:
    """The arguments with copies of these leaves in the place of the inputs; a layer may write to what it reads."""
    copies = {id(tensor): leaf.clone() for tensor, leaf in zip(inputs, leaves, strict=True)}
    args, kwargs = with_copied_caches(arguments)
    replaced: Arguments = _replaced((args, kwargs), lambda value: copies.get(id(value), value))
    return replaced


def with_copied_caches(arguments: Arguments) -> Arguments:
    """The arguments with copies of caches, to which a layer adds."""
    result: Arguments = _replaced(arguments, _copied)
    return result


def _copied(value: Any) -> Any:
    """A cache with layers of its own, or the value itself if it is none; a layer of a cache replaces its tensors."""
    from transformers import Cache

    if not isinstance(value, Cache):
        return value
    cache = copy.copy(value)
    for name, part in vars(value).items():
        if isinstance(part, Cache):  # of self-attention, and of cross-attention
            setattr(cache, name, _copied(part))
        elif isinstance(part, list | dict):
            parts = [copy.copy(layer) for layer in part] if isinstance(part, list) else dict(part)
            setattr(cache, name, parts)
    return cache


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and mappings, in their order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, Mapping):
        yield from _tensors(tuple(value.values()))


def _replaced(value: Any, replace: Callable[[Any], Any]) -> Any:
    """The same nested tuples, lists and mappings with other values in them."""
    if type(value) in (tuple, list):
        return type(value)(_replaced(part, replace) for part in value)
    if isinstance(value, Mapping):
        parts = {key: _replaced(part, replace) for key, part in value.items()}
        return parts if type(value) is dict else type(value)(**parts)
    return replace(value)
