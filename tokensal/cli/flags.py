"""Flags: the options of a command, on the command line."""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from tokensal.config import COMMANDS
from tokensal.errors import InputError
from tokensal.options import Option, options_of


def flags_of(command: str) -> list[inspect.Parameter]:
    """The flags of a command, as parameters that Typer understands; the value of one that is not used is None."""
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, kind, default=None, annotation=_annotation(name, option))
        for name, option in options_of(*COMMANDS[command]).items()
    ]


def _annotation(name: str, option: Option) -> Any:
    repeatable = option.kind is dict or (option.kind is list and not option.commas)
    sentences = [option.help]
    if repeatable:
        sentences.append("Repeatable.")
    if option.default:
        sentences.append(f"Default: {option.default if isinstance(option.default, str) else ','.join(option.default)}.")
    names = (option.flag or f"--{name.replace('_', '-')}").split()
    type_ = list[str] if repeatable else str if option.commas else option.kind
    return Annotated[type_ | None, typer.Option(*names, metavar=option.metavar, help=" ".join(sentences))]


def read_flags(command: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The values that Typer read, as settings.

    Raises:
        InputError: one that should be KEY=VALUE, and is not.
    """
    options = options_of(*COMMANDS[command])
    settings = {name: _setting(options[name], value) for name, value in flags.items()}
    if settings["chat"] is None and (settings["system"] is not None or settings["template"] is not None):
        settings["chat"] = True
    return settings


def _setting(option: Option, value: Any) -> Any:
    if value is None or (value == [] and option.kind in (list, dict)):
        return None
    if option.commas:
        return [name.strip() for name in value.split(",") if name.strip()]
    return _table(value) if option.kind is dict else value


def _table(pairs: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE arguments as a table. A key with dots is one of an inner table; a value that is no TOML is a string."""
    lines = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"An option should be KEY=VALUE, but is {pair!r}.")
        lines.append(f"{key} = {value if _is_toml(value) else json.dumps(value, ensure_ascii=False)}")
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"Options {', '.join(pairs)} cannot be read as KEY=VALUE: {error}.") from error


def _is_toml(value: str) -> bool:
    try:
        return len(tomllib.loads(f"value = {value}")) == 1
    except tomllib.TOMLDecodeError:
        return False
