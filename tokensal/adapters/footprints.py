"""How much memory a model takes, estimated from the widths in its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tokensal.types import Footprint

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def footprint_of(model: PreTrainedModel, sources: int, depth: int, in_blocks: bool) -> Footprint:
    """What a layer keeps for its backward, times the layers; for a sequence of that many sources."""
    config = model.config.get_text_config()
    hidden, heads = config.hidden_size, config.num_attention_heads
    widths = (getattr(config, name, None) for name in ("intermediate_size", "ffn_dim", "encoder_ffn_dim", "d_ff"))
    wide = next((width for width in widths if width), 4 * hidden)
    attention = heads * sources if config._attn_implementation == "eager" and not in_blocks else 0
    layer = 10 * hidden + 4 * wide + 2 * attention
    size = torch.finfo(model.dtype).bits // 8
    head = 3 * max(size, 4) * config.vocab_size  # scores are computed in float32 at least
    shared = getattr(config, "num_key_value_heads", None) or heads
    states = 2 * size * hidden * shared // heads * depth
    return Footprint(
        kept=size * layer * depth,
        moved=size * layer,
        head=head,
        states=states,
        inputs=size * hidden * depth,
        input=size * hidden,
    )
