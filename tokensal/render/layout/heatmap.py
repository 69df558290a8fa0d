"""What is drawn, before how: an `Attribution` becomes a `Heatmap`, and each format lowers that.

1. Each source and target becomes a label that is safe to draw (`labels`), and the running text is parted into sections
   (`sections`).
2. Each target becomes a row: a cell for each source, shaded by its score over the row's own limit (`rows`). The
   overview is one more row: the sum of the scores over the targets.
3. The legend says what marks and signs mean (`legend`), and the caption where the numbers came from and how exact they
   are (`diagnostics`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tokensal.errors import NonFiniteScores
from tokensal.render.layout import diagnostics
from tokensal.render.layout.labels import Label, drawable, label, labels, name_in_lists, subject
from tokensal.render.layout.legend import Legend, legend
from tokensal.render.layout.numbers import Scale, exact, percent
from tokensal.render.layout.rows import Row, Rows, Title
from tokensal.render.layout.sections import CONTRAST, Section, sections
from tokensal.results.attribution import Alternative, Attribution
from tokensal.types import Role, Unit

Facts = tuple[tuple[str, str], ...]  # (name, text) pairs, in the order to be shown


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Everything a format needs, and nothing about the model.

    The `sections` hold all sources, in order. Of an encoder–decoder model, the encoder reads the first `encoder`
    sources. The sources from `shared` on, before those of a contrast, are also the first targets. `complete` says that
    all that was generated is explained, and the sources before the targets are the prompt alone; `contrasted` that the
    answer is explained against another text. `score` is what is explained, and `noun` what a target is called.
    `considered` are, for each target, the names and shares of what the model might have written there, if that was
    asked. `method`, `subject` (the first words of the prompt) and `model` tell heatmaps apart. `caption` holds
    (name, text) pairs, in the order to be shown: model, method, score, dtype, versions …
    """

    sources: tuple[Label, ...]
    targets: tuple[Label, ...]
    sections: tuple[Section, ...]
    overview: Row
    rows: tuple[Row, ...]
    legend: Legend
    signed: bool
    sink: int | None
    encoder: int
    shared: int
    complete: bool
    contrasted: bool
    score: str
    noun: str
    considered: tuple[Facts, ...]
    method: str
    subject: str
    model: str
    caption: Facts

    @property
    def scored(self) -> tuple[int, ...]:
        """The sources that have a score for some target; the others are left out by the question or the method."""
        return tuple(cell.source for cell in self.overview.cells if cell.value is not None)

    @property
    def sink_apart(self) -> bool:
        """Whether there is a sink with a score that is left out of scales and rankings."""
        return any(cell.apart and cell.value is not None for cell in self.overview.cells)

    @property
    def value_scale(self) -> Scale:
        """How the explained scores of the targets are written."""
        values = [abs(row.value) for row in self.rows if row.value is not None and math.isfinite(row.value)]
        return Scale(max(values, default=0.0), signed=False)


def lay_out(attribution: Attribution, *, sink: bool = False) -> Heatmap:
    """Turn an attribution into a heatmap; `sink` counts the sink into limits and rankings.

    Raises:
        NonFiniteScores: a visible score is NaN or infinite.
    """
    if not attribution.scores[attribution.visible].isfinite().all():
        raise NonFiniteScores("A visible score is not a finite number, so there is no scale to draw it on.")
    sources = labels(attribution.sources, attribution.sink, attribution.text)
    targets = labels(attribution.targets)
    parts = sections(sources, attribution.encoder, labels(list(_ending(attribution))), _ending_of_contrast(attribution))
    contrasted = parts[-1].name == CONTRAST
    shared = _first_shared(sources[: parts[-1].start] if contrasted else sources, targets)
    # a decoder's start token was not generated
    complete = all(label.role not in (Role.GENERATED, Role.CONTRAST) or label.sink for label in sources[:shared])
    complete = complete and all(target.role is Role.GENERATED for target in targets)  # not where a prompt is explained
    noun = "target" if any(len(target.ids) > 1 for target in attribution.targets) else "token"
    overview, *rows = _rows(attribution, targets, noun, complete=complete, sink=sink)
    return Heatmap(
        sources=sources,
        targets=targets,
        sections=parts,
        overview=overview,
        rows=tuple(rows),
        legend=legend(
            sources,
            targets,
            {kind for row in (overview, *rows) for kind in row.kinds},
            sum(cell.value is None for cell in overview.cells),
            signed=attribution.signed,
            contrasted=contrasted,
        ),
        signed=attribution.signed,
        sink=attribution.sink,
        encoder=attribution.encoder,
        shared=shared,
        complete=complete,
        contrasted=contrasted,
        score=attribution.provenance.score,
        noun=noun,
        considered=tuple(tuple(map(_considered, row)) for row in attribution.alternatives),
        method=attribution.provenance.method,
        subject=subject(sources),
        model=drawable(attribution.provenance.model),
        caption=tuple(_caption(attribution, targets, rows)),
    )


def _rows(
    attribution: Attribution, targets: Sequence[Label], noun: str, *, complete: bool, sink: bool
) -> Iterator[Row]:
    """The sum over all targets, and then each of them."""
    table = [
        [score if visible else None for score, visible in zip(*row, strict=True)]
        for row in zip(attribution.scores.tolist(), attribution.visible.tolist(), strict=True)
    ]
    totals = [_total(column) for column in zip(*table, strict=True)]
    rows = Rows(attribution.signed, attribution.sink, apart=not sink, left_out=None in totals)
    count = len(targets)
    lead = f"Sum over all {'generated' if complete else 'explained'} {noun}s"
    yield rows.row(totals, Title(lead, "", f"{count} {noun}{'s' if count != 1 else ''}"), None, None)
    score, values = attribution.provenance.score, attribution.values.tolist()
    for target, scores in enumerate(table):
        number = exact(values[target])
        detail = f"{noun} {target + 1} of {count}{f' · {score} {number}' if number else ''}"
        yield rows.row(scores, Title("Sources of", targets[target].name, detail), target, values[target])


def _total(column: Iterable[float | None]) -> float | None:
    scores = [score for score in column if score is not None]
    return sum(scores) if scores else None


def _first_shared(read: Sequence[Label], targets: Sequence[Label]) -> int:
    """Of the sources before a contrast, that which is also the first target: the last K - 1 are the first targets."""
    first = len(read) - len(targets) + 1
    shared = list(zip(read[max(first, 0) :], targets, strict=False))
    same = all(source.role is Role.GENERATED and source.text == target.text for source, target in shared)
    return first if first >= 0 and same else len(read)


def _ending(attribution: Attribution) -> Iterator[Unit]:
    """What of the targets is not among the sources: at the end the last one, or the part of a word that is missing."""
    sources = set(attribution.sources)
    end = max((source.stop for source in attribution.sources if source.role is not Role.CONTRAST), default=0)
    for target in attribution.targets:
        if replace(target, against="") not in sources and (target.stop > end or not target.text):
            yield replace(target, text=target.text[max(end - target.start, 0) :], against="")


def _ending_of_contrast(attribution: Attribution) -> tuple[Label, ...]:
    """What of a contrast is not among the sources: its end."""
    contrast = "".join(target.against for target in attribution.targets)
    read = "".join(source.text for source in attribution.sources if source.role is Role.CONTRAST)
    missing = contrast.removeprefix(read) if contrast.startswith(read) else ""
    return (label(Unit((), missing, 0, len(missing), Role.CONTRAST)),) if missing else ()


def _considered(alternative: Alternative) -> tuple[str, str]:
    return name_in_lists(drawable(alternative.text) or "∅"), percent(alternative.probability)


def _caption(attribution: Attribution, targets: Sequence[Label], rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    provenance = attribution.provenance
    model = provenance.model if provenance.revision is None else f"{provenance.model} @ {provenance.revision}"
    pairs = [
        ("model", model),
        ("method", provenance.method_repr),
        ("score", provenance.score),
        *provenance.question.items(),
        ("dtype", provenance.dtype),
        *diagnostics.facts(attribution.diagnostics, targets, rows),
        ("tokensal", provenance.versions.get("tokensal", "")),
    ]
    yield from ((name, drawable(text).strip()) for name, text in pairs if text)
