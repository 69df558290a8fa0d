"""Questions whose answer stands in the prompt, at a place that is known: what an attribution should point at.

1. Draw a question: a fact that answers it, at a given depth among facts about other people ("key_value"), or hidden
   among sentences of ordinary prose ("needle").
2. The evidence is the value in that fact, a word that occurs nowhere else in the prompt.
3. Accept the question only if the model takes the answer from there: it answers rightly, and when the evidence is
   swapped for another value, it answers with that one.

All values of a prompt begin with different characters, so that the first token of an answer tells it from the others.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import tokensal
from tokensal.types import Token

SIZES = {"key_value": (3, 8), "needle": (11, 21)}  # facts or sentences in a prompt, the one that answers included
TRIES = 200  # a model that fails more often in a row cannot do the task


@dataclass(frozen=True, slots=True)
class Relation:
    """A fact about a person, the question that asks for it, and how the answer begins."""

    fact: str
    question: str
    lead: str
    values: Sequence[str]


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, and where in it the answer stands.

    Attributes:
        prompt: facts or prose, the question, and the beginning of the answer.
        answer: the value that comes next.
        other: a value of the same sort that is not in the prompt.
        evidence: the characters [start, stop) of the prompt that the answer is copied from.
        kind: one of `SIZES`.
    """

    prompt: str
    answer: str
    other: str
    evidence: tuple[int, int]
    kind: str

    @property
    def continuation(self) -> str:
        """The answer as it continues the prompt."""
        return self.answer if self.prompt.endswith(" ") else f" {self.answer}"

    def swapped(self) -> Question:
        """The same question with other evidence, and hence another answer. Swapped again, it is as before."""
        start, stop = self.evidence
        prompt = self.prompt[:start] + self.other + self.prompt[stop:]
        evidence = (start, start + len(self.other))
        return replace(self, prompt=prompt, answer=self.other, other=self.answer, evidence=evidence)


def draw(kind: str, depth: float, rng: random.Random) -> Question:
    """A question of that kind, with its evidence at that depth of the context: 0 is the beginning, 1 past the end."""
    relation, size = rng.choice(RELATIONS), rng.randint(*SIZES[kind])
    name, *names = rng.sample(NAMES, len(NAMES))
    answer, other, *values = _distinct(relation.values, rng)
    facts = [relation.fact.format(name=name, value=value) for name, value in zip(names, values, strict=False)]
    around = rng.sample(PROSE if kind == "needle" else facts, size - 1)
    before, after = around[: int(depth * size)], around[int(depth * size) :]
    fact, question, lead = (
        part.format(name=name, value=answer) for part in (relation.fact, relation.question, relation.lead)
    )
    prompt = " ".join([*before, fact, *after, f"Question: {question} Answer: {lead}"])
    start = len(" ".join([*before, fact])) - len(fact) + fact.index(answer)
    return Question(prompt, answer, other, (start, start + len(answer)), kind)


def accepted(model: tokensal.CausalAdapter, kind: str, count: int, seed: int) -> list[Question]:
    """As many questions that the model answers from the evidence, which stands at evenly spread depths.

    Raises:
        RuntimeError: the model fails again and again.
    """
    rng = random.Random(f"{kind} {seed}")
    questions = []
    for index in range(count):
        tries = (draw(kind, (index + 0.5) / count, rng) for _ in range(TRIES))
        question = next((each for each in tries if answers(model, each) and answers(model, each.swapped())), None)
        if question is None:
            raise RuntimeError(f"{model.name} failed {TRIES} {kind} questions in a row.")
        questions.append(question)
    return questions


def answers(model: tokensal.CausalAdapter, question: Question) -> bool:
    """Whether greedy generation gives the answer, token for token."""
    right = [token.id for token in model.example(question.prompt, continuation=question.continuation).targets]
    answer = model.example(question.prompt, max_new_tokens=len(right)).targets
    return [token.id for token in answer] == right


def evidence(question: Question, sources: Sequence[Token]) -> Tensor:
    """Which sources are the evidence: (S,) bool."""
    start, stop = question.evidence
    return torch.tensor([token.start < stop and token.stop > start for token in sources])


def _distinct(values: Sequence[str], rng: random.Random) -> list[str]:
    """The values in random order, of those that begin alike only one."""
    return list({value[0]: value for value in rng.sample(values, len(values))}.values())


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words("Tom Anna Ben Clara David Emma Felix Grace Henry Julia Karl Laura Maria Oscar Peter Rosa")

RELATIONS = (
    Relation(
        "{name} lives in {value}.",
        "Where does {name} live?",
        "{name} lives in",
        _words("Athens Berlin Cairo Dublin Geneva Lisbon London Madrid Moscow Oslo Paris Rome Tokyo Vienna Warsaw"),
    ),
    Relation(
        "{name} has a {value} as a pet.",
        "What pet does {name} have?",
        "{name} has a",
        _words("bird cat dog fish goat hamster lizard monkey parrot pig rabbit snake turtle wolf"),
    ),
    Relation(
        "{name} likes the colour {value}.",
        "Which colour does {name} like?",
        "{name} likes the colour",
        _words("black blue brown crimson gold green indigo orange pink purple red silver violet white yellow"),
    ),
    Relation(
        "{name} works as a {value}.",
        "What does {name} do?",
        "{name} works as a",
        _words("baker butcher carpenter dentist farmer gardener judge lawyer nurse painter pilot teacher writer"),
    ),
    Relation(
        "{name} bought some {value}.",
        "What did {name} buy?",
        "{name} bought some",
        _words("apples bananas bread cheese dates eggs figs grapes honey lemons milk nuts olives pears rice salt tea"),
    ),
    Relation(
        "The password of {name} is {value}.",
        "What is the password of {name}?",
        "The password of {name} is",
        _words("anchor bridge castle dragon falcon garden hammer island jacket kettle marble needle tiger window"),
    ),
    Relation(
        "The room of {name} is number {value}.",
        "Which number is the room of {name}?",
        "The room of {name} is number ",  # the model's numbers begin after a token that is the space
        [str(number) for number in range(100, 1000)],
    ),
)

PROSE = (
    "The rain had stopped before noon.",
    "A cart stood at the side of the road.",
    "Nobody had swept the yard that morning.",
    "The old clock was slow again.",
    "Smoke rose from two of the chimneys.",
    "Children were playing near the well.",
    "The mill had been closed for years.",
    "A letter lay open on the table.",
    "The path led down to the river.",
    "Most of the shops were still shut.",
    "In the evening the wind grew stronger.",
    "The fence needed a coat of paint.",
    "Someone was singing behind the house.",
    "The bus arrived a little late.",
    "Leaves covered the steps of the church.",
    "It was too warm for the season.",
    "The harvest had been better than expected.",
    "A lamp was burning in the kitchen.",
    "They had talked about it for a week.",
    "The last train left shortly before midnight.",
    "Snow was expected in the mountains.",
    "The door did not close properly.",
    "There was hardly any traffic that day.",
    "The soup was served with a large spoon.",
    "Everyone agreed that the speech was too long.",
    "The museum was being repaired.",
    "A boat drifted slowly past the pier.",
    "The meeting began with a short silence.",
    "Somebody had forgotten an umbrella.",
    "The news spread quickly through the village.",
)
