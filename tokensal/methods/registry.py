"""The table of methods: those of tokensal, those that `register` adds, and those of installed packages.

A package offers a method by an entry point, which has the name of the method and is loaded when somebody asks for it:

    [project.entry-points."tokensal.methods"]
    my_method = "my_package.my_module:MyMethod"
"""

from __future__ import annotations

import inspect
import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from tokensal.errors import InputError, foreign
from tokensal.methods.method import Method
from tokensal.values import described

GROUP = "tokensal.methods"
METHODS: dict[str, type[Method]] = {}

M = TypeVar("M")


def register(method: type[M]) -> type[M]:
    """Make a method of your own known by its name: to `attribute`, `compare` and the command line.

        >>> from dataclasses import dataclass
        >>> import tokensal, torch
        >>> @tokensal.register
        ... @dataclass(frozen=True, kw_only=True)
        ... class Recency:
        ...     '''The later a source, the higher its score.'''
        ...     name = "recency"
        ...     summary = "the later, the better"
        ...     paper = ""
        ...     signed = False
        ...     def __call__(self, example, engine):
        ...         scores = torch.arange(len(example.units)).expand(len(example.groups), -1)
        ...         return tokensal.Scores(scores, engine.original(example))
        >>> tokensal.attribute("dates", "3 May 1999", method="recency").scores[0, :3].tolist()
        [0.0, 1.0, 2.0]

    Args:
        method: a class that is built without arguments, has `name`, `summary`, `paper` and `signed`, and is called
            with an example and an engine; see `tokensal.methods.method.Method`.

    Returns:
        The same class, so that `register` can stand above it as a decorator.

    Raises:
        InputError: something of this is missing, or the name belongs to another method.
    """
    missing = [name for name in ("name", "summary", "paper", "signed") if not hasattr(method, name)]
    if not inspect.isclass(method) or missing or not callable(getattr(method, "__call__", None)):  # noqa: B004
        raise InputError(
            f"A method to register should be a class with name, summary, paper, signed and __call__, but "
            f"{described(method)} has no {', '.join(missing) or '__call__'}."
        )
    cls: Any = method
    if not isinstance(cls.name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", cls.name):
        raise InputError(f"The name of a method should be like 'my_method', but is {cls.name!r}.")
    known = METHODS.get(cls.name)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise InputError(f"There is a method {cls.name!r} already, {known.__qualname__}: choose another name.")
    METHODS[cls.name] = cls
    return method


def installed() -> dict[str, EntryPoint]:
    """The methods that installed packages offer, by name; none of them is loaded."""
    return {point.name: point for point in entry_points(group=GROUP)}


def load_installed(name: str) -> None:
    """Register the method of that name, unless it is in the table.

    Raises:
        InputError: its package cannot be imported, or offers no method of that name.
    """
    if name in METHODS:
        return
    point = installed()[name]
    package = point.dist.name if point.dist else point.module
    with foreign(InputError, f"The method {name!r} of the package {package!r} cannot be loaded"):
        method = point.load()
    if getattr(method, "name", None) != name:
        raise InputError(f"The package {package!r} offers a method {name!r}, but {described(method)} is not called so.")
    register(method)
