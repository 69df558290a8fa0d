"""Which prompts count: those that a model answers rightly, and whose evidence is proved by swapping it.

1. The model gives the answer, token for token, where it takes the likeliest token each time; or, with a contrast, it
   holds the answer more likely than that. One forward of the prompt and its answer tells.
2. The same is true of each swap, with the answer that belongs to it.
3. A prompt that fails is left out, and the next one drawn. A model that fails again and again cannot do the task.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

import torch

from tokensal.adapters import AnyAdapter
from tokensal.errors import InputError
from tokensal.evaluation.prompts.prompt import Prompt, case_of
from tokensal.evaluation.suites.kind import Kind, candidates
from tokensal.types import Progress

MOST_FAILURES = 60  # in a row

Answers = Callable[[Prompt], bool]  # whether a model gives the answer of a prompt


@dataclass(frozen=True, slots=True)
class Sample:
    """The prompts of a kind that a model answers from the evidence, and how many were tried for them.

    Attributes:
        kind: its name.
        prompts: those that count, in the order in which they were drawn.
        misread: how many were left out because the answer was wrong.
        unproved: how many, because it did not follow a swap.
        seconds: what it took.
    """

    kind: str
    prompts: tuple[Prompt, ...]
    misread: int
    unproved: int
    seconds: float

    @property
    def tried(self) -> int:
        """How many prompts were drawn."""
        return len(self.prompts) + self.misread + self.unproved

    @property
    def acceptance(self) -> float:
        """The share that counts; NaN where none was drawn."""
        return len(self.prompts) / self.tried if self.tried else float("nan")


def verdict(prompt: Prompt, answers: Answers) -> str:
    """Whether a prompt counts: "accepted", or "misread" or "unproved".

    Raises:
        InputError: it has no swap that could prove anything.
    """
    if not prompt.swaps:
        raise InputError(f"Prompt {prompt.id!r} has no swap, so that nothing shows what its answer rests on: give one.")
    if not answers(prompt):
        return "misread"
    proved = all(answers(prompt.swapped(number)) for number in range(len(prompt.swaps)))
    return "accepted" if proved else "unproved"


def answers_rightly(model: AnyAdapter, prompt: Prompt) -> bool:
    """Whether the model gives the answer: see the first step of this module."""
    contrasted = prompt.contrast is not None
    case = case_of(prompt if contrasted else replace(prompt, targets="token"), model)  # all of the answer
    with case.engine.prepared():
        if contrasted:
            return bool(case.engine.original(case.example).sum() > 0)
        likeliest, _ = case.engine.likeliest(case.example, 1)
    expected = [token.id for token in case.example.targets]
    return likeliest[:, 0].equal(torch.tensor(expected))


def sample(
    kind: Kind,
    answers: Answers,
    count: int,
    seed: int,
    *,
    first: int = 0,
    progress: Progress | None = None,
) -> Sample:
    """So many prompts that count, or fewer where too many fail in a row.

    Args:
        kind: what is drawn.
        answers: whether the model gives the answer of a prompt.
        count: how many prompts.
        seed: of the draws. The prompts of a smaller count are the first ones of a larger one.
        first: how many prompts to pass over, of those that are drawn.
        progress: called with (accepted, count).
    """
    started, failures = time.perf_counter(), 0
    prompts: list[Prompt] = []
    tally = {"accepted": 0, "misread": 0, "unproved": 0}
    for prompt in islice(candidates(kind, seed), first, None):
        if len(prompts) == count or failures == MOST_FAILURES:
            break
        outcome = verdict(prompt, answers)
        tally[outcome] += 1
        failures = 0 if outcome == "accepted" else failures + 1
        if outcome == "accepted":
            prompts.append(prompt)
            if progress is not None:
                progress(len(prompts), count)
    seconds = round(time.perf_counter() - started, 3)
    return Sample(kind.name, tuple(prompts), tally["misread"], tally["unproved"], seconds)
