"""CSV: the table of `tokensal.render.tables`, in UTF-8, with a head and lines that end with a newline character.

Every text is in quotes, so that one may hold commas, quotes and line breaks; numbers, True and False are not. A number
that is missing is an empty text. Scores are float32, written with nine significant digits, as in JSON; the numbers of
an evaluation and of a summary are float64, written such that they are read back exactly.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from typing import Any

from tokensal.render.tables import Array, columns_of
from tokensal.results.attribution import Attribution
from tokensal.results.comparison import Comparison
from tokensal.results.evaluation import Evaluation
from tokensal.results.summary import Summary


def dumps(result: Attribution | Comparison | Evaluation | Summary) -> str:
    """The table of a result as CSV."""
    columns, document = columns_of(result), io.StringIO()
    writer = csv.writer(document, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*map(_plain, columns.values()), strict=True))
    return document.getvalue()


def _plain(values: Array) -> Iterable[Any]:
    digits = 17 if values.dtype == "float64" else 9
    return (_number(value, digits) if isinstance(value, float) else value for value in values.tolist())


def _number(value: float, digits: int) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
