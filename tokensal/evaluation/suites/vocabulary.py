"""What prompts talk about: people, facts about them, sentences of prose. All of it is made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def words(text: str) -> tuple[str, ...]:
    """A text split at white space."""
    return tuple(text.split())


@dataclass(frozen=True, slots=True)
class Relation:
    """A fact about a person, and how it is asked for.

    In each text, the first {} is the person and, in facts, the second one the value.

    Attributes:
        fact: the fact.
        again: the same in other words.
        question: asks for the value.
        lead: how the answer begins.
        values: what may be true.
    """

    fact: str
    again: str
    question: str
    lead: str
    values: Sequence[str]


NAMES = words("Tom Anna Ben Clara David Emma Felix Grace Henry Julia Karl Laura Maria Oscar Peter Rosa")
CITIES = words("Athens Berlin Cairo Dublin Geneva Lisbon London Madrid Moscow Oslo Paris Rome Tokyo Vienna Warsaw")
ANIMALS = words("bird cat dog fish goat hamster lizard monkey parrot pig rabbit snake turtle wolf")
COLOURS = words("black blue brown crimson gold green indigo orange pink purple red silver violet white yellow")
TRADES = words("baker butcher carpenter dentist farmer gardener judge lawyer nurse painter pilot teacher writer")
FOODS = words("apples bananas bread cheese dates eggs figs grapes honey lemons milk nuts olives pears rice salt tea")
THINGS = words("anchor bridge castle dragon falcon garden hammer island jacket kettle marble needle tiger window")

RELATIONS = (
    Relation("{} lives in {}.", "The home of {} is in {}.", "Where does {} live?", "{} lives in", CITIES),
    Relation("{} has a {} as a pet.", "The pet of {} is a {}.", "What pet does {} have?", "{} has a", ANIMALS),
    Relation(
        "{} likes the colour {}.",
        "The favourite colour of {} is {}.",
        "Which colour does {} like?",
        "{} likes the colour",
        COLOURS,
    ),
    Relation("{} works as a {}.", "The job of {} is that of a {}.", "What does {} do?", "{} works as a", TRADES),
    Relation("{} bought some {}.", "At the market, {} paid for some {}.", "What did {} buy?", "{} bought some", FOODS),
    Relation(
        "The password of {} is {}.",
        "To log in, {} types {}.",
        "What is the password of {}?",
        "The password of {} is",
        THINGS,
    ),
    Relation(
        "The room of {} is number {}.",
        "You find {} in room number {}.",
        "Which number is the room of {}?",
        "The room of {} is number ",  # a model's numbers may begin after a token that is the space
        tuple(str(number) for number in range(100, 1000)),
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
