"""The running text of an HTML page: what is drawn before the targets, the targets, and the text of a contrast.

A generated token is drawn once and plays two parts: a target to be selected, and, for the tokens after it, a source.
Where the targets are not the end of the sources (the explained tokens leave others out between them, or are explained
as words), all sources are drawn before the targets.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokensal.render.layout.heatmap import Heatmap
from tokensal.render.layout.labels import Label
from tokensal.render.layout.rows import Cell
from tokensal.render.layout.sections import ANSWER, SOURCE, Section
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
    end = heatmap.sections[-1].start if heatmap.contrasted else len(heatmap.sources)
    return tuple(
        _mark(label, _cell(heatmap, heatmap.shared + target) if heatmap.shared + target < end else None, target)
        for target, label in enumerate(heatmap.targets)
    )


def _cell(heatmap: Heatmap, source: int) -> Cell | None:
    return heatmap.overview.cells[source] if heatmap.overview.cells else None


def _mark(label: Label, cell: Cell | None, target: int | None) -> Mark:
    first, *others = label.pieces
    body = first.lstrip(" ") or first
    return Mark(first[: len(first) - len(body)], (body, *others), label, cell, target)
