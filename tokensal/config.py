"""Settings of the commands: defaults < a TOML file < flags, resolved once and stored with the result."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokensal.errors import InputError, unknown
from tokensal.options import COMPARED, Generation, Loading, option, options_of, theme_of
from tokensal.questions.question import Question

Settings = dict[str, Any]  # the value of every option of a command, as plain data


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The method, and its options."""

    method: str = option("gradient", "How it is explained: see 'tokensal methods'.")
    options: Mapping[str, Any] | None = option(
        None, "Option of the method, such as norm=l1.", kind=dict, flag="--option", metavar="KEY=VALUE"
    )

    def arguments(self) -> dict[str, Any]:
        """The method, as the argument of `attribute`.

        Raises:
            InputError: an unknown method or option.
        """
        from tokensal.methods import build

        return {"method": build(self.method, self.options)}


@dataclass(frozen=True, kw_only=True)
class Explanations:
    """The methods of a comparison, each with its own options."""

    methods: Sequence[str] = option(
        COMPARED, "How it is explained, by two or more: see 'tokensal methods'.",
        kind=list, metavar="NAME,NAME,…", commas=True,
    )  # fmt: skip
    options: Mapping[str, Any] | None = option(
        None, "Option of a method, such as gradient.norm=l1.", kind=dict, flag="--option", metavar="METHOD.KEY=VALUE"
    )

    def arguments(self) -> dict[str, Any]:
        """The methods, as the argument of `compare`.

        Raises:
            InputError: an unknown method or option, fewer than two methods, the same one twice, or options of a method
                that is not compared.
        """
        from tokensal.api import build_several
        from tokensal.methods import build

        tables = self.options or {}
        for name, options in tables.items():
            if not isinstance(options, Mapping):
                raise InputError(
                    f"The options of {name!r} should be a table, but are {options!r}; as flags, they should be "
                    "METHOD.KEY=VALUE, such as gradient.norm=l1."
                )
        methods = build_several(build(name, tables.get(name)) for name in self.methods)
        for name in tables:
            if name not in self.methods:
                raise InputError(
                    f"There are options for method {name!r}, but compared are only {', '.join(self.methods)}: "
                    "add it, or drop them."
                )
        return {"methods": methods}


@dataclass(frozen=True, kw_only=True)
class Chat:
    """Whether the prompt is a message of a chat.

    Raises:
        InputError: a system message without a chat.
    """

    chat: bool = option(False, "Put the prompt through the model's chat template.", flag="--chat/--raw")
    system: str | None = option(None, "A system message; the flag implies --chat.")

    def __post_init__(self) -> None:
        if self.system is not None and not self.chat:
            raise InputError("A system message needs the chat template: use --chat, or leave --system out.")

    def arguments(self, prompt: str) -> dict[str, Any]:
        """The prompt as an argument of `attribute`: messages, or a plain one."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return {"messages": [*system, {"role": "user", "content": prompt}]} if self.chat else {"prompt": prompt}


@dataclass(frozen=True, kw_only=True)
class Output:
    """What is shown, and where it is written.

    Raises:
        InputError: an unknown theme.
    """

    output: Sequence[str] = option(
        (), "Write a file: .html, .json or .txt.", kind=list, flag="--output -o", metavar="FILE"
    )
    matrix: bool = option(False, "Show the full table in the terminal too.")
    sink: bool = option(False, "Count the sink, a special or template token that comes first, into scale and ranking.")
    theme: str = option(
        "auto", "The background of the terminal: light, dark, or auto, which asks TOKENSAL_THEME, then the terminal.",
        metavar="THEME",
    )  # fmt: skip
    quiet: bool = option(False, "No messages and no progress on stderr.", flag="--quiet -q")

    def __post_init__(self) -> None:
        theme_of(self.theme)


# The groups of options that each command takes; its name is also that of its table in a configuration file.
EXPLANATIONS: Mapping[str, type[Explanation | Explanations]] = {"attribute": Explanation, "compare": Explanations}
COMMANDS: Mapping[str, tuple[type, ...]] = {
    command: (explanation, Question, Generation, Chat, Loading, Output) for command, explanation in EXPLANATIONS.items()
}


def resolve(command: str, flags: Mapping[str, Any], file: Path | None = None) -> Settings:
    """Lay a configuration file over the defaults, and the flags that are not None over both.

    Raises:
        InputError: an unreadable file, an unknown key (the nearest one is offered), or a value of the wrong type.
    """
    options = options_of(*COMMANDS[command])
    settings = {name: _plain(each.default, each.kind) for name, each in options.items()}
    if file is not None:
        table = _table(file, command)
        for name, value in table.items():
            if name not in options:
                raise unknown(f"key in configuration {str(file)!r}:", name, options)
            _require_kind(value, options[name].kind, f"Configuration {str(file)!r}: {name}")
        settings |= table
    return settings | {name: value for name, value in flags.items() if value is not None}


def _plain(default: Any, kind: type) -> Any:
    """A default as it would be written in a file."""
    if kind is not list or default is None:
        return default
    return [default] if isinstance(default, str) else list(default)


def _table(file: Path, command: str) -> dict[str, Any]:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read configuration {str(file)!r}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Configuration {str(file)!r} is not valid TOML: {error}.") from error
    for name in data:
        if name not in COMMANDS:
            raise unknown(f"table in configuration {str(file)!r}:", name, COMMANDS)
    table = data.get(command, {})
    if not isinstance(table, dict):
        raise InputError(f"Configuration {str(file)!r}: {command} should be a table, as in [{command}].")
    return table


KINDS = {str: "a string", bool: "true or false", int: "a whole number", dict: "a table", list: "a list of strings"}


def _require_kind(value: object, kind: type, name: str) -> None:
    fits = type(value) is kind  # a bool is no whole number
    if not fits or (isinstance(value, list) and not all(isinstance(item, str) for item in value)):
        raise InputError(f"{name} should be {KINDS[kind]}, but is {value!r} ({type(value).__name__}).")
