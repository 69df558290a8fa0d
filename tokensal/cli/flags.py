"""Flags: the options of a command, on the command line."""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from tokensal.cli.catalogue import metrics as entries_of_metrics
from tokensal.cli.catalogue import names as names_of_methods
from tokensal.config import Chat, Evaluated, Explained, Explanation, Explanations, Output, Reporting
from tokensal.drawing import Drawing
from tokensal.errors import InputError
from tokensal.options import Generation, Loading, Measuring, Option, options_of
from tokensal.questions.question import Question
from tokensal.run_options import Generating, Reading, Running

# Of the groups of options, in the help.
HEADINGS = {
    Explanation: "Method",
    Explanations: "Methods",
    Reporting: "Methods",
    Evaluated: "Methods and metrics",
    Explained: "Methods of the run",
    Running: "Folder, and plan",
    Reading: "Examples",
    Generating: "Answers",
    Measuring: "Prompts, and what is measured on them",
    Question: "What is explained, and by what",
    Generation: "Answer",
    Chat: "Prompt",
    Loading: "Model",
    Output: "Output",
    Drawing: "Drawing",
}


def complete_methods(incomplete: str) -> list[str]:
    """What the shell offers for a name of a method, or for the last of several."""
    return _completed(incomplete, names_of_methods())


def complete_metrics(incomplete: str) -> list[str]:
    """The same for metrics."""
    return _completed(incomplete, entries_of_metrics())


def _completed(incomplete: str, names: Iterable[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]


COMPLETIONS = {"method": complete_methods, "methods": complete_methods, "metrics": complete_metrics}


def flags_of(groups: Sequence[type]) -> list[inspect.Parameter]:
    """The options of some groups, as parameters that Typer understands; the value of one that is not used is None."""
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, kind, default=None, annotation=_annotation(name, option, HEADINGS[group]))
        for group in groups
        for name, option in options_of(group).items()
    ]


def _annotation(name: str, option: Option, heading: str) -> Any:
    repeatable = option.kind is dict or (option.kind is list and not option.commas)
    sentences = [option.help]
    if repeatable:
        sentences.append("Repeatable.")
    if option.default:
        default = ",".join(option.default) if isinstance(option.default, list | tuple) else option.default
        sentences.append(f"Default: {default}.")
    type_ = list[str] if repeatable else str if option.commas else option.kind
    details: dict[str, Any] = {"metavar": option.metavar, "help": " ".join(sentences), "rich_help_panel": heading}
    return Annotated[type_ | None, typer.Option(*_names(name, option), **details, autocompletion=COMPLETIONS.get(name))]


def _names(name: str, option: Option) -> list[str]:
    return (option.flag or f"--{name.replace('_', '-')}").split()


def read_flags(groups: Sequence[type], flags: Mapping[str, Any]) -> dict[str, Any]:
    """The values that Typer read, as settings.

    Raises:
        InputError: one that should be KEY=VALUE, and is not, or a text that is not UTF-8.
    """
    options = options_of(*groups)
    for name, value in flags.items():
        if name != "output":  # a file may have any name
            require_text(f"The value of {_names(name, options[name])[0]}", value)
    settings = {name: _setting(options[name], value) for name, value in flags.items()}
    implied = settings.get("system") is not None or settings.get("template") is not None
    if implied and settings["chat"] is None:
        settings["chat"] = True
    return settings


def require_text(name: str, value: str | Sequence[str] | Any) -> None:
    """Make sure that an argument is text: Python writes bytes that are not UTF-8 as halves of surrogate pairs.

    Raises:
        InputError: it is not.
    """
    for text in [value] if isinstance(value, str) else value if isinstance(value, list) else ():
        if any(0xD800 <= ord(character) < 0xE000 for character in text):
            raise InputError(f"{name} is not UTF-8 text: {text!r}.")


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
