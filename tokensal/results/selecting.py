"""Selection: which of some units, targets or sources, a subscript names.

A subscript is a number (negative ones count from the end), a slice, a mask of as many bools as there are units, a text,
a compiled pattern, a unit itself, or a list of such. A text is that of the units it is equal to; where there is none,
white space around it and them does not count, so that "Paris" is the token " Paris".
Sources are named by their roles, too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokensal.errors import InputError
from tokensal.types import Role, Unit
from tokensal.values import described, is_whole, plain

SPECIAL = "special"
ROLES = (*(role.value for role in Role), SPECIAL)
TEXT = "text:"  # before a text that is also the name of a role
LISTED = 12  # texts in an error


def role_of(unit: Unit) -> str:
    """What a unit counts as: a special token of a template is the template's, any other is special."""
    return SPECIAL if unit.special and unit.role is not Role.TEMPLATE else unit.role.value


def is_single(key: object) -> bool:
    """Whether a subscript names one unit: a number or a text."""
    return isinstance(key, str | Unit) or is_whole(key)


def position_of(key: object, units: Sequence[Unit], noun: str) -> int:
    """The number of the only unit that a number, a text or a unit names.

    Args:
        key: the subscript.
        units: what it selects from.
        noun: what each of them is called in errors.

    Raises:
        IndexError: no unit has this number.
        InputError: none has this text, or several have.
    """
    numbers = positions_of(key, units, noun)
    if len(numbers) > 1:
        raise InputError(
            f"{_text(key)!r} is the text of {len(numbers)} {noun}s, {_listed(numbers)}: take one by its number."
        )
    return numbers[0]


def positions_of(key: object, units: Sequence[Unit], noun: str, *, roles: bool = False) -> list[int]:
    """The numbers of the units that a subscript names, in its order; one that is named twice is there twice.

    Args:
        key: the subscript.
        units: what it selects from.
        noun: what each of them is called in errors.
        roles: whether the name of a role stands for the units of that role.

    Raises:
        IndexError: a number that no unit has.
        InputError: a text or a role that no unit has, a mask of another length, or something else.
    """
    if isinstance(key, str):
        return _of_role(key, units, noun) if roles and key in ROLES else _of_text(key, units, noun, roles)
    if isinstance(key, slice):
        return _of_slice(key, units, noun)
    if isinstance(key, re.Pattern):
        return _required([n for n, unit in enumerate(units) if key.search(unit.text)], key.pattern, units, noun)
    if isinstance(key, Unit):
        return _required([n for n, unit in enumerate(units) if unit == key], key.text, units, noun)
    value: Any = plain(key)
    if is_whole(value):
        return [_of_number(value, units, noun)]
    if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping):
        keys = list(value)
        if keys and all(isinstance(each, bool) for each in keys):
            return _of_mask(keys, units, noun)
        if not any(isinstance(each, list | tuple) for each in keys):
            return [number for each in keys for number in positions_of(each, units, noun, roles=roles)]
    role = ", a role such as 'user'" if roles else ""
    raise InputError(
        f"A selection of {noun}s is {described(key)}, but should be a number, a slice, a text{role}, a mask of "
        f"{len(units)} bools, or a list of these."
    )


def _of_number(number: int, units: Sequence[Unit], noun: str) -> int:
    if not -len(units) <= number < len(units):
        raise IndexError(f"There is no {noun} {number}: there are {len(units)} {noun}s, from 0 on.")
    return number % len(units)


def _of_slice(key: slice, units: Sequence[Unit], noun: str) -> list[int]:
    try:
        return list(range(len(units))[key])
    except (TypeError, ValueError) as error:
        raise InputError(f"A slice of {noun}s is {described(key)}, but its bounds should be whole numbers.") from error


def _of_mask(mask: Sequence[bool], units: Sequence[Unit], noun: str) -> list[int]:
    if len(mask) != len(units):
        raise InputError(f"A mask of {noun}s has {len(mask)} bools, but there are {len(units)} {noun}s.")
    return [number for number, selected in enumerate(mask) if selected]


def _of_role(role: str, units: Sequence[Unit], noun: str) -> list[int]:
    numbers = [number for number, unit in enumerate(units) if role_of(unit) == role]
    if not numbers:
        present = ", ".join(dict.fromkeys(map(role_of, units)))
        named = _equal(role, units)
        remedy = f" A {noun} of that text is {TEXT + role!r}." if named else ""
        raise InputError(f"No {noun} is {role}; here they are {present}.{remedy}")
    return numbers


def _of_text(text: str, units: Sequence[Unit], noun: str, roles: bool) -> list[int]:
    numbers = _equal(text, units) or _equal(text.removeprefix(TEXT), units)
    return _required(numbers, text, units, noun, tuple(map(role_of, units)) if roles else ())


def _equal(text: str, units: Sequence[Unit]) -> list[int]:
    """The units of that text; where there is none, those that are the same but for white space around."""
    exact = [number for number, unit in enumerate(units) if unit.text == text]
    if exact or not text.strip():
        return exact
    return [number for number, unit in enumerate(units) if unit.text.strip() == text.strip()]


def _required(
    numbers: list[int], text: str, units: Sequence[Unit], noun: str, other_names: Sequence[str] = ()
) -> list[int]:
    """The numbers, or the error that there are none, which offers the nearest text or other name."""
    if numbers:
        return numbers
    names = [name for name in (*(unit.text.strip() for unit in units), *other_names) if name]
    near = difflib.get_close_matches(text.strip(), names, n=1)
    if near:
        remedy = f"did you mean {near[0]!r}?"
    elif text.strip() and text.strip() in "".join(unit.text for unit in units):
        option = "targets='word'" if noun == "target" else "unit='word'"
        remedy = f"it is part of one, or several together; ask for {option} to have words."
    else:
        remedy = ""
    texts = ", ".join(repr(unit.text) for unit in units[:LISTED]) + (", …" if len(units) > LISTED else "")
    raise InputError(f"No {noun} is {text!r}{': ' if remedy else ''}{remedy or '.'} There are {len(units)}: {texts}.")


def _listed(numbers: Sequence[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} and {last}"


def _text(key: object) -> object:
    return key.text if isinstance(key, Unit) else key
