"""Reductions: how a gradient over the D numbers of an embedding becomes one number for its token.

Each is a function of the gradient (…, S, D) and the embeddings (S, D) or (…, S, D) it was taken at, to (…, S).
Half precision is raised to float32 before the sum. Names are the field's: l1 and l2 are norms, `peak` the
largest magnitude (called `max` in the literature), `dot` the signed inner product of "gradient × input".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Reduction = Callable[[Tensor, Tensor], Tensor]


def l1(gradient: Tensor, embeds: Tensor) -> Tensor:
    """Sum of magnitudes, Σ|g|. Never negative."""
    return _raised(gradient).abs().sum(-1)


def l2(gradient: Tensor, embeds: Tensor) -> Tensor:
    """Euclidean length, √Σg². Never negative."""
    norm: Tensor = torch.linalg.vector_norm(_raised(gradient), dim=-1)
    return norm


def peak(gradient: Tensor, embeds: Tensor) -> Tensor:
    """Largest magnitude, max|g|: the "max" of Simonyan et al. (2014). Never negative."""
    return _raised(gradient).abs().amax(-1)


def dot(gradient: Tensor, embeds: Tensor) -> Tensor:
    """Inner product with the embedding, Σ g·x. Signed."""
    return (_raised(gradient) * _raised(embeds)).sum(-1)


NORMS: Mapping[str, Reduction] = {"l2": l2, "l1": l1, "max": peak}


def _raised(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
