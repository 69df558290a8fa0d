"""Records from files: lines of JSON, tables, Parquet, lists in JSON, lines of text."""

from __future__ import annotations

import codecs
import glob
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import IO, Any

import fsspec
import pyarrow.parquet

from tokensal.errors import InputError, foreign
from tokensal.evaluation.prompts.records import table_rows
from tokensal.runs.columns import Columns
from tokensal.runs.raw_records import Line, Records
from tokensal.values import described

COMPRESSED = (".gz", ".bz2", ".xz")
BATCH = 64  # rows of Parquet that are in memory

Reader = Callable[[Path, Columns], Iterator[Any]]


def records_of_files(source: str | PathLike[str], columns: Columns, limit: int | None) -> Records:
    """The records of a file, or of all that fit a pattern, in the order of their names.

    Args:
        source: the path or the pattern.
        columns: which columns are read.
        limit: how many records are needed; more are not counted.

    Raises:
        InputError: there is no such file, its format is unknown, or it cannot be read.
    """
    files = _files(fspath(source))
    for file in files:
        if format_of(file) is None:
            raise InputError(
                f"The format of {str(file)!r} is unknown: name a file that ends in {', '.join(READERS)}; or in one of "
                f"these and {', '.join(COMPRESSED)}."
            )
    digests = [digest_of(file) for file in files]
    total = 0
    for file in files:
        total += _count(file, None if limit is None else limit - total)
    return Records((record for file in files for record in _records(file, columns)), {"files": digests}, total)


def format_of(path: str | PathLike[str]) -> str | None:
    """The suffix that tells the format of a file, compressed or not; None where none is known."""
    name = Path(path).name.lower()
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    suffix = Path(name).suffix
    return suffix if suffix in READERS else None


def _files(source: str) -> list[Path]:
    if os.path.isfile(source):
        return [Path(source)]
    files = sorted(Path(each) for each in glob.glob(source, recursive=True) if os.path.isfile(each))
    if not files:
        kind = "no file fits the pattern" if glob.has_magic(source) else "there is no file"
        raise InputError(f"Cannot read the source: {kind} {described(source)}. A text to explain stands in a list.")
    return files


def digest_of(path: Path) -> dict[str, str]:
    """What tells a file from others: its name, and a digest of its bytes."""
    with _reading(path), path.open("rb") as file:
        return {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _count(path: Path, limit: int | None) -> int:
    """How many records a file has, up to a limit: what progress is measured by."""
    with _reading(path):
        if format_of(path) == ".parquet":
            with pyarrow.parquet.ParquetFile(path) as file:
                return int(file.metadata.num_rows)
        return sum(1 for _ in islice(_records(path, Columns({})), limit))


def _records(path: Path, columns: Columns) -> Iterator[Any]:
    with _reading(path):
        yield from READERS[format_of(path) or ""](path, columns)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    remedy = "Perhaps it is damaged, or its name tells another format."
    with foreign(InputError, f"Could not read {str(path)!r}", remedy):
        yield


# Readers, one a format: the records of a file; a line that cannot be read is one, too


def _of_lines(path: Path, columns: Columns) -> Iterator[Line]:
    return map(Line, _lines(path))


def _of_json(path: Path, columns: Columns) -> Iterator[Any]:
    """A list; or lines, which some files of that name have."""
    with _open(path) as file:
        content = file.read().decode("utf-8-sig")
    if not content.lstrip().startswith("["):
        return _of_lines(path, columns)
    return iter(json.loads(content))


def _of_table(path: Path, columns: Columns, *, delimiter: str) -> Iterator[Any]:
    """Bytes that are no UTF-8 become half characters, which are an error of the row that has them."""
    with _open(path) as file, io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as text:
        for _, row in table_rows(text, path.name, delimiter=delimiter):
            yield row


def _of_text(path: Path, columns: Columns) -> Iterator[str]:
    return (line.decode("utf-8", "surrogateescape").rstrip("\r\n") for line in _lines(path))


def _of_parquet(path: Path, columns: Columns) -> Iterator[dict[str, Any]]:
    """Some rows at a time, with the columns that are read."""
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH, columns=columns.needed(file.schema_arrow.names)):
            yield from batch.to_pylist()


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file that are not blank, without the mark that some editors begin a file with."""
    with _open(path) as file:
        for number, line in enumerate(file):
            content = line.removeprefix(codecs.BOM_UTF8) if number == 0 else line
            if content.strip():
                yield content


def _open(path: Path) -> IO[bytes]:
    """A file, decompressed."""
    file: IO[bytes] = fsspec.filesystem("file").open(str(path), "rb", compression="infer")
    return file


READERS: dict[str, Reader] = {
    ".jsonl": _of_lines,
    ".json": _of_json,
    ".csv": partial(_of_table, delimiter=","),
    ".tsv": partial(_of_table, delimiter="\t"),
    ".parquet": _of_parquet,
    ".txt": _of_text,
}
