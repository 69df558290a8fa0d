"""The two entry points, `attribute` and `compare`: the one place that joins a model, methods and the engine."""

from __future__ import annotations

import platform
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from tokensal.adapters import ModelAdapter
from tokensal.adapters.prompting import Messages, Text
from tokensal.attribution import Attribution, Provenance
from tokensal.comparison import Comparison
from tokensal.engine import Budget, Engine
from tokensal.engine.engine import Progress
from tokensal.errors import InputError, NonFiniteScores, unknown
from tokensal.methods import Method, build, name_of
from tokensal.scores import SCORES
from tokensal.types import Certificate, Example, Scores

COMPARED = ("gradient", "input_x_gradient", "occlusion", "attention_grad_cam")  # cheap, and of four kinds


def attribute(
    model: ModelAdapter,
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
    [found] = _explain(
        model,
        [_built(method)],
        score,
        budget,
        progress,
        config,
        prompt=prompt,
        messages=messages,
        continuation=continuation,
        max_new_tokens=max_new_tokens,
        generation=generation,
        seed=seed,
    )
    return found


def compare(
    model: ModelAdapter,
    prompt: Text | None = None,
    *,
    messages: Messages | None = None,
    continuation: Text | None = None,
    methods: Iterable[str | Method] = COMPARED,
    score: str = "logprob",
    max_new_tokens: int | None = None,
    generation: Mapping[str, Any] | None = None,
    seed: int | None = None,
    budget: Budget | None = None,
    progress: Progress | None = None,
    config: Mapping[str, Any] | None = None,
) -> Comparison:
    """Explain one answer by several methods: it is generated once, and all of them explain the same tokens.

        >>> compare(model, "The cat", methods=["gradient", GradCAM(layers="all")]).show()  # doctest: +SKIP

    Args:
        methods: two or more, each as in `attribute`; the same one twice only with other options.
        progress: called with (done, total), in which each method has an equal share.

    All other arguments are those of `attribute`.

    Returns:
        The comparison: an attribution for each method, and how far their rankings agree.

    Raises:
        TokensalError: one sentence about what to put right; see `tokensal.errors`.
    """
    found = _explain(
        model,
        several(methods),
        score,
        budget,
        progress,
        config,
        prompt=prompt,
        messages=messages,
        continuation=continuation,
        max_new_tokens=max_new_tokens,
        generation=generation,
        seed=seed,
    )
    return Comparison(found)


def several(methods: Iterable[str | Method]) -> tuple[Method, ...]:
    """The methods of a comparison, made from their names where names are given.

    Raises:
        InputError: fewer than two, the same one twice, or an unknown name.
    """
    if isinstance(methods, str):
        raise InputError(f"The methods of a comparison should be a list, as in [{methods!r}, …], but are a string.")
    chosen = tuple(map(_built, methods))
    if len(chosen) < 2:
        raise InputError(f"A comparison needs at least two methods, but got {len(chosen)}: add one, or use attribute.")
    for method, count in Counter(map(repr, chosen)).items():
        if count > 1:
            raise InputError(f"Method {method} is given {count} times: give it once, or with other options.")
    return chosen


def _built(method: str | Method) -> Method:
    return build(method) if isinstance(method, str) else method


def _explain(
    model: ModelAdapter,
    methods: Sequence[Method],
    score: str,
    budget: Budget | None,
    progress: Progress | None,
    config: Mapping[str, Any] | None,
    **asked: Any,
) -> tuple[Attribution, ...]:
    """Make the example that is `asked` for, once, and have each method explain it."""
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    if asked["seed"] is None and (asked["generation"] or {}).get("do_sample"):
        asked["seed"] = secrets.randbits(32)
    example = model.example(**asked)
    found = []
    for index, method in enumerate(methods):
        started = time.perf_counter()
        engine = Engine(model, SCORES[score], budget=budget, progress=_share(progress, index, len(methods)))
        scores = method(example, engine)
        seconds = round(time.perf_counter() - started, 3)
        made = {"score": score, "seed": asked["seed"], "seconds": seconds, "config": dict(config or {})}
        found.append(_attribution(example, scores, method.signed, _provenance(model, method, made)))
    return tuple(found)


def _share(progress: Progress | None, index: int, count: int) -> Progress | None:
    """The progress of one of `count` works, as a part of the whole: each has an equal share."""
    return progress and (lambda done, total: progress(index * total + done, count * total))


def _provenance(model: ModelAdapter, method: Method, made: Mapping[str, Any]) -> Provenance:
    return Provenance(
        **model.describe(), method=name_of(method), method_repr=repr(method), versions=_versions(), **made
    )


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
