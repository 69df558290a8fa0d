"""The two entry points, `attribute` and `compare`: the one place that joins a model, methods and the engine."""

from __future__ import annotations

import platform
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tokensal.adapters import ModelAdapter
from tokensal.adapters.prompting import Messages, Text
from tokensal.engine import Budget, Engine
from tokensal.engine.engine import Progress
from tokensal.errors import InputError, NonFiniteScores
from tokensal.methods import Method, build, name_of
from tokensal.questions.masks import visible_units
from tokensal.questions.selection import Targets, merge_tokens, select_contrasted, select_sources, select_targets
from tokensal.results.attribution import Alternative, Attribution, Provenance
from tokensal.results.comparison import Comparison
from tokensal.scores import chosen
from tokensal.scores import name_of as name_of_score
from tokensal.types import Diagnostic, Example, Group, Scores, Unit

COMPARED = ("gradient", "input_x_gradient", "occlusion", "attention_grad_cam")  # cheap, and of four kinds


def attribute(
    model: ModelAdapter,
    prompt: Text | None = None,
    *,
    messages: Messages | None = None,
    continuation: Text | None = None,
    method: str | Method = "gradient",
    score: str | Callable[..., Tensor] = "logprob",
    explain: str = "answer",
    targets: Targets | Sequence[Targets] = "token",
    contrast: Text | None = None,
    unit: str | Sequence[tuple[int, int]] = "token",
    sources: str | Sequence[str] | None = None,
    alternatives: int = 0,
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
        score: what is explained of each target: "logprob" (default), "logit", "prob", "entropy", or a function of
            your own, of the logits (…, G, V) and perhaps the target ids (G,), to (…, G).
        explain: which part of the text: the "answer", the "prompt" (why did the model expect this word of it?
            nothing is generated then), or "all".
        targets: what is explained as one: each "token" of that part, each "word" or "sentence", the whole "output",
            every place of a text ("text:Paris") or of a pattern ("regex:[0-9]+", or a compiled one), or the characters
            "start:stop" of the shown text; or several of these.
        contrast: another text, to explain why it was not written: the score of the answer (or of the one place that
            `targets` names) less that of this text in its place. Token against token where both have as many, else
            sum against sum.
        unit: what is credited as one: each "token", "word", "sentence", "line" or "message"; or "marked", what stands
            in [[…]] in the prompt; or the characters (start, stop) of such pieces. Methods that alter their
            input alter a whole unit; others add up the scores of its tokens.
        sources: what may be credited, or altered: the roles "system", "user", "assistant", "tool", "template" of a
            chat, "prompt" of a plain one, "generated", "contrast", or "special" tokens; None for all.
        alternatives: how many of the model's most likely tokens to state for each target.
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
    question = Question(explain, targets, contrast, unit, sources, alternatives)
    [found] = _explain(
        model,
        [_built(method)],
        score,
        question,
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
    score: str | Callable[..., Tensor] = "logprob",
    explain: str = "answer",
    targets: Targets | Sequence[Targets] = "token",
    contrast: Text | None = None,
    unit: str | Sequence[tuple[int, int]] = "token",
    sources: str | Sequence[str] | None = None,
    alternatives: int = 0,
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
        Question(explain, targets, contrast, unit, sources, alternatives),
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


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of an answer: the arguments of `attribute` that say which targets and which sources."""

    explain: str
    targets: Targets | Sequence[Targets]
    contrast: Text | None
    unit: str | Sequence[tuple[int, int]]
    sources: str | Sequence[str] | None
    alternatives: int

    def said(self) -> dict[str, str]:
        """What differs from explaining each token of the answer by every token, for the provenance."""
        usual = {"explain": "answer", "targets": "token", "unit": "token", "contrast": None, "sources": None}
        return {name: _said(getattr(self, name)) for name, value in usual.items() if getattr(self, name) != value}

    def example(self, model: ModelAdapter, **asked: Any) -> Example:
        """The example that is asked about: its targets in groups, its sources in units."""
        marked: bool | Sequence[tuple[int, int]] = self.unit == "marked" if isinstance(self.unit, str) else self.unit
        whole = model.example(**asked, explain=self.explain, marked=marked)
        if self.contrast is None:
            chosen = select_targets(whole, self.targets)
        else:
            chosen = model.contrasted(*select_contrasted(whole, self.targets), self.contrast)
        return select_sources(chosen, self.unit if isinstance(self.unit, str) else "marked", self.sources)


def _said(value: object) -> str:
    if isinstance(value, list | tuple) and not all(isinstance(part, int) for part in value):
        return ", ".join(map(_said, value))
    return str(getattr(value, "pattern", value))


def _explain(
    model: ModelAdapter,
    methods: Sequence[Method],
    score: str | Callable[..., Tensor],
    question: Question,
    budget: Budget | None,
    progress: Progress | None,
    config: Mapping[str, Any] | None,
    **asked: Any,
) -> tuple[Attribution, ...]:
    """Make the example that is `asked` for, once, and have each method explain it."""
    measure = chosen(score)
    if asked["seed"] is None and (asked["generation"] or {}).get("do_sample"):
        asked["seed"] = secrets.randbits(32)
    example = question.example(model, **asked)
    considered = _considered(model, example, question.alternatives)
    made = {
        "score": name_of_score(score),
        "seed": asked["seed"],
        "question": question.said(),
        "config": dict(config or {}),
    }
    found = []
    for index, method in enumerate(methods):
        started = time.perf_counter()
        engine = Engine(model, measure, budget=budget, progress=_share(progress, index, len(methods)))
        scores = method(example, engine)
        seconds = round(time.perf_counter() - started, 3)
        provenance = _provenance(model, method, {**made, "seconds": seconds})
        found.append(_attribution(example, scores, method.signed, provenance, considered))
    return tuple(found)


def _considered(model: ModelAdapter, example: Example, count: int) -> tuple[tuple[Alternative, ...], ...]:
    """What the model held most likely where each group begins."""
    if count < 0:
        raise InputError(f"alternatives is {count}, but a number of tokens is 0 or more.")
    if not count:
        return ()
    ids, probabilities = Engine(model).likeliest(example, count)
    return tuple(
        tuple(
            Alternative(id, model.spelled(id), probability)
            for id, probability in zip(ids[target].tolist(), probabilities[target].tolist(), strict=True)
        )
        for target in (group.targets[0] for group in example.groups)
    )


def _share(progress: Progress | None, index: int, count: int) -> Progress | None:
    """The progress of one of `count` works, as a part of the whole: each has an equal share."""
    return progress and (lambda done, total: progress(index * total + done, count * total))


def _provenance(model: ModelAdapter, method: Method, made: Mapping[str, Any]) -> Provenance:
    return Provenance(
        **model.describe(), method=name_of(method), method_repr=repr(method), versions=_versions(), **made
    )


def _attribution(
    example: Example,
    found: Scores,
    signed: bool,
    provenance: Provenance,
    alternatives: tuple[tuple[Alternative, ...], ...],
) -> Attribution:
    seen = visible_units(example)
    if found.scored is not None:
        seen = seen & found.scored
    matrix = found.matrix.detach().to("cpu", torch.float32)
    if not matrix[seen].isfinite().all():
        raise NonFiniteScores(
            f"Some contributions are not finite numbers; the gradients overflow in {provenance.dtype}: "
            "load the model with dtype='float32'."
        )
    sources = tuple(merge_tokens(example.sources[start:stop]) for start, stop in example.units)
    return Attribution(
        text=example.text,
        sources=sources,
        targets=tuple(_explained(example, group) for group in example.groups),
        scores=matrix.masked_fill(~seen, float("nan")),
        visible=seen,
        values=found.values.detach().to("cpu", torch.float32),
        signed=signed,
        sink=_sink(example, sources),
        provenance=provenance,
        diagnostics={name: _stored(diagnostic) for name, diagnostic in found.diagnostics.items()},
        encoder=sum(stop <= example.encoder for _, stop in example.units),
        alternatives=alternatives,
    )


def _explained(example: Example, group: Group) -> Unit:
    whole = merge_tokens([example.targets[target] for target in group.targets])
    return replace(whole, against="".join(example.targets[target].text for target in group.against))


def _sink(example: Example, sources: Sequence[Unit]) -> int | None:
    """The unit that is the sink; None where that is but a part of a longer text, which a reader wants to see."""
    for index, (start, stop) in enumerate(example.units):
        if example.sink is not None and start <= example.sink < stop:
            return index if len(sources[index].text.split()) <= 1 else None
    return None


def _stored(diagnostic: Diagnostic) -> Diagnostic:
    allowed = diagnostic.allowed
    return Diagnostic(_plain(diagnostic.values), None if allowed is None else _plain(allowed))


def _plain(tensor: Tensor) -> Tensor:
    """Counts as they are, other numbers as float32, on the CPU."""
    return tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else tensor.dtype)


def _versions() -> dict[str, str]:
    import transformers

    import tokensal

    return {
        "tokensal": tokensal.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
