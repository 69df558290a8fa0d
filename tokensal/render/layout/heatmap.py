"""What is drawn, before how: an `Attribution` becomes a `Heatmap`, and each format lowers that.

1. Each source and target becomes a label that is safe to draw (`labels`), and the running text is parted into sections
   (`sections`).
2. Each target becomes a row: a cell for each source, shaded by its score over the row's own limit (`rows`). So do the
   aggregations of several targets (`aggregation`): the mean share, with which a heatmap opens, and the sum.
3. The legend says what marks and signs mean (`legend`), and the caption where the numbers came from and how exact they
   are (`diagnostics`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tokensal.drawable import drawable
from tokensal.drawing import Drawing
from tokensal.errors import NonFiniteScores
from tokensal.render.layout import diagnostics
from tokensal.render.layout.aggregation import Table, mean_share, total
from tokensal.render.layout.labels import Label, label, labels, name_in_lists, shortened, subject
from tokensal.render.layout.legend import Legend, legend
from tokensal.render.layout.numbers import PERCENT, Scale, exact, percent
from tokensal.render.layout.rows import Row, Rows, Title
from tokensal.render.layout.sections import CONTRAST, Section, sections
from tokensal.results.attribution import DIRECT, Alternative, Attribution
from tokensal.results.reproduction import Recipe, recipe_of
from tokensal.types import Role, Unit

CONTRASTED = 40  # cells of an answer, or of what it is contrasted with, in the heading
DEFAULT = Drawing()
SCORE_NAMES = {"logprob": "log p", "logit": "the logit", "prob": "p", "entropy": "the entropy"}
UNITS = {"logprob": ", nats", "entropy": ", nats"}
Facts = tuple[tuple[str, str], ...]  # (name, text) pairs, in the order to be shown


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Everything a format needs, and nothing about the model.

    The `sections` hold all sources, in order. Of an encoder–decoder model, the encoder reads the first `encoder`
    sources. Where the sources from `shared` on, before those of a contrast, are also what the targets consist of,
    `places` are the first source of each target and where its sources end. `complete` says that all that was generated
    is explained, and the sources before the targets are the prompt alone; `contrasted` that the answer is explained
    against another text, the `foil`. `score` is what is explained, `quantity` what the score of a source is, with its
    unit; `noun` and `source_noun` are what a target and a source are called.
    `overviews` show all targets in one: the mean share and the sum, or the scores of the only target.
    `considered` are, for each target, the names and shares of what the model might have written there, if that was
    asked. `heading` says in a line what is shown: method, model, score and contrast; `subject` is the first words of
    the prompt. `caption` says where the numbers came from and how exact they are: model, method with all options,
    score, dtype, versions … `exactness` are those of its facts that say how exact they are. `recipe` says how the
    result is made again. Colours are in so many steps on either side of zero (`bins`), and scales end at the percentile
    `clip` of |scores|.
    """

    sources: tuple[Label, ...]
    targets: tuple[Label, ...]
    sections: tuple[Section, ...]
    overviews: tuple[Row, ...]
    rows: tuple[Row, ...]
    legend: Legend
    signed: bool
    sink: int | None
    encoder: int
    shared: int
    places: tuple[tuple[int, int], ...]
    complete: bool
    contrasted: bool
    foil: str
    score: str
    quantity: str
    noun: str
    source_noun: str
    considered: tuple[Facts, ...]
    heading: Facts
    subject: str
    caption: Facts
    exactness: Facts
    recipe: Recipe
    bins: int | None = None
    clip: float | None = None

    @property
    def overview(self) -> Row:
        """The one with which a heatmap opens."""
        return self.overviews[0]

    @property
    def scale(self) -> Scale:
        """One scale for all targets and their sum, on which equal scores look equal."""
        return Scale(max(row.limit for row in (self.overviews[-1], *self.rows)), self.signed, bins=self.bins)

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


def lay_out(attribution: Attribution, drawing: Drawing = DEFAULT, *, credit: bool = False) -> Heatmap:
    """Turn an attribution into a heatmap.

    Args:
        attribution: the scores.
        drawing: whether the sink counts into limits and rankings, where scales end, and in which steps colours are.
        credit: say of direct scores, too, that they are direct.

    Raises:
        NonFiniteScores: a visible score is NaN or infinite.
    """
    if not attribution.scores[attribution.visible].isfinite().all():
        raise NonFiniteScores("A visible score is not a finite number, so there is no scale to draw it on.")
    sources = _marked(labels(attribution.sources, attribution.sink, attribution.text), attribution)
    targets = labels(attribution.targets)
    ending = tuple(replace(label, explained=True) for label in labels(list(_ending(attribution))))
    parts = sections(sources, attribution.encoder, ending, _ending_of_contrast(attribution))
    contrasted = parts[-1].name == CONTRAST
    places = _places(attribution)
    shared = places[0][0] if places else parts[-1].start if contrasted else len(sources)
    # a decoder's start token was not generated
    complete = all(label.role not in (Role.GENERATED, Role.CONTRAST) or label.sink for label in sources[:shared])
    complete = complete and all(target.role is Role.GENERATED for target in targets)  # not where a prompt is explained
    noun = "target" if any(len(target.ids) > 1 for target in attribution.targets) else "token"
    overviews, rows = _rows(attribution, targets, noun, drawing, complete=complete)
    return Heatmap(
        sources=sources,
        targets=targets,
        sections=parts,
        overviews=overviews,
        rows=rows,
        legend=legend(
            sources,
            targets,
            {kind for row in (*overviews, *rows) for kind in row.kinds},
            sum(cell.value is None for cell in overviews[0].cells),
            signed=attribution.signed,
            contrasted=contrasted,
            passed_on=_passed_on(attribution, overviews[0]),
            clip=drawing.clip,
        ),
        signed=attribution.signed,
        sink=attribution.sink,
        encoder=attribution.encoder,
        shared=shared,
        places=places,
        complete=complete,
        contrasted=contrasted,
        foil=name_in_lists(drawable("".join(target.against for target in attribution.targets))) if contrasted else "",
        score=_score(attribution),
        quantity=_quantity(attribution),
        noun=noun,
        source_noun=_source_noun(attribution),
        considered=tuple(tuple(map(_considered, row)) for row in attribution.alternatives),
        heading=tuple(_heading(attribution, credit)),
        subject=subject(sources),
        caption=tuple(_caption(attribution, targets, rows, credit)),
        exactness=tuple(_exactness(attribution, targets, rows)),
        recipe=recipe_of(attribution),
        bins=drawing.bins,
        clip=drawing.clip,
    )


def _marked(sources: Sequence[Label], attribution: Attribution) -> tuple[Label, ...]:
    """The labels of the sources, with those marked that are explained, too: each target is a source of the next."""
    explained = {place for target in attribution.targets for place in range(target.start, target.stop)}
    pairs = zip(sources, attribution.sources, strict=True)
    return tuple(replace(label, explained=unit.start in explained) for label, unit in pairs)


def _rows(
    attribution: Attribution, targets: Sequence[Label], noun: str, drawing: Drawing, *, complete: bool
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """The aggregations of all targets, and the targets."""
    table = [
        [score if visible else None for score, visible in zip(*row, strict=True)]
        for row in zip(attribution.scores.tolist(), attribution.visible.tolist(), strict=True)
    ]
    apart, left_out = None if drawing.sink else attribution.sink, None in total(table)
    rows = Rows(attribution.signed, attribution.sink, apart, left_out, drawing.bins, drawing.clip)
    titles = [_title(attribution, targets, noun, index) for index in range(len(targets))]
    values = attribution.values.tolist()
    each = tuple(rows.row(table[index], titles[index], index, values[index]) for index in range(len(targets)))
    if len(table) == 1:
        return (rows.row(table[0], titles[0]),), each
    return tuple(_overviews(rows, table, f"{'generated' if complete else 'explained'} {noun}s", noun)), each


def _overviews(rows: Rows, table: Table, targets: str, noun: str) -> Iterator[Row]:
    count = f"{len(table)} {noun}s"
    of = f"{count} · shares of all |scores| of each {noun}"
    share = Title(f"Mean share over all {targets}", "", of, "mean share")
    yield rows.row(mean_share(table, rows.apart), share, unit=PERCENT)
    yield rows.row(total(table), Title(f"Sum over all {targets}", "", count, "sum"))


def _title(attribution: Attribution, targets: Sequence[Label], noun: str, index: int) -> Title:
    number = exact(attribution.values[index].item())
    detail = f"{noun} {index + 1} of {len(targets)}{f' · {_score(attribution)} {number}' if number else ''}"
    return Title("Why" if attribution.targets[index].against else "Sources of", targets[index].name, detail)


def _score(attribution: Attribution) -> str:
    """What is explained of a target; of a contrast, a difference."""
    contrasted = any(target.against for target in attribution.targets)
    return f"Δ {attribution.provenance.score}" if contrasted else attribution.provenance.score


def _quantity(attribution: Attribution) -> str:
    """What the score of a source is, in words and with its unit."""
    provenance = attribution.provenance
    explained = SCORE_NAMES.get(provenance.score, provenance.score)
    if any(target.against for target in attribution.targets):
        explained = f"Δ {explained.removeprefix('the ')}"
    template = provenance.quantity or f"score of {provenance.method} for {{score}}"
    unit = UNITS.get(provenance.score, "") if attribution.signed and "{score}" in template else ""
    return drawable(template.replace("{score}", explained) + unit)


def _source_noun(attribution: Attribution) -> str:
    unit = attribution.provenance.question.get("unit", "token")
    return unit if unit in ("token", "word", "sentence", "line", "message") else "source"


def _passed_on(attribution: Attribution, overview: Row) -> int:
    """How many sources of the answer have no score because they passed their credit on."""
    if attribution.provenance.credit == DIRECT:
        return 0
    cells = zip(attribution.sources, overview.cells, strict=True)
    return sum(source.role is Role.GENERATED and cell.value is None for source, cell in cells)


def _places(attribution: Attribution) -> tuple[tuple[int, int], ...]:
    """Of each target, the first of the sources that it consists of, and where they end; the last one may have none.

    Nothing where the targets are not the end of what is read, one after the other, or are of several roles.
    """
    read = [source for source in attribution.sources if source.role is not Role.CONTRAST]
    roles = {target.role for target in attribution.targets}
    start = min((target.start for target in attribution.targets), default=0)
    inside = (index for index, source in enumerate(read) if source.start >= start and source.role in roles)
    begin = next(inside, len(read))
    places = []
    for target in attribution.targets:
        end, missing = begin, target.ids
        while end < len(read) and missing:
            if missing[: len(read[end].ids)] != read[end].ids:
                return ()
            missing, end = missing[len(read[end].ids) :], end + 1
        places.append((begin, end))
        begin = end
    return tuple(places) if begin == len(read) and len(roles) == 1 else ()


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


def _heading(attribution: Attribution, credit: bool) -> Iterator[tuple[str, str]]:
    """What is shown, by short names; the caption has the long ones."""
    provenance = attribution.provenance
    options = " ".join(f"{name}={value}" for name, value in provenance.options.items())
    yield "method", drawable(f"{provenance.method} {options}").strip()
    yield "model", drawable(provenance.model.rstrip("/").rpartition("/")[2])
    yield "score", drawable(_score(attribution))
    if credit or provenance.credit != DIRECT:
        yield "credit", drawable(provenance.credit)
    if contrast := "".join(target.against for target in attribution.targets):
        answer = "".join(target.text for target in attribution.targets)
        names = [shortened(name_in_lists(drawable(text)), CONTRASTED) for text in (answer, contrast)]
        yield "contrast", f"why {names[0]}, not {names[1]}"


def _caption(
    attribution: Attribution, targets: Sequence[Label], rows: Sequence[Row], credit: bool
) -> Iterator[tuple[str, str]]:
    provenance = attribution.provenance
    model = provenance.model if provenance.revision is None else f"{provenance.model} @ {provenance.revision}"
    pairs = [
        ("model", model),
        ("method", provenance.method_repr),
        ("credit", provenance.credit if credit or provenance.credit != DIRECT else ""),
        ("score", _score(attribution)),
        ("scores are", _quantity(attribution) if provenance.quantity else ""),
        *provenance.question.items(),
        ("dtype", provenance.dtype),
        ("device", provenance.device),
        *_exactness(attribution, targets, rows),
        ("time", f"{provenance.seconds:.2f} s" if provenance.seconds else ""),
        *provenance.versions.items(),
    ]
    yield from ((name, drawable(text).strip()) for name, text in pairs if text)


def _exactness(attribution: Attribution, targets: Sequence[Label], rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    facts = diagnostics.facts(attribution.diagnostics, targets, rows)
    yield from ((name, drawable(text).strip()) for name, text in facts if text)
