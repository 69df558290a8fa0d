"""Retrieved passages: the prompt of a question that is answered from documents, one of which is relevant.

Each document tells of one village, in sentences of the same kinds. Gold is the value that the question asks for; with
`gold_units(…, passages=True)`, the whole document that it stands in.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tokensal.evaluation.prompts.prompt import Prompt, Swap
from tokensal.evaluation.suites.kind import Kind, Text, draw_distinct
from tokensal.evaluation.suites.vocabulary import ANIMALS, COLOURS, FOODS, NAMES, words

VILLAGES = words("Alding Brenford Corwick Dunmere Elsby Farlow Garton Hexley Ilsham Kelby Marston Norwell Oakham Penby")
DOCUMENTS = (3, 4)


@dataclass(frozen=True, slots=True)
class Topic:
    """A sentence about a village, with a {} for its name and one for the value; and how the answer begins."""

    sentence: str
    question: str
    lead: str
    values: Sequence[str]


TOPICS = (
    Topic("The mayor of {} is {}.", "Who is the mayor of {}?", "The mayor of {} is", NAMES),
    Topic("The farmers of {} sell {}.", "What do the farmers of {} sell?", "The farmers of {} sell", FOODS),
    Topic("The church of {} is {}.", "Which colour is the church of {}?", "The church of {} is", COLOURS),
    Topic("The flag of {} shows a {}.", "What does the flag of {} show?", "The flag of {} shows a", ANIMALS),
)


def draw_retrieved(rng: random.Random, depth: float, id: str) -> Prompt:
    """Documents, with the relevant one at that depth."""
    count = rng.randint(*DOCUMENTS)
    relevant, villages = int(depth * count), rng.sample(VILLAGES, count)
    asked_for, beside = rng.sample(TOPICS, 2)
    topics = [topic for topic in TOPICS if topic in (asked_for, beside)]
    values = {topic.sentence: draw_distinct(topic.values, rng) for topic in topics}
    text = Text(separator="\n")
    for number, village in enumerate(villages):
        template = f"[{number + 1}] " + " ".join(topic.sentence for topic in topics)
        pieces: dict[str, str] = {}
        for topic in topics:
            key = f"{number}" if topic is asked_for else f"{number} beside"
            pieces |= {f"village {key}": village, f"value {key}": values[topic.sentence][number]}
        text.add(template, **pieces)
    village, other = villages[relevant], values[asked_for.sentence][count]
    question, lead = (part.replace("{}", village) for part in (asked_for.question, asked_for.lead))
    text.add(f"Question: {question}\nAnswer: {lead}")
    return Prompt(
        id=id,
        kind="retrieval",
        prompt=text.text,
        continuation=f" {values[asked_for.sentence][relevant]}",
        targets=(0,),
        gold=text.gold(f"value {relevant}"),
        swaps=(Swap((text.edit(f"value {relevant}", other),), f" {other}"),),
        passages=tuple(text.passages),
    )


KIND = Kind(
    "retrieval",
    "a question to documents of which one is relevant; gold is the value in it",
    draw_retrieved,
)
