"""`Case`: a question put to one model, tokenised and generated once, for any number of methods to explain."""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from tokensal.adapters import AnyAdapter, load
from tokensal.adapters.prompting import Messages, Text
from tokensal.engine import Budget, Engine, engine_of
from tokensal.errors import InputError, NonFiniteScores
from tokensal.methods import Method, build, differences, name_of
from tokensal.methods.removal import scores_without
from tokensal.options import Generation, values_of
from tokensal.questions.masks import unit_membership, visible_units
from tokensal.questions.question import Question
from tokensal.questions.selection import merge_tokens, select_contrasted, select_sources, select_targets
from tokensal.request import UNRECORDED, differing, joined, request_of
from tokensal.results.attribution import Alternative, Attribution, Provenance
from tokensal.scores import name_of as name_of_score
from tokensal.scores import resolve_score
from tokensal.surroundings import exact_surroundings
from tokensal.types import Diagnostic, Example, Group, Progress, Role, Scores, Unit
from tokensal.values import described, read_kind, read_text_or_ids
from tokensal.version import __version__


@dataclass(frozen=True, eq=False)
class Case:
    """A question put to one model: what `attribute` and `compare`, metrics and data sets stand on.

        >>> import tokensal
        >>> case = Case.of(tokensal.load("dates"), "the 3rd of March, 1987", question=Question(targets="output"))
        >>> case.explain("occlusion")  # doctest: +ELLIPSIS
        Attribution(Occlusion(...) of logprob, 1 targets × 13 sources, dates)
        >>> everything = torch.ones(1, len(case.example.units), dtype=torch.bool)
        >>> case.scores(everything).allclose(case.engine.original(case.example))
        True

    Attributes:
        question: what is asked.
        example: the tokens, with targets in groups and sources in units, as the question says.
        engine: scores and gradients of the example. Set its `progress` to be called with (done, total).
        alternatives: for each group, the tokens that the model held most likely where it begins.
        facts: what the provenance of a result says, whatever the method: of the model, the question, the seed.
    """

    question: Question
    example: Example
    engine: Engine
    alternatives: tuple[tuple[Alternative, ...], ...]
    facts: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        model: AnyAdapter | str | PathLike[str],
        prompt: Text | None = None,
        *,
        messages: Messages | None = None,
        template: Mapping[str, Any] | None = None,
        question: Question | None = None,
        generation: Generation | None = None,
        budget: Budget | None = None,
        progress: Progress | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> Case:
        """Tokenise the prompt, take or generate the answer, and select what the question is about.

        Args:
            model: as for `tokensal.attribute`, and so are prompt, messages, template, budget and config.
            progress: called with (done, total) as the work goes on.
            question: what is asked; by default, about each token of the answer.
            generation: the answer, or how to generate it.

        Raises:
            TokensalError: one sentence about what to put right; see `tokensal.errors`.
        """
        question, generation = question or Question(), generation or Generation()
        prompt = None if prompt is None else read_text_or_ids("prompt", prompt)
        read_kind("budget", budget, Budget, "a tokensal.Budget", optional=True)
        read_kind("config", config, Mapping, "a table", optional=True)
        read_kind("progress", progress, Callable, "a function of (done, total)", optional=True)
        model = adapter_of(model)
        if generation.seed is None and (generation.generation or {}).get("do_sample"):
            generation = replace(generation, seed=secrets.randbits(32))
        engine = engine_of(model, resolve_score(question.score), budget=budget, progress=progress)
        with exact_surroundings(model.device):
            example = _example(
                model, question, prompt=prompt, messages=messages, template=template, **values_of(generation)
            )
            alternatives = _alternatives(model, engine, example, question.alternatives)
        facts = {
            **model.describe(),
            "score": name_of_score(question.score),
            "seed": generation.seed,
            "question": question.differences(),
            "versions": versions(),
            "config": dict(config or {}),
            "request": joined(
                {UNRECORDED: ["model"]} if model.request is None else model.request,
                request_of({"prompt": prompt, "messages": messages, "template": template}),
                request_of(question.arguments()),
                request_of(differing(generation)),
            ),
        }
        return cls(question, example, engine, alternatives, facts)

    def explain(self, method: str | Method | type[Method]) -> Attribution:
        """What that method says of each source, for each target.

        Raises:
            TokensalError: one sentence about what to put right; see `tokensal.errors`.
        """
        method = build(method)
        started = time.perf_counter()
        with exact_surroundings(self.engine.adapter.device):
            scores = method(self.example, self.engine)
            provenance = Provenance(
                **self.facts,
                method=name_of(method),
                method_repr=repr(method),
                quantity=getattr(method, "quantity", ""),
                options=differences(method),
                seconds=round(time.perf_counter() - started, 3),
            )
            return self._attribution(scores, method, provenance)

    def scores(self, present: Tensor, *, replacement: str = "mask") -> Tensor:
        """The score of each group where some units are absent: (R, J) bool → (R, K).

        Args:
            present: which units are present; rows may come in any order.
            replacement: what an absent unit is replaced by, as in `tokensal.Occlusion`; a slot by its fillers, of which
                the mean counts.

        Raises:
            InputError: a table for another number of units, or a row that leaves nothing to predict a target from.
        """
        units = len(self.example.units)
        if present.ndim != 2 or present.shape[1] != units or present.dtype != torch.bool:
            raise InputError(
                f"A table of present units should be bool and have the shape (R, {units}), "
                f"but is {str(present.dtype).removeprefix('torch.')} and has the shape {tuple(present.shape)}."
            )
        with exact_surroundings(self.engine.adapter.device):
            absent = ((~present).float() @ unit_membership(self.example).to(present.device).float()) > 0
            return scores_without(self.example, self.engine, absent, replacement)

    def _attribution(self, scores: Scores, method: Method, provenance: Provenance) -> Attribution:
        example, visible = self.example, visible_units(self.example)
        if scores.scored is not None:
            visible = visible & scores.scored
        matrix = scores.matrix.detach().to("cpu", torch.float32)
        if not matrix[visible].isfinite().all():
            raise NonFiniteScores(
                f"Some contributions are not finite numbers, though the score {provenance.score} is; "
                f"{_non_finite_gradients(provenance.dtype, self.question.score, method)}."
            )
        fillers = {slot.start: slot.texts for slot in example.slots}
        units = ((start, merge_tokens(example.sources[start:stop])) for start, stop in example.units)
        sources = tuple(replace(unit, fillers=fillers.get(start)) for start, unit in units)
        return Attribution(
            text=example.text,
            sources=sources,
            targets=tuple(_target(example, group) for group in example.groups),
            scores=matrix.masked_fill(~visible, float("nan")),
            visible=visible,
            values=scores.values.detach().to("cpu", torch.float32),
            signed=method.signed,
            sink=_sink(example, sources),
            provenance=provenance,
            diagnostics={name: _stored(diagnostic) for name, diagnostic in scores.diagnostics.items()},
            encoder=sum(stop <= example.encoder for _, stop in example.units),
            alternatives=self.alternatives,
        )


def _non_finite_gradients(dtype: str, score: str | Callable[..., Tensor], method: Method) -> str:
    """Why contributions are not finite where the score is, and what to do."""
    if not isinstance(score, str):
        return "its gradient is not finite here: change the score, which may take a root or a logarithm of 0"
    if hasattr(method, "baseline"):
        return "its gradient is not finite on the way from the baseline: choose another one, such as 'zero' or 'mean'"
    if dtype in ("float16", "bfloat16"):
        return f"the gradients overflow in {dtype}: load the model with dtype='float32'"
    return "its gradient is not finite here: choose a method without gradients, such as 'occlusion'"


def adapter_of(model: AnyAdapter | str | PathLike[str]) -> AnyAdapter:
    """The model, loaded if it is a name or a path."""
    if isinstance(model, str | PathLike):
        return load(model)
    if not hasattr(model, "describe"):
        raise InputError(
            f"The model should be what tokensal.load returns, or its name, but is {described(model)}: adapt a model of "
            "your own with tokensal.adapt(model, tokenizer)."
        )
    return model


def _example(model: AnyAdapter, question: Question, **answer: Any) -> Example:
    """The example of a prompt and its answer, with what the question selects of it."""
    unit = question.unit if isinstance(question.unit, str) else "marked"
    example = model.example(**answer, explain=question.explain, marked=marks_of(question))
    if question.contrast is None:
        example = select_targets(example, question.targets)
    else:
        example = model.contrasted(*select_contrasted(example, question.targets), question.contrast)
    return select_sources(example, unit, question.sources)


def marks_of(question: Question) -> bool | Sequence[tuple[int, int]]:
    """Whether passages of the prompt are marked, or the characters of each."""
    return question.unit == "marked" if isinstance(question.unit, str) else question.unit


def _alternatives(
    model: AnyAdapter, engine: Engine, example: Example, count: int
) -> tuple[tuple[Alternative, ...], ...]:
    if not count:
        return ()
    ids, probabilities = engine.likeliest(example, count)
    return tuple(
        tuple(
            Alternative(id, model.spelled(id), probability)
            for id, probability in zip(ids[target].tolist(), probabilities[target].tolist(), strict=True)
        )
        for target in (group.targets[0] for group in example.groups)
    )


def _target(example: Example, group: Group) -> Unit:
    target = merge_tokens([example.targets[target] for target in group.targets])
    return replace(target, against="".join(example.targets[target].text for target in group.against))


def _sink(example: Example, sources: tuple[Unit, ...]) -> int | None:
    """The unit that is the sink; None where that is but a part of it, since a reader wants to see the rest."""
    for index, (start, stop) in enumerate(example.units):
        if example.sink is not None and start <= example.sink < stop:
            unit = sources[index]
            content = not unit.special and unit.role is not Role.TEMPLATE
            return None if content or len(unit.text.split()) > 1 else index
    return None


def _stored(diagnostic: Diagnostic) -> Diagnostic:
    allowed = diagnostic.allowed
    return replace(diagnostic, values=_plain(diagnostic.values), allowed=None if allowed is None else _plain(allowed))


def _plain(tensor: Tensor) -> Tensor:
    """Counts as they are, other numbers as float32, on the CPU."""
    return tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else tensor.dtype)


def versions() -> dict[str, str]:
    import transformers

    return {
        "tokensal": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
