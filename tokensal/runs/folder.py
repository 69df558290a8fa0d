"""The folder of a run.

    run.json                    settings: what decides the numbers
    parts/part-00000000.parquet rows of the first examples (see `tokensal.runs.rows`), all methods of each
    log/part-00000000.json      who wrote the part, and how many seconds each row took

1. A part holds a fixed range of examples: part p those from p · part_size on. So any division of the work among
   processes makes the same parts, and who writes one twice writes the same bytes.
2. A part is written beside its place, flushed to the disk, and renamed. A part that is there is complete.
3. A run goes on with the parts that are missing, or that have fewer examples than the source has now for them, as
   after a smaller limit.
4. Nothing is locked, so that a process that dies holds up no other.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from tokensal.errors import FormatError, InputError, OutputError
from tokensal.runs.explaining import Explained
from tokensal.runs.rows import SCHEMA

SETTINGS = "run.json"


@dataclass(frozen=True)
class Folder:
    """A folder, and the settings of the run in it."""

    path: Path
    settings: Mapping[str, Any]

    @classmethod
    def begin(cls, path: str | PathLike[str], settings: Mapping[str, Any]) -> Folder:
        """Begin a run in a folder, or go on with one of the same settings.

        Raises:
            InputError: the folder holds a run of other settings, or something else; the sentence says which.
            OutputError: it cannot be written.
        """
        place = Path(path)
        try:
            (place / "parts").mkdir(parents=True, exist_ok=True)
            (place / "log").mkdir(exist_ok=True)
            if not (place / SETTINGS).exists():
                _write(place / SETTINGS, json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False).encode())
        except OSError as error:
            raise OutputError(f"Cannot use the folder {str(path)!r}: {error.strerror or error}.") from error
        folder = cls.of(place)
        wanted = json.loads(json.dumps(settings))
        for name in sorted({*wanted, *folder.settings}):
            if folder.settings.get(name) != wanted.get(name):
                raise InputError(
                    f"{str(path)!r} holds a run of other settings: its {name} is {folder.settings.get(name)!r}, but "
                    f"now it is {wanted.get(name)!r}. Name another folder, or delete that one."
                )
        return folder

    @classmethod
    def of(cls, path: str | PathLike[str]) -> Folder:
        """The folder of a run that has begun.

        Raises:
            FormatError: it is none.
        """
        try:
            settings = json.loads((Path(path) / SETTINGS).read_text("utf-8"))
            if not isinstance(settings, dict) or settings.get("schema") != "tokensal/run":
                raise ValueError("its settings are not those of a run")
        except (OSError, ValueError) as error:
            detail = getattr(error, "strerror", None) or error
            raise FormatError(
                f"{str(path)!r} is no folder of a run ({detail}): name one that `tokensal run` wrote."
            ) from error
        return cls(Path(path), settings)

    def parts(self) -> list[Path]:
        """The files of all parts that are complete, in the order of the examples."""
        return sorted((self.path / "parts").glob("part-*.parquet"))

    def examples_in(self, part: int) -> int:
        """How many examples a part holds; 0 where it is missing, or is no Parquet file."""
        with suppress(OSError, pyarrow.ArrowInvalid):
            metadata = pyarrow.parquet.read_metadata(self._part(part))
            return int(metadata.num_rows) // max(1, len(self.settings["methods"]))
        return 0

    def write(self, part: int, rows: Sequence[Explained]) -> None:
        """Write a part, and its log.

        Raises:
            OutputError: the disk or the system refuses.
        """
        table = pyarrow.Table.from_pylist([explained.row for explained in rows], SCHEMA)
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(table, sink, compression="zstd")
        log = {"host": socket.gethostname(), "process": os.getpid(), "seconds": [each.seconds for each in rows]}
        try:
            _write(self.path / "log" / f"part-{part:08}.json", json.dumps(log).encode())
            _write(self._part(part), sink.getvalue().to_pybytes())
        except OSError as error:
            raise OutputError(
                f"Cannot write part {part} into {str(self.path)!r}: {error.strerror or error}. All earlier parts are "
                "complete: the same command goes on there."
            ) from error

    def _part(self, part: int) -> Path:
        return self.path / "parts" / f"part-{part:08}.parquet"


def _write(place: Path, content: bytes) -> None:
    """Write beside the place, flush, and rename: nobody reads a file that is half written."""
    aside = place.with_name(f".{place.name}-{secrets.token_hex(8)}.tmp")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, place)
    finally:
        with suppress(OSError):
            aside.unlink()
