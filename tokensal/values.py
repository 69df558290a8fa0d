"""What callers pass, read as what it plainly means, or refused in one sentence before a model is loaded.

Numbers may come from numpy or torch; a bool is no number, a number is no text, and text is no number.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

from tokensal.errors import InputError

LONGEST = 80  # characters of a value in an error


def store(group: object, **values: Any) -> None:
    """Replace fields of a frozen dataclass, while it is built, by their values as they were read."""
    for name, value in values.items():
        object.__setattr__(group, name, value)


def read_whole(
    name: str, value: object, *, least: int | None = 0, most: int | None = None, optional: bool = False
) -> Any:
    """A whole number within bounds, as an int; None too where it is optional.

    Raises:
        InputError: anything else, such as True, 2.0, "2", or a number out of bounds.
    """
    if value is None and optional:
        return None
    number = _whole(value)
    if number is None or (least is not None and number < least) or (most is not None and number > most):
        raise InputError(f"{name} is {described(value)}, but should be a whole number{_bounds(least, most)}.")
    return number


def read_number(name: str, value: object, *, least: float | None = None, above: float | None = None) -> float:
    """A finite number within bounds, as a float.

    Raises:
        InputError: anything else, such as NaN, True or "2".
    """
    number = plain(value)
    if (
        not isinstance(number, int | float)
        or isinstance(number, bool)
        or not math.isfinite(number)
        or (least is not None and number < least)
        or (above is not None and number <= above)
    ):
        bounds = f" greater than {above}" if above is not None else _bounds(least, None)
        raise InputError(f"{name} is {described(value)}, but should be a finite number{bounds}.")
    return float(number)


def read_kind(name: str, value: object, kind: Any, noun: str, *, optional: bool = False) -> Any:
    """A value of one type, such as str or bool; None too where it is optional.

    Raises:
        InputError: anything else; it says that `noun` was expected.
    """
    if not isinstance(value, kind) and not (value is None and optional):
        raise InputError(f"{name} is {described(value)}, but should be {noun}.")
    return value


def read_text(name: str, value: object, *, optional: bool = False) -> Any:
    """A string; None too where it is optional. Raises InputError for anything else."""
    return read_kind(name, value, str, "a text", optional=optional)


def read_flag(name: str, value: object) -> bool:
    """True or False. Raises InputError for anything else, such as 1 or "yes"."""
    return bool(read_kind(name, value, bool, "true or false"))


def read_text_or_ids(name: str, value: object) -> str | list[int]:
    """A text as it is, or token ids as a list of ints.

    Ids may be any iterable of whole numbers, a tensor or array (n,) or (1, n), or what a tokenizer returns.

    Raises:
        InputError: anything else, such as bytes, "12" or 1.7 for an id, or several sequences.
    """
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise InputError(
                f"The {name} holds bytes that are no UTF-8 text, or half a character: {ascii(value)[:80]}."
            )
        return value
    ids = plain(value["input_ids"] if isinstance(value, Mapping) and "input_ids" in value else value)
    if isinstance(ids, bytes | bytearray | Mapping) or not isinstance(ids, Iterable):
        raise InputError(f"The {name} is {described(value)}, but should be a text or a list of token ids.")
    ids = [plain(id) for id in ids]
    if ids and isinstance(ids[0], list):
        if len(ids) > 1:
            raise InputError(f"The {name} holds {len(ids)} sequences of token ids, but one is explained at a time.")
        ids = ids[0]
    for id in ids:
        if _whole(id) is None:
            raise InputError(
                f"The {name} holds {described(id)}, but should be a text, or a list of token ids, which are whole "
                "numbers."
            )
    return [operator.index(id) for id in ids]


def read_spans(name: str, value: object) -> list[tuple[int, int]]:
    """Spans of characters (start, stop), as pairs of ints: one, or an iterable of several.

    Raises:
        InputError: anything else, or a span that is empty or begins before 0.
    """
    several = list(plain(value)) if isinstance(value, Iterable) else [value]
    spans = [_span(each) for each in ([several] if several and all(map(is_whole, several)) else several)]
    if None in spans or not spans:
        raise InputError(
            f"{name} is {described(value)}, but should be characters (start, stop), with 0 ≤ start < stop, or several "
            "of these."
        )
    return [span for span in spans if span is not None]


def _span(value: object) -> tuple[int, int] | None:
    match plain(value):
        case [start, stop] if is_whole(start) and is_whole(stop) and 0 <= start < stop:
            return operator.index(start), operator.index(stop)
    return None


def plain(value: Any) -> Any:
    """A tensor, an array or one of its numbers as plain Python; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def described(value: object) -> str:
    """A value as errors show it: shortened, in one line, with its type where the value does not tell."""
    text = " ".join(reprlib.repr(value).split())[:LONGEST]
    return text if type(value) in (bool, int, float, str) else f"{text} ({type(value).__name__})"


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, and no bool."""
    return _whole(value) is not None


def _whole(value: object) -> int | None:
    value = plain(value)
    return operator.index(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _bounds(least: float | None, most: float | None) -> str:
    if least is None:
        return "" if most is None else f" up to {most}"
    return f" of {least} or more" if most is None else f" from {least} to {most}"
