"""The rows of a folder: `Run`, and `load_run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.dataset

from tokensal.results.attribution import Attribution
from tokensal.runs.folder import Folder
from tokensal.runs.rows import SCHEMA, attribution_of


@dataclass(frozen=True)
class Run:
    """What a folder holds; rows are read when they are needed, one part at a time.

    Attributes:
        folder: the folder, and the settings of the run.
    """

    folder: Folder

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.folder.path

    def dataset(self) -> pyarrow.dataset.Dataset:
        """The rows for pyarrow: `run.dataset().to_table(columns=[…])`, in the order of the examples."""
        return pyarrow.dataset.dataset([str(part) for part in self.folder.parts()], SCHEMA, format="parquet")

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """The rows in the order of the examples, with those of the columns."""
        for part in self.folder.parts():
            table = pyarrow.dataset.dataset(str(part), SCHEMA, format="parquet").to_table(columns=columns)
            yield from table.to_pylist()

    def __iter__(self) -> Iterator[Attribution]:
        """The attributions, without the examples that could not be explained."""
        return (attribution_of(row) for row in self.rows() if row["error"] is None)

    def __len__(self) -> int:
        """How many attributions there are."""
        return sum(row["error"] is None for row in self.rows(["error"]))

    def failures(self) -> Counter[str]:
        """How many rows have no scores, for each reason."""
        return Counter(row["error"] for row in self.rows(["error"]) if row["error"] is not None)


def load_run(path: str | PathLike[str]) -> Run:
    """The rows that `run` wrote into a folder.

    Raises:
        FormatError: it is no folder of a run.
    """
    return Run(Folder.of(path))
