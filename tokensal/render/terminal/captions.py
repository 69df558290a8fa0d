"""What a terminal page says around its text: the heading above, and below it the scale, the marks and the sink."""

from __future__ import annotations

import re

from tokensal.render.labels import PIECE
from tokensal.render.layout import Facts
from tokensal.render.terminal.cells import Line, Run, Word, cut, fill, size, words
from tokensal.render.terminal.colours import Ink, attribute, bar_style, shading
from tokensal.render.terminal.running_text import CLOSE, OPEN
from tokensal.render.terminal.sheet import (
    ABOVE,
    BELOW,
    GENERATED,
    HEAD,
    SINK,
    UNWRITTEN,
    Sheet,
    bracketed,
    sink_apart,
    span,
    written,
)

MEANINGS = {
    GENERATED: "written by the model",
    UNWRITTEN: "the contrast, not written",
    ABOVE: "above the scale",
    BELOW: "below the scale",
    "↵": "line break",
    "⇥": "tab",
    "␣": "space",
    PIECE: "rest of a split character",
    "∅": "token without text",
}

GAP = 3  # cells between the entries of a legend
SWATCHES = 5  # steps of the colour scale on either side of 0
BARE = ("model", "method", "score", "dtype", "time")  # facts that need no name beside them


def heading(facts: Facts, ink: Ink, width: int) -> list[Line]:
    """Facts on one line, or as many as it takes."""
    said = [text if name in BARE else f"{name} {text}" for name, text in facts if name != "tokensal"]
    return fill(words(" · ".join(said), attribute(ink, "bold")), width)


def legend(sheet: Sheet, body: str) -> list[Line]:
    """The scale of the running text, the marks that occur in the body of the page, and what the sink would change."""
    return [*scale(sheet), *sign_note(sheet), *marks(sheet, body), *left_out_note(sheet), *sink_note(sheet)]


def marks(sheet: Sheet, body: str) -> list[Line]:
    """The meaning of the marks that occur in the body of a page."""
    found = _bars(sheet, body) + [(Run(mark), meaning) for mark, meaning in MEANINGS.items() if mark in body]
    if OPEN in body:
        found.append((Run(f"{OPEN} {CLOSE}"), "credited as one"))
    special = next((label for label in sheet.heatmap.sources if label.special), None)
    if special:
        found.append((Run(cut(bracketed(special, special.name), HEAD)), "special token"))
    if re.search("[₀-₉]", body):
        found.append((Run("₁ ₂"), "count tokens that look the same"))
    entries = [word for index, mark in enumerate(found) for word in _entry(sheet, *mark, gap=GAP if index else 0)]
    return fill(entries, sheet.width)


def scale(sheet: Sheet) -> list[Line]:
    """The scale of the running text: in colours, or as what the written tenths are tenths of."""
    return fill(_scale(sheet), sheet.width)


def sink_note(sheet: Sheet) -> list[Line]:
    """What the sink would do to the scale, or that it was let do so."""
    return fill(_sink_entry(sheet), sheet.width)


def sign_note(sheet: Sheet) -> list[Line]:
    """What the sign of a score says of a contrast."""
    if not (sheet.heatmap.contrasted and sheet.heatmap.signed):
        return []
    said = "Positive speaks for the answer rather than the contrast, negative for the contrast."
    return fill(words(said, attribute(sheet.ink, "dim")), sheet.width)


def left_out_note(sheet: Sheet) -> list[Line]:
    """How many sources have no score at all, and why."""
    everything = len(sheet.heatmap.sources)
    missing = everything - len(sheet.heatmap.scored)
    if not missing:
        return []
    said = f"{missing} of {everything} sources have no score and no colour: the question or the method leaves them out."
    return fill(words(said, attribute(sheet.ink, "dim")), sheet.width)


def _entry(sheet: Sheet, mark: Run, meaning: str, gap: int) -> list[Word]:
    """A mark and its meaning, kept on one line if they fit one."""
    style = attribute(sheet.ink, "dim")
    sample = [Run(" " * gap), mark] if gap else [mark]
    whole = [*sample, Run(f" {meaning}", style)]
    return [Word(whole)] if size(whole) <= sheet.width else [Word(sample), *words(f" {meaning}", style)]


def _scale(sheet: Sheet) -> list[Word]:
    heatmap, faint = sheet.heatmap, attribute(sheet.ink, "dim")
    summed = "score" if len(heatmap.rows) == 1 else f"score summed over the {len(heatmap.rows)} targets"
    if not heatmap.overview.limit:
        return words(f"In the text: {summed}, 0 everywhere.", faint)
    if not sheet.ink.colours:
        return words(f"In the text: {summed}, in tenths of {span(heatmap.overview.limit, heatmap.signed)}.")
    steps = range(-SWATCHES if heatmap.signed else 0, SWATCHES + 1)
    low = written(-heatmap.overview.limit, True) if heatmap.signed else "0"
    high = written(heatmap.overview.limit, heatmap.signed)
    swatches = [Run(" ", shading(sheet.ink, step / SWATCHES)) for step in steps]
    return [Word([Run(f"{low} "), *swatches, Run(f" {high}")]), *words(f"  in the text: {summed}", faint)]


def _bars(sheet: Sheet, body: str) -> list[tuple[Run, str]]:
    full = "a full bar is the largest of its line"
    block, line = Run("█", bar_style(sheet.ink, False)), Run("━", bar_style(sheet.ink, True))
    if re.search("[━╸]", body):
        return [(block, "for"), (line, f"against, {full}")]
    return [(block, full)] if re.search("[▏▎▍▌▋▊▉█]", body) else []


def _sink_entry(sheet: Sheet) -> list[Word]:
    heatmap, faint = sheet.heatmap, attribute(sheet.ink, "dim")
    apart, row = sink_apart(sheet), heatmap.overview
    if apart:
        score = written(apart.value, heatmap.signed)
        without, with_it = (span(limit, heatmap.signed) for limit in (row.limit, row.full_limit))
        scale = f"{without}, with it {with_it}" if with_it != without else f"{without} with it or without"
        meaning = f"sink, left out of scale and ranking: {score} in all; the scale is {scale}"
    elif heatmap.sink is not None:
        counted = heatmap.overview.cells[heatmap.sink].value is not None
        meaning = f"sink, where attention collects; {'counted in' if counted else 'without a score'}"
    else:
        return []
    return [Word([Run(SINK)]), *words(f" {meaning}", faint)]
