"""Words of a command line: settings as flags and values, quoted for a POSIX shell."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from tokensal.drawable import drawable

OTHER_FLAGS = {"alternatives": "--top-k-alternatives"}  # the others are called as their options
WITH_COMMAS = ("sources",)
BARE = re.compile(r"[A-Za-z0-9_-]+")
PLAIN = re.compile(r"[^\W\d][\w/.:+@-]*")  # texts that no TOML value is, but true, false, inf and nan


class Inexpressible(ValueError):
    """What a command line cannot say, and why."""


def flag(option: str, value: Any) -> Iterator[str]:
    """The words that set an option."""
    name = OTHER_FLAGS.get(option, f"--{option.replace('_', '-')}")
    if isinstance(value, bool):
        if not value:
            raise Inexpressible(f"it cannot switch off {option}")
        yield name
    elif isinstance(value, str | int | float):
        yield from (name, quoted(str(value)))
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from (name, quoted(setting(key, each)))
    elif isinstance(value, list) and all(isinstance(each, str) for each in value) and option in ("targets", "sources"):
        for each in [",".join(value)] if option in WITH_COMMAS else value:
            yield from (name, quoted(each))
    else:
        kind = "token ids" if option in ("continuation", "contrast") else "what was passed"
        raise Inexpressible(f"{option} cannot be given as {kind}")


def setting(key: str, value: Any) -> str:
    """KEY=VALUE, whose value is TOML, or a text that is none."""
    text = f"{key}={_toml(value)}"
    name, _, written = text.partition("=")
    try:
        same = tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        same = written  # read as a text
    # 1 == True == 1.0 in Python
    if name != key or not BARE.fullmatch(key) or (same, repr(same)) != (value := _lists(value), repr(value)):
        raise Inexpressible(f"option {key} cannot be written as KEY=VALUE")
    return text


def _toml(value: Any) -> str:
    """A value as TOML writes it; a plain word without quotes."""
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and value not in ("true", "false", "inf", "nan")
        return value if plain else _inner(value)
    return _inner(value)


def _inner(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inner(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inner, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _lists(value: Any) -> Any:
    """Tuples as lists, which is how TOML reads them back."""
    if isinstance(value, Mapping):
        return {key: _lists(each) for key, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, list | tuple) else value


def quoted(text: str) -> str:
    """A text as one word. Where it has characters that would not be seen, printf writes them.

    Raises:
        Inexpressible: a NUL character, or such a text that ends in a line break.
    """
    if _is_visible(text):
        return shlex.quote(text)
    if "\0" in text or text.endswith("\n"):
        raise Inexpressible("a text of it has characters that no shell passes on")
    return f'"$(printf {shlex.quote(_escaped(text))})"'


def printed(text: str) -> str:
    """The beginning of a pipe that hands a text on."""
    if "\0" in text or "\r" in text or text.startswith("\ufeff"):
        raise Inexpressible("a text of it has characters that standard input does not keep")
    words = shlex.quote(_escaped(text))
    return f"printf {words} | "


def _is_visible(text: str) -> bool:
    return drawable(stripped := text.replace("\n", "").replace("\t", "")) == stripped


def _escaped(text: str) -> str:
    """A format of printf: what would not be seen as octal numbers of its bytes, line breaks as \\n."""
    written = "".join(map(_escape, text))
    return f"\\055{written[1:]}" if written.startswith("-") else written  # and no option of printf


def _escape(character: str) -> str:
    if character in ("%", "\\"):
        return character * 2
    if character == "\n":
        return "\\n"
    if _is_visible(character):
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogatepass"))
