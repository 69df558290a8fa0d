"""What is done with each example, as plain data that other processes can be sent; and the settings of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tokensal.adapters import AnyAdapter
from tokensal.case import Case, versions
from tokensal.engine import Budget
from tokensal.errors import InputError
from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.methods import Method, build, label_of
from tokensal.options import Generation
from tokensal.questions.question import Question
from tokensal.request import differing, request_of
from tokensal.run_options import PART_SIZE, Reading

VERSION = 1  # of the folder, its settings and its rows


@dataclass(frozen=True)
class Task:
    """What is done with each example.

    Attributes:
        methods: by the names that rows call them.
        question: what is asked of each.
        generation: how an answer is generated where an example has none.
        reading: how an example becomes a prompt.
        part_size: how many examples a part has.
    """

    methods: Mapping[str, Method]
    question: Question
    generation: Generation
    reading: Reading
    part_size: int = PART_SIZE

    def __post_init__(self) -> None:
        if self.generation.continuation is not None:
            raise InputError("A run has no continuation of its own: put the answers into a column 'answer'.")

    def settings(self, model: AnyAdapter, source: Mapping[str, Any]) -> dict[str, Any]:
        """What decides the numbers, as plain data: two runs of the same settings write the same rows."""
        described = {name: str(value) for name, value in model.describe().items() if name != "device"}
        return {
            "schema": "tokensal/run",
            "version": VERSION,
            "model": described,
            "methods": {name: repr(method) for name, method in self.methods.items()},
            "question": {"score": str(self.question.score), **self.question.differences()},
            "generation": request_of(differing(self.generation)),
            "reading": request_of(self.reading.content()),
            "source": dict(source),
            "part_size": self.part_size,
            "versions": versions(),
        }

    def generation_of(self, id: str) -> Generation:
        """How the answer of an example is generated: with a seed of its own, which its id and the run's seed tell."""
        if not (self.generation.generation or {}).get("do_sample"):
            return self.generation
        digest = hashlib.sha256(json.dumps([self.generation.seed or 0, id]).encode()).digest()
        return replace(self.generation, seed=int.from_bytes(digest[:4]))


def methods_by_name(methods: Iterable[str | Method | type[Method]]) -> dict[str, Method]:
    """The methods by the names that rows call them: those that differ in options have these in their names.

    Raises:
        InputError: no method, an unknown one, or the same one twice.
    """
    named: dict[str, Method] = {}
    for method in map(build, [methods] if isinstance(methods, str) else methods):
        name = label_of(method)
        if name in named:
            raise InputError(f"Method {name!r} is named twice: name it once.")
        named[name] = method
    if not named:
        raise InputError("There are no methods: name at least one, such as 'lrp'.")
    return named


def text_of_prompt(prompt: Prompt, task: Task) -> tuple[str | None, list[Any] | None]:
    """The text of an example, or the messages of a chat; one of both is None."""
    text, messages = prompt.prompt, list(prompt.messages)
    if task.reading.chat and text is not None:
        system = [] if task.reading.system is None else [{"role": "system", "content": task.reading.system}]
        return None, [*system, {"role": "user", "content": text}]
    return text, messages or None


def case_of_entry(prompt: Prompt, id: str, model: AnyAdapter, task: Task, budget: Budget | None) -> Case:
    """The case of an example: its own answer and contrast where it has them, else those of the task.

    Raises:
        TokensalError: one sentence about what to put right.
    """
    answer = prompt.continuation
    question = task.question if prompt.contrast is None else replace(task.question, contrast=prompt.contrast)
    text, messages = text_of_prompt(prompt, task)
    return Case.of(
        model,
        text,
        messages=messages,
        template=task.reading.template if messages else None,
        question=question,
        generation=task.generation_of(id) if answer is None else Generation(continuation=answer),
        budget=budget,
    )
