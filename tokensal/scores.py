"""Scores: the scalar that is explained for each target, as functions (…, G, V) → (…, G).

Each takes the logits at the positions that predict the targets, and the target ids (G,). A score of one target
reads that target's logits only; the engine relies on it to differentiate the head once for all targets.
Half-precision logits are raised to float32 first: a softmax over a large vocabulary loses too much below that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Score = Callable[[Tensor, Tensor], Tensor]


def logit(logits: Tensor, targets: Tensor) -> Tensor:
    """The raw logit of each target token. (…, G, V), (G,) → (…, G), in logit units."""
    index = targets.expand(logits.shape[:-1]).unsqueeze(-1)
    return _at_least_float32(logits).gather(-1, index).squeeze(-1)


def logprob(logits: Tensor, targets: Tensor) -> Tensor:
    """The natural-log probability of each target token. (…, G, V), (G,) → (…, G), in nats."""
    # logit − logsumexp instead of log_softmax: no second tensor of the vocabulary's size
    return logit(logits, targets) - _at_least_float32(logits).logsumexp(-1)


def prob(logits: Tensor, targets: Tensor) -> Tensor:
    """The probability of each target token. (…, G, V), (G,) → (…, G), within [0, 1]."""
    return logprob(logits, targets).exp()


SCORES: Mapping[str, Score] = {"logprob": logprob, "logit": logit, "prob": prob}


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
