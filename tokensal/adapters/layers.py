"""The layers of a model, found by what is in them.

In a decoder, the list of as many modules as the configuration says, and in each the first module that calls itself an
attention. Of an encoder–decoder model, the layers of the encoder are the lower ones, and those of the decoder the upper
ones; the latter have two attentions, of which the second attends to the encoder.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from tokensal.errors import UnsupportedModel
from tokensal.types import Part

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# What configurations call the sizes of windows and chunks of attention; not every how many layers have one
WINDOW = re.compile(r"^(?!.*(layers|pattern|feed_forward)$).*(window|chunk|block_size|local_attention)")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, the self-attention in it, the cross-attention if there is one, and which sources the layer reads."""

    block: nn.Module
    attention: nn.Module
    cross: nn.Module | None = None
    part: Part = Part.LAST


def layers_of(model: PreTrainedModel) -> list[Layer]:
    """The layers of the decoder, from the lowest to the highest; those of an encoder before them.

    Raises:
        UnsupportedModel: there is no list of layers with an attention module in each.
    """
    if not model.config.is_encoder_decoder:
        count = model.config.get_text_config().num_hidden_layers
        return [Layer(block, _attentions(block)[0]) for block in _blocks(model, model.get_decoder(), 1, count)]
    lower = [Layer(block, _innermost(block)[0], part=Part.FIRST) for block in _blocks(model, model.get_encoder(), 1)]
    upper = [(block, *_innermost(block)) for block in _blocks(model, model.get_decoder(), 2)]
    return lower + [Layer(block, attention, cross) for block, attention, cross, *_ in upper]


def _blocks(model: PreTrainedModel, stack: nn.Module, attentions: int, count: int | None = None) -> nn.ModuleList:
    """The outermost list of layers with as many attentions in each; of `count` layers, where the count is known."""
    for candidate in stack.modules():
        if not isinstance(candidate, nn.ModuleList) or len(candidate) != (count or len(candidate)):
            continue
        if len(candidate) and all(len(_innermost(block)) >= attentions for block in candidate):
            return candidate
    wanted = "an attention module" if attentions == 1 else "two attention modules"
    raise UnsupportedModel(
        f"The layers of the {model.config.model_type!r} model cannot be read: it has no list of "
        f"{f'{count} layers' if count else 'layers'} with {wanted} in each. "
        "Choose a method that works on the embeddings, such as 'input_x_gradient'."
    )


def _attentions(block: nn.Module) -> list[nn.Module]:
    inside = (module for module in block.modules() if module is not block)
    return [module for module in inside if "Attention" in type(module).__name__]


def _innermost(block: nn.Module) -> list[nn.Module]:
    """The attentions of a layer that hold no other: T5 wraps each in a module that adds the residual stream."""
    return [module for module in _attentions(block) if not _attentions(module)]


def unscaled_length(config: PretrainedConfig) -> float:
    """Up to how many tokens positions are encoded the same in texts of any length."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if "dynamic" not in str(rope) and "longrope" not in str(rope):
        return math.inf
    lengths = (getattr(config, "original_max_position_embeddings", None), rope.get("original_max_position_embeddings"))
    return min(filter(None, (*lengths, config.max_position_embeddings)))


def smallest_window(config: PretrainedConfig) -> float:
    """How many tokens the attention of every layer looks back at least, as far as the configuration says."""
    sizes = (value for name, value in vars(config).items() if WINDOW.search(name) and type(value) is int and value > 0)
    return min(sizes, default=math.inf)
