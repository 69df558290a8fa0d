"""Scores: the scalar that is explained for each target, as functions (…, G, V) → (…, G).

Each takes the logits at the positions that predict the targets, and the target ids (G,). A score of one target
reads that target's logits only; the engine relies on it to differentiate the head once for all targets. A user's own
score is such a function too, or one of the logits alone.
Half-precision logits are raised to float32 first: a softmax over a large vocabulary loses too much below that.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from tokensal.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import Tensor

Score: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"


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


def entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """How undecided the model was about each target, whatever it wrote. (…, G, V), (G,) → (…, G), in nats."""
    logits = _at_least_float32(logits)
    return logits.logsumexp(-1) - (logits.softmax(-1) * logits).sum(-1)


SCORES: Mapping[str, Score] = {"logprob": logprob, "logit": logit, "prob": prob, "entropy": entropy}


def resolve_score(score: str | Callable[..., Tensor]) -> Score:
    """The score of that name, or a user's function of logits and target ids, or of logits alone.

    Raises:
        InputError: an unknown name (the nearest one is offered), or something that cannot be called.
    """
    if isinstance(score, str):
        if score not in SCORES:
            raise unknown("score", score, SCORES)
        return SCORES[score]
    if not callable(score):
        raise InputError(f"A score should be a name or a function (…, G, V) → (…, G), but is {score!r}.")
    without_targets = len(inspect.signature(score).parameters) == 1

    def checked(logits: Tensor, targets: Tensor) -> Tensor:
        values = score(logits) if without_targets else score(logits, targets)
        if values.shape != logits.shape[:-1]:
            raise InputError(
                f"The score {name_of(score)} returned the shape {tuple(values.shape)}, but should return one number "
                f"for each target, {tuple(logits.shape[:-1])}, from logits {tuple(logits.shape)}."
            )
        return values

    return checked


def name_of(score: str | Callable[..., Tensor]) -> str:
    """What a result calls a score."""
    return score if isinstance(score, str) else getattr(score, "__name__", type(score).__name__)


def _at_least_float32(logits: Tensor) -> Tensor:
    import torch  # here, so that the names of the scores are read without it

    return logits.to(torch.promote_types(logits.dtype, torch.float32))
