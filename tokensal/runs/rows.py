"""Rows: what a run stores of one example and one method, as columns of Parquet; version 1.

    number          int64               the place of the example in its source, from 0 on
    id              string              its name
    method          string              the method, with the options that differ from the defaults
    error           string              why there are no scores; null where there are, and then all below is null
    record          string              the example as it was read, as JSON: prompt or messages, answer, contrast, gold,
                                        kind
    text            string              the shown text; starts and stops count its characters
    sources         list<unit>          J of them: ids, text, start, stop, role, special, against, in_prompt, message,
    targets         list<unit>          fillers; and K targets
    shape           list<int32>         [K, J]
    scores          list<float32>       K · J of them, row by row; NaN where a target does not see a source
    values          list<float32>       K explained scores
    signed          bool
    sink            int32               the source where attention collects; null without one
    encoder         int32               how many sources an encoder reads, the first ones
    alternatives    string              those of each target, as JSON
    diagnostics     string              as JSON, see `tokensal.render.json`
    provenance      string              as JSON, the same; without seconds, which are in the folder's log

A row has no time and no name of a machine in it: so whoever explains an example writes the same bytes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow

from tokensal.render.json import attribution_document
from tokensal.render.stored import result_of
from tokensal.results.attribution import Attribution

if TYPE_CHECKING:
    from tokensal.runs.source import Entry

Row = dict[str, Any]

UNIT = pyarrow.struct(
    [
        ("ids", pyarrow.list_(pyarrow.int64())),
        ("text", pyarrow.string()),
        ("start", pyarrow.int64()),
        ("stop", pyarrow.int64()),
        ("role", pyarrow.string()),
        ("special", pyarrow.bool_()),
        ("against", pyarrow.string()),
        ("in_prompt", pyarrow.list_(pyarrow.int64())),
        ("message", pyarrow.int64()),
        ("fillers", pyarrow.list_(pyarrow.string())),
    ]
)
SCHEMA = pyarrow.schema(
    [
        pyarrow.field("number", pyarrow.int64(), nullable=False),
        pyarrow.field("id", pyarrow.string(), nullable=False),
        pyarrow.field("method", pyarrow.string(), nullable=False),
        ("error", pyarrow.string()),
        ("record", pyarrow.string()),
        ("text", pyarrow.string()),
        ("sources", pyarrow.list_(UNIT)),
        ("targets", pyarrow.list_(UNIT)),
        ("shape", pyarrow.list_(pyarrow.int32())),
        ("scores", pyarrow.list_(pyarrow.float32())),
        ("values", pyarrow.list_(pyarrow.float32())),
        ("signed", pyarrow.bool_()),
        ("sink", pyarrow.int32()),
        ("encoder", pyarrow.int32()),
        ("alternatives", pyarrow.string()),
        ("diagnostics", pyarrow.string()),
        ("provenance", pyarrow.string()),
    ]
)
AS_JSON = ("alternatives", "diagnostics", "provenance")
AS_IT_IS = ("text", "sources", "targets", "signed", "sink", "encoder")


def row_of(entry: Entry, method: str, attribution: Attribution) -> Row:
    """The row of an attribution."""
    document = attribution_document(attribution)
    provenance = {**document["provenance"], "seconds": 0.0, "device": attribution.provenance.device.split(":")[0]}
    return {
        **_key(entry, method),
        "error": None,
        **{name: document[name] for name in AS_IT_IS},
        "shape": list(attribution.scores.shape),
        "scores": attribution.scores.flatten().numpy(),
        "values": attribution.values.numpy(),
        **{name: _json({**document, "provenance": provenance}[name]) for name in AS_JSON},
    }


def error_row(entry: Entry, method: str, error: str) -> Row:
    """The row of an example that cannot be explained by a method, and why."""
    return {**_key(entry, method), "error": error}


def _key(entry: Entry, method: str) -> Row:
    return {"number": entry.number, "id": entry.id, "method": method, "record": _json(_record(entry))}


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


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)


def attribution_of(row: Row) -> Attribution:
    """The attribution of a row without an error.

    Raises:
        FormatError: the row is damaged, or is none of this version.
    """
    shape = [int(size) for size in row["shape"]]
    scores = np.array(row["scores"], dtype=np.float32).reshape(shape)
    visible = ~np.isnan(scores)
    document = {
        "schema": "tokensal/attribution",
        "version": 3,
        **{name: row[name] for name in AS_IT_IS},
        **{name: json.loads(row[name]) for name in AS_JSON},
        "scores": [[number if seen else None for number, seen in zip(*each, strict=True)]
                   for each in zip(scores.tolist(), visible.tolist(), strict=True)],
        "visible": visible.tolist(),
        "values": list(map(float, row["values"])),
    }  # fmt: skip
    for name in ("sources", "targets"):
        document[name] = [{key: value for key, value in unit.items() if value is not None} for unit in row[name]]
    attribution = result_of(document)
    assert isinstance(attribution, Attribution)
    return attribution
