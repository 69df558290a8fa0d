"""Words that are written again in another order: an alignment that is known, word by word.

A few lines show the order, "moon tree -> tree moon", and the model goes on with the last one. Each word of the answer
is a target, whose gold is the word of that line that it is; with another word there, that word of the answer should
follow, and no other.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tokensal.evaluation.prompts.prompt import Prompt, Swap
from tokensal.evaluation.suites.kind import Kind, Text, draw_distinct
from tokensal.evaluation.suites.vocabulary import words

SHOWN = words(
    "moon tree ball chair red cat sun door gold fish paper road milk train wolf shoe hand stone lamp bread snow ship "
    "glass"
)
LINE = words("apple tiger river window garden castle money winter doctor bridge flower king horse lion ocean queen")


@dataclass(frozen=True, slots=True)
class Order:
    """In which order words are written again, and how many lines show it."""

    places: tuple[int, ...]
    lines: int


ORDERS = (Order((0, 1, 2), 3), Order((1, 0), 5))


def draw_reordered(rng: random.Random, depth: float, id: str) -> Prompt:
    """Lines of words."""
    order = rng.choice(ORDERS)
    count = len(order.places)
    shown = rng.sample(SHOWN, count * order.lines)
    line, others = _split(draw_distinct(LINE, rng), count)
    text = Text(separator="\n")
    for start in range(0, len(shown), count):
        example = shown[start : start + count]
        text.add(f"{' '.join(example)} -> {_answer(example, order)}")
    text.add(" ".join(["{}"] * count) + " ->", **{f"word {place}": word for place, word in enumerate(line)})
    swaps = []
    for place, other in enumerate(others[:count]):
        swapped = [other if index == place else word for index, word in enumerate(line)]
        swaps.append(Swap((text.edit(f"word {place}", other),), f" {_answer(swapped, order)}"))
    gold = (text.gold(f"word {place}", target=target) for target, place in enumerate(order.places))
    return Prompt(
        id=id,
        kind="reordering",
        prompt=text.text,
        continuation=f" {_answer(line, order)}",
        targets="word",
        gold=tuple(each for [each] in gold),
        swaps=tuple(swaps),
    )


def _split(values: list[str], count: int) -> tuple[list[str], list[str]]:
    return values[:count], values[count:]


def _answer(line: list[str], order: Order) -> str:
    return " ".join(line[place] for place in order.places)


KIND = Kind(
    "reordering",
    "a line of words, written again or backwards; gold of each word of the answer is where it stands in that line",
    draw_reordered,
)
