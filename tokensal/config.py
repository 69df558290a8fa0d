"""Settings of `tokensal attribute`: defaults < a TOML file < flags, resolved once and stored in the result."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tokensal.errors import InputError, unknown

TABLE = "attribute"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides what `tokensal attribute` computes and shows."""

    model: str | None = None  # None: the embedded default
    dtype: str | None = None  # None: that of the checkpoint
    device: str | None = None  # None: the accelerator when there is one
    device_map: str | None = None
    attention: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    chat: bool = False
    system: str | None = None
    continuation: str | None = None
    max_new_tokens: int | None = None  # None: 20
    generation: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    method: str = "gradient"
    options: Mapping[str, Any] = field(default_factory=dict)  # of the method
    score: str = "logprob"
    output: tuple[str, ...] = ()
    matrix: bool = False
    sink: bool = False
    quiet: bool = False


def resolve(flags: Mapping[str, Any], file: Path | None = None) -> Settings:
    """Lay a configuration file over the defaults, and the flags that were given (not None) over both.

    Raises:
        InputError: an unreadable file, an unknown key (the nearest one is offered), or a value of the wrong type.
    """
    settings = Settings()
    if file is not None:
        settings = replace(settings, **_checked(_table(file), str(file)))
    return replace(settings, **{name: value for name, value in flags.items() if value is not None})


def check(settings: Settings, prompt: str) -> None:
    """Find what cannot work before a model is loaded for it.

    Raises:
        InputError: an empty prompt or continuation, a system message without a chat, an unknown method or score.
    """
    from tokensal.methods import build
    from tokensal.scores import SCORES

    if not prompt:
        raise InputError("The prompt is empty: give it at least one token of text.")
    if settings.continuation == "":
        raise InputError("The continuation is empty: give at least one token, or leave it out to generate one.")
    if settings.system is not None and not settings.chat:
        raise InputError("A system message needs the chat template: use --chat, or leave --system out.")
    build(settings.method, settings.options)
    if settings.score not in SCORES:
        raise unknown("score", settings.score, SCORES)


def as_dict(settings: Settings) -> dict[str, Any]:
    """The settings as plain data, for the provenance."""
    return {**asdict(settings), "output": list(settings.output)}


def _table(file: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read configuration {str(file)!r}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Configuration {str(file)!r} is not valid TOML: {error}.") from error
    for name in data:
        if name != TABLE:
            raise unknown(f"table in configuration {str(file)!r}:", name, [TABLE])
    table = data.get(TABLE, {})
    if not isinstance(table, dict):
        raise InputError(f"Configuration {str(file)!r}: {TABLE} should be a table, as in [{TABLE}].")
    return table


def _checked(values: dict[str, Any], file: str) -> dict[str, Any]:
    defaults = {entry.name: entry for entry in fields(Settings)}
    for name, value in values.items():
        if name not in defaults:
            raise unknown(f"key in configuration {file!r}:", name, defaults)
        expected = _EXPECTED[str(defaults[name].type).removesuffix(" | None")]
        if not _fits(value, expected):
            raise InputError(
                f"Configuration {file!r}: {name} should be {_WORDS[expected]}, "
                f"but is {value!r} ({type(value).__name__})."
            )
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _fits(value: Any, expected: type) -> bool:
    if expected is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, expected) and not (expected is int and isinstance(value, bool))


_EXPECTED: Mapping[str, type] = {
    "str": str,
    "bool": bool,
    "int": int,
    "Mapping[str, Any]": dict,
    "tuple[str, ...]": list,
}
_WORDS = {str: "a string", bool: "true or false", int: "a whole number", dict: "a table", list: "a list of strings"}
