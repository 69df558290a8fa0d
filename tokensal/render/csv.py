"""CSV: the table of `tokensal.render.tables`, in UTF-8, with a head and lines that end with a newline character.

Every text is in quotes, so that one may hold commas, quotes and line breaks; numbers, True and False are not. A number
that is missing is an empty text. Scores are float32, written with nine significant digits, as in JSON.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from typing import Any

from tokensal.render.tables import columns_of
from tokensal.results.attribution import Attribution
from tokensal.results.comparison import Comparison


def dumps(result: Attribution | Comparison) -> str:
    """The table of a result as CSV."""
    columns, document = columns_of(result), io.StringIO()
    writer = csv.writer(document, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(_plain(values.tolist()) for values in columns.values()), strict=True))
    return document.getvalue()


def _plain(values: Iterable[Any]) -> Iterable[Any]:
    return (_number(value) if isinstance(value, float) else value for value in values)


def _number(value: float) -> float | None:
    return float(f"{value:.9g}") if math.isfinite(value) else None
