"""Subject and verb: does the verb agree with its subject, though another noun stands nearer?

The answer is explained against the same verb in the other number. The noun of the subject is gold: where its number is
the other one, the model should prefer the other verb; and where the number of the noun between them is, it should not.
"""

from __future__ import annotations

import random

from tokensal.evaluation.prompts.prompt import Prompt, Swap
from tokensal.evaluation.suites.kind import Kind, Text
from tokensal.evaluation.suites.vocabulary import words

NOUNS = words(
    "author boat book bottle cabinet car chair cat dancer doctor dog driver farmer friend garden house key lamp letter "
    "painter picture pilot report senator ship student table teacher tree window"
)
BETWEEN = (
    "near the {}",
    "behind the {}",
    "beside the {}",
    "next to the old {}",
    "close to the large {}",
    "in front of the {}",
)
BEFORE = (
    "The",
    "We know that the",
    "Yesterday we learned that the",
    "After a long day, the",
    "Everybody says that the",
)
VERBS = ((" is", " are"), (" was", " were"), (" has", " have"))


def draw_agreement(rng: random.Random, depth: float, id: str) -> Prompt:
    """A subject, and a noun between it and its verb."""
    subject, between = ((noun, f"{noun}s") for noun in rng.sample(NOUNS, 2))
    number, other = rng.randint(0, 1), rng.randint(0, 1)
    verbs = rng.choice(VERBS)
    text = Text()
    text.add(f"{rng.choice(BEFORE)} {{}} {rng.choice(BETWEEN)}", subject=subject[number], between=between[other])
    right, wrong = verbs[number], verbs[1 - number]
    return Prompt(
        id=id,
        kind="agreement",
        prompt=text.text,
        continuation=right,
        contrast=wrong,
        gold=text.gold("subject"),
        swaps=(
            Swap((text.edit("subject", subject[1 - number]),), wrong, right),
            Swap((text.edit("between", between[1 - other]),), right, wrong),
        ),
    )


KIND = Kind(
    "agreement", "is or are, by contrast, with a noun in between; gold is the noun of the subject", draw_agreement
)
