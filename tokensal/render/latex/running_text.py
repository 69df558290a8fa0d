r"""Running text as TeX source: a macro for each run, and a line for each sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from rich.cells import cell_len
from uniseg.graphemecluster import grapheme_clusters

from tokensal.render.latex.characters import JOINER, is_right_to_left, joins, prose, tex
from tokensal.render.layout.figure import ComparisonFigure, Ramp, TextFigure
from tokensal.render.layout.labels import shortened
from tokensal.render.layout.passages import Passage, Run

LONGEST = 24  # cells of a text that is never parted; more may not fit into a line
PART = 8  # cells of its parts
NAME = 32  # cells of a name
LINE = 88  # characters of a source line, after which the next space ends it
ENDS = tuple(".!?…。！？")


def percent(shade: float) -> int:
    """A shade in whole percent, of which 0 is no shade."""
    return max(1, round(100 * abs(shade)))


def shaded(shade: float, source: str) -> str:
    """Source in the fill of a shade."""
    return rf"\tok{'against' if shade < 0 else 'for'}{{{percent(shade)}}}{{{source}}}"


def text_lines(figure: TextFigure) -> list[str]:
    """The source lines of running text, a paragraph for each passage, and the foil behind the last of the answer."""
    lines: list[str] = []
    for number, passage in enumerate(figure.passages):
        lines += [rf"\tokpar\tokhead{{{tex(passage.name)}}}%", *passage_lines(passage.runs)]
        if number == _of_the_answer(figure.passages):
            lines += _beside(figure)
    return lines


def comparison_lines(figure: ComparisonFigure) -> list[str]:
    """The source lines of the same text by each method: its name, the end of its scale, and its runs."""
    names = [tex(shortened(name, NAME)) for name, _ in figure.parts]
    lines = [rf"\tokmethods{{{max(names, key=len)}}}%"]
    for name, (_, part) in zip(names, figure.parts, strict=True):
        runs = [run for passage in part.passages for run in passage.runs]
        lines += [rf"\tokmethod{{{name}}}{{{prose(part.row.scale.span)}}}%", *passage_lines(runs)]
    return lines


def passage_lines(runs: Sequence[Run]) -> list[str]:
    """The source lines of runs that follow one another."""
    lines: list[str] = []
    line = before = ""
    for source, run in _sources(runs):
        if run.gap or not line:
            full = before.endswith(ENDS) or len(line) > LINE
            if line and full:
                lines, line = [*lines, line], ""
            elif line:
                line += " "
        line += source
        before = run.text
        if run.breaks:
            lines, line, before = [*lines, line + "%", rf"\tokpar{'[.5em]' * (run.breaks > 1)}%"], "", ""
    lines.append(line + "%")
    while lines and (lines[-1] == "%" or lines[-1].startswith(r"\tokpar")):
        lines.pop()
    return [line for line in lines if line != "%"]


def legend_lines(ramp: Ramp, value: str, step: Callable[[float], str]) -> list[str]:
    """The legend: the ends of the colours, their numbers, the quantity, and the explained value, if it stands nowhere.

    `step` draws a shade. Where colours are in steps, one about zero is blank.
    """
    blank = r"\kern.25em" if 0.0 in ramp.steps else ""
    negative = [shade for shade in ramp.steps if shade < 0]
    positive = [shade for shade in ramp.steps if shade > 0]
    quantity = f"{ramp.quantity} ({value})" if value else ramp.quantity
    return [
        rf"\toklegend{{{f'{_end(ramp.against)} ' if ramp.against else ''}{prose(ramp.low)}\hskip.4em%",
        *([rf"{''.join(map(step, negative))}{blank}\tokmiddle%"] if negative else []),
        blank + "".join(map(step, positive)) + "%",
        rf"\hskip.4em{prose(ramp.high)} {_end(ramp.towards)}}}{{{prose(quantity)}}}%",
    ]


def step(shade: float) -> str:
    """A step of the legend: a token without text."""
    return shaded(shade, r"\kern.32em")


def _end(end: tuple[str, str]) -> str:
    word, name = end
    return rf"{word} \textit{{{tex(name)}}}" if name else word


def _of_the_answer(parts: Sequence[Passage]) -> int:
    """The passage behind which the foil and the value stand."""
    named = [number for number, part in enumerate(parts) if part.name in ("answer", "explained")]
    return named[-1] if named else len(parts) - 1


def _beside(figure: TextFigure) -> Iterator[str]:
    if figure.foil:
        yield rf"\tokfoil{{{tex(figure.foil)}}}%"
    if figure.value:
        yield rf"\hskip.6em\mbox{{\small {prose(f'({figure.value})')}}}%"


def _sources(runs: Sequence[Run]) -> Iterator[tuple[str, Run]]:
    """The source of each run; those from right to left stand together, in an order that an engine can turn."""
    befores = ["", *("" if run.breaks else run.text for run in runs)]
    afters = [*("" if run.gap else run.text for run in runs[1:]), ""]
    places = zip(runs, befores, afters, strict=False)
    for turned, group in groupby(places, key=lambda place: is_right_to_left(place[0].text)):
        pieces = [(_piece(run, before, "" if run.breaks else after), run) for run, before, after in group]
        yield from _turned(pieces) if turned else pieces


def _turned(pieces: Sequence[tuple[str, Run]]) -> Iterator[tuple[str, Run]]:
    source = "".join(" " * bool(run.gap and number) + piece for number, (piece, run) in enumerate(pieces))
    yield rf"\tokright{{{source}}}", pieces[0][1]


def _piece(run: Run, before: str, after: str) -> str:
    """The source of a run between two others; in a word of Arabic, the letters of each part keep their forms."""
    text = run.text + JOINER * joins(run.text, after)
    if not run.gap and joins(before, text):
        text = JOINER + text
    parts = [_part(run, part, "" if run.gap else before) for part in _parted(text)]
    source = "\\allowbreak%\n".join(parts)
    if not run.gap and before and run.breakable:
        source = r"\allowbreak" + source
    if len(run.gap) > 1:
        source = r"\hspace{%.2gem}" % (0.33 * (len(run.gap) - 1)) + source
    marks = "".join(mark for mark, marked in ((r"\textdagger", run.sink), (r"\textdaggerdbl", run.clipped)) if marked)
    return source + (rf"\tokmark{{{marks}}}" if marks else "")


def _part(run: Run, text: str, before: str) -> str:
    if not text:
        return ""
    source = tex(text, before)
    if run.shade:
        source = shaded(run.shade, source)
    elif run.elided:
        source = rf"\tokquiet{{{source.replace(' ', '~')}}}"
    elif run.quiet and not is_right_to_left(text):  # XeTeX ends a colour before it begins it there
        source = rf"\tokquiet{{{source}}}"
    else:
        source = rf"\tokplain{{{source}}}"
    return rf"\toktarget{{{source}}}" if run.bold else source


def _parted(text: str) -> list[str]:
    """The text in parts that fit into a line: words, of which only very long ones are parted."""
    if all(cell_len(word) <= LONGEST for word in text.split(" ")):
        return [text]
    parts: list[str] = []
    part = ""
    for cluster in grapheme_clusters(text):
        if cell_len(part.rpartition(" ")[2]) >= PART:
            parts, part = [*parts, part], ""
        part += cluster
    return [*parts, part]
