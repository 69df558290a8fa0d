"""The methods, one small file a family, and the table that names them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokensal.errors import InputError, unknown
from tokensal.methods.gradient import Gradient, InputXGradient
from tokensal.methods.method import Method

__all__ = ["METHODS", "Entry", "Gradient", "InputXGradient", "Method", "build"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A method as the table shows it: what it does in a line, and the paper it comes from."""

    method: Callable[..., Method]
    line: str
    paper: str


METHODS: Mapping[str, Entry] = {
    "gradient": Entry(
        Gradient,
        "how strongly the score reacts to a small change of each token's embedding (a norm: no sign)",
        "Simonyan, Vedaldi, Zisserman 2014, arXiv:1312.6034",
    ),
    "input_x_gradient": Entry(
        InputXGradient,
        "first-order estimate of what each token's embedding adds to the score (signed)",
        "Shrikumar, Greenside, Shcherbina, Kundaje 2016, arXiv:1605.01713",
    ),
}


def build(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Make the method of that name with those options: `build("gradient", {"norm": "l1"})`.

    Raises:
        InputError: an unknown method or option (the nearest one is offered), or a value it does not take.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    method = METHODS[name].method
    known = list(inspect.signature(method).parameters)
    for option in options or {}:
        if not known:
            raise InputError(f"Method {name!r} takes no options, but got {option!r}; leave it out.")
        if option not in known:
            raise unknown(f"option of method {name!r}:", option, known)
    return method(**(options or {}))


def name_of(method: Method) -> str:
    """The name a method has in the table, or that of its class for a method of the user's own."""
    return next((name for name, entry in METHODS.items() if entry.method is type(method)), type(method).__name__)
