"""The error tree: what can go wrong, as types.

    TokensalError           anything the caller can put right; the CLI prints it in one sentence and exits with 2
    ├── InputError          a prompt, continuation, option or configuration that cannot be used
    ├── ModelError          a model that cannot be loaded
    │   ├── UnsupportedModel    a model that loads, but that cannot be attributed, and why
    │   └── ServerError         a server of models that cannot be reached, fails, or answers with something else
    ├── FormatError         a saved attribution that cannot be read
    ├── OutputError         a place that cannot be written
    ├── NonFiniteScores     the model returned NaN or infinity where a score should be
    └── MemoryShortage      even the smallest piece of work does not fit the memory

Every message says what was wrong, what was expected, what came, and the remedy.
Whatever is not a TokensalError is a bug of ours.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from tokensal.drawable import drawable

LONGEST_REASON = 300  # characters that are quoted of what other code says


class TokensalError(Exception):
    """Something the caller can put right; the message says how, in one line that is safe to print."""

    def __str__(self) -> str:
        return drawable(super().__str__())


class InputError(TokensalError):
    """A prompt, continuation, option or configuration that cannot be used."""


class ModelError(TokensalError):
    """A model that cannot be loaded."""


class UnsupportedModel(ModelError):
    """A model that loads, but that cannot be attributed; the message says why."""


class ServerError(ModelError):
    """A server of models that cannot be reached, fails, or answers with something else."""


class FormatError(TokensalError):
    """A saved attribution that cannot be read."""


class OutputError(TokensalError):
    """A place that cannot be written."""


class NonFiniteScores(TokensalError):
    """The model returned NaN or infinity where a score should be."""


class MemoryShortage(TokensalError):
    """Even the smallest piece of work does not fit the memory."""


def unknown(kind: str, name: object, table: Iterable[str], nearest: str | None = None) -> InputError:
    """The error for a name that is not in a table: it offers the nearest one, and lists them all."""
    names = sorted(table)
    near = [nearest] if nearest else difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"Unknown {kind} {name!r}: {hint}Known: {', '.join(names)}.")


def require_known(kind: str, names: str | Iterable[str], table: Iterable[str]) -> list[str]:
    """One name or several, as a list.

    Raises:
        InputError: one of them is not in the table.
    """
    names, table = list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names], list(table)
    for name in names:
        if name not in table:
            raise unknown(kind, name, table)
    return names


@contextmanager
def foreign(kind: type[TokensalError], sentence: str, remedy: str = "") -> Iterator[None]:
    """Inside, whatever code that is not ours raises is told as an error of ours: the sentence, its reason, the remedy.

    Our own errors pass as they are, and so does what ends a program, such as KeyboardInterrupt.

    Raises:
        TokensalError: of that kind; a MemoryShortage where memory is short.
    """
    try:
        yield
    except TokensalError:
        raise
    except BaseException as error:
        # a panic of the Rust in tokenizers and safetensors is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if is_shortage(error):
            raise MemoryShortage(f"{sentence}: there is too little memory ({reason(error)}).") from error
        raise kind(f"{sentence}: {reason(error)}. {remedy}".rstrip()) from error


def is_shortage(error: BaseException) -> bool:
    """Whether memory was short, of the machine or of a device."""
    # PyTorch's CPU allocator has no exception class of its own; and torch is not imported here
    named = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
    return named or isinstance(error, MemoryError | MemoryShortage)


def reason(error: BaseException) -> str:
    """The first sentence of what an exception says, without its full stop; with the name of one that says a word."""
    text = " ".join(str(error).split())
    sentence = re.split(r"(?<=[.!?]) (?=[A-Z])", text)[0][:LONGEST_REASON].rstrip(" .!")
    return sentence if " " in sentence else ": ".join(filter(None, [type(error).__name__, sentence]))


def resolve_name(kind: str, name: str, table: Iterable[str], aliases: Mapping[str, str]) -> str:
    """The name in a table that is meant by it, or by an alias, in any case and with or without hyphens and underscores.

    Args:
        kind: what the table holds.
        name: what was written.
        table: the names.
        aliases: other names, without hyphens and underscores, for some of them.

    Raises:
        InputError: nothing of that name; the nearest one is offered.
    """
    names = {_letters(each): each for each in table} | dict(aliases)
    if (letters := _letters(name)) in names:
        return names[letters]
    near = difflib.get_close_matches(letters, names, n=1)
    raise unknown(kind, name, table, names[near[0]] if near else None)


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
