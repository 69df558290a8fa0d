"""Facts about people, and a question for one of them: what is copied from a place that is known.

facts       among facts of the same sort about other people
needle      among sentences of ordinary prose
redundant   the same fact twice, in two wordings, among others: either alone gives the answer
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tokensal.evaluation.prompts.prompt import Edit, Prompt, Swap
from tokensal.evaluation.suites.kind import Kind, Text, draw_distinct
from tokensal.evaluation.suites.vocabulary import NAMES, PROSE, RELATIONS, Relation

FACTS, SENTENCES, OTHERS = (3, 8), (11, 21), (2, 4)  # how many there are: the last, besides what is said twice


@dataclass(frozen=True, slots=True)
class Drawn:
    """A person and what is true of them, another value, and facts about others.

    All values begin with different characters, so that the first token of an answer tells it from the others.
    """

    relation: Relation
    name: str
    value: str
    other: str
    others: Sequence[tuple[str, str]]

    def ask(self, text: Text) -> None:
        """Add the question, and the beginning of the answer."""
        question, lead = (part.replace("{}", self.name) for part in (self.relation.question, self.relation.lead))
        text.add(f"Question: {question} Answer: {lead}")

    def answer(self, value: str) -> str:
        """A value as it continues the prompt."""
        return value if self.relation.lead.endswith(" ") else f" {value}"


def draw_relation(rng: random.Random) -> Drawn:
    """A person, and facts of the same sort about others."""
    relation = rng.choice(RELATIONS)
    name, *names = rng.sample(NAMES, len(NAMES))
    value, other, *values = draw_distinct(relation.values, rng)
    return Drawn(relation, name, value, other, list(zip(names, values, strict=False)))


def draw_among(kind: str, sizes: tuple[int, int], *, prose: bool, rng: random.Random, depth: float, id: str) -> Prompt:
    """A fact at that depth among others, or among sentences."""
    drawn, size = draw_relation(rng), rng.randint(*sizes)
    around = rng.sample(PROSE if prose else [_told(drawn, *each) for each in drawn.others], size - 1)
    text, place = Text(), int(depth * size)
    for sentence in around[:place]:
        text.add(sentence)
    text.add(drawn.relation.fact, name=drawn.name, value=drawn.value)
    for sentence in around[place:]:
        text.add(sentence)
    drawn.ask(text)
    return Prompt(
        id=id,
        kind=kind,
        prompt=text.text,
        continuation=drawn.answer(drawn.value),
        targets=(0,),
        gold=text.gold("value"),
        swaps=(Swap((text.edit("value", drawn.other),), drawn.answer(drawn.other)),),
        passages=tuple(text.passages),
    )


def draw_redundant(rng: random.Random, depth: float, id: str) -> Prompt:
    """A fact that is told twice: without either of them the answer stays, with another value in both it follows."""
    drawn, size = draw_relation(rng), rng.randint(*OTHERS)
    around = [_told(drawn, *each) for each in drawn.others[:size]]
    places = sorted((int(depth * (size + 1)), rng.randint(0, size)))
    wordings = rng.sample((drawn.relation.fact, drawn.relation.again), 2)
    text, told = Text(), []
    for number in range(size + 1):
        for which in (0, 1):
            if places[which] == number:
                text.add(wordings[which], **{f"name{which}": drawn.name, f"value{which}": drawn.value})
                told.append(text.passages[-1])
        if number < size:
            text.add(around[number])
    drawn.ask(text)
    answer = drawn.answer(drawn.value)
    both = tuple(text.edit(f"value{which}", drawn.other) for which in (0, 1))
    return Prompt(
        id=id,
        kind="redundant",
        prompt=text.text,
        continuation=answer,
        targets=(0,),
        gold=text.gold("value0", "value1"),
        swaps=(
            Swap(both, drawn.answer(drawn.other)),
            *(Swap((Edit(each.start, each.stop + 1),), answer) for each in told),  # with the space behind it
        ),
        passages=tuple(text.passages),
    )


def _told(drawn: Drawn, name: str, value: str) -> str:
    """A fact about another person."""
    return drawn.relation.fact.replace("{}", name, 1).replace("{}", value, 1)


def _facts(rng: random.Random, depth: float, id: str) -> Prompt:
    return draw_among("facts", FACTS, prose=False, rng=rng, depth=depth, id=id)


def _needle(rng: random.Random, depth: float, id: str) -> Prompt:
    return draw_among("needle", SENTENCES, prose=True, rng=rng, depth=depth, id=id)


FACTS_KIND = Kind("facts", "a fact among others about other people; gold is the value that is asked for", _facts)
NEEDLE_KIND = Kind("needle", "a fact among sentences of prose; gold is the value that is asked for", _needle)
REDUNDANT_KIND = Kind("redundant", "a fact that is told twice; gold is the value, both times", draw_redundant)
