"""The running text of an HTML page: what is drawn before the targets, the targets, and the text of a contrast.

A generated token is drawn once and plays two parts: a target to be selected, and, for the tokens after it, a source.
Where the targets are not the end of the sources (the explained tokens leave others out between them, or are explained
as words), all sources are drawn before the targets.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokensal.render.labels import Label
from tokensal.render.layout import Cell, Heatmap
from tokensal.render.sections import ANSWER, SOURCE, Passage
from tokensal.types import Role


@dataclass(frozen=True, slots=True)
class Mark:
    """One source or target: `gap`, the spaces it begins with, is left uncoloured so that words stand apart."""

    gap: str
    lines: tuple[str, ...]
    label: Label
    cell: Cell | None
    target: int | None


@dataclass(frozen=True, slots=True)
class Block:
    """Marks that stand together below a name; without one they need none."""

    name: str
    marks: tuple[Mark, ...]
    message: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """The whole text: blocks `before` the targets, the marks of these, and the text that was not written instead."""

    heads: tuple[str, str]
    before: tuple[Block, ...]
    after: tuple[Mark, ...]
    instead: Block | None

    @property
    def count(self) -> int:
        """How many sources stand before the targets."""
        return sum(len(block.marks) for block in self.before)


def running_text(heatmap: Heatmap) -> Text:
    """All sources in their order, and all targets."""
    first = first_shared(heatmap)
    passages = [passage for passage in heatmap.passages if passage.start < first]
    blocks = [_block(heatmap, passage, min(passage.stop, first)) for passage in passages]
    opening: tuple[Mark, ...] = ()
    if heatmap.encoder and whole(heatmap):  # what the decoder starts with belongs to the answer
        *blocks, start = blocks
        opening = start.marks
    unwritten = heatmap.passages[-1]
    return Text(
        heads=_heads(heatmap),
        before=tuple(blocks),
        after=(*opening, *_targets(heatmap, first)),
        instead=_block(heatmap, unwritten, unwritten.stop) if heatmap.contrasted else None,
    )


def whole(heatmap: Heatmap) -> bool:
    """Whether all that was generated is explained, so that what is drawn before it is the prompt and no more."""
    before = heatmap.sources[: first_shared(heatmap)]
    # a decoder's start token was not generated
    return all(label.role not in (Role.GENERATED, Role.CONTRAST) or label.sink for label in before)


def first_shared(heatmap: Heatmap) -> int:
    """The source that is also the first target: the last K - 1 sources are the targets but for the last one."""
    end = own(heatmap)
    first = end - len(heatmap.targets) + 1
    if first < 0:
        return end
    pairs = list(zip(heatmap.sources[first:end], heatmap.targets, strict=False))
    same = all(source.role is Role.GENERATED and source.text == target.text for source, target in pairs)
    return first if same else end


def own(heatmap: Heatmap) -> int:
    """How many sources are not the text of a contrast."""
    return heatmap.passages[-1].start if heatmap.contrasted else len(heatmap.sources)


def _heads(heatmap: Heatmap) -> tuple[str, str]:
    if not whole(heatmap):
        return ("sources", "explained")
    return (SOURCE, ANSWER) if heatmap.encoder else ("prompt", "generated")


def _block(heatmap: Heatmap, passage: Passage, stop: int) -> Block:
    """The sources of a passage up to `stop`, and what of it is no source where it is drawn to its end."""
    sources = [_source(heatmap, source) for source in range(passage.start, stop)]
    rest = [_mark(label, None, None) for label in passage.rest if label.role is Role.CONTRAST]
    return Block(passage.name, (*sources, *rest), passage.message)


def _targets(heatmap: Heatmap, first: int) -> tuple[Mark, ...]:
    shared = own(heatmap) - first
    return tuple(
        _mark(label, _cell(heatmap, first + target) if target < shared else None, target)
        for target, label in enumerate(heatmap.targets)
    )


def _source(heatmap: Heatmap, source: int) -> Mark:
    return _mark(heatmap.sources[source], _cell(heatmap, source), None)


def _cell(heatmap: Heatmap, source: int) -> Cell | None:
    return heatmap.overview.cells[source] if heatmap.overview.cells else None


def _mark(label: Label, cell: Cell | None, target: int | None) -> Mark:
    first, *others = label.pieces
    body = first.lstrip(" ") or first
    return Mark(first[: len(first) - len(body)], (body, *others), label, cell, target)
