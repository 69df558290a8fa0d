"""The legend of every format: the marks and what they mean, and the sentences about signs and about missing scores.

A format shows the entries of those marks that it draws. The kinds in `OF_ROWS` belong to single rows (see `Row.kinds`);
all others hold for the heatmap.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tokensal.render.layout.labels import EMPTY, PIECE, Label, cut
from tokensal.render.layout.numbers import ordinal
from tokensal.types import Role

GENERATED, UNWRITTEN, SINK, CLIPPED = "›", "≠", "†", "‡"
PICTURES = {
    "↵": "line break",
    "⇥": "tab",
    "␣": "space",
    PIECE: "rest of a split character",
    EMPTY: "token without text",
}
SAMPLE = 12  # cells of a token that shows how such tokens look


class Kind(StrEnum):
    """What a mark marks, in the order of the legend."""

    NEGATIVE = "negative"
    BLANK = "blank"
    UNSEEN = "unseen"
    LEFT_OUT = "left_out"
    GENERATED = "generated"
    CONTRAST = "contrast"
    CLIPPED = "clipped"
    PICTURE = "picture"
    UNIT = "unit"
    SPECIAL = "special"
    TEMPLATE = "template"
    ORDINAL = "ordinal"


OF_ROWS = (Kind.NEGATIVE, Kind.BLANK, Kind.UNSEEN, Kind.LEFT_OUT, Kind.CLIPPED)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a legend: `sample` is the mark itself, or a text to be drawn in the style of its kind."""

    kind: Kind
    sample: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Legend:
    """What a reader needs to read a heatmap.

    `ends` say what negative and positive scores speak for; `sign_note` says it in a sentence, where that is not plain.
    `left_out_note` says how many sources have no score at all, if there are any.
    """

    entries: tuple[Entry, ...]
    ends: tuple[str, str]
    sign_note: str
    left_out_note: str


def legend(
    sources: Sequence[Label],
    targets: Sequence[Label],
    kinds: Collection[Kind],
    left_out: int,
    *,
    signed: bool,
    contrasted: bool,
    passed_on: int = 0,
    clip: float | None = None,
) -> Legend:
    """The legend of a heatmap.

    Args:
        sources: the labels of the sources.
        targets: the labels of the targets.
        kinds: those of `OF_ROWS` that occur.
        left_out: how many sources have no score for any target.
        signed: whether scores have a sign.
        contrasted: whether the answer is explained against another text.
        passed_on: how many of these are of the answer, and passed their credit on.
        clip: the percentile of |scores| at which scales end.
    """
    against, towards = ("for the contrast", "for the answer") if contrasted else ("against", "for")
    sign_note = "Positive speaks for the answer rather than the contrast, negative for the contrast."
    left_out_note = f"{left_out} of {len(sources)} sources have no score and no colour: {_reason(left_out, passed_on)}."
    meanings = {
        Kind.NEGATIVE: f"negative: speaks {against}",
        Kind.BLANK: "not visible to this token",
        Kind.UNSEEN: "not visible to any explained token",
        Kind.LEFT_OUT: left_out_note,
        Kind.CLIPPED: beyond(clip),
    }
    of_rows = (Entry(kind, CLIPPED if kind is Kind.CLIPPED else "abc", meanings[kind]) for kind in kinds)
    return Legend(
        entries=in_order((*of_rows, *_entries(sources, targets))),
        ends=(against, towards),
        sign_note=sign_note if signed and contrasted else "",
        left_out_note=left_out_note if left_out else "",
    )


def beyond(clip: float | None) -> str:
    """What the mark of a clipped score means."""
    return "beyond the end of the scale" + (f", which is the {ordinal(clip)} percentile" if clip else "")


def _reason(left_out: int, passed_on: int) -> str:
    """Why so many sources have no score."""
    passing = "of the answer passed their credit on to what they came from"
    if not passed_on:
        return "the question or the method leaves them out"
    if passed_on == left_out:
        return f"the tokens {passing}"
    return f"{passed_on} {passing}, the question or the method leaves out the others"


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries in the order of their kinds."""
    return tuple(sorted(entries, key=lambda entry: list(Kind).index(entry.kind)))


def _entries(sources: Sequence[Label], targets: Sequence[Label]) -> Iterator[Entry]:
    """The entries that hold for all rows."""
    everything = (*sources, *targets)
    roles = {label.role for label in everything}
    if Role.GENERATED in roles:
        yield Entry(Kind.GENERATED, GENERATED, "written by the model")
    if Role.CONTRAST in roles:
        yield Entry(Kind.CONTRAST, UNWRITTEN, "the contrast, not written")
    characters = {character for label in everything for character in label.text + label.name}
    yield from (Entry(Kind.PICTURE, picture, meaning) for picture, meaning in PICTURES.items() if picture in characters)
    if any(label.unit for label in sources):
        yield Entry(Kind.UNIT, "a b", "credited as one")
    if special := next((label for label in everything if label.special), None):
        yield Entry(Kind.SPECIAL, cut(special.name, SAMPLE), "special token")
    if template := next((label for label in sources if label.role is Role.TEMPLATE and not label.special), None):
        yield Entry(Kind.TEMPLATE, cut(template.name, SAMPLE), "of the chat template")
    if any(label.ordinal for label in sources):
        yield Entry(Kind.ORDINAL, "₁ ₂", "count tokens that look the same")
