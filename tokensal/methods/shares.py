"""By how close a part is to the sum: what share of each position's state comes from which position before it.

1. The residual stream after an attention is a sum y: of the stream before it, of a vector for each source that is
   looked at, and in some models of the output of an MLP that runs beside the attention.
2. The proximity of a part x to the sum is max(0, ‖y‖₁ − ‖y − x‖₁): what is missed of y without it. Divided by their
   sum, the proximities are shares.
3. What is the position's own, such as the stream before and the MLP, stays where it is: with the shares of other
   positions, a matrix (S, S) whose rows add up to 1. Biases have no share.

An MLP behind the attention reads and changes one position alone, so that it leaves the shares as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tokensal.engine.activations import raised
from tokensal.types import AttentionParts


def proximity(part: Tensor, total: Tensor) -> Tensor:
    """max(0, ‖total‖₁ − ‖total − part‖₁) over the last dimension."""
    length: Tensor = torch.linalg.vector_norm(total, ord=1, dim=-1)
    missed: Tensor = torch.linalg.vector_norm(total - part, ord=1, dim=-1)
    return (length - missed).clamp(min=0)


def own_parts(parts: AttentionParts) -> Tensor:
    """(n, rows, H): what a position's sum has from itself, the residual stream and perhaps an MLP."""
    return torch.stack([raised(part) for part in (parts.before, parts.beside) if part is not None])


def divided(proximities: Tensor) -> Tensor:
    """Shares (…, P) that add up to 1 over the last dimension; 0 where all proximities are."""
    return proximities / proximities.sum(-1, keepdim=True).clamp(min=torch.finfo(proximities.dtype).tiny)


def completed(shares: Tensor) -> Tensor:
    """(S, S) the shares of what is looked at, with what they leave of 1 for the position itself."""
    return shares + torch.diag(1 - shares.sum(-1))
