"""Measure the stored explanations of a run: `evaluate_run`.

1. Methods are those of the run, made again from their reprs; baselines join them. One that cannot be made again can
   still be measured, by metrics that do not let it explain anything new.
2. An example becomes a trial: the case that was explained, asked again by what its provenance holds, with the ids of
   its answer. Its sources and targets must be those of the stored explanation.
3. The trial has the stored attributions in the place of new ones; from there on it is measured as `tokensal.evaluate`
   does it. Examples without any explanation are left out, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from os import PathLike
from typing import Any

from tokensal.adapters import AnyAdapter, load
from tokensal.case import Case, adapter_of
from tokensal.engine import Budget, Engine
from tokensal.errors import InputError
from tokensal.evaluation.baselines import BASELINES
from tokensal.evaluation.building import named_metrics
from tokensal.evaluation.journal import Journal, Line
from tokensal.evaluation.measuring import Study, evaluation_of, facts_of, measured, settings_of
from tokensal.evaluation.metric import Metric, Trial
from tokensal.evaluation.prompts.prompt import Gold, Prompt, gold_units
from tokensal.methods import METHODS, Method, build
from tokensal.methods.reading import read_method
from tokensal.options import MEASURED, Generation, Loading
from tokensal.progress import reporting
from tokensal.questions.question import Question
from tokensal.questions.selection import merge_tokens
from tokensal.request import UNRECORDED
from tokensal.results.attribution import Attribution
from tokensal.results.evaluation import Evaluation
from tokensal.runs.stored import Run, StoredExample, load_run
from tokensal.types import Example, Progress, Role, Scores
from tokensal.values import described, read_whole


@dataclass(frozen=True)
class StoredMethod:
    """A method of a run that cannot be made again: it has explained, and explains nothing new."""

    name: str
    text: str
    signed: bool

    summary = "what a run has stored"
    paper = ""

    def __call__(self, example: Example, engine: Engine) -> Scores:
        raise InputError(
            f"The run was made with {self.text}, which cannot be made again here, and a metric lets it explain again: "
            "leave out max_sensitivity, randomisation and random_target, or register the method (tokensal.register)."
        )

    def __repr__(self) -> str:
        return self.text


def evaluate_run(
    run: Run | str | PathLike[str],
    *,
    model: AnyAdapter | str | PathLike[str] | None = None,
    metrics: Iterable[str | Metric] = MEASURED,
    replacements: Sequence[str] = ("mask",),
    seed: int = 0,
    journal: str | PathLike[str] | None = None,
    budget: Budget | None = None,
    progress: Progress | bool | None = None,
    config: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Measure whether the maps that a run has stored are worth believing, without explaining anything again.

    Metrics that need to know the right words say nothing of examples without gold, and those that let a method explain
    another input do so.

    Args:
        run: what `tokensal.run` or `tokensal.load_run` returns, or the folder.
        model: by default that of the run, loaded as it was then; or where it is now, or the model itself.
        metrics: as for `tokensal.evaluate`, and so are all others.

    Returns:
        The evaluation; see `tokensal.results.evaluation.Evaluation`.

    Raises:
        InputError: nothing is explained in the run, the model is another one, or a value that is not allowed.
        FormatError: it is no folder of a run, or a part is damaged.
    """
    run = run if isinstance(run, Run) else load_run(run)
    measuring = named_metrics(metrics, replacements)
    first = next(iter(run), None)
    if first is None:
        raise InputError(f"Nothing is explained in {str(run.path)!r}, so there is nothing to measure: go on with it.")
    study = Study(methods_of(run, first), measuring, int(read_whole("seed", seed, most=2**32 - 1)))
    with reporting(progress) as report:
        model = _model(run, first, model)
        digest = str(run.folder.settings.get("digest", ""))
        notes = Journal.of(journal, settings_of(study, model, Question(), [digest]))
        prompts: list[Prompt] = []
        lines: list[Line] = []
        total, left_out = len({row["number"] for row in run.rows(["number"])}), 0
        for done, example in enumerate(run.examples()):
            if report is not None:
                report(done, total)
            if not example.attributions:
                left_out += 1
                continue
            prompt, key = prompt_of(example), f"{example.number} {example.id}"
            if (line := notes.finished.get(key)) is None:
                line = notes.add(measured(key, trial_of_example(example, prompt, model, study, budget), study))
            prompts.append(prompt)
            lines.append(line)
        if report is not None:
            report(total, total)
    facts = facts_of(study, model, run.folder.settings["question"])
    if left_out:
        facts["left out"] = f"{left_out} of {total} examples, which no method could explain"
    return evaluation_of(study, prompts, lines, facts, config or {})


def methods_of(run: Run, first: Attribution) -> dict[str, Method]:
    """The methods of a run by the names that its rows have, then the baselines."""
    named: dict[str, Any] = {}
    for name, text in run.folder.settings["methods"].items():
        if name not in BASELINES:
            known = [*METHODS.values(), *BASELINES.values()]
            named[name] = read_method(text, known) or StoredMethod(name.split()[0], text, first.signed)
    return named | {name: build(method) for name, method in BASELINES.items()}


def _model(run: Run, first: Attribution, model: AnyAdapter | str | PathLike[str] | None) -> AnyAdapter:
    """The model, which must be that of the run; what it is called, and where it runs, may differ."""
    adapter = adapter_of(model) if model is not None else _loaded(run, first.provenance.request)
    stored = run.folder.settings["model"]
    for name, value in adapter.describe().items():
        if name not in ("device", "model") and stored.get(name) != str(value):
            raise InputError(
                f"The run in {str(run.path)!r} is of a model whose {name} is {described(stored.get(name))}, but the "
                f"{name} of {adapter.name} is {described(str(value))}: pass the model that was explained."
            )
    return adapter


def _loaded(run: Run, request: Mapping[str, Any]) -> AnyAdapter:
    """The model that a run was made with, loaded by the same arguments; on the device that is here."""
    if not request or "model" in request.get(UNRECORDED, ()):
        raise InputError(
            f"The run in {str(run.path)!r} does not say how its model {run.folder.settings['model']['model']} is "
            "loaded: pass the model."
        )
    names = {each.name for each in fields(Loading)} - {"device", "device_map"}
    return load(**{name: value for name, value in request.items() if name in names})


def prompt_of(example: StoredExample) -> Prompt:
    """The prompt of an example as it was put to the model, with its gold."""
    record, request = example.record or {}, next(iter(example.attributions.values())).provenance.request
    messages = tuple(request.get("messages") or ())
    # a text that became a chat is its last message
    message = len(messages) - 1 if messages and "prompt" in record else None
    return Prompt(
        id=example.id,
        kind=record.get("kind", ""),
        prompt=None if messages else request.get("prompt"),
        messages=messages,
        contrast=record.get("contrast"),
        gold=tuple(_gold(span, message) for span in record.get("gold", ())),
    )


def _gold(span: Sequence[int], message: int | None) -> Gold:
    *own, start, stop = span
    return Gold(start, stop, own[0] if own else message)


def trial_of_example(
    example: StoredExample, prompt: Prompt, model: AnyAdapter, study: Study, budget: Budget | None = None
) -> Trial:
    """The trial of an example, with what the run has stored of it.

    Raises:
        InputError: what was asked is not held in the row, or the model reads other tokens now.
    """
    first = next(iter(example.attributions.values()))
    case = _case(example.id, first, prompt, model, budget)
    stored: dict[str, Attribution | str] = {}
    for name, method in study.methods.items():
        if (explained := example.attributions.get(name, example.errors.get(name))) is not None:
            stored[repr(method)] = explained
    gold = gold_units(prompt, case.example) if prompt.gold else None
    return Trial(case, gold, study.seed, stored=stored)


def _case(id: str, stored: Attribution, prompt: Prompt, model: AnyAdapter, budget: Budget | None) -> Case:
    """The case that was explained."""
    request = stored.provenance.request
    if unrecorded := set(request.get(UNRECORDED, ())) - {"model"}:
        raise InputError(
            f"The run does not hold what was asked of example {id!r}: {', '.join(sorted(unrecorded))}. Measure the "
            "methods with tokensal.evaluate in place of the run."
        )
    question = Question(**{each.name: request[each.name] for each in fields(Question) if each.name in request})
    case = Case.of(
        model,
        prompt.prompt,
        messages=list(prompt.messages) or None,
        template=request.get("template"),
        question=replace(question, alternatives=0),
        generation=Generation(continuation=request.get("continuation") or _answer(stored) or None),
        budget=budget,
    )
    if not _reads(case.example, stored):
        raise InputError(
            f"Example {id!r} has other tokens now than in the run: the tokenizer or its chat template has changed."
        )
    return case


def _reads(example: Example, stored: Attribution) -> bool:
    """Whether an example has the sources and the targets of an attribution."""
    sources = [merge_tokens(example.sources[start:stop]) for start, stop in example.units]
    targets = [tuple(example.targets[each].id for each in group.targets) for group in example.groups]
    return [(unit.ids, unit.role, unit.special) for unit in sources] == [
        (unit.ids, unit.role, unit.special) for unit in stored.sources
    ] and targets == [unit.ids for unit in stored.targets]


def _answer(stored: Attribution) -> list[int]:
    """The ids of the answer: those of the targets, where these are all of it; else what the model has read of it, and
    the targets that come behind all that it has read."""
    start = stored.encoder or None  # what the decoder starts with is no part of the answer
    generated = [number for number, unit in enumerate(stored.sources) if unit.role is Role.GENERATED]
    read = [stored.sources[number] for number in generated if number != start]
    targets = [(number, unit) for number, unit in enumerate(stored.targets) if unit.role is Role.GENERATED]
    ids, explained = [id for unit in read for id in unit.ids], [id for _, unit in targets for id in unit.ids]
    if explained[: len(ids)] == ids:
        return explained
    sees_all = stored.visible[:, generated[-1]]
    end = max(unit.stop for unit in read)
    selected = not sees_all.any()  # of the sources, so that places in the text have to tell
    behind = (unit for number, unit in targets if (unit.start >= end if selected else sees_all[number]))
    return [*ids, *(id for unit in behind for id in unit.ids)]
