"""Scores: the scalar that is explained for each target, as functions (…, G, V) → (…, G).

Each takes the logits at the positions that predict the targets, and the target ids (G,). A score of one target
reads that target's logits only; the engine relies on it to differentiate the head once for all targets. A user's own
score is such a function too, or one of the logits alone.
Half-precision logits are raised to float32 first: a softmax over a large vocabulary loses too much below that.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from tokensal.errors import InputError, foreign, unknown

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
    finite = logits.masked_fill(logits == -math.inf, 0)  # a suppressed token adds 0 · log 0 = 0
    return logits.logsumexp(-1) - (logits.softmax(-1) * finite).sum(-1)


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
    name, alone = name_of(score), _takes_logits_alone(score)

    def validated(logits: Tensor, targets: Tensor) -> Tensor:
        with foreign(InputError, f"The score {name} failed"):
            values = score(logits) if alone else score(logits, targets)
        _require_scores(name, values, logits)
        return values

    validated.__name__ = name
    return validated


def _takes_logits_alone(score: Callable[..., Tensor]) -> bool:
    try:
        inspect.signature(score).bind(None, None)  # logits, and target ids
    except TypeError:
        return True
    except ValueError:  # functions in C may not tell
        pass
    return False


def _require_scores(name: str, values: object, logits: Tensor) -> None:
    """Refuse what is not one differentiable number for each target."""
    import torch

    expected = f"one number for each target, {tuple(logits.shape[:-1])}, from logits {tuple(logits.shape)}"
    if not isinstance(values, torch.Tensor):
        raise InputError(
            f"The score {name} returned a {type(values).__name__}, but should return a tensor: {expected}."
        )
    if values.shape != logits.shape[:-1]:
        raise InputError(f"The score {name} returned the shape {tuple(values.shape)}, but should return {expected}.")
    if not values.is_floating_point():
        raise InputError(f"The score {name} returned {values.dtype}, but should return floating-point numbers.")
    if logits.requires_grad and not values.requires_grad:
        raise InputError(
            f"The score {name} has no gradient: compute it from the logits by differentiable operations of torch, and "
            "do not detach it."
        )


def non_finite_cause(score: Score, logits: Tensor, target: int) -> str:
    """Why the score of a target is not a finite number, and what to do, as the end of a sentence.

    Args:
        score: the score.
        logits: those of the target, (V,).
        target: its id.
    """
    dtype = str(logits.dtype).removeprefix("torch.")
    if logits.isnan().any() or (logits == math.inf).any():
        if dtype in ("float16", "bfloat16"):
            return f"the model overflows in {dtype}: load it with dtype='float32'"
        return f"the model itself returns such numbers, in {dtype}: its weights or this input are at fault"
    if score in SCORES.values() and logits[target] == -math.inf:
        return "the model suppresses this token, whose logit is -inf: explain other targets, or the score 'entropy'"
    return f"the logits are finite, so the score {name_of(score)} is at fault: return finite numbers"


def name_of(score: str | Callable[..., Tensor]) -> str:
    """What a result calls a score."""
    return score if isinstance(score, str) else getattr(score, "__name__", type(score).__name__)


def _at_least_float32(logits: Tensor) -> Tensor:
    import torch  # here, so that the names of the scores are read without it

    return logits.to(torch.promote_types(logits.dtype, torch.float32))
