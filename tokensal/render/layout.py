"""What is drawn, before how: an `Attribution` becomes a `Heatmap` of cells, and each format lowers that.

1. Each source and target becomes a label that is safe to draw (see `labels`), and the running text is parted into
   passages (see `passages`).
2. Each target becomes a row: a cell for each source, shaded by its score over the row's own limit.
3. The overview is one more row: the sum of the scores over the targets.
4. The limit of a row is its largest |score|. The sink stands apart: it is left out of limits and rankings unless
   asked for, and is drawn at full strength, marked as clipped, where it lies outside the scale. Each row carries
   both limits, so that a legend can state them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tokensal.errors import NonFiniteScores
from tokensal.render.labels import Label, drawable, label, labels, named
from tokensal.render.sections import CONTRAST, Passage, passages
from tokensal.results.attribution import Alternative, Attribution
from tokensal.results.comparison import Comparison
from tokensal.types import Diagnostics, Role, Unit

Facts = tuple[tuple[str, str], ...]  # (name, text) pairs, in the order to be shown


@dataclass(frozen=True, slots=True)
class Cell:
    """One score, ready to be shaded.

    `value` is None where there is no score (causality forbids one, or the question or the method leaves the source
    out), and the cell is left blank. `shade` is value / limit within [-1, 1]; `clipped` says that the value lies
    outside; `apart` that it is the sink, left out of the ranking.
    """

    source: int
    value: float | None
    shade: float
    clipped: bool
    apart: bool


@dataclass(frozen=True, slots=True)
class Row:
    """The scores of one target (`target` None: the sum over all) on one colour scale, symmetric about zero.

    `limit` is the |score| drawn at full strength; `full_limit` what it would be with the sink counted in.
    `value` is the explained score of the target itself (the sum over all has none).
    """

    target: int | None
    value: float | None
    cells: tuple[Cell, ...]
    limit: float
    full_limit: float

    def top(self, count: int) -> list[Cell]:
        """The `count` visible cells with the largest |score| that are not zero, largest first, the sink left apart."""
        ranked = [cell for cell in self.cells if cell.value and not cell.apart]
        return sorted(ranked, key=lambda cell: -abs(cell.value or 0))[:count]


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Everything a renderer needs, and nothing about the model.

    The `passages` hold all sources, in order. Of an encoder–decoder model, the encoder reads the first `encoder`
    sources. `noun` is what a target is called. `considered` are, for each target, the names and shares of what the
    model might have written there, if that was asked.
    `caption` holds (name, text) pairs, in the order to be shown: model, method, score, dtype, versions …
    """

    sources: tuple[Label, ...]
    targets: tuple[Label, ...]
    passages: tuple[Passage, ...]
    overview: Row
    rows: tuple[Row, ...]
    signed: bool
    sink: int | None
    encoder: int
    noun: str
    considered: tuple[Facts, ...]
    caption: Facts

    @property
    def limit(self) -> float:
        """The |score| at full strength where all rows share one scale, as in a matrix."""
        return max((row.limit for row in self.rows), default=0.0)

    @property
    def scored(self) -> tuple[int, ...]:
        """The sources that have a score for some target; the others are left out by the question or the method."""
        return tuple(cell.source for cell in self.overview.cells if cell.value is not None)

    @property
    def contrasted(self) -> bool:
        """Whether the answer is explained against another text."""
        return self.passages[-1].name == CONTRAST


@dataclass(frozen=True, slots=True)
class Heatmaps:
    """What several methods say about the same tokens: M heatmaps, and how far their rankings agree.

    `names` are those of the methods, without their options. `shared` are the facts of the captions that hold for all;
    `own`, for each, those that do not, beginning with the method. `agreement` (M, M) has two decimals, None where it is
    undefined; `meaning` says what it is.
    """

    heatmaps: tuple[Heatmap, ...]
    names: tuple[str, ...]
    shared: Facts
    own: tuple[Facts, ...]
    agreement: tuple[tuple[float | None, ...], ...]
    meaning: str


def lay_out(attribution: Attribution, *, sink: bool = False) -> Heatmap:
    """Turn a result into cells; `sink` counts the sink into limits and rankings.

    Raises:
        NonFiniteScores: a visible score is NaN or infinite.
    """
    if not attribution.scores[attribution.visible].isfinite().all():
        raise NonFiniteScores("A visible score is not a finite number, so there is no scale to draw it on.")
    apart = None if sink else attribution.sink
    table = [
        [score if seen else None for score, seen in zip(scores, visible, strict=True)]
        for scores, visible in zip(attribution.scores.tolist(), attribution.visible.tolist(), strict=True)
    ]
    values = attribution.values.tolist()
    rows = [_row(scores, apart, target, values[target]) for target, scores in enumerate(table)]
    totals = [_total(column) for column in zip(*table, strict=True)]
    sources = labels(attribution.sources, attribution.sink, attribution.text)
    return Heatmap(
        sources=sources,
        targets=labels(attribution.targets),
        passages=passages(sources, attribution.encoder, labels(list(_beyond(attribution))), _unwritten(attribution)),
        overview=_row(totals, apart, None, None),
        rows=tuple(rows),
        signed=attribution.signed,
        sink=attribution.sink,
        encoder=attribution.encoder,
        noun="target" if any(len(target.ids) > 1 for target in attribution.targets) else "token",
        considered=tuple(tuple(map(_considered, row)) for row in attribution.alternatives),
        caption=_caption(attribution),
    )


def _beyond(attribution: Attribution) -> Iterator[Unit]:
    """What of the targets is not among the sources: at the end the last one, or the part of a word that is missing."""
    sources = set(attribution.sources)
    end = max((source.stop for source in attribution.sources if source.role is not Role.CONTRAST), default=0)
    for target in attribution.targets:
        if replace(target, against="") not in sources and (target.stop > end or not target.text):
            yield replace(target, text=target.text[max(end - target.start, 0) :], against="")


def _unwritten(attribution: Attribution) -> tuple[Label, ...]:
    """What of a contrast is not among the sources: its end."""
    whole = "".join(target.against for target in attribution.targets)
    read = "".join(source.text for source in attribution.sources if source.role is Role.CONTRAST)
    missing = whole.removeprefix(read) if whole.startswith(read) else ""
    return (label(Unit((), missing, 0, len(missing), Role.CONTRAST)),) if missing else ()


def _considered(one: Alternative) -> tuple[str, str]:
    share = one.probability
    percent = f"{share:.0%}" if share >= 0.095 else f"{share:.1%}" if share >= 0.0005 else "<0.1%"
    return named(drawable(one.text) or "∅"), percent.replace("%", "\u00a0%")


def lay_out_comparison(comparison: Comparison, *, sink: bool = False) -> Heatmaps:
    """Turn a comparison into heatmaps and a table; `sink` counts the sink into limits and rankings.

    Raises:
        NonFiniteScores: a visible score is NaN or infinite.
    """
    heatmaps = tuple(lay_out(attribution, sink=sink) for attribution in comparison.attributions)
    captions = [set(heatmap.caption) for heatmap in heatmaps]
    common = {fact for fact in set.intersection(*captions) if fact[0] != "method"}
    left_out = ", the sink left out" if heatmaps[0].sink is not None and not sink else ""
    meaning = (
        f"Spearman correlation of how two methods rank the visible sources{left_out}, averaged over the targets: "
        "1 the same order, 0 unrelated, −1 reversed. Magnitudes are ranked, since some methods have no sign."
    )
    return Heatmaps(
        heatmaps=heatmaps,
        names=tuple(made.provenance.method for made in comparison.attributions),
        shared=tuple(fact for fact in heatmaps[0].caption if fact in common),
        own=tuple(
            (*(fact for fact in heatmap.caption if fact not in common), ("time", f"{made.provenance.seconds:.2f} s"))
            for heatmap, made in zip(heatmaps, comparison.attributions, strict=True)
        ),
        agreement=tuple(tuple(map(_hundredths, row)) for row in comparison.agreement(sink=sink).tolist()),
        meaning=meaning,
    )


def _hundredths(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2) + 0.0  # and never -0


def _total(column: Iterable[float | None]) -> float | None:
    seen = [score for score in column if score is not None]
    return sum(seen) if seen else None


def _row(scores: list[float | None], apart: int | None, target: int | None, value: float | None) -> Row:
    sizes = [0.0 if score is None else abs(score) for score in scores]
    full_limit = max(sizes, default=0.0)
    limit = max((size for source, size in enumerate(sizes) if source != apart), default=0.0) or full_limit
    cells = [_cell(source, score, limit, source == apart) for source, score in enumerate(scores)]
    return Row(target, value, tuple(cells), limit, full_limit)


def _cell(source: int, score: float | None, limit: float, apart: bool) -> Cell:
    if score is None or limit == 0.0:
        return Cell(source, score, 0.0, clipped=False, apart=apart)
    return Cell(source, score, max(-1.0, min(1.0, score / limit)), clipped=abs(score) > limit, apart=apart)


def _caption(attribution: Attribution) -> Facts:
    made = attribution.provenance
    model = made.model if made.revision is None else f"{made.model} @ {made.revision}"
    pairs = [
        ("model", model),
        ("method", made.method_repr),
        ("score", made.score),
        *made.question.items(),
        ("dtype", made.dtype),
        ("certificate", _certified(attribution)),
        ("tokensal", made.versions.get("tokensal", "")),
    ]
    return tuple((name, drawable(text).strip()) for name, text in pairs if text)


def _certified(attribution: Attribution) -> str:
    """In a sentence: how far the scores are from adding up, and a warning for each target that missed its tolerance."""
    found = attribution.diagnostics
    if "convergence_delta" not in found or not len(attribution.targets):
        return ""
    shares = [_share(found, target) for target in range(len(attribution.targets))]
    nodes = sorted(found["gradients"].values.tolist())
    missed = [
        f"{label(token).name} ({share:.1%})"
        for token, share, reached in zip(
            attribution.targets, shares, found["convergence_delta"].reached.tolist(), strict=True
        )
        if not reached
    ]
    spread = f"{nodes[0]}" if nodes[0] == nodes[-1] else f"{nodes[0]}–{nodes[-1]}"
    middle = sorted(shares)[len(shares) // 2]
    warning = f"; ⚠ tolerance missed by {', '.join(missed)}" if missed else ""
    return f"unexplained: median {middle:.1%}, at most {max(shares):.1%}; {spread} gradients a target{warning}"


def _share(found: Diagnostics, target: int) -> float:
    """The residual as a share of the change of the score."""
    change, residual = (abs(found[name].values[target].item()) for name in ("total", "convergence_delta"))
    return residual / change if change else math.inf if residual else 0.0
