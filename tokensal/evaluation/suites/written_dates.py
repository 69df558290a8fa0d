"""Dates as people write them, and where in the text the year, the month and the day stand.

The truth that the embedded model `dates` is trained on (`train_dates.py`) and that attributions are held against.

1. Draw a wording: one of many forms of a date, and a sentence around it, or random words, or nothing.
2. Write a date in it, and remember which characters say its year, its month and its day.
3. Write another year, month or day into the same wording: what changes in the answer must come from there.

Of all days a tenth is held out, the same ones for ever. Days first and months first are told apart by the mark between
them: 3.4.1987 is in April, and 3/4/1987, as Americans write it, in March. Two-digit years are not written.
"""

from __future__ import annotations

import calendar
import datetime
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from string import Formatter

PARTS = ("year", "month", "day")
YEARS = range(1800, 2100)
NUMBERS = range(1, 100)  # that sentences mention besides the date
HELD_OUT = 10  # one in so many days

IN_WORDS = (
    "the {nth} of {month}, {year}",
    "the {nth} of {month} {year}",
    "{nth} of {month} {year}",
    "{nth} {month} {year}",
    "{day} {month} {year}",
    "{day} {month}, {year}",
    "{day} {mon} {year}",
    "{month} {day}, {year}",
    "{month} {nth}, {year}",
    "{month} the {nth}, {year}",
    "{mon} {day}, {year}",
    "{mon}. {day}, {year}",
    "{weekday}, {day} {month} {year}",
    "{weekday}, {month} {day}, {year}",
    "{weekday} the {nth} of {month}, {year}",
    "the {nth} day of {month} in the year {year}",
    "{year}, on the {nth} of {month}",
    "{year}, {month} {day}",
    "{year} {month} {day}",
    "{day}-{mon}-{year}",
)
IN_NUMBERS = (
    "{day}.{number}.{year}",
    "{dd}.{mm}.{year}",
    "{number}/{day}/{year}",
    "{mm}/{dd}/{year}",
    "{year}/{number}/{day}",
    "{year}-{mm}-{dd}",
)
FORMS = (*IN_WORDS, *IN_NUMBERS)
SENTENCES = (
    "It happened on {date}.",
    "It was on {date} that the letter came.",
    "The letter is dated {date}, and was never answered.",
    "She was born on {date} in a small town.",
    "He died on {date}, {n} years old.",
    "On {date} the bridge was opened.",
    "We met on {date} at noon.",
    "The contract ends on {date}; please sign it.",
    "Room {n} is booked for {date}.",
    "The train of {date} was {n} minutes late.",
    "{name} was born on {date}.",
    "Dear {name}, thank you for your letter of {date}!",
    "{name} (born {date}) is a writer.",
    "When did {name} leave? On {date}, I think.",
    "Published: {date}",
    "Invoice {n}, {date}",
)
WORDS = tuple(
    re.findall(
        r"\w+",
        """a an and are as at be been before but by day did do for from had has have he her his I if in into is it its
        last me my next not of old on or our she since so than that the their them then there they this to until was we
        were what when which will with year you""",
    )
)
CASES: tuple[Callable[[str], str], ...] = (str.title, str.title, str.title, str.lower, str.upper)


@dataclass(frozen=True, slots=True)
class Wording:
    """How a date is written: its form, the sentence around it, its weekday, and the letters of names of months."""

    form: str
    sentence: str
    weekday: str
    case: Callable[[str], str] = str.title


@dataclass(frozen=True, slots=True)
class Written:
    """A date in words.

    Attributes:
        text: what is read.
        date: what it says; the answer is `iso`.
        spans: for each of `PARTS`, the characters [start, stop) of the text that say it.
        wording: how it was written.
    """

    text: str
    date: datetime.date
    spans: Mapping[str, tuple[int, int]]
    wording: Wording

    @property
    def iso(self) -> str:
        """The answer, such as 1987-03-03."""
        return self.date.isoformat()

    @property
    def ambiguous(self) -> bool:
        """Whether a number stands there twice, so that one could be taken for the other."""
        numbers = [int(number) for number in re.findall(r"\d+", self.text)]
        return len(set(numbers)) < len(numbers)


def ordinal(day: int) -> str:
    """1st, 2nd, 3rd, 4th …"""
    return f"{day}{'th' if 10 < day < 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


# What a field of a form says, and how
FIELDS: Mapping[str, tuple[str, Callable[[datetime.date], str]]] = {
    "year": ("year", lambda date: str(date.year)),
    "month": ("month", lambda date: calendar.month_name[date.month]),
    "mon": ("month", lambda date: calendar.month_abbr[date.month]),
    "number": ("month", lambda date: str(date.month)),
    "mm": ("month", lambda date: f"{date.month:02}"),
    "day": ("day", lambda date: str(date.day)),
    "dd": ("day", lambda date: f"{date.day:02}"),
    "nth": ("day", lambda date: ordinal(date.day)),
}


def write(date: datetime.date, wording: Wording) -> Written:
    """The date in that wording."""
    before, after = wording.sentence.split("{date}")
    text, spans = before, {}
    for words, field, *_ in Formatter().parse(wording.form):
        text += words
        if field == "weekday":
            text += wording.weekday
        elif field:
            part, say = FIELDS[field]
            value = wording.case(say(date)) if part == "month" else say(date)
            spans[part] = (len(text), len(text) + len(value))
            text += value
    return Written(text + after, date, spans, wording)


def draw(date: datetime.date, rng: random.Random) -> Written:
    """The date in a random wording, half of them in numbers alone: their order is hard to learn."""
    form = rng.choice(rng.choice((IN_WORDS, IN_NUMBERS)))
    return write(date, Wording(form, _sentence(rng), calendar.day_name[date.weekday()], rng.choice(CASES)))


def swapped(written: Written, part: str, rng: random.Random) -> Written:
    """The same text, even its weekday, with another year, month or day."""
    return write(rng.choice(list(_others(written.date, part))), written.wording)


def _others(date: datetime.date, part: str) -> Iterator[datetime.date]:
    for value in {"year": YEARS, "month": range(1, 13), "day": range(1, 32)}[part]:
        days = calendar.monthrange(value if part == "year" else date.year, value if part == "month" else date.month)[1]
        if value != getattr(date, part) and (value if part == "day" else date.day) <= days:
            yield date.replace(**{part: value})


def _sentence(rng: random.Random) -> str:
    """A sentence around {date}: none, one of the list, or random words, so that any words can stand there."""
    kind = rng.random()
    if kind < 0.3:
        return "{date}"
    if kind < 0.7:
        return rng.choice(SENTENCES).format(date="{date}", name=_name(rng), n=rng.choice(NUMBERS))
    before, after = ([_word(rng) for _ in range(rng.randint(0, 4))] for _ in range(2))
    return " ".join([*before, "{date}", *after])


def _word(rng: random.Random) -> str:
    return _name(rng) if rng.random() < 0.15 else rng.choice(WORDS)


def _name(rng: random.Random) -> str:
    """A word that nobody knows."""
    name = "".join(rng.choice("abcdefghijklmnopqrstuvwxyzäöüé") for _ in range(rng.randint(2, 6)))
    return rng.choice([name, name.title()])


@cache
def days() -> tuple[tuple[datetime.date, ...], tuple[datetime.date, ...]]:
    """The days to train on, and those that are held out; both in random, but always the same order."""
    first, last = datetime.date(YEARS[0], 1, 1), datetime.date(YEARS[-1], 12, 31)
    every = [first + datetime.timedelta(days) for days in range((last - first).days + 1)]
    random.Random(0).shuffle(every)
    return tuple(day for index, day in enumerate(every) if index % HELD_OUT), tuple(every[::HELD_OUT])


def held_out(count: int, seed: int = 0) -> list[Written]:
    """So many days that the model was not trained on, in random wordings."""
    rng = random.Random(f"held out {seed}")
    return [draw(day, rng) for day in rng.sample(days()[1], count)]
