"""The rows of a folder: `Run`, and `load_run`."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice, repeat
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokensal.drawable import drawable
from tokensal.errors import InputError, require_known
from tokensal.render.extras import requiring
from tokensal.render.tables import ARRAYS, Array, columns_of, frame
from tokensal.results.attribution import Attribution
from tokensal.results.columns import COLUMNS as OF_TABLE
from tokensal.results.comparison import Comparison
from tokensal.runs.folder import Folder
from tokensal.runs.hub import push
from tokensal.runs.rows import COLUMNS, Row, attribution_of

if TYPE_CHECKING:
    from pandas import DataFrame
    from pyarrow.dataset import Dataset


COMPARED = 10_000  # ids at most, to offer the nearest of them


@dataclass(frozen=True)
class StoredExample:
    """All rows of an example.

    Attributes:
        number: its place in the source, from 0 on.
        id: its name.
        record: the example as it was read; None where it could not be read.
        attributions: by the names of the methods, in the order of the run.
        errors: of methods that failed, and why.
    """

    number: int
    id: str
    record: Mapping[str, Any] | None
    attributions: Mapping[str, Attribution]
    errors: Mapping[str, str]


@dataclass(frozen=True, repr=False)
class Run:
    """What a folder holds; rows are read when they are needed, one part at a time.

    Iterating gives an `Attribution` a row, in the order of the examples and, of each, of the methods; those that failed
    are left out, and `failures` counts them. Their provenance tells the method with its options, and its seconds.

        >>> import tempfile, tokensal
        >>> run = tokensal.run(
        ...     "dates",
        ...     ["the 3rd of March, 1987", "3 May 1999"],
        ...     tempfile.mkdtemp(),
        ...     methods=["occlusion", "input_x_gradient"],
        ... )
        >>> run  # doctest: +ELLIPSIS
        Run('...': 2 examples × 2 methods, no errors)
        >>> [attribution.provenance.method for attribution in run]
        ['occlusion', 'input_x_gradient', 'occlusion', 'input_x_gradient']
        >>> run.example("1").methods
        ('occlusion', 'input_x_gradient')
        >>> run.example("1", method="occlusion").target_texts[0]
        '1999'

    Attributes:
        folder: the folder, and the settings of the run.
    """

    folder: Folder

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.folder.path

    @property
    def methods(self) -> tuple[str, ...]:
        """(M,) the methods, as rows call them."""
        return tuple(self.folder.settings["methods"])

    def dataset(self) -> Dataset:
        """The rows for pyarrow: `run.dataset().to_table(columns=[…])`, in the order of the examples.

        Raises:
            InputError: pyarrow is not installed.
        """
        with requiring("data"):
            from tokensal.runs.parquet import dataset_of
        return dataset_of(self.folder.parts())

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """The rows in the order of the examples, with all columns of `tokensal.runs.rows`, or with some of them.

        Raises:
            InputError: an unknown column, or pyarrow is not installed.
            FormatError: a part is damaged.
        """
        if columns is not None:
            columns = require_known("column of rows:", columns, [column.name for column in COLUMNS])
        return (row for row, _ in self._rows(columns))

    def _rows(self, columns: Sequence[str] | None = None) -> Iterator[tuple[Row, float]]:
        """The rows, and the seconds of each; 0 where the log does not tell."""
        with requiring("data"):
            from tokensal.runs.parquet import read_rows
        for path in self.folder.parts():
            seconds = chain(self.folder.method_seconds(path), repeat(0.0))
            yield from zip(read_rows(path, columns), seconds, strict=False)

    def examples(self) -> Iterator[StoredExample]:
        """The rows of each example together, one example after another.

        Raises:
            FormatError: a part is damaged.
        """
        for _, group in groupby(self._rows(), key=lambda pair: pair[0]["number"]):
            rows = list(group)
            first = rows[0][0]
            yield StoredExample(
                number=first["number"],
                id=first["id"],
                record=None if first["record"] is None else json.loads(first["record"]),
                attributions={
                    row["method"]: attribution_of(row, seconds) for row, seconds in rows if row["error"] is None
                },
                errors={row["method"]: row["error"] for row, _ in rows if row["error"] is not None},
            )

    def __iter__(self) -> Iterator[Attribution]:
        return (attribution_of(row, seconds) for row, seconds in self._rows() if row["error"] is None)

    def __len__(self) -> int:
        return sum(row["error"] is None for row in self.rows(["error"]))

    def failures(self) -> Counter[str]:
        """How many rows have no scores, for each reason; `rows(["id", "method", "error"])` tells which."""
        return Counter(row["error"] for row in self.rows(["error"]) if row["error"] is not None)

    def example(self, id: str | int, method: str | None = None) -> Attribution | Comparison:
        """What was stored of one example.

        Args:
            id: its name; where the source has no names, its number from 0 on.
            method: as rows call it; all of them if left out.

        Returns:
            The attribution, or of several methods the comparison; methods that failed for the example are left out.

        Raises:
            InputError: there is no such example or method, or the example has no scores at all, and why.
            FormatError: a part is damaged.
        """
        methods = self.methods if method is None else require_known("method of this run:", method, self.methods)
        rows = [(row, seconds) for row, seconds in self._rows_of(str(id)) if row["method"] in methods]
        attributions = tuple(attribution_of(row, seconds) for row, seconds in rows if row["error"] is None)
        if not attributions:
            raise InputError(f"Example {str(id)!r} has no scores: {rows[0][0]['error']}")
        return attributions[0] if len(attributions) == 1 else Comparison(attributions)

    def _rows_of(self, id: str) -> list[tuple[Row, float]]:
        """The rows of the first example of that name; other parts are only read for their names."""
        with requiring("data"):
            from tokensal.runs.parquet import read_rows
        for path in self.folder.parts():
            numbers = [row["number"] for row in read_rows(path, ["number", "id"]) if row["id"] == id]
            if numbers:
                seconds = chain(self.folder.method_seconds(path), repeat(0.0))
                pairs = zip(read_rows(path), seconds, strict=False)
                return [(row, each) for row, each in pairs if row["number"] == numbers[0]]
        names = list(islice(dict.fromkeys(row["id"] for row in self.rows(["id"])), COMPARED))
        near = difflib.get_close_matches(id, names, n=1) or names[:1]
        raise InputError(f"The run has no example {id!r}: name one that it has{f', such as {near[0]!r}' * bool(near)}.")

    def to_pandas(self) -> DataFrame:
        """The scores of all examples as a long table: that of `Attribution.to_pandas`, with the example of each line.

        `number` and `id` are those of the example, and `attribution` is the number of the method in the run. A row for
        each score takes memory: for a large run, take the attributions one by one, or `dataset()`, or the rows as they
        are stored, `pandas.read_parquet(run.path / "parts")`.

        Raises:
            InputError: pandas or pyarrow is not installed.
        """
        tables, numbers, ids, lengths = [], [], [], []
        for row, seconds in self._rows():
            if row["error"] is None:
                table = columns_of(attribution_of(row, seconds))
                table["attribution"] = np.full(len(table["score"]), self.methods.index(row["method"]), dtype=np.int64)
                tables.append(table)
                numbers.append(row["number"])
                ids.append(row["id"])
                lengths.append(len(table["score"]))
        empty: dict[str, Array] = {column.name: np.array([], dtype=ARRAYS[column.dtype]) for column in OF_TABLE}
        table = frame({name: np.concatenate([empty[name], *(each[name] for each in tables)]) for name in empty})
        table.insert(0, "number", np.repeat(np.array(numbers, dtype=np.int64), lengths))
        table.insert(1, "id", np.repeat(np.array(ids, dtype=object), lengths))
        return table.astype({"id": "str"})

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the rows and the settings as a data set, which `datasets.load_dataset(repo_id)` reads.

        The log, which has names of machines, stays here.

        Args:
            repo_id: "name", or "organisation/name"; made if it does not exist.
            private: whether others may not see one that is made now.
            token: of a user who may write there; by default that of `hf auth login`.

        Returns:
            The address of what was uploaded.

        Raises:
            OutputError: the hub cannot be reached, or refuses.
        """
        return push(self.path, repo_id, private=private, token=token)

    def __repr__(self) -> str:
        errors = [row["error"] for row in self.rows(["error"])]
        examples, failed = len(errors) // max(1, len(self.methods)), sum(error is not None for error in errors)
        methods = f" × {len(self.methods)} methods" if len(self.methods) > 1 else f" by {self.methods[0]}"
        return drawable(
            f"Run({str(self.path)!r}: {examples} example{'s' * (examples != 1)}{methods}, "
            f"{failed or 'no'} error{'s' * (failed != 1)})"
        )


def load_run(path: str | PathLike[str]) -> Run:
    """The rows that `run` wrote into a folder, complete or not; or that Ray or datatrove wrote, which have no settings.

    Raises:
        FormatError: it is no folder of a run, and has no rows.
    """
    return Run(Folder.of(path))
