"""A kind of prompts, how they are drawn one after another, and texts that remember where their pieces are."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tokensal.evaluation.prompts.prompt import Edit, Gold, Prompt, Span

Value = TypeVar("Value", bound=str)
GOLDEN = (5**0.5 - 1) / 2

Draw = Callable[[random.Random, float, str], Prompt]


@dataclass(frozen=True, slots=True)
class Kind:
    """How prompts of one kind are drawn.

    Attributes:
        name: how commands and tables call it.
        summary: what its prompts ask for, and what is gold, in a line.
        draw: from a generator of random numbers, a depth (0: the evidence stands at the beginning of the context; up to
            1, at its end) and an id to a prompt.
        chat: whether its prompts are chats.
        model: the only model that it is for, by name; "" for any.
    """

    name: str
    summary: str
    draw: Draw
    chat: bool = False
    model: str = ""


def candidates(kind: Kind, seed: int) -> Iterator[Prompt]:
    """The prompts of a kind, without end; each depends on the seed and its number alone, whatever came before.

    Depths go through [0, 1) by the golden ratio, so that those of any first few are spread evenly.
    """
    number = 0
    while True:
        id = f"{kind.name}-{seed}-{number}"
        yield kind.draw(random.Random(id), (number + 0.5) * GOLDEN % 1, id)
        number += 1


@dataclass(slots=True)
class Text:
    """A text that grows, and remembers where in it its pieces are.

        >>> text = Text()
        >>> text.add("Tom lives in {}.", city="Paris")
        >>> text.text, text.places["city"]
        ('Tom lives in Paris.', Span(start=13, stop=18, message=None))

    Attributes:
        message: of a chat, the number of the message that this is the content of.
        separator: what stands between parts.
        text: so far.
        places: the characters of each named piece.
        passages: the characters of each part that was added.
    """

    message: int | None = None
    separator: str = " "
    text: str = ""
    places: dict[str, Span] = field(default_factory=dict)
    passages: list[Span] = field(default_factory=list)

    def add(self, template: str, /, **pieces: str) -> None:
        """Add a part: a template with a {} for each of the named pieces, in their order."""
        self.text += self.separator if self.text else ""
        start = len(self.text)
        literal, *rest = template.split("{}")
        self.text += literal
        for (name, piece), literal in zip(pieces.items(), rest, strict=True):
            self.places[name] = Span(len(self.text), len(self.text) + len(piece), self.message)
            self.text += piece + literal
        self.passages.append(Span(start, len(self.text), self.message))

    def gold(self, *names: str, target: int | None = None) -> tuple[Gold, ...]:
        """The gold of those pieces."""
        places = (self.places[name] for name in names)
        return tuple(Gold(place.start, place.stop, place.message, target) for place in places)

    def edit(self, name: str, text: str) -> Edit:
        """Another text in the place of a piece."""
        place = self.places[name]
        return Edit(place.start, place.stop, place.message, text)


def draw_distinct(values: Sequence[str], rng: random.Random) -> list[str]:
    """The values in random order, of those that begin alike only one: so their first tokens differ, too."""
    return list({value[0]: value for value in rng.sample(values, len(values))}.values())
