"""Parquet: the table of `tokensal.render.tables`, and where its numbers came from.

Each column says in the metadata of its field what it holds ("description"). The metadata of the schema have a JSON
document under "tokensal":

    {"schema": "tokensal/table", "version": 1, "text": str, "attributions": [{"provenance": …, "signed": bool}, …]}

where `text` is the shown text, which characters refer to, and provenance is as in `tokensal.render.json`; of an
evaluation or a summary, {"schema": "tokensal/table", "version": 1, "facts": …, "config": …, "failures": …} as there.
`pandas`, `polars` and `datasets` read such a file as it is:

    pandas.read_parquet("paris.parquet")                        # equal to result.to_pandas()
    datasets.load_dataset("parquet", data_files="paris.parquet")
    json.loads(pyarrow.parquet.read_schema("paris.parquet").metadata[b"tokensal"])
"""

from __future__ import annotations

import io
import json
from typing import Any

import pandas as pandas  # `Table.from_pandas` needs it
import pyarrow
import pyarrow.parquet

from tokensal.render.evaluation_table import COLUMNS as OF_EVALUATION
from tokensal.render.files import storable
from tokensal.render.json import evaluation_document, provenance_document, summary_document
from tokensal.render.summary_table import COLUMNS as OF_SUMMARY
from tokensal.render.tables import attributions_of, columns_of, frame
from tokensal.results.attribution import Attribution
from tokensal.results.columns import COLUMNS, Column
from tokensal.results.comparison import Comparison
from tokensal.results.evaluation import Evaluation
from tokensal.results.summary import Summary

SCHEMA, VERSION = "tokensal/table", 1
OF_TABLE = ("facts", "config", "failures")  # of the document of an evaluation, or of a summary
TYPES = {
    "str": pyarrow.string(),
    "int64": pyarrow.int64(),
    "Int64": pyarrow.int64(),
    "float32": pyarrow.float32(),
    "float64": pyarrow.float64(),
    "bool": pyarrow.bool_(),
}


def dumps(result: Attribution | Comparison | Evaluation | Summary) -> bytes:
    """The table of a result as a Parquet file."""
    others: dict[type, tuple[Column, ...]] = {Evaluation: OF_EVALUATION, Summary: OF_SUMMARY}
    columns = others.get(type(result), COLUMNS)
    fields = [
        pyarrow.field(column.name, TYPES[column.dtype], metadata={"description": column.meaning}) for column in columns
    ]
    table = pyarrow.Table.from_pandas(frame(columns_of(result)), pyarrow.schema(fields), preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, b"tokensal": _metadata(result)})
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file, compression="zstd")
    return file.getvalue()


def _metadata(result: Attribution | Comparison | Evaluation | Summary) -> bytes:
    return storable(json.dumps(_described(result), ensure_ascii=False, allow_nan=False)).encode()


def _described(result: Attribution | Comparison | Evaluation | Summary) -> dict[str, Any]:
    if isinstance(result, Evaluation | Summary):
        document = evaluation_document(result) if isinstance(result, Evaluation) else summary_document(result)
        return {"schema": SCHEMA, "version": VERSION, **{name: document[name] for name in OF_TABLE}}
    attributions = attributions_of(result)
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "text": attributions[0].text,
        "attributions": [
            {"provenance": provenance_document(each.provenance), "signed": each.signed} for each in attributions
        ],
    }
