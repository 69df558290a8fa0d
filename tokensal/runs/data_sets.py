"""Records from data sets: those of the library `datasets`, by name or as objects, and tables of other libraries."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow

from tokensal.errors import InputError, foreign, unknown
from tokensal.run_options import Reading
from tokensal.runs.columns import Columns
from tokensal.runs.files import BATCH, digest_of, format_of
from tokensal.runs.raw_records import Records

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder, IterableDataset

NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")
SPLIT = "train"  # of a data set by name, where no split is named
SAVED = ("state.json", "dataset_dict.json")  # in a folder that `save_to_disk` wrote


def is_name(source: str | PathLike[str]) -> bool:
    """Whether that names a data set: a folder, or the name of one on the hub, which no file has."""
    if os.path.isdir(source):
        return True
    return (
        isinstance(source, str)
        and not os.path.exists(source)
        and NAME.fullmatch(source) is not None
        and format_of(source) is None
        and not source.startswith(".")
    )


def records_of_name(source: str | PathLike[str], columns: Columns, reading: Reading) -> Records:
    """The records of a data set on the hub, or in a folder, as a stream.

    Raises:
        InputError: it cannot be loaded; the sentence has the reason, such as the splits that there are.
    """
    remedy = "Name a file, a folder, or a data set on the hub that can be reached from here."
    with foreign(InputError, f"Cannot read the data set {str(source)!r}", remedy):
        folder = Path(source)
        if not folder.is_dir():
            return _of_hub(str(source), columns, reading)
        if any((folder / name).exists() for name in SAVED):
            import datasets

            saved = records_of_data_set(datasets.load_from_disk(str(folder)), columns, reading, split=SPLIT)
            assert saved is not None
            return saved
        return _of_folder(folder, columns, reading)


def _of_hub(source: str, columns: Columns, reading: Reading) -> Records:
    import datasets

    name, _, revision = source.partition("@")
    builder = datasets.load_dataset_builder(name, reading.subset, revision=revision or None)
    split = _split_of(builder, reading)
    sizes = builder.info.splits or {}
    identity = {"name": name, "subset": builder.config.name, "split": split, "revision": builder.hash}
    total = sizes[split].num_examples if split in sizes else None
    return Records(_rows(builder.as_streaming_dataset(split), columns), identity, total)


def _of_folder(folder: Path, columns: Columns, reading: Reading) -> Records:
    import datasets

    builder = datasets.load_dataset_builder(str(folder.resolve()), reading.subset)
    split = _split_of(builder, reading)
    files = [digest_of(Path(file)) for file in builder.config.data_files[split]]
    identity = {"name": folder.resolve().name, "subset": builder.config.name, "split": split, "files": files}
    return Records(_rows(builder.as_streaming_dataset(split), columns), identity, None)


def _split_of(builder: DatasetBuilder, reading: Reading) -> str:
    split = reading.split or SPLIT
    splits = list(builder.info.splits or builder.config.data_files or ())
    if splits and split not in splits:
        raise unknown("split", split, map(str, splits))
    return split


def records_of_data_set(source: object, columns: Columns, reading: Reading, split: str | None = None) -> Records | None:
    """The records of a data set that is an object of the library `datasets`; None of anything else.

    Args:
        source: the object.
        columns: which columns are read.
        reading: which split of a `DatasetDict`.
        split: the split where none is named.

    Raises:
        InputError: a split that it does not have, or none is named of several.
    """
    datasets: Any = sys.modules.get("datasets")
    if datasets is None:
        return None
    if isinstance(source, datasets.DatasetDict | datasets.IterableDatasetDict):
        split = reading.split or split
        if split not in source:
            raise unknown("split", split or "", source)
        return records_of_data_set(source[split], columns, replace(reading, split=None))
    if not isinstance(source, datasets.Dataset | datasets.IterableDataset):
        return None
    if reading.split is not None or reading.subset is not None:
        raise InputError("This data set is one split of one configuration: leave out split and subset.")
    if isinstance(source, datasets.Dataset):
        return Records(_rows(source, columns), {"fingerprint": source._fingerprint}, len(source))
    names = {"name": source.info.dataset_name, "subset": source.info.config_name, "split": source.split}
    return Records(_rows(source, columns), {"stream": {name: str(each) for name, each in names.items() if each}}, None)


def _rows(data_set: Dataset | IterableDataset, columns: Columns) -> Iterator[Mapping[str, Any]]:
    """Rows with the columns that are read, so that images and sounds beside them are not decoded."""
    with foreign(InputError, "The data set cannot be read on", "What is written so far is complete."):
        transformed = getattr(data_set, "format", {}).get("type") == "custom"  # then columns may be others
        if not transformed:
            if data_set.column_names is not None:
                data_set = data_set.select_columns(columns.needed(data_set.column_names))
            data_set = data_set.with_format(None)
        yield from data_set


# Tables of pandas, Polars and pyarrow


def records_of_table(source: Any, columns: Columns) -> Records:
    """The rows of a table with the interface of Arrow; a number that is missing is null.

    Raises:
        InputError: it cannot be read as a table.
    """
    with foreign(InputError, "The source cannot be read as a table", "Pass a list of records instead."):
        table = pyarrow.table(source).replace_schema_metadata(None)
    table = table.select(columns.needed(table.column_names))
    digest = hashlib.sha256(table.schema.serialize())
    for batch in table.to_batches(BATCH):
        digest.update(batch.serialize())
    rows = (row for batch in table.to_batches(BATCH) for row in batch.to_pylist())
    return Records(rows, {"source": "table", "sha256": digest.hexdigest()}, table.num_rows)
