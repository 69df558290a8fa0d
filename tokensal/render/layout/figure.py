"""Figures: what a paper shows of a heatmap, decided once for LaTeX, SVG, PDF, PNG and reports.

`lay_out_figure` turns a heatmap into running text shaded by one of its rows or into its matrix, and a comparison into
the text of each method. All have the same legend, notes, caption and provenance: a format draws them and adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tokensal.drawing import Drawing
from tokensal.errors import InputError
from tokensal.render.layout.comparison import HeatmapComparison
from tokensal.render.layout.heatmap import Facts, Heatmap
from tokensal.render.layout.labels import Label, shortened
from tokensal.render.layout.legend import CLIPPED, SINK, beyond
from tokensal.render.layout.matrix import Column, Matrix, lay_out_matrix
from tokensal.render.layout.numbers import PERCENT, Scale
from tokensal.render.layout.passages import VISIBLE, Passage, passages, undrawn
from tokensal.render.layout.rows import TENTH, Row

NAME = 32  # cells of a name in a sentence
MOST_COLUMNS = 80  # of a matrix; of more, those with the largest scores are drawn
MOST_NUMBERS = 40  # columns whose cells still hold a number
STEPS_SIGNED, STEPS = 20, 16  # of the ramp in a legend, where colours are continuous
AGAINST, FOR = "against", "for"


@dataclass(frozen=True, slots=True)
class Ramp:
    """The legend of the colours: from the number `low` at the left to `high` at the right, by the shades of `steps`.

    `against` and `towards` are what an end speaks for: a word, and the name that follows it, which may be empty. A
    scale without a sign begins at 0, and has no `against`.
    """

    low: str
    high: str
    steps: tuple[float, ...]
    against: tuple[str, str] | None
    towards: tuple[str, str]
    quantity: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """What stands around every figure.

    `notes` explain its marks; `caption` is ready for a paper, sentence by sentence; `description` is for who cannot see
    it; `facts` say where the numbers came from and how exact they are.
    """

    title: str
    ramp: Ramp
    notes: tuple[str, ...]
    caption: tuple[str, ...]
    description: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class TextFigure:
    """Running text, shaded by one row. `foil` is what was not written, of a contrast, and `value` is what is explained,
    such as Δ log p = −0.63; both stand behind the answer."""

    sheet: Sheet
    passages: tuple[Passage, ...]
    row: Row
    foil: str
    value: str


@dataclass(frozen=True, slots=True)
class MatrixFigure:
    """The matrix: `numbered` says whether its cells hold numbers, `others` how many columns are left out."""

    sheet: Sheet
    matrix: Matrix
    targets: tuple[Label, ...]
    numbered: bool
    others: int


@dataclass(frozen=True, slots=True)
class ComparisonFigure:
    """The same text by each method: its name, with the options that were set, and its figure, whose ramp has the ends
    of its own scale."""

    sheet: Sheet
    parts: tuple[tuple[str, TextFigure], ...]


def lay_out_figure(
    layout: Heatmap | HeatmapComparison, drawing: Drawing
) -> TextFigure | MatrixFigure | ComparisonFigure:
    """The figure of a heatmap or of a comparison.

    Raises:
        InputError: the drawing names a row that there is not, or one that is not the only one of its name.
    """
    if isinstance(layout, HeatmapComparison):
        return _comparison(layout, drawing)
    wanted = bool(layout.encoder) if drawing.matrix is None else drawing.matrix
    return _matrix(layout, drawing) if wanted else _text(layout, drawing)


def row_of(heatmap: Heatmap, wanted: str | int | None) -> Row:
    """The row that is called so: None for the one with which the heatmap opens.

    Raises:
        InputError: there is none, or there are several.
    """
    if wanted is None:
        return heatmap.overview
    shorts = {row.title.short.removeprefix("mean "): row for row in heatmap.overviews}
    if wanted in shorts:
        return shorts[str(wanted)]
    named = [row for row in heatmap.rows if row.title.name == str(wanted).strip() and isinstance(wanted, str)]
    if len(named) == 1:
        return named[0]
    if not named and str(wanted).isdecimal() and int(wanted) < len(heatmap.rows):
        return heatmap.rows[int(wanted)]
    names = ", ".join(f"{index} {row.title.name}" for index, row in enumerate(heatmap.rows[:8]))
    several = f"{len(named)} targets are called so" if named else "there is no such row"
    raise InputError(f"Row {wanted!r}: {several}; name one of {names}{' …' * (len(heatmap.rows) > 8)}, share or sum.")


def _text(heatmap: Heatmap, drawing: Drawing) -> TextFigure:
    row = row_of(heatmap, drawing.row)
    parts = passages(heatmap, row, drawing.elide)
    notes = tuple(_notes(heatmap, row, parts))
    ramp = _ramp(heatmap, row)
    sheet = Sheet(
        title=f"{_subject(row)}, by {dict(heatmap.heading)['method']}",
        ramp=ramp,
        notes=notes,
        caption=(*_caption(heatmap, row, ramp), *notes),
        description=_description(heatmap, row),
        facts=heatmap.caption,
    )
    return TextFigure(sheet, parts, row, _foil(heatmap), _value(heatmap, row))


def _comparison(comparison: HeatmapComparison, drawing: Drawing) -> ComparisonFigure:
    figures = [_text(heatmap, drawing) for heatmap in comparison.heatmaps]
    first, heatmap = figures[0], comparison.heatmaps[0]
    notes = tuple(dict.fromkeys(note for figure in figures for note in figure.sheet.notes if SINK not in note))
    agreement = tuple(_agreement(comparison))
    ramp = _ramp(heatmap, first.row)
    colour = f"Colour is {first.row.scale.colouring}, each method on its own scale."
    headings = [dict(heatmap.heading) for heatmap in comparison.heatmaps]
    names = [", ".join(filter(None, (each["method"], each.get("credit")))) for each in headings]
    sheet = Sheet(
        title=f"{_subject(first.row)}, by {', '.join(comparison.names)}",
        ramp=Ramp(
            "−max" if ramp.against else "0", "max", ramp.steps, ramp.against, ramp.towards, "each on its own scale"
        ),
        notes=notes,
        caption=(f"{_subject(first.row)} in {_where(heatmap)}, by {len(figures)} methods.", colour, *notes, *agreement),
        description=" ".join(
            f"{name}: {figure.sheet.description}" for name, figure in zip(comparison.names, figures, strict=True)
        ),
        facts=(*comparison.shared, *(fact for facts in comparison.own for fact in facts)),
    )
    return ComparisonFigure(sheet, tuple(zip(names, figures, strict=True)))


def _agreement(comparison: HeatmapComparison) -> Iterator[str]:
    pairs = [
        f"{comparison.names[row]} and {comparison.names[column]} {comparison.agreement_text(row, column)}"
        for row in range(len(comparison.names))
        for column in range(row)
    ]
    yield f"Rank agreement (Spearman): {', '.join(pairs)}."


def _matrix(heatmap: Heatmap, drawing: Drawing) -> MatrixFigure:
    matrix = lay_out_matrix(heatmap)
    others = max(0, len(matrix.columns) - MOST_COLUMNS)
    if others:
        matrix = _strongest(matrix)
    ends = (AGAINST, FOR) if not heatmap.contrasted else ("for the contrast", "for the answer")
    ramp = Ramp(
        low=matrix.scale.low,
        high=matrix.scale.high,
        steps=_steps(heatmap),
        against=(ends[0], "") if heatmap.signed else None,
        towards=(ends[1], "") if heatmap.signed else ("", ""),
        quantity=heatmap.quantity,
    )
    notes = tuple(_notes_of_cells(heatmap, matrix, others))
    sheet = Sheet(
        title=f"{matrix.name.capitalize()} of {_where(heatmap)}, by {dict(heatmap.heading)['method']}",
        ramp=ramp,
        notes=notes,
        caption=(
            f"{heatmap.quantity.capitalize()}: a row for each {heatmap.noun} of the answer, a column for each "
            f"{heatmap.source_noun} that it could see ({_by(heatmap)}).",
            _scale(matrix.scale),
            "Scores below a tenth of the scale are not written out.",
            *notes,
        ),
        description=" ".join(
            _description(heatmap, row, 2) for row in heatmap.rows if row.limit >= TENTH * matrix.scale.limit
        ),
        facts=heatmap.caption,
    )
    return MatrixFigure(sheet, matrix, heatmap.targets, len(matrix.columns) <= MOST_NUMBERS, others)


def _strongest(matrix: Matrix) -> Matrix:
    """The matrix with the columns alone whose largest |score| is among the largest, in their order."""
    sizes = [max(abs(row[column].value or 0.0) for row in matrix.rows) for column in range(len(matrix.columns))]
    kept = sorted(sorted(range(len(sizes)), key=lambda column: -sizes[column])[:MOST_COLUMNS])
    starts: list[tuple[int, int]] = []
    sections: list[tuple[str, int]] = []
    for name, count in matrix.sections:
        start = starts[-1][1] if starts else 0
        starts.append((start, start + count))
        if inside := sum(start <= column < start + count for column in kept):
            sections.append((name, inside))
    first = {next((column for column in kept if start <= column < stop), -1) for start, stop in starts[1:]}
    return Matrix(
        name=matrix.name,
        columns=tuple(
            Column(matrix.columns[column].source, matrix.columns[column].label, column in first and column != kept[0])
            for column in kept
        ),
        rows=tuple(tuple(row[column] for column in kept) for row in matrix.rows),
        sections=tuple(sections),
        scale=matrix.scale,
        score=matrix.score,
        left_out=matrix.left_out,
    )


def _ramp(heatmap: Heatmap, row: Row) -> Ramp:
    target, foil = row.title.name, _foil(heatmap)
    if heatmap.contrasted:
        target = target.partition(", not ")[0]
    return Ramp(
        low=row.scale.low,
        high=row.scale.high,
        steps=_steps(heatmap),
        against=((FOR, foil) if foil else (AGAINST, "")) if heatmap.signed else None,
        towards=(FOR, shortened(target, NAME)),
        quantity=_quantity(heatmap, row),
    )


def _steps(heatmap: Heatmap) -> tuple[float, ...]:
    """The shades of the legend: the steps that colours are in, or else so many as look continuous."""
    if steps := heatmap.scale.steps:
        return steps
    if not heatmap.signed:
        return tuple(step / STEPS for step in range(1, STEPS + 1))
    half = STEPS_SIGNED // 2
    return tuple(step / half for step in (*range(-half, 0), *range(1, half + 1)))


def _quantity(heatmap: Heatmap, row: Row) -> str:
    if row.target is not None or not row.title.short:
        return heatmap.quantity
    count = f"{len(heatmap.rows)} {heatmap.noun}s"
    return f"mean share over {count}" if row.scale.unit == PERCENT else f"{heatmap.quantity}, summed over {count}"


def _subject(row: Row) -> str:
    """What the figure is about: Why Rome, not Oslo; Sources of Rome; Mean share over all generated tokens."""
    return f"{row.title.lead} {shortened(row.title.name, NAME)}".strip()


def _where(heatmap: Heatmap) -> str:
    model = dict(heatmap.heading)["model"]
    return f"the answer of {model}" if heatmap.complete else f"a text read by {model}"


def _by(heatmap: Heatmap) -> str:
    heading = dict(heatmap.heading)
    return f"{heading['method']}, {heading['model']}"


def _caption(heatmap: Heatmap, row: Row, ramp: Ramp) -> Iterator[str]:
    method = dict(heatmap.heading)["method"]
    yield f"{_subject(row)} in {_where(heatmap)}, by {method}: {ramp.quantity}."
    yield _scale(row.scale)


def _scale(scale: Scale) -> str:
    """How a score becomes a colour, and where the colours end."""
    return f"Colour is {scale.colouring}{',' * bool(scale.bins)} and ends at {scale.span_and_end}."


def _notes(heatmap: Heatmap, row: Row, parts: tuple[Passage, ...]) -> Iterator[str]:
    runs = [run for part in parts for run in part.runs]
    if any(run.shade < 0 for run in runs):
        foil = _foil(heatmap)
        yield f"Underlined: speaks {f'for {foil}' if foil else AGAINST}."
    if row.sink_note and any(run.sink for run in runs):
        yield f"{SINK} {row.sink_note[0].upper()}{row.sink_note[1:]}."
    if any(run.clipped for run in runs):
        yield f"{CLIPPED} {beyond(heatmap.clip).capitalize()}."
    if heatmap.legend.left_out_note:
        yield heatmap.legend.left_out_note
    if count := undrawn(heatmap, row):
        yield f"{count} special tokens and tokens of the chat template have no score and are not drawn."
    if any(run.elided for run in runs):
        yield f"Of the {heatmap.source_noun}s in “…”, none reaches a tenth of the scale."


def _notes_of_cells(heatmap: Heatmap, matrix: Matrix, others: int) -> Iterator[str]:
    cells = [cell for row in matrix.rows for cell in row]
    shaded = [cell for cell in cells if abs(cell.shade) >= VISIBLE and not cell.apart]
    if any(cell.value is None for cell in cells):
        yield "No square: not visible to it."
    if any(cell.shade < 0 for cell in shaded):
        yield f"A rule at the bottom: speaks {heatmap.legend.ends[0]}."
    if any(column.label.sink for column in matrix.columns):
        yield f"{SINK} Attention sink{', left out of the scale' if heatmap.sink_apart else ''}."
    if any(cell.clipped for cell in cells):
        yield f"{CLIPPED} {beyond(heatmap.clip).capitalize()}."
    if heatmap.legend.left_out_note:
        yield heatmap.legend.left_out_note
    if others:
        yield f"The {MOST_COLUMNS} columns with the largest scores; {others} others are left out."


def _foil(heatmap: Heatmap) -> str:
    """What the answer is explained against, shortened; empty without a contrast."""
    return shortened(heatmap.foil, NAME)


def _value(heatmap: Heatmap, row: Row) -> str:
    """The explained score of the target that the row is about."""
    number = heatmap.value_scale.write(heatmap.rows[row.target or 0].value) if _is_of_one(heatmap, row) else ""
    name = {"logprob": "log p", "Δ logprob": "Δ log p", "prob": "p"}.get(heatmap.score, heatmap.score)
    return f"{name} = {number}" if number else ""


def _is_of_one(heatmap: Heatmap, row: Row) -> bool:
    return row.target is not None or len(heatmap.rows) == 1


def _description(heatmap: Heatmap, row: Row, count: int = 5) -> str:
    """The strongest sources, in words."""
    ranked = [f"{heatmap.sources[cell.source].name} {row.scale.write(cell.value)}" for cell in row.top(count)]
    return f"{_subject(row)}; strongest {heatmap.source_noun}s: {', '.join(ranked) or 'none has a score'}."
