"""Activations of layers on the axis of all sources."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tokensal.questions.masks import branch_sources
from tokensal.transfers import sent
from tokensal.types import Example, LayerActivation, Part


def by_layer(
    example: Example, recorded: Sequence[LayerActivation], tensors: Sequence[Tensor], device: torch.device, *, add: bool
) -> list[Tensor]:
    """For each layer, from the lowest, its tensors on the axis of all sources: (…, S, H) or (…, S, S).

    Zero where a tensor is about others: an encoder's layer says nothing of the decoder's inputs. Where an example
    branches, the activations of one continuation follow those of the other.

    Args:
        example: the tokens.
        recorded: what each tensor is about.
        tensors: the activations, or their gradients with more dimensions in front.
        device: where the result is.
        add: whether two tensors of a layer add up, as gradients do, or are the same where both are not zero.
    """
    axes = branch_sources(example)
    combine: Callable[[Tensor, Tensor], Tensor] = torch.add if add else _either
    layers: dict[int, Tensor] = {}
    for number, (activation, tensor) in enumerate(zip(recorded, tensors, strict=True)):
        axis = axes[number * len(axes) // len(recorded)]
        placed = _on_all_sources(example, activation, raised(tensor.to(device)), axis)
        layers[activation.layer] = combine(layers[activation.layer], placed) if activation.layer in layers else placed
    return [layers[layer] for layer in sorted(layers)]


def layers_of(
    recorded: Sequence[LayerActivation], tensors: Sequence[Tensor]
) -> list[tuple[list[LayerActivation], list[Tensor]]]:
    """For each layer, from the lowest, what is recorded of it, and the tensors that belong to that."""
    layers: dict[int, tuple[list[LayerActivation], list[Tensor]]] = defaultdict(lambda: ([], []))
    for activation, tensor in zip(recorded, tensors, strict=True):
        activations, several = layers[activation.layer]
        activations.append(activation)
        several.append(tensor)
    return [layers[layer] for layer in sorted(layers)]


def raised(tensor: Tensor) -> Tensor:
    """At least float32: half precision loses too much in a sum."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _either(tensor: Tensor, other: Tensor) -> Tensor:
    return torch.where(tensor != 0, tensor, other)


def _on_all_sources(example: Example, activation: LayerActivation, tensor: Tensor, axis: Tensor) -> Tensor:
    sources = len(example.sources)
    for dimension, part in ((-2, activation.rows), (-1, activation.columns)):
        if part is not None and tensor.shape[dimension] < sources:
            places = axis[: example.encoder] if part is Part.FIRST else axis[example.encoder :]
            shape = [*tensor.shape]
            shape[dimension] = sources
            tensor = tensor.new_zeros(shape).index_copy(dimension, sent(places, tensor.device), tensor)
    return tensor
