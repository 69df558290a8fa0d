"""Negation: is a review positive or negative, where one small word decides?

The answer is explained against the other opinion. "not" is gold, and so is "very" in its place: with the one for the
other, the model should prefer the other opinion.
"""

from __future__ import annotations

import random

from tokensal.evaluation.prompts.prompt import Prompt, Swap
from tokensal.evaluation.suites.kind import Kind, Text
from tokensal.evaluation.suites.vocabulary import words

LEAD = (
    "Review: I liked it. It was very good. Opinion: positive",
    "Review: It was not nice at all. Opinion: negative",
)
WORKS = words("book concert film lunch meal play show song story trip")
PRAISE = words("enjoyable exciting funny good great interesting nice pleasant")
DEGREES = (("not", " negative"), ("very", " positive"))


def draw_negation(rng: random.Random, depth: float, id: str) -> Prompt:
    """Two reviews with opinions, and one without."""
    (degree, opinion), (other, opposite) = rng.sample(DEGREES, 2)
    text = Text(separator="\n")
    for line in LEAD:
        text.add(line)
    text.add(f"Review: The {rng.choice(WORKS)} was {{}} {rng.choice(PRAISE)}. Opinion:", degree=degree)
    return Prompt(
        id=id,
        kind="negation",
        prompt=text.text,
        continuation=opinion,
        contrast=opposite,
        gold=text.gold("degree"),
        swaps=(Swap((text.edit("degree", other),), opposite, opinion),),
    )


KIND = Kind("negation", "whether a review is positive, by contrast; gold is the not or the very in it", draw_negation)
