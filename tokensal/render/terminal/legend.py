"""What a terminal page says around its text: the heading above, and below it the scale, the marks and the sink."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.style import Style

from tokensal.render.layout.diagnostics import WARNING
from tokensal.render.layout.heatmap import Facts
from tokensal.render.layout.legend import SINK, Entry, Kind
from tokensal.render.layout.numbers import Scale
from tokensal.render.terminal.colours import Colours, attribute, bar_style, shading
from tokensal.render.terminal.lines import Line, Run, Word, fill, size, words
from tokensal.render.terminal.page import Page, in_brackets
from tokensal.render.terminal.running_text import CLOSE, OPEN

GAP = 3  # cells between the entries of a legend
SWATCHES, MOST_SWATCHES = (
    5,
    12,
)  # steps of the scale on either side of 0, and as many as are shown one by one

SYMBOLS = (Kind.GENERATED, Kind.CONTRAST, Kind.CLIPPED, Kind.PICTURE)  # drawn as they are, and looked for in the text


def heading(facts: Facts, colours: Colours, width: int) -> list[Line]:
    """What is shown, on one line, or as many as it takes."""
    return fill(words(" · ".join(text for _, text in facts), attribute(colours, "bold")), width)


def footer(page: Page, facts: Facts, heading: Facts) -> list[Line]:
    """Where the numbers came from and how exact they are, without what the heading says; warnings stand out."""
    rest = [f"{name} {text}" for name, text in facts if (name, text) not in heading]
    parts = [words(f"{' · ' if index else ''}{text}", _weight(page, text)) for index, text in enumerate(rest)]
    return fill([word for part in parts for word in part], page.width)


def _weight(page: Page, text: str) -> Style:
    return attribute(page.colours, "bold" if WARNING in text else "dim")


def legend(page: Page, body: str) -> list[Line]:
    """The scales, the marks that occur in the body of the page, and the notes."""
    parts = page.heatmap.legend
    return [
        *scale(page),
        *_scale_of_lists(page),
        *page.faint(parts.sign_note),
        *marks(page, parts.entries, body),
        *page.faint(parts.left_out_note),
        *sink_note(page),
    ]


def marks(page: Page, entries: Iterable[Entry], body: str) -> list[Line]:
    """The meaning of the marks that occur in the body of a page."""
    parts = [*_bars(page, body), *(_mark(entry) for entry in entries if _occurs(entry, body))]
    line = [word for index, part in enumerate(parts) for word in _entry(page, *part, gap=GAP if index else 0)]
    return fill(line, page.width)


def scale(page: Page) -> list[Line]:
    """The scale of the running text: in colours, or as what the written tenths are tenths of."""
    return fill(_scale(page), page.width)


def sink_note(page: Page) -> list[Line]:
    """What the sink would do to the scale, or that it is counted in."""
    note = page.heatmap.overview.sink_note
    return fill([Word([Run(SINK)]), *page.faint_words(f" {note}")], page.width) if note else []


def _occurs(entry: Entry, body: str) -> bool:
    """Whether an entry explains something that a terminal draws, and that is in the body of the page."""
    if entry.kind is Kind.ORDINAL:
        return re.search("[₀-₉]", body) is not None
    if entry.kind is Kind.UNIT:
        return OPEN in body
    return entry.kind is Kind.SPECIAL or (entry.kind in SYMBOLS and entry.sample in body)


def _mark(entry: Entry) -> tuple[Run, str]:
    sample = f"{OPEN} {CLOSE}" if entry.kind is Kind.UNIT else entry.sample
    return Run(in_brackets(sample) if entry.kind is Kind.SPECIAL else sample), entry.meaning


def _entry(page: Page, mark: Run, meaning: str, gap: int) -> list[Word]:
    """A mark and its meaning, kept on one line if they fit one."""
    style = attribute(page.colours, "dim")
    sample = [Run(" " * gap), mark] if gap else [mark]
    line = [*sample, Run(f" {meaning}", style)]
    return [Word(line)] if size(line) <= page.width else [Word(sample), *words(f" {meaning}", style)]


def _scale(page: Page) -> list[Word]:
    overview = page.heatmap.overview
    subject = f"n the text: {overview.title.subject}"
    if not overview.limit:
        return page.faint_words(f"I{subject}, 0 everywhere.")
    if not page.colours.available:
        steps = f", in {overview.scale.bins} steps" if overview.scale.bins else ""
        return words(f"I{subject}, in tenths of {overview.scale.span_and_end}{steps}.")
    end = f"; the scale ends at {overview.scale.end}" if overview.scale.end else ""
    return [Word(_swatches(page, overview.scale)), *page.faint_words(f"  i{subject}{end}")]


def _scale_of_lists(page: Page) -> list[Line]:
    """The colours of the lists, where the text shows something else: those of equal scores are equal."""
    heatmap = page.heatmap
    if len(heatmap.overviews) == 1 or not heatmap.scale.limit or not page.colours.available:
        return []
    line = [Word(_swatches(page, heatmap.scale)), *page.faint_words(f"  in the lists: {heatmap.score}, on one scale")]
    return fill(line, page.width)


def _swatches(page: Page, scale: Scale) -> Line:
    count = scale.bins if scale.bins and scale.bins <= MOST_SWATCHES else SWATCHES
    steps = range(-count if scale.signed else 0, count + 1)
    swatches = [Run(" ", shading(page.colours, step / count)) for step in steps]
    return [Run(f"{scale.low} "), *swatches, Run(f" {scale.high}")]


def _bars(page: Page, body: str) -> list[tuple[Run, str]]:
    full = "a full bar is the largest of its line"
    block, line = Run("█", bar_style(page.colours, False)), Run("━", bar_style(page.colours, True))
    if re.search("[━╸]", body):
        against, towards = page.heatmap.legend.ends
        return [(block, towards), (line, f"{against}, {full}")]
    return [(block, full)] if re.search("[▏▎▍▌▋▊▉█]", body) else []
