"""Dates as people write them, for the embedded model `dates`, which writes them as 1987-03-03.

Year, month and day are three targets, and each has its own gold. With another year, month or day written in the same
place, that part of the answer should follow, and no other. Days are those that the model was not trained on; texts in
which a number stands twice are not drawn, since one could be taken for the other.
"""

from __future__ import annotations

import random

from tokensal.evaluation.prompts.prompt import Edit, Gold, Prompt, Swap
from tokensal.evaluation.suites.kind import Kind
from tokensal.evaluation.suites.written_dates import PARTS, Written, days, draw, swapped

TARGETS = (0, 2, 4)  # of year, mark, month, mark, day


def draw_date(rng: random.Random, depth: float, id: str) -> Prompt:
    """A day in a random wording."""
    written = draw(rng.choice(days()[1]), rng)
    while written.ambiguous:
        written = draw(rng.choice(days()[1]), rng)
    return Prompt(
        id=id,
        kind="dates",
        prompt=written.text,
        continuation=written.iso,
        targets=TARGETS,
        gold=tuple(Gold(*written.spans[part], target=target) for target, part in enumerate(PARTS)),
        swaps=tuple(_swap(written, part, rng) for part in PARTS),
    )


def _swap(written: Written, part: str, rng: random.Random) -> Swap:
    other = swapped(written, part, rng)
    start, stop = other.spans[part]
    return Swap((Edit(*written.spans[part], text=other.text[start:stop]),), other.iso)


KIND = Kind(
    "dates",
    "dates in words or numbers, to be written as 1987-03-03; gold are year, month and day, each for its part",
    draw_date,
    model="dates",
)
