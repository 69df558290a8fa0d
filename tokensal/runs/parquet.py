"""Rows as Parquet, the only part of runs that needs pyarrow: import it inside functions, by `requiring("data")`.

Pages have checksums, so that a damaged file is told, and not read as other numbers. `pandas`, `datasets` and others
read the files as they are; see `tokensal.runs.rows` for the columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow
import pyarrow.dataset
import pyarrow.parquet

from tokensal.errors import FormatError, reason
from tokensal.runs.rows import COLUMNS, OF_UNIT, Column, Row

VERSION = {"schema": "tokensal/rows", "version": 1}
PLAIN: Mapping[str, pyarrow.DataType] = {
    "bool": pyarrow.bool_(),
    "int32": pyarrow.int32(),
    "int64": pyarrow.int64(),
    "float32": pyarrow.float32(),
    "string": pyarrow.string(),
}


def _type_of(name: str) -> pyarrow.DataType:
    """The type that a column calls by its name."""
    if name == "unit":
        return pyarrow.struct([_field(column) for column in OF_UNIT])
    if name.startswith("list<"):
        return pyarrow.list_(_type_of(name.removeprefix("list<").removesuffix(">")))
    return PLAIN[name]


def _field(column: Column) -> pyarrow.Field:
    metadata = {"description": column.meaning}
    return pyarrow.field(column.name, _type_of(column.type), nullable=not column.required, metadata=metadata)


SCHEMA = pyarrow.schema(list(map(_field, COLUMNS)), metadata={"tokensal": json.dumps(VERSION)})


def encoded(rows: Iterable[Row]) -> bytes:
    """Rows as a file. The same rows are the same bytes, whoever writes them with the same version of pyarrow."""
    sink = pyarrow.BufferOutputStream()
    table = pyarrow.Table.from_pylist(list(rows), SCHEMA)
    pyarrow.parquet.write_table(table, sink, compression="zstd", write_page_checksum=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_rows(path: Path, columns: Sequence[str] | None = None) -> list[Row]:
    """The rows of a file, with all columns or some of them.

    Raises:
        FormatError: it is missing or damaged, or it has other columns.
    """
    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            rows: list[Row] = file.read(columns=columns if columns is None else list(columns)).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise FormatError(
            f"Cannot read {str(path)!r} ({reason(error)}): delete it, and run the same call again, which makes it anew."
        ) from error
    return rows


def dataset_of(paths: Iterable[Path]) -> pyarrow.dataset.Dataset:
    """All rows of several files, in their order, for pyarrow."""
    return pyarrow.dataset.dataset([str(path) for path in paths], SCHEMA, format="parquet")
