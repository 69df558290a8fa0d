"""Weights drawn at random, a part of the model at a time, and put back: what the randomisation test explains.

Each tensor of a part is replaced by one whose numbers are normal with the mean and the standard deviation of its own.
So activations keep their size in every architecture, and a tensor of equal numbers, as a new norm's, stays as it is.
Adebayo et al. 2018 draw from the initialiser of each layer instead, which checkpoints do not tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tokensal.adapters.frozen import lock_of
from tokensal.adapters.layers import layers_of
from tokensal.errors import UnsupportedModel, require_known

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEAD, EMBEDDINGS = "head", "embeddings"


def parts_of(model: PreTrainedModel) -> Mapping[str, tuple[nn.Parameter, ...]]:
    """The parameters by part, from the top down: the head with the norm before it, the layers, the embeddings.

    A parameter that two parts share belongs to the lower one: a head that is the table of embeddings, too, is drawn
    with these. So the head may be but a norm, or missing.
    """
    layers = layers_of(model)
    inside = {parameter for layer in layers for parameter in layer.block.parameters()}
    tables = {
        parameter for each in model.modules() if isinstance(each, nn.Embedding) for parameter in each.parameters()
    }
    outside = [(name, each) for name, each in model.named_parameters() if each not in inside]
    low = [each for name, each in outside if each in tables or "emb" in name]
    parts = {HEAD: tuple(each for _, each in outside if each not in {*low})}
    parts |= {
        f"layer {number}": tuple(layers[number].block.parameters()) for number in reversed(range(len(layers)))
    } | {EMBEDDINGS: tuple(low)}
    return {name: parameters for name, parameters in parts.items() if parameters}


@contextmanager
def randomised(model: PreTrainedModel, names: Sequence[str], seed: int) -> Iterator[None]:
    """Inside, the weights of these parts are random; on leaving, the model has its own tensors again.

    Args:
        model: the model; other threads wait.
        names: parts of `parts_of`. What a part becomes depends on its name and the seed, not on the other parts.
        seed: of the numbers.

    Raises:
        InputError: there is no such part.
        UnsupportedModel: weights are stored elsewhere (offloaded), or are no floating-point numbers (quantised).
    """
    parts = parts_of(model)
    require_known("part of the model:", names, parts)
    drawn = [(name, number, each) for name in names for number, each in enumerate(parts[name])]
    for name, _, parameter in drawn:
        if parameter.is_meta or not parameter.is_floating_point():
            kind = "offloaded" if parameter.is_meta else "quantised"
            raise UnsupportedModel(
                f"The weights of {name} are {kind}, and cannot be drawn at random: load the model as a whole, in a "
                "floating-point dtype."
            )
    positions = {name: index for index, name in enumerate(parts)}
    with lock_of(model):
        own = [(parameter, parameter.data) for _, _, parameter in drawn]
        try:
            for name, number, parameter in drawn:
                # another tensor in its place, so that the own one is never written to
                parameter.data = _drawn(parameter.data, (seed << 20) + (positions[name] << 10) + number)
            yield
        finally:
            for parameter, data in own:
                parameter.data = data


def _drawn(tensor: Tensor, seed: int) -> Tensor:
    """Normal numbers with the mean and the standard deviation of a tensor; drawn on the CPU, alike on all devices."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(tensor.shape, generator=generator, dtype=torch.float32, device="cpu")
    values = tensor.double()
    deviation = values.std() if values.numel() > 1 else values.new_zeros(())
    return (numbers.to(tensor.device).double() * deviation + values.mean()).to(tensor.dtype)
