"""The folder of a run.

    run.json                    settings: what decides the numbers, and a digest of them
    README.md                   what this is, and for `datasets` and the hub where the rows are
    parts/part-00000000.parquet rows of the first examples (see `tokensal.runs.rows`), all methods of each
    log/part-00000000.json      who wrote the part, and how many seconds each row took, in all and for the method alone

1. A part holds a fixed range of examples: part p those from p · part_size on. So any division of the work among
   processes makes the same parts, and who writes one twice writes the same bytes.
2. A part is written beside its place, flushed to the disk, and renamed. A part that is there is complete.
3. A run goes on with the parts that are missing or damaged, or that have fewer examples than the source has now for
   them, as after a smaller limit. Those that are there must hold the examples that the source has at their places.
4. Nothing is locked, so that a process that dies holds up no other. What a killed one leaves half written ends in
   .tmp, is read by nobody, and is removed by the next run once it is an hour old.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from tokensal.errors import FormatError, InputError, OutputError
from tokensal.render.extras import requiring
from tokensal.runs.card import card_of
from tokensal.runs.explaining import Explained
from tokensal.runs.rows import KEY, Row
from tokensal.values import described

ROWS = "tokensal/rows"  # a folder that has no settings
SETTINGS, CARD, PARTS, LOG = "run.json", "README.md", "parts", "log"
OWN = {SETTINGS, CARD, PARTS, LOG, "lost+found"}  # the last one is in every folder that is a disk of its own
ABANDONED = 3600  # seconds after which nobody is still writing a file; the clocks of machines may differ by minutes


@dataclass(frozen=True)
class Folder:
    """A folder, and the settings of the run in it.

    Attributes:
        path: where it is.
        settings: what decides the numbers, see `tokensal.runs.task.Task.settings`, and their digest.
    """

    path: Path
    settings: Mapping[str, Any]

    @classmethod
    def begin(cls, path: str | PathLike[str], settings: Mapping[str, Any]) -> Folder:
        """Begin a run in a folder, or go on with one of the same settings.

        Raises:
            InputError: the folder holds a run of other settings, or something else; the sentence says which.
            OutputError: it cannot be written.
        """
        require_parquet()
        place = Path(path)
        wanted = json.loads(json.dumps(settings))
        try:
            _require_own(place)
            for name in (PARTS, LOG):
                (place / name).mkdir(parents=True, exist_ok=True)
            _write_first(place / SETTINGS, _lines({**wanted, "digest": digest_of(wanted)}))
            folder = cls.of(place)
            folder.require_settings(settings)
            _write_first(place / CARD, card_of(wanted))
            _remove_abandoned(place)
        except OSError as error:
            raise OutputError(f"Cannot use the folder {str(path)!r}: {error.strerror or error}.") from error
        return folder

    @classmethod
    def of(cls, path: str | PathLike[str]) -> Folder:
        """The folder of a run that has begun; or one of Parquet files with rows, as `tokensal.integrations` write them.

        Raises:
            FormatError: it is neither.
        """
        if not (Path(path) / SETTINGS).exists() and (methods := _methods_of_rows(Path(path))):
            return cls(Path(path), {"schema": ROWS, "methods": dict.fromkeys(methods, "")})
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

    def require_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse a run of other settings.

        Raises:
            InputError: the folder's are others; the sentence says which.
        """
        wanted = json.loads(json.dumps(settings))
        stored = {name: value for name, value in self.settings.items() if name != "digest"}
        if difference := _difference(stored, wanted):
            name, old, new = difference
            raise InputError(
                f"{str(self.path)!r} holds a run of other settings: its {name} is {described(old)}, but now it is "
                f"{described(new)}. Name another folder, or delete that one."
            )

    def parts(self) -> list[Path]:
        """The files of all parts, in the order of the examples; of rows without settings all files, by their names."""
        if self.settings["schema"] == ROWS:
            return sorted(self.path.rglob("*.parquet"))
        return sorted((self.path / PARTS).glob("part-*.parquet"))

    def keys(self, part: int) -> list[Row]:
        """The columns `KEY` of a part; none where it is missing or damaged."""
        with requiring("data"):
            from tokensal.runs.parquet import read_rows
        with suppress(FormatError):
            return read_rows(self._part(part), [column.name for column in KEY])
        return []

    def examples_in(self, part: int) -> int:
        """How many examples a part holds; 0 where it is missing or damaged."""
        return len(self.keys(part)) // max(1, len(self.settings["methods"]))

    def holds(self, part: int, wanted: Sequence[Row], *, retry: bool = False) -> bool:
        """Whether a part is complete.

        Args:
            part: its number.
            wanted: the key of each of its rows, see `tokensal.runs.rows.key_of`.
            retry: count a part that has errors as incomplete.

        Raises:
            InputError: it holds other examples: the source has changed.
        """
        stored = self.keys(part)
        for old, new in zip(stored, wanted, strict=False):
            if {**old, "error": None} != {**new, "error": None}:
                raise InputError(
                    f"The source has changed: example {new['number']} is {new['id']!r}, {described(new['record'])}, "
                    f"but when {str(self.path)!r} was written it was {old['id']!r}, {described(old['record'])}. Name "
                    "another folder, or delete that one."
                )
        return len(stored) >= len(wanted) and not (retry and any(row["error"] is not None for row in stored))

    def write(self, part: int, rows: Sequence[Explained]) -> None:
        """Write a part, and its log; not over one of more rows, which a process with a larger limit has written.

        Raises:
            OutputError: the disk or the system refuses.
        """
        with requiring("data"):
            from tokensal.runs.parquet import encoded
        content = encoded(explained.row for explained in rows)
        log = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "seconds": [each.seconds for each in rows],
            "method_seconds": [each.method_seconds for each in rows],
        }
        if len(self.keys(part)) > len(rows):
            return
        try:
            _write(self._log(part), json.dumps(log).encode())
            _write(self._part(part), content)
        except OSError as error:
            raise OutputError(
                f"Cannot write part {part} into {str(self.path)!r}: {error.strerror or error}. All earlier parts are "
                "complete: the same call goes on there."
            ) from error

    def method_seconds(self, file: Path) -> list[float]:
        """How many seconds the method alone took in each row of a file of `parts`; none where its log is missing."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            log = self.path / LOG / f"{file.stem}.json"
            return list(map(float, json.loads(log.read_bytes())["method_seconds"]))
        return []

    def _part(self, part: int) -> Path:
        return self.path / PARTS / f"part-{part:08}.parquet"

    def _log(self, part: int) -> Path:
        return self.path / LOG / f"part-{part:08}.json"


def require_parquet() -> None:
    """Refuse, before anything takes time, to begin what cannot be written. Raises InputError without pyarrow."""
    with requiring("data"):
        import_module("tokensal.runs.parquet")


def _methods_of_rows(place: Path) -> list[str]:
    """The methods of the first file of rows in a folder, in the order of an example; none without such a file."""
    with requiring("data"):
        from tokensal.runs.parquet import read_rows
    for file in sorted(place.rglob("*.parquet")):
        with suppress(FormatError, ValueError, KeyError):
            if methods := list(dict.fromkeys(row["method"] for row in read_rows(file, ["method"]))):
                return methods
    return []


def digest_of(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings as JSON: equal if, and only if, they are."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _lines(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _require_own(place: Path) -> None:
    """Refuse a folder that is used for something else."""
    names = {name for name in os.listdir(place) if not name.startswith(".")} if place.exists() else set()
    # another process may begin the same run: it makes nothing else, and writes the settings before the README
    other = sorted(names - (OWN - {CARD}))
    if other and not (place / SETTINGS).exists():
        raise InputError(f"{str(place)!r} holds something else, such as {other[0]!r}: name a new or an empty folder.")


def _difference(old: Any, new: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The name of the first setting that differs, and its values; None where all are the same."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            if difference := _difference(old.get(key), new.get(key), f"{name}.{key}" if name else key):
                return difference
        # of the methods of an example, whose rows have their order
        return None if name != "methods" or [*old] == [*new] else (f"order of {name}", [*old], [*new])
    return None if old == new else (name, old, new)


def _remove_abandoned(place: Path) -> None:
    """Remove what killed processes left, once it is so old that nobody can be writing it."""
    oldest = time.time() - ABANDONED
    for folder in (place, place / PARTS, place / LOG):
        for aside in folder.glob(".*.tmp"):
            with suppress(OSError):
                if re.fullmatch(r"\..+-[0-9a-f]{16}\.tmp", aside.name) and aside.stat().st_mtime < oldest:
                    aside.unlink()


def _write_first(place: Path, text: str) -> None:
    """Write a file unless there is one: of several processes that try it at once, one succeeds, and none half."""
    if not place.exists():
        with suppress(FileExistsError):
            _write(place, text.encode(), publish=_link)


def _link(aside: Path, place: Path) -> None:
    """Give a file its name, unless another has it."""
    try:
        os.link(aside, place)
    except FileExistsError:
        raise
    except OSError:  # some file systems have no hard links; a rename is the nearest to it
        os.replace(aside, place)


def _write(place: Path, content: bytes, publish: Any = os.replace) -> None:
    """Write beside the place, flush, and rename: nobody reads a file that is half written."""
    aside = place.with_name(f".{place.name}-{secrets.token_hex(8)}.tmp")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        publish(aside, place)
    finally:
        with suppress(OSError):
            aside.unlink()
