"""A journal: a file of what is finished of an evaluation, so that the same call goes on after an interruption.

The first line holds the settings; of a suite, the second one says which prompts were accepted, since to find them
takes as long as to measure some; each other line has the numbers of one prompt, all as JSON. A line is written at once
and flushed; one that was cut off by a crash is measured again. A file of other settings is refused.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tokensal.errors import InputError, OutputError

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """The numbers of one prompt.

    Attributes:
        id: of the prompt.
        text: what was read.
        targets: how many.
        values: Q rows of M numbers.
        seconds: M numbers.
        curves: M tables (2, F), or None.
        failures: why a method, by its number, has none.
    """

    id: str
    text: str
    targets: int
    values: list[list[float]]
    seconds: list[float]
    curves: list[list[list[float]] | None]
    failures: dict[int, str]


@dataclass(frozen=True, slots=True)
class Accepted:
    """Which prompts of a suite a model answers from the evidence.

    Attributes:
        ids: of the prompts, in their order.
        tried: for each kind, how many were drawn for them.
    """

    ids: list[str]
    tried: dict[str, int]


@dataclass(frozen=True, slots=True)
class Journal:
    """What is finished, by the id of the prompt, and which prompts were accepted, if that is known; without a path,
    nothing is kept."""

    path: Path | None
    finished: dict[str, Line]
    accepted: Accepted | None = None

    @classmethod
    def of(cls, path: str | PathLike[str] | None, settings: Settings) -> Journal:
        """Begin a journal, or go on with one of the same settings.

        Raises:
            InputError: the file holds something else, or other settings; the sentence says which.
            OutputError: it cannot be read or written.
        """
        if path is None:
            return cls(None, {}, None)
        place = Path(path)
        try:
            text = place.read_text("utf-8", errors="replace") if place.exists() else ""
            complete = text[: text.rfind("\n") + 1]
            lines = complete.splitlines()
            finished, accepted = _read(place, lines, settings) if lines else ({}, None)
            encoded = complete.encode() if lines else (_written(settings) + "\n").encode()
            if encoded != text.encode():
                place.write_bytes(encoded)
        except OSError as error:
            raise OutputError(f"Cannot use journal {str(path)!r}: {error.strerror or error}.") from error
        return cls(place, finished, accepted)

    def accept(self, accepted: Accepted) -> Accepted:
        """Keep which prompts were accepted.

        Raises:
            OutputError: the disk refuses.
        """
        self._append({"accepted": asdict(accepted)})
        return accepted

    def add(self, line: Line) -> Line:
        """Keep what is finished.

        Raises:
            OutputError: the disk refuses.
        """
        self._append(asdict(line))
        return line

    def _append(self, value: Mapping[str, Any]) -> None:
        if self.path is not None:
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(_written(value) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise OutputError(f"Cannot write journal {str(self.path)!r}: {error.strerror or error}.") from error


def _written(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=True, allow_nan=False, sort_keys=True)


def _plain(value: Any) -> Any:
    """NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _read(place: Path, lines: list[str], settings: Settings) -> tuple[dict[str, Line], Accepted | None]:
    try:
        first, *others = (json.loads(line) for line in lines)
        accepted = [Accepted(**each["accepted"]) for each in others if "accepted" in each]
        kept = [_line(each) for each in others if "accepted" not in each]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{str(place)!r} is no journal of an evaluation: name a new file, or delete it.") from error
    wanted = json.loads(_written(settings))
    for name in wanted:
        if not isinstance(first, dict) or first.get(name) != wanted[name]:
            raise InputError(
                f"Journal {str(place)!r} is of another evaluation: its {name} differ. Name a new file, or delete it."
            )
    return {line.id: line for line in kept}, accepted[-1] if accepted else None


def _line(table: Mapping[str, Any]) -> Line:
    return Line(
        id=table["id"],
        text=table["text"],
        targets=table["targets"],
        values=[_numbers(row) for row in table["values"]],
        seconds=_numbers(table["seconds"]),
        curves=[None if each is None else [_numbers(row) for row in each] for each in table["curves"]],
        failures={int(number): reason for number, reason in table["failures"].items()},
    )


def _numbers(row: list[float | None]) -> list[float]:
    return [math.nan if number is None else float(number) for number in row]
