"""The running text of an HTML page: what is drawn before the targets, the targets, and the text of a contrast.

A generated token is drawn once and plays two parts: a target to be selected, and, for the tokens after it, a source.
A target of several sources, a word of several tokens, is drawn as these. Where the targets are not the end of the
sources (the explained tokens leave others out between them), all sources are drawn before the targets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokensal.render.layout.heatmap import Heatmap
from tokensal.render.layout.labels import Label
from tokensal.render.layout.rows import Cell
from tokensal.render.layout.sections import ANSWER, SOURCE, Section
from tokensal.types import Role


@dataclass(frozen=True, slots=True)
class Mark:
    """One source or target: `gap`, the spaces it begins with, is left uncoloured so that words stand apart.

    A target that is not one source has `parts`, the sources that it consists of and what of it is none.
    """

    gap: str
    lines: tuple[str, ...]
    label: Label
    cell: Cell | None
    target: int | None
    parts: tuple[Mark, ...] = ()


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
    sections = [section for section in heatmap.sections if section.start < heatmap.shared]
    blocks = [_block(heatmap, section, min(section.stop, heatmap.shared)) for section in sections]
    opening: tuple[Mark, ...] = ()
    if heatmap.encoder and heatmap.complete:  # what the decoder starts with belongs to the answer
        *blocks, start = blocks
        opening = start.marks
    unwritten = heatmap.sections[-1]
    return Text(
        heads=_heads(heatmap),
        before=tuple(blocks),
        after=(*opening, *_targets(heatmap)),
        instead=_block(heatmap, unwritten, unwritten.stop) if heatmap.contrasted else None,
    )


def _heads(heatmap: Heatmap) -> tuple[str, str]:
    if not heatmap.complete:
        return ("sources", "explained")
    return (SOURCE, ANSWER) if heatmap.encoder else ("prompt", "generated")


def _block(heatmap: Heatmap, section: Section, stop: int) -> Block:
    """The sources of a section up to `stop`, and what of it is no source where it is drawn to its end."""
    sources = [_mark(heatmap.sources[source], _cell(heatmap, source), None) for source in range(section.start, stop)]
    rest = [_mark(label, None, None) for label in section.rest if label.role is Role.CONTRAST]
    return Block(section.name, (*sources, *rest), section.message)


def _targets(heatmap: Heatmap) -> tuple[Mark, ...]:
    places = heatmap.places or ((0, 0),) * len(heatmap.targets)
    return tuple(_target(heatmap, target, range(*place)) for target, place in enumerate(places))


def _target(heatmap: Heatmap, target: int, places: range) -> Mark:
    """One target, of the sources at these places."""
    label = heatmap.targets[target]
    sources = [_mark(heatmap.sources[source], _cell(heatmap, source), None) for source in places]
    missing = label.text[sum(len(source.label.text) for source in sources) :]
    if not sources or (len(sources) == 1 and not missing):
        return _mark(label, sources[0].cell if sources else None, target)
    first, *others = sources
    rest = [_mark(replace(label, pieces=(missing,)), None, None)] if missing else []
    return replace(_mark(label, None, target), gap=first.gap, parts=(replace(first, gap=""), *others, *rest))


def _cell(heatmap: Heatmap, source: int) -> Cell | None:
    return heatmap.overview.cells[source] if heatmap.overview.cells else None


def _mark(label: Label, cell: Cell | None, target: int | None) -> Mark:
    first, *others = label.pieces
    body = first.lstrip(" ") or first
    return Mark(first[: len(first) - len(body)], (body, *others), label, cell, target)
