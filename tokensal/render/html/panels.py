"""Panels: all that an HTML page says about one row, in words and numbers that are ready to show.

The server writes the overview's panel into the page, and the browser reads the others from JSON, so that what is seen
without JavaScript and with it is the same.
"""

from __future__ import annotations

import math
import sys
from array import array
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from tokensal.render.layout.heatmap import Facts, Heatmap
from tokensal.render.layout.labels import shortened
from tokensal.render.layout.numbers import rounded
from tokensal.render.layout.rows import Row

LISTED, NAME, SENTENCE = 18, 32, 80  # letters of a name in the list, of a number read out, and in the sentence


def panel(heatmap: Heatmap, row: Row, ranked: int, *, wide: bool = False) -> dict[str, Any]:
    """What the page says while a row is shown, as JSON, with so many sources in the list.

    `lead`, `name` and `detail` make the sentence that states what is shown. `considered` is what else the model might
    have written there. `low` and `high` are the ends of the scale; `end` says what these are, where they are not the
    largest score, and `clipped` are the sources beyond. `scores` are packed, as `wide` numbers where they may be sums;
    `steps` are the shades where there are `bins`, a byte each. The `shade` within [-1, 1] of a source in `top` is the
    length of its bar; `unit` follows a score. `kinds` are the entries of the legend that this row needs. `sink` is its
    note on the sink. `short` is how a button calls it.
    """
    return {
        "lead": row.title.lead,
        "name": shortened(row.title.name, SENTENCE),
        "detail": row.title.detail,
        "short": row.title.short,
        "considered": "" if row.target is None else considered(heatmap, row.target),
        "low": row.scale.low,
        "high": row.scale.high,
        "limit": rounded(row.limit),
        "end": f"The scale ends at {row.scale.end}." if row.scale.end else "",
        "steps": _steps(row),
        "clipped": [cell.source for cell in row.cells if cell.clipped],
        "unit": row.scale.unit,
        "scores": packed([cell.value for cell in row.cells], wide=wide),
        "top": [
            {
                "source": cell.source,
                "name": source_name(heatmap, cell.source, LISTED),
                "shade": round(cell.relative, 3),
                "number": row.scale.write(cell.value),
            }
            for cell in row.top(ranked)
        ],
        "kinds": row.kinds,
        "sink": row.sink_note,
    }


def packed(scores: Sequence[float | None], *, wide: bool) -> str:
    """Scores of four significant digits in base64: little-endian floats of 4 bytes, or of 8 where `wide`; NaN for None.

    They are shorter than the same numbers in JSON, and no work for a browser until their row is shown.
    """
    numbers = array("d" if wide else "f", (math.nan if score is None else _short(score) for score in scores))
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode()


def _steps(row: Row) -> str:
    """The step of each source in base64, a byte each; nothing where colours are continuous."""
    bins = row.scale.bins
    return b64encode(bytes(round(abs(cell.shade) * bins) for cell in row.cells)).decode() if bins else ""


def _short(score: float) -> float:
    return rounded(score) if abs(score) < 3.4e38 else score  # rounded up, the largest float32 would be none


def source_name(heatmap: Heatmap, source: int, width: int = NAME) -> str:
    """What a source is called, in so many letters."""
    return shortened(heatmap.sources[source].name, width)


def considered(heatmap: Heatmap, target: int) -> str:
    """What the model held likely in the place of a target, in words; nothing where that was not asked."""
    options: Facts = heatmap.considered[target] if heatmap.considered else ()
    return "considered " + " · ".join(f"{name} {share}" for name, share in options) if options else ""
