"""Selection: which targets are explained, as which sums; and which sources are credited, in which units.

Targets are named by a unit of the answer ("token", "word", "sentence", or "output" for all of it), by number, as
"text:…", as "regex:…" (or a compiled pattern), or as the characters "start:stop" of the shown text; or as several of
these.
Sources are named by their role, or as "special".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tokensal.errors import InputError, unknown
from tokensal.questions import units
from tokensal.questions.units import Span
from tokensal.types import Example, Group, Role, Token, Unit
from tokensal.values import described, is_whole, read_spans

Targets = str | int | re.Pattern[str] | Span  # an int is the number of a token

SPECIAL = "special"
SOURCES = (*(role.value for role in Role), SPECIAL)
UNITS = (*units.UNITS, "marked")
TARGET_UNITS: Mapping[str, Callable[[Sequence[Token]], Sequence[Span]]] = {
    "token": units.UNITS["token"],
    "word": units.UNITS["word"],
    "sentence": units.UNITS["sentence"],
    "output": lambda targets: [(0, len(targets))],
}


# Targets


def parse_targets(targets: Targets | Sequence[Targets]) -> list[Targets]:
    """What one or several names of targets mean: the name of a unit, a number, a compiled pattern, or characters.

    Raises:
        InputError: an unknown name, a regular expression that cannot be read, nothing at all, or something else.
    """
    several = (
        isinstance(targets, Iterable) and not isinstance(targets, str | bytes | Mapping) and not is_characters(targets)
    )
    parsed = [_parse(target) for target in (targets if several else [targets])]  # type: ignore[union-attr]
    if not parsed:
        raise InputError("There are no targets: name at least one, or leave them out to explain each token.")
    return parsed


def _parse(target: object) -> Targets:
    if is_whole(target):
        return int(target)  # type: ignore[call-overload, no-any-return]
    if is_characters(target):
        return read_spans("targets", target)[0]
    if isinstance(target, re.Pattern) and isinstance(target.pattern, str):
        return target
    if not isinstance(target, str):
        raise InputError(
            f"targets is {described(target)}, but should be text such as 'word' or 'text:…', the number of a token, a "
            "pattern of text, or characters (start, stop)."
        )
    if target in TARGET_UNITS:
        return target
    if re.fullmatch(r"-?\d+", target):
        return int(target)
    if characters := re.fullmatch(r"(\d+):(\d+)", target):
        return int(characters[1]), int(characters[2])
    kind, colon, content = target.partition(":")
    if not colon or kind not in ("text", "regex"):
        raise unknown("targets", target, [*TARGET_UNITS, "text:…", "regex:…", "start:stop"])
    try:
        return re.compile(re.escape(content) if kind == "text" else content)
    except re.error as error:
        raise InputError(f"The targets' regular expression {content!r} cannot be read: {error}.") from error


def is_characters(targets: object) -> bool:
    """Whether these are characters (start, stop): two numbers in a tuple, since those in a list are two tokens."""
    return isinstance(targets, tuple) and len(targets) == 2 and all(map(is_whole, targets))


def select_targets(example: Example, targets: Targets | Sequence[Targets]) -> Example:
    """The example with groups of those targets, and without the targets and sources that these do not need.

    Raises:
        InputError: targets that cannot be read, or that are not in the text.
    """
    groups = [group for target in parse_targets(targets) for group in _groups(example, target)]
    used = sorted({target for group in groups for target in group})
    position = {target: index for index, target in enumerate(used)}
    predictors = tuple(example.predictors[target] for target in used)
    return replace(
        example,
        sources=example.sources[: max(predictors) + 1],
        targets=tuple(example.targets[target] for target in used),
        predictors=predictors,
        groups=tuple(Group(tuple(position[target] for target in group)) for group in groups),
        units=(),
        credited=(),
    )


def _groups(example: Example, target: Targets) -> list[tuple[int, ...]]:
    """The tokens of each group that a parsed target means."""
    if isinstance(target, str):
        return [tuple(range(*span)) for span in TARGET_UNITS[target](example.targets)]
    if isinstance(target, int):
        count = len(example.targets)
        if not -count <= target < count:
            raise InputError(f"There is no target {target}: what is to be explained has {count} tokens, from 0 on.")
        return [(target % count,)]
    groups = [group for span in _characters(example, target) if (group := _touching(example, span))]
    if not groups:
        answer = "".join(token.text for token in example.targets)
        name = target.pattern if isinstance(target, re.Pattern) else target
        raise InputError(f"Targets {name!r} are nowhere in what is to be explained, which is {answer!r}.")
    return groups


def _characters(example: Example, target: re.Pattern[str] | Span) -> Iterator[Span]:
    """The characters of the shown text that are meant."""
    if not isinstance(target, re.Pattern):
        yield target
        return
    start = min(token.start for token in example.targets)
    stop = max(token.stop for token in example.targets)
    for match in target.finditer(example.text, start, stop):
        if match.end() > match.start():
            yield match.span()


def _touching(example: Example, span: Span) -> tuple[int, ...]:
    """The targets with a character in the span; the white space that a token begins with does not count."""
    start, stop = span
    return tuple(
        index
        for index, token in enumerate(example.targets)
        if token.start + _leading_blanks(token) < stop and token.stop > start and token.stop > token.start
    )


def _leading_blanks(token: Token) -> int:
    return 0 if token.text.isspace() else len(token.text) - len(token.text.lstrip())


def select_contrasted(example: Example, targets: Targets | Sequence[Targets]) -> tuple[Example, range]:
    """The passage to be explained against another text: where each token is a target, the answer as a whole.

    Special tokens at the end of the answer are left out then.

    Returns:
        The example without what is not needed for the passage, and its targets.

    Raises:
        InputError: several passages, or targets that cannot be read, or that are not in the text.
    """
    if parse_targets(targets) == ["token"]:
        stop = len(example.targets)
        while stop > 1 and example.targets[stop - 1].special:
            stop -= 1
        return example, range(stop)
    selected = select_targets(example, targets)
    if len(selected.groups) > 1:
        raise InputError(
            "A contrast explains one piece of text against another, but the targets are "
            f"{len(selected.groups)} pieces: choose one, such as 'output', or characters 'start:stop' of the text."
        )
    return selected, range(len(selected.targets))


# Sources


def select_sources(example: Example, unit: str, sources: str | Sequence[str] | None) -> Example:
    """The example with its sources in units of that kind, of which those of some roles are credited.

    Args:
        unit: see `UNITS`.
        sources: see `SOURCES`; None credits everything.

    Raises:
        InputError: a role that no source has.
    """
    split = _marked if unit == "marked" else units.UNITS[unit]
    spans = tuple(split_at_parts(example, split))
    if sources is None:
        return replace(example, units=spans, credited=(True,) * len(spans))
    roles = [sources] if isinstance(sources, str) else sources
    credited = tuple(_role(example.sources[start]) in roles for start, _ in spans)
    if not any(credited):
        present = sorted({_role(token) for token in example.sources})
        raise InputError(f"No source is {' or '.join(roles)}; here they are {', '.join(present)}.")
    return replace(example, units=spans, credited=credited)


def _marked(tokens: Sequence[Token]) -> Sequence[Span]:
    return units.marked(tokens, [token.mark for token in tokens])


def _role(token: Token) -> str:
    """What a source counts as: a special token of a template is the template's, any other is special."""
    return SPECIAL if token.special and token.role is not Role.TEMPLATE else token.role.value


def split_at_parts(example: Example, split: Callable[[Sequence[Token]], Sequence[Span]]) -> Iterator[Span]:
    """Spans of what the encoder reads, and of what the decoder reads: none is of both."""
    for begin, part in ((0, example.sources[: example.encoder]), (example.encoder, example.sources[example.encoder :])):
        if part:
            yield from ((begin + start, begin + stop) for start, stop in split(part))


def passages_of_units(example: Example, level: str) -> list[int]:
    """For each unit, the number of the sentence, message … that its first source is in."""
    spans = split_at_parts(example, units.UNITS[level])
    numbers = [number for number, (start, stop) in enumerate(spans) for _ in range(start, stop)]
    return [numbers[start] for start, _ in example.units]


def merge_tokens(tokens: Sequence[Token]) -> Unit:
    """Neighbouring tokens as one; what they are is what the first of them is."""
    places = [token.in_prompt for token in tokens if token.in_prompt and token.message == tokens[0].message]
    return Unit(
        ids=tuple(token.id for token in tokens),
        text="".join(token.text for token in tokens),
        start=tokens[0].start,
        stop=tokens[-1].stop,
        role=tokens[0].role,
        special=all(token.special for token in tokens),
        in_prompt=(min(start for start, _ in places), max(stop for _, stop in places)) if places else None,
        message=tokens[0].message if places else None,
    )
