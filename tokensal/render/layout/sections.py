"""Sections: where a running text is parted, and what stands above each part, in whatever format it is drawn.

1. What an encoder reads and what its decoder reads are two texts.
2. What was not written, of a contrast, stands behind both.
3. Of a chat, each message is a section, with what its template puts around it. Between two messages, the template's
   tokens are parted: those that end the one (`<|im_end|>`, or `[/INST]`) stay with it, and those that begin the other
   (`<|im_start|>user`) go with that. What a template says before the first message is a section of its own.

Anything else is one section, with nothing above it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from tokensal.render.layout.labels import Label
from tokensal.types import Role

SOURCE, ANSWER, CONTRAST = "source text", "answer", "instead"
CHAT = {Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL, Role.TEMPLATE}


@dataclass(frozen=True, slots=True)
class Section:
    """Sources `start` to `stop` of the running text, and the `rest` that ends it without being sources.

    `name` is what stands above it: who speaks, or which text it is; empty where there is but one. `message` says that
    it is somebody's who speaks.
    """

    name: str
    start: int
    stop: int
    rest: tuple[Label, ...] = ()
    message: bool = False


def sections(
    sources: Sequence[Label], encoder: int, rest: tuple[Label, ...], unwritten: tuple[Label, ...]
) -> tuple[Section, ...]:
    """The sections of all sources, in order and without gaps.

    Args:
        sources: the labels of the sources.
        encoder: how many of them an encoder reads, the first ones.
        rest: what ends the text without being sources.
        unwritten: what ends the contrast without being sources.
    """
    end = next((index for index, label in enumerate(sources) if label.role is Role.CONTRAST), len(sources))
    parts = _text(sources, 0, encoder, SOURCE, ()) if encoder else []
    parts += _text(sources, encoder, end, ANSWER if encoder else "", rest)
    if end < len(sources) or unwritten:
        parts.append(Section(CONTRAST, end, len(sources), unwritten))
    return tuple(parts)


def _text(sources: Sequence[Label], start: int, stop: int, name: str, rest: tuple[Label, ...]) -> list[Section]:
    """One section, or one for each message of a chat."""
    part = sources[start:stop]
    if not any(label.role in CHAT for label in part):
        return [Section(name, start, stop, rest)]
    begins = list(_messages(part, rest))
    ends = [begin for _, begin in begins[1:]] + [len(part)]
    messages = [
        Section(who, start + begin, start + end, message=True) for (who, begin), end in zip(begins, ends, strict=True)
    ]
    return [*messages[:-1], replace(messages[-1], rest=rest)]


def _messages(part: Sequence[Label], rest: Sequence[Label]) -> Iterator[tuple[str, int]]:
    """Who speaks in each message, and where it begins; the first begins where the part does."""
    speaker, ended = "", 0
    for role, begin, end in _runs([label.role for label in (*part, *rest)]):
        if role is Role.TEMPLATE:
            continue
        who = Role.ASSISTANT.value if role is Role.GENERATED else role.value
        template = part[ended:begin]
        if speaker and (template or who != speaker):
            yield who, ended + _closing(template)
        elif not speaker:
            preamble = _preamble(template)
            yield from [(Role.TEMPLATE.value, 0), (who, preamble)] if preamble else [(who, 0)]
        speaker, ended = who, end
    if not speaker:
        yield Role.TEMPLATE.value, 0


def _runs(roles: Sequence[Role]) -> Iterator[tuple[Role, int, int]]:
    """Each role as long as it lasts, from where to where."""
    end = 0
    for role, run in groupby(roles):
        begin, end = end, end + len(list(run))
        yield role, begin, end


def _closing(template: Sequence[Label]) -> int:
    """How many of the template's tokens between two messages end the first."""
    if edges := list(_edges(template)):
        return edges[0]
    if any(label.special for label in template):
        return len(template)
    return next((index for index, label in enumerate(template) if label.text.strip(" ↵")), len(template))


def _preamble(template: Sequence[Label]) -> int:
    """How many of the template's tokens before the first message say something of their own."""
    edge = max(_edges(template), default=0)
    return edge if any(not label.special and label.text.strip(" ↵") for label in template[:edge]) else 0


def _edges(template: Sequence[Label]) -> Iterator[int]:
    """The special tokens that follow the end of something: another special token, or a line break."""
    for index in range(1, len(template)):
        before = template[index - 1]
        if template[index].special and (before.special or before.lines):
            yield index
