"""The one entry point that joins a model, a method and the engine."""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Mapping
from typing import Any

import torch

from tokensal.adapters import CausalAdapter
from tokensal.adapters.prompting import Messages, Text
from tokensal.attribution import Attribution, Provenance
from tokensal.engine import Budget, Engine
from tokensal.engine.engine import Progress
from tokensal.errors import NonFiniteScores, unknown
from tokensal.methods import Method, build, name_of
from tokensal.scores import SCORES
from tokensal.types import Certificate, Example, Scores


def attribute(
    model: CausalAdapter,
    prompt: Text | None = None,
    *,
    messages: Messages | None = None,
    continuation: Text | None = None,
    method: str | Method = "gradient",
    score: str = "logprob",
    max_new_tokens: int | None = None,
    generation: Mapping[str, Any] | None = None,
    seed: int | None = None,
    budget: Budget | None = None,
    progress: Progress | None = None,
    config: Mapping[str, Any] | None = None,
) -> Attribution:
    """Explain each token of a model's answer by the tokens before it.

        >>> result = attribute(model, "The capital of France is", method="input_x_gradient")  # doctest: +SKIP
        >>> result.show()  # doctest: +SKIP

    Args:
        model: what `tokensal.load` or `tokensal.adapt` returns.
        prompt: text, or token ids.
        messages: a chat instead ({"role": …, "content": …}), put through the model's chat template.
        continuation: the answer to explain, as text (tokenized by itself, after the prompt) or token ids; None
            lets the model generate one.
        method: a name from `tokensal.METHODS`, or a method with options, such as `Gradient(norm="l1")`.
        score: what is explained of each target: "logprob" (default), "logit" or "prob".
        max_new_tokens: how many tokens to generate at most; 20 by default.
        generation: further options of HuggingFace's `generate`. Without them generation is greedy.
        seed: for sampling; without one a fresh seed is drawn, and stored in the result.
        budget: how much memory to use, and how much to do at once.
        progress: called with (done, total) as the work goes on.
        config: recorded in the result as given, beside the versions and the seed.

    Returns:
        The attribution: scores (K, S) of every source for every target, with tokens and provenance.

    Raises:
        TokensalError: one sentence about what to put right; see `tokensal.errors`.
    """
    chosen = build(method) if isinstance(method, str) else method
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    if seed is None and (generation or {}).get("do_sample"):
        seed = secrets.randbits(32)
    started = time.perf_counter()
    example = model.example(
        prompt,
        messages=messages,
        continuation=continuation,
        max_new_tokens=max_new_tokens,
        generation=generation,
        seed=seed,
    )
    found = chosen(example, Engine(model, SCORES[score], budget=budget, progress=progress))
    provenance = Provenance(
        **model.describe(),
        method=name_of(chosen),
        method_repr=repr(chosen),
        score=score,
        seed=seed,
        seconds=round(time.perf_counter() - started, 3),
        versions=_versions(),
        config=dict(config or {}),
    )
    return _attribution(example, found, chosen.signed, provenance)


def _attribution(example: Example, found: Scores, signed: bool, provenance: Provenance) -> Attribution:
    predictors = torch.tensor(example.predictors)
    visible = torch.arange(len(example.sources)) <= predictors[:, None]
    matrix = found.matrix.detach().to("cpu", torch.float32)
    if not matrix[visible].isfinite().all():
        raise NonFiniteScores(
            f"Some contributions are not finite numbers; the gradients overflow in {provenance.dtype}: "
            "load the model with dtype='float32'."
        )
    return Attribution(
        text=example.text,
        sources=example.sources,
        targets=example.targets,
        scores=matrix.masked_fill(~visible, float("nan")),
        visible=visible,
        values=found.values.detach().to("cpu", torch.float32),
        signed=signed,
        sink=example.sink,
        provenance=provenance,
        certificate=found.certificate and _stored(found.certificate),
    )


def _stored(certificate: Certificate) -> Certificate:
    numbers = (certificate.change, certificate.residual, certificate.allowed)
    change, residual, allowed = (tensor.detach().to("cpu", torch.float32) for tensor in numbers)
    return Certificate(change, residual, certificate.nodes.cpu(), allowed)


def _versions() -> dict[str, str]:
    import transformers

    import tokensal

    return {
        "tokensal": tokensal.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
