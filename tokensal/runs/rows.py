"""Rows: what a run stores of one example and one method; version 1.

`COLUMNS` below is the documentation of a row, and `OF_UNIT` that of a source or a target. Parquet files have it, too:
the metadata of each field say what it holds ("description"), and those of the schema have
{"schema": "tokensal/rows", "version": 1} as JSON under "tokensal". See `tokensal.runs.parquet`.

A row of an error has number, id, method, error and record alone; all else is null. No row has a time or the name of a
machine in it: so whoever explains an example writes the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tokensal.errors import FormatError, reason
from tokensal.render.files import storable
from tokensal.render.json import ATTRIBUTION, attribution_document
from tokensal.results.attribution import Attribution

if TYPE_CHECKING:
    from tokensal.runs.source import Entry

Row = dict[str, Any]
OF_DOCUMENT = 3  # the version of `tokensal.render.json` whose parts rows of version 1 hold


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: its name.
        type: as Arrow calls it; "unit" is a struct of `OF_UNIT`.
        meaning: what it holds.
        required: whether no row may lack it.
    """

    name: str
    type: str
    meaning: str
    required: bool = False


OF_UNIT = (
    Column("ids", "list<int64>", "its token ids"),
    Column("text", "string", "its text"),
    Column("start", "int64", "the first of its characters in the shown text"),
    Column("stop", "int64", "where its characters end"),
    Column("role", "string", "where it comes from: prompt, system, user, assistant, tool, template, generated …"),
    Column("special", "bool", "whether it is a special token"),
    Column("against", "string", "the text that a target is explained against; empty without a contrast"),
    Column("in_prompt", "list<int64>", "its characters in the user's own prompt, or in a message; null if in neither"),
    Column("message", "int64", "the number of the message of a chat that it is from; null elsewhere"),
    Column("fillers", "list<string>", "texts that may stand in its place where it is absent; null without any"),
)
KEY = (
    Column("number", "int64", "the place of the example in its source, from 0 on", required=True),
    Column("id", "string", "the name of the example", required=True),
    Column("method", "string", "the method, with the options that differ from the defaults", required=True),
    Column("error", "string", "why there are no scores; null where there are"),
    Column("record", "string", "the example as it was read, as JSON: prompt or messages, answer, contrast, gold, kind"),
)
COLUMNS = (
    *KEY,
    Column("text", "string", "the shown text, prompt and answer, whose characters starts and stops count"),
    Column("sources", "list<unit>", "J units that can be credited"),
    Column("targets", "list<unit>", "K units that are explained"),
    Column("shape", "list<int32>", "[K, J]"),
    Column("scores", "list<float32>", "K · J scores, target by target; NaN where a target does not see a source"),
    Column("values", "list<float32>", "the explained score of each target on the unaltered input"),
    Column("signed", "bool", "whether negative scores mean that a source spoke against the target"),
    Column("sink", "int32", "the number of the source where attention collects; null without one"),
    Column("encoder", "int32", "how many sources, the first ones, an encoder reads"),
    Column("alternatives", "string", "JSON: the tokens that the model held most likely for each target, if recorded"),
    Column("diagnostics", "string", "JSON: what the method measured of its own error, see tokensal.render.json"),
    Column("provenance", "string", "JSON: model, method, question, versions, see tokensal.render.json; seconds are 0"),
)
AS_JSON = ("alternatives", "diagnostics", "provenance")
UNITS = ("sources", "targets")
AS_IT_IS = ("signed", "sink", "encoder")


def row_of(entry: Entry, method: str, attribution: Attribution) -> Row:
    """The row of an attribution."""
    document = attribution_document(attribution)
    provenance = {**document["provenance"], "seconds": 0.0, "device": attribution.provenance.device.split(":")[0]}
    return {
        **key_of(entry, method),
        "error": None,
        "text": storable(document["text"]),
        **{name: [_stored_unit(unit) for unit in document[name]] for name in UNITS},
        "shape": list(attribution.scores.shape),
        "scores": attribution.scores.flatten().numpy(),
        "values": attribution.values.numpy(),
        **{name: document[name] for name in AS_IT_IS},
        **{name: _json({**document, "provenance": provenance}[name]) for name in AS_JSON},
    }


def error_row(entry: Entry, method: str, error: str) -> Row:
    """The row of an example that cannot be explained by a method, and why."""
    return {**key_of(entry, method), "error": storable(error)}


def key_of(entry: Entry, method: str) -> Row:
    """What a row has before anything is explained: by it an example is known again."""
    record = _json(_record(entry))
    return {"number": entry.number, "id": storable(entry.id), "method": method, "record": record}


def _record(entry: Entry) -> dict[str, Any] | None:
    """What was read, without what it lacks."""
    if entry.prompt is None:
        return None
    prompt = entry.prompt
    fields = {
        "prompt": prompt.prompt,
        "messages": [dict(message) for message in prompt.messages],
        "answer": prompt.continuation,
        "contrast": prompt.contrast,
        "gold": [[*([] if gold.message is None else [gold.message]), gold.start, gold.stop] for gold in prompt.gold],
        "kind": prompt.kind,
    }
    return {name: value for name, value in fields.items() if value}


def _stored_unit(unit: Mapping[str, Any]) -> dict[str, Any]:
    """A unit whose texts a file can hold, with lists as what is read has them."""
    texts = {name: storable(unit[name]) for name in ("text", "against")}
    lists = {name: list(values) for name, values in unit.items() if isinstance(values, tuple)}
    fillers = {"fillers": list(map(storable, lists["fillers"]))} if "fillers" in lists else {}
    return {**unit, **texts, **lists, **fillers}


def _json(value: Any) -> str:
    return storable(json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True))


def attribution_of(row: Row, seconds: float = 0.0) -> Attribution:
    """The attribution of a row without an error.

    Args:
        row: all of its columns.
        seconds: how long the method took, which rows do not say.

    Raises:
        FormatError: the row is damaged, or is none of this version.
    """
    from tokensal.render.stored import result_of

    try:
        attribution = result_of(_document_of(row, seconds))
    except (ValueError, KeyError, TypeError, FormatError) as error:
        name, cause = f"{row.get('id')!r} by {row.get('method')!r}", error.__cause__ or error
        raise FormatError(
            f"The row of example {name} cannot be read ({reason(cause)}): delete its part, and run the same call again."
        ) from error
    assert isinstance(attribution, Attribution)
    return attribution


def _document_of(row: Row, seconds: float) -> dict[str, Any]:
    """What `tokensal.render.json` has of a row."""
    scores = np.array(row["scores"], dtype=np.float32).reshape([int(size) for size in row["shape"]])
    cells = scores.astype(object)
    cells[np.isnan(scores)] = None
    document = {
        "schema": ATTRIBUTION,
        "version": OF_DOCUMENT,
        "text": row["text"],
        **{name: [_present(unit) for unit in row[name]] for name in UNITS},
        **{name: row[name] for name in AS_IT_IS},
        **{name: json.loads(row[name]) for name in AS_JSON},
        "scores": cells.tolist(),
        "visible": (~np.isnan(scores)).tolist(),
        "values": list(map(float, row["values"])),
    }
    document["provenance"]["seconds"] = seconds
    return document


def _present(unit: Mapping[str, Any]) -> dict[str, Any]:
    """A unit without what it lacks, which Parquet has as null."""
    return {name: value for name, value in unit.items() if value is not None}
