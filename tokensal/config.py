"""Settings of `tokensal attribute` and `compare`: defaults < a TOML file < flags, resolved once and stored."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tokensal.errors import InputError, unknown

if TYPE_CHECKING:
    from tokensal.methods import Method


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every command that explains an answer needs to know. `TABLE` is where a configuration file says it."""

    TABLE: ClassVar[str]

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
    score: str = "logprob"
    explain: str = "answer"
    targets: tuple[str, ...] = ("token",)
    contrast: str | None = None
    unit: str = "token"
    sources: tuple[str, ...] | None = None  # None: all
    alternatives: int = 0
    output: tuple[str, ...] = ()
    sink: bool = False
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class AttributeSettings(Settings):
    """Everything that decides what `tokensal attribute` computes and shows."""

    TABLE = "attribute"

    method: str = "gradient"
    options: Mapping[str, Any] = field(default_factory=dict)  # of the method
    matrix: bool = False


@dataclass(frozen=True, kw_only=True)
class CompareSettings(Settings):
    """Everything that decides what `tokensal compare` computes and shows."""

    TABLE = "compare"

    methods: tuple[str, ...] = ("gradient", "input_x_gradient", "occlusion", "attention_grad_cam")
    options: Mapping[str, Any] = field(default_factory=dict)  # a table for each method that has some


Chosen = TypeVar("Chosen", bound=Settings)


def resolve(kind: type[Chosen], flags: Mapping[str, Any], file: Path | None = None) -> Chosen:
    """Lay a configuration file over the defaults, and the flags that were given (not None) over both.

    Raises:
        InputError: an unreadable file, an unknown key (the nearest one is offered), or a value of the wrong type.
    """
    settings = kind()
    if file is not None:
        settings = replace(settings, **_checked(kind, _table(file, kind.TABLE), str(file)))
    return replace(settings, **{name: value for name, value in flags.items() if value is not None})


def check(settings: Settings, prompt: str) -> None:
    """Find what cannot work before a model is loaded for it.

    Raises:
        InputError: an empty prompt or continuation, a system message without a chat, an unknown score, unit or
            kind of sources.
    """
    from tokensal import choosing
    from tokensal.scores import SCORES

    if not prompt:
        raise InputError("The prompt is empty: give it at least one token of text.")
    if settings.continuation == "":
        raise InputError("The continuation is empty: give at least one token, or leave it out to generate one.")
    if settings.system is not None and not settings.chat:
        raise InputError("A system message needs the chat template: use --chat, or leave --system out.")
    if settings.score not in SCORES:
        raise unknown("score", settings.score, SCORES)
    choosing.check(settings.unit, settings.sources)


def method_of(settings: AttributeSettings) -> Method:
    """The method, with its options.

    Raises:
        InputError: an unknown method or option.
    """
    from tokensal.methods import build

    return build(settings.method, settings.options)


def methods_of(settings: CompareSettings) -> tuple[Method, ...]:
    """The methods of a comparison, each with its own options.

    Raises:
        InputError: an unknown method or option, fewer than two methods, one that is there twice, or options of a
            method that is not compared.
    """
    from tokensal.api import several
    from tokensal.methods import build

    methods = several(build(name, _options(settings, name)) for name in settings.methods)
    for name in settings.options:
        if name not in settings.methods:
            listed = ", ".join(settings.methods)
            raise InputError(
                f"There are options for method {name!r}, but compared are only {listed}: add it, or drop them."
            )
    return methods


def _options(settings: CompareSettings, method: str) -> Mapping[str, Any]:
    options = settings.options.get(method, {})
    if not isinstance(options, Mapping):
        raise InputError(
            f"The options of {method!r} should be a table, as in {method} = {{ key = value }}, but are {options!r}."
        )
    return options


def as_dict(settings: Settings) -> dict[str, Any]:
    """The settings as plain data, for the provenance."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}


def _table(file: Path, wanted: str) -> dict[str, Any]:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read configuration {str(file)!r}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Configuration {str(file)!r} is not valid TOML: {error}.") from error
    for name in data:
        if name not in _TABLES:
            raise unknown(f"table in configuration {str(file)!r}:", name, _TABLES)
    table = data.get(wanted, {})
    if not isinstance(table, dict):
        raise InputError(f"Configuration {str(file)!r}: {wanted} should be a table, as in [{wanted}].")
    return table


def _checked(kind: type[Settings], values: dict[str, Any], file: str) -> dict[str, Any]:
    defaults = {entry.name: entry for entry in fields(kind)}
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


_TABLES = (AttributeSettings.TABLE, CompareSettings.TABLE)
_EXPECTED: Mapping[str, type] = {
    "str": str,
    "bool": bool,
    "int": int,
    "Mapping[str, Any]": dict,
    "tuple[str, ...]": list,
}
_WORDS = {str: "a string", bool: "true or false", int: "a whole number", dict: "a table", list: "a list of strings"}
