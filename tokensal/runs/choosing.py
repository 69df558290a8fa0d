"""One example of a run, by its id."""

from __future__ import annotations

import difflib

from tokensal.errors import InputError, unknown
from tokensal.results.attribution import Attribution
from tokensal.results.comparison import Comparison
from tokensal.runs.rows import attribution_of
from tokensal.runs.stored import Run

LISTED = 5  # ids in an error


def example_of(run: Run, id: str | None, method: str | None = None) -> Attribution | Comparison:
    """What a method of a run says of an example; without a method, a comparison of all where there are several.

    Raises:
        InputError: no id, an unknown id or method, or an example without scores.
    """
    methods = list(run.folder.settings["methods"])
    if method is not None and method not in methods:
        raise unknown(f"method of the run in {str(run.path)!r}:", method, methods)
    rows = [] if id is None else _rows(run, id)
    if not rows:
        raise InputError(_unknown_id(run, id))
    rows = [row for row in rows if method in (None, row["method"])]
    attributions = [attribution_of(row) for row in rows if row["error"] is None]
    if not attributions:
        raise InputError(f"Example {id!r} was not explained: {rows[0]['error']}")
    return attributions[0] if len(attributions) == 1 else Comparison(tuple(attributions))


def _rows(run: Run, id: str) -> list[dict[str, object]]:
    """The rows of the first example of that id."""
    import pyarrow.dataset

    rows = run.dataset().to_table(filter=pyarrow.dataset.field("id") == id).to_pylist()
    return [row for row in rows if row["number"] == rows[0]["number"]]


def _unknown_id(run: Run, id: str | None) -> str:
    """Why there is no such example, the nearest id, and the first ones."""
    ids = list(dict.fromkeys(row["id"] for row in run.rows(["id"])))
    first = ", ".join(map(repr, ids[:LISTED])) + (", …" if len(ids) > LISTED else "")
    if not ids:
        return f"The run in {str(run.path)!r} has no examples yet: go on with it."
    if id is None:
        return f"{str(run.path)!r} is the folder of a run of {len(ids):,} examples: name one by --id: {first}."
    near = difflib.get_close_matches(id, ids, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"The run in {str(run.path)!r} has no example {id!r}: {hint}Its ids: {first}."
