"""Choosing: which targets are explained, as which sums; and which sources are credited, in which units.

Targets are said as a unit of the answer ("token", "word", "sentence", or "output" for all of it), as "text:…", as
"regex:…" (or a compiled pattern), or as the characters "start:stop" of the shown text; or as several of these.
Sources are said by their role, or as "special".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from tokensal.errors import InputError, known, unknown
from tokensal.questions import units
from tokensal.questions.units import Span
from tokensal.types import Example, Group, Role, Token, Unit

Targets = str | re.Pattern[str] | Span

SPECIAL = "special"
SOURCES = (*(role.value for role in Role), SPECIAL)
UNITS = (*units.UNITS, "marked")


def check(unit: str, sources: str | Sequence[str] | None) -> list[str]:
    """The names of the sources, as a list.

    Raises:
        InputError: an unknown kind of sources, or an unknown unit.
    """
    if unit not in UNITS:
        raise unknown("unit", unit, UNITS)
    return known("kind of sources:", sources or (), SOURCES)


def select_targets(example: Example, targets: Targets | Sequence[Targets]) -> Example:
    """The example with the chosen groups of targets, and without the targets and sources that these do not need.

    Raises:
        InputError: a choice that cannot be read, or that finds nothing.
    """
    found = [group for choice in _several(targets) for group in _found(example, choice)]
    used = sorted({target for group in found for target in group})
    place = {target: index for index, target in enumerate(used)}
    predictors = tuple(example.predictors[target] for target in used)
    return replace(
        example,
        sources=example.sources[: max(predictors) + 1],
        targets=tuple(example.targets[target] for target in used),
        predictors=predictors,
        groups=tuple(Group(tuple(place[target] for target in group)) for group in found),
        units=(),
        credited=(),
    )


def _several(targets: Targets | Sequence[Targets]) -> list[Targets]:
    if isinstance(targets, str | re.Pattern):
        return [targets]
    if isinstance(targets, tuple) and len(targets) == 2 and all(isinstance(end, int) for end in targets):
        return [targets]  # type: ignore[list-item]  # two numbers are characters
    return list(targets)  # type: ignore[arg-type]


def _found(example: Example, choice: Targets) -> list[tuple[int, ...]]:
    """The targets of each group that is meant."""
    if isinstance(choice, str) and choice in TARGET_UNITS:
        return [tuple(range(*span)) for span in TARGET_UNITS[choice](example.targets)]
    spans = list(_characters(example, choice))
    groups = [group for span in spans if (group := _touching(example, span))]
    if not groups:
        answer = "".join(token.text for token in example.targets)
        raise InputError(f"Targets {_said(choice)} are nowhere in what is to be explained, which is {answer!r}.")
    return groups


def _said(choice: Targets) -> str:
    return repr(choice.pattern if isinstance(choice, re.Pattern) else choice)


def _characters(example: Example, choice: Targets) -> Iterator[Span]:
    """The characters of the shown text that are meant."""
    if not isinstance(choice, str | re.Pattern):
        yield choice
    elif isinstance(choice, str) and (range_ := re.fullmatch(r"(\d+):(\d+)", choice)):
        yield int(range_[1]), int(range_[2])
    else:
        start = min(token.start for token in example.targets)
        stop = max(token.stop for token in example.targets)
        for match in _pattern(choice).finditer(example.text, start, stop):
            if match.end() > match.start():
                yield match.span()


def _pattern(choice: str | re.Pattern[str]) -> re.Pattern[str]:
    if isinstance(choice, re.Pattern):
        return choice
    kind, colon, said = choice.partition(":")
    if not colon or kind not in ("text", "regex"):
        raise unknown("targets", choice, [*TARGET_UNITS, "text:…", "regex:…", "start:stop"])
    try:
        return re.compile(re.escape(said) if kind == "text" else said)
    except re.error as error:
        raise InputError(f"The targets' regular expression {said!r} cannot be read: {error}.") from error


def _touching(example: Example, span: Span) -> tuple[int, ...]:
    """The targets with a character in the span; the white space that a token begins with does not count."""
    start, stop = span
    return tuple(
        index
        for index, token in enumerate(example.targets)
        if token.start + _blank(token) < stop and token.stop > start and token.stop > token.start
    )


def _blank(token: Token) -> int:
    return 0 if token.text.isspace() else len(token.text) - len(token.text.lstrip())


TARGET_UNITS: Mapping[str, Callable[[Sequence[Token]], Sequence[Span]]] = {
    "token": units.UNITS["token"],
    "word": units.UNITS["word"],
    "sentence": units.UNITS["sentence"],
    "output": lambda targets: [(0, len(targets))],
}


def select_contrasted(example: Example, targets: Targets | Sequence[Targets]) -> tuple[Example, range]:
    """The stretch of targets to be explained against another text: without a choice, the whole answer.

    Special tokens at the end of a whole answer are left out.

    Returns:
        The example without what is not needed for them, and the targets there.

    Raises:
        InputError: a choice of several pieces, or one that cannot be read or finds nothing.
    """
    if targets == "token":
        stop = len(example.targets)
        while stop > 1 and example.targets[stop - 1].special:
            stop -= 1
        return example, range(stop)
    chosen = select_targets(example, targets)
    if len(chosen.groups) > 1:
        raise InputError(
            f"A contrast explains one piece of text against another, but the targets are {len(chosen.groups)} pieces: "
            "choose one, such as 'output', or characters 'start:stop' of the text."
        )
    return chosen, range(len(chosen.targets))


def select_sources(example: Example, unit: str, sources: str | Sequence[str] | None) -> Example:
    """The example with its sources in units of that unit, of which those of the chosen roles are credited.

    Args:
        unit: see `UNITS`.
        sources: names of roles, or "special"; None credits everything.

    Raises:
        InputError: an unknown unit or role, or one that no source has.
    """
    wanted = check(unit, sources)
    split = _marked if unit == "marked" else units.UNITS[unit]
    spans = tuple(_split_at_parts(example, split))
    if sources is None:
        return replace(example, units=spans, credited=(True,) * len(spans))
    credited = tuple(_kind(example.sources[start]) in wanted for start, _ in spans)
    if not any(credited):
        there = sorted({_kind(token) for token in example.sources})
        raise InputError(f"No source is {' or '.join(wanted) or 'chosen'}; here they are {', '.join(there)}.")
    return replace(example, units=spans, credited=credited)


def _marked(tokens: Sequence[Token]) -> Sequence[Span]:
    return units.marked(tokens, [token.mark for token in tokens])


def _kind(token: Token) -> str:
    """What a source counts as: a special token of a template is the template's, any other is special."""
    return SPECIAL if token.special and token.role is not Role.TEMPLATE else token.role.value


def _split_at_parts(example: Example, split: Callable[[Sequence[Token]], Sequence[Span]]) -> Iterator[Span]:
    """Spans of what the encoder reads, and of what the decoder reads: none is of both."""
    for begin, part in ((0, example.sources[: example.encoder]), (example.encoder, example.sources[example.encoder :])):
        if part:
            yield from ((begin + start, begin + stop) for start, stop in split(part))


def merge_tokens(tokens: Sequence[Token]) -> Unit:
    """Neighbouring tokens as one; what they are is what the first of them is."""
    return Unit(
        ids=tuple(token.id for token in tokens),
        text="".join(token.text for token in tokens),
        start=tokens[0].start,
        stop=tokens[-1].stop,
        role=tokens[0].role,
        special=all(token.special for token in tokens),
    )
