"""What an attention adds to each position, taken apart: one vector for each source that is looked at.

1. Project the value vectors of each head and source on their own: (heads, columns, H), without the bias.
2. The contribution of source j to position i is Σ_heads A_ij × that of j, times the scale of a norm behind the
   attention. (rows, columns, H) exists for some rows at a time.
3. Compare the sum of all contributions, and the bias, with what the attention added: they must be the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tokensal.chunks import in_chunks
from tokensal.engine.activations import raised
from tokensal.engine.budget import Budget
from tokensal.errors import UnsupportedModel
from tokensal.types import AttentionParts

# From the contributions (r, heads, columns, H) to some rows, and which rows, to (heads, r, columns). Columns after the
# last of the rows that none of them looks at are left out of both. It may alter the contributions.
Read = Callable[[Tensor, slice], Tensor]


def over_contributions(parts: AttentionParts, read: Read, budget: Budget, *, heads: bool) -> tuple[Tensor, float]:
    """What `read` makes of all contributions, (heads, rows, columns), and how far they are from adding up.

    Args:
        parts: the attention.
        read: what is made of the contributions to some rows.
        budget: how many rows go at once.
        heads: whether those of each head are apart; else they are summed, as if there were one.

    Raises:
        UnsupportedModel: they do not add up to what the attention adds.
    """
    weights, scale, projected = raised(parts.weights), raised(parts.scale), _projected(parts)
    _, rows, columns = weights.shape
    table = weights.new_zeros(len(weights) if heads else 1, rows, columns)
    scaled = bool((scale != 1).any())
    # the last column that any head looks at, of each row; read once, and not for each piece
    last = (weights.any(0) * torch.arange(columns, device=weights.device)).amax(1).tolist()

    def piece(chunk: slice) -> None:
        looking = weights[:, chunk]
        seen = 1 + max(min(chunk.stop, columns) - 1, *last[chunk])
        if heads:
            vectors = looking[:, :, :seen, None].movedim(0, 1) * projected[:, :seen]
        else:
            vectors = torch.einsum("hrc,hcd->rcd", looking[..., :seen], projected[:, :seen])[:, None]
        if scaled:
            vectors *= scale[chunk, None, None]
        table[:, chunk, :seen] = read(vectors, chunk)

    for _ in in_chunks(rows, budget.pieces(rows, len(table) * columns * scale.shape[-1], weights.device), piece):
        pass
    sums = torch.einsum("hrc,hcd->rd", weights, projected) * scale + raised(parts.bias)
    return table, _error(sums, parts)


def _projected(parts: AttentionParts) -> Tensor:
    """(heads, columns, H): the values of each head and source, through the output projection."""
    heads, columns, width = parts.values.shape
    projected = []
    for head, values in enumerate(parts.values):
        beside = values.new_zeros(columns, heads, width)
        beside[:, head] = values
        projected.append(raised(parts.project(beside.flatten(1))))
    return torch.stack(projected)


def _error(sums: Tensor, parts: AttentionParts) -> float:
    """How far the sums (rows, H) are from what the attention added, relative to the largest number of a row."""
    expected = raised(parts.output)
    largest = expected.abs().amax(-1).clamp(min=torch.finfo(expected.dtype).tiny)
    error = float(((sums - expected).abs().amax(-1) / largest).max())
    if not error <= parts.tolerance:
        raise UnsupportedModel(
            "An attention of this model cannot be read in parts: what its sources contribute does not add up to what "
            f"it adds to the residual stream; the sum is {error:.2g} of the largest number apart, and should be "
            f"{parts.tolerance:.2g} at most. Choose another method, such as 'lrp' or 'occlusion'."
        )
    return error
